//! The nouns of a Linux packet's path: what a host has (links, addresses, routes, rules, sockets,
//! sysctls) and what its rules say, as plain data.
//!
//! Nothing here acts over time and nothing here parses: `natpath-formats` fills these types from what
//! standard tools print, `natpath-engine` sends packets through them.
//!
//! ```text
//!  Network ── hosts: Snapshot ─┬─ links, routes, policy rules, neighbours, sysctls, sockets
//!                              ├─ ruleset: Table ── Chain ── Rule ── Match, Statement
//!                              └─ files: the text everything came from; each item has an Origin in it
//! ```

pub mod bypass;
pub mod conntrack;
pub mod diagnostic;
pub mod fib;
pub mod flow;
pub mod hook;
pub mod matching;
pub mod net;
pub mod origin;
pub mod payload;
pub mod ruleset;
pub mod set;
pub mod snapshot;
pub mod socket;
pub mod statement;
pub mod sysctl;
pub mod value;
pub mod xt;

pub use bypass::{Bypass, BypassKind};
pub use conntrack::{Connection, CtStates, Direction, Status, TcpState, Tuple, Zone, ZoneDirection};
pub use diagnostic::{Diagnostic, Severity};
pub use fib::{
    Address, Forwarding, Link, LinkDetail, Neighbour, NextHop, PolicyAction, PolicyRule, Route, RouteType,
    Scope, table_id,
};
pub use flow::Flow;
pub use hook::{Hook, HookEntry, HookFunction, Manip, Priority};
pub use matching::{Expr, Field, Match, Opaque, Test};
pub use net::{Endpoint, Family, Mac, Port, Protocol};
pub use origin::{FileId, Origin, SourceFile, words};
pub use ruleset::{
    Backend, Chain, ChainId, ChainKind, ChainType, Counter, Policy, Rule, RuleRef, Ruleset, Table,
    TableFamily,
};
pub use set::{IpSet, IpSets};
pub use snapshot::{Given, Item, Network, Segment, SegmentEnd, Snapshot};
pub use socket::{Bind, Socket};
pub use statement::{
    ConnmarkOp, CtTemplate, Nat, NatRange, PortRange, RejectWith, SetChange, Statement, Tproxy, TtlChange,
    Verdict,
};
pub use sysctl::Sysctls;
pub use value::{InterfaceName, IntervalSet, Value};
pub use xt::Xt;
