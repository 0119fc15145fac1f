//! Address families, protocols, ports and hardware addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;

use crate::value::Value;

/// The network-layer family of a packet, address or route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    Ip4,
    /// IPv6.
    Ip6,
}

impl Family {
    /// Both families, IPv4 first.
    pub const ALL: [Self; 2] = [Self::Ip4, Self::Ip6];

    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ip4 } else { Self::Ip6 }
    }

    /// The number of bits of an address.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::Ip4 => 32,
            Self::Ip6 => 128,
        }
    }

    /// `0.0.0.0` or `::`.
    #[must_use]
    pub fn unspecified(self) -> IpAddr {
        match self {
            Self::Ip4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Self::Ip6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }

    /// `127.0.0.1` or `::1`.
    #[must_use]
    pub fn loopback(self) -> IpAddr {
        match self {
            Self::Ip4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Self::Ip6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        }
    }

    /// The ICMP protocol of the family.
    #[must_use]
    pub fn icmp(self) -> Protocol {
        match self {
            Self::Ip4 => Protocol::ICMP,
            Self::Ip6 => Protocol::ICMPV6,
        }
    }

    /// The address of this family whose bits are the low bits of `value`.
    #[must_use]
    pub fn address(self, value: Value) -> IpAddr {
        match self {
            Self::Ip4 => IpAddr::V4(Ipv4Addr::from_bits(value as u32)),
            Self::Ip6 => IpAddr::V6(Ipv6Addr::from_bits(value)),
        }
    }
}

impl fmt::Display for Family {
    /// netfilter's word: `ip` or `ip6`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ip4 => "ip",
            Self::Ip6 => "ip6",
        })
    }
}

/// The bits of an address as a number: 32 bits for IPv4, 128 for IPv6.
#[must_use]
pub fn bits(address: IpAddr) -> Value {
    match address {
        IpAddr::V4(address) => Value::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// An IP protocol number (IANA "Assigned Internet Protocol Numbers").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Protocol(pub u8);

impl Protocol {
    /// ICMP.
    pub const ICMP: Self = Self(1);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// DCCP.
    pub const DCCP: Self = Self(33);
    /// GRE.
    pub const GRE: Self = Self(47);
    /// ESP.
    pub const ESP: Self = Self(50);
    /// AH.
    pub const AH: Self = Self(51);
    /// ICMPv6.
    pub const ICMPV6: Self = Self(58);
    /// SCTP.
    pub const SCTP: Self = Self(132);
    /// UDP-Lite.
    pub const UDPLITE: Self = Self(136);

    const NAMES: [(Self, &'static str); 12] = [
        (Self::ICMP, "icmp"),
        (Self::TCP, "tcp"),
        (Self::UDP, "udp"),
        (Self::DCCP, "dccp"),
        (Self::GRE, "gre"),
        (Self::ESP, "esp"),
        (Self::AH, "ah"),
        (Self::ICMPV6, "icmpv6"),
        (Self(58), "ipv6-icmp"),
        (Self::SCTP, "sctp"),
        (Self::UDPLITE, "udplite"),
        (Self(112), "vrrp"),
    ];

    /// Whether the transport header begins with a source and a destination port.
    #[must_use]
    pub fn has_ports(self) -> bool {
        matches!(self, Self::TCP | Self::UDP | Self::DCCP | Self::SCTP | Self::UDPLITE)
    }

    /// Whether this is ICMP or ICMPv6.
    #[must_use]
    pub fn is_icmp(self) -> bool {
        matches!(self, Self::ICMP | Self::ICMPV6)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(protocol, _)| protocol == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((protocol, _)) = Self::NAMES.iter().find(|(_, name)| *name == text) {
            return Ok(*protocol);
        }
        text.parse().map(Self).map_err(|_| format!("unknown protocol \"{text}\""))
    }
}

/// A transport port, or the identifier of an ICMP query: the part of a tuple that NAT may choose.
///
/// The kernel draws some ports by chance (nf_nat_core.c, `nf_nat_l4proto_unique_tuple`). Such a port has
/// a representative `value` and the number of its draw; two ports are equal only if both agree, so a drawn
/// port never collides with one that was written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Port {
    /// The number on the wire; for a drawn port one number of its interval.
    pub value: u16,
    /// Which draw of the flow's history chose it, counted from 1; `None` for a port that is known.
    pub drawn: Option<NonZeroU16>,
}

impl Port {
    /// A known port.
    #[must_use]
    pub const fn new(value: u16) -> Self {
        Self { value, drawn: None }
    }
}

impl From<u16> for Port {
    fn from(value: u16) -> Self {
        Self::new(value)
    }
}

impl fmt::Display for Port {
    /// The number, or `*` for a drawn port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.drawn {
            None => write!(f, "{}", self.value),
            Some(_) => f.write_str("*"),
        }
    }
}

/// An address with a port, or an address with an ICMP identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// The port, or the ICMP identifier, or 0 where the protocol has neither.
    pub port: Port,
}

impl Endpoint {
    /// An address with a known port.
    #[must_use]
    pub fn new(address: IpAddr, port: impl Into<Port>) -> Self {
        Self { address, port: port.into() }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::new(address.ip(), address.port())
    }
}

impl fmt::Display for Endpoint {
    /// `192.0.2.1:80`, `[2001:db8::1]:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(address) => write!(f, "{address}:{}", self.port),
            IpAddr::V6(address) => write!(f, "[{address}]:{}", self.port),
        }
    }
}

/// A 48-bit hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().unwrap_or("");
            *byte = u8::from_str_radix(part, 16)
                .map_err(|_| format!("\"{text}\" is not a hardware address like 02:00:00:00:00:01"))?;
        }
        match parts.next() {
            None => Ok(Self(bytes)),
            Some(_) => Err(format!("\"{text}\" has more than six bytes")),
        }
    }
}
