//! Matches on the IP header: addrtype, iprange, dscp, ttl, hl, length.

use natpath_model::matching::AddressTypeBy;
use natpath_model::net::bits;
use natpath_model::{Expr, Family, Field, IntervalSet, Manip, Match, RouteType, Test, Value};

use super::names;
use super::rule::{Opt, RuleReader};
use super::value::{self, Result, expected};
use crate::iptables_save::ast::Fault;

pub(super) const ADDRTYPE: &[&str] = &["--dst-type", "--src-type", "--limit-iface-in", "--limit-iface-out"];

/// The options of one `-m addrtype`.
#[derive(Debug, Clone)]
pub(super) struct AddressType {
    pub(super) by: AddressTypeBy,
    pub(super) src: Option<(Vec<RouteType>, bool)>,
    pub(super) dst: Option<(Vec<RouteType>, bool)>,
}

impl AddressType {
    pub(super) fn finish(
        &mut self,
        index: usize,
        at: usize,
        entries: &mut Vec<(u16, Match)>,
        family: Family,
    ) -> Result<()> {
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        for (of, types) in [(Manip::Src, self.src.take()), (Manip::Dst, self.dst.take())] {
            let Some((types, negated)) = types else { continue };
            match family {
                Family::Ip4 => {
                    let test = lookup_test(of, self.by, &types).negate_if(negated);
                    entries.push((index, Match::Is(test)));
                }
                Family::Ip6 => {
                    let tests = ip6_tests(of, self.by, &types, at)?;
                    if negated && tests.len() > 1 {
                        return Err(negated_list(at));
                    }
                    let tests = tests.into_iter().map(|test| Match::Is(test.negate_if(negated)));
                    entries.extend(tests.map(|test| (index, test)));
                }
            }
        }
        Ok(())
    }
}

fn negated_list(at: usize) -> Fault {
    let help = "write one rule for each type";
    Fault {
        at,
        code: "unsupported",
        message: "a negated list of IPv6 address types can't be decided".to_owned(),
        help: help.to_owned(),
    }
}

fn lookup_test(of: Manip, by: AddressTypeBy, types: &[RouteType]) -> Test {
    let values = types.iter().map(|kind| (*kind as Value, *kind as Value));
    Test::new(Expr::Field(Field::AddressType { of, by }), IntervalSet::from_intervals(values))
}

/// IPv6 takes unicast, multicast and unspec from the address itself, the others from the FIB, and wants all
/// that are named (xt_addrtype.c, `match_type6`).
fn ip6_tests(of: Manip, by: AddressTypeBy, types: &[RouteType], at: usize) -> Result<Vec<Test>> {
    const MULTICAST: (Value, Value) = (0xff << 120, Value::MAX);
    let mut tests = Vec::new();
    let mut lookups = Vec::new();
    for kind in types {
        let range = match kind {
            RouteType::Unspec => (0, 0),
            RouteType::Unicast => (1, MULTICAST.0 - 1),
            RouteType::Multicast => MULTICAST,
            RouteType::Local | RouteType::Anycast | RouteType::Unreachable => {
                lookups.push(*kind);
                continue;
            }
            RouteType::Broadcast | RouteType::Blackhole | RouteType::Prohibit | RouteType::Throw => {
                let message = format!("IPv6 has no address type {}", kind.name().to_ascii_uppercase());
                return Err(Fault::syntax(at, message, "leave the type out"));
            }
        };
        tests.push(Test::new(Expr::Field(Field::Address(of)), IntervalSet::range(range.0, range.1)));
    }
    if !lookups.is_empty() {
        tests.push(lookup_test(of, by, &lookups));
    }
    Ok(tests)
}

impl RuleReader<'_, '_> {
    pub(super) fn addrtype(&mut self, index: usize, mut option: Opt<'_>) -> Result<()> {
        let by = match option.name {
            "--limit-iface-in" => Some(AddressTypeBy::InInterface),
            "--limit-iface-out" => Some(AddressTypeBy::OutInterface),
            _ => None,
        };
        if let Some(by) = by {
            self.refuse_bang(option)?;
            self.instance(index).address_type.by = by;
            return Ok(());
        }
        let word = self.argument(&mut option)?;
        let text = word.text();
        let types: Option<Vec<_>> = text.split(',').map(RouteType::from_name).collect();
        let types = types.ok_or_else(|| {
            expected(word, "a list of address types", "write some of UNSPEC,UNICAST,LOCAL,BROADCAST,ANYCAST,MULTICAST,BLACKHOLE,UNREACHABLE,PROHIBIT,THROW")
        })?;
        let given = Some((types, option.inverted));
        let address_type = &mut self.instance(index).address_type;
        if option.name == "--src-type" {
            address_type.src = given;
        } else {
            address_type.dst = given;
        }
        Ok(())
    }

    pub(super) fn iprange(&mut self, index: usize, mut option: Opt<'_>) -> Result<()> {
        let family = self.context.family;
        let word = self.argument(&mut option)?;
        let (first, last) = value::address_range(&word.text(), family)
            .ok_or_else(|| expected(word, "a range FIRST-LAST of addresses", value::address_help(family)))?;
        let of = if option.name == "--src-range" { Manip::Src } else { Manip::Dst };
        let set = IntervalSet::range(bits(first), bits(last));
        let test = Test::new(Expr::Field(Field::Address(of)), set).negate_if(option.inverted);
        self.push_for(index, Match::Is(test));
        Ok(())
    }

    pub(super) fn dscp(&mut self, index: usize, mut option: Opt<'_>) -> Result<()> {
        let word = self.argument(&mut option)?;
        let text = word.text();
        let value = match option.name {
            "--dscp" => value::number(&text, 63),
            _ => names::dscp_class(&text).map(u64::from),
        };
        let value = value.ok_or_else(|| {
            expected(
                word,
                "a DSCP value",
                "write `--dscp` with 0 to 63, or `--dscp-class` with BE, EF, CS0-7 or AF11-43",
            )
        })?;
        self.push_is(index, Field::Dscp, (value, value), option.inverted);
        Ok(())
    }

    pub(super) fn ttl(&mut self, index: usize, mut option: Opt<'_>) -> Result<()> {
        let word = match option.name {
            "--ttl-eq" | "--hl-eq" | "--ttl" => self.argument(&mut option)?,
            _ => self.plain_argument(&mut option)?,
        };
        let value = value::number_word(word, 255, "a time to live")?;
        let range = match option.name {
            "--ttl-lt" | "--hl-lt" => value.checked_sub(1).map(|last| (0, last)),
            "--ttl-gt" | "--hl-gt" => (value < 255).then_some((value + 1, 255)),
            _ => Some((value, value)),
        };
        let set = range.map(value::set).unwrap_or_default();
        let test = Test::new(Expr::Field(Field::Ttl), set).negate_if(option.inverted);
        self.push_for(index, Match::Is(test));
        Ok(())
    }

    pub(super) fn length(&mut self, index: usize, mut option: Opt<'_>) -> Result<()> {
        let word = self.argument(&mut option)?;
        let number = |text: &str| value::number(text, 0xffff);
        let range = value::range(&word.text(), 0xffff, number)
            .ok_or_else(|| expected(word, "a length or a range LOW:HIGH", "write bytes from 0 to 65535"))?;
        self.push_is(index, Field::Length, range, option.inverted);
        Ok(())
    }

    fn push_is(&mut self, index: usize, field: Field, range: (u64, u64), inverted: bool) {
        let test = Test::new(Expr::Field(field), value::set(range)).negate_if(inverted);
        self.push_for(index, Match::Is(test));
    }
}
