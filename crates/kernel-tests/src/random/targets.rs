//! The targets of random rules: one of each kind that natpath carries out, where its table and hook allow it.

use natpath_model::{Family, Hook};

use super::dice::Dice;
use super::network::{on_wire, virtual_address};
use super::rules::{Place, Table, port};

/// A target, or a jump.
pub(super) fn target(dice: &mut Dice, place: &Place<'_>, called: &[&str]) -> String {
    if !called.is_empty() && dice.percent(25) {
        let verb = if dice.percent(75) { "-j" } else { "-g" };
        return format!("{verb} {}", dice.word(called));
    }
    if dice.percent(8) {
        return inert(dice, place);
    }
    match place.table {
        Table::Raw => raw(dice, place),
        Table::Mangle => mangle(dice, place),
        Table::Nat => nat(dice, place),
        Table::Filter => filter(dice, place),
        Table::Security => verdict(dice),
    }
}

fn verdict(dice: &mut Dice) -> String {
    dice.weighted(&[(40, "-j ACCEPT"), (12, "-j DROP"), (20, "-j RETURN"), (28, "")]).to_owned()
}

/// Targets that change no packet's path.
fn inert(dice: &mut Dice, place: &Place<'_>) -> String {
    match (dice.number(0, 5), place.table) {
        (0, _) => "-j LOG --log-prefix x".to_owned(),
        (1, _) => "-j NFLOG --nflog-group 1".to_owned(),
        (2, Table::Raw) => "-j TRACE".to_owned(),
        (3, Table::Mangle) if place.only(&[Hook::Forward, Hook::Output, Hook::Postrouting]) => {
            "-j CLASSIFY --set-class 1:1".to_owned()
        }
        (4, Table::Mangle) if place.protocol == "udp" => "-j CHECKSUM --checksum-fill".to_owned(),
        (5, Table::Filter) => "-j AUDIT --type accept".to_owned(),
        _ => String::new(),
    }
}

fn raw(dice: &mut Dice, place: &Place<'_>) -> String {
    match dice.number(0, 9) {
        0 | 1 => "-j NOTRACK".to_owned(),
        2 => "-j CT --notrack".to_owned(),
        3 => format!("-j CT --zone {}", dice.number(1, 3)),
        4 => format!("-j CT --zone-orig {}", dice.number(1, 3)),
        5 => format!("-j CT --zone-reply {}", dice.number(1, 3)),
        6 if place.protocol == "tcp" => "-j CT --helper ftp".to_owned(),
        7 => verdict(dice),
        _ => String::new(),
    }
}

fn mangle(dice: &mut Dice, place: &Place<'_>) -> String {
    let mark = dice.word(&["0x1", "0x2", "0x3", "0x0"]);
    match dice.number(0, 15) {
        0 | 1 => format!("-j MARK --set-xmark {mark}/0xffffffff"),
        2 => format!("-j MARK --set-xmark {mark}/0x3"),
        3 => dice
            .word(&["-j MARK --and-mark 0x2", "-j MARK --or-mark 0x4", "-j MARK --xor-mark 0x1"])
            .to_owned(),
        4 => format!("-j CONNMARK --set-xmark {mark}/0xffffffff"),
        5 => "-j CONNMARK --save-mark --nfmask 0x3 --ctmask 0x3".to_owned(),
        6 | 7 => "-j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff".to_owned(),
        8 => dice.word(&["-j TOS --set-tos 0x20/0xff", "-j TOS --set-tos 0x10/0x3f"]).to_owned(),
        9 => dice.word(&["-j DSCP --set-dscp 0x2e", "-j DSCP --set-dscp 0x00"]).to_owned(),
        10 => {
            let (name, option) = if place.family == Family::Ip4 { ("TTL", "ttl") } else { ("HL", "hl") };
            let verb = dice.word(&["set 64", "set 2", "dec 1", "inc 1"]);
            format!("-j {name} --{option}-{verb}")
        }
        11 if place.protocol == "tcp" => {
            let only = place.only(&[Hook::Forward, Hook::Output, Hook::Postrouting]);
            // The kernel wants to see a SYN in such a rule.
            if only {
                "-m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu".to_owned()
            } else {
                String::new()
            }
        }
        12 | 13 => verdict(dice),
        _ => String::new(),
    }
}

fn filter(dice: &mut Dice, place: &Place<'_>) -> String {
    match dice.number(0, 9) {
        0 | 1 => reject(dice, place),
        _ => verdict(dice),
    }
}

