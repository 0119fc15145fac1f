//! Reads `ipvsadm -Sn`, `ip xfrm policy`, `tc filter show` and `wg show all dump`, as far as it takes to say
//! whom they concern.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use natpath_model::{Bypass, BypassKind, Diagnostic, Hook, InterfaceName, Protocol};

use crate::diagnose::syntax;

/// The reader of each file.
pub const READERS: [(&str, Reader); 4] = [("ipvs", ipvs), ("xfrm", xfrm), ("tc", tc), ("wg", wg)];

/// Reads a file's text; the name is for diagnostics.
pub type Reader = fn(&str, &str) -> Read;

/// What a reader gives.
pub type Read = (Vec<Bypass>, Vec<Diagnostic>);

/// Reads `ipvsadm -Sn`: its virtual services, and how many real servers each has; which these are is not
/// needed.
///
/// ```text
/// -A -t 10.96.0.1:443 -s rr
/// -a -t 10.96.0.1:443 -r 10.0.0.2:6443 -m -w 1
/// ```
#[must_use]
pub fn ipvs(text: &str, file_name: &str) -> Read {
    let (mut found, diagnostics) = virtual_services(text, file_name);
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["-a" | "--add-server", _, end, ..] = words[..] else { continue };
        let has_weight = !words.windows(2).any(|pair| matches!(pair, ["-w" | "--weight", "0"]));
        let Some(of) = endpoint(end) else { continue };
        let is_udp = matches!(words[1], "-u" | "--udp-service");
        for bypass in &mut found {
            if let BypassKind::VirtualService { protocol, address, port, servers } = &mut bypass.kind
                && (*address, *port) == of
                && (*protocol == Protocol::UDP) == is_udp
            {
                *servers += u32::from(has_weight);
            }
        }
    }
    (found, diagnostics)
}

fn virtual_services(text: &str, file_name: &str) -> Read {
    each_line(text, file_name, "give the output of `ipvsadm -Sn`", |line, words| {
        let kind = match words {
            [] | ["-a" | "--add-server", ..] => return Ok(None),
            ["-A" | "--add-service", "-f" | "--fwmark-service", mark, ..] => {
                BypassKind::VirtualMark(mark.parse().map_err(|_| "expected a mark".to_owned())?)
            }
            ["-A" | "--add-service", protocol, end, ..] => {
                let protocol = match *protocol {
                    "-t" | "--tcp-service" => Protocol::TCP,
                    "-u" | "--udp-service" => Protocol::UDP,
                    "--sctp-service" => Protocol::SCTP,
                    other => return Err(format!("expected -t, -u or -f, found `{other}`")),
                };
                let (address, port) = endpoint(end).ok_or_else(|| format!("can't read `{end}`"))?;
                BypassKind::VirtualService { protocol, address, port, servers: 0 }
            }
            _ => return Err("expected -A or -a".to_owned()),
        };
        Ok(Some(Bypass { kind, file: "ipvs", line }))
    })
}

/// `ADDRESS[:PORT]`; a port that has a name is all ports, rather than none.
fn endpoint(text: &str) -> Option<(IpAddr, u16)> {
    if let Ok(end) = text.parse::<SocketAddr>() {
        return Some((end.ip(), end.port()));
    }
    if let Ok(address) = text.parse() {
        return Some((address, 0));
    }
    let address = text.rsplit_once(':')?.0.trim_start_matches('[').trim_end_matches(']');
    Some((address.parse().ok()?, 0))
}

