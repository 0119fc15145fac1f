//! One command's words to a rule: the options every rule may have, and who takes each of the others.

use std::collections::HashMap;

use natpath_model::matching::protocol as protocol_test;
use natpath_model::{
    ChainId, Counter, Family, Field, FileId, Hook, Manip, Match, Opaque, Origin, Protocol, Statement, Test,
};

use super::module::{Instance, Module};
use super::target::{Kind, Target};
use super::value::{Result, expected};
use crate::iptables_save::ast::{Fault, Word};

/// What a rule's words are read against.
pub(super) struct Context<'c, 'a> {
    pub(super) family: Family,
    pub(super) file: FileId,
    pub(super) table: &'c str,
    pub(super) chains: &'c HashMap<&'a str, ChainId>,
    /// The hook of the rule's chain, for a base chain.
    pub(super) hook: Option<Hook>,
    pub(super) number: u32,
    pub(super) line: &'a str,
    /// Where the line begins in the file.
    pub(super) line_start: usize,
}

/// A construct that is carried verbatim.
pub(super) struct Unsupported {
    pub(super) at: usize,
    pub(super) construct: String,
    pub(super) text: String,
    pub(super) reason: &'static str,
}

/// An option as it is being read.
#[derive(Clone, Copy)]
pub(super) struct Opt<'w> {
    pub(super) name: &'w str,
    /// The index of its word.
    pub(super) word: usize,
    pub(super) inverted: bool,
}

/// The protocol of a rule.
#[derive(Clone, Copy)]
pub(super) struct Proto {
    pub(super) number: u8,
    pub(super) inverted: bool,
}

/// Buffers that serve one rule after the other.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) src: Vec<Option<Test>>,
    pub(super) dst: Vec<Option<Test>>,
    instances: Vec<Instance>,
    entries: Vec<(u16, Match)>,
}

/// The reader of one rule.
pub(super) struct RuleReader<'r, 'a> {
    pub(super) context: &'r Context<'r, 'a>,
    pub(super) words: &'r [Word<'a>],
    pub(super) at: usize,
    pub(super) scratch: &'r mut Scratch,
    pub(super) interfaces: [Option<Test>; 2],
    pub(super) protocol: Option<Proto>,
    pub(super) fragment: Option<Test>,
    pub(super) target: Option<Target>,
    pub(super) comment: Option<String>,
    pub(super) counter: Option<Counter>,
    pub(super) unsupported: Vec<Unsupported>,
    /// Whether the rule is for the other family (`-4`, `-6`).
    pub(super) other_family: bool,
}

