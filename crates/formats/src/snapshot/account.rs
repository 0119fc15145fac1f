//! What became of every line of every file in a host's directory.
//!
//! A file is a number of units, which are lines or the rows of a JSON list. Each unit is exactly one of:
//!
//! ```text
//!  items      became a part of the snapshot; `repeated` of them only say what another file says
//!  structure  a comment, a blank line, a head or an end, a chain's declaration
//!  unread     nobody reads it; an entry of `unsupported` says why
//!  failed     could not be read; an entry of `errors` says where
//! ```
//!
//! The items are counted in the [`Snapshot`], the other units in the text, so a line that a reader loses is
//! missing from the sum: [`Accounted::missed`].

mod lines;
mod nft;
mod rows;

use std::collections::BTreeSet;
use std::path::Path;

use natpath_model::{Diagnostic, Family, FileId, Item, Segment, Severity, Snapshot};

use super::files::read_text;
use crate::diagnose::excerpt;

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounted {
    /// Its name in its directory, with `.gz` where it is compressed.
    pub file: String,
    /// What it holds, in a word.
    pub kind: &'static str,
    /// What it is counted in.
    pub unit: Unit,
    /// All its units.
    pub total: usize,
    /// Units that were read; those that can't be decided are among them, and in `unsupported` too.
    pub items: usize,
    /// Those of the items that another file of the host lists as well.
    pub repeated: usize,
    /// Units that hold no item.
    pub structure: usize,
    /// Units that nobody reads.
    pub unread: usize,
    /// What was carried but can't be decided, and what is not read.
    pub unsupported: Vec<Unsupported>,
    /// What could not be read.
    pub errors: Vec<Diagnostic>,
    /// What is odd but clear.
    pub warnings: Vec<Diagnostic>,
}

/// What a file is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Lines of text.
    Lines,
    /// Rows of a JSON list.
    Rows,
    /// The file as a whole: it is not read, or it can't be cut.
    Files,
}

/// A construct that a packet may not be taken past without a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// The line, from 1; 0 where the whole file is meant.
    pub line: u32,
    /// The construct in its tool's words, or the file.
    pub construct: String,
    /// The line's text; why, where a whole file is meant.
    pub text: String,
    /// Why it can't be decided.
    pub reason: String,
}

impl Accounted {
    /// Units that could not be read.
    #[must_use]
    pub fn failed(&self) -> usize {
        match self.unit {
            Unit::Files => usize::from(!self.errors.is_empty()),
            Unit::Lines => failed_lines(&self.errors).len(),
            Unit::Rows => {
                let placed = self.errors.iter().filter(|error| error.line > 0);
                placed.map(|error| (error.line, error.column)).collect::<BTreeSet<_>>().len()
            }
        }
    }

    /// Units that are in no account: there should be none.
    #[must_use]
    pub fn missed(&self) -> usize {
        self.total.saturating_sub(self.items + self.structure + self.unread + self.failed())
    }

    /// A file that nobody reads.
    fn unread(file: &str, kind: &'static str, reason: &str) -> Self {
        let unsupported = Unsupported {
            line: 0,
            construct: file.to_owned(),
            text: reason.to_owned(),
            reason: reason.to_owned(),
        };
        Self { unread: 1, unsupported: vec![unsupported], ..Self::new(file, kind, Unit::Files, 1) }
    }

    fn new(file: &str, kind: &'static str, unit: Unit, total: usize) -> Self {
        Self {
            file: file.to_owned(),
            kind,
            unit,
            total,
            items: 0,
            repeated: 0,
            structure: 0,
            unread: 0,
            unsupported: Vec::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Adds what the readers of the file had to say.
    fn noted<'a>(mut self, path: &str, text: &str, all: impl Iterator<Item = &'a Diagnostic>) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        for found in all.filter(|found| found.file == path) {
            match found.severity {
                Severity::Unsupported => self.unsupported.push(unsupported(found, &lines)),
                // A line that is not understood is lost, also where it is only odd to find it there.
                Severity::Warning if found.code != "syntax" => self.warnings.push(found.clone()),
                Severity::Warning | Severity::Error => self.errors.push(found.clone()),
            }
        }
        self
    }
}

