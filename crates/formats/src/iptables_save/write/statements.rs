//! Statements as `-j` and `-g`.

use natpath_model::{
    ChainId, ConnmarkOp, CtTemplate, Family, Nat, NatRange, RejectWith, SetChange, Statement, Table, Tproxy,
    TtlChange, Verdict, ZoneDirection, statement::REJECT_NAMES,
};

use super::{put, quote};
use crate::iptables_save::lower::sides_text;

pub(super) fn write(out: &mut String, table: &Table, family: Family, statement: &Statement) {
    match statement {
        Statement::Verdict(verdict) => write_verdict(out, table, *verdict),
        Statement::Reject(with) => {
            out.push_str(" -j REJECT --reject-with ");
            out.push_str(reject_name(*with, family));
        }
        Statement::Log { prefix } => {
            out.push_str(" -j LOG");
            if !prefix.is_empty() {
                out.push_str(" --log-prefix ");
                quote(out, prefix);
            }
        }
        Statement::Mark { clear, xor } => put(out, format_args!(" -j MARK --set-xmark {xor:#x}/{clear:#x}")),
        Statement::Connmark(op) => write_connmark(out, *op),
        Statement::Notrack => out.push_str(" -j CT --notrack"),
        Statement::Ct(template) => write_ct(out, template),
        Statement::Nat(nat) => write_nat(out, nat),
        Statement::Tos { clear, xor } => put(out, format_args!(" -j TOS --set-tos {xor:#04x}/{clear:#04x}")),
        Statement::Ttl(change) => write_ttl(out, family, *change),
        Statement::Set(change) => write_set(out, change),
        Statement::Tproxy(proxy) => write_tproxy(out, family, *proxy),
        Statement::Inert { construct } => put(out, format_args!(" {construct}")),
        Statement::Opaque(opaque) => put(out, format_args!(" {}", opaque.text)),
    }
}

fn write_ttl(out: &mut String, family: Family, change: TtlChange) {
    let (target, option) = if family == Family::Ip4 { ("TTL", "ttl") } else { ("HL", "hl") };
    let (what, by) = match change {
        TtlChange::Set(value) => ("set", value),
        TtlChange::Increase(by) => ("inc", by),
        TtlChange::Decrease(by) => ("dec", by),
    };
    put(out, format_args!(" -j {target} --{option}-{what} {by}"));
}

fn write_set(out: &mut String, change: &SetChange) {
    let option = if change.remove { "--del-set" } else { "--add-set" };
    put(out, format_args!(" -j SET {option} {} {}", change.set, sides_text(&change.sides)));
    if change.exist {
        out.push_str(" --exist");
    }
    if let Some(seconds) = change.timeout {
        put(out, format_args!(" --timeout {seconds}"));
    }
}

fn write_tproxy(out: &mut String, family: Family, proxy: Tproxy) {
    let address = proxy.address.unwrap_or(family.unspecified());
    let Tproxy { port, clear, xor, .. } = proxy;
    put(out, format_args!(" -j TPROXY --on-port {port} --on-ip {address} --tproxy-mark {xor:#x}/{clear:#x}"));
}

fn write_verdict(out: &mut String, table: &Table, verdict: Verdict) {
    let name = |chain: ChainId| table.chains.get(chain.0 as usize).map_or("", |chain| chain.name.as_str());
    match verdict {
        Verdict::Accept => out.push_str(" -j ACCEPT"),
        Verdict::Drop => out.push_str(" -j DROP"),
        Verdict::Return => out.push_str(" -j RETURN"),
        Verdict::Jump(chain) => put(out, format_args!(" -j {}", name(chain))),
        Verdict::Goto(chain) => put(out, format_args!(" -g {}", name(chain))),
    }
}

fn reject_name(with: RejectWith, family: Family) -> &'static str {
    let RejectWith::Icmp { kind, code } = with else { return "tcp-reset" };
    let known = REJECT_NAMES
        .iter()
        .find(|(of, name, own_kind, own_code)| {
            *of == family && *name != "tcp-reset" && (*own_kind, *own_code) == (kind, code)
        })
        .map(|(_, name, ..)| *name);
    known.unwrap_or(match family {
        Family::Ip4 => "icmp-port-unreachable",
        Family::Ip6 => "icmp6-port-unreachable",
    })
}

fn write_connmark(out: &mut String, op: ConnmarkOp) {
    let text = match op {
        ConnmarkOp::Set { clear, xor } => format!("--set-xmark {xor:#x}/{clear:#x}"),
        ConnmarkOp::Save { packet_mask, entry_mask } => {
            format!("--save-mark --nfmask {packet_mask:#x} --ctmask {entry_mask:#x}")
        }
        ConnmarkOp::Restore { packet_mask, entry_mask } => {
            format!("--restore-mark --nfmask {packet_mask:#x} --ctmask {entry_mask:#x}")
        }
    };
    put(out, format_args!(" -j CONNMARK {text}"));
}

fn write_ct(out: &mut String, template: &CtTemplate) {
    out.push_str(" -j CT");
    if let Some((zone, direction)) = template.zone {
        let option = match direction {
            ZoneDirection::Both => "--zone",
            ZoneDirection::Original => "--zone-orig",
            ZoneDirection::Reply => "--zone-reply",
        };
        put(out, format_args!(" {option} {}", zone.0));
    }
    if let Some(helper) = &template.helper {
        out.push_str(" --helper ");
        quote(out, helper);
    }
}

fn write_nat(out: &mut String, nat: &Nat) {
    let (name, option, range, random) = match nat {
        Nat::Dnat(range) => ("DNAT", "--to-destination", range, "--random"),
        Nat::Snat(range) => ("SNAT", "--to-source", range, "--random-fully"),
        Nat::Masquerade(range) => ("MASQUERADE", "--to-ports", range, "--random-fully"),
        Nat::Redirect(range) => ("REDIRECT", "--to-ports", range, "--random"),
        Nat::Netmap(net) => return put(out, format_args!(" -j NETMAP --to {net}")),
    };
    put(out, format_args!(" -j {name}"));
    let needs_option = matches!(nat, Nat::Dnat(_) | Nat::Snat(_));
    if needs_option || range.ports.is_some() {
        put(out, format_args!(" {option} "));
        write_range(out, range, needs_option);
    }
    if range.random {
        put(out, format_args!(" {random}"));
    }
    if range.persistent {
        out.push_str(" --persistent");
    }
}

fn write_range(out: &mut String, range: &NatRange, with_colon: bool) {
    let text = range.to_string();
    match with_colon {
        // A range of neither addresses nor ports still needs a word.
        true if text.is_empty() => out.push_str("\"\""),
        true => out.push_str(&text),
        false => out.push_str(text.trim_start_matches(':')),
    }
}
