//! As much of `nft list ruleset` as names tell: tables, chains, and each rule's text, comment and call.

use std::path::Path;

use natpath_model::{
    Backend, Chain, ChainId, ChainKind, FileId, Origin, Rule, Snapshot, SourceFile, Statement, Table,
    TableFamily, Verdict,
};

/// Adds the tables of a directory's nft.txt that its other files have not given.
pub(crate) fn add(host: &mut Snapshot, dir: &Path) {
    let Ok(text) = std::fs::read_to_string(dir.join("nft.txt")) else { return };
    let file = FileId(u16::try_from(host.files.len()).expect("few files"));
    for table in (Reader { file, text: &text }).tables() {
        let same = |other: &Table| other.family == table.family && other.name == table.name;
        if !host.ruleset.tables.iter().any(same) {
            host.ruleset.tables.push(table);
        }
    }
    host.files.push(SourceFile { name: "nft.txt".to_owned(), text: text.into() });
}

struct Reader<'a> {
    file: FileId,
    text: &'a str,
}

impl Reader<'_> {
    fn tables(&self) -> Vec<Table> {
        let mut tables: Vec<(bool, Table)> = Vec::new();
        let mut in_chain = false;
        for (number, line) in (1..).zip(self.text.lines()) {
            let words: Vec<_> = line.split_whitespace().collect();
            match (&words[..], tables.last_mut()) {
                (["table", family, name, ..], _) => tables.push(table(family, name)),
                (["chain", name, "{", ..], Some((_, table))) => {
                    in_chain = true;
                    table.chains.push(self.chain(name, number, line));
                }
                (["}", ..], _) => in_chain = false,
                (["type" | "comment" | "policy", ..] | [], _) => {}
                (_, Some((_, table))) if in_chain => {
                    let rule = self.rule(number, line);
                    table.chains.last_mut().expect("a chain").rules.push(rule);
                }
                _ => {}
            }
        }
        tables.into_iter().filter(|(known, _)| *known).map(|(_, table)| self.with_calls(table)).collect()
    }

    fn chain(&self, name: &str, number: u32, line: &str) -> Chain {
        let origin = self.origin(number, line);
        Chain { name: name.to_owned(), kind: ChainKind::Regular, rules: Vec::new(), origin }
    }

    fn rule(&self, number: u32, line: &str) -> Rule {
        let text = line.split(" # handle").next().unwrap_or(line).trim();
        let comment =
            text.split_once(" comment \"").map(|(_, comment)| comment.trim_end_matches('"').to_owned());
        let origin = self.origin(number, text);
        Rule { matches: Vec::new(), statements: Vec::new(), counter: None, comment, handle: None, origin }
    }

    /// The place of a part of the text.
    fn origin(&self, line: u32, part: &str) -> Origin {
        let start = part.as_ptr() as usize - self.text.as_ptr() as usize;
        Origin { file: self.file, line, span: start as u32..(start + part.len()) as u32 }
    }

    fn with_calls(&self, mut table: Table) -> Table {
        let names: Vec<_> = table.chains.iter().map(|chain| chain.name.clone()).collect();
        let id =
            |name: &str| (0..).zip(&names).find(|(_, other)| *other == name).map(|(index, _)| ChainId(index));
        for rule in table.chains.iter_mut().flat_map(|chain| &mut chain.rules) {
            let text = &self.text[rule.origin.span.start as usize..rule.origin.span.end as usize];
            let words: Vec<_> = text.split_whitespace().collect();
            let target = words.windows(2).find_map(|pair| match pair {
                ["jump" | "goto", name] => id(name),
                _ => None,
            });
            rule.statements.extend(target.map(|target| Statement::Verdict(Verdict::Jump(target))));
        }
        table
    }
}

/// A table, and whether it is of a family that the model has.
fn table(family: &str, name: &str) -> (bool, Table) {
    let (known, family) = match family {
        "ip" => (true, TableFamily::Ip),
        "ip6" => (true, TableFamily::Ip6),
        "inet" => (true, TableFamily::Inet),
        _ => (false, TableFamily::Inet),
    };
    (known, Table { backend: Backend::Nft, family, name: name.to_owned(), chains: Vec::new() })
}
