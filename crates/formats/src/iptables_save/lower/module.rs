//! The matches natpath knows (`-m`): which options each has, and what they mean.

use natpath_model::matching::AddressTypeBy;
use natpath_model::{Family, Match};

use super::rule::{Opt, Proto, RuleReader};
use super::statistic::Statistic;
use super::value::Result;
use super::xt::{Given, XtModule};
use super::{connection, header, ports, statistic};
use crate::iptables_save::ast::{Fault, Word};

/// A match that natpath knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Module {
    Tcp,
    Udp,
    Udplite,
    Sctp,
    Dccp,
    Icmp,
    Icmp6,
    Multiport,
    Conntrack,
    State,
    Mark,
    Connmark,
    Addrtype,
    Iprange,
    Comment,
    Statistic,
    Dscp,
    Ttl,
    Hl,
    Length,
    Nfacct,
    /// One whose options are read together.
    Xt(XtModule),
    /// Any other; its words have been carried verbatim.
    Opaque,
}

impl Module {
    /// The match of this name for a family.
    pub(super) fn named(name: &str, family: Family) -> Option<Self> {
        Some(match name {
            "tcp" => Self::Tcp,
            "comment" => Self::Comment,
            "mark" => Self::Mark,
            "statistic" => Self::Statistic,
            "conntrack" => Self::Conntrack,
            "addrtype" => Self::Addrtype,
            "udp" => Self::Udp,
            "udplite" => Self::Udplite,
            "sctp" => Self::Sctp,
            "dccp" => Self::Dccp,
            "icmp" if family == Family::Ip4 => Self::Icmp,
            "icmp6" | "icmpv6" | "ipv6-icmp" if family == Family::Ip6 => Self::Icmp6,
            "multiport" => Self::Multiport,
            "state" => Self::State,
            "connmark" => Self::Connmark,
            "iprange" => Self::Iprange,
            "dscp" => Self::Dscp,
            "ttl" if family == Family::Ip4 => Self::Ttl,
            "hl" if family == Family::Ip6 => Self::Hl,
            "length" => Self::Length,
            "nfacct" => Self::Nfacct,
            _ => return XtModule::named(name, family).map(Self::Xt),
        })
    }

    /// The match that iptables loads by itself for the options of a protocol.
    pub(super) fn of_protocol(protocol: u8, family: Family) -> Option<Self> {
        Some(match (protocol, family) {
            (6, _) => Self::Tcp,
            (17, _) => Self::Udp,
            (136, _) => Self::Udplite,
            (132, _) => Self::Sctp,
            (33, _) => Self::Dccp,
            (1, Family::Ip4) => Self::Icmp,
            (58, Family::Ip6) => Self::Icmp6,
            _ => return None,
        })
    }

    /// The protocol that the match needs.
    pub(super) fn protocol(self) -> Option<u8> {
        Some(match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Udplite => 136,
            Self::Sctp => 132,
            Self::Dccp => 33,
            Self::Icmp => 1,
            Self::Icmp6 => 58,
            _ => return None,
        })
    }

    /// The name after `-m`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Udplite => "udplite",
            Self::Sctp => "sctp",
            Self::Dccp => "dccp",
            Self::Icmp => "icmp",
            Self::Icmp6 => "icmp6",
            Self::Multiport => "multiport",
            Self::Conntrack => "conntrack",
            Self::State => "state",
            Self::Mark => "mark",
            Self::Connmark => "connmark",
            Self::Addrtype => "addrtype",
            Self::Iprange => "iprange",
            Self::Comment => "comment",
            Self::Statistic => "statistic",
            Self::Dscp => "dscp",
            Self::Ttl => "ttl",
            Self::Hl => "hl",
            Self::Length => "length",
            Self::Nfacct => "nfacct",
            Self::Xt(module) => module.name(),
            Self::Opaque => "",
        }
    }

    /// Whether it has an option of this name.
    pub(super) fn has_option(self, name: &str) -> bool {
        match self {
            Self::Xt(module) => module.options().iter().any(|(known, _)| *known == name),
            _ => self.options().contains(&name),
        }
    }

    /// Its options, in words.
    fn options_text(self) -> String {
        match self {
            Self::Xt(module) => module.options().iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" "),
            _ => self.options().join(" "),
        }
    }

    /// Its options, of a match that reads each by itself.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Tcp => ports::TCP,
            Self::Udp | Self::Udplite => ports::PORTS,
            Self::Sctp => ports::SCTP,
            Self::Dccp => ports::DCCP,
            Self::Icmp => &["--icmp-type"],
            Self::Icmp6 => &["--icmpv6-type"],
            Self::Multiport => ports::MULTIPORT,
            Self::Conntrack => connection::CONNTRACK,
            Self::State => &["--state"],
            Self::Mark | Self::Connmark => &["--mark"],
            Self::Addrtype => header::ADDRTYPE,
            Self::Iprange => &["--src-range", "--dst-range"],
            Self::Comment => &["--comment"],
            Self::Statistic => statistic::OPTIONS,
            Self::Dscp => &["--dscp", "--dscp-class"],
            Self::Ttl => &["--ttl-eq", "--ttl-lt", "--ttl-gt", "--ttl"],
            Self::Hl => &["--hl-eq", "--hl-lt", "--hl-gt"],
            Self::Length => &["--length"],
            Self::Nfacct => &["--nfacct-name"],
            Self::Xt(_) | Self::Opaque => &[],
        }
    }

    /// Whether the match says something without any option.
    fn stands_alone(self) -> bool {
        match self {
            Self::Xt(module) => module.stands_alone(),
            _ => {
                matches!(self, Self::Tcp | Self::Udp | Self::Udplite | Self::Sctp | Self::Dccp | Self::Opaque)
            }
        }
    }
}

