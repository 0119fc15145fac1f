//! A path seen together with its network: what the engine numbers (hosts, rules, draws) gets its name here.

use natpath_engine::trace::{Drawn, FlowTrace, Header, HostId, Path, Place};
use natpath_model::flow::Side;
use natpath_model::{Chain, ChainKind, Flow, Network, Port, RuleRef, Snapshot, Table};
use natpath_provenance::Provenance;

/// A flow that was traced, or more data on its connection.
#[derive(Debug, Clone)]
pub(crate) struct Traced<'a> {
    /// What was asked.
    pub(crate) flow: Flow,
    /// Who sends more data on its connection; `None` for the flow itself.
    pub(crate) more: Option<Side>,
    /// The words it was asked in.
    pub(crate) text: String,
    /// What the engine says.
    pub(crate) trace: FlowTrace,
    /// The hosts whose rules or sets were loaded by then, each load later than those before it.
    pub(crate) loaded: Vec<&'a Snapshot>,
    /// What happened since the flow before.
    pub(crate) before: Vec<Between>,
}

/// A line between flows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Between {
    /// As it was written.
    pub(crate) text: String,
    /// What came of it, each a line.
    pub(crate) remarks: Vec<String>,
}

impl Traced<'_> {
    /// Whether every path works.
    pub(crate) fn works(&self) -> bool {
        let paths = &self.trace.paths;
        !paths.is_empty() && paths.iter().all(|path| path.result.works)
    }
}

/// A path with what is needed to name its parts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    /// The hosts.
    pub(crate) network: &'a Network,
    /// The flow that was asked for.
    pub(crate) flow: &'a Flow,
    /// Who sends more data on its connection.
    pub(crate) more: Option<Side>,
    /// The path.
    pub(crate) path: &'a Path,
    /// The hosts that have other rules than when they were recorded.
    loaded: &'a [&'a Snapshot],
    /// The flows that were traced before, over the same state.
    pub(crate) earlier: &'a [Traced<'a>],
}

/// A rule with its surroundings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RuleView<'a> {
    /// Its host.
    pub(crate) host: &'a Snapshot,
    /// Where it stands there.
    pub(crate) at: RuleRef,
    /// Its own text.
    pub(crate) text: &'a str,
    /// The file it stands in.
    pub(crate) file: &'a str,
    /// The line in that file.
    pub(crate) line: u32,
    /// Its number in its chain, from 1.
    pub(crate) number: u32,
    /// The rule.
    pub(crate) rule: &'a natpath_model::Rule,
    /// Its chain.
    pub(crate) chain: &'a Chain,
    /// Its table.
    pub(crate) table: &'a Table,
}

