//! The command `natpath`.
fn main() {}
