//! Names for numbers: protocols, services, ICMP types, DSCP classes, TCP flags.

use natpath_model::Family;

// IANA "Assigned Internet Protocol Numbers", spelled as in Debian's /etc/protocols.
const PROTOCOLS: [(&str, u8); 32] = [
    ("tcp", 6),
    ("udp", 17),
    ("icmp", 1),
    ("ipv6-icmp", 58),
    ("icmpv6", 58),
    ("sctp", 132),
    ("dccp", 33),
    ("udplite", 136),
    ("all", 0),
    ("esp", 50),
    ("ah", 51),
    ("gre", 47),
    ("igmp", 2),
    ("ipencap", 4),
    ("ipv4", 4),
    ("ipip", 94),
    ("ipv6", 41),
    ("ipv6-route", 43),
    ("ipv6-frag", 44),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("ipv6-mh", 135),
    ("mobility-header", 135),
    ("ospf", 89),
    ("ospfigp", 89),
    ("eigrp", 88),
    ("pim", 103),
    ("vrrp", 112),
    ("l2tp", 115),
    ("ipcomp", 108),
    ("isis", 124),
    ("hip", 139),
];

/// The number of a protocol.
pub(super) fn protocol(name: &str) -> Option<u8> {
    let known = |name: &str| PROTOCOLS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    known(name).or_else(|| known(&name.to_ascii_lowercase()))
}

/// iptables-save's word for a protocol, if natpath reads it back.
pub(crate) fn protocol_name(number: u8) -> Option<&'static str> {
    PROTOCOLS.iter().find(|(_, known)| *known == number && number != 0).map(|(name, _)| *name)
}

// IANA "Service Name and Transport Protocol Port Number Registry": names people write in rules.
const SERVICES: [(&str, u16); 31] = [
    ("ftp-data", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("bootps", 67),
    ("bootpc", 68),
    ("tftp", 69),
    ("http", 80),
    ("kerberos", 88),
    ("pop3", 110),
    ("sunrpc", 111),
    ("ntp", 123),
    ("netbios-ns", 137),
    ("netbios-dgm", 138),
    ("netbios-ssn", 139),
    ("imap2", 143),
    ("snmp", 161),
    ("bgp", 179),
    ("ldap", 389),
    ("https", 443),
    ("microsoft-ds", 445),
    ("isakmp", 500),
    ("syslog", 514),
    ("submission", 587),
    ("ldaps", 636),
    ("imaps", 993),
    ("pop3s", 995),
    ("openvpn", 1194),
    ("mysql", 3306),
];

/// The port of a service.
pub(super) fn service(name: &str) -> Option<u16> {
    SERVICES.iter().find(|(known, _)| *known == name).map(|(_, port)| *port)
}

/// An ICMP type name: its type, and its code if the name has one.
type IcmpName = (&'static str, u8, Option<u8>);

/// Every ICMP type and code: iptables calls it `any`, the kernel type 255.
pub(super) const ICMP_ANY: u8 = 255;

// RFC 792 and 1256, in iptables' words (`iptables -p icmp -h`).
const ICMP: [IcmpName; 40] = [
    ("any", ICMP_ANY, None),
    ("echo-reply", 0, None),
    ("pong", 0, None),
    ("destination-unreachable", 3, None),
    ("network-unreachable", 3, Some(0)),
    ("host-unreachable", 3, Some(1)),
    ("protocol-unreachable", 3, Some(2)),
    ("port-unreachable", 3, Some(3)),
    ("fragmentation-needed", 3, Some(4)),
    ("source-route-failed", 3, Some(5)),
    ("network-unknown", 3, Some(6)),
    ("host-unknown", 3, Some(7)),
    ("network-prohibited", 3, Some(9)),
    ("host-prohibited", 3, Some(10)),
    ("TOS-network-unreachable", 3, Some(11)),
    ("TOS-host-unreachable", 3, Some(12)),
    ("communication-prohibited", 3, Some(13)),
    ("host-precedence-violation", 3, Some(14)),
    ("precedence-cutoff", 3, Some(15)),
    ("source-quench", 4, None),
    ("redirect", 5, None),
    ("network-redirect", 5, Some(0)),
    ("host-redirect", 5, Some(1)),
    ("TOS-network-redirect", 5, Some(2)),
    ("TOS-host-redirect", 5, Some(3)),
    ("echo-request", 8, None),
    ("ping", 8, None),
    ("router-advertisement", 9, None),
    ("router-solicitation", 10, None),
    ("time-exceeded", 11, None),
    ("ttl-exceeded", 11, None),
    ("ttl-zero-during-transit", 11, Some(0)),
    ("ttl-zero-during-reassembly", 11, Some(1)),
    ("parameter-problem", 12, None),
    ("ip-header-bad", 12, Some(0)),
    ("required-option-missing", 12, Some(1)),
    ("timestamp-request", 13, None),
    ("timestamp-reply", 14, None),
    ("address-mask-request", 17, None),
    ("address-mask-reply", 18, None),
];

// RFC 4443 and 4861, in ip6tables' words (`ip6tables -p icmpv6 -h`).
const ICMP6: [IcmpName; 26] = [
    ("destination-unreachable", 1, None),
    ("no-route", 1, Some(0)),
    ("communication-prohibited", 1, Some(1)),
    ("beyond-scope", 1, Some(2)),
    ("address-unreachable", 1, Some(3)),
    ("port-unreachable", 1, Some(4)),
    ("failed-policy", 1, Some(5)),
    ("reject-route", 1, Some(6)),
    ("packet-too-big", 2, None),
    ("time-exceeded", 3, None),
    ("ttl-exceeded", 3, None),
    ("ttl-zero-during-transit", 3, Some(0)),
    ("ttl-zero-during-reassembly", 3, Some(1)),
    ("parameter-problem", 4, None),
    ("bad-header", 4, Some(0)),
    ("unknown-header-type", 4, Some(1)),
    ("unknown-option", 4, Some(2)),
    ("echo-request", 128, None),
    ("echo-reply", 129, None),
    ("router-solicitation", 133, None),
    ("router-advertisement", 134, None),
    ("neighbour-solicitation", 135, None),
    ("neighbor-solicitation", 135, None),
    ("neighbour-advertisement", 136, None),
    ("neighbor-advertisement", 136, None),
    ("redirect", 137, None),
];

/// The type and code of a name or of the one name that begins so, as iptables allows.
pub(crate) fn icmp(text: &str, family: Family) -> Option<(u8, Option<u8>)> {
    let names: &[IcmpName] = match family {
        Family::Ip4 => &ICMP,
        Family::Ip6 => &ICMP6,
    };
    let begins = |name: &str| name.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text));
    let exact = names.iter().find(|(name, ..)| name.eq_ignore_ascii_case(text));
    let found = exact.or_else(|| {
        let mut found = names.iter().filter(|(name, ..)| begins(name));
        found.next().filter(|_| found.next().is_none())
    });
    found.filter(|_| !text.is_empty()).map(|(_, kind, code)| (*kind, *code))
}

