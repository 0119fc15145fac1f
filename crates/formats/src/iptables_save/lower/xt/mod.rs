//! Matches that look beyond one field of the header, or remember: the options of each are collected as they
//! come, and read together once the rule is complete.

mod absent;
mod bridge;
mod memory;
mod owner;
mod payload;
mod rate;
mod recent;
mod set;
mod small;
mod socket;
mod time;

use absent::Absent;
pub(crate) use set::sides_text;
pub(super) use set::{SET_TARGET, set_change};
pub(crate) use small::{IP6_HEADERS, PACKET_TYPES};
pub(crate) use time::WEEKDAYS;

use natpath_model::{Family, Match, Xt};

use super::rule::{Opt, RuleReader};
use super::value::Result;
use crate::iptables_save::ast::{Fault, Word};

/// A match whose options are read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum XtModule {
    Owner,
    Set,
    Limit,
    HashLimit,
    Recent,
    ConnLimit,
    ConnBytes,
    Quota,
    ReversePath,
    Socket,
    Time,
    Helper,
    Policy,
    Mac,
    PacketType,
    Realm,
    Tos,
    Ecn,
    Physdev,
    Ip6Header,
    Cluster,
    ControlGroup,
    SegmentSize,
    Ipvs,
    Text,
    U32,
    Bpf,
    /// On a header that packets of a flow lack.
    Absent(Absent),
}

/// An option as it was given.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) name: &'static str,
    pub(super) inverted: bool,
    /// The index of the option's word, and of the one after its last value.
    pub(super) words: std::ops::Range<usize>,
    /// How many of the words are values.
    pub(super) values: usize,
}

/// The options of a match: each with how many values it takes.
pub(super) type Options = &'static [(&'static str, usize)];

impl XtModule {
    /// The match of this name for a family.
    pub(super) fn named(name: &str, family: Family) -> Option<Self> {
        let of6 = |module| (family == Family::Ip6).then_some(module);
        Some(match name {
            "owner" => Self::Owner,
            "set" => Self::Set,
            "limit" => Self::Limit,
            "hashlimit" => Self::HashLimit,
            "recent" => Self::Recent,
            "connlimit" => Self::ConnLimit,
            "connbytes" => Self::ConnBytes,
            "quota" => Self::Quota,
            "rpfilter" => Self::ReversePath,
            "socket" => Self::Socket,
            "time" => Self::Time,
            "helper" => Self::Helper,
            "policy" => Self::Policy,
            "mac" => Self::Mac,
            "pkttype" => Self::PacketType,
            "realm" => Self::Realm,
            "tos" => Self::Tos,
            "ecn" => Self::Ecn,
            "physdev" => Self::Physdev,
            "cluster" => Self::Cluster,
            "cgroup" => Self::ControlGroup,
            "tcpmss" => Self::SegmentSize,
            "ipvs" => Self::Ipvs,
            "string" => Self::Text,
            "u32" => Self::U32,
            "bpf" => Self::Bpf,
            "ipv6header" => return of6(Self::Ip6Header),
            "rt" => return of6(Self::Absent(Absent::Rt)),
            "frag" => return of6(Self::Absent(Absent::Frag)),
            "dst" => return of6(Self::Absent(Absent::Dst)),
            "hbh" => return of6(Self::Absent(Absent::Hbh)),
            "mh" => return of6(Self::Absent(Absent::Mh)),
            "srh" => return of6(Self::Absent(Absent::Srh)),
            "ah" => Self::Absent(Absent::Ah),
            "esp" => Self::Absent(Absent::Esp),
            "ipcomp" => Self::Absent(Absent::IpComp),
            _ => return None,
        })
    }

