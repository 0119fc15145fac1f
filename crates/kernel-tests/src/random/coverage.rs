//! What a random comparison has met: how many judged flows came to each construct, and what became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use natpath_engine::trace::{FlowTrace, Hop, Path, Place, Step};
use natpath_model::Snapshot;
use natpath_verify::compare::Compared;

use natpath_verify::scenario::Scenario;

/// What was met, in judged flows.
#[derive(Debug, Clone, Default)]
pub struct Coverage {
    /// All flows.
    pub flows: u64,
    /// Those that took a path that the engine holds possible.
    pub right: u64,
    /// Those with a single path and no drawn port in it.
    pub certain: u64,
    /// Those that do not work.
    pub failing: u64,
    /// For each construct of a rule, the flows that tried such a rule, and those it applied to.
    pub constructs: BTreeMap<String, (u64, u64)>,
    /// For each outcome and other feature, the flows that have it.
    pub features: BTreeMap<String, u64>,
}

impl Coverage {
    /// Adds a flow.
    pub(super) fn add(&mut self, scenario: &Scenario, trace: &FlowTrace, flow: &Compared) {
        self.flows += 1;
        let Some(taken) = flow.taken.as_ref() else { return };
        let Some(path) = trace.paths.iter().find(|path| path.id == *taken) else { return };
        self.right += 1;
        self.certain += u64::from(trace.paths.len() == 1 && path.result.drawn.is_empty());
        self.failing += u64::from(!path.result.works);
        let mut met: BTreeMap<String, bool> = BTreeMap::new();
        for (host, step) in steps(path) {
            let Place::Host(host) = host else { continue };
            let host = &scenario.network.hosts[host.0 as usize];
            match step {
                Step::Rule { rule, .. } => note(&mut met, host, *rule, true),
                Step::Miss { rule, .. } => note(&mut met, host, *rule, false),
                _ => {}
            }
        }
        for (construct, applied) in met {
            let counted = self.constructs.entry(construct).or_default();
            counted.0 += 1;
            counted.1 += u64::from(applied);
        }
        for feature in features(trace, path) {
            *self.features.entry(feature).or_default() += 1;
        }
    }

    /// Adds what another has met.
    pub(super) fn join(&mut self, other: &Self) {
        self.flows += other.flows;
        self.right += other.right;
        self.certain += other.certain;
        self.failing += other.failing;
        for (construct, (tried, applied)) in &other.constructs {
            let counted = self.constructs.entry(construct.clone()).or_default();
            counted.0 += tried;
            counted.1 += applied;
        }
        for (feature, count) in &other.features {
            *self.features.entry(feature.clone()).or_default() += count;
        }
    }
}

fn steps(path: &Path) -> impl Iterator<Item = (Place, &Step)> {
    let broken = path.result.broken.iter().flat_map(|broken| &broken.hops);
    let hops = path.hops.iter().chain(&path.reply_hops).chain(broken);
    hops.flat_map(|hop: &Hop| hop.steps.iter().map(move |step| (hop.host, step)))
}

fn note(met: &mut BTreeMap<String, bool>, host: &Snapshot, rule: natpath_model::RuleRef, applied: bool) {
    let text = host.text(&host.ruleset.rule(rule).origin);
    for construct in constructs(text) {
        *met.entry(construct).or_default() |= applied;
    }
}

/// The constructs of a rule: `tcp --dport`, `! -s`, `-j DNAT`, each match and target with its options.
pub(super) fn constructs(rule: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut module = String::new();
    let mut negated = false;
    let mut words = rule.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let not = if negated { "! " } else { "" };
        match word {
            "!" => {
                negated = true;
                continue;
            }
            "-A" => {
                words.next();
            }
            "-m" => {
                module = words.next().unwrap_or_default().to_owned();
                found.insert(format!("-m {module}"));
            }
            "-j" | "-g" => {
                let target = words.next().unwrap_or_default();
                let user = target.starts_with('u');
                found.insert(if user { format!("{word} CHAIN") } else { format!("{word} {target}") });
                module = if user { String::new() } else { target.to_owned() };
            }
            "-p" => {
                let protocol = words.next().unwrap_or_default();
                found.insert(format!("{not}-p {protocol}"));
                module = protocol.to_owned();
            }
            "-s" | "-d" | "-i" | "-o" | "-f" => {
                found.insert(format!("{not}{word}"));
            }
            "--reject-with" => {
                found.insert(format!("REJECT --reject-with {}", words.next().unwrap_or_default()));
            }
            option if option.starts_with("--") => {
                found.insert(format!("{module} {not}{option}"));
            }
            _ => continue,
        }
        negated = false;
    }
    found
}

fn features(trace: &FlowTrace, path: &Path) -> BTreeSet<String> {
    let result = &path.result;
    let mut found = BTreeSet::new();
    found.insert(format!("protocol {}", trace.sent.protocol));
    let family = if trace.sent.dst.address.is_ipv4() { "IPv4" } else { "IPv6" };
    found.insert(family.to_owned());
    let why = result.end.why.map_or(String::new(), |why| format!(" {why}"));
    found.insert(format!("outcome {}{why}", result.end.outcome));
    if let Some(broken) = &result.broken {
        let why = broken.end.why.map_or(String::new(), |why| format!(" {why}"));
        found.insert(format!("broken {} {}{why}", broken.packet.word(), broken.end.outcome));
    }
    if let Some(icmp) = result.reply.as_ref().and_then(|reply| reply.icmp) {
        found.insert(format!("ICMP error {}/{}", icmp.kind, icmp.code));
    }
    if result.reply.as_ref().is_some_and(|reply| reply.reset) {
        found.insert("TCP reset".to_owned());
    }
    if !result.drawn.is_empty() {
        found.insert("drawn port".to_owned());
    }
    if trace.paths.len() > 1 {
        found.insert("several paths".to_owned());
    }
    found.insert(format!("hosts crossed {}", path.hops.len()));
    if path.hops.len() == 1 {
        found.insert("within one host".to_owned());
    }
    if result.conntrack.iter().any(|entry| entry.zone.0 != 0) {
        found.insert("zone".to_owned());
    }
    for (_, step) in steps(path) {
        let feature = match step {
            Step::PortChanged { .. } => "null binding changes the port",
            Step::Translated { undone: true, .. } => "reply translated back",
            Step::Conntrack { entry: Some(_), .. } => "entry met",
            Step::NotReached { .. } => "nat rule not reached",
            Step::Bridged { .. } => "bridged",
            Step::SourceCheck { .. } => "reverse path check fails",
            _ => continue,
        };
        found.insert(feature.to_owned());
    }
    found
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |part: u64| 100.0 * part as f64 / self.flows.max(1) as f64;
        writeln!(
            f,
            "{} flows, {} right, {:.1} % with one path and no drawn port, {:.1} % do not work",
            self.flows,
            self.right,
            share(self.certain),
            share(self.failing)
        )?;
        writeln!(f, "{:<46} {:>8} {:>8}", "construct", "tried", "applied")?;
        for (construct, (tried, applied)) in &self.constructs {
            writeln!(f, "{construct:<46} {tried:>8} {applied:>8}")?;
        }
        writeln!(f, "{:<46} {:>8}", "feature", "flows")?;
        for (feature, count) in &self.features {
            writeln!(f, "{feature:<46} {count:>8}")?;
        }
        Ok(())
    }
}
