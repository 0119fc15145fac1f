//! What a rule does (`-j`, `-g`): verdicts, chains and the targets natpath knows.

use natpath_model::{
    CtTemplate, Family, Hook, RejectWith, Statement, Verdict, Zone, ZoneDirection, statement::REJECT_NAMES,
};

use super::rule::{Opt, RuleReader};
use super::value::{self, Result, expected};
use super::{nat, unknown, xt};
use crate::iptables_save::ast::{Fault, Word};

/// A rule's target as its options are being read.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) kind: Kind,
    /// The index of the word `-j`.
    pub(super) word: usize,
    /// The name of each option, and the index of its value.
    pub(super) options: Vec<(&'static str, usize)>,
}

/// The targets that natpath knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Verdict(Verdict),
    Reject,
    Log,
    Mark,
    Connmark,
    Ct,
    Notrack,
    Dnat,
    Snat,
    Masquerade,
    Redirect,
    Netmap,
    Tos,
    Dscp,
    /// TTL or HL.
    Ttl,
    Set,
    Tproxy,
    /// Changes no packet's path; its words end at this index.
    Inert(usize),
    /// Carried verbatim up to this index.
    Opaque(usize, &'static str),
}

impl Kind {
    fn named(name: &str, family: Family) -> Option<Self> {
        Some(match name {
            "ACCEPT" => Self::Verdict(Verdict::Accept),
            "DROP" => Self::Verdict(Verdict::Drop),
            "RETURN" => Self::Verdict(Verdict::Return),
            "MARK" => Self::Mark,
            "DNAT" => Self::Dnat,
            "SNAT" => Self::Snat,
            "MASQUERADE" => Self::Masquerade,
            "REDIRECT" => Self::Redirect,
            "NETMAP" => Self::Netmap,
            "REJECT" => Self::Reject,
            "LOG" => Self::Log,
            "CONNMARK" => Self::Connmark,
            "CT" => Self::Ct,
            "NOTRACK" => Self::Notrack,
            "TOS" => Self::Tos,
            "DSCP" => Self::Dscp,
            "TTL" if family == Family::Ip4 => Self::Ttl,
            "HL" if family == Family::Ip6 => Self::Ttl,
            "SET" => Self::Set,
            "TPROXY" => Self::Tproxy,
            _ => return None,
        })
    }

    /// Its options, each with whether it takes a value.
    fn options(self) -> &'static [(&'static str, bool)] {
        match self {
            Self::Reject => &[("--reject-with", true)],
            Self::Log => &[
                ("--log-prefix", true),
                ("--log-level", true),
                ("--log-tcp-sequence", false),
                ("--log-tcp-options", false),
                ("--log-ip-options", false),
                ("--log-uid", false),
                ("--log-macdecode", false),
            ],
            Self::Mark => &[
                ("--set-xmark", true),
                ("--set-mark", true),
                ("--and-mark", true),
                ("--or-mark", true),
                ("--xor-mark", true),
            ],
            Self::Connmark => &[
                ("--set-xmark", true),
                ("--set-mark", true),
                ("--and-mark", true),
                ("--or-mark", true),
                ("--xor-mark", true),
                ("--save-mark", false),
                ("--restore-mark", false),
                ("--mask", true),
                ("--nfmask", true),
                ("--ctmask", true),
                ("--left-shift-mark", true),
                ("--right-shift-mark", true),
            ],
            Self::Ct => &[
                ("--notrack", false),
                ("--helper", true),
                ("--zone", true),
                ("--zone-orig", true),
                ("--zone-reply", true),
                ("--ctevents", true),
                ("--expevents", true),
                ("--timeout", true),
            ],
            Self::Dnat => &[("--to-destination", true), ("--random", false), ("--persistent", false)],
            Self::Snat => &[
                ("--to-source", true),
                ("--random", false),
                ("--random-fully", false),
                ("--persistent", false),
            ],
            Self::Masquerade => &[("--to-ports", true), ("--random", false), ("--random-fully", false)],
            Self::Redirect => &[("--to-ports", true), ("--random", false)],
            Self::Netmap => &[("--to", true)],
            Self::Tos => &[("--set-tos", true), ("--and-tos", true), ("--or-tos", true), ("--xor-tos", true)],
            Self::Dscp => &[("--set-dscp", true), ("--set-dscp-class", true)],
            Self::Ttl => &[
                ("--ttl-set", true),
                ("--ttl-inc", true),
                ("--ttl-dec", true),
                ("--hl-set", true),
                ("--hl-inc", true),
                ("--hl-dec", true),
            ],
            Self::Set => xt::SET_TARGET,
            Self::Tproxy => &[("--on-port", true), ("--on-ip", true), ("--tproxy-mark", true)],
            Self::Verdict(_) | Self::Notrack | Self::Inert(_) | Self::Opaque(..) => &[],
        }
    }

    /// The tables and hooks that the kernel allows it in, if not all; no hook means any.
    fn place(self) -> Option<(&'static str, &'static [Hook])> {
        const DST: &[Hook] = &[Hook::Prerouting, Hook::Output];
        const SRC: &[Hook] = &[Hook::Postrouting, Hook::Input];
        Some(match self {
            Self::Dnat | Self::Redirect => ("nat", DST),
            Self::Snat => ("nat", SRC),
            Self::Masquerade => ("nat", &[Hook::Postrouting]),
            Self::Netmap => ("nat", &[]),
            Self::Reject => ("filter", &[Hook::Input, Hook::Forward, Hook::Output]),
            Self::Ct | Self::Notrack => ("raw", &[]),
            Self::Tos | Self::Dscp | Self::Ttl => ("mangle", &[]),
            Self::Tproxy => ("mangle", &[Hook::Prerouting]),
            _ => return None,
        })
    }
}

