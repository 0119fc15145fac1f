//! Random rulesets: tables, user chains with jumps and gotos, rules of matches and a target.

use std::fmt::Write;

use natpath_model::{Family, Hook};

use super::dice::Dice;
use super::network::{Plan, net_of, on_wire, virtual_address};
use super::{matches, sets, targets};

/// What is known where a rule is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'p> {
    pub(super) plan: &'p Plan,
    pub(super) host: usize,
    pub(super) family: Family,
    pub(super) table: Table,
    /// The hooks by which packets reach the chain.
    pub(super) hooks: &'p [Hook],
    /// Whether this is a base chain.
    pub(super) is_base: bool,
    /// What the rule's `-p` says; empty for all.
    pub(super) protocol: &'p str,
    /// Whether the host's frames cross a bridge.
    pub(super) is_legacy: bool,
}

/// A table of iptables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Raw,
    Mangle,
    Nat,
    Filter,
    Security,
}

impl Table {
    const ALL: [(u32, Self); 5] =
        [(30, Self::Raw), (45, Self::Mangle), (85, Self::Nat), (65, Self::Filter), (10, Self::Security)];

    fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Mangle => "mangle",
            Self::Nat => "nat",
            Self::Filter => "filter",
            Self::Security => "security",
        }
    }

    fn hooks(self) -> &'static [Hook] {
        match self {
            Self::Raw => &[Hook::Prerouting, Hook::Output],
            Self::Mangle => &Hook::ALL,
            Self::Nat => &[Hook::Prerouting, Hook::Output, Hook::Postrouting, Hook::Input],
            Self::Filter | Self::Security => &[Hook::Input, Hook::Forward, Hook::Output],
        }
    }

    /// The hooks that may share a user chain.
    fn shared(self, dice: &mut Dice) -> Vec<Hook> {
        let own = self.hooks();
        match self {
            Self::Nat if dice.percent(40) => vec![Hook::Prerouting, Hook::Output],
            Self::Nat if dice.percent(20) => vec![Hook::Postrouting, Hook::Input],
            _ if dice.percent(20) && self != Self::Nat => own.to_vec(),
            _ => vec![*dice.of(own)],
        }
    }
}

impl Place<'_> {
    /// Whether all packets of the chain come by these hooks.
    pub(super) fn only(&self, hooks: &[Hook]) -> bool {
        self.hooks.iter().all(|hook| hooks.contains(hook))
    }

    pub(super) fn has_in(&self) -> bool {
        !self.is_base || self.only(&[Hook::Prerouting, Hook::Input, Hook::Forward])
    }

    pub(super) fn has_out(&self) -> bool {
        !self.is_base || self.only(&[Hook::Forward, Hook::Output, Hook::Postrouting])
    }

    /// An address that packets may have.
    pub(super) fn address(&self, dice: &mut Dice) -> String {
        let all = self.plan.hosts.len();
        let of_host = |dice: &mut Dice, host: usize| {
            let own: Vec<_> = self.plan.addresses(host, self.family).collect();
            (!own.is_empty()).then(|| dice.of(&own).to_string())
        };
        let address = match dice.number(0, 9) {
            0..=5 => {
                let host = dice.number(0, all - 1);
                of_host(dice, host)
            }
            6 => of_host(dice, self.host),
            7 => Some(
                on_wire(
                    self.family,
                    dice.number(0, self.plan.wires.len() - 1),
                    if dice.percent(50) { 77 } else { 78 },
                )
                .to_string(),
            ),
            _ => None,
        };
        address.unwrap_or_else(|| virtual_address(self.family, [1, 2, 3][dice.number(0, 2)]).to_string())
    }

    /// An address or network that packets may have.
    pub(super) fn prefix(&self, dice: &mut Dice) -> String {
        match dice.number(0, 9) {
            0..=5 => self.address(dice),
            6..=8 => net_of(self.family, dice.number(0, self.plan.wires.len() - 1)),
            _ if self.family == Family::Ip4 => dice.word(&["10.0.0.0/8", "10.96.0.0/16"]).to_owned(),
            _ => dice.word(&["fd00::/16", "fd00:96::/32", "fd00:0:0:1::2"]).to_owned(),
        }
    }

    /// A name of an interface, or a pattern.
    pub(super) fn interface(&self, dice: &mut Dice) -> String {
        match dice.number(0, 7) {
            0 => "lo".to_owned(),
            1 => "eth+".to_owned(),
            2 => "eth1".to_owned(),
            _ => dice.of(&self.plan.hosts[self.host].links).name.clone(),
        }
    }

    pub(super) fn has_ports(&self) -> bool {
        matches!(self.protocol, "tcp" | "udp")
    }
}

