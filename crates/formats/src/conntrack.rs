//! Reads `conntrack -L`, plain or `-o extended`, and /proc/net/nf_conntrack, which prints the latter.
//!
//! ```text
//! ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.2 dst=10.0.0.1 sport=4000 dport=80 src=10.1.0.2 ...
//! ```

use std::net::IpAddr;

use natpath_model::{
    Connection, Diagnostic, Endpoint, Port, Protocol, Status, TcpState, Tuple, Zone, ZoneDirection,
};

use crate::diagnose::syntax;

/// Reads connections in listed order. What the tool says of itself is passed over.
#[must_use]
pub fn parse(text: &str, file_name: &str) -> (Vec<Connection>, Vec<Diagnostic>) {
    let (mut connections, mut diagnostics) = (Vec::new(), Vec::new());
    for (number, line) in (1u32..).zip(text.lines()) {
        if line.trim().is_empty() || line.starts_with("conntrack v") {
            continue;
        }
        match connection(line, number) {
            Ok(connection) => connections.push(connection),
            Err((at, message)) => {
                let column = u32::try_from(at + 1).unwrap_or(u32::MAX);
                let help = "give the output of `conntrack -L -o extended`";
                diagnostics.push(syntax(file_name, (number, column), message, help, line));
            }
        }
    }
    (connections, diagnostics)
}

/// What one tuple's words say.
#[derive(Default)]
struct Half {
    src: Option<IpAddr>,
    dst: Option<IpAddr>,
    src_port: u16,
    dst_port: u16,
    icmp: (u8, u8),
    id: u16,
}

fn connection(line: &str, number: u32) -> Result<Connection, (usize, String)> {
    let place = |word: &str| (word.as_ptr() as usize).saturating_sub(line.as_ptr() as usize);
    let mut words = line.split_whitespace().peekable();
    // 1) The family, in the extended form only.
    if words.next_if(|word| matches!(*word, "ipv4" | "ipv6")).is_some() {
        words.next();
    }
    // 2) The protocol by name and number, the timeout, TCP's state.
    let mut next = |what: &str| words.next().ok_or_else(|| (line.len(), format!("expected {what}")));
    let name = next("a protocol")?;
    let protocol = next("a protocol's number")?;
    let protocol = protocol
        .parse()
        .map(Protocol)
        .map_err(|_| (place(protocol), format!("expected the number of {name}, found `{protocol}`")))?;
    let mut halves = [Half::default(), Half::default()];
    let mut read = Connection {
        original: empty(protocol),
        reply: empty(protocol),
        zone: Zone::default(),
        zone_direction: ZoneDirection::Both,
        status: Status::SEEN_REPLY,
        mark: 0,
        timeout: None,
        tcp: TcpState::None,
        line: number,
    };
    let mut at = 0;
    for word in words {
        let fault = || (place(word), format!("can't read `{word}`"));
        let Some((key, value)) = word.split_once('=') else {
            flag(word, &mut read).ok_or_else(fault)?;
            continue;
        };
        if key == "src" && halves[at].src.is_some() {
            if at == 1 {
                return Err((place(word), "expected two tuples, found a third".to_owned()));
            }
            at = 1;
        }
        let half = &mut halves[at];
        let short = || value.parse().map_err(|_| fault());
        match key {
            "src" => half.src = Some(value.parse().map_err(|_| fault())?),
            "dst" => half.dst = Some(value.parse().map_err(|_| fault())?),
            "sport" => half.src_port = short()?,
            "dport" => half.dst_port = short()?,
            "id" if protocol.is_icmp() => half.id = short()?,
            "type" => half.icmp.0 = value.parse().map_err(|_| fault())?,
            "code" => half.icmp.1 = value.parse().map_err(|_| fault())?,
            "mark" => read.mark = value.parse().map_err(|_| fault())?,
            "zone" => (read.zone, read.zone_direction) = (Zone(short()?), ZoneDirection::Both),
            "zone-orig" => (read.zone, read.zone_direction) = (Zone(short()?), ZoneDirection::Original),
            "zone-reply" => (read.zone, read.zone_direction) = (Zone(short()?), ZoneDirection::Reply),
            // What says nothing about later packets.
            _ => {}
        }
    }
    let [original, reply] = halves.map(|half| tuple(protocol, &half));
    let missing = || (line.len(), "expected two tuples of src= and dst=".to_owned());
    (read.original, read.reply) = (original.ok_or_else(missing)?, reply.ok_or_else(missing)?);
    if read.reply.src != read.original.dst {
        read.status.set(Status::DST_NAT);
    }
    if read.reply.dst != read.original.src {
        read.status.set(Status::SRC_NAT);
    }
    Ok(read)
}

