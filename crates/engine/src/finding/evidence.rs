//! What a run left behind, as findings and hints ask for it.

use natpath_model::{Backend, ChainId, Hook, Manip, Rule, RuleRef};

use super::{passes, rule_text};
use crate::flow::FlowRun;
use crate::nat::Unreached;
use crate::near_miss::{MissCause, NearMiss};
use crate::run::{Journey, Sender};
use crate::trace::{ChainEnd, Effect, End, Header, Hop, HostId, Outcome, Place, Step, Why};
use crate::world::World;

/// What a finder looks at.
pub(crate) struct Evidence<'e, 'a> {
    pub(crate) world: &'e World<'a>,
    pub(crate) sender: Sender,
    pub(crate) run: &'e FlowRun,
}

/// A translation that a rule set up on a recorded host.
pub(crate) struct Translation {
    pub(crate) host: HostId,
    pub(crate) hook: Hook,
    pub(crate) rule: RuleRef,
    pub(crate) after: Header,
}

impl<'e, 'a> Evidence<'e, 'a> {
    /// The first packet's journey.
    pub(crate) fn first(&self) -> &'e Journey {
        &self.run.journeys[0]
    }

    /// The hops of the first packet on recorded hosts.
    pub(crate) fn hops(&self) -> impl Iterator<Item = (HostId, &'e Hop)> {
        recorded(&self.first().hops)
    }

    /// The hops on recorded hosts of the packet that failed: the first, or a later one.
    pub(crate) fn failed_hops(&self) -> impl Iterator<Item = (HostId, &'e Hop)> {
        recorded(self.run.result.broken.as_ref().map_or(&self.first().hops, |broken| &broken.hops))
    }

    /// How the packet that failed ended: the first, or a later one.
    pub(crate) fn failed_end(&self) -> &'e End {
        let result = &self.run.result;
        result.broken.as_ref().map_or(&result.end, |broken| &broken.end)
    }

    /// The hops of the first answer.
    pub(crate) fn answer_hops(&self) -> impl Iterator<Item = &'e Hop> {
        self.run.reply.into_iter().flat_map(|reply| &self.run.journeys[reply].hops)
    }

    /// The last chain that the packet that failed went through, on the host where it ended: host, hook, table
    /// and chain, and how the walk ended.
    pub(crate) fn last_chain(&self) -> Option<(HostId, Hook, u32, ChainId, ChainEnd)> {
        let (host, hop) = self.failed_hops().last()?;
        let (hook, table, chain, end) = last_chain(hop)?;
        Some((host, hook, table, chain, end))
    }

    /// Whether a rule or policy stopped a packet with this header at a hook of a host.
    pub(crate) fn stopped_at(&self, host: HostId, hook: Hook, header: &Header) -> bool {
        let result = &self.run.result;
        let first = self.first().hops.last();
        let broken = result.broken.as_ref();
        let reply = self.run.reply.and_then(|reply| self.run.journeys[reply].hops.last());
        let ends: [(Option<&End>, Option<&Hop>); 3] = [
            (Some(&result.end), first),
            (broken.map(|broken| &broken.end), broken.and_then(|broken| broken.hops.last())),
            (result.reply.as_ref().map(|reply| &reply.end), reply),
        ];
        ends.into_iter().any(|(end, hop)| {
            let (Some(end), Some(hop)) = (end, hop) else { return false };
            let by_filter = match end.outcome {
                Outcome::Dropped | Outcome::Rejected => matches!(end.why, Some(Why::Rule | Why::Policy)),
                Outcome::LocalError => end.why == Some(Why::Errno("EPERM")),
                _ => false,
            };
            by_filter
                && end.at.host == Place::Host(host)
                && end.header == *header
                && last_chain(hop).is_some_and(|(last, ..)| last == hook)
        })
    }

    /// The translations of one side that rules set up for the first packet, in order.
    pub(crate) fn translations(&self, manip: Manip) -> Vec<Translation> {
        let mut found = Vec::new();
        for (host, hop) in self.hops() {
            for step in &hop.steps {
                if let Step::Rule { hook, rule, effect, after, .. } = step
                    && is_nat(*effect)
                    && hook.manip() == Some(manip)
                {
                    let (hook, rule, after) = (*hook, *rule, *after);
                    found.push(Translation { host, hook, rule, after });
                }
            }
        }
        found
    }

    /// Whether the host translated the packet after all when it came by again, as a connection of its own.
    pub(super) fn translated_again(&self, unreached: &Unreached) -> bool {
        self.hops().filter(|(at, _)| *at == unreached.host).flat_map(|(_, hop)| &hop.steps).any(|step| {
            matches!(step, Step::Rule { hook, effect, before, .. }
                if is_nat(*effect) && hook.manip() == Some(Manip::Dst) && before.dst == unreached.at.dst)
        })
    }

    pub(crate) fn name(&self, host: HostId) -> &'a str {
        &self.world.host(host).snapshot.name
    }

    pub(crate) fn rule(&self, host: HostId, rule: RuleRef) -> &'a Rule {
        self.world.host(host).snapshot.ruleset.rule(rule)
    }

    /// A table as its users call it: `filter`, `legacy filter`, `inet filter`.
    pub(crate) fn table(&self, host: HostId, table: u32) -> String {
        let table = &self.world.host(host).snapshot.ruleset.tables[table as usize];
        match table.backend {
            Backend::Iptables => table.name.clone(),
            Backend::IptablesLegacy => format!("legacy {}", table.name),
            Backend::Nft => format!("{} {}", table.family, table.name),
        }
    }

    /// What a rule that nearly applied asks for, in its own words.
    pub(crate) fn asked(&self, miss: &NearMiss) -> Option<String> {
        let rule = self.rule(miss.host, miss.rule);
        let MissCause::BeforeTranslation { matches, .. } = &miss.cause else { return None };
        let text = self.text(miss.host, miss.rule);
        let fields = matches.iter().filter_map(|index| rule_text::field(rule.matches.get(*index as usize)?));
        let words: Vec<_> =
            fields.filter_map(|field| rule_text::option(text, rule_text::options(field))).collect();
        (!words.is_empty()).then(|| words.join(" "))
    }

    /// One command that has a rule that nearly applied ask for the connection's original destination.
    pub(crate) fn replacement(&self, miss: &NearMiss) -> Option<String> {
        let MissCause::BeforeTranslation { matches, side, .. } = &miss.cause else { return None };
        let rule = self.rule(miss.host, miss.rule);
        let fields: Vec<_> = matches
            .iter()
            .filter_map(|index| rule.matches.get(*index as usize))
            .map(rule_text::field)
            .collect();
        // What stops a connection must not stop another that a host behind it has begun; what lets one pass
        // has to let its answers pass.
        let one_way = passes(rule) == Some(false);
        let text = self.text(miss.host, miss.rule);
        let rewritten = rule_text::ask_for_original(text, &fields, *side, one_way)?;
        self.command(miss.host, miss.rule, "-R", &rewritten)
    }

    /// A command of iptables at a rule's place: `-I` or `-R`; `None` for a table that nft made.
    pub(crate) fn command(&self, host: HostId, rule: RuleRef, operation: &str, rest: &str) -> Option<String> {
        let ruleset = &self.world.host(host).snapshot.ruleset;
        if ruleset.tables[rule.table as usize].backend == Backend::Nft {
            return None;
        }
        let table = &ruleset.tables[rule.table as usize].name;
        let chain = &ruleset.chain(rule.table, rule.chain).name;
        let (program, number) = (self.program(host, rule.table), rule.rule + 1);
        Some(format!("{program} -t {table} {operation} {chain} {number} {rest}"))
    }

    /// The rule that exempted a packet from tracking on a host.
    pub(crate) fn exempting_rule(&self, host: HostId) -> Option<RuleRef> {
        let hops = self.run.journeys.iter().flat_map(|journey| recorded(&journey.hops));
        hops.filter(|(at, _)| *at == host).flat_map(|(_, hop)| &hop.steps).find_map(|step| match step {
            Step::Rule { rule, effect: Effect::Notrack, .. } => Some(*rule),
            _ => None,
        })
    }

    /// How a reader finds a rule: `iptables-save:12`.
    pub(crate) fn place(&self, host: HostId, rule: RuleRef) -> String {
        let snapshot = self.world.host(host).snapshot;
        let origin = &snapshot.ruleset.rule(rule).origin;
        let file = snapshot.files.get(usize::from(origin.file.0));
        format!("{}:{}", file.map_or("?", |file| file.name.as_str()), origin.line)
    }

    /// A rule's own text.
    pub(crate) fn text(&self, host: HostId, rule: RuleRef) -> &'a str {
        let snapshot = self.world.host(host).snapshot;
        snapshot.text(&snapshot.ruleset.rule(rule).origin)
    }

    /// The program that loads a table's rules: the one whose dump they were read from.
    pub(crate) fn program(&self, host: HostId, table: u32) -> String {
        let snapshot = self.world.host(host).snapshot;
        let table = &snapshot.ruleset.tables[table as usize];
        let file =
            table.chains.first().and_then(|chain| snapshot.files.get(usize::from(chain.origin.file.0)));
        let name = file.map_or("iptables-save", |file| file.name.as_str());
        // A dump that is loaded later has a name of its own before the program's: `after.iptables-save`.
        let name = name.rsplit('.').next().unwrap_or(name);
        name.strip_suffix("-save").unwrap_or("iptables").to_owned()
    }
}

/// The hops on recorded hosts.
pub(super) fn recorded(hops: &[Hop]) -> impl Iterator<Item = (HostId, &Hop)> {
    hops.iter().filter_map(|hop| match hop.host {
        Place::Host(id) => Some((id, hop)),
        Place::Assumed(_) => None,
    })
}

/// The last chain that a packet went through in a hop, and how its walk ended.
pub(super) fn last_chain(hop: &Hop) -> Option<(Hook, u32, ChainId, ChainEnd)> {
    hop.steps.iter().rev().find_map(|step| match step {
        Step::Chain { hook, table, chain, end, .. } => Some((*hook, *table, *chain, *end)),
        _ => None,
    })
}

pub(super) fn is_nat(effect: Effect) -> bool {
    matches!(effect, Effect::Dnat | Effect::Snat | Effect::Masquerade | Effect::Redirect | Effect::Netmap)
}
