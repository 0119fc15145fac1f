//! One table as it is being read: its chains, and where each command's rule goes.

use std::collections::HashMap;

use natpath_model::{
    Backend, Chain, ChainId, ChainKind, ChainType, Counter, Family, FileId, Hook, Match, Opaque, Origin,
    Policy, Priority, Rule, Statement, Table,
};

use super::Place;
use super::circle;
use super::rule::{Context, RuleReader, Scratch, Unsupported, position};
use super::value;
use crate::iptables_save::ast::{ChainLine, CommandLine, Fault, Word};

/// The hooks of a table of iptables with the priority in each; `None` if iptables has no such table.
pub(crate) fn hooks_of(table: &str) -> Option<&'static [(Hook, Priority)]> {
    use Hook::{Forward, Input, Output, Postrouting, Prerouting};
    Some(match table {
        "raw" => &[(Prerouting, Priority::RAW), (Output, Priority::RAW)],
        "mangle" => &[
            (Prerouting, Priority::MANGLE),
            (Input, Priority::MANGLE),
            (Forward, Priority::MANGLE),
            (Output, Priority::MANGLE),
            (Postrouting, Priority::MANGLE),
        ],
        "nat" => &[
            (Prerouting, Priority::NAT_DST),
            (Input, Priority::NAT_SRC),
            (Output, Priority::NAT_DST),
            (Postrouting, Priority::NAT_SRC),
        ],
        "filter" => &[(Input, Priority::FILTER), (Forward, Priority::FILTER), (Output, Priority::FILTER)],
        "security" => {
            &[(Input, Priority::SECURITY), (Forward, Priority::SECURITY), (Output, Priority::SECURITY)]
        }
        _ => return None,
    })
}

pub(super) struct TableReader<'a> {
    pub(super) table: Table,
    family: Family,
    file: FileId,
    chains: HashMap<&'a str, ChainId>,
    /// The chain of the last rule: a dump lists a chain's rules one after the other.
    last: Option<(&'a str, ChainId)>,
    /// Rules inserted at the head of each chain, the last inserted at the end.
    fronts: Vec<Vec<Rule>>,
}

impl<'a> TableReader<'a> {
    pub(super) fn new(table: Table, family: Family, file: FileId) -> Self {
        Self { table, family, file, chains: HashMap::new(), last: None, fronts: Vec::new() }
    }

    /// Reads `:CHAIN POLICY [0:0]`.
    pub(super) fn declare(&mut self, place: Place<'a>, line: &ChainLine<'a>) -> Result<(), Fault> {
        let counter = line.counter.unwrap_or_default();
        let at = line.policy_at;
        let kind = match (self.base(line.name, Policy::Accept, counter), line.policy) {
            (None, "-") => ChainKind::Regular,
            (None, _) if Hook::of_chain(line.name).is_some() => {
                let message = format!("table {} has no chain {}", self.table.name, line.name);
                return Err(Fault::syntax(0, message, "leave the line out"));
            }
            (None, _) => {
                let message = format!("user chain {} can't have a policy", line.name);
                return Err(Fault::syntax(at, message, format!("write `:{} - [0:0]`", line.name)));
            }
            (Some(kind), "ACCEPT" | "-") => kind,
            (Some(ChainKind::Base { hook, priority, chain_type, counter, .. }), "DROP") => {
                ChainKind::Base { hook, priority, chain_type, counter, policy: Policy::Drop }
            }
            (Some(_), _) => {
                let message = format!("expected the policy ACCEPT or DROP, found `{}`", line.policy);
                return Err(Fault::syntax(at, message, format!("write `:{} ACCEPT [0:0]`", line.name)));
            }
        };
        if self.chains.contains_key(line.name) {
            let message = format!("chain {} is declared twice", line.name);
            let help = "leave the second line out".to_owned();
            return Err(Fault { at: 0, code: "duplicate-chain", message, help });
        }
        self.add(place, line.name, kind);
        Ok(())
    }