fn unsupported(found: &Diagnostic, lines: &[&str]) -> Unsupported {
    let line = (found.line as usize).checked_sub(1).and_then(|at| lines.get(at));
    Unsupported {
        line: found.line,
        construct: found.construct.clone().unwrap_or_else(|| found.code.to_owned()),
        text: line.map_or_else(|| found.message.clone(), |line| excerpt(line)),
        reason: found.message.clone(),
    }
}

fn failed_lines(errors: &[Diagnostic]) -> BTreeSet<u32> {
    errors.iter().map(|error| error.line).filter(|line| *line > 0).collect()
}

/// Files of the layout that are not read, what they hold, and what that means.
const NOT_READ: [(&str, &str, &str); 3] = [
    ("cluster.json", "cluster", "Kubernetes objects are not read: the rules of the nodes count"),
    ("nft.txt", "nft", "nft.json is read in its place"),
    ("listen", "sockets", "`sockets` is read in its place"),
];

const UNKNOWN: &str = "not a file of the snapshot layout";

/// Says what became of each file in a host's directory, in the order of their names.
pub(super) fn host(dir: &Path, snapshot: &Snapshot) -> Vec<Accounted> {
    entries(dir).iter().filter(|entry| *entry != "ns/").map(|entry| file(dir, entry, snapshot)).collect()
}

/// Says what became of each file beside the directories of hosts.
pub(super) fn network(
    dir: &Path,
    hosts: &[String],
    segments: &[Segment],
    diagnostics: &[Diagnostic],
) -> Vec<Accounted> {
    let of_nobody =
        |entry: &&String| !entry.strip_suffix('/').is_some_and(|name| hosts.iter().any(|host| host == name));
    let one = |entry: &String| match base(entry) {
        "topology.json" => topology(dir, segments, diagnostics),
        other => not_read(entry, other),
    };
    entries(dir).iter().filter(of_nobody).map(one).collect()
}

fn topology(dir: &Path, segments: &[Segment], diagnostics: &[Diagnostic]) -> Accounted {
    let Some(read) = read_text(dir, "topology.json", &mut Vec::new()) else {
        return Accounted::unread("topology.json", "topology", "the file can't be read");
    };
    let (unit, total) = rows::segments(&read.text).map_or((Unit::Files, 1), |rows| (Unit::Rows, rows));
    let account = Accounted { items: segments.len(), ..Accounted::new(&read.name, "topology", unit, total) };
    account.noted(&read.path, &read.text, diagnostics.iter())
}

/// The names in a directory, sorted; those of directories end in `/`, hidden ones are left out.
fn entries(dir: &Path) -> Vec<String> {
    let Ok(read) = std::fs::read_dir(dir) else { return Vec::new() };
    let name = |entry: std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() { format!("{name}/") } else { name }
    };
    let mut names: Vec<_> =
        read.filter_map(Result::ok).map(name).filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

fn base(entry: &str) -> &str {
    entry.strip_suffix(".gz").unwrap_or(entry)
}

fn not_read(entry: &str, name: &str) -> Accounted {
    match NOT_READ.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, reason)) => Accounted::unread(entry, kind, reason),
        None => Accounted::unread(entry, "unknown", UNKNOWN),
    }
}

fn file(dir: &Path, entry: &str, snapshot: &Snapshot) -> Accounted {
    let name = base(entry);
    let beside =
        |other: &str| [other.to_owned(), format!("{other}.gz")].iter().any(|file| dir.join(file).is_file());
    if name != entry && dir.join(name).is_file() {
        return Accounted::unread(entry, "unknown", "the file of this name that is not compressed is read");
    }
    let reader: fn(&Source<'_>) -> Accounted = match name {
        "iptables-save" | "ip6tables-save" | "iptables-legacy-save" | "ip6tables-legacy-save" => lines::rules,
        "nft.json" => nft::json,
        "nft.txt" if !beside("nft.json") => nft::text,
        "addr.json" => |source| source.rows("links", source.snapshot.links.len()),
        "route.json" => rows::both_families,
        "route6.json" => |source| source.rows("routes", source.routes(Family::Ip6)),
        "rule.json" => |source| source.rows("policy-rules", source.policy_rules(Family::Ip4)),
        "rule6.json" => |source| source.rows("policy-rules", source.policy_rules(Family::Ip6)),
        "neigh.json" => |source| source.rows("neighbours", source.snapshot.neighbours.len()),
        "bridge-link.json" => |source| source.all_rows("bridge-links"),
        "bridge-fdb.json" => |source| source.all_rows("bridge-fdb"),
        "conntrack" => |source| source.lines("conntrack", source.snapshot.connections.len()),
        "ipvs" => |source| source.bypasses("ipvs", "ipvs"),
        "xfrm" => |source| source.bypasses("xfrm", "xfrm"),
        "tc" => |source| source.bypasses("tc", "tc"),
        "wg" => |source| source.bypasses("wg", "wireguard"),
        "sysctl" => lines::sysctl,
        "sockets" => lines::sockets,
        "listen" if !beside("sockets") => lines::sockets,
        "ipset" => lines::sets,
        "nft-hooks" => lines::hooks,
        "date" => lines::date,
        "name" => lines::name,
        other => return not_read(entry, other),
    };
    let mut unreadable = Vec::new();
    match read_text(dir, name, &mut unreadable) {
        Some(read) => reader(&Source { name: &read.name, path: &read.path, text: &read.text, snapshot }),
        None => Accounted { errors: unreadable, ..Accounted::new(entry, "unknown", Unit::Files, 1) },
    }
}

