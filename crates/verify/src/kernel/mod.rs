//! A network rebuilt on the running kernel, one namespace a host.
//!
//! ```text
//!  model::Network ─→ World ─┬─ Namespace of each host ── wires, sysctls, addresses, routes, rules
//!                           └─ Namespace of bridges and loose ends, which is nobody's
//! ```

mod build;
pub mod conntrack;
pub mod namespace;
pub mod rules;
pub mod sysctl;
mod words;

pub use build::World;
pub use namespace::Namespace;

/// Why the kernel can't be asked here; `None` where it can.
#[must_use]
pub fn not_permitted() -> Option<String> {
    let tried = Namespace::new().and_then(|namespace| namespace.run(|| Ok(())));
    tried.err().map(|error| format!("{error:#}"))
}
