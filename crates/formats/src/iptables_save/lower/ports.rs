//! Matches on the transport header: tcp, udp, udplite, sctp, dccp, multiport, icmp, icmp6.

use natpath_model::{Expr, Family, Field, IntervalSet, Manip, Match, Protocol, Test, Value};

use super::names::{self, ICMP_ANY};
use super::rule::{Opt, RuleReader};
use super::value::{self, Result, expected};
use crate::iptables_save::ast::{Fault, Word};

pub(super) const PORTS: &[&str] = &["--dport", "--sport", "--destination-port", "--source-port"];
pub(super) const TCP: &[&str] =
    &["--dport", "--sport", "--destination-port", "--source-port", "--tcp-flags", "--syn", "--tcp-option"];
pub(super) const SCTP: &[&str] =
    &["--dport", "--sport", "--destination-port", "--source-port", "--chunk-types"];
pub(super) const DCCP: &[&str] =
    &["--dport", "--sport", "--destination-port", "--source-port", "--dccp-types", "--dccp-option"];
pub(super) const MULTIPORT: &[&str] =
    &["--dports", "--sports", "--ports", "--destination-ports", "--source-ports"];

/// The most ports that one multiport takes; a range counts as two (linux/netfilter/xt_multiport.h).
pub(crate) const MULTIPORT_MAX: usize = 15;

impl RuleReader<'_, '_> {
    pub(super) fn transport_option(&mut self, index: usize, mut option: Opt<'_>) -> Result<()> {
        let test = match option.name {
            "--dport" | "--destination-port" => self.port_test(&mut option, Manip::Dst)?,
            "--sport" | "--source-port" => self.port_test(&mut option, Manip::Src)?,
            "--tcp-flags" => self.tcp_flags(&mut option)?,
            // FIN, SYN, RST and ACK are looked at, SYN alone is set (libxt_tcp.c).
            "--syn" => flags_test(0x17, 0x02),
            "--tcp-option" => {
                let word = self.argument(&mut option)?;
                let kind = value::number_word(word, 255, "the number of a TCP option")? as u8;
                Test::new(Expr::Field(Field::TcpOption(kind)), IntervalSet::single(1))
            }
            _ => return self.verbatim_option(index, option),
        };
        self.push_for(index, Match::Is(test.negate_if(option.inverted)));
        Ok(())
    }

    fn port_test(&mut self, option: &mut Opt<'_>, side: Manip) -> Result<Test> {
        let range = value::port_range(self.argument(option)?)?;
        Ok(Test::new(Expr::Field(Field::Port(side)), value::set(range)))
    }

    fn tcp_flags(&mut self, option: &mut Opt<'_>) -> Result<Test> {
        let help = "write `--tcp-flags SYN,ACK SYN`: the flags looked at, then those that are set";
        let read = |word: Word<'_>| {
            names::tcp_flags(&word.text()).ok_or_else(|| expected(word, "a list of TCP flags", help))
        };
        let mask = read(self.argument(option)?)?;
        let set = match self.words.get(self.at) {
            Some(word) => read(*word)?,
            None => {
                let end = self.words[self.at - 1].end();
                return Err(Fault::syntax(end, "expected the flags that are set", help));
            }
        };
        self.at += 1;
        Ok(flags_test(mask, set))
    }

    /// Carries an option that natpath does not know, of a match that it knows.
    fn verbatim_option(&mut self, index: usize, mut option: Opt<'_>) -> Result<()> {
        self.argument(&mut option)?;
        // `--chunk-types` and `--dccp-types` take more than one word.
        let end = self.skip_foreign_words();
        let module = self.instance(index).module.name();
        let start = option.word - usize::from(option.word > 0 && self.words[option.word - 1].raw == "!");
        let text = format!("-m {module} {}", self.text(start..end));
        let construct = format!("-m {module} {}", option.name);
        let at = self.words[start].at;
        let opaque = self.opaque_text(construct, text, at, "depends on the packet's payload");
        self.push_for(index, Match::Opaque(opaque));
        Ok(())
    }

    pub(super) fn multiport(&mut self, index: usize, mut option: Opt<'_>) -> Result<()> {
        let protocol = self.protocol.filter(|protocol| !protocol.inverted);
        if !protocol.is_some_and(|protocol| Protocol(protocol.number).has_ports()) {
            let at = self.words[option.word].at;
            let message = format!("`{}` needs a protocol with ports", option.name);
            return Err(Fault::syntax(at, message, "write `-p tcp`, udp, udplite, sctp or dccp before it"));
        }
        let word = self.argument(&mut option)?;
        let set = port_list(word)?;
        let test = |side| Test::new(Expr::Field(Field::Port(side)), set.clone());
        let negated = option.inverted;
        let condition = match option.name {
            "--sports" | "--source-ports" => Match::Is(test(Manip::Src).negate_if(negated)),
            "--dports" | "--destination-ports" => Match::Is(test(Manip::Dst).negate_if(negated)),
            _ => Match::AnyOf { tests: vec![test(Manip::Src), test(Manip::Dst)], negated },
        };
        self.push_for(index, condition);
        Ok(())
    }

    pub(super) fn icmp_type(&mut self, index: usize, mut option: Opt<'_>) -> Result<()> {
        let family = self.context.family;
        let word = self.argument(&mut option)?;
        let (kind, code) = icmp_type(&word.text(), family).ok_or_else(|| {
            expected(
                word,
                "an ICMP type TYPE[/CODE]",
                "write a name as `iptables -p icmp -h` lists them, or numbers",
            )
        })?;
        let (field, any) = match family {
            Family::Ip4 => (Field::IcmpType, kind == ICMP_ANY),
            Family::Ip6 => (Field::Icmp6Type, false),
        };
        let base = Value::from(kind) << 8;
        let set = match code {
            _ if any => IntervalSet::range(0, 0xffff),
            None => IntervalSet::range(base, base | 0xff),
            Some(code) => IntervalSet::single(base | Value::from(code)),
        };
        self.push_for(index, Match::Is(Test::new(Expr::Field(field), set).negate_if(option.inverted)));
        Ok(())
    }
}

fn flags_test(mask: u8, set: u8) -> Test {
    let expr = Expr::Masked { field: Field::TcpFlags, mask: mask.into() };
    Test::new(expr, IntervalSet::single(set.into()))
}

fn port_list(word: Word<'_>) -> Result<IntervalSet> {
    let text = word.text();
    let mut slots = 0;
    let mut ranges = Vec::new();
    for part in text.split(',') {
        let (low, high) = value::range(part, 0xffff, value::port).ok_or_else(|| {
            expected(
                word,
                "a list of ports",
                "write numbers and ranges LOW:HIGH with commas, such as 80,8000:8080",
            )
        })?;
        slots += if part.contains(':') { 2 } else { 1 };
        ranges.push((Value::from(low), Value::from(high)));
    }
    if slots > MULTIPORT_MAX {
        return Err(expected(word, "at most 15 ports", "a range counts as two; write several rules"));
    }
    Ok(IntervalSet::from_intervals(ranges))
}

fn icmp_type(text: &str, family: Family) -> Option<(u8, Option<u8>)> {
    let byte = |text: &str| value::number(text, 255).and_then(|value| u8::try_from(value).ok());
    if let Some(found) = names::icmp(text, family) {
        return Some(found);
    }
    match text.split_once('/') {
        Some((kind, code)) => Some((byte(kind)?, Some(byte(code)?))),
        None => Some((byte(text)?, None)),
    }
}
