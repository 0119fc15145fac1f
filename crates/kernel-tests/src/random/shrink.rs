//! Makes a scenario that differs as small as it can be: lines are left out as long as the judges still differ.

use super::judge;

/// The most attempts.
const ATTEMPTS: usize = 300;

/// A smaller text that still differs, and how.
pub(super) fn shrink(text: &str, name: &str, differences: Vec<String>) -> (String, Vec<String>) {
    let lines = text.lines().map(str::to_owned).collect();
    let mut shrinking = Shrinking { lines, differences, name, attempts: 0 };
    // What is not sent costs no time, so flows go first. Without its links and wires it would be another
    // network, with faults of its own.
    let is_flow = |line: &str| line.starts_with("flow ");
    let is_small = |line: &str| {
        !["title", "host ", "segment ", "  link ", "flow "].iter().any(|kept| line.starts_with(kept))
    };
    shrinking.leave_out(1, is_flow);
    let mut size = shrinking.lines.len() / 2;
    while size > 0 {
        shrinking.leave_out(size, is_small);
        size /= 2;
    }
    shrinking.leave_out(1, is_flow);
    shrinking.leave_out(1, is_small);
    (shrinking.text(), shrinking.differences)
}

struct Shrinking<'a> {
    lines: Vec<String>,
    differences: Vec<String>,
    name: &'a str,
    attempts: usize,
}

impl Shrinking<'_> {
    fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Leaves out runs of `size` lines of a kind, from the last to the first.
    fn leave_out(&mut self, size: usize, may_go: impl Fn(&str) -> bool) {
        let mut at = self.lines.len();
        while at > 0 && self.attempts < ATTEMPTS {
            let from = at.saturating_sub(size);
            let goes = |index: usize, line: &str| (from..at).contains(&index) && may_go(line);
            let kept = |(index, line): &(usize, &String)| !goes(*index, line);
            let fewer: Vec<String> =
                self.lines.iter().enumerate().filter(kept).map(|(_, line)| line.clone()).collect();
            at = from;
            if fewer.len() == self.lines.len() {
                continue;
            }
            self.attempts += 1;
            if let Some(differences) = differs(&fewer, self.name) {
                (self.lines, self.differences) = (fewer, differences);
            }
        }
    }
}

/// How the judges differ about these lines; `None` if they do not, or if the lines mean nothing.
fn differs(lines: &[String], name: &str) -> Option<Vec<String>> {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let judged = judge(&text, name).ok()?;
    (!judged.differences.is_empty() && !judged.flows.is_empty()).then_some(judged.differences)
}
