//! Reads listening sockets as `ss -H -lntup` prints them, with their options where `--inet-sockopt` asked for
//! those; without `-O` they stand on a line of their own.
//!
//! ```text
//! tcp LISTEN 0 128 127.0.0.1%lo:53 0.0.0.0:* users:(("named",pid=7,fd=3)) <-> inet-sockopt: ( is_icsk mc_loop)
//! ```

use std::net::IpAddr;

use natpath_model::{Bind, Diagnostic, Family, InterfaceName, Protocol, Socket};

use crate::diagnose::syntax;

/// Reads listening sockets. A header line and lines of sockets that take no connections are passed over.
#[must_use]
pub fn parse(text: &str, file_name: &str) -> (Vec<Socket>, Vec<Diagnostic>) {
    let (mut sockets, mut diagnostics): (Vec<Socket>, _) = (Vec::new(), Vec::new());
    // Whether the socket whose details follow is the last of `sockets`.
    let mut listed = false;
    for (number, line) in (1u32..).zip(text.lines()) {
        if line.starts_with('\t') {
            if let Some(socket) = sockets.last_mut().filter(|_| listed) {
                socket.transparent = transparent(line).or(socket.transparent);
            }
            continue;
        }
        listed = false;
        match socket(line) {
            Ok(socket) => {
                listed = socket.is_some();
                sockets.extend(socket);
            }
            Err((at, message)) => {
                let column = u32::try_from(at + 1).unwrap_or(u32::MAX);
                let help = "give the output of `ss -H -lntup`";
                diagnostics.push(syntax(file_name, (number, column), message, help, line));
            }
        }
    }
    (sockets, diagnostics)
}

/// Reads one line; `None` where it lists no socket that listens.
fn socket(line: &str) -> Result<Option<Socket>, (usize, String)> {
    let place = |word: &str| (word.as_ptr() as usize).saturating_sub(line.as_ptr() as usize);
    let mut words = line.split_whitespace().peekable();
    let Some(first) = words.next() else { return Ok(None) };
    if matches!(first, "Netid" | "State" | "Recv-Q") {
        return Ok(None);
    }
    // Without `-u` ss prints no column for the protocol.
    let (protocol, state) = match first {
        "LISTEN" => ("tcp", first),
        "UNCONN" => ("udp", first),
        netid => (netid, words.next().unwrap_or("")),
    };
    let protocol = match protocol {
        "tcp" | "mptcp" => Protocol::TCP,
        "udp" => Protocol::UDP,
        "sctp" => Protocol::SCTP,
        "dccp" => Protocol::DCCP,
        "udplite" | "UDPLITE" => Protocol::UDPLITE,
        // Sockets without ports.
        "raw" | "icmp" | "icmp6" | "???" | "nl" | "u_str" | "u_dgr" | "u_seq" | "p_raw" | "p_dgr"
        | "v_str" | "v_dgr" | "tipc" | "xdp" => return Ok(None),
        other => {
            return Err((place(first), format!("expected a protocol such as tcp or udp, found `{other}`")));
        }
    };
    match state {
        "LISTEN" | "UNCONN" => {}
        "" => return Err((line.len(), "expected the state of the socket".to_owned())),
        _ => return Ok(None),
    }
    let queues = (words.next(), words.next());
    let local = words.next().filter(|_| queues.1.is_some());
    let local = local.ok_or_else(|| (line.len(), "expected a local address and port".to_owned()))?;
    let (bind, interface, port) = endpoint(local)
        .ok_or_else(|| (place(local), format!("expected a local address ADDRESS:PORT, found `{local}`")))?;
    let process = words.find_map(|word| word.strip_prefix("users:((\"")).map(program);
    let transparent = transparent(line);
    Ok(port.map(|port| Socket { protocol, bind, port, interface, process, transparent }))
}

/// What `inet-sockopt: ( is_icsk transparent)` says; `None` where the options are not printed.
fn transparent(line: &str) -> Option<bool> {
    let (_, options) = line.split_once("inet-sockopt: (")?;
    let options = options.split(')').next().unwrap_or(options);
    Some(options.split_whitespace().any(|option| option == "transparent"))
}

/// The first program of `users:(("named",pid=7,fd=3))`, after its opening quote.
fn program(users: &str) -> String {
    users.split_once('"').map_or(users, |(name, _)| name).to_owned()
}