/// A port that servers or clients may have.
pub(super) fn port(dice: &mut Dice) -> u16 {
    match dice.number(0, 9) {
        0..=6 => *dice.of(&super::network::SERVER_PORTS),
        7 | 8 => *dice.of(&super::flows::CLIENT_PORTS),
        _ => 9999,
    }
}

/// The rules of a host, as blocks of a scenario.
pub(super) fn of_host(dice: &mut Dice, plan: &Plan, host: usize) -> String {
    let chance = if plan.hosts[host].is_router { 92 } else { 30 };
    if !dice.percent(chance) {
        return String::new();
    }
    let mut text = String::new();
    let backends: &[&str] = match dice.weighted(&[(58, 0), (34, 1), (8, 2)]) {
        0 => &[""],
        1 => &["-legacy"],
        _ => &["", "-legacy"],
    };
    let used = sets::of_host(dice, plan, &mut text);
    for backend in backends {
        for family in plan.families.iter().copied() {
            let block = if family == Family::Ip4 { "iptables" } else { "ip6tables" };
            let tables = tables(dice, plan, host, family, !backend.is_empty(), used);
            if !tables.is_empty() {
                let _ = write!(text, "  {block}{backend}\n{tables}");
            }
        }
    }
    text
}

fn tables(dice: &mut Dice, plan: &Plan, host: usize, family: Family, is_legacy: bool, sets: bool) -> String {
    let mut text = String::new();
    for (percent, table) in Table::ALL {
        if !dice.percent(percent) {
            continue;
        }
        let _ = writeln!(text, "    *{}", table.name());
        // User chains first: each may call those after it.
        let users: Vec<(String, Vec<Hook>)> =
            (0..dice.number(0, 3)).map(|number| (format!("u{number}"), table.shared(dice))).collect();
        for (name, _) in &users {
            let _ = writeln!(text, "    :{name} - [0:0]");
        }
        if table != Table::Nat && dice.percent(6) {
            let _ = writeln!(text, "    :{} DROP [0:0]", dice.of(table.hooks()).chain_name());
        }
        for hook in table.hooks() {
            let busy = match (table, hook) {
                (Table::Nat, Hook::Prerouting) => dice.number(1, 5),
                (Table::Nat, Hook::Input) => usize::from(dice.percent(12)),
                _ => dice.number(0, 3),
            };
            let hooks = [*hook];
            let place =
                Place { plan, host, family, table, hooks: &hooks, is_base: true, protocol: "", is_legacy };
            for _ in 0..busy {
                let called: Vec<&str> = callable(&users, 0, &hooks);
                let _ = writeln!(text, "    -A {} {}", hook.chain_name(), rule(dice, place, &called, sets));
            }
        }
        for (number, (name, hooks)) in users.iter().enumerate() {
            let place = Place { plan, host, family, table, hooks, is_base: false, protocol: "", is_legacy };
            for _ in 0..dice.number(0, 3) {
                let called = callable(&users, number + 1, hooks);
                let _ = writeln!(text, "    -A {name} {}", rule(dice, place, &called, sets));
            }
        }
        text.push_str("    COMMIT\n");
    }
    text
}

/// The user chains that a chain reached by these hooks may call.
fn callable<'u>(users: &'u [(String, Vec<Hook>)], from: usize, hooks: &[Hook]) -> Vec<&'u str> {
    let fits = |(_, own): &&(String, Vec<Hook>)| hooks.iter().all(|hook| own.contains(hook));
    users.iter().skip(from).filter(fits).map(|(name, _)| name.as_str()).collect()
}

fn rule(dice: &mut Dice, place: Place<'_>, called: &[&str], sets: bool) -> String {
    let icmp = if place.family == Family::Ip4 { "icmp" } else { "ipv6-icmp" };
    let protocol = match dice.weighted(&[(34, 0), (30, 1), (22, 2), (10, 3), (2, 4), (2, 5)]) {
        0 => "",
        1 => "tcp",
        2 => "udp",
        3 => icmp,
        4 => dice.word(&["sctp", "dccp", "udplite", "esp", "ah", "gre"]),
        _ => "!",
    };
    // `! -p X` and what follows from no protocol.
    let negated = protocol == "!";
    let place = Place { protocol: if negated { "" } else { protocol }, ..place };
    let mut words = Vec::new();
    if negated {
        words.push(format!("! -p {}", dice.word(&["tcp", "udp", icmp])));
    } else if !protocol.is_empty() {
        words.push(format!("-p {protocol}"));
    }
    matches::header(dice, &place, &mut words);
    matches::modules(dice, &place, sets, &mut words);
    words.push(targets::target(dice, &place, called));
    words.retain(|word| !word.is_empty());
    words.join(" ")
}
