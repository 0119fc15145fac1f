//! The targets that change the header without translating it, sets and sockets: TOS, DSCP, TTL, HL, SET,
//! TPROXY.

use natpath_model::{Protocol, Statement, Tproxy, TtlChange};

use super::rule::RuleReader;
use super::target::Target;
use super::value::{self, Result, expected};
use super::{names, xt};
use crate::iptables_save::ast::Fault;

impl Target {
    /// libxt_TOS.c: a name stands for the six bits that names know.
    pub(super) fn tos(&self, rule: &RuleReader<'_, '_>) -> Result<Statement> {
        let (name, word) = *self.options.first().ok_or_else(|| self.missing(rule))?;
        let word = rule.words[word];
        let (value, mask) = names::tos(&word.text(), 0x3f).ok_or_else(|| {
            expected(word, "a type of service VALUE[/MASK]", "write numbers up to 255, such as 0x10/0x3f")
        })?;
        let (clear, xor) = match name {
            "--set-tos" => (mask, value),
            "--and-tos" => (!value, 0),
            "--or-tos" => (value, value),
            _ => (0, value),
        };
        Ok(Statement::Tos { clear, xor })
    }

    pub(super) fn dscp(&self, rule: &RuleReader<'_, '_>) -> Result<Statement> {
        let (name, word) = *self.options.first().ok_or_else(|| self.missing(rule))?;
        let word = rule.words[word];
        let text = word.text();
        let value = match name {
            "--set-dscp" => value::number(&text, 63).and_then(|value| u8::try_from(value).ok()),
            _ => names::dscp_class(&text),
        };
        let value = value.ok_or_else(|| {
            expected(word, "a DSCP value", "write a number from 0 to 63, or BE, EF, CS0-7 or AF11-43")
        })?;
        Ok(Statement::Tos { clear: 0xfc, xor: value << 2 })
    }

    pub(super) fn ttl(&self, rule: &RuleReader<'_, '_>) -> Result<Statement> {
        let (name, word) = *self.options.first().ok_or_else(|| self.missing(rule))?;
        let by = value::number_word(rule.words[word], 255, "a time to live")? as u8;
        Ok(Statement::Ttl(match name {
            "--ttl-set" | "--hl-set" => TtlChange::Set(by),
            "--ttl-inc" | "--hl-inc" => TtlChange::Increase(by),
            _ => TtlChange::Decrease(by),
        }))
    }

    pub(super) fn set(&self, rule: &mut RuleReader<'_, '_>) -> Result<Statement> {
        let changes = ["--add-set", "--del-set"].map(|name| self.last_word(name));
        let (at, remove) = match changes {
            [Some(at), None] if !self.has("--map-set") => (at, false),
            [None, Some(at)] if !self.has("--map-set") => (at, true),
            _ => {
                let construct = "-j SET".to_owned();
                let opaque =
                    rule.opaque(construct, self.word..self.end(), "does more than one change of a set");
                return Ok(Statement::Opaque(opaque));
            }
        };
        let (name, sides) = (rule.words[at - 1], rule.words[at]);
        let timeout = self.value(rule, "--timeout");
        Ok(Statement::Set(xt::set_change(name, sides, remove, self.has("--exist"), timeout)?))
    }

    pub(super) fn tproxy(&self, rule: &RuleReader<'_, '_>) -> Result<Statement> {
        let protocol = rule.protocol.filter(|protocol| !protocol.inverted).map(|it| Protocol(it.number));
        if !matches!(protocol, Some(Protocol::TCP | Protocol::UDP)) {
            let at = rule.words[self.word + 1].at;
            let help = "write `-p tcp` or `-p udp` before it";
            return Err(Fault::syntax(at, "TPROXY needs the protocol tcp or udp", help));
        }
        let port = self.value(rule, "--on-port").ok_or_else(|| self.missing(rule))?;
        let port = value::number_word(port, 0xffff, "a port")? as u16;
        let family = rule.context.family;
        let address = self.value(rule, "--on-ip").map(|word| {
            value::address(&word.text(), family)
                .ok_or_else(|| expected(word, "an address", value::address_help(family)))
        });
        let address = address.transpose()?.filter(|address| !address.is_unspecified());
        let mark = self.value(rule, "--tproxy-mark").map(value::mark).transpose()?;
        let (xor, clear) = mark.unwrap_or_default();
        Ok(Statement::Tproxy(Tproxy { address, port, clear, xor }))
    }
}
