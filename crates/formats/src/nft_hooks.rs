//! `nft list hooks`: which functions run at each hook, in order. It settles what runs first where priorities are
//! equal.
//!
//! ```text
//! family ip {
//!         hook prerouting {
//!                 -0000000200 ipv4_conntrack_in [nf_conntrack]
//!                  0000000000 chain inet filter prerouting [nf_tables]
//! ```
//!
//! Both forms of nft are read: the one above (nft 1.0), and `family ip hook prerouting {` with
//! `nft_do_chain_inet [nf_tables] # nft table inet filter chain prerouting`.

use natpath_model::{Diagnostic, Family, Hook, HookEntry, HookFunction, Priority, TableFamily};

use crate::diagnose::syntax;

const HELP: &str = "give the untouched output of `nft list hooks`";

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line<'t> {
    /// Blank, or a brace.
    Structure,
    /// `family FAMILY {`, `hook HOOK {` or both.
    Head { family: Option<&'t str>, hook: Option<&'t str> },
    /// A function with its priority.
    Entry(&'t str),
}

/// Tells what a line is.
pub(crate) fn line(text: &str) -> Line<'_> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        [] | ["}"] => Line::Structure,
        ["family", family, "{"] => Line::Head { family: Some(family), hook: None },
        ["family", family, "hook", hook, ..] => Line::Head { family: Some(family), hook: Some(hook) },
        ["hook", hook, ..] => Line::Head { family: None, hook: Some(hook) },
        _ => Line::Entry(text.trim()),
    }
}

/// Reads what runs at the hooks of IPv4 and IPv6; what runs for bridges, ARP and devices is passed over.
#[must_use]
pub fn parse(text: &str, file_name: &str) -> (Vec<HookEntry>, Vec<Diagnostic>) {
    let mut entries = Vec::new();
    let mut diagnostics = Vec::new();
    let (mut family, mut hook) = ("", "");
    for (number, text) in (1u32..).zip(text.lines()) {
        match line(text) {
            Line::Structure => {}
            Line::Head { family: of, hook: at } => {
                family = of.unwrap_or(family);
                hook = at.unwrap_or("");
            }
            Line::Entry(_) if hook.is_empty() => {
                diagnostics.push(fault(
                    file_name,
                    number,
                    text,
                    "expected `family FAMILY {` or `hook HOOK {`",
                ));
            }
            Line::Entry(body) => {
                let Some((family, hook)) = place(family, hook) else { continue };
                match entry(body) {
                    Err(expected) => diagnostics.push(fault(file_name, number, text, expected)),
                    Ok((priority, function)) => {
                        entries.push(HookEntry { family, hook, priority, function });
                    }
                }
            }
        }
    }
    (entries, diagnostics)
}

/// The family and hook of IP packets; `None` for others.
fn place(family: &str, hook: &str) -> Option<(Family, Hook)> {
    let family = match family {
        "ip" => Family::Ip4,
        "ip6" => Family::Ip6,
        _ => return None,
    };
    Some((family, Hook::ALL.into_iter().find(|known| known.to_string() == hook)?))
}

/// Reads `-0000000200 ipv4_conntrack_in [nf_conntrack]`.
fn entry(body: &str) -> Result<(Priority, HookFunction), &'static str> {
    let (body, remark) = body.split_once('#').unwrap_or((body, ""));
    let mut words = body.split_whitespace();
    let priority = words.next().and_then(|word| word.parse().ok()).map(Priority);
    let priority = priority.ok_or("expected a priority, like -0000000200")?;
    let words: Vec<&str> = words.collect();
    let remark: Vec<&str> = remark.split_whitespace().collect();
    let chain = match (&words[..], &remark[..]) {
        (["chain", family, table, chain, ..], _) => Some((*family, *table, *chain)),
        (_, ["nft", "table", family, table, "chain", chain]) => Some((*family, *table, *chain)),
        _ => None,
    };
    if let Some((family, table, chain)) = chain {
        let family = match family {
            "ip" => TableFamily::Ip,
            "ip6" => TableFamily::Ip6,
            "inet" => TableFamily::Inet,
            _ => return Err("expected a chain of family ip, ip6 or inet"),
        };
        let (table, chain) = (table.to_owned(), chain.to_owned());
        return Ok((priority, HookFunction::Chain { family, table, chain }));
    }
    let name = words.first().ok_or("expected a function, or `chain FAMILY TABLE CHAIN`")?;
    Ok((priority, HookFunction::Kernel((*name).to_owned())))
}

