//! What acts on packets beside netfilter and is not modelled: named where it acts, and undecided where it can
//! match.

use natpath_model::{Bypass, BypassKind, Hook, Protocol};

use crate::host::LinkId;
use crate::pass::{Observer, Pass};
use crate::skb::{Reason, Skb};
use crate::trace::{Assumption, Outcome, Step};

impl<O: Observer> Pass<'_, '_, O> {
    /// Ends a packet that IPVS (ip_vs_core.c, `ip_vs_in_hook` at INPUT and OUTPUT) or an IPsec policy may
    /// take. Policies for packets that leave are asked at POSTROUTING.
    pub(crate) fn pass_by(&mut self, hook: Hook, skb: &Skb, link: Option<LinkId>) -> Result<(), Reason> {
        let snapshot = self.host.snapshot;
        for bypass in &snapshot.bypasses {
            let acts = match &bypass.kind {
                BypassKind::VirtualService { protocol, address, port, .. } => {
                    let (_, dst) = skb.packet.ports().unwrap_or_default();
                    matches!(hook, Hook::Input | Hook::Output)
                        && skb.packet.dst == *address
                        && skb.packet.protocol() == *protocol
                        && (*port == 0 || dst.drawn.is_some() || dst.value == *port)
                }
                BypassKind::VirtualMark(mark) => {
                    matches!(hook, Hook::Input | Hook::Output) && skb.mark == *mark
                }
                BypassKind::Policy { hook: at, .. } => {
                    *at == hook && self.is_selected(&bypass.kind, skb, link)
                }
                BypassKind::Filter { .. } | BypassKind::WireGuard { .. } => false,
            };
            if acts {
                self.name_bypass(bypass);
                return Err(Reason::of(Outcome::Undecided));
            }
        }
        Ok(())
    }

    /// Names what a packet meets on a device, which may do anything or nothing.
    pub(crate) fn meet_device(&mut self, link: LinkId, comes_in: bool) {
        let snapshot = self.host.snapshot;
        let name = self.host.link(link).name;
        for bypass in &snapshot.bypasses {
            let is_met = match &bypass.kind {
                BypassKind::Filter { link, incoming } => {
                    link.is_none_or(|link| link == name)
                        && incoming.is_none_or(|incoming| incoming == comes_in)
                }
                BypassKind::WireGuard { link } => *link == name,
                BypassKind::VirtualService { .. }
                | BypassKind::VirtualMark(_)
                | BypassKind::Policy { .. } => false,
            };
            if is_met {
                self.name_bypass(bypass);
            }
        }
    }

    fn is_selected(&self, policy: &BypassKind, skb: &Skb, by: Option<LinkId>) -> bool {
        let BypassKind::Policy { src, dst, protocol, src_port, dst_port, link, .. } = policy else {
            return false;
        };
        let packet = &skb.packet;
        let (from, to) = packet.ports().unwrap_or_default();
        let is = |wanted: Option<u16>, port: natpath_model::Port| {
            wanted.is_none_or(|wanted| port.drawn.is_some() || port.value == wanted)
        };
        let of_protocol = |wanted: Protocol| wanted == packet.protocol();
        src.contains(&packet.src)
            && dst.contains(&packet.dst)
            && protocol.is_none_or(of_protocol)
            && is(*src_port, from)
            && is(*dst_port, to)
            && link.is_none_or(|name| by.is_some_and(|by| self.host.link(by).name == name))
    }

    fn name_bypass(&mut self, bypass: &Bypass) {
        let assumption = Assumption::Bypass {
            host: self.host.snapshot.name.clone(),
            what: bypass.kind.name().to_owned(),
            place: format!("{}:{}", bypass.file, bypass.line),
        };
        if self.env.assumptions.insert(assumption.clone()) {
            self.observer.step(|| Step::Assumed(assumption));
        }
    }
}
