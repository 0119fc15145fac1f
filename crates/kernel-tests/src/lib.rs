//! Scenario files: small networks with flows and what is expected of them, judged by the engine and by the
//! running kernel. Where the two differ, the kernel is right.

pub mod any_input;
pub mod backends;
pub mod directory;
pub mod parse;
pub mod random;