fn fault(file: &str, line: u32, text: &str, expected: &str) -> Diagnostic {
    let column = text.len() - text.trim_start().len() + 1;
    syntax(file, (line, u32::try_from(column).unwrap_or(u32::MAX)), expected, HELP, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As nft(8) shows it.
    const NESTED: &str = "family ip {
\thook prerouting {
\t\t-0000000400 ipv4_conntrack_defrag [nf_defrag_ipv4]
\t\t-0000000200 ipv4_conntrack_in [nf_conntrack]
\t}
\thook input {
\t\t 0000000000 chain inet filter input [nf_tables]
\t\t+2147483647 nf_confirm [nf_conntrack]
\t}
}
family bridge {
\thook forward {
\t\t 0000000000 chain bridge b c [nf_tables]
\t}
}
";

    /// As nft printed it before, with the chain in a remark.
    const FLAT: &str = "family ip6 hook input {
        +0000000000 nft_do_chain_inet [nf_tables]       # nft table inet firewalld chain filter_INPUT
        +0000000000 ip6t_do_table [ip6_tables]
}
";

    fn check(text: &str, expected: &[(Family, Hook, i32, &str)]) {
        let (entries, diagnostics) = parse(text, "nft-hooks");
        let shown = |entry: &HookEntry| {
            let function = match &entry.function {
                HookFunction::Chain { family, table, chain } => format!("{family} {table} {chain}"),
                HookFunction::Kernel(name) => name.clone(),
            };
            (entry.family, entry.hook, entry.priority.0, function)
        };
        let found: Vec<_> = entries.iter().map(shown).collect();
        let expected: Vec<_> = expected.iter().map(|(a, b, c, d)| (*a, *b, *c, (*d).to_owned())).collect();
        assert_eq!((found, diagnostics), (expected, Vec::new()));
    }

    #[test]
    fn both_forms_are_read() {
        check(
            NESTED,
            &[
                (Family::Ip4, Hook::Prerouting, -400, "ipv4_conntrack_defrag"),
                (Family::Ip4, Hook::Prerouting, -200, "ipv4_conntrack_in"),
                (Family::Ip4, Hook::Input, 0, "inet filter input"),
                (Family::Ip4, Hook::Input, i32::MAX, "nf_confirm"),
            ],
        );
        check(
            FLAT,
            &[
                (Family::Ip6, Hook::Input, 0, "inet firewalld filter_INPUT"),
                (Family::Ip6, Hook::Input, 0, "ip6t_do_table"),
            ],
        );
    }

    #[test]
    fn what_is_no_entry_is_named_by_place() {
        let check = |text: &str, place: (u32, u32), message: &str| {
            let (_, diagnostics) = parse(text, "nft-hooks");
            let found: Vec<_> =
                diagnostics.iter().map(|found| (found.line, found.column, found.message.as_str())).collect();
            assert_eq!(found, [(place.0, place.1, message)], "{text}");
        };
        check("x\n", (1, 1), "expected `family FAMILY {` or `hook HOOK {`");
        check("family ip {\nhook input {\n  many ip_x\n", (3, 3), "expected a priority, like -0000000200");
        check("family ip hook input {\n 0\n", (2, 2), "expected a function, or `chain FAMILY TABLE CHAIN`");
    }
}
