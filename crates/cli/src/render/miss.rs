//! Why a rule did not apply: the first of its conditions that failed, in the words of the rule itself.

use natpath_model::{Direction, Expr, Field, Manip, Match, Test, Xt, words};

use super::view::RuleView;

/// The condition with this index, sliced out of the rule's text; described where it is not found there.
pub(crate) fn failed(rule: &RuleView<'_>, index: u32) -> String {
    let Some(condition) = rule.rule.matches.get(index as usize) else {
        return "a condition".to_owned();
    };
    match condition {
        Match::Is(test) => of_test(rule.text, test),
        Match::AnyOf { tests, .. } => {
            tests.first().map_or_else(|| "a condition".to_owned(), |test| of_test(rule.text, test))
        }
        Match::Chance { .. } => {
            slice(rule.text, &["--probability"]).unwrap_or_else(|| "a draw by chance".into())
        }
        Match::Nth { .. } => slice(rule.text, &["--every"]).unwrap_or_else(|| "a count of packets".into()),
        Match::Xt(condition) => of_extension(rule.text, condition),
        Match::Opaque(opaque) => opaque.text.clone(),
    }
}

/// All the words of an extension's match, from its `-m` to the next one.
fn of_extension(text: &str, condition: &Xt) -> String {
    let name = condition.name();
    let words = words(text);
    let begin = words.windows(2).position(|pair| pair[0] == "-m" && pair[1] == name);
    let Some(begin) = begin.filter(|_| !name.is_empty()) else {
        return match condition {
            Xt::AbsentHeader { text } => text.clone(),
            _ => format!("-m {name}"),
        };
    };
    let ends = |word: &&&str| !matches!(**word, "-m" | "-j" | "-g");
    let count = words[begin + 1..].iter().take_while(ends).count();
    words[begin..=begin + count].join(" ")
}

fn of_test(text: &str, test: &Test) -> String {
    let field = test.expr.field();
    let found = slice(text, options(field));
    found.unwrap_or_else(|| match test.expr {
        Expr::Field(_) => describe(field).to_owned(),
        Expr::Masked { .. } => format!("{} (masked)", describe(field)),
    })
}

/// The first of the options that occurs in the text, with a `!` before it and its values after it.
fn slice(text: &str, options: &[&str]) -> Option<String> {
    let words = words(text);
    let at = words.iter().position(|word| options.contains(word))?;
    let begin = if at > 0 && words[at - 1] == "!" { at - 1 } else { at };
    let values = words[at + 1..].iter().take_while(|word| !word.starts_with('-') && **word != "!").count();
    Some(words[begin..=at + values].join(" "))
}