/// TCP flags in the order in which iptables-save prints them.
pub(crate) const TCP_FLAGS: [(&str, u8); 6] =
    [("FIN", 1), ("SYN", 2), ("RST", 4), ("PSH", 8), ("ACK", 16), ("URG", 32)];

/// The bits of a comma list of TCP flags.
pub(super) fn tcp_flags(text: &str) -> Option<u8> {
    text.split(',').try_fold(0, |bits, name| {
        let flag = match name.to_ascii_uppercase().as_str() {
            "ALL" => 0x3f,
            "NONE" => 0,
            name => TCP_FLAGS.iter().find(|(known, _)| *known == name)?.1,
        };
        Some(bits | flag)
    })
}

/// The code point of a DSCP class (RFC 2474, 2597, 3246).
pub(super) fn dscp_class(name: &str) -> Option<u8> {
    let name = name.to_ascii_uppercase();
    let digit = |byte: u8, max: u8| byte.checked_sub(b'0').filter(|value| *value <= max);
    match name.as_bytes() {
        b"EF" => Some(46),
        b"BE" => Some(0),
        [b'C', b'S', class] => digit(*class, 7).map(|class| class << 3),
        [b'A', b'F', class, drop] => {
            let (class, drop) = (digit(*class, 4)?, digit(*drop, 3)?);
            (class > 0 && drop > 0).then_some((class << 3) | (drop << 1))
        }
        _ => None,
    }
}

// The names of RFC 1349 that iptables knows.
const TOS: [(&str, u8); 5] = [
    ("Minimize-Delay", 0x10),
    ("Maximize-Throughput", 0x08),
    ("Maximize-Reliability", 0x04),
    ("Minimize-Cost", 0x02),
    ("Normal-Service", 0x00),
];

/// `VALUE[/MASK]` of a type of service, or a name, which stands for the bits under `mask_of_name`.
pub(super) fn tos(text: &str, mask_of_name: u8) -> Option<(u8, u8)> {
    if let Some((_, value)) = TOS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        return Some((*value, mask_of_name));
    }
    let byte = |text: &str| super::value::number(text, 255).and_then(|value| u8::try_from(value).ok());
    match text.split_once('/') {
        Some((value, mask)) => byte(value).zip(byte(mask)),
        None => byte(text).map(|value| (value, 0xff)),
    }
}
