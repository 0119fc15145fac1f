//! [`ast`](super::ast) to the model: tables, chains, and each command as a rule.

mod circle;
mod connection;
mod header;
mod module;
pub(crate) mod names;
mod nat;
mod option;
pub(crate) mod ports;
mod reach;
mod rule;
pub(crate) mod statistic;
mod table;
mod target;
mod target_header;
mod unknown;
mod value;
mod xt;

pub(crate) use connection::TUPLE_OPTIONS;
pub(crate) use xt::sides_text;

/// Words that the writer shares.
pub(crate) mod xt_words {
    pub(crate) use super::xt::{IP6_HEADERS, PACKET_TYPES, WEEKDAYS};
}

/// Names that other formats share.
pub(crate) mod names_of {
    pub(crate) use super::names::icmp;
    pub(crate) use super::value::{port, protocol};
}

pub(crate) use table::{UNREADABLE, hooks_of};

use natpath_model::{Backend, Diagnostic, Family, FileId, Severity, Table};

use super::ast::{Fault, Line, Word};
use super::parse;
use rule::Scratch;
use table::TableReader;

/// Reads the lines of a file one after the other.
pub(super) struct FileReader<'a> {
    file_name: &'a str,
    /// The whole file.
    text: &'a str,
    file: FileId,
    backend: Backend,
    family: Family,
    tables: Vec<Table>,
    current: Option<TableReader<'a>>,
    /// Within a table that could not be opened: its lines are passed over.
    skipping: bool,
    diagnostics: Vec<Diagnostic>,
    words: Vec<Word<'a>>,
    scratch: Scratch,
}

/// A line with its place.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) number: u32,
    /// Where the line begins in the file.
    pub(super) start: usize,
    pub(super) text: &'a str,
}

