//! Reads and writes what standard tools print: text to and from the nouns of `natpath-model`.
//!
//! Each reader gives a value and a list of [`natpath_model::Diagnostic`]s. No input makes one panic, and
//! nothing is skipped in silence: what can't be computed is carried verbatim and reported as unsupported,
//! what can't be read is reported as an error with its line and column.
//!
//! ```text
//!  iptables-save ─→ iptables_save::{ast → parse → lower} ─┐
//!  ip -j ...     ─→ ip_json                               ├─→ snapshot::read_network ─→ model::Network
//!  sysctl, ss    ─→ sysctl, ss                            │
//!  ipset save    ─→ ipset                                 │
//!  topology.json ─→ topology                             ─┘
//!  a flows file  ─→ flows
//! ```

pub mod bypass;
pub mod conntrack;
pub mod derive;
mod diagnose;
pub mod flows;
pub mod ip_json;
pub mod ipset;
pub mod iptables_save;
pub mod nft_hooks;
pub mod snapshot;
pub mod ss;
pub mod sysctl;
pub mod topology;
