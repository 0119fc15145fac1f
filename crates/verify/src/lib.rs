//! A network rebuilt on the running kernel, one network namespace a host: its flows are sent, what the kernel
//! does with them is seen, and compared with what the engine says. Where the two differ, the kernel is right.
//!
//! ```text
//!  scenario::Scenario ─┬─→ judge::engine: Session ─→ paths ──────┬─→ Observation ─→ compare
//!                      └─→ judge::kernel: World, Stage ──────────┘
//! ```

pub mod compare;
pub mod directory;
pub mod judge;
pub mod kernel;
pub mod observe;
pub mod scenario;
pub mod traffic;
