//! Reads the items of a host.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use ipnet::IpNet;
use natpath_formats::{derive, ipset, iptables_save};
use natpath_model::{
    Address, Backend, Bind, Diagnostic, Family, FileId, Hook, InterfaceName, Item, Link, LinkDetail, Mac,
    Neighbour, PolicyRule, Protocol, Scope, SegmentEnd, Severity, Snapshot, Socket, SourceFile,
};

use super::{Line, Reader, end, route};
use natpath_verify::kernel::sysctl::{STATED, STATED_BRIDGE, STATED_CONF};

/// A block of rules: its keyword, the file it would be, and what its tables are.
const BLOCKS: [(&str, &str, Backend, Family); 4] = [
    ("iptables", "iptables-save", Backend::Iptables, Family::Ip4),
    ("ip6tables", "ip6tables-save", Backend::Iptables, Family::Ip6),
    ("iptables-legacy", "iptables-legacy-save", Backend::IptablesLegacy, Family::Ip4),
    ("ip6tables-legacy", "ip6tables-legacy-save", Backend::IptablesLegacy, Family::Ip6),
];

/// A host whose interfaces have no hardware addresses yet.
pub(super) struct Draft {
    snapshot: Snapshot,
    sysctls: Vec<(String, String)>,
    /// For each neighbour, the interface whose hardware address it has.
    pointers: Vec<SegmentEnd>,
    /// The addresses it answers for.
    proxied: Vec<Neighbour>,
}

/// Reads a host's name and its items.
pub(super) fn read(line: &Line<'_>, reader: &mut Reader<'_>) -> Result<Draft, Diagnostic> {
    let name = line.word(1, "the host's name")?.to_owned();
    let mut host = Draft {
        snapshot: Snapshot { name, ..Snapshot::default() },
        sysctls: Vec::new(),
        pointers: Vec::new(),
        proxied: Vec::new(),
    };
    host.snapshot.links.push(loopback());
    host.snapshot.policy_rules = Family::ALL.into_iter().flat_map(PolicyRule::defaults).collect();
    while let Some(line) = reader.next() {
        match line.words[0].1 {
            "link" => host.link(&line)?,
            "bridge" => host.bridge(&line)?,
            "connection" => host.connection(&line)?,
            "route" => {
                let route = route::route(&line, &host.snapshot.links)?;
                host.snapshot.routes.push(route);
            }
            "rule" => route::policy_rule(&line, &mut host.snapshot.policy_rules)?,
            "neigh" => host.neighbour(&line)?,
            "sysctl" => host.sysctl(&line)?,
            "listen" => host.snapshot.sockets.push(listen(&line)?),
            "ipset" => host.sets(&line, reader)?,
            word => match BLOCKS.iter().find(|(keyword, ..)| *keyword == word) {
                Some((_, file, backend, family)) => host.rules(&line, reader, file, *backend, *family)?,
                None => {
                    reader.back();
                    return Ok(host);
                }
            },
        }
    }
    Ok(host)
}

impl Draft {
    /// `link NAME [ADDR/LEN [peer ADDR] [scope=S]]... [mtu=N] [mac=M]`.
    fn link(&mut self, line: &Line<'_>) -> Result<(), Diagnostic> {
        let name = line.interface(1)?;
        let links = &mut self.snapshot.links;
        let position = match links.iter().position(|link| link.name == name) {
            Some(position) => position,
            None => {
                let index = u32::try_from(links.len() + 1).unwrap_or(u32::MAX);
                links.push(veth(name, index));
                links.len() - 1
            }
        };
        let link = &mut links[position];
        let mut addresses: Vec<Address> = Vec::new();
        let mut index = 2;
        while index < line.words.len() {
            let word = line.words[index].1;
            match (word.split_once('='), addresses.last_mut()) {
                (Some(("mtu", _)), _) => {
                    link.mtu = word[4..].parse().map_err(|_| line.error(index, "expected mtu=N"))?;
                }
                (Some(("mac", text)), _) => {
                    link.mac = Some(text.parse::<Mac>().map_err(|message| line.error(index, message))?);
                }
                (Some(("scope", "link")), Some(address)) => address.scope = Scope::LINK,
                (Some(("scope", "host")), Some(address)) => address.scope = Scope::HOST,
                (None, Some(address)) if word == "peer" => {
                    index += 1;
                    address.peer = Some(line.value(index, "the peer's address")?);
                }
                _ => {
                    addresses.push(address(line.value(index, "ADDRESS/LENGTH, mtu=, mac=, scope= or peer")?));
                }
            }
            index += 1;
        }
        for address in addresses {
            add_address(&mut link.addresses, address);
        }
        Ok(())
    }