impl<'r, 'a> RuleReader<'r, 'a> {
    pub(super) fn new(
        context: &'r Context<'r, 'a>,
        words: &'r [Word<'a>],
        at: usize,
        scratch: &'r mut Scratch,
    ) -> Self {
        scratch.src.clear();
        scratch.dst.clear();
        scratch.instances.clear();
        scratch.entries.clear();
        Self {
            context,
            words,
            at,
            scratch,
            interfaces: [None, None],
            protocol: None,
            fragment: None,
            target: None,
            comment: None,
            counter: None,
            unsupported: Vec::new(),
            other_family: false,
        }
    }

    /// Reads all words and gives the rule's statements.
    pub(super) fn read(&mut self) -> Result<Vec<Statement>> {
        while self.at < self.words.len() {
            let inverted = self.take_bang()?;
            self.option(inverted)?;
        }
        self.finish_instances()?;
        self.finish_xt()?;
        let statement = match self.target.take() {
            Some(target) => target.build(self)?,
            None => None,
        };
        Ok(statement.into_iter().collect())
    }

    fn take_bang(&mut self) -> Result<bool> {
        if !self.is_bang(self.at) {
            return Ok(false);
        }
        self.at += 1;
        match self.words.get(self.at) {
            Some(_) if !self.is_bang(self.at) => Ok(true),
            _ => {
                let at = self.words[self.at - 1].at;
                Err(Fault::syntax(at, "expected an option after `!`", "write `! -s 192.0.2.0/24`"))
            }
        }
    }

    fn is_bang(&self, at: usize) -> bool {
        self.words.get(at).is_some_and(|word| word.raw == "!")
    }

    fn option(&mut self, inverted: bool) -> Result<()> {
        let word = self.at;
        let name = self.words[word].raw;
        self.at += 1;
        let option = Opt { name, word, inverted };
        match name {
            "-s" | "--source" | "--src" => self.addresses(option, Manip::Src),
            "-d" | "--destination" | "--dst" => self.addresses(option, Manip::Dst),
            "-i" | "--in-interface" => self.interface(option, Field::InInterface),
            "-o" | "--out-interface" => self.interface(option, Field::OutInterface),
            "-p" | "--protocol" | "--proto" => self.read_protocol(option),
            "-f" | "--fragment" => self.read_fragment(option),
            "-m" | "--match" => self.load(option),
            "-j" | "--jump" => self.jump(option, false),
            "-g" | "--goto" => self.jump(option, true),
            "-c" | "--set-counters" => self.read_counter(option),
            "-4" | "--ipv4" => self.only(option, Family::Ip4),
            "-6" | "--ipv6" => self.only(option, Family::Ip6),
            "[unsupported" => self.unprintable(word),
            _ => self.extension_option(option),
        }
    }

    /// The word after an option, and the old form `--option ! value`.
    pub(super) fn argument(&mut self, option: &mut Opt<'_>) -> Result<Word<'a>> {
        if self.is_bang(self.at) && self.at + 1 < self.words.len() {
            self.at += 1;
            if option.inverted {
                let message = format!("`{}` is negated twice", option.name);
                return Err(Fault::syntax(self.words[self.at - 1].at, message, "leave out one of the `!`"));
            }
            option.inverted = true;
        }
        let Some(&word) = self.words.get(self.at) else {
            let message = format!("expected a value after `{}`", option.name);
            let end = self.words[option.word].end();
            return Err(Fault::syntax(end, message, "is the line cut off?"));
        };
        self.at += 1;
        Ok(word)
    }

    /// Like [`Self::argument`], for an option that has no negation.
    pub(super) fn plain_argument(&mut self, option: &mut Opt<'_>) -> Result<Word<'a>> {
        let word = self.argument(option)?;
        self.refuse_bang(*option)?;
        Ok(word)
    }

    pub(super) fn refuse_bang(&self, option: Opt<'_>) -> Result<()> {
        if !option.inverted {
            return Ok(());
        }
        let message = format!("`{}` can't be negated", option.name);
        Err(Fault::syntax(self.words[option.word].at, message, "leave out the `!`"))
    }

    fn load(&mut self, mut option: Opt<'_>) -> Result<()> {
        let word = self.plain_argument(&mut option)?;
        let module = Module::named(&word.text(), self.context.family);
        if let Some(module) = module {
            self.push_instance(module, option.word);
            return Ok(());
        }
        let (construct, reason) = (format!("-m {}", word.text()), super::unknown::of_match(&word.text()));
        let end = self.skip_foreign_words();
        let opaque = self.opaque(construct, option.word..end, reason);
        self.push_instance(Module::Opaque, option.word);
        self.push(Match::Opaque(opaque));
        Ok(())
    }

    /// iptables-save writes `[unsupported revision]` for options of an extension newer than itself.
    fn unprintable(&mut self, word: usize) -> Result<()> {
        const REASON: &str = "iptables-save could not print its options";
        let end = self.skip_foreign_words();
        if let Some(target) = &mut self.target {
            target.kind = Kind::Opaque(end, REASON);
            return Ok(());
        }
        let last = self.scratch.instances.last_mut().ok_or_else(|| {
            expected(self.words[word], "an option of this rule", "load a module with `-m` before it")
        })?;
        let construct = format!("-m {}", last.module.name());
        let start = last.word;
        last.module = Module::Opaque;
        let opaque = self.opaque(construct, start..end, REASON);
        self.push(Match::Opaque(opaque));
        Ok(())
    }

    fn push_instance(&mut self, module: Module, word: usize) {
        self.scratch.instances.push(Instance::new(module, word));
    }

    /// Adds a condition of the module that was loaded last.
    fn push(&mut self, condition: Match) {
        let last = self.scratch.instances.len().saturating_sub(1);
        self.push_for(last, condition);
    }

    pub(super) fn push_for(&mut self, instance: usize, condition: Match) {
        self.scratch.entries.push((u16::try_from(instance).unwrap_or(u16::MAX), condition));
    }

    pub(super) fn instances(&self) -> usize {
        self.scratch.instances.len()
    }

    pub(super) fn instance(&mut self, index: usize) -> &mut Instance {
        &mut self.scratch.instances[index]
    }

    /// Goes over words that belong to an extension natpath does not know, and gives the index after them.
    pub(super) fn skip_foreign_words(&mut self) -> usize {
        while self.at < self.words.len() && !self.is_boundary(self.at) {
            self.at += 1;
        }
        self.at
    }

    fn is_boundary(&self, at: usize) -> bool {
        let Some(word) = self.words.get(at).filter(|word| !word.quoted) else { return false };
        match word.raw {
            "!" => self.is_boundary(at + 1) && !self.is_bang(at + 1),
            "-s" | "--source" | "--src" | "-d" | "--destination" | "--dst" | "-i" | "--in-interface"
            | "-o" | "--out-interface" | "-p" | "--protocol" | "-f" | "--fragment" | "-m" | "--match"
            | "-j" | "--jump" | "-g" | "--goto" | "-c" | "--set-counters" => true,
            name => name.starts_with("--") && self.taker(name).is_some(),
        }
    }

    /// Wraps words that are carried verbatim, and notes that they are unsupported.
    pub(super) fn opaque(
        &mut self,
        construct: String,
        words: std::ops::Range<usize>,
        reason: &'static str,
    ) -> Opaque {
        let text = self.text(words.clone()).to_owned();
        let at = self.words[words.start].at;
        self.opaque_text(construct, text, at, reason)
    }

    pub(super) fn opaque_text(
        &mut self,
        construct: String,
        text: String,
        at: usize,
        reason: &'static str,
    ) -> Opaque {
        let noted = Unsupported { at, construct: construct.clone(), text: text.clone(), reason };
        self.unsupported.push(noted);
        let start = position(self.context.line_start + at);
        let end = position(self.context.line_start + self.words[self.at - 1].end());
        let origin = Origin { file: self.context.file, line: self.context.number, span: start..end };
        Opaque { construct, text, reason: reason.to_owned(), origin }
    }

    /// The line's text from the first of some words to the last.
    pub(super) fn text(&self, words: std::ops::Range<usize>) -> &'a str {
        &self.context.line[self.words[words.start].at..self.words[words.end - 1].end()]
    }

    /// Gives an option to the target, to a loaded module or to the protocol's module, as iptables does.
    fn extension_option(&mut self, option: Opt<'_>) -> Result<()> {
        if let Some(mut target) = self.target.take() {
            let taken = target.option(self, option);
            self.target = Some(target);
            if taken? {
                return Ok(());
            }
        }
        match self.taker(option.name) {
            Some(Taker::Loaded(index)) => self.module_option(index, option),
            Some(Taker::Protocol(module)) => {
                self.push_instance(module, option.word);
                self.module_option(self.scratch.instances.len() - 1, option)
            }
            None => Err(self.unknown_option(option)),
        }
    }

    /// Who takes an option: the module loaded last that has it, or the module of the protocol.
    fn taker(&self, name: &str) -> Option<Taker> {
        let instances = &self.scratch.instances;
        let loaded = instances.iter().rposition(|instance| instance.module.has_option(name));
        loaded.map(Taker::Loaded).or_else(|| {
            let protocol = self.protocol.filter(|protocol| !protocol.inverted)?;
            let module = Module::of_protocol(protocol.number, self.context.family)?;
            module.has_option(name).then_some(Taker::Protocol(module))
        })
    }

    fn unknown_option(&self, option: Opt<'_>) -> Fault {
        let word = self.words[option.word];
        let help = match option.name {
            "--dport" | "--sport" | "--destination-port" | "--source-port" => "write `-p tcp` before it",
            "--dports" | "--sports" | "--ports" => "write `-m multiport` before it",
            "--ctstate" => "write `-m conntrack` before it",
            "-t" | "--table" => "the line `*TABLE` says the table",
            _ => "load the module that has the option with `-m` before it",
        };
        expected(word, "an option of this rule", help)
    }

    /// Gives all conditions: first those of the IP header in the kernel's order (ip_tables.c,
    /// `ip_packet_match`), then those of the modules as they were loaded. The first list is of the rule
    /// itself, the others of the rules that iptables adds for comma lists of addresses.
    pub(super) fn matches(&mut self) -> (Vec<Match>, Vec<Vec<Match>>) {
        let entries = &mut self.scratch.entries;
        if !entries.is_sorted_by_key(|(instance, _)| *instance) {
            entries.sort_by_key(|(instance, _)| *instance);
        }
        let [inside, outside] = &mut self.interfaces;
        let protocol = self.protocol.filter(|protocol| protocol.number != 0);
        let protocol = protocol.map(|p| protocol_test(Protocol(p.number)).negate_if(p.inverted));
        let rest = [inside.take(), outside.take(), protocol, self.fragment.take()];
        let (src, dst) = (&mut self.scratch.src, &mut self.scratch.dst);
        let mut others = Vec::new();
        if src.len() > 1 || dst.len() > 1 {
            src.resize(src.len().max(1), None);
            dst.resize(dst.len().max(1), None);
            let pairs = src.iter().flat_map(|src| dst.iter().map(move |dst| [src.clone(), dst.clone()]));
            for pair in pairs.skip(1) {
                let head = pair.into_iter().chain(rest.clone()).flatten().map(Match::Is);
                others.push(head.chain(entries.iter().map(|(_, condition)| condition.clone())).collect());
            }
        }
        let ends = [src.first_mut().and_then(Option::take), dst.first_mut().and_then(Option::take)];
        let count = ends.iter().chain(&rest).flatten().count() + entries.len();
        let mut matches = Vec::with_capacity(count);
        matches.extend(ends.into_iter().chain(rest).flatten().map(Match::Is));
        matches.extend(entries.drain(..).map(|(_, condition)| condition));
        (matches, others)
    }

    fn finish_instances(&mut self) -> Result<()> {
        let Scratch { instances, entries, .. } = &mut *self.scratch;
        for (index, instance) in instances.iter_mut().enumerate() {
            instance.finish(index, entries, self.words, self.protocol, self.context.family)?;
        }
        Ok(())
    }
}

/// Who takes an option.
enum Taker {
    Loaded(usize),
    Protocol(Module),
}

/// A byte's place in a file; files are far below 4 GiB.
pub(super) fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