fn reject(dice: &mut Dice, place: &Place<'_>) -> String {
    if place.protocol == "tcp" && dice.percent(40) {
        return "-j REJECT --reject-with tcp-reset".to_owned();
    }
    let kinds: &[&str] = match place.family {
        Family::Ip4 => &[
            "icmp-port-unreachable",
            "icmp-net-unreachable",
            "icmp-host-unreachable",
            "icmp-proto-unreachable",
            "icmp-net-prohibited",
            "icmp-host-prohibited",
            "icmp-admin-prohibited",
        ],
        Family::Ip6 => {
            &["icmp6-no-route", "icmp6-adm-prohibited", "icmp6-addr-unreachable", "icmp6-port-unreachable"]
        }
    };
    format!("-j REJECT --reject-with {}", dice.word(kinds))
}

fn nat(dice: &mut Dice, place: &Place<'_>) -> String {
    if dice.percent(12) {
        return dice.word(&["-j ACCEPT", "-j RETURN", ""]).to_owned();
    }
    if place.only(&[Hook::Prerouting, Hook::Output]) {
        return match dice.number(0, 9) {
            0..=6 => dnat(dice, place),
            7 | 8 => redirect(dice, place),
            _ => format!("-j NETMAP --to {}", small_net(dice, place)),
        };
    }
    if place.only(&[Hook::Postrouting]) && dice.percent(55) {
        return masquerade(dice, place);
    }
    match dice.number(0, 9) {
        0 if place.only(&[Hook::Postrouting]) => format!("-j NETMAP --to {}", small_net(dice, place)),
        _ => snat(dice, place),
    }
}

fn small_net(dice: &mut Dice, place: &Place<'_>) -> String {
    let wire = dice.number(0, place.plan.wires.len() - 1);
    super::network::net_of(place.family, wire)
}

/// An address with a port in the words of `--to-destination`.
fn with_port(place: &Place<'_>, address: &str, port: &str) -> String {
    match place.family {
        Family::Ip4 => format!("{address}:{port}"),
        Family::Ip6 => format!("[{address}]:{port}"),
    }
}

fn dnat(dice: &mut Dice, place: &Place<'_>) -> String {
    let address = place.address(dice);
    let mut flags = "";
    let to = match dice.number(0, 15) {
        0..=2 => address,
        3..=9 if place.has_ports() => with_port(place, &address, &port(dice).to_string()),
        10 if place.has_ports() && dice.percent(40) => {
            flags = if dice.percent(25) { " --random" } else { "" };
            with_port(place, &address, "80-82")
        }
        11 if place.has_ports() && dice.percent(50) => with_port(place, &address, "80-82/8080"),
        12 => {
            flags = if dice.percent(40) { " --persistent" } else { "" };
            address_range(dice, place)
        }
        13 if place.has_ports() => with_port(place, &address_range(dice, place), "80"),
        14 if place.has_ports() => format!(":{}", port(dice)),
        _ => address,
    };
    format!("-j DNAT --to-destination {to}{flags}")
}

/// Servers on one wire.
fn address_range(dice: &mut Dice, place: &Place<'_>) -> String {
    let wire = dice.number(0, place.plan.wires.len() - 1);
    format!("{}-{}", on_wire(place.family, wire, 2), on_wire(place.family, wire, 5))
}

fn redirect(dice: &mut Dice, place: &Place<'_>) -> String {
    let ports = if place.has_ports() {
        match dice.number(0, 9) {
            0..=6 => format!(" --to-ports {}", port(dice)),
            7 => " --to-ports 80-82".to_owned(),
            _ => String::new(),
        }
    } else {
        String::new()
    };
    format!("-j REDIRECT{ports}")
}

fn masquerade(dice: &mut Dice, place: &Place<'_>) -> String {
    let options = match dice.number(0, 29) {
        0 if place.has_ports() => " --to-ports 5000-5002",
        1 if place.has_ports() => " --to-ports 4000",
        2 => " --random",
        3 => " --random-fully",
        _ => "",
    };
    format!("-j MASQUERADE{options}")
}

fn snat(dice: &mut Dice, place: &Place<'_>) -> String {
    let own: Vec<_> = place.plan.addresses(place.host, place.family).collect();
    let address = match dice.number(0, 9) {
        0 => place.address(dice),
        1 => virtual_address(place.family, 2).to_string(),
        _ if own.is_empty() => place.address(dice),
        _ => dice.of(&own).to_string(),
    };
    let mut flags = "";
    let to = match dice.number(0, 19) {
        0 if place.has_ports() => with_port(place, &address, "5000-5002"),
        1 | 2 if place.has_ports() => with_port(place, &address, "5000"),
        3 => {
            flags = if dice.percent(40) { " --persistent" } else { "" };
            let wire = dice.number(0, place.plan.wires.len() - 1);
            format!("{}-{}", on_wire(place.family, wire, 1), on_wire(place.family, wire, 3))
        }
        4 => {
            flags = dice.word(&[" --random", " --random-fully"]);
            address
        }
        _ => address,
    };
    format!("-j SNAT --to-source {to}{flags}")
}