/// Reads `ip xfrm policy`. A policy that neither transforms nor blocks does nothing, and one of a socket
/// concerns that socket alone.
///
/// ```text
/// src 10.1.0.0/24 dst 10.2.0.0/24 proto tcp dport 80
///         dir out priority 0 ptype main
///         tmpl src 192.0.2.1 dst 192.0.2.2
///                 proto esp reqid 1 mode tunnel
/// ```
#[must_use]
pub fn xfrm(text: &str, file_name: &str) -> Read {
    let (mut found, mut diagnostics) = (Vec::new(), Vec::new());
    let mut selector: Option<(u32, Vec<&str>)> = None;
    let mut hook = None;
    for (number, line) in (1u32..).zip(text.lines()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let acts = match words.first().copied() {
            Some("src") if !line.starts_with([' ', '\t']) => {
                (selector, hook) = (Some((number, words)), None);
                continue;
            }
            Some("dir") => {
                hook = match words.get(1).copied() {
                    Some("in") => Some(Hook::Input),
                    Some("fwd") => Some(Hook::Forward),
                    Some("out") => Some(Hook::Postrouting),
                    _ => None,
                };
                words.windows(2).any(|pair| pair == ["action", "block"])
            }
            Some("tmpl") => true,
            _ => false,
        };
        let (true, Some(hook)) = (acts, hook) else { continue };
        let Some((number, words)) = selector.take() else { continue };
        match policy(&words, hook) {
            Some(kind) => found.push(Bypass { kind, file: "xfrm", line: number }),
            None => {
                let message = "can't read whom this policy concerns".to_owned();
                let help = "give the output of `ip xfrm policy`";
                diagnostics.push(syntax(file_name, (number, 1), message, help, &words.join(" ")));
            }
        }
    }
    (found, diagnostics)
}

fn policy(words: &[&str], hook: Hook) -> Option<BypassKind> {
    let value = |key: &str| words.windows(2).find(|pair| pair[0] == key).map(|pair| pair[1]);
    let net = |key: &str| -> Option<IpNet> {
        let text = value(key)?;
        text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
    };
    let port = |key: &str| value(key).and_then(|text| text.split('/').next()?.parse().ok());
    Some(BypassKind::Policy {
        hook,
        src: net("src")?,
        dst: net("dst")?,
        protocol: value("proto").and_then(|name| name.parse().ok()),
        src_port: port("sport"),
        dst_port: port("dport"),
        link: value("dev").and_then(InterfaceName::new),
    })
}

/// Reads `tc filter show` of several devices: the device and direction stand in each line, or in a line above
/// that says `dev eth0 ingress`, with whatever around it.
#[must_use]
pub fn tc(text: &str, _file_name: &str) -> Read {
    let mut found = Vec::new();
    let (mut device, mut direction) = (None, None);
    for (number, line) in (1u32..).zip(text.lines()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let named =
            words.windows(2).find(|pair| pair[0] == "dev").and_then(|pair| InterfaceName::new(pair[1]));
        let incoming = words.iter().find_map(|word| match *word {
            "ingress" | "ffff:" => Some(true),
            "egress" | "root" | "1:" => Some(false),
            _ => None,
        });
        if words.first() != Some(&"filter") {
            if named.is_some() {
                (device, direction) = (named, incoming);
            }
            continue;
        }
        let (link, incoming) = (named.or(device), incoming.or(direction));
        // A filter has a line for itself and one for each of its parts.
        let kind = BypassKind::Filter { link, incoming };
        if !found.iter().any(|known: &Bypass| known.kind == kind) {
            found.push(Bypass { kind, file: "tc", line: number });
        }
    }
    (found, Vec::new())
}

/// Reads `wg show all dump`: its devices. The line of a device has five words, that of a peer nine.
#[must_use]
pub fn wg(text: &str, file_name: &str) -> Read {
    each_line(text, file_name, "give the output of `wg show all dump`", |line, words| match words {
        [] | [_, _, _, _, _, _, ..] => Ok(None),
        [name, _, _, _, _] => {
            let link = InterfaceName::new(name).ok_or_else(|| format!("`{name}` is no interface"))?;
            Ok(Some(Bypass { kind: BypassKind::WireGuard { link }, file: "wg", line }))
        }
        _ => Err("expected a device or a peer".to_owned()),
    })
}