    /// The name after `-m`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Set => "set",
            Self::Limit => "limit",
            Self::HashLimit => "hashlimit",
            Self::Recent => "recent",
            Self::ConnLimit => "connlimit",
            Self::ConnBytes => "connbytes",
            Self::Quota => "quota",
            Self::ReversePath => "rpfilter",
            Self::Socket => "socket",
            Self::Time => "time",
            Self::Helper => "helper",
            Self::Policy => "policy",
            Self::Mac => "mac",
            Self::PacketType => "pkttype",
            Self::Realm => "realm",
            Self::Tos => "tos",
            Self::Ecn => "ecn",
            Self::Physdev => "physdev",
            Self::Ip6Header => "ipv6header",
            Self::Cluster => "cluster",
            Self::ControlGroup => "cgroup",
            Self::SegmentSize => "tcpmss",
            Self::Ipvs => "ipvs",
            Self::Text => "string",
            Self::U32 => "u32",
            Self::Bpf => "bpf",
            Self::Absent(absent) => absent.name(),
        }
    }

    /// Its options.
    pub(super) fn options(self) -> Options {
        match self {
            Self::Owner => owner::OPTIONS,
            Self::Set => set::OPTIONS,
            Self::Limit => rate::LIMIT,
            Self::HashLimit => rate::HASHLIMIT,
            Self::Recent => recent::OPTIONS,
            Self::ConnLimit => memory::CONNLIMIT,
            Self::ConnBytes => memory::CONNBYTES,
            Self::Quota => memory::QUOTA,
            Self::ReversePath => socket::RPFILTER,
            Self::Socket => socket::SOCKET,
            Self::Time => time::OPTIONS,
            Self::Helper => &[("--helper", 1)],
            Self::Policy => small::POLICY,
            Self::Mac => &[("--mac-source", 1)],
            Self::PacketType => &[("--pkt-type", 1)],
            Self::Realm => &[("--realm", 1)],
            Self::Tos => &[("--tos", 1)],
            Self::Ecn => small::ECN,
            Self::Physdev => bridge::OPTIONS,
            Self::Ip6Header => small::IP6_HEADER,
            Self::Cluster => small::CLUSTER,
            Self::ControlGroup => &[("--cgroup", 1), ("--path", 1)],
            Self::SegmentSize => &[("--mss", 1)],
            Self::Ipvs => small::IPVS,
            Self::Text => payload::STRING,
            Self::U32 => &[("--u32", 1)],
            Self::Bpf => &[("--bytecode", 1), ("--object-pinned", 1)],
            Self::Absent(absent) => absent.options(),
        }
    }

    /// Whether the match says something without any option.
    pub(super) fn stands_alone(self) -> bool {
        matches!(self, Self::Limit | Self::ReversePath | Self::Socket | Self::Absent(_) | Self::Policy)
    }
}

/// The options given to one match, and where it stands.
pub(super) struct Reading<'g> {
    pub(super) module: XtModule,
    pub(super) given: &'g [Given],
    /// The index of the word `-m`.
    pub(super) word: usize,
}

impl Reading<'_> {
    pub(super) fn find(&self, name: &str) -> Option<&Given> {
        self.given.iter().find(|given| given.name == name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The value of an option, and whether it is negated.
    pub(super) fn value<'a>(&self, rule: &RuleReader<'_, 'a>, name: &str) -> Option<(Word<'a>, bool)> {
        self.find(name).map(|given| (rule.words[given.words.end - given.values.max(1)], given.inverted))
    }

    /// The index after the match's last word.
    pub(super) fn end(&self) -> usize {
        self.given.iter().map(|given| given.words.end).max().unwrap_or(0).max(self.word + 2)
    }

    /// What is wrong with the match as a whole.
    pub(super) fn fault(&self, rule: &RuleReader<'_, '_>, message: &str, help: &str) -> Fault {
        Fault::syntax(rule.words[self.word].at, message, help)
    }

    /// The whole match, carried verbatim.
    pub(super) fn opaque(&self, rule: &mut RuleReader<'_, '_>, reason: &'static str) -> Match {
        let construct = format!("-m {}", self.module.name());
        Match::Opaque(rule.opaque(construct, self.word..self.end(), reason))
    }

    /// The match in the rule's own words.
    pub(super) fn text(&self, rule: &RuleReader<'_, '_>) -> String {
        rule.text(self.word..self.end()).to_owned()
    }
}

