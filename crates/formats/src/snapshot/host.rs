//! One host's directory to a [`Snapshot`]: each file by its reader, then what stands in for missing ones.

use std::path::Path;

use natpath_model::{
    Backend, Diagnostic, Family, FileId, Item, Match, PolicyRule, Route, Severity, Snapshot, SourceFile,
    Statement, Xt,
};

use super::files::{FileText, read_text, remark};
use super::load::RULES;
use super::nft;
use crate::ip_json::{addr, bridge, neigh, route, rule};
use crate::{bypass, conntrack, derive, ipset, iptables_save, nft_hooks, ss, sysctl};

pub(super) struct HostReader<'d> {
    dir: &'d Path,
    snapshot: Snapshot,
}

impl<'d> HostReader<'d> {
    pub(super) fn new(dir: &'d Path, name: &str) -> Self {
        Self { dir, snapshot: Snapshot { name: name.to_owned(), ..Snapshot::default() } }
    }

    pub(super) fn read(mut self) -> Snapshot {
        self.name();
        self.rules();
        self.links();
        self.routes();
        self.policy_rules(Family::Ip4, "rule.json");
        self.policy_rules(Family::Ip6, "rule6.json");
        self.snapshot.policy_rules.sort_by_key(|rule| rule.priority);
        self.neighbours();
        self.bridges();
        self.connections();
        self.sysctls();
        self.sockets();
        self.sets();
        self.date();
        self.nft();
        self.hooks();
        self.bypasses();
        self.snapshot
    }

    fn text(&mut self, name: &str) -> Option<FileText> {
        read_text(self.dir, name, &mut self.snapshot.diagnostics)
    }

    /// Keeps a file's text and gives its number.
    fn keep(&mut self, file: FileText) -> FileId {
        let number = u16::try_from(self.snapshot.files.len()).unwrap_or(u16::MAX);
        self.snapshot.files.push(SourceFile { name: file.name, text: file.text.into() });
        FileId(number)
    }

    /// Keeps what a reader of JSON gave: its items, or none and the reason.
    fn items<T>(
        &mut self,
        read: Result<(Vec<T>, Vec<Diagnostic>), Diagnostic>,
        given: Item,
    ) -> Option<Vec<T>> {
        match read {
            Ok((items, mut diagnostics)) => {
                self.snapshot.diagnostics.append(&mut diagnostics);
                self.snapshot.given.insert(given);
                Some(items)
            }
            Err(diagnostic) => {
                self.snapshot.diagnostics.push(diagnostic);
                None
            }
        }
    }

    fn name(&mut self) {
        if let Some(file) = self.text("name") {
            let name = file.text.trim();
            if name.is_empty() {
                let message = "expected the host's name, found an empty file".to_owned();
                let warning = remark(
                    &file.path,
                    Severity::Warning,
                    "syntax",
                    message,
                    "write it or remove the file",
                    0,
                );
                self.snapshot.diagnostics.push(warning);
            } else {
                name.clone_into(&mut self.snapshot.name);
            }
        }
    }

    fn rules(&mut self) {
        for (name, backend, family) in RULES {
            let Some(file) = self.text(name) else { continue };
            let id = FileId(u16::try_from(self.snapshot.files.len()).unwrap_or(u16::MAX));
            let backend =
                if iptables_save::is_of_legacy(&file.text) { Backend::IptablesLegacy } else { backend };
            let (mut tables, mut diagnostics) =
                iptables_save::parse(&file.text, &file.path, id, backend, family);
            self.keep(file);
            self.snapshot.ruleset.tables.append(&mut tables);
            self.snapshot.diagnostics.append(&mut diagnostics);
            self.snapshot.given.insert(Item::Rules(family));
        }
    }

    fn links(&mut self) {
        let Some(file) = self.text("addr.json") else { return };
        let read = addr::parse(&file.text, &file.path);
        self.snapshot.links = self.items(read, Item::Links).unwrap_or_default();
        self.keep(file);
    }

