//! `iptables-save` and `ip6tables-save`, of either backend, to and from the model.
//!
//! One pass over the text: [`parse`](mod@parse) cuts it into [`ast`] lines and words that borrow from it,
//! the lowering makes model rules of them. Input written by hand for iptables-restore is read too: `-I`,
//! long options, old-style negation, several addresses in one option, rules without counters.
//!
//! | construct | read |
//! |---|---|
//! | `-s -d -i -o -p -f`, masks with holes, `+` | exactly |
//! | tcp, udp, udplite, sctp and dccp ports, multiport, tcp flags and options | exactly; sctp chunks, dccp types and options are opaque |
//! | icmp, icmp6 | exactly |
//! | conntrack, state, mark, connmark | exactly |
//! | addrtype | exactly; IPv6 UNREACHABLE as the route's type; a negated list of IPv6 types is an error |
//! | iprange, statistic, dscp, ttl, hl, length, comment | exactly |
//! | owner, set, limit, hashlimit, recent, connlimit, connbytes, quota, rpfilter, socket, time | exactly |
//! | mac, pkttype, realm, tos, ecn, physdev, helper, policy, IPv6 headers | exactly |
//! | string, u32, bpf, cluster, cgroup, tcpmss, ipvs | exactly |
//! | nfacct | exactly: it only counts |
//! | any other match | [`Match::Opaque`](natpath_model::Match::Opaque) |
//! | ACCEPT, DROP, RETURN, user chains by `-j` and `-g`, REJECT, LOG, MARK | exactly |
//! | CONNMARK | exactly; shifts are opaque |
//! | CT, NOTRACK | exactly; `--timeout` and a zone taken from the mark are opaque |
//! | TOS, DSCP, TTL, HL, SET, TPROXY | exactly |
//! | DNAT, SNAT, MASQUERADE, REDIRECT, NETMAP | exactly |
//! | NFLOG, ULOG, TRACE, AUDIT, TCPMSS, CHECKSUM, LED, IDLETIMER, RATEEST, CLASSIFY, ECN, TEE, TCPOPTSTRIP | inert |
//! | any other target | [`Statement::Opaque`](natpath_model::Statement::Opaque) |
//!
//! `docs/matches.md` has a row for each.
//!
//! A rule that can't be read is reported and stays in its chain: the conditions read so far, then an opaque
//! one, so that a packet which meets it is not taken past it in silence.

pub mod ast;
mod lower;
pub mod parse;
mod write;

pub(crate) use lower::names_of;
pub use write::write;

/// Whether iptables has a table of this name.
pub(crate) fn has_table(name: &str) -> bool {
    lower::hooks_of(name).is_some()
}

use natpath_model::{Backend, Diagnostic, Family, FileId, Table};

/// Reads the text of one file. `file` becomes part of each origin.
///
/// # Examples
/// ```
/// use natpath_formats::iptables_save::parse;
/// use natpath_model::{Backend, Family, FileId};
///
/// let text = "*filter\n:INPUT DROP [0:0]\n-A INPUT -i lo -j ACCEPT\nCOMMIT\n";
/// let (tables, diagnostics) = parse(text, "iptables-save", FileId(0), Backend::Iptables, Family::Ip4);
/// assert!(diagnostics.is_empty());
/// assert_eq!(tables[0].chains[0].rules.len(), 1);
/// ```
#[must_use]
pub fn parse(
    text: &str,
    file_name: &str,
    file: FileId,
    backend: Backend,
    family: Family,
) -> (Vec<Table>, Vec<Diagnostic>) {
    lower::FileReader::new(file_name, file, backend, family).read(text)
}

#[cfg(test)]
mod tests;