    /// `connection` and a line as `conntrack -L` prints it.
    fn connection(&mut self, line: &Line<'_>) -> Result<(), Diagnostic> {
        let (connections, diagnostics) = natpath_formats::conntrack::parse(line.rest(1), "conntrack");
        match diagnostics.first() {
            Some(fault) => Err(line.error(1, fault.message.clone())),
            None => {
                self.snapshot.connections.extend(connections);
                Ok(())
            }
        }
    }

    /// `bridge NAME PORT... [hairpin=PORT] [isolated=PORT] [nf-call]`, after the `link` lines of all of them.
    fn bridge(&mut self, line: &Line<'_>) -> Result<(), Diagnostic> {
        let name = line.interface(1)?;
        let links = &mut self.snapshot.links;
        let fault = |index| line.error(index, "expected a link of this host, hairpin=, isolated= or nf-call");
        let bridge = links.iter_mut().find(|link| link.name == name).ok_or_else(|| fault(1))?;
        bridge.kind = Some("bridge".to_owned());
        for (index, (_, word)) in line.words.iter().enumerate().skip(2) {
            if *word == "nf-call" {
                if let Some(bridge) = links.iter_mut().find(|link| link.name == name) {
                    bridge.detail.calls = [true; 2];
                }
                continue;
            }
            let (key, port) = word.split_once('=').unwrap_or(("", word));
            let port = InterfaceName::new(port).ok_or_else(|| fault(index))?;
            let port = links.iter_mut().find(|link| link.name == port).ok_or_else(|| fault(index))?;
            match key {
                "" => {
                    port.master = Some(name);
                    port.detail.hairpin = Some(false);
                }
                "hairpin" => port.detail.hairpin = Some(true),
                "isolated" => port.detail.isolated = true,
                _ => return Err(fault(index)),
            }
        }
        Ok(())
    }

    /// `neigh ADDR dev IFACE to HOST:IFACE`; the hardware address is filled in when all hosts are known.
    fn neighbour(&mut self, line: &Line<'_>) -> Result<(), Diagnostic> {
        if line.word(1, "an address or proxy")? == "proxy" {
            let (address, link) = (line.value(2, "an address")?, line.interface(4)?);
            let (mac, failed, permanent) = (None, false, false);
            self.proxied.push(Neighbour { address, link, mac, failed, permanent, proxy: true });
            return Ok(());
        }
        let address = line.value(1, "an address")?;
        if line.word(2, "dev")? != "dev" || line.word(4, "to")? != "to" {
            return Err(line.error(2, "expected neigh ADDRESS dev INTERFACE to HOST:INTERFACE"));
        }
        let link = line.interface(3)?;
        self.pointers.push(end(line, 5)?);
        self.snapshot.neighbours.push(Neighbour {
            address,
            link,
            mac: None,
            failed: false,
            permanent: true,
            proxy: false,
        });
        Ok(())
    }

    fn sysctl(&mut self, line: &Line<'_>) -> Result<(), Diagnostic> {
        let (key, value) = line.rest(1).split_once('=').ok_or_else(|| line.error(1, "expected KEY=VALUE"))?;
        self.sysctls.push((key.trim().to_owned(), value.trim().to_owned()));
        Ok(())
    }

    /// A block of rules, up to its last COMMIT.
    fn rules(
        &mut self,
        line: &Line<'_>,
        reader: &mut Reader<'_>,
        file: &str,
        backend: Backend,
        family: Family,
    ) -> Result<(), Diagnostic> {
        let mut text = String::new();
        while let Some(line) = reader.next_raw(is_of_rules) {
            text.push_str(line);
            text.push('\n');
        }
        let text = declared(text.trim_end());
        let id = FileId(u16::try_from(self.snapshot.files.len()).unwrap_or(u16::MAX));
        let (tables, diagnostics) = iptables_save::parse(&text, file, id, backend, family);
        if let Some(fault) = diagnostics.iter().find(|found| found.severity == Severity::Error) {
            let mut error = line.error(0, format!("{} ({file}:{})", fault.message, fault.line));
            error.text.clone_from(&fault.text);
            error.help.clone_from(&fault.help);
            return Err(error);
        }
        self.snapshot.ruleset.tables.extend(tables);
        self.snapshot.diagnostics.extend(diagnostics);
        self.snapshot.files.push(SourceFile { name: file.to_owned(), text: Arc::from(text) });
        Ok(())
    }