impl RuleReader<'_, '_> {
    pub(super) fn jump(&mut self, mut option: Opt<'_>, goto: bool) -> Result<()> {
        if self.target.is_some() {
            let message = format!("`{}` is the second target", option.name);
            return Err(Fault::syntax(self.words[option.word].at, message, "a rule has one `-j` or `-g`"));
        }
        let word = self.plain_argument(&mut option)?;
        let kind = self.target_kind(word, goto)?;
        self.check_place(kind, word)?;
        self.target = Some(Target { kind, word: option.word, options: Vec::new() });
        Ok(())
    }

    fn target_kind(&mut self, word: Word<'_>, goto: bool) -> Result<Kind> {
        let name = word.text();
        if let Some(chain) = self.context.chains.get(&*name) {
            let verdict = if goto { Verdict::Goto(*chain) } else { Verdict::Jump(*chain) };
            return Ok(Kind::Verdict(verdict));
        }
        if goto {
            return Err(unknown_chain(word));
        }
        if let Some(kind) = Kind::named(&name, self.context.family) {
            return Ok(kind);
        }
        if unknown::is_inert(&name) {
            return Ok(Kind::Inert(self.skip_foreign_words()));
        }
        let reason = unknown::of_target(&name).ok_or_else(|| unknown_chain(word))?;
        Ok(Kind::Opaque(self.skip_foreign_words(), reason))
    }

    fn check_place(&self, kind: Kind, word: Word<'_>) -> Result<()> {
        let Some((table, hooks)) = kind.place() else { return Ok(()) };
        let (name, at) = (word.raw, word.at);
        let wrong = |message: String, help: String| Err(Fault { at, code: "wrong-table", message, help });
        if self.context.table != table {
            let message = format!("{name} is not allowed in table {}", self.context.table);
            return wrong(message, format!("the kernel takes it in table {table} only"));
        }
        let Some(hook) = self.context.hook.filter(|hook| !hooks.is_empty() && !hooks.contains(hook)) else {
            return Ok(());
        };
        let allowed: Vec<_> = hooks.iter().map(|hook| hook.chain_name()).collect();
        let message = format!("{name} is not allowed in {}", hook.chain_name());
        wrong(message, format!("the kernel takes it in {} only", allowed.join(" and ")))
    }
}

fn unknown_chain(word: Word<'_>) -> Fault {
    let name: String = word.text().chars().take(80).collect();
    Fault {
        at: word.at,
        code: "unknown-chain",
        message: format!("the table has no chain `{name}`, and no target of that name is known"),
        help: format!("declare it with `:{name} - [0:0]` before the first rule of the table"),
    }
}

impl Target {
    /// Takes an option if it is one of the target's.
    pub(super) fn option(&mut self, rule: &mut RuleReader<'_, '_>, mut option: Opt<'_>) -> Result<bool> {
        let known = self.kind.options().iter().find(|(name, _)| *name == option.name);
        let Some((name, takes_value)) = known else { return Ok(false) };
        rule.refuse_bang(option)?;
        if self.options.iter().any(|(given, _)| given == name) {
            return Err(expected(rule.words[option.word], "each option once", "leave one of them out"));
        }
        if *takes_value {
            rule.plain_argument(&mut option)?;
        }
        if matches!(*name, "--add-set" | "--del-set" | "--map-set") {
            rule.plain_argument(&mut option)?;
        }
        self.options.push((name, rule.at - 1));
        Ok(true)
    }