    fn routes(&mut self) {
        let (ip4, ip6) = (self.text("route.json"), self.text("route6.json"));
        let mut lists: [Option<Vec<Route>>; 2] = [None, None];
        if let Some(file) = &ip6 {
            let read = route::parse(&file.text, &file.path, Family::Ip6);
            lists[1] = self.items(read, Item::Routes(Family::Ip6));
        }
        if let Some(file) = &ip4 {
            let beside = ip6.as_ref().map(|file| file.text.as_str());
            self.both_families(file, beside, &mut lists);
        }
        for (family, list) in Family::ALL.into_iter().zip(lists) {
            let derived = || derive::routes(&self.snapshot.links, family);
            let mut routes = list.unwrap_or_else(derived);
            self.snapshot.routes.append(&mut routes);
        }
        for file in ip4.into_iter().chain(ip6) {
            self.keep(file);
        }
    }

    /// Reads route.json, which lists IPv6 too; those rows count where route6.json is missing.
    fn both_families(&mut self, file: &FileText, ip6: Option<&str>, lists: &mut [Option<Vec<Route>>; 2]) {
        let given = Item::Routes(Family::Ip4);
        if let Some(ip6) = ip6 {
            let read = route::parse_ip4(&file.text, &file.path, ip6);
            lists[0] = self.items(read, given);
            return;
        }
        let read = route::parse(&file.text, &file.path, Family::Ip4);
        let Some(routes) = self.items(read, given) else { return };
        let (own, other): (Vec<_>, Vec<_>) =
            routes.into_iter().partition(|route| route::family_of(route) == Family::Ip4);
        lists[0] = Some(own);
        if !other.is_empty() {
            self.snapshot.given.insert(Item::Routes(Family::Ip6));
            lists[1] = Some(other);
        }
    }

    fn policy_rules(&mut self, family: Family, name: &str) {
        let mut rules = None;
        if let Some(file) = self.text(name) {
            let read = rule::parse(&file.text, &file.path, family);
            rules = self.items(read, Item::PolicyRules(family));
            self.keep(file);
        }
        let mut rules = rules.unwrap_or_else(|| PolicyRule::defaults(family));
        self.snapshot.policy_rules.append(&mut rules);
    }

    fn neighbours(&mut self) {
        let Some(file) = self.text("neigh.json") else { return };
        let read = neigh::parse(&file.text, &file.path);
        self.snapshot.neighbours = self.items(read, Item::Neighbours).unwrap_or_default();
        self.keep(file);
    }

    /// The ports of bridges, which `ip -d addr` shows as well, and what is behind them.
    fn bridges(&mut self) {
        // bridge.json is what the recording script of some collections calls it.
        if let Some(file) = self.text("bridge-link.json").or_else(|| self.text("bridge.json")) {
            let read = bridge::parse_links(&file.text, &file.path);
            for port in self.items(read, Item::BridgePorts).unwrap_or_default() {
                let link = self.snapshot.links.iter_mut().find(|link| link.name == port.name);
                if let Some(link) = link {
                    link.master = link.master.or(port.master);
                    link.detail = natpath_model::LinkDetail { calls: link.detail.calls, ..port.detail };
                }
            }
            self.keep(file);
        }
        if let Some(file) = self.text("bridge-fdb.json") {
            let read = bridge::parse_fdb(&file.text, &file.path);
            self.snapshot.forwarding = self.items(read, Item::Forwarding).unwrap_or_default();
            self.keep(file);
        }
    }

    fn connections(&mut self) {
        let Some(file) = self.text("conntrack") else { return };
        let (connections, mut diagnostics) = conntrack::parse(&file.text, &file.path);
        self.snapshot.connections = connections;
        self.snapshot.diagnostics.append(&mut diagnostics);
        self.snapshot.given.insert(Item::Connections);
        self.keep(file);
    }

    fn sysctls(&mut self) {
        let Some(file) = self.text("sysctl") else {
            for (name, value) in ASSUMED_SYSCTLS {
                self.snapshot.sysctls.set(name, value);
            }
            return;
        };
        let (sysctls, mut diagnostics) = sysctl::parse(&file.text, &file.path);
        self.snapshot.sysctls = sysctls;
        self.snapshot.diagnostics.append(&mut diagnostics);
        self.snapshot.given.insert(Item::Sysctls);
        self.keep(file);
    }

    fn sockets(&mut self) {
        let Some(file) = self.text("sockets").or_else(|| self.text("listen")) else { return };
        let (sockets, mut diagnostics) = ss::parse(&file.text, &file.path);
        self.snapshot.sockets = sockets;
        self.snapshot.diagnostics.append(&mut diagnostics);
        self.snapshot.given.insert(Item::Sockets);
        self.keep(file);
    }