    /// A block of sets, as `ipset save` prints them.
    fn sets(&mut self, line: &Line<'_>, reader: &mut Reader<'_>) -> Result<(), Diagnostic> {
        let mut text = String::new();
        while let Some(line) = reader.next_raw(is_of_sets) {
            text.push_str(line);
            text.push('\n');
        }
        let (sets, diagnostics) = ipset::parse(&text, "ipset");
        if let Some(fault) = diagnostics.first() {
            return Err(line.error(0, format!("{} (ipset:{})", fault.message, fault.line)));
        }
        self.snapshot.sets = sets;
        self.snapshot.files.push(SourceFile { name: "ipset".to_owned(), text: Arc::from(text) });
        Ok(())
    }

    /// Fills in what no line says: hardware addresses, parameters, derived routes.
    pub(super) fn finish(&mut self, place: usize) {
        let host = &mut self.snapshot;
        for link in host.links.iter_mut().filter(|link| !link.loopback) {
            let place = u8::try_from(place + 1).unwrap_or(u8::MAX);
            let index = u8::try_from(link.index).unwrap_or(u8::MAX);
            link.mac.get_or_insert(Mac([2, 0, 0, 0, place, index]));
        }
        for family in Family::ALL {
            host.routes.extend(derive::routes(&host.links, family));
            for item in [Item::Routes(family), Item::PolicyRules(family), Item::Rules(family)] {
                host.given.insert(item);
            }
        }
        // The kernel that judges goes by this machine's clock.
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        host.date = since_1970.ok().map(|time| time.as_secs());
        for item in [Item::Links, Item::Neighbours, Item::Sysctls, Item::Sockets, Item::Sets, Item::Date] {
            host.given.insert(item);
        }
        self.parameters();
    }

    fn parameters(&mut self) {
        let sysctls = &mut self.snapshot.sysctls;
        let names: Vec<String> = ["all".to_owned(), "default".to_owned()]
            .into_iter()
            .chain(self.snapshot.links.iter().map(|link| link.name.to_string().replace('.', "/")))
            .collect();
        for (name, value) in STATED {
            sysctls.set(name, value);
        }
        if self.snapshot.links.iter().any(|link| link.kind.as_deref() == Some("bridge")) {
            for (name, value) in STATED_BRIDGE {
                sysctls.set(name, value);
            }
        }
        for (key, value) in STATED_CONF {
            for name in &names {
                sysctls.set(&format!("net.ipv4.conf.{name}.{key}"), value);
            }
        }
        let own = |key: &str| {
            self.sysctls.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
        };
        let forward4 = own("net.ipv4.ip_forward").or(own("net.ipv4.conf.all.forwarding")).unwrap_or("0");
        let forward6 = own("net.ipv6.conf.all.forwarding").unwrap_or("0");
        sysctls.set("net.ipv4.ip_forward", forward4);
        for name in &names {
            sysctls.set(&format!("net.ipv4.conf.{name}.forwarding"), forward4);
            sysctls.set(&format!("net.ipv6.conf.{name}.forwarding"), forward6);
        }
        for (key, value) in &self.sysctls {
            sysctls.set(key, value);
        }
    }

    /// The host, with the hardware addresses of its neighbours.
    pub(super) fn into_snapshot(mut self, macs: &[(SegmentEnd, Mac)]) -> Snapshot {
        for (neighbour, pointer) in self.snapshot.neighbours.iter_mut().zip(&self.pointers) {
            neighbour.mac = macs.iter().find(|(end, _)| end == pointer).map(|(_, mac)| *mac);
        }
        self.snapshot.neighbours.append(&mut self.proxied);
        self.snapshot
    }

    /// The hardware address of each interface.
    pub(super) fn macs(&self) -> impl Iterator<Item = (SegmentEnd, Mac)> + '_ {
        self.snapshot.links.iter().filter_map(|link| {
            let end = SegmentEnd { host: self.snapshot.name.clone(), interface: link.name };
            Some((end, link.mac?))
        })
    }
}

/// Whether a line may be one of a dump of iptables.
pub(crate) fn is_of_rules(text: &str) -> bool {
    text.is_empty() || text == "COMMIT" || text.starts_with(['*', ':', '-', '[', '#'])
}