/// A word without a value: a timeout, a state or a flag.
fn flag(word: &str, read: &mut Connection) -> Option<()> {
    match word {
        "[UNREPLIED]" => read.status = Status(read.status.0 & !Status::SEEN_REPLY.0),
        "[ASSURED]" => read.status.set(Status::ASSURED),
        // A flowtable forwards its packets.
        "[OFFLOAD]" | "[HW_OFFLOAD]" => read.timeout = None,
        _ if word.starts_with('[') => {}
        _ => match TcpState::from_name(word) {
            Some(state) => read.tcp = state,
            None if word.bytes().all(|byte| byte.is_ascii_digit()) => read.timeout = Some(word.parse().ok()?),
            // A state of another protocol.
            None if word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') => {}
            None => return None,
        },
    }
    Some(())
}

fn empty(protocol: Protocol) -> Tuple {
    let nobody = Endpoint::new(IpAddr::from([0, 0, 0, 0]), 0);
    Tuple::new(protocol, nobody, nobody)
}

fn tuple(protocol: Protocol, half: &Half) -> Option<Tuple> {
    let ports = if protocol.is_icmp() { (half.id, half.id) } else { (half.src_port, half.dst_port) };
    let end = |address: IpAddr, port: u16| Endpoint { address, port: Port::new(port) };
    Some(Tuple { icmp: half.icmp, ..Tuple::new(protocol, end(half.src?, ports.0), end(half.dst?, ports.1)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Connection {
        let (mut connections, diagnostics) = parse(line, "conntrack");
        assert_eq!(diagnostics, [], "{line}");
        assert_eq!(connections.len(), 1, "{line}");
        connections.remove(0)
    }

    #[test]
    fn both_forms_are_read() {
        let plain = "tcp      6 431999 ESTABLISHED src=198.51.100.2 dst=198.51.100.1 sport=40000 dport=80 \
                     src=10.0.0.5 dst=10.0.0.1 sport=8080 dport=1024 [ASSURED] mark=7 use=1";
        let read = one(plain);
        assert_eq!(read, one(&format!("ipv4     2 {plain}")));
        assert_eq!(read.original.to_string(), "tcp 198.51.100.2:40000 → 198.51.100.1:80");
        assert_eq!(read.reply.to_string(), "tcp 10.0.0.5:8080 → 10.0.0.1:1024");
        let bits = [Status::SEEN_REPLY, Status::ASSURED, Status::SRC_NAT, Status::DST_NAT];
        assert!(bits.into_iter().all(|bit| read.status.has(bit)));
        assert_eq!((read.tcp, read.timeout, read.mark), (TcpState::Established, Some(431_999), 7));
    }

    #[test]
    fn zones_queries_and_other_protocols_are_read() {
        let read = one("udp 17 29 src=10.0.0.1 dst=10.0.0.2 sport=5 dport=53 zone-orig=7 [UNREPLIED] \
                        src=10.0.0.2 dst=10.0.0.1 sport=53 dport=5 mark=0 use=1");
        assert_eq!((read.zone, read.zone_direction), (Zone(7), ZoneDirection::Original));
        assert_eq!(read.status, Status(0));
        let read = one("ipv6 10 icmpv6 58 29 src=fd00::1 dst=fd00::2 type=128 code=0 id=9 src=fd00::2 \
                        dst=fd00::1 type=129 code=0 id=9 mark=0 use=1");
        assert_eq!((read.original.icmp, read.reply.icmp), ((128, 0), (129, 0)));
        assert_eq!(read.original.invert(), Some(read.reply));
        let read = one("ipv4 2 unknown 2 599 src=10.98.0.1 dst=224.0.0.22 [UNREPLIED] src=224.0.0.22 \
                        dst=10.98.0.1 mark=0 use=1");
        assert_eq!(read.original.protocol, Protocol(2));
        let read = one("tcp 6 src=10.0.0.1 dst=10.0.0.2 sport=5 dport=53 packets=3 bytes=99 src=10.0.0.2 \
                        dst=10.0.0.1 sport=53 dport=5 packets=1 bytes=7 [OFFLOAD] mark=0 zone=5 use=2");
        assert_eq!((read.timeout, read.zone), (None, Zone(5)));
    }

    #[test]
    fn faults_have_a_place() {
        let check = |text: &str, column: u32| {
            let (connections, diagnostics) = parse(text, "conntrack");
            assert_eq!(connections, [], "{text}");
            assert_eq!(diagnostics.iter().map(|found| found.column).collect::<Vec<_>>(), [column], "{text}");
        };
        check("tcp", 4);
        check("tcp six", 5);
        check("tcp 6 10 src=x", 10);
        check("tcp 6 10 src=1.1.1.1 dst=2.2.2.2", 33);
        check("bash: conntrack: command not found", 7);
        assert_eq!(
            parse("conntrack v1.4.7 (conntrack-tools): 0 flow entries have been shown.", ""),
            (vec![], vec![])
        );
    }
}