    fn sets(&mut self) {
        if let Some(file) = self.text("ipset") {
            let (sets, mut diagnostics) = ipset::parse(&file.text, &file.path);
            self.snapshot.sets = sets;
            self.snapshot.diagnostics.append(&mut diagnostics);
            self.snapshot.given.insert(Item::Sets);
            self.keep(file);
        }
        let dir = self.dir;
        let mut unknown = unknown_sets(&self.snapshot, |file| dir.join(file).display().to_string());
        self.snapshot.diagnostics.append(&mut unknown);
    }

    fn date(&mut self) {
        let Some(file) = self.text("date") else { return };
        match file.text.trim().parse() {
            Ok(seconds) => {
                self.snapshot.date = Some(seconds);
                self.snapshot.given.insert(Item::Date);
            }
            Err(_) => {
                let message = "expected the seconds since 1970".to_owned();
                let help = "give the output of `date +%s`";
                let fault = remark(&file.path, Severity::Error, "syntax", message, help, 1);
                self.snapshot.diagnostics.push(fault);
            }
        }
        self.keep(file);
    }

    fn nft(&mut self) {
        let (read, list): (_, fn(&str) -> Vec<nft::TableName>) = match self.text("nft.json") {
            Some(file) => (Some(file), nft::tables_of_json),
            None => (self.text("nft.txt"), nft::tables_of_text),
        };
        let Some(file) = read else { return };
        let others: Vec<_> = list(&file.text)
            .into_iter()
            .filter(|table| !table.belongs_to_iptables(&self.snapshot.ruleset))
            .map(|table| table.to_string())
            .collect();
        if !others.is_empty() {
            let message = format!("tables that nft made can't be decided: {}", others.join(", "));
            let mut found = remark(&file.path, Severity::Unsupported, "unsupported", message, "", 0);
            found.construct = Some("nft tables".to_owned());
            self.snapshot.diagnostics.push(found);
        }
    }

    fn hooks(&mut self) {
        let Some(file) = self.text("nft-hooks") else { return };
        let (hooks, mut diagnostics) = nft_hooks::parse(&file.text, &file.path);
        self.snapshot.hooks = hooks;
        self.snapshot.diagnostics.append(&mut diagnostics);
        self.keep(file);
    }

    /// What acts beside netfilter: it is named where a path meets it.
    fn bypasses(&mut self) {
        for (name, read) in bypass::READERS {
            let Some(file) = self.text(name) else { continue };
            self.snapshot.ipsec |= name == "xfrm" && !file.text.trim().is_empty();
            let (mut found, mut diagnostics) = read(&file.text, &file.path);
            self.snapshot.bypasses.append(&mut found);
            self.snapshot.diagnostics.append(&mut diagnostics);
            self.keep(file);
        }
    }
}

/// Remarks on the sets that rules name and nobody listed. `path_of` gives the path of a file by its name.
pub(super) fn unknown_sets(snapshot: &Snapshot, path_of: impl Fn(&str) -> String) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (_, rule) in snapshot.ruleset.rules() {
        let tested = rule.matches.iter().filter_map(|condition| match condition {
            Match::Xt(condition) => match &**condition {
                Xt::Set(test) => Some(("-m set", &test.set)),
                _ => None,
            },
            _ => None,
        });
        let changed = rule.statements.iter().filter_map(|statement| match statement {
            Statement::Set(change) => Some(("-j SET", &change.set)),
            _ => None,
        });
        for (construct, name) in tested.chain(changed).filter(|(_, name)| snapshot.sets.get(name).is_none()) {
            let message = format!("`{construct}` can't be decided: the set {name} is not listed");
            let help = "add the output of `ipset save` as ipset";
            let path = path_of(&snapshot.file(rule.origin.file).name);
            let mut remark = remark(&path, Severity::Unsupported, "unsupported", message, help, 0);
            remark.line = rule.origin.line;
            remark.construct = Some(construct.to_owned());
            snapshot.text(&rule.origin).clone_into(&mut remark.text);
            found.push(remark);
        }
    }
    found
}

/// What a host without `sysctl` is taken to have; the kernel's defaults but for forwarding.
const ASSUMED_SYSCTLS: [(&str, &str); 7] = [
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv6.conf.all.forwarding", "1"),
    ("net.ipv6.conf.default.forwarding", "1"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.ipv4.conf.all.route_localnet", "0"),
    ("net.ipv4.conf.default.route_localnet", "0"),
];
