//! The text of iptables rules: what a rule asks for in its own words, and commands that change it.

use natpath_model::{Family, Field, Manip, Match, words};

use crate::trace::Header;

/// The option of a rule's text with its value and the `!` before it.
pub(crate) fn option(text: &str, names: &[&str]) -> Option<String> {
    let words = words(text);
    let at = words.iter().position(|word| names.contains(word))?;
    let begin = if at > 0 && words[at - 1] == "!" { at - 1 } else { at };
    Some(words[begin..(at + 2).min(words.len())].join(" "))
}

/// The options that ask for a field.
pub(crate) fn options(field: Field) -> &'static [&'static str] {
    match field {
        Field::Address(Manip::Src) => &["-s"],
        Field::Address(Manip::Dst) => &["-d"],
        Field::Port(Manip::Src) => &["--sport", "--sports", "--ports"],
        Field::Port(Manip::Dst) => &["--dport", "--dports", "--ports"],
        _ => &[],
    }
}

/// The field that a condition asks for first.
pub(crate) fn field(condition: &Match) -> Option<Field> {
    match condition {
        Match::Is(test) => Some(test.expr.field()),
        Match::AnyOf { tests, .. } => tests.first().map(|test| test.expr.field()),
        Match::Chance { .. } | Match::Nth { .. } | Match::Xt(_) | Match::Opaque(_) => None,
    }
}

/// The words of a rule after its chain, with conditions on these fields changed to ask for the connection's
/// original destination: `-m conntrack --ctorigdstport 8080 --ctdir ORIGINAL` in place of `--dport 8080`.
/// Without `one_way` the rule takes the other direction as well.
pub(crate) fn ask_for_original(
    text: &str,
    fields: &[Option<Field>],
    side: Manip,
    one_way: bool,
) -> Option<String> {
    let mut rest: Vec<&str> = words(text);
    rest.drain(..rest.iter().position(|word| *word == "-A")? + 2);
    let mut asked = String::new();
    for field in fields {
        let (name, original) = match (*field)? {
            Field::Address(of) if of == side => (options((*field)?)[0], "--ctorigdst"),
            Field::Port(of) if of == side => (options((*field)?)[0], "--ctorigdstport"),
            _ => return None,
        };
        let at = rest.iter().position(|word| *word == name)?;
        if (at > 0 && rest[at - 1] == "!") || at + 1 >= rest.len() {
            return None;
        }
        asked += &format!(" {original} {}", rest[at + 1]);
        rest.drain(at..at + 2);
    }
    let direction = match side {
        _ if !one_way => "",
        Manip::Dst => " --ctdir ORIGINAL",
        Manip::Src => " --ctdir REPLY",
    };
    let target = rest.iter().position(|word| matches!(*word, "-j" | "-g"))?;
    let (conditions, target) = rest.split_at(target);
    let space = if conditions.is_empty() { "" } else { " " };
    let (conditions, target) = (conditions.join(" "), target.join(" "));
    Some(format!("{conditions}{space}-m conntrack{asked}{direction} {target}"))
}

/// Conditions that hold of a header: its addresses of these sides, its protocol, its port of one.
pub(crate) fn conditions(header: &Header, sides: &[Manip], port: Option<Manip>) -> String {
    let mut text = String::new();
    for side in sides {
        let (option, end) = match side {
            Manip::Src => ("-s", header.src),
            Manip::Dst => ("-d", header.dst),
        };
        text += &format!("{option} {}/{} ", end.address, Family::of(end.address).bits());
    }
    text += &format!("-p {}", header.protocol);
    match port.filter(|_| header.protocol.has_ports()) {
        Some(Manip::Src) => text += &format!(" --sport {}", header.src.port),
        Some(Manip::Dst) => text += &format!(" --dport {}", header.dst.port),
        None => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_asked_of_the_original_destination() {
        let check = |text: &str, fields: &[Field], side, expected: Option<&str>| {
            let fields: Vec<_> = fields.iter().copied().map(Some).collect();
            assert_eq!(ask_for_original(text, &fields, side, true).as_deref(), expected, "{text}");
        };
        let port = [Field::Port(Manip::Dst)];
        check(
            "-A DOCKER-USER -i eth0 -p tcp -m tcp --dport 8080 -j DROP",
            &port,
            Manip::Dst,
            Some("-i eth0 -p tcp -m tcp -m conntrack --ctorigdstport 8080 --ctdir ORIGINAL -j DROP"),
        );
        check(
            "-A c -d 192.0.2.1/32 -p tcp -m comment --comment \"a -j b\" -m tcp --dport 8080 -j ACCEPT",
            &[Field::Address(Manip::Dst), Field::Port(Manip::Dst)],
            Manip::Dst,
            Some(
                "-p tcp -m comment --comment \"a -j b\" -m tcp -m conntrack --ctorigdst 192.0.2.1/32 \
                 --ctorigdstport 8080 --ctdir ORIGINAL -j ACCEPT",
            ),
        );
        check("-A c -p tcp -m multiport --dports 80,81 -j DROP", &port, Manip::Dst, None);
        check("-A c -p tcp -m tcp ! --dport 80 -j DROP", &port, Manip::Dst, None);
        check("tcp dport 80 drop", &port, Manip::Dst, None);
    }

    #[test]
    fn an_option_is_found_with_its_negation() {
        let text = "-A c ! -d 192.0.2.1/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT";
        assert_eq!(option(text, &["-d"]).as_deref(), Some("! -d 192.0.2.1/32"));
        assert_eq!(option(text, &["--ctstate"]).as_deref(), Some("--ctstate RELATED,ESTABLISHED"));
        assert_eq!(option(text, &["-i"]), None);
    }
}
