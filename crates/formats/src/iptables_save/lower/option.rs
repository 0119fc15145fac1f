//! The options that every rule may have: addresses, interfaces, protocol, fragments, counters.

use natpath_model::{Counter, Expr, Family, Field, Hook, InterfaceName, IntervalSet, Manip, Test};

use super::rule::{Opt, Proto, RuleReader};
use super::value::{self, Result, expected};
use crate::iptables_save::ast::Fault;

/// The most rules that comma lists of addresses may make of one.
const MAX_RULES: usize = 65_536;

impl RuleReader<'_, '_> {
    pub(super) fn addresses(&mut self, mut option: Opt<'_>, of: Manip) -> Result<()> {
        let list = if of == Manip::Src { &self.scratch.src } else { &self.scratch.dst };
        self.refuse_second(option, !list.is_empty())?;
        let family = self.context.family;
        let word = self.argument(&mut option)?;
        let list_text = word.text();
        if option.inverted && list_text.contains(',') {
            let message = "`!` can't stand before a list of addresses";
            return Err(Fault::syntax(word.at, message, "write one rule, or an ipset, for each address"));
        }
        let list = if of == Manip::Src { &mut self.scratch.src } else { &mut self.scratch.dst };
        for text in list_text.split(',') {
            let (address, mask) = value::masked_address(text.trim(), family)
                .ok_or_else(|| expected(word, "an address ADDRESS[/MASK]", value::address_help(family)))?;
            let test = value::under(Field::Address(of), address, mask).negate_if(option.inverted);
            // The kernel skips a test under an empty mask; negated it never holds.
            let all = mask.is_unspecified() && !option.inverted;
            list.push((!all).then_some(test));
        }
        let (src, dst) = (&mut self.scratch.src, &mut self.scratch.dst);
        if src.len().max(1).saturating_mul(dst.len().max(1)) > MAX_RULES {
            src.clear();
            dst.clear();
            let help = "use an ipset for so many addresses";
            return Err(Fault::syntax(word.at, "these lists make more than 65536 rules of one", help));
        }
        Ok(())
    }

    pub(super) fn interface(&mut self, mut option: Opt<'_>, field: Field) -> Result<()> {
        let slot = usize::from(field == Field::OutInterface);
        self.refuse_second(option, self.interfaces[slot].is_some())?;
        self.refuse_hook(option, field)?;
        let word = self.argument(&mut option)?;
        let set = InterfaceName::pattern(&word.text()).ok_or_else(|| {
            expected(word, "an interface of at most 15 bytes", "write its name, or the beginning and `+`")
        })?;
        let any = word.text() == "+" && !option.inverted;
        self.interfaces[slot] = (!any).then(|| Test::new(Expr::Field(field), set).negate_if(option.inverted));
        Ok(())
    }

    fn refuse_hook(&self, option: Opt<'_>, field: Field) -> Result<()> {
        let refused: &[Hook] = match field {
            Field::InInterface => &[Hook::Output, Hook::Postrouting],
            _ => &[Hook::Prerouting, Hook::Input],
        };
        let Some(hook) = self.context.hook.filter(|hook| refused.contains(hook)) else { return Ok(()) };
        let message = format!("`{}` can't be used in {}", option.name, hook.chain_name());
        let help = "no packet has that interface there: leave the option out";
        Err(Fault::syntax(self.words[option.word].at, message, help))
    }

    pub(super) fn read_protocol(&mut self, mut option: Opt<'_>) -> Result<()> {
        self.refuse_second(option, self.protocol.is_some())?;
        let word = self.argument(&mut option)?;
        let number = value::protocol(&word.text())
            .ok_or_else(|| expected(word, "a protocol", "write its name in lower case, or its number"))?;
        if number == 0 && option.inverted {
            return Err(expected(word, "a protocol other than all after `!`", "this rule would never apply"));
        }
        self.protocol = Some(Proto { number, inverted: option.inverted });
        Ok(())
    }

    pub(super) fn read_fragment(&mut self, option: Opt<'_>) -> Result<()> {
        if self.context.family == Family::Ip6 {
            let help = "IPv6 has `-m frag` for this";
            return Err(Fault::syntax(self.words[option.word].at, "`-f` is for IPv4 only", help));
        }
        let later = Test::new(Expr::Field(Field::LaterFragment), IntervalSet::single(1));
        self.fragment = Some(later.negate_if(option.inverted));
        Ok(())
    }

    pub(super) fn read_counter(&mut self, mut option: Opt<'_>) -> Result<()> {
        let mut number = || {
            let word = self.plain_argument(&mut option)?;
            value::number_word(word, u64::MAX, "a count")
        };
        self.counter = Some(Counter { packets: number()?, bytes: number()? });
        Ok(())
    }

    pub(super) fn only(&mut self, option: Opt<'_>, family: Family) -> Result<()> {
        self.other_family |= family != self.context.family;
        self.refuse_bang(option)
    }

    fn refuse_second(&self, option: Opt<'_>, given: bool) -> Result<()> {
        if !given {
            return Ok(());
        }
        let message = format!("`{}` is given twice", option.name);
        Err(Fault::syntax(self.words[option.word].at, message, "iptables takes it once a rule"))
    }
}