/// A match of a rule: one `-m`.
#[derive(Debug, Clone)]
pub(super) struct Instance {
    pub(super) module: Module,
    /// The index of the word that loaded it.
    pub(super) word: usize,
    used: bool,
    /// `--ctstate` was given.
    pub(super) has_state: bool,
    pub(super) statistic: Statistic,
    pub(super) address_type: header::AddressType,
    /// The options of a match that reads them together.
    pub(super) given: Vec<Given>,
}

impl Instance {
    pub(super) fn new(module: Module, word: usize) -> Self {
        Self {
            module,
            word,
            used: false,
            has_state: false,
            statistic: Statistic::default(),
            address_type: header::AddressType { by: AddressTypeBy::Any, src: None, dst: None },
            given: Vec::new(),
        }
    }

    /// What can be said only when all options of the match are known.
    pub(super) fn finish(
        &mut self,
        index: usize,
        entries: &mut Vec<(u16, Match)>,
        words: &[Word<'_>],
        protocol: Option<Proto>,
        family: Family,
    ) -> Result<()> {
        let at = words[self.word].at;
        self.check_protocol(at, protocol)?;
        if !self.used && !self.module.stands_alone() {
            let message = format!("expected an option after `-m {}`", self.module.name());
            let help = format!("its options are {}", self.module.options_text());
            return Err(Fault::syntax(words[self.word + 1].end(), message, help));
        }
        match self.module {
            Module::Conntrack => connection::finish(index, self.has_state, entries),
            Module::Statistic => self.statistic.finish(index, at, entries),
            Module::Addrtype => self.address_type.finish(index, at, entries, family),
            _ => Ok(()),
        }
    }

    fn check_protocol(&self, at: usize, protocol: Option<Proto>) -> Result<()> {
        let Some(needed) = self.module.protocol() else { return Ok(()) };
        if protocol.is_some_and(|protocol| protocol.number == needed && !protocol.inverted) {
            return Ok(());
        }
        let name = self.module.name();
        let message = format!("`-m {name}` needs the protocol {name}");
        Err(Fault::syntax(at, message, format!("write `-p {}` before it", name.replace("icmp6", "icmpv6"))))
    }
}

impl RuleReader<'_, '_> {
    /// Reads an option that a loaded match has.
    pub(super) fn module_option(&mut self, index: usize, option: Opt<'_>) -> Result<()> {
        let instance = self.instance(index);
        instance.used = true;
        match instance.module {
            Module::Tcp | Module::Udp | Module::Udplite | Module::Sctp | Module::Dccp => {
                self.transport_option(index, option)
            }
            Module::Icmp | Module::Icmp6 => self.icmp_type(index, option),
            Module::Multiport => self.multiport(index, option),
            Module::Conntrack => self.conntrack(index, option),
            Module::State => self.state(index, option),
            Module::Mark => self.mark(index, option),
            Module::Connmark => self.connmark(index, option),
            Module::Addrtype => self.addrtype(index, option),
            Module::Iprange => self.iprange(index, option),
            Module::Comment => self.read_comment(option),
            Module::Statistic => self.statistic(index, option),
            Module::Dscp => self.dscp(index, option),
            Module::Ttl | Module::Hl => self.ttl(index, option),
            Module::Length => self.length(index, option),
            Module::Nfacct => self.nfacct(option),
            Module::Xt(module) => self.collect(index, module, option),
            // It has no options, so none is ever given to it.
            Module::Opaque => Ok(()),
        }
    }

    fn read_comment(&mut self, mut option: Opt<'_>) -> Result<()> {
        let text = self.plain_argument(&mut option)?.text();
        match &mut self.comment {
            None => self.comment = Some(text.into_owned()),
            Some(comment) => {
                comment.push(' ');
                comment.push_str(&text);
            }
        }
        Ok(())
    }

    /// Only counts, so there is nothing to match.
    fn nfacct(&mut self, mut option: Opt<'_>) -> Result<()> {
        self.plain_argument(&mut option).map(|_| ())
    }
}
