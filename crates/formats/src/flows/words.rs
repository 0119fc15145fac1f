//! The words of a flow: protocols, endpoints, `KEY=VALUE`.

use std::net::{IpAddr, Ipv6Addr};

use natpath_model::{Flow, Mac, Protocol};

use super::{FlowSyntaxError, Result, interface};

/// What a source may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Source {
    /// The address; `None` for the kernel's choice.
    pub(super) address: Option<IpAddr>,
    /// `0.0.0.0` or `::`, where that was written for the kernel's choice.
    pub(super) any: Option<IpAddr>,
    pub(super) port: Option<u16>,
}

pub(super) fn protocol(word: usize, text: &str) -> Result<Protocol> {
    match text {
        "tcp" => Ok(Protocol::TCP),
        "udp" => Ok(Protocol::UDP),
        "sctp" => Ok(Protocol::SCTP),
        "icmp" => Ok(Protocol::ICMP),
        "icmpv6" | "icmp6" => Ok(Protocol::ICMPV6),
        _ => {
            let message = format!("expected a protocol, found `{text}`");
            Err(FlowSyntaxError::new(word, message, "write tcp, udp, sctp, icmp or icmpv6"))
        }
    }
}

/// `ADDRESS[:PORT]`, or `-[:PORT]` for the kernel's choice.
pub(super) fn endpoint(word: usize, text: &str) -> Result<Source> {
    if text == "-" {
        return Ok(Source::default());
    }
    if let Some(port_text) = text.strip_prefix("-:") {
        return Ok(Source { port: Some(port(word, port_text)?), ..Source::default() });
    }
    let (address, port) = address_and_port(word, text)?;
    let any = address.is_unspecified();
    Ok(Source { address: (!any).then_some(address), any: any.then_some(address), port })
}

/// `ADDRESS[:PORT]`.
pub(super) fn destination(word: usize, text: &str) -> Result<(IpAddr, Option<u16>)> {
    let (address, port) = address_and_port(word, text)?;
    if address.is_unspecified() {
        let message = format!("expected a destination, found `{text}`");
        return Err(FlowSyntaxError::new(word, message, "write 127.0.0.1 or [::1] for this host"));
    }
    Ok((address, port))
}

fn address_and_port(word: usize, text: &str) -> Result<(IpAddr, Option<u16>)> {
    if let Some(inside) = text.strip_prefix('[') {
        let (address, rest) = inside.split_once(']').ok_or_else(|| bad_address(word, text))?;
        let address = address.parse::<Ipv6Addr>().map_err(|_| bad_address(word, text))?;
        let port = match rest.strip_prefix(':') {
            Some(text) => Some(port(word, text)?),
            None if rest.is_empty() => None,
            None => return Err(bad_address(word, text)),
        };
        return Ok((address.into(), port));
    }
    // Two colons or more without brackets can only be an IPv6 address.
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok((address, None));
    }
    match text.split_once(':') {
        Some((address, port_text)) => {
            let address: std::net::Ipv4Addr = address.parse().map_err(|_| bad_address(word, text))?;
            Ok((address.into(), Some(port(word, port_text)?)))
        }
        None => Err(bad_address(word, text)),
    }
}

fn bad_address(word: usize, text: &str) -> FlowSyntaxError {
    let help = if text.starts_with("pod/") || text.starts_with("svc/") || text.starts_with("node/") {
        "write its address: the names of Kubernetes objects are not read"
    } else if text.matches(':').count() > 1 {
        "write an IPv6 address with a port as `[2001:db8::1]:80`"
    } else {
        "write `192.0.2.1`, `192.0.2.1:80` or `[2001:db8::1]:80`; names are not looked up"
    };
    FlowSyntaxError::new(word, format!("expected an address, found `{text}`"), help)
}

fn port(word: usize, text: &str) -> Result<u16> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => {
            let message = format!("expected a port, found `{text}`");
            Err(FlowSyntaxError::new(word, message, "write a number from 1 to 65535"))
        }
    }
}

/// A number in decimal, or in hexadecimal after `0x`.
pub(super) fn number(word: usize, text: &str, max: u64, what: &str) -> Result<u64> {
    let value = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let unsigned = !text.contains(['+', '-']);
    value.filter(|value| unsigned && *value <= max).ok_or_else(|| {
        let message = format!("expected {what}, found `{text}`");
        FlowSyntaxError::new(word, message, format!("write a number from 0 to {max}"))
    })
}

/// `KEY=VALUE` or `df`.
pub(super) fn option(flow: &mut Flow, word: usize, text: &str) -> Result<()> {
    if text == "df" {
        flow.dont_fragment = true;
        return Ok(());
    }
    let Some((key, value)) = text.split_once('=') else { return Err(bad_option(word, text)) };
    let number = |max: u64, what: &str| number(word, value, max, what);
    match key {
        "from" => flow.from = Some(name(word, value)?),
        "in" => {
            let (host, link) =
                value.split_once(':').filter(|(host, _)| !host.is_empty()).ok_or_else(|| {
                    let message = format!("expected `in=HOST:INTERFACE`, found `{text}`");
                    FlowSyntaxError::new(word, message, "write such as `in=node1:eth0`")
                })?;
            flow.enters = Some((host.to_owned(), interface(word, link)?));
        }
        "iface" => flow.bound = Some(interface(word, value)?),
        "ttl" => flow.ttl = Some(number(255, "a time to live")? as u8),
        "mark" => flow.mark = number(u32::MAX.into(), "a mark")? as u32,
        "size" => flow.size = Some(number(0xffff, "a size in bytes")? as u16),
        "dscp" => flow.dscp = number(63, "a code point")? as u8,
        "uid" => flow.uid = Some(number(u32::MAX.into(), "a user's number")? as u32),
        "gid" => flow.gid = Some(number(u32::MAX.into(), "a group's number")? as u32),
        "src-mac" => {
            let mac: Mac = value
                .parse()
                .map_err(|why: String| FlowSyntaxError::new(word, why, "write six bytes in hex"))?;
            flow.src_mac = Some(mac);
        }
        "icmp-id" if !flow.protocol.is_icmp() => {
            let message = format!("{} has no `icmp-id`", flow.protocol);
            return Err(FlowSyntaxError::new(word, message, "leave it out"));
        }
        "icmp-id" => flow.icmp_id = number(0xffff, "an identifier")? as u16,
        "at" => flow.at = Some(number(u64::MAX, "milliseconds")?),
        "id" => flow.id = Some(name(word, value)?),
        _ => return Err(bad_option(word, text)),
    }
    Ok(())
}

fn name(word: usize, text: &str) -> Result<String> {
    if text.is_empty() {
        return Err(FlowSyntaxError::new(word, "expected a name after `=`", "write such as `id=first`"));
    }
    Ok(text.to_owned())
}

fn bad_option(word: usize, text: &str) -> FlowSyntaxError {
    let help = "the keys are from in iface ttl mark size dscp uid gid src-mac icmp-id at id, and the word df";
    FlowSyntaxError::new(word, format!("expected KEY=VALUE or `df`, found `{text}`"), help)
}
