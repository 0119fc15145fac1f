//! What happens to a packet: netfilter hooks, rules, connection tracking, NAT, routing and local delivery,
//! on one host and over several.
//!
//! The engine is pure. It reads no clock, file or socket and draws no number: time comes in as
//! [`time::Instant`], everything left to chance is asked of [`choice::Choices`].
//!
//! ```text
//!  Session ── flows in order, over histories
//!     └─ explore ── one run per combination of picks
//!          └─ flow ── the two scripted endpoints ─→ Wire ── hosts joined by segments
//!                                                    └─ Pass ── one packet through one host:
//!                                                         path ─→ chain, matching ─→ conntrack, nat, fib
//! ```

mod bridge;
mod bypass;
mod chain;
pub mod choice;
pub mod conntrack;
mod endpoint;
mod errors;
mod explore;
mod fib;
mod finding;
mod flow;
mod hint;
pub mod host;
mod jhash;
mod matching;
mod nat;
mod near_miss;
pub mod packet;
mod pass;
mod path;
mod payload;
mod run;
pub mod session;
pub mod skb;
mod state;
pub mod time;
mod tproxy;
pub mod trace;
pub mod wire;
mod world;
mod xt;

pub use session::{EntryPattern, FlowError, History, Session, Switched};
pub use world::wires;
