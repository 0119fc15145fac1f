//! Random ipsets, and the matches and targets that use them.

use std::fmt::Write;

use natpath_model::Family;

use super::dice::Dice;
use super::network::Plan;
use super::rules::Place;
use super::rules::Table;

/// Makes the sets of a host, or none; says whether there are any.
pub(super) fn of_host(dice: &mut Dice, plan: &Plan, text: &mut String) -> bool {
    if !dice.percent(45) {
        return false;
    }
    text.push_str("  ipset\n");
    for family in plan.families.iter().copied() {
        let (word, number) = if family == Family::Ip4 { ("inet", 4) } else { ("inet6", 6) };
        let hooks = [];
        let place = Place {
            plan,
            host: 0,
            family,
            table: Table::Filter,
            hooks: &hooks,
            is_base: false,
            protocol: "",
            is_legacy: false,
        };
        let _ = writeln!(text, "    create ip{number} hash:ip family {word}");
        let _ = writeln!(text, "    create net{number} hash:net family {word}");
        let _ = writeln!(text, "    create ipport{number} hash:ip,port family {word}");
        let _ = writeln!(text, "    create three{number} hash:ip,port,ip family {word}");
        let mut added: Vec<String> = Vec::new();
        for _ in 0..dice.number(1, 4) {
            let mut add = |line: String| {
                let key = line.split(" nomatch").next().unwrap_or_default().to_owned();
                if !added.contains(&key) {
                    added.push(key);
                    let _ = writeln!(text, "    {line}");
                }
            };
            add(format!("add ip{number} {}", place.address(dice)));
            let wire = dice.number(0, plan.wires.len() - 1);
            add(format!("add net{number} {}", super::network::net_of(family, wire)));
            if dice.percent(40) {
                add(format!("add net{number} {} nomatch", place.address(dice)));
            }
            let protocol = dice.word(&["tcp", "udp"]);
            let port = super::rules::port(dice);
            add(format!("add ipport{number} {},{protocol}:{port}", place.address(dice)));
            add(format!(
                "add three{number} {},{protocol}:{port},{}",
                place.address(dice),
                place.address(dice)
            ));
        }
        let _ = writeln!(text, "    create mine{number} hash:ip family {word}");
    }
    let _ = writeln!(text, "    create ports bitmap:port range 0-9999");
    let _ = writeln!(text, "    add ports 80");
    let _ = writeln!(text, "    add ports 443");
    true
}

/// `-m set`.
pub(super) fn condition(dice: &mut Dice, place: &Place<'_>) -> String {
    let number = if place.family == Family::Ip4 { 4 } else { 6 };
    let not = if dice.percent(25) { "! " } else { "" };
    let side = |dice: &mut Dice| dice.word(&["src", "dst", "dst"]);
    let what = match dice.number(0, 5) {
        0 => format!("ip{number} {}", side(dice)),
        1 => format!("net{number} {}", side(dice)),
        2 => format!("ipport{number} {},{}", side(dice), side(dice)),
        3 => format!("three{number} {},{},{}", side(dice), side(dice), side(dice)),
        4 => format!("mine{number} {}", side(dice)),
        _ => format!("ports {}", side(dice)),
    };
    format!("-m set {not}--match-set {what}")
}