impl<'a> FileReader<'a> {
    pub(super) fn new(
        file_name: &'a str,
        text: &'a str,
        file: FileId,
        backend: Backend,
        family: Family,
    ) -> Self {
        Self {
            file_name,
            text,
            file,
            backend,
            family,
            tables: Vec::new(),
            current: None,
            skipping: false,
            diagnostics: Vec::new(),
            words: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    pub(super) fn read(mut self) -> (Vec<Table>, Vec<Diagnostic>) {
        let mut place = Place { number: 0, start: 0, text: "" };
        for line in self.text.split_inclusive('\n') {
            place.number = place.number.saturating_add(1);
            place.text = line.strip_suffix('\n').unwrap_or(line);
            if let Err(fault) = self.line(place) {
                self.report(place, Severity::Error, fault, None);
            }
            place.start += line.len();
        }
        self.end(place);
        (self.tables, self.diagnostics)
    }

    fn line(&mut self, place: Place<'a>) -> Result<(), Fault> {
        let line = match parse::line(place.text) {
            Ok(line) => line,
            // Only a line of a table that was not opened is not worth a word.
            Err(_) if self.skipping => return Ok(()),
            Err(fault) => return Err(fault),
        };
        match line {
            Line::Comment(text) => self.comment(place, text),
            Line::Table(name) => return self.open(place, name),
            Line::Commit if self.skipping => self.skipping = false,
            Line::Commit => match self.current.take() {
                Some(table) => self.close(table),
                None => {
                    let message = "`COMMIT` without a table";
                    return Err(Fault::syntax(0, message, "begin the table with `*TABLE`"));
                }
            },
            Line::Chain(_) | Line::Command(_) if self.skipping => {}
            Line::Chain(chain) => self.table("a chain")?.declare(place, &chain)?,
            Line::Command(command) => {
                self.table("a rule")?;
                parse::words(&command, &mut self.words)?;
                let Some(table) = self.current.as_mut() else { return Ok(()) };
                let noted = table.command(place, &command, &self.words, &mut self.scratch)?;
                for unsupported in noted {
                    let fault = Fault {
                        at: unsupported.at,
                        code: "unsupported",
                        message: format!(
                            "`{}` can't be decided: {}",
                            unsupported.construct, unsupported.reason
                        ),
                        help: String::new(),
                    };
                    let construct = Some((unsupported.construct, unsupported.text));
                    self.report(place, Severity::Unsupported, fault, construct);
                }
            }
        }
        Ok(())
    }

    fn table(&mut self, what: &str) -> Result<&mut TableReader<'a>, Fault> {
        let message = format!("{what} without a table");
        self.current.as_mut().ok_or_else(|| Fault::syntax(0, message, "begin the table with `*TABLE`"))
    }

    /// iptables-nft writes a comment for a table that nft has changed in ways it can't print.
    fn comment(&mut self, place: Place<'a>, text: &str) {
        if !(text.starts_with("# Table `") && text.contains("incompatible")) {
            return;
        }
        let fault = Fault {
            at: 0,
            code: "incompatible-table",
            message: "iptables-save could not print a table that nft has changed".to_owned(),
            help: "add `nft -j list ruleset` as nft.json".to_owned(),
        };
        self.report(place, Severity::Unsupported, fault, Some((text.to_owned(), text.to_owned())));
    }

    fn open(&mut self, place: Place<'a>, name: &'a str) -> Result<(), Fault> {
        if let Some(open) = self.current.take() {
            let message = format!("expected `COMMIT` at the end of table {}", open.table.name);
            let help = "the file may be cut off or joined from others";
            self.close(open);
            let fault = Fault { at: 0, code: "missing-commit", message, help: help.to_owned() };
            self.report(place, Severity::Warning, fault, None);
        }
        self.skipping = hooks_of(name).is_none();
        if self.skipping {
            let help = "iptables has the tables raw, mangle, nat, filter and security";
            return Err(Fault::syntax(1, format!("there is no table `{name}`"), help));
        }
        if self.tables.iter().any(|table| table.name == name) {
            let message = format!("table {name} is here a second time, and replaces the first");
            let help = "iptables-restore empties a table when it begins again";
            let fault = Fault { at: 0, code: "duplicate-table", message, help: help.to_owned() };
            self.report(place, Severity::Warning, fault, None);
            self.tables.retain(|table| table.name != name);
        }
        let table = Table {
            backend: self.backend,
            family: self.family.into(),
            name: name.to_owned(),
            chains: Vec::new(),
        };
        self.current = Some(TableReader::new(table, self.family, self.file));
        Ok(())
    }

    fn close(&mut self, table: TableReader<'a>) {
        let (table, circles) = table.finish();
        let looped = circles.into_iter().map(|origin| (origin, circle::fault()));
        for (origin, fault) in looped.chain(reach::faults(&table)) {
            let span = origin.span.start as usize..origin.span.end as usize;
            let text = self.text.get(span).unwrap_or("");
            self.report(Place { number: origin.line, start: 0, text }, Severity::Error, fault, None);
        }
        self.tables.push(table);
    }

    fn end(&mut self, place: Place<'a>) {
        let Some(open) = self.current.take() else { return };
        let message = format!("expected `COMMIT` at the end of table {}", open.table.name);
        let help = "the file may be cut off: save it again";
        self.close(open);
        let fault = Fault { at: 0, code: "missing-commit", message, help: help.to_owned() };
        self.report(place, Severity::Warning, fault, None);
    }

    fn report(
        &mut self,
        place: Place<'a>,
        severity: Severity,
        fault: Fault,
        construct: Option<(String, String)>,
    ) {
        let (construct, text) = match construct {
            Some((construct, text)) => (Some(construct), text),
            None => (None, excerpt(place.text)),
        };
        self.diagnostics.push(Diagnostic {
            severity,
            code: fault.code,
            file: self.file_name.to_owned(),
            line: place.number,
            column: rule::position(fault.at + 1),
            message: fault.message,
            help: fault.help,
            construct,
            text,
        });
    }
}

/// A line as a diagnostic shows it: not a megabyte.
fn excerpt(line: &str) -> String {
    const SHOWN: usize = 400;
    let line = line.trim();
    if line.len() <= SHOWN {
        return line.to_owned();
    }
    let end = (0..=SHOWN).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
    format!("{} ...", &line[..end])
}