/// A file's text, and the snapshot it went into.
struct Source<'a> {
    name: &'a str,
    path: &'a str,
    text: &'a str,
    snapshot: &'a Snapshot,
}

impl Source<'_> {
    fn account(&self, kind: &'static str, unit: Unit, total: usize) -> Accounted {
        Accounted::new(self.name, kind, unit, total).noted(
            self.path,
            self.text,
            self.snapshot.diagnostics.iter(),
        )
    }

    /// The account of a JSON list.
    fn rows(&self, kind: &'static str, items: usize) -> Accounted {
        let Some(rows) = rows::cut(self.text) else {
            return self.account(kind, Unit::Files, 1);
        };
        let structure = rows.iter().filter(|row| rows::is_empty(row)).count();
        Accounted { items, structure, ..self.account(kind, Unit::Rows, rows.len()) }
    }

    /// The account of a JSON list whose rows are all items, but for those that could not be read.
    fn all_rows(&self, kind: &'static str) -> Accounted {
        let account = self.rows(kind, 0);
        Accounted { items: account.total - account.structure - account.failed(), ..account }
    }

    /// The account of a text in which what is no item says nothing.
    fn lines(&self, kind: &'static str, items: usize) -> Accounted {
        let account = self.account(kind, Unit::Lines, self.text.lines().count());
        let structure = account.total.saturating_sub(items + account.failed());
        Accounted { items, structure, ..account }
    }

    /// The account of what acts beside netfilter: it is named where a path meets it.
    fn bypasses(&self, file: &str, kind: &'static str) -> Accounted {
        let lines: Vec<&str> = self.text.lines().collect();
        let own: Vec<_> = self.snapshot.bypasses.iter().filter(|bypass| bypass.file == file).collect();
        let mut account = self.lines(kind, own.len());
        account.unsupported.extend(own.iter().map(|bypass| {
            Unsupported {
                line: bypass.line,
                construct: bypass.kind.name().to_owned(),
                text: (bypass.line as usize)
                    .checked_sub(1)
                    .and_then(|at| lines.get(at))
                    .map_or_else(String::new, |line| excerpt(line)),
                reason: "what it does is not known; it is named where a path meets it".to_owned(),
            }
        }));
        account
    }

    /// The listed routes of a family.
    fn routes(&self, family: Family) -> usize {
        let given = self.snapshot.given.has(Item::Routes(family));
        let listed =
            |route: &&natpath_model::Route| Family::of(route.destination.addr()) == family && route.line != 0;
        if given { self.snapshot.routes.iter().filter(listed).count() } else { 0 }
    }

    fn policy_rules(&self, family: Family) -> usize {
        let given = self.snapshot.given.has(Item::PolicyRules(family));
        let own = self.snapshot.policy_rules.iter().filter(|rule| rule.family == family);
        if given { own.count() } else { 0 }
    }

    /// The lines that became rules.
    fn rule_lines(&self) -> BTreeSet<u32> {
        let Some(at) = self.snapshot.files.iter().position(|file| file.name == self.name) else {
            return BTreeSet::new();
        };
        let id = FileId(u16::try_from(at).unwrap_or(u16::MAX));
        let rules = self.snapshot.ruleset.rules().map(|(_, rule)| &rule.origin);
        rules.filter(|origin| origin.file == id).map(|origin| origin.line).collect()
    }
}