/// The options of iptables that ask for a field.
fn options(field: Field) -> &'static [&'static str] {
    match field {
        Field::InInterface => &["-i"],
        Field::OutInterface => &["-o"],
        Field::Protocol => &["-p"],
        Field::Address(Manip::Src) => &["-s", "--src-range"],
        Field::Address(Manip::Dst) => &["-d", "--dst-range"],
        Field::Port(Manip::Src) => &["--sport", "--sports", "--ports"],
        Field::Port(Manip::Dst) => &["--dport", "--dports", "--ports"],
        Field::TcpFlags => &["--tcp-flags", "--syn"],
        Field::TcpOption(_) => &["--tcp-option"],
        Field::IcmpType => &["--icmp-type"],
        Field::Icmp6Type => &["--icmpv6-type"],
        Field::LaterFragment => &["-f"],
        Field::Mark | Field::ConnMark => &["--mark"],
        Field::AddressType { of: Manip::Src, .. } => &["--src-type"],
        Field::AddressType { of: Manip::Dst, .. } => &["--dst-type"],
        Field::CtState => &["--ctstate", "--state"],
        Field::CtStatus => &["--ctstatus"],
        Field::CtAddress(Direction::Original, Manip::Src) => &["--ctorigsrc"],
        Field::CtAddress(Direction::Original, Manip::Dst) => &["--ctorigdst"],
        Field::CtAddress(Direction::Reply, Manip::Src) => &["--ctreplsrc"],
        Field::CtAddress(Direction::Reply, Manip::Dst) => &["--ctrepldst"],
        Field::CtPort(Direction::Original, Manip::Src) => &["--ctorigsrcport"],
        Field::CtPort(Direction::Original, Manip::Dst) => &["--ctorigdstport"],
        Field::CtPort(Direction::Reply, Manip::Src) => &["--ctreplsrcport"],
        Field::CtPort(Direction::Reply, Manip::Dst) => &["--ctrepldstport"],
        Field::CtProtocol => &["--ctproto"],
        Field::CtDirection => &["--ctdir"],
        Field::CtExpires => &["--ctexpire"],
        Field::Length => &["--length"],
        Field::Ttl => &["--ttl-eq", "--ttl-gt", "--ttl-lt", "--hl-eq", "--hl-gt", "--hl-lt"],
        Field::Dscp => &["--dscp", "--dscp-class"],
        Field::Tos => &["--tos", "--ecn-ip-ect"],
        Field::SourceMac => &["--mac-source"],
        Field::PacketType => &["--pkt-type"],
        Field::Realm => &["--realm"],
        Field::Ip6Headers => &["--header"],
        Field::BridgeIn => &["--physdev-in", "--physdev-is-in"],
        Field::BridgeOut => &["--physdev-out", "--physdev-is-out"],
        Field::Bridged => &["--physdev-is-bridged"],
    }
}

/// A field in plain words.
fn describe(field: Field) -> &'static str {
    match field {
        Field::InInterface => "the in-interface",
        Field::OutInterface => "the out-interface",
        Field::Protocol => "the protocol",
        Field::Address(Manip::Src) => "the source address",
        Field::Address(Manip::Dst) => "the destination address",
        Field::Port(Manip::Src) => "the source port",
        Field::Port(Manip::Dst) => "the destination port",
        Field::TcpFlags => "the TCP flags",
        Field::TcpOption(_) => "a TCP option",
        Field::IcmpType | Field::Icmp6Type => "the ICMP type",
        Field::LaterFragment => "the fragment offset",
        Field::Mark => "the packet's mark",
        Field::ConnMark => "the connection's mark",
        Field::AddressType { of: Manip::Src, .. } => "the source address's type",
        Field::AddressType { of: Manip::Dst, .. } => "the destination address's type",
        Field::CtState => "the connection's state",
        Field::CtStatus => "the connection's status",
        Field::CtAddress(..) => "an address of the connection",
        Field::CtPort(..) => "a port of the connection",
        Field::CtProtocol => "the connection's protocol",
        Field::CtDirection => "the direction",
        Field::CtExpires => "the connection's remaining time",
        Field::Length => "the length",
        Field::Ttl => "the time to live",
        Field::Dscp => "the DSCP",
        Field::Tos => "the type of service",
        Field::SourceMac => "the hardware source address",
        Field::PacketType => "the kind of frame",
        Field::Realm => "the route's realm",
        Field::Ip6Headers => "the IPv6 headers",
        Field::BridgeIn => "the bridge port it came in by",
        Field::BridgeOut => "the bridge port it goes out by",
        Field::Bridged => "whether it is bridged",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_sliced_with_its_negation_and_values() {
        let text =
            r#"-A c ! -d 192.0.2.1/32 -p tcp -m comment --comment "a -i b" --tcp-flags SYN,RST SYN -j X"#;
        let check = |field, expected: Option<&str>| {
            assert_eq!(slice(text, options(field)).as_deref(), expected, "{field:?}");
        };
        check(Field::Address(Manip::Dst), Some("! -d 192.0.2.1/32"));
        check(Field::Protocol, Some("-p tcp"));
        check(Field::TcpFlags, Some("--tcp-flags SYN,RST SYN"));
        check(Field::InInterface, None);
    }
}