/// `ADDRESS[%INTERFACE]:PORT`; no port for `*`.
fn endpoint(text: &str) -> Option<(Bind, Option<InterfaceName>, Option<u16>)> {
    let (address, port) = text.rsplit_once(':')?;
    let port = if port == "*" { None } else { Some(port.parse().ok()?) };
    let (address, interface) = match address.split_once('%') {
        Some((address, name)) => {
            let name = name.trim_end_matches(']');
            (address, Some(InterfaceName::new(name)?))
        }
        None => (address, None),
    };
    if address == "*" {
        return Some((Bind::AnyBoth, interface, port));
    }
    let address: IpAddr = address.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    // A socket of IPv6 bound to a mapped address takes IPv4 packets (RFC 3493, section 3.7).
    let address = address.to_canonical();
    let bind = match address.is_unspecified() {
        true => Bind::Any(Family::of(address)),
        false => Bind::Address(address),
    };
    Some((bind, interface, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, bind: Bind, port: u16, interface: Option<&str>, process: Option<&str>) {
        let (sockets, diagnostics) = parse(line, "sockets");
        assert_eq!(diagnostics, [], "{line}");
        let [socket] = &sockets[..] else { panic!("{line}: {sockets:?}") };
        assert_eq!((socket.bind, socket.port), (bind, port), "{line}");
        assert_eq!(socket.interface, interface.and_then(InterfaceName::new), "{line}");
        assert_eq!(socket.process.as_deref(), process, "{line}");
    }

    #[test]
    fn sockets_are_read() {
        let address = |text: &str| Bind::Address(text.parse().expect("an address"));
        check("tcp LISTEN 0 128 0.0.0.0:80 0.0.0.0:*", Bind::Any(Family::Ip4), 80, None, None);
        check("tcp   LISTEN 0      128      [::]:80   [::]:* ", Bind::Any(Family::Ip6), 80, None, None);
        check("tcp LISTEN 0 128 *:80 *:*", Bind::AnyBoth, 80, None, None);
        check("udp UNCONN 0 0 127.0.0.1%lo:53 0.0.0.0:*", address("127.0.0.1"), 53, Some("lo"), None);
        check("udp UNCONN 0 0 0.0.0.0%eth0:67 0.0.0.0:*", Bind::Any(Family::Ip4), 67, Some("eth0"), None);
        check("udp UNCONN 0 0 [fe80::1]%eth0:546 [::]:*", address("fe80::1"), 546, Some("eth0"), None);
        check("tcp LISTEN 0 128 [::ffff:10.0.0.1]:80 *:*", address("10.0.0.1"), 80, None, None);
        check("tcp LISTEN 0 9 :::22 :::*", Bind::Any(Family::Ip6), 22, None, None);
        check("LISTEN 0 9 1.2.3.4:22 0.0.0.0:*", address("1.2.3.4"), 22, None, None);
        let users = "tcp LISTEN 0 5 *:80 *:* users:((\"nginx\",pid=7,fd=3),(\"nginx\",pid=8,fd=3))";
        check(users, Bind::AnyBoth, 80, None, Some("nginx"));
    }

    #[test]
    fn options_are_read_where_they_are_printed() {
        let check = |text: &str, expected: Option<bool>| {
            let (sockets, diagnostics) = parse(text, "sockets");
            assert_eq!(diagnostics, [], "{text}");
            assert_eq!(sockets.last().map(|socket| socket.transparent), Some(expected), "{text}");
        };
        let line = "tcp LISTEN 0 128 0.0.0.0:80 0.0.0.0:*";
        check(line, None);
        check(
            &format!("{line} ino:7 sk:1 <-> inet-sockopt: ( is_icsk mc_loop transparent mc_all)"),
            Some(true),
        );
        check(&format!("{line}\n\t inet-sockopt: ( is_icsk transparent)  "), Some(true));
        check(&format!("{line}\n\tskmem:(r0,rb131072)\n\tinet-sockopt: ( is_icsk mc_loop)"), Some(false));
        let other = "tcp ESTAB 0 0 10.0.0.1:22 10.0.0.2:5000\n\tinet-sockopt: ( transparent)";
        check(&format!("{line}\n{other}"), None);
    }

    #[test]
    fn other_lines_are_passed_over() {
        for line in [
            "",
            "Netid State  Recv-Q Send-Q Local Address:Port Peer Address:Port Process",
            "State  Recv-Q Send-Q Local Address:Port Peer Address:Port",
            "tcp ESTAB 0 0 10.0.0.1:22 10.0.0.2:5000",
            "raw UNCONN 0 0 *:255 *:*",
            "icmp6 UNCONN 0 0 *:58 *:*",
        ] {
            assert_eq!(parse(line, "sockets"), (vec![], vec![]), "{line}");
        }
    }

    #[test]
    fn faults_have_a_place() {
        let check = |text: &str, line: u32, column: u32| {
            let (_, diagnostics) = parse(text, "sockets");
            let places: Vec<_> = diagnostics.iter().map(|found| (found.line, found.column)).collect();
            assert_eq!(places, [(line, column)], "{text}");
        };
        check("\ntcp LISTEN 0 128 example:http 0.0.0.0:*", 2, 18);
        check("tcp LISTEN 0", 1, 13);
        check("tcp", 1, 4);
        check("  bash: ss: command not found", 1, 3);
        check("tcp LISTEN 0 128 1.2.3.4:70000 0.0.0.0:*", 1, 18);
    }
}
