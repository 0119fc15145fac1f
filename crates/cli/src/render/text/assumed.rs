//! The assumptions of a path: those of one kind on one host are one line, and so are the same files
//! missing on several hosts.

use natpath_engine::trace::Assumption;

use super::words::listed;
use super::wrap::GLUE;

/// The assumptions as lines, in their order; that the outside answers is left out for an address that is
/// nobody's.
pub(crate) fn lines(assumptions: &[Assumption], nobody_answers: bool) -> Vec<String> {
    let mut groups: Vec<Vec<&Assumption>> = Vec::new();
    for assumption in assumptions {
        if nobody_answers && matches!(assumption, Assumption::OutsideAnswers { .. }) {
            continue;
        }
        match groups.iter_mut().find(|group| belong_together(group[0], assumption)) {
            Some(group) => group.push(assumption),
            None => groups.push(vec![assumption]),
        }
    }
    let mut lines: Vec<(Vec<&str>, String)> = Vec::new();
    for group in &groups {
        let (host, text) = match group[0] {
            Assumption::Missing { host, .. } => (host.as_str(), missing(group)),
            _ => ("", told(group)),
        };
        match lines.iter_mut().find(|(hosts, known)| !host.is_empty() && !hosts.is_empty() && *known == text)
        {
            Some((hosts, _)) => hosts.push(host),
            None if host.is_empty() => lines.push((Vec::new(), text)),
            None => lines.push((vec![host], text)),
        }
    }
    lines.into_iter().map(|(hosts, text)| of_hosts(&hosts, text)).collect()
}

/// What an undecided result depends on: no assumptions, but what the verdict is about. Constructs of rules, or
/// else what acts beside netfilter.
pub(crate) fn open(assumptions: &[Assumption]) -> Vec<Assumption> {
    let of = |is_it: fn(&Assumption) -> bool| -> Vec<Assumption> {
        assumptions.iter().filter(|assumption| is_it(assumption)).cloned().collect()
    };
    let constructs = of(|assumption| matches!(assumption, Assumption::Opaque { applies: None, .. }));
    if constructs.is_empty() {
        of(|assumption| matches!(assumption, Assumption::Bypass { .. }))
    } else {
        constructs
    }
}

/// Whether two assumptions are of one kind and host.
fn belong_together(first: &Assumption, other: &Assumption) -> bool {
    use Assumption::{AssumedHost, Missing, NthStart, Opaque, OutsideAnswers, Unread};
    match (first, other) {
        (Missing { host: a, .. }, Missing { host: b, .. })
        | (AssumedHost { host: a, .. }, AssumedHost { host: b, .. })
        | (OutsideAnswers { host: a, .. }, OutsideAnswers { host: b, .. })
        | (Unread { host: a, .. }, Unread { host: b, .. })
        | (NthStart { host: a, .. }, NthStart { host: b, .. }) => a == b,
        (Opaque { host: a, applies: one, .. }, Opaque { host: b, applies: two, .. }) => a == b && one == two,
        _ => false,
    }
}

/// The files that one host lacks, each with what stands in for it, without the host's name.
fn missing(group: &[&Assumption]) -> String {
    let texts: Vec<_> = group.iter().map(ToString::to_string).collect();
    let parts: Vec<_> = texts
        .iter()
        .filter_map(|text| {
            let (file, stands_in) = text.split_once(": assumed that ")?;
            Some((file.split_once(" has no ")?.1, stands_in))
        })
        .collect();
    match &parts[..] {
        [(file, stands_in)] => format!("no {file}: assumed that {stands_in}"),
        parts => {
            let pairs = parts.iter().map(|(file, stands_in)| format!("no {file} (assumed: {stands_in})"));
            listed(&pairs.collect::<Vec<_>>())
        }
    }
}

fn of_hosts(hosts: &[&str], text: String) -> String {
    match hosts {
        [] => text,
        [one] => format!("{one} has {text}"),
        many => format!("{} have {}", listed(many), text.replace("it has", "they have")),
    }
}

