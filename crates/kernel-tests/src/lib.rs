//! Scenarios: small networks with flows and what is expected of them, judged by the engine and by the
//! running kernel. Where the two differ, the kernel is right.
//!
//! ```text
//!  scenario file ─→ parse ─→ Scenario ─┬─→ judge::engine: Session ─→ paths ──────┬─→ Observation ─→ compare
//!                                      └─→ judge::kernel: World, Stage ──────────┘
//! ```

pub mod compare;
pub mod directory;
pub mod judge;
pub mod kernel;
pub mod observe;
pub mod parse;
pub mod scenario;
pub mod traffic;
