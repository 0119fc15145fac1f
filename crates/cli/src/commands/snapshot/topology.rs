//! Which ends of veth pairs belong together. The kernel says of each end the number of the other and, in its
//! own numbering of namespaces, where that is; a pair is certain where both ends name each other.

use std::collections::{BTreeSet, HashMap};
use std::fs;

use serde::Deserialize;

use super::namespaces::inode;
use super::record::{Place, Recorder};

/// What the recorded hosts know of each other.
#[derive(Debug, Default)]
pub(super) struct Wires {
    /// By the number of a namespace.
    hosts: HashMap<u64, String>,
    ends: Vec<End>,
    /// The number of another namespace, by a namespace's own and its word for the other.
    others: HashMap<(u64, Where), u64>,
}

/// An end of a veth pair.
#[derive(Debug)]
struct End {
    host: u64,
    interface: String,
    index: u32,
    peer_index: u32,
    peer: Where,
}

/// Where the other end is, in the words of the namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Where {
    Here,
    Numbered(u32),
    Named(String),
}

/// A row of `ip -j link`.
#[derive(Deserialize)]
struct LinkRow {
    ifindex: u32,
    ifname: String,
    link: Option<String>,
    link_index: Option<u32>,
    link_netnsid: Option<u32>,
    link_netns: Option<String>,
}

impl Wires {
    /// Notes the ends in a host, and what it calls the other namespaces.
    pub(super) fn note(&mut self, recorder: &Recorder, host: &str, place: &Place) {
        let Some(own) = inode(place.path()) else { return };
        self.hosts.insert(own, host.to_owned());
        self.links(own, &recorder.print(place, "ip", &["-j", "link", "show", "type", "veth"]));
        if recorder.has("lsns") {
            self.numbers(own, &recorder.print(place, "lsns", &["-t", "net", "-n", "-r", "-o", "NS,NETNSID"]));
        }
        for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
            if let Some(other) = inode(&entry.path()) {
                let name = entry.file_name().to_string_lossy().into_owned();
                self.others.insert((own, Where::Named(name)), other);
            }
        }
        self.names(own, &recorder.print(place, "ip", &["netns", "list-id"]));
    }

    fn links(&mut self, own: u64, text: &str) {
        let rows: Vec<LinkRow> = serde_json::from_str(text).unwrap_or_default();
        for row in &rows {
            let peer = match (&row.link_netns, row.link_netnsid) {
                (Some(name), _) => Where::Named(name.clone()),
                (None, Some(number)) => Where::Numbered(number),
                (None, None) => Where::Here,
            };
            let here = || rows.iter().find(|other| Some(&other.ifname) == row.link.as_ref());
            let peer_index = row.link_index.or_else(|| here().map(|other| other.ifindex));
            if let Some(peer_index) = peer_index.filter(|_| !row.ifname.contains(['"', '\\'])) {
                let interface = row.ifname.clone();
                self.ends.push(End { host: own, interface, index: row.ifindex, peer_index, peer });
            }
        }
    }

    /// `4026532392 2` a line; namespaces without a number are `unassigned`.
    fn numbers(&mut self, own: u64, text: &str) {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let other = words.next().and_then(|word| word.parse().ok());
            let number = words.next().and_then(|word| word.parse().ok());
            if let (Some(other), Some(number)) = (other, number) {
                self.others.insert((own, Where::Numbered(number)), other);
            }
        }
    }

    /// `nsid 0 (iproute2 netns name: web)` a line; lsns does not see namespaces that no process is in.
    fn names(&mut self, own: u64, text: &str) {
        for line in text.lines() {
            let words =
                line.strip_prefix("nsid ").and_then(|line| line.split_once(" (iproute2 netns name: "));
            let Some((number, name)) = words else { continue };
            let name = Where::Named(name.trim_end_matches(')').to_owned());
            let other = self.others.get(&(own, name)).copied();
            if let (Some(other), Ok(number)) = (other, number.parse()) {
                self.others.insert((own, Where::Numbered(number)), other);
            }
        }
    }

    /// The namespace of an end's other end.
    fn there(&self, end: &End) -> Option<u64> {
        match &end.peer {
            Where::Here => Some(end.host),
            elsewhere => self.others.get(&(end.host, elsewhere.clone())).copied(),
        }
    }

    /// topology.json; `None` where no pair is certain.
    pub(super) fn topology(&self) -> Option<String> {
        let by: HashMap<(u64, u32), &End> =
            self.ends.iter().map(|end| ((end.host, end.index), end)).collect();
        let mut pairs = BTreeSet::new();
        for end in &self.ends {
            let Some(there) = self.there(end) else { continue };
            let Some(other) = by.get(&(there, end.peer_index)) else { continue };
            if other.peer_index != end.index || self.there(other) != Some(end.host) {
                continue;
            }
            let name = |end: &End| Some(format!("{}:{}", self.hosts.get(&end.host)?, end.interface));
            let (Some(one), Some(other)) = (name(end), name(other)) else { continue };
            if one < other {
                pairs.insert(format!("  [\"{one}\", \"{other}\"]"));
            }
        }
        let lines: Vec<_> = pairs.into_iter().collect();
        (!lines.is_empty()).then(|| format!("{{\"segments\": [\n{}\n]}}\n", lines.join(",\n")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wires(other_number: u32) -> Wires {
        let mut wires = Wires::default();
        wires.hosts.extend([(1, "n".to_owned()), (2, "n/ns/web".to_owned())]);
        wires.links(
            1,
            r#"[{"ifindex":5,"ifname":"veth5","link_index":2,"link_netns":"web"},
                {"ifindex":6,"ifname":"veth6","link_index":2,"link_netnsid":7},
                {"ifindex":7,"ifname":"a","link":"b"},{"ifindex":8,"ifname":"b","link":"a"}]"#,
        );
        wires.links(2, r#"[{"ifindex":2,"ifname":"eth0","link_index":5,"link_netnsid":0}]"#);
        wires.others.insert((1, Where::Named("web".to_owned())), 2);
        wires.numbers(1, "1 unassigned\n2 unassigned\n3 7\n");
        wires.numbers(2, &format!("1 {other_number}\n2 unassigned\n"));
        wires
    }

    #[test]
    fn ends_that_name_each_other_are_a_pair() {
        let expected = "{\"segments\": [\n  [\"n/ns/web:eth0\", \"n:veth5\"],\n  [\"n:a\", \"n:b\"]\n]}\n";
        assert_eq!(wires(0).topology().as_deref(), Some(expected));
    }

    #[test]
    fn names_tell_the_numbers_of_namespaces_without_processes() {
        let mut wires = wires(3);
        wires.others.insert((2, Where::Named("node".to_owned())), 1);
        wires.names(2, "nsid 0 (iproute2 netns name: node)\nnsid 1 \n");
        assert!(wires.topology().is_some_and(|text| text.contains("n/ns/web:eth0")), "{wires:?}");
    }

    #[test]
    fn what_is_not_certain_is_left_out() {
        let expected = "{\"segments\": [\n  [\"n:a\", \"n:b\"]\n]}\n";
        assert_eq!(wires(3).topology().as_deref(), Some(expected));
        assert_eq!(Wires::default().topology(), None);
    }
}
