//! Reads `key = value` lines as `sysctl -a` prints them.

use natpath_model::{Diagnostic, Severity, Sysctls};

/// Reads kernel parameters. Slashes in a name written with slashes become dots and the reverse, as in
/// sysctl(8); `#` and `;` begin a comment.
#[must_use]
pub fn parse(text: &str, file_name: &str) -> (Sysctls, Vec<Diagnostic>) {
    let mut sysctls = Sysctls::default();
    let mut diagnostics = Vec::new();
    for (number, line) in (1u32..).zip(text.lines()) {
        let body = line.trim();
        if body.is_empty() || body.starts_with(['#', ';']) {
            continue;
        }
        match body.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                sysctls.set(&dotted(name.trim()), value.trim());
            }
            _ => diagnostics.push(fault(file_name, number, line)),
        }
    }
    (sysctls, diagnostics)
}

/// The name in sysctl's own spelling: `net/ipv4/conf/eth0.5/x` is `net.ipv4.conf.eth0/5.x`.
fn dotted(name: &str) -> String {
    // sysctl(8): the first separator that occurs decides which of the two separates.
    match name.find(['.', '/']).map(|at| name.as_bytes()[at]) {
        Some(b'/') => name
            .chars()
            .map(|character| match character {
                '/' => '.',
                '.' => '/',
                other => other,
            })
            .collect(),
        _ => name.to_owned(),
    }
}

fn fault(file_name: &str, line: u32, text: &str) -> Diagnostic {
    // `sysctl -a` without root mixes its complaints into the output of a careless redirection.
    let column = text.len() - text.trim_start().len() + 1;
    Diagnostic {
        severity: Severity::Warning,
        code: "syntax",
        file: file_name.to_owned(),
        line,
        column: u32::try_from(column).unwrap_or(u32::MAX),
        message: "expected `key = value`".to_owned(),
        help: "write the output of `sysctl -a`, one parameter a line".to_owned(),
        construct: None,
        text: text.trim().chars().take(200).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let (sysctls, _) = parse(text, "sysctl");
        assert_eq!(sysctls.iter().collect::<Vec<_>>(), expected, "{text}");
    }

    #[test]
    fn parameters_are_read() {
        check("net.ipv4.ip_forward = 1\n", &[("net.ipv4.ip_forward", "1")]);
        check("# a comment\n\nnet.ipv4.ip_forward=0", &[("net.ipv4.ip_forward", "0")]);
        check("net/ipv4/conf/eth0.5/rp_filter = 2", &[("net.ipv4.conf.eth0/5.rp_filter", "2")]);
        check("net.ipv4.conf.eth0/5.rp_filter = 2", &[("net.ipv4.conf.eth0/5.rp_filter", "2")]);
        check(
            "net.ipv4.ip_local_port_range = 32768\t60999",
            &[("net.ipv4.ip_local_port_range", "32768\t60999")],
        );
        check("kernel.domainname = (none)\r\n", &[("kernel.domainname", "(none)")]);
    }

    #[test]
    fn other_lines_are_reported_with_their_place() {
        let (sysctls, diagnostics) = parse("a = 1\n  sysctl: permission denied\n= 3\n", "sysctl");
        assert_eq!(sysctls.len(), 1);
        let places: Vec<_> = diagnostics.iter().map(|fault| (fault.line, fault.column)).collect();
        assert_eq!(places, [(2, 3), (3, 1)]);
    }
}
