//! ICMP errors, redirects and resets that a host makes about a packet
//! (icmp.c `__icmp_send`, ip6_icmp `icmp6_send`, nf_reject_ipv4.c, nf_reject_ipv6.c).

use std::net::IpAddr;

use natpath_model::{Direction, Family};

use crate::conntrack::{CtInfo, Tracked};
use crate::fib;
use crate::packet::{Numbers, Packet, TcpFlags, Transport, icmp};
use crate::pass::{Observer, Pass};
use crate::skb::{Made, Skb};
use crate::state::Bucket;
use crate::trace::Step;

/// How many errors may follow each other at once (inetpeer.c, `XRLIM_BURST_FACTOR`).
const ERROR_BURST: u64 = 6;

impl<O: Observer> Pass<'_, '_, O> {
    /// Makes an ICMP error about a packet. `local`: the packet was for this host, so the error comes from
    /// the address it was sent to; otherwise the route back chooses the source.
    pub(crate) fn send_error(&mut self, skb: &Skb, (kind, code): (u8, u8), info: u32, local: bool) {
        let packet = &skb.packet;
        // No error about an error, about a packet to many, or to an address that is nobody's (RFC 1122, 3.2.2).
        let Some(quoted) = packet.quote() else { return };
        // icmp_xmit_lock: while the host sends an echo reply, it can send no error about it.
        let is_own_reply = skb.in_link.is_none()
            && packet.icmp().is_some_and(|(kind, _)| kind == icmp::echo_reply(packet.family()));
        if is_own_reply {
            return;
        }
        let nobody = |address: IpAddr| natpath_model::conntrack::is_not_unicast(address);
        if nobody(packet.dst) || nobody(packet.src) || !self.may_send_error(packet.src, (kind, code)) {
            return;
        }
        let (src, family) = (packet.dst, packet.family());
        let mut error = Packet::new(src, packet.src, Transport::Error { kind, code, info, quoted });
        if family == Family::Ip4 {
            // icmp.c: errors carry precedence "internetwork control".
            error.tos = (packet.tos & 0x1e) | 0xc0;
        }
        let is_own = match family {
            Family::Ip4 => local,
            // icmp.c, `ipv6_chk_addr`: a route of type local is not enough.
            Family::Ip6 => self.host.snapshot.links.iter().any(|link| fib::local_on(link, src)),
        };
        if (kind, code) != icmp::redirect(family) {
            self.observer.step(|| Step::Answered { icmp: Some((kind, code)) });
        }
        let src = if is_own { Some(src) } else { self.error_source(skb) };
        self.made.push(Made {
            packet: error,
            src,
            any_source: false,
            tracked: attached(skb.tracked),
            mark: self.reply_mark(skb),
            straight: None,
        });
    }

    /// The source of an ICMPv6 error about a packet that came in: an address for the link it came by, unless the
    /// route back has one of its own (icmp.c, `icmp6_send`). `None` where the route chooses.
    fn error_source(&self, skb: &Skb) -> Option<IpAddr> {
        let link = skb.in_link.filter(|_| skb.packet.family() == Family::Ip6)?;
        let back = self.host.route_to(skb.packet.src);
        if back.is_some_and(|found| found.route.prefer_source.is_some()) {
            return None;
        }
        fib::source_v6(self.host.snapshot, self.host.link(link), skb.packet.src)
    }

    /// Makes a redirect, at most one per address (route.c, `ip_rt_send_redirect`).
    pub(crate) fn send_redirect(&mut self, skb: &Skb) {
        if !self.state.redirected.insert(skb.packet.src) {
            return;
        }
        let kind = icmp::redirect(skb.packet.family());
        // The first redirect empties the bucket that errors to this address are paid from.
        let now = self.env.now;
        self.state.peers.entry(skb.packet.src).or_insert_with(|| Bucket::empty(now));
        let before = self.made.len();
        self.send_error(skb, kind, 0, false);
        if self.made.len() > before {
            // It leaves while the packet's own translation is not finished, which nat takes note of.
            self.send_now();
        }
    }

    /// Makes the reset of `REJECT --reject-with tcp-reset`.
    pub(crate) fn send_reset(&mut self, skb: &Skb) {
        let packet = &skb.packet;
        let Some(transport) = reset_for(packet) else { return };
        let reset = Packet::new(packet.dst, packet.src, transport);
        self.observer.step(|| Step::Answered { icmp: None });
        self.made.push(Made {
            packet: reset,
            src: Some(packet.dst),
            any_source: true,
            tracked: attached(skb.tracked),
            mark: self.reply_mark(skb),
            // nf_reject_ipv4.c: what came in by a bridge is answered by the same port, with the addresses it
            // has by then.
            straight: skb.physdev.map(|physdev| physdev.in_port),
        });
    }

    /// `net.ipv4.fwmark_reflect`: whether what the host answers on its own carries the packet's mark.
    pub(crate) fn reply_mark(&self, skb: &Skb) -> u32 {
        let key = match skb.packet.family() {
            Family::Ip4 => "net.ipv4.fwmark_reflect",
            Family::Ip6 => "net.ipv6.fwmark_reflect",
        };
        if self.host.sysctl(key, 0) != 0 { skb.mark } else { 0 }
    }

    fn may_send_error(&mut self, to: IpAddr, kind: (u8, u8)) -> bool {
        // "Fragmentation needed" and redirects are not limited here; nothing is over lo.
        let free = [icmp::too_big(Family::of(to)), icmp::redirect(Family::of(to))];
        if free.contains(&kind) || self.host.fib.is_local(to) {
            return true;
        }
        let cost = match Family::of(to) {
            Family::Ip4 => self.host.sysctl("net.ipv4.icmp_ratelimit", 1000),
            Family::Ip6 => self.host.sysctl("net.ipv6.icmp.ratelimit", 100),
        };
        let cost = u64::try_from(cost).unwrap_or(0);
        let now = self.env.now;
        let bucket = self.state.peers.entry(to).or_insert_with(|| Bucket::full(now));
        bucket.take(now, cost, cost * ERROR_BURST)
    }
}

/// The header of the reset that answers a segment; `None` for one that is a reset itself (RFC 9293, 3.10.7.1).
pub(crate) fn reset_for(packet: &Packet) -> Option<Transport> {
    let Transport::Tcp { src, dst, flags, numbers } = packet.transport else { return None };
    if flags.has(TcpFlags::RST) {
        return None;
    }
    let (flags, numbers) = if flags.has(TcpFlags::ACK) {
        (TcpFlags::RST, Numbers { seq: numbers.ack, ack: 0 })
    } else {
        (TcpFlags::RST.with(TcpFlags::ACK), Numbers { seq: 0, ack: packet.seq_end() })
    };
    Some(Transport::Tcp { src: dst, dst: src, flags, numbers })
}

/// The connection of a packet made about another (nf_conntrack_core.c, `nf_conntrack_attach`).
fn attached(tracked: Tracked) -> Tracked {
    match tracked {
        Tracked::Entry { id, direction, .. } => {
            let direction = match direction {
                Direction::Original => Direction::Reply,
                Direction::Reply => Direction::Original,
            };
            Tracked::Entry { id, direction, info: CtInfo::Related }
        }
        Tracked::No | Tracked::Untracked | Tracked::Template(..) => Tracked::No,
    }
}