    /// The word of an option's value.
    pub(super) fn value<'a>(&self, rule: &RuleReader<'_, 'a>, name: &str) -> Option<Word<'a>> {
        self.options.iter().find(|(given, _)| *given == name).map(|(_, word)| rule.words[*word])
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(given, _)| *given == name)
    }

    /// The statement, given all options.
    pub(super) fn build(self, rule: &mut RuleReader<'_, '_>) -> Result<Option<Statement>> {
        Ok(Some(match self.kind {
            Kind::Verdict(verdict) => Statement::Verdict(verdict),
            Kind::Reject => self.reject(rule)?,
            Kind::Log => {
                let prefix = self.value(rule, "--log-prefix").map(|word| word.text().into_owned());
                Statement::Log { prefix: prefix.unwrap_or_default() }
            }
            Kind::Mark => self.mark(rule)?,
            Kind::Connmark => self.connmark(rule)?,
            Kind::Ct => self.ct(rule)?,
            Kind::Notrack => Statement::Notrack,
            Kind::Dnat | Kind::Snat | Kind::Masquerade | Kind::Redirect | Kind::Netmap => {
                Statement::Nat(nat::build(&self, rule)?)
            }
            Kind::Tos => self.tos(rule)?,
            Kind::Dscp => self.dscp(rule)?,
            Kind::Ttl => self.ttl(rule)?,
            Kind::Set => self.set(rule)?,
            Kind::Tproxy => self.tproxy(rule)?,
            Kind::Inert(end) => Statement::Inert { construct: rule.text(self.word..end).to_owned() },
            Kind::Opaque(end, reason) => self.opaque(rule, end, reason),
        }))
    }

    fn opaque(&self, rule: &mut RuleReader<'_, '_>, end: usize, reason: &'static str) -> Statement {
        let construct = format!("-j {}", rule.words[self.word + 1].text());
        Statement::Opaque(rule.opaque(construct, self.word..end, reason))
    }

    /// The index of the last word of an option.
    pub(super) fn last_word(&self, name: &str) -> Option<usize> {
        self.options.iter().find(|(given, _)| *given == name).map(|(_, word)| *word)
    }

    /// The index after the target's last word.
    pub(super) fn end(&self) -> usize {
        self.options.iter().map(|(_, word)| word + 1).max().unwrap_or(0).max(self.word + 2)
    }

    pub(super) fn missing(&self, rule: &RuleReader<'_, '_>) -> Fault {
        let word = rule.words[self.word + 1];
        let names: Vec<_> = self.kind.options().iter().map(|(name, _)| *name).collect();
        let message = format!("expected an option after `-j {}`", word.raw);
        Fault::syntax(word.end(), message, format!("its options are {}", names.join(" ")))
    }

    fn reject(&self, rule: &RuleReader<'_, '_>) -> Result<Statement> {
        let family = rule.context.family;
        let default = match family {
            Family::Ip4 => RejectWith::Icmp { kind: 3, code: 3 },
            Family::Ip6 => RejectWith::Icmp { kind: 1, code: 4 },
        };
        let Some(word) = self.value(rule, "--reject-with") else { return Ok(Statement::Reject(default)) };
        let with = reject_with(&word.text(), family).ok_or_else(|| {
            expected(word, "an error that REJECT can send", "see `iptables -j REJECT -h` for the names")
        })?;
        let tcp = rule.protocol.is_some_and(|protocol| protocol.number == 6 && !protocol.inverted);
        if with == RejectWith::TcpReset && !tcp {
            return Err(Fault::syntax(
                word.at,
                "tcp-reset needs the protocol tcp",
                "write `-p tcp` before it",
            ));
        }
        Ok(Statement::Reject(with))
    }

    fn mark(&self, rule: &RuleReader<'_, '_>) -> Result<Statement> {
        let (name, word) = *self.options.first().ok_or_else(|| self.missing(rule))?;
        let (clear, xor) = set_mark(name, rule.words[word])?.ok_or_else(|| self.missing(rule))?;
        Ok(Statement::Mark { clear, xor })
    }

    fn connmark(&self, rule: &mut RuleReader<'_, '_>) -> Result<Statement> {
        use natpath_model::ConnmarkOp;
        if self.has("--left-shift-mark") || self.has("--right-shift-mark") {
            let construct = "-j CONNMARK --left-shift-mark".to_owned();
            let opaque = rule.opaque(construct, self.word..self.end(), "shifts the mark");
            return Ok(Statement::Opaque(opaque));
        }
        let mask = |name| match self.value(rule, name).or_else(|| self.value(rule, "--mask")) {
            None => Ok(u32::MAX),
            Some(word) => value::number_word(word, u32::MAX.into(), "a mask").map(|mask| mask as u32),
        };
        let (packet_mask, entry_mask) = (mask("--nfmask")?, mask("--ctmask")?);
        let op = if self.has("--save-mark") {
            ConnmarkOp::Save { packet_mask, entry_mask }
        } else if self.has("--restore-mark") {
            ConnmarkOp::Restore { packet_mask, entry_mask }
        } else {
            let set = self.options.iter().find(|(name, _)| name.ends_with("mark"));
            let (name, word) = *set.ok_or_else(|| self.missing(rule))?;
            let (clear, xor) = set_mark(name, rule.words[word])?.ok_or_else(|| self.missing(rule))?;
            ConnmarkOp::Set { clear, xor }
        };
        Ok(Statement::Connmark(op))
    }

    fn ct(&self, rule: &mut RuleReader<'_, '_>) -> Result<Statement> {
        if self.has("--notrack") {
            return Ok(Statement::Notrack);
        }
        let mut template = CtTemplate::default();
        for (name, direction) in [
            ("--zone", ZoneDirection::Both),
            ("--zone-orig", ZoneDirection::Original),
            ("--zone-reply", ZoneDirection::Reply),
        ] {
            let Some(word) = self.value(rule, name) else { continue };
            if word.text() == "mark" {
                return Ok(self.opaque_ct(rule, name, "takes the zone from the mark"));
            }
            let zone = value::number_word(word, 0xffff, "the number of a zone")? as u16;
            template.zone = Some((Zone(zone), direction));
        }
        if self.has("--timeout") {
            return Ok(self.opaque_ct(rule, "--timeout", "depends on a timeout policy"));
        }
        template.helper = self.value(rule, "--helper").map(|word| word.text().into_owned());
        if template == CtTemplate::default() {
            return Ok(Statement::Inert { construct: rule.text(self.word..self.end()).to_owned() });
        }
        Ok(Statement::Ct(template))
    }

    fn opaque_ct(&self, rule: &mut RuleReader<'_, '_>, name: &str, reason: &'static str) -> Statement {
        let construct = format!("-j CT {name}");
        Statement::Opaque(rule.opaque(construct, self.word..self.end(), reason))
    }
}

