//! `stale-conntrack`: a live entry still translates to what no rule says any more. A translation is decided
//! by a connection's first packet (nf_nat_core.c, `nf_nat_inet_fn`), and each packet lets the entry live on.

use natpath_model::{Endpoint, Protocol, Tuple};

use super::Evidence;
use crate::nat::Older;
use crate::trace::Finding;

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Vec<Finding> {
    evidence.run.env.noted.older.iter().map(|older| finding(evidence, older)).collect()
}

fn finding(evidence: &Evidence<'_, '_>, older: &Older) -> Finding {
    let Older { host, original, reply, .. } = older;
    let name = evidence.name(*host);
    let does = if reply.src == original.dst {
        "leaves it untranslated".to_owned()
    } else {
        format!("translates it to {}", shown(original, reply.src))
    };
    let rules = match &older.instead {
        Some(would) => {
            let (place, to) = (evidence.place(*host, would.rule), shown(original, would.after.dst));
            format!("while {place} sends new connections to {to}")
        }
        None => "and no rule says so any more".to_owned(),
    };
    let life = older.left.map_or(String::new(), |left| life(original.protocol, left));
    Finding {
        code: "stale-conntrack",
        host: *host,
        headline: format!("an older entry of {name}'s conntrack table {does}, {rules}{life}"),
        help: "delete the entry, so that the next packet asks the rules".to_owned(),
        rules: older.instead.iter().map(|would| would.rule).collect(),
        fix: Some(delete(older)),
    }
}

/// How long the entry lives. A SYN that meets one does not renew it (nf_conntrack_proto_tcp.c, a retransmitted or
/// ignored SYN), its answer does.
fn life(protocol: Protocol, left: u64) -> String {
    match protocol {
        Protocol::TCP => format!("; it ends in {} if nobody answers", time(left)),
        _ => format!("; each packet lets it live another {}", time(left)),
    }
}

/// A command that deletes the entry, with all others of the service that went the same wrong way.
fn delete(older: &Older) -> String {
    let Older { original, reply, zone, .. } = older;
    let mut command = format!("conntrack -D -p {} -d {}", original.protocol, original.dst.address);
    if original.protocol.has_ports() {
        command += &format!(" --dport {}", original.dst.port);
    }
    if reply.src == original.dst {
        // Those of other senders may be right.
        command += &format!(" -s {}", original.src.address);
    } else {
        command += &format!(" -r {}", reply.src.address);
    }
    if zone.0 != 0 {
        command += &format!(" -w {}", zone.0);
    }
    command
}

/// A time as a reader says it: `30 s`, `5 days`.
fn time(seconds: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(86400, "days"), (3600, "hours"), (60, "minutes")];
    let unit = UNITS.iter().find(|(length, _)| seconds >= 2 * length && seconds.is_multiple_of(*length));
    match unit {
        Some((length, name)) => format!("{} {name}", seconds / length),
        None => format!("{seconds} s"),
    }
}

fn shown(tuple: &Tuple, end: Endpoint) -> String {
    if tuple.protocol.has_ports() { end.to_string() } else { end.address.to_string() }
}
