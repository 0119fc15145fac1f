//! The assumptions of a path; the same file missing on several hosts is one line.

use natpath_engine::trace::Assumption;

/// The assumptions as lines, in their order; that the outside answers is left out for an address that is
/// nobody's.
pub(crate) fn lines(assumptions: &[Assumption], nobody_answers: bool) -> Vec<String> {
    let mut lines: Vec<(Option<&Assumption>, Vec<&str>, String)> = Vec::new();
    for assumption in assumptions {
        if nobody_answers && matches!(assumption, Assumption::OutsideAnswers { .. }) {
            continue;
        }
        let text = assumption.to_string();
        let Assumption::Missing { host, item } = assumption else {
            lines.push((None, Vec::new(), text));
            continue;
        };
        let same = lines.iter_mut().find(
            |(first, ..)| matches!(first, Some(Assumption::Missing { item: known, .. }) if known == item),
        );
        match same {
            Some((_, hosts, _)) => hosts.push(host),
            None => lines.push((Some(assumption), vec![host], text)),
        }
    }
    lines.into_iter().map(|(_, hosts, text)| joined(&hosts, text)).collect()
}

/// `a has no sysctl: ...` said of several hosts.
fn joined(hosts: &[&str], text: String) -> String {
    match (hosts, text.split_once(" has no ")) {
        ([_, _, ..], Some((_, rest))) => format!("{} have no {rest}", hosts.join(", ")),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use natpath_model::Item;

    #[test]
    fn one_file_missing_on_several_hosts_is_one_line() {
        let missing = |host: &str, item| Assumption::Missing { host: host.into(), item };
        let given = [
            missing("a", Item::Sysctls),
            missing("a", Item::Sockets),
            Assumption::HistoriesCut { kept: 64 },
            missing("b", Item::Sockets),
        ];
        let found = lines(&given, false);
        let begins = ["a has no sysctl: ", "a, b have no sockets: ", "only the 64 most"];
        assert_eq!(found.len(), begins.len(), "{found:?}");
        assert!(found.iter().zip(begins).all(|(line, begin)| line.starts_with(begin)), "{found:?}");
    }
}