/// The bits that an option clears and those it then flips (libxt_MARK.c); `None` for another option.
fn set_mark(name: &str, word: Word<'_>) -> Result<Option<(u32, u32)>> {
    let (value, mask) = value::mark(word)?;
    Ok(Some(match name {
        "--set-xmark" => (mask, value),
        "--set-mark" => (mask | value, value),
        "--and-mark" => (!value, 0),
        "--or-mark" => (value, value),
        "--xor-mark" => (0, value),
        _ => return Ok(None),
    }))
}

// The short names that `iptables -j REJECT -h` lists.
const REJECT_ALIASES: [(Family, &str, &str); 16] = [
    (Family::Ip4, "net-unreach", "icmp-net-unreachable"),
    (Family::Ip4, "host-unreach", "icmp-host-unreachable"),
    (Family::Ip4, "proto-unreach", "icmp-proto-unreachable"),
    (Family::Ip4, "port-unreach", "icmp-port-unreachable"),
    (Family::Ip4, "net-prohib", "icmp-net-prohibited"),
    (Family::Ip4, "host-prohib", "icmp-host-prohibited"),
    (Family::Ip4, "admin-prohib", "icmp-admin-prohibited"),
    (Family::Ip4, "tcp-rst", "tcp-reset"),
    (Family::Ip6, "no-route", "icmp6-no-route"),
    (Family::Ip6, "adm-prohibited", "icmp6-adm-prohibited"),
    (Family::Ip6, "addr-unreach", "icmp6-addr-unreachable"),
    (Family::Ip6, "port-unreach", "icmp6-port-unreachable"),
    (Family::Ip6, "policy-fail", "icmp6-policy-fail"),
    (Family::Ip6, "reject-route", "icmp6-reject-route"),
    (Family::Ip6, "tcp-rst", "tcp-reset"),
    (Family::Ip6, "addr-unreachable", "icmp6-addr-unreachable"),
];

fn reject_with(text: &str, family: Family) -> Option<RejectWith> {
    let alias = REJECT_ALIASES.iter().find(|(of, alias, _)| *of == family && *alias == text);
    let text = alias.map_or(text, |(_, _, name)| name);
    let (_, name, kind, code) = REJECT_NAMES.iter().find(|(of, name, ..)| *of == family && *name == text)?;
    Some(match *name {
        "tcp-reset" => RejectWith::TcpReset,
        _ => RejectWith::Icmp { kind: *kind, code: *code },
    })
}