/// Whether a line may be one of a dump of ipset.
pub(super) fn is_of_sets(text: &str) -> bool {
    text.starts_with("create ") || text.starts_with("add ")
}

/// Declares the chains that a block uses and does not declare, as `iptables-save` would.
pub(super) fn declared(text: &str) -> String {
    let mut whole = String::new();
    let mut tables: Vec<Vec<&str>> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if line.starts_with('*') || tables.is_empty() {
            tables.push(Vec::new());
        }
        if let Some(table) = tables.last_mut() {
            table.push(line);
        }
    }
    for table in tables {
        let mut missing: Vec<&str> = Vec::new();
        for line in &table {
            let rule =
                line.split_once("] ").filter(|_| line.starts_with('[')).map_or(*line, |(_, rule)| rule);
            let Some(chain) = rule.strip_prefix("-A ").and_then(|rest| rest.split_whitespace().next()) else {
                continue;
            };
            let declared = table.iter().any(|line| {
                line.strip_prefix(':').and_then(|rest| rest.split_whitespace().next()) == Some(chain)
            });
            if !declared && !missing.contains(&chain) {
                missing.push(chain);
            }
        }
        for (index, line) in table.into_iter().enumerate() {
            whole.push_str(line);
            whole.push('\n');
            if index == 0 {
                for chain in &missing {
                    let policy = if Hook::of_chain(chain).is_some() { "ACCEPT" } else { "-" };
                    whole.push_str(&format!(":{chain} {policy} [0:0]\n"));
                }
            }
        }
    }
    whole
}

/// `listen PROTO ADDR:PORT [transparent]`.
fn listen(line: &Line<'_>) -> Result<Socket, Diagnostic> {
    let protocol: Protocol = line.value(1, "tcp or udp")?;
    let word = line.word(2, "ADDRESS:PORT")?;
    let fault = || line.error(2, format!("expected ADDRESS:PORT, found \"{word}\""));
    let (bind, port) = if let Some(port) = word.strip_prefix("*:") {
        (Bind::AnyBoth, port.parse().map_err(|_| fault())?)
    } else {
        let address: SocketAddr = word.parse().map_err(|_| fault())?;
        let bind = match address.ip() {
            ip if ip.is_unspecified() => Bind::Any(Family::of(ip)),
            ip => Bind::Address(ip),
        };
        (bind, address.port())
    };
    let transparent = match line.words.get(3) {
        None => false,
        Some((_, "transparent")) => true,
        Some(_) => return Err(line.error(3, "expected transparent, or nothing more")),
    };
    Ok(Socket { protocol, bind, port, interface: None, process: None, transparent: Some(transparent) })
}

fn loopback() -> Link {
    let own = |address: IpAddr, length| Address { scope: Scope::HOST, ..Address::new(address, length) };
    Link {
        index: 1,
        name: InterfaceName::LO,
        kind: None,
        up: true,
        loopback: true,
        mtu: 65536,
        mac: Some(Mac([0; 6])),
        peer_index: None,
        peer_namespace: None,
        master: None,
        detail: LinkDetail::default(),
        addresses: vec![own(Family::Ip4.loopback(), 8), own(Family::Ip6.loopback(), 128)],
    }
}

fn veth(name: InterfaceName, index: u32) -> Link {
    Link {
        index,
        name,
        kind: Some("veth".to_owned()),
        up: true,
        loopback: false,
        mtu: 1500,
        mac: None,
        peer_index: None,
        peer_namespace: None,
        master: None,
        detail: LinkDetail::default(),
        addresses: Vec::new(),
    }
}

fn address(net: IpNet) -> Address {
    Address::new(net.addr(), net.prefix_len())
}

fn add_address(addresses: &mut Vec<Address>, mut new: Address) {
    let is_v6 = new.local.is_ipv6();
    let place = if is_v6 {
        addresses
            .iter()
            .position(|old| old.local.is_ipv6() && old.scope <= new.scope)
            .unwrap_or(addresses.len())
    } else {
        let own = addresses.iter().filter(|old| old.local.is_ipv4());
        new.secondary =
            own.clone().any(|old| old.prefix_length == new.prefix_length && old.subnet() == new.subnet());
        if new.secondary {
            own.count()
        } else {
            addresses
                .iter()
                .rposition(|old| old.local.is_ipv4() && !old.secondary && new.scope <= old.scope)
                .map_or(0, |last| last + 1)
        }
    };
    addresses.insert(place, new);
}