impl RuleReader<'_, '_> {
    /// Takes an option of such a match, to be read when the rule is complete.
    pub(super) fn collect(&mut self, index: usize, module: XtModule, mut option: Opt<'_>) -> Result<()> {
        let known = module.options().iter().find(|(name, _)| *name == option.name);
        let Some((name, values)) = known else { return Ok(()) };
        for _ in 0..*values {
            self.argument(&mut option)?;
        }
        let words = option.word..self.at;
        let given = Given { name, inverted: option.inverted, words, values: *values };
        self.instance(index).given.push(given);
        Ok(())
    }

    /// Reads what was collected.
    pub(super) fn finish_xt(&mut self) -> Result<()> {
        for index in 0..self.instances() {
            let instance = self.instance(index);
            let super::module::Module::Xt(module) = instance.module else { continue };
            let (word, given) = (instance.word, std::mem::take(&mut instance.given));
            let reading = Reading { module, given: &given, word };
            for condition in self.xt(&reading)? {
                self.push_for(index, condition);
            }
        }
        Ok(())
    }

    fn xt(&mut self, reading: &Reading<'_>) -> Result<Vec<Match>> {
        Ok(match reading.module {
            XtModule::Owner => vec![owner::read(self, reading)?],
            XtModule::Set => set::read(self, reading)?,
            XtModule::Limit => vec![xt(Xt::Limit(rate::limit(self, reading)?))],
            XtModule::HashLimit => vec![rate::hashlimit(self, reading)?],
            XtModule::Recent => vec![xt(Xt::Recent(recent::read(self, reading)?))],
            XtModule::ConnLimit => vec![xt(Xt::ConnLimit(memory::connlimit(self, reading)?))],
            XtModule::ConnBytes => vec![xt(Xt::ConnBytes(memory::connbytes(self, reading)?))],
            XtModule::Quota => vec![xt(memory::quota(self, reading)?)],
            XtModule::ReversePath => vec![xt(Xt::ReversePath(socket::rpfilter(reading)))],
            XtModule::Socket => vec![socket::socket(self, reading)],
            XtModule::Time => vec![xt(Xt::Time(time::read(self, reading)?))],
            XtModule::Helper => vec![xt(small::helper(self, reading)?)],
            XtModule::Policy => vec![xt(small::policy(self, reading))],
            XtModule::Mac => vec![small::mac(self, reading)?],
            XtModule::PacketType => vec![small::packet_type(self, reading)?],
            XtModule::Realm => vec![small::realm(self, reading)?],
            XtModule::Tos => vec![small::tos(self, reading)?],
            XtModule::Ecn => small::ecn(self, reading)?,
            XtModule::Physdev => bridge::read(self, reading)?,
            XtModule::Ip6Header => vec![small::ip6_header(self, reading)?],
            XtModule::Cluster => vec![xt(Xt::Cluster(small::cluster(self, reading)?))],
            XtModule::ControlGroup => vec![xt(Xt::ControlGroup { text: reading.text(self) })],
            XtModule::SegmentSize => vec![xt(small::segment_size(self, reading)?)],
            XtModule::Ipvs => vec![xt(small::ipvs(self, reading))],
            XtModule::Text => vec![xt(Xt::Text(payload::string(self, reading)?))],
            XtModule::U32 => vec![xt(Xt::U32(payload::u32(self, reading)?))],
            XtModule::Bpf => vec![payload::bpf(self, reading)?],
            XtModule::Absent(_) => vec![xt(Xt::AbsentHeader { text: reading.text(self) })],
        })
    }
}

pub(super) fn xt(match_: Xt) -> Match {
    Match::Xt(Box::new(match_))
}