impl<'a> View<'a> {
    /// A path of a flow.
    pub(crate) fn new(
        network: &'a Network,
        traced: &'a Traced<'a>,
        path: &'a Path,
        earlier: &'a [Traced<'a>],
    ) -> Self {
        let Traced { flow, more, loaded, .. } = traced;
        Self { network, flow, more: *more, path, loaded, earlier }
    }

    /// The host of this number, as it was when the flow was sent.
    pub(crate) fn host(&self, host: HostId) -> Option<&'a Snapshot> {
        let recorded = self.network.hosts.get(host.0 as usize)?;
        let loaded = self.loaded.iter().rev().find(|loaded| loaded.name == recorded.name);
        Some(loaded.copied().unwrap_or(recorded))
    }

    /// The name of the host of this number.
    pub(crate) fn host_name(&self, host: HostId) -> String {
        self.host(host).map_or_else(|| format!("host {}", host.0), |host| host.name.clone())
    }

    /// The name of a recorded host, the address of an assumed one.
    pub(crate) fn place(&self, place: Place) -> String {
        match place {
            Place::Host(host) => self.host_name(host),
            Place::Assumed(address) => address.to_string(),
        }
    }

    /// The table with this number on a host.
    pub(crate) fn table(&self, place: Place, table: u32) -> Option<&'a Table> {
        match place {
            Place::Host(host) => self.host(host)?.ruleset.tables.get(table as usize),
            Place::Assumed(_) => None,
        }
    }

    /// The rule a reference points to on a host.
    pub(crate) fn rule(&self, place: Place, at: RuleRef) -> Option<RuleView<'a>> {
        let Place::Host(host) = place else { return None };
        let host = self.host(host)?;
        let table = host.ruleset.tables.get(at.table as usize)?;
        let chain = table.chains.get(at.chain.0 as usize)?;
        let rule = chain.rules.get(at.rule as usize)?;
        let file = host.files.get(usize::from(rule.origin.file.0)).map_or("", |file| file.name.as_str());
        let (text, line, number) = (host.text(&rule.origin), rule.origin.line, at.rule + 1);
        Some(RuleView { host, at, text, file, line, number, rule, chain, table })
    }

    /// The interval of a drawn port; that of its one known value where the path does not list the draw.
    pub(crate) fn drawn(&self, port: Port) -> Option<Drawn> {
        port.drawn?;
        Some(self.path.drawn(port).unwrap_or(Drawn { low: port.value, high: port.value }))
    }

    /// A port or identifier as a reader sees it: `{1024-65535}` for one drawn by chance.
    pub(crate) fn number(&self, port: Port) -> String {
        match self.drawn(port) {
            Some(drawn) => format!("{{{}-{}}}", drawn.low, drawn.high),
            None => port.value.to_string(),
        }
    }

    /// The same, with `*` for the ephemeral port that nobody asked for.
    fn port(&self, port: Port) -> String {
        let asked = self.flow.src_port.is_some() || self.flow.dst_port == Flow::EPHEMERAL;
        let ephemeral = !asked && port == Port::new(Flow::EPHEMERAL);
        if ephemeral { "*".to_owned() } else { self.number(port) }
    }

    /// The source of a header: address, and port where the protocol has one; `-` where the kernel was to
    /// choose and did not.
    pub(crate) fn src(&self, header: Header) -> String {
        match (header.src.address.is_unspecified() && self.flow.src.is_none(), self.flow.src_port) {
            (true, None) => "-".to_owned(),
            (true, Some(port)) => format!("-:{port}"),
            (false, _) => self.endpoint(header, header.src),
        }
    }

    /// The destination of a header.
    pub(crate) fn dst(&self, header: Header) -> String {
        self.endpoint(header, header.dst)
    }

    fn endpoint(&self, header: Header, endpoint: natpath_model::Endpoint) -> String {
        let address = endpoint.address;
        match (header.protocol.has_ports(), address.is_ipv6()) {
            (false, _) => address.to_string(),
            (true, false) => format!("{address}:{}", self.port(endpoint.port)),
            (true, true) => format!("[{address}]:{}", self.port(endpoint.port)),
        }
    }

    /// A header on one line: `tcp 192.0.2.1:* → 192.0.2.2:80`.
    pub(crate) fn header(&self, header: Header) -> String {
        let id = if header.protocol.is_icmp() {
            format!(" id {}", self.number(header.src.port))
        } else {
            String::new()
        };
        format!("{} {} → {}{id}", header.protocol, self.src(header), self.dst(header))
    }
}

impl RuleView<'_> {
    /// The program that made the rule, and what for.
    pub(crate) fn provenance(&self) -> Option<Provenance> {
        natpath_provenance::of_rule(self.host, self.at)
    }

    /// Whether a hook calls its chain.
    pub(crate) fn is_in_base_chain(&self) -> bool {
        matches!(self.chain.kind, ChainKind::Base { .. })
    }

    /// Where the rule stands: `iptables-save:12`.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

#[cfg(test)]
mod tests {
    use crate::render::fixture::{double_dnat, network};

    use super::*;

    #[test]
    fn only_a_port_that_nobody_gave_is_a_star() {
        let (network, traced) = (network(), double_dnat());
        let sent = traced.trace.sent;
        let check = |flow: &Flow, expected: &str| {
            let traced = Traced { flow: flow.clone(), ..traced.clone() };
            let view = View::new(&network, &traced, &traced.trace.paths[0], &[]);
            assert_eq!(view.header(sent), format!("tcp {expected} → 198.51.100.1:80"));
        };
        check(&traced.flow, "198.51.100.2:*");
        let odd = Flow { dst_port: Flow::EPHEMERAL, ..traced.flow.clone() };
        check(&odd, "198.51.100.2:40000");
        check(&Flow { src_port: Some(40000), ..traced.flow.clone() }, "198.51.100.2:40000");
    }
}
