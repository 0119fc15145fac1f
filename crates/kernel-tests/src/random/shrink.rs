//! Makes a scenario that differs as small as it can be: lines are left out as long as the judges still differ.

use super::judge;

/// The most attempts.
const ATTEMPTS: usize = 250;

/// A smaller text that still differs, and how.
pub(super) fn shrink(text: &str, name: &str, differences: Vec<String>) -> (String, Vec<String>) {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut best = differences;
    let mut attempts = 0;
    let mut size = lines.len() / 2;
    while size > 0 && attempts < ATTEMPTS {
        let mut at = lines.len();
        let mut removed = false;
        while at > 0 && attempts < ATTEMPTS {
            let from = at.saturating_sub(size);
            at = from;
            // Without its links and wires it would be another network, with faults of its own.
            let may_go = |line: &String| {
                !["title", "host ", "segment ", "  link "].iter().any(|kept| line.starts_with(kept))
            };
            if !lines[from..(from + size).min(lines.len())].iter().any(may_go) {
                continue;
            }
            let kept =
                |index: &usize, line: &&String| *index < from || *index >= from + size || !may_go(line);
            let fewer: Vec<String> = lines
                .iter()
                .enumerate()
                .filter(|(index, line)| kept(index, line))
                .map(|(_, line)| line.clone())
                .collect();
            attempts += 1;
            if let Some(differences) = differs(&fewer, name) {
                lines = fewer;
                best = differences;
                removed = true;
            }
        }
        if !removed || size > 1 {
            size /= 2;
        }
    }
    let mut text = lines.join("\n");
    text.push('\n');
    (text, best)
}

/// How the judges differ about these lines; `None` if they do not, or if the lines mean nothing.
fn differs(lines: &[String], name: &str) -> Option<Vec<String>> {
    let mut text = lines.join("\n");
    text.push('\n');
    // Twice, for what differs once by chance leads nowhere.
    let first = judge(&text, name).ok()?;
    if first.differences.is_empty() || first.flows.is_empty() {
        return None;
    }
    let second = judge(&text, name).ok()?;
    (!second.differences.is_empty()).then_some(second.differences)
}