fn each_line(
    text: &str,
    file_name: &str,
    help: &str,
    mut read: impl FnMut(u32, &[&str]) -> Result<Option<Bypass>, String>,
) -> Read {
    let (mut found, mut diagnostics) = (Vec::new(), Vec::new());
    for (number, line) in (1u32..).zip(text.lines()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match read(number, &words) {
            Ok(bypass) => found.extend(bypass),
            Err(message) => diagnostics.push(syntax(file_name, (number, 1), message, help, line)),
        }
    }
    (found, diagnostics)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds((found, diagnostics): Read) -> Vec<BypassKind> {
        assert_eq!(diagnostics, []);
        found.into_iter().map(|bypass| bypass.kind).collect()
    }

    #[test]
    fn virtual_services_are_read() {
        let text = "-A -t 10.96.0.1:443 -s rr\n-a -t 10.96.0.1:443 -r 10.0.0.2:6443 -m -w 1\n\
                    -a -t 10.96.0.1:443 -r 10.0.0.3:6443 -m -w 0\n-A -u [fd00::a]:53 -s rr -p 10800\n\
                    -A -f 7 -s wlc\n";
        let service = |protocol, address: &str, port, servers| BypassKind::VirtualService {
            protocol,
            address: address.parse().expect("an address"),
            port,
            servers,
        };
        let expected = [
            service(Protocol::TCP, "10.96.0.1", 443, 1),
            service(Protocol::UDP, "fd00::a", 53, 0),
            BypassKind::VirtualMark(7),
        ];
        assert_eq!(kinds(ipvs(text, "ipvs")), expected);
        assert_eq!(ipvs("bash: ipvsadm: command not found", "ipvs").1.len(), 1);
    }

    #[test]
    fn policies_that_act_are_read() {
        let text = "src 10.3.0.0/24 dst 10.2.0.0/24 \n\tdir fwd action block priority 0 ptype main \n\
                    src 10.1.0.0/24 dst 10.2.0.1/32 proto tcp dport 80 \n\tdir out priority 0 ptype main \n\
                    \ttmpl src 1.1.1.1 dst 2.2.2.2\n\t\tproto esp reqid 1 mode tunnel\n\
                    src 10.9.0.0/24 dst 0.0.0.0/0 \n\tdir in priority 0 \n\
                    src 0.0.0.0/0 dst 0.0.0.0/0 \n\tsocket in priority 0 ptype main \n";
        let found = kinds(xfrm(text, "xfrm"));
        let net = |text: &str| text.parse().expect("a net");
        let of = |hook, src, dst, protocol, dst_port| BypassKind::Policy {
            hook,
            src: net(src),
            dst: net(dst),
            protocol,
            src_port: None,
            dst_port,
            link: None,
        };
        let expected = [
            of(Hook::Forward, "10.3.0.0/24", "10.2.0.0/24", None, None),
            of(Hook::Postrouting, "10.1.0.0/24", "10.2.0.1/32", Some(Protocol::TCP), Some(80)),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn filters_and_devices_are_read() {
        let text = "dev eth0 ingress\nfilter protocol all pref 49152 bpf chain 0 \n\
                    filter protocol all pref 49152 bpf chain 0 handle 0x1 cil_from_netdev\n\
                    filter dev eth1 egress protocol ip pref 10 u32\n";
        let filter = |name: &str, incoming| BypassKind::Filter {
            link: InterfaceName::new(name),
            incoming: Some(incoming),
        };
        assert_eq!(kinds(tc(text, "tc")), [filter("eth0", true), filter("eth1", false)]);
        let text = "wg0\tpriv\tpub\t51820\toff\nwg0\tpeer\t(none)\t1.2.3.4:5\t10.0.0.2/32\t0\t0\t0\toff\n";
        let link = InterfaceName::new("wg0").expect("a name");
        assert_eq!(kinds(wg(text, "wg")), [BypassKind::WireGuard { link }]);
    }
}