/// What is assumed of one host, said once.
fn told(group: &[&Assumption]) -> String {
    let ([first], rest) = group.split_at(1) else { return String::new() };
    if rest.is_empty() {
        return first.to_string();
    }
    let each = |say: &dyn Fn(&Assumption) -> Option<String>| -> Vec<String> {
        let mut said: Vec<String> = Vec::new();
        for text in group.iter().filter_map(|assumption| say(assumption)) {
            if !said.contains(&text) {
                said.push(text);
            }
        }
        said
    };
    match first {
        Assumption::AssumedHost { host, .. } => {
            let addresses = each(&|one| match one {
                Assumption::AssumedHost { address, interface, .. } => {
                    Some(format!("{address} ({interface})"))
                }
                _ => None,
            });
            format!("{} are assumed to be hosts behind {host} that answer on every port", listed(&addresses))
        }
        Assumption::OutsideAnswers { host, .. } => {
            let interfaces = each(&|one| match one {
                Assumption::OutsideAnswers { interface, .. } => Some(interface.to_string()),
                _ => None,
            });
            let interfaces = listed(&interfaces);
            format!("what lies beyond {host} {interfaces} is assumed to answer by the way it was reached")
        }
        Assumption::Unread { host, .. } => {
            let places = each(&|one| match one {
                Assumption::Unread { place, .. } => Some(place.clone()),
                _ => None,
            });
            format!("{host} {} can't be read and are left out", listed(&places))
        }
        Assumption::NthStart { host, .. } => {
            let places = each(&|one| match one {
                Assumption::NthStart { place, .. } => Some(place.clone()),
                _ => None,
            });
            let places = listed(&places);
            format!(
                "{host} {places}: the counters of statistic nth are not listed; each start is taken as equally likely"
            )
        }
        Assumption::Opaque { host, applies, .. } => {
            let constructs: Vec<_> = by_construct(group).iter().map(construct_text).collect();
            let reasons = each(&|one| match one {
                Assumption::Opaque { reason, .. } => Some(reason.clone()),
                _ => None,
            });
            let taken = match applies {
                Some(true) => "assumed to match",
                Some(false) => "assumed not to match",
                None => "the result depends on them",
            };
            format!("{host}: {} can't be decided ({}); {taken}", listed(&constructs), reasons.join(", "))
        }
        _ => each(&|one| Some(one.to_string())).join("; "),
    }
}

/// Each construct with the places it stands in.
fn by_construct<'a>(group: &[&'a Assumption]) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut constructs: Vec<(&str, Vec<&str>)> = Vec::new();
    for assumption in group {
        let Assumption::Opaque { construct, place, .. } = assumption else { continue };
        match constructs.iter_mut().find(|(known, _)| known == construct) {
            Some((_, places)) => places.push(place),
            None => constructs.push((construct, vec![place])),
        }
    }
    constructs
}

/// `-m owner (iptables-save:10, 12 and 14)`.
fn construct_text((construct, places): &(&str, Vec<&str>)) -> String {
    let file = |place: &str| place.rsplit_once(':').map(|(file, _)| file.to_owned());
    let mut last = None;
    let short = places.iter().map(|place| {
        let same = last.is_some() && last == file(place);
        last = file(place);
        if same { place.rsplit(':').next().unwrap_or(place) } else { *place }
    });
    format!("{} ({})", construct.replace(' ', GLUE), listed(&short.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixture::{address, interface};
    use natpath_model::Item;

    #[test]
    fn files_missing_on_one_host_or_on_several_are_one_line() {
        let missing = |host: &str, item| Assumption::Missing { host: host.into(), item };
        let given = [
            missing("a", Item::Sockets),
            Assumption::HistoriesCut { kept: 64 },
            missing("b", Item::Sysctls),
            missing("c", Item::Sockets),
            missing("b", Item::Sockets),
        ];
        let begins =
            ["a and c have no sockets: ", "only the 64 most", "b has no sysctl (assumed: forwarding"];
        begin(&given, &begins);
    }

    #[test]
    fn what_is_assumed_of_one_host_is_one_line() {
        let host = |text: &str| Assumption::AssumedHost {
            address: address(text),
            host: "r".into(),
            interface: interface("eth0"),
        };
        let outside = |interface| Assumption::OutsideAnswers { host: "r".into(), interface };
        let given = [host("10.0.0.5"), outside(interface("eth1")), host("10.0.0.6")];
        begin(
            &given,
            &["10.0.0.5 (eth0) and 10.0.0.6 (eth0) are assumed", "what lies beyond r eth1 is assumed"],
        );
    }

    fn begin(given: &[Assumption], begins: &[&str]) {
        let found = lines(given, false);
        assert_eq!(found.len(), begins.len(), "{found:?}");
        assert!(found.iter().zip(begins).all(|(line, begin)| line.starts_with(begin)), "{found:?}");
    }
}