    fn base(&self, name: &str, policy: Policy, counter: Counter) -> Option<ChainKind> {
        let hook = Hook::of_chain(name)?;
        let (_, priority) = hooks_of(&self.table.name)?.iter().find(|(own, _)| *own == hook)?;
        let priority = match (*priority, self.table.backend) {
            (Priority::SECURITY, Backend::Iptables) => Priority::SECURITY_NFT,
            (priority, _) => priority,
        };
        let chain_type = match (self.table.name.as_str(), hook) {
            ("nat", _) => ChainType::Nat,
            ("mangle", Hook::Output) => ChainType::Route,
            _ => ChainType::Filter,
        };
        Some(ChainKind::Base { hook, priority, chain_type, policy, counter })
    }

    fn add(&mut self, place: Place<'a>, name: &'a str, kind: ChainKind) -> ChainId {
        let id = ChainId(position(self.table.chains.len()));
        let start = place.start + place.text.len() - place.text.trim_start().len();
        let span = position(start)..position(start + place.text.trim().len());
        let origin = Origin { file: self.file, line: place.number, span };
        self.table.chains.push(Chain { name: name.to_owned(), kind, rules: Vec::new(), origin });
        self.fronts.push(Vec::new());
        self.chains.insert(name, id);
        id
    }

    /// Reads `-A CHAIN ...` and its like.
    pub(super) fn command(
        &mut self,
        place: Place<'a>,
        command: &CommandLine<'a>,
        words: &[Word<'a>],
        scratch: &mut Scratch,
    ) -> Result<Vec<Unsupported>, Fault> {
        let Some((verb, rest)) = words.split_first() else { return Ok(Vec::new()) };
        let name = rest.first().ok_or_else(|| {
            Fault::syntax(
                verb.end(),
                format!("expected a chain after `{}`", verb.raw),
                "is the line cut off?",
            )
        })?;
        match verb.raw {
            "-A" | "--append" => self.rule(place, command, words, 2, None, scratch),
            "-I" | "--insert" => {
                let number =
                    rest.get(1).filter(|word| word.raw.starts_with(|first: char| first.is_ascii_digit()));
                let at = match number {
                    Some(word) => value::number_word(*word, u32::MAX.into(), "a rule's number")?.max(1),
                    None => 1,
                };
                let first = 2 + usize::from(number.is_some());
                self.rule(place, command, words, first, Some(at as usize - 1), scratch)
            }
            "-N" | "--new-chain" => self.new_chain(place, *name).map(|()| Vec::new()),
            "-P" | "--policy" => self.policy(place, *name, rest.get(1)).map(|()| Vec::new()),
            _ => {
                let message = format!("expected `-A` or `-I`, found `{}`", verb.raw);
                let help = "give the output of `iptables-save -c`: the rules as they are, not commands that change them";
                Err(Fault::syntax(verb.at, message, help))
            }
        }
    }

    fn new_chain(&mut self, place: Place<'a>, name: Word<'a>) -> Result<(), Fault> {
        let line = ChainLine { name: name.raw, policy: "-", policy_at: name.at, counter: None };
        self.declare(place, &line)
    }

    fn policy(&mut self, place: Place<'a>, name: Word<'a>, policy: Option<&Word<'a>>) -> Result<(), Fault> {
        let id = self.chain(place, name)?;
        let chain = &mut self.table.chains[id.0 as usize];
        let ChainKind::Base { policy: own, .. } = &mut chain.kind else {
            return Err(Fault::syntax(name.at, "user chains have no policy", "leave the line out"));
        };
        *own = match policy.map(|word| word.raw) {
            Some("ACCEPT") => Policy::Accept,
            Some("DROP") => Policy::Drop,
            _ => return Err(Fault::syntax(name.end(), "expected ACCEPT or DROP", "write `-P INPUT DROP`")),
        };
        Ok(())
    }

    /// The chain of this name; a base chain that no line has declared has the policy accept.
    fn chain(&mut self, place: Place<'a>, name: Word<'a>) -> Result<ChainId, Fault> {
        if let Some((_, id)) = self.last.filter(|(last, _)| *last == name.raw) {
            return Ok(id);
        }
        if let Some(id) = self.chains.get(name.raw) {
            self.last = Some((name.raw, *id));
            return Ok(*id);
        }
        if let Some(kind) = self.base(name.raw, Policy::Accept, Counter::default()) {
            return Ok(self.add(place, name.raw, kind));
        }
        Err(Fault {
            at: name.at,
            code: "unknown-chain",
            message: format!("table {} has no chain `{}`", self.table.name, name.raw),
            help: format!("declare it with `:{} - [0:0]` before its rules", name.raw),
        })
    }

    fn rule(
        &mut self,
        place: Place<'a>,
        command: &CommandLine<'a>,
        words: &[Word<'a>],
        first: usize,
        insert: Option<usize>,
        scratch: &mut Scratch,
    ) -> Result<Vec<Unsupported>, Fault> {
        let id = self.chain(place, words[1])?;
        let hook = match self.table.chains[id.0 as usize].kind {
            ChainKind::Base { hook, .. } => Some(hook),
            ChainKind::Regular => None,
        };
        let context = Context {
            family: self.family,
            file: self.file,
            table: &self.table.name,
            chains: &self.chains,
            hook,
            number: place.number,
            line: place.text,
            line_start: place.start,
        };
        let mut reader = RuleReader::new(&context, words, first, scratch);
        let read = reader.read();
        if reader.other_family {
            return Ok(Vec::new());
        }
        let start = place.start + command.at;
        let span = position(start)..position(start + command.text.len());
        let origin = Origin { file: self.file, line: place.number, span };
        let (statements, fault) = match read {
            Ok(statements) => (statements, None),
            Err(fault) => (vec![unreadable(command.text, &origin)], Some(fault)),
        };
        let (mut matches, mut others) = reader.matches();
        if fault.is_some() {
            for list in others.iter_mut().chain([&mut matches]) {
                list.push(Match::Opaque(unreadable_part(command.text, &origin)));
            }
        }
        let counter = command.counter.or(reader.counter);
        let comment = reader.comment.take();
        let noted = std::mem::take(&mut reader.unsupported);
        let rule = Rule { matches, statements, counter, comment, handle: None, origin };
        let more: Vec<_> = others.into_iter().map(|matches| Rule { matches, ..rule.clone() }).collect();
        for rule in std::iter::once(rule).chain(more) {
            self.place(id, insert, rule);
        }
        fault.map_or(Ok(noted), Err)
    }

    fn place(&mut self, id: ChainId, insert: Option<usize>, rule: Rule) {
        let index = id.0 as usize;
        let (front, rules) = (&mut self.fronts[index], &mut self.table.chains[index].rules);
        match insert {
            None => rules.push(rule),
            Some(0) => front.push(rule),
            Some(at) => {
                join(front, rules);
                rules.insert(at.min(rules.len()), rule);
            }
        }
    }

    /// The table, and the rules that lead back to their own chain.
    pub(super) fn finish(mut self) -> (Table, Vec<Origin>) {
        for (front, chain) in self.fronts.iter_mut().zip(&mut self.table.chains) {
            join(front, &mut chain.rules);
        }
        let circles = circle::open(&mut self.table.chains);
        (self.table, circles)
    }
}

/// Puts inserted rules before the others.
fn join(front: &mut Vec<Rule>, rules: &mut Vec<Rule>) {
    if !front.is_empty() {
        rules.splice(0..0, front.drain(..).rev());
    }
}

/// What a rule is called that could not be read.
pub(crate) const UNREADABLE: &str = "a rule that can't be read";

/// A rule that could not be read still stands in the way of every packet that its readable part takes.
fn unreadable_part(text: &str, origin: &Origin) -> Opaque {
    Opaque {
        construct: UNREADABLE.to_owned(),
        text: text.to_owned(),
        reason: "not readable".to_owned(),
        origin: origin.clone(),
    }
}

fn unreadable(text: &str, origin: &Origin) -> Statement {
    Statement::Opaque(unreadable_part(text, origin))
}
