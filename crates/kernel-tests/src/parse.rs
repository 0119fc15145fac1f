//! Reads scenario files.

mod dump;
mod host;
mod route;

pub(crate) use host::is_of_rules;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use natpath_formats::flows::{self, FlowAction};
use natpath_model::{Diagnostic, Endpoint, InterfaceName, Network, Protocol, Segment, SegmentEnd, Severity};

use natpath_verify::scenario::{Action, PacketStep, Scenario, Step};

/// Reads the text of a scenario file.
///
/// # Errors
/// The first fault, with its line and column.
pub fn scenario(text: &str, file: &str) -> Result<Scenario, Diagnostic> {
    let mut reader = Reader { file, lines: (1..).zip(text.lines()).collect::<Vec<_>>(), at: 0 };
    let mut hosts: Vec<host::Draft> = Vec::new();
    let mut scenario = Scenario {
        file: file.to_owned(),
        text: text.to_owned(),
        title: String::new(),
        rows: Vec::new(),
        network: Network::default(),
        steps: Vec::new(),
        dumps: BTreeMap::new(),
        loads: BTreeMap::new(),
        counters: None,
    };
    while let Some(line) = reader.next() {
        match line.words[0].1 {
            "title:" => scenario.title = line.rest(1).to_owned(),
            "rows:" => scenario.rows = line.words[1..].iter().map(|(_, word)| (*word).to_owned()).collect(),
            "host" => hosts.push(host::read(&line, &mut reader)?),
            "dump" => {
                let dump = dump::read(&line, &mut reader)?;
                scenario.dumps.insert(dump.name.clone(), vec![dump]);
            }
            "segment" => scenario.network.segments.push(segment(&line)?),
            "flow" => {
                let step = flow(&scenario, &line, line.rest(1))?;
                scenario.steps.push(step);
            }
            "wait" | "load" | "forget" | "more" | "close" => {
                let step = flow(&scenario, &line, line.rest(0))?;
                scenario.steps.push(step);
            }
            "packet" => scenario.steps.push(packet(&line)?),
            "counters" => scenario.counters = Some(Vec::new()),
            "=" => expected(&mut scenario, &line)?,
            _ => {
                return Err(
                    line.error(0, "expected host, segment, dump, flow or another line of a flows file, packet, counters, title: or rows:")
                );
            }
        }
    }
    for (place, host) in hosts.iter_mut().enumerate() {
        host.finish(place);
    }
    let macs: Vec<_> = hosts.iter().flat_map(host::Draft::macs).collect();
    scenario.network.hosts = hosts.into_iter().map(|host| host.into_snapshot(&macs)).collect();
    scenario.network.hosts.sort_by(|a, b| a.name.cmp(&b.name));
    join(&mut scenario.network, &reader)?;
    dump::resolve(&mut scenario, &reader)?;
    Ok(scenario)
}

/// A line's words with their columns (in bytes, from 0).
pub(crate) struct Line<'a> {
    file: &'a str,
    pub(crate) number: u32,
    text: &'a str,
    pub(crate) words: Vec<(usize, &'a str)>,
}

impl<'a> Line<'a> {
    fn new(file: &'a str, number: u32, full: &'a str) -> Option<Self> {
        let text = full.split_once(" #").map_or(full, |(text, _)| text);
        let start = full.as_ptr().addr();
        let words: Vec<_> =
            text.split_whitespace().map(|word| (word.as_ptr().addr() - start, word)).collect();
        (!words.is_empty() && !words[0].1.starts_with('#')).then_some(Self { file, number, text, words })
    }

    /// The text from a word on.
    pub(crate) fn rest(&self, word: usize) -> &'a str {
        self.words.get(word).map_or("", |(column, _)| self.text[*column..].trim_end())
    }

    /// A word that must be there.
    pub(crate) fn word(&self, index: usize, what: &str) -> Result<&'a str, Diagnostic> {
        match self.words.get(index) {
            Some((_, word)) => Ok(word),
            None => Err(self.error(index, format!("expected {what}"))),
        }
    }

    /// A word that must be there and be readable.
    pub(crate) fn value<T: FromStr>(&self, index: usize, what: &str) -> Result<T, Diagnostic> {
        let word = self.word(index, what)?;
        word.parse().map_err(|_| self.error(index, format!("expected {what}, found \"{word}\"")))
    }

    /// An interface's name.
    pub(crate) fn interface(&self, index: usize) -> Result<InterfaceName, Diagnostic> {
        let word = self.word(index, "an interface")?;
        InterfaceName::new(word).ok_or_else(|| self.error(index, "an interface name has at most 15 bytes"))
    }

    /// A fault of a word, or of the place after the last.
    pub(crate) fn error(&self, index: usize, message: impl Into<String>) -> Diagnostic {
        let column = self.words.get(index).map_or(self.text.trim_end().len(), |(column, _)| *column);
        Diagnostic {
            severity: Severity::Error,
            code: "syntax",
            file: self.file.to_owned(),
            line: self.number,
            column: u32::try_from(column + 1).unwrap_or(u32::MAX),
            message: message.into(),
            help: String::new(),
            construct: None,
            text: self.text.trim().to_owned(),
        }
    }
}

/// The lines of a file, those without words left out.
pub(crate) struct Reader<'a> {
    file: &'a str,
    lines: Vec<(u32, &'a str)>,
    at: usize,
}

impl<'a> Reader<'a> {
    /// The next line that has words.
    pub(crate) fn next(&mut self) -> Option<Line<'a>> {
        while let Some((number, text)) = self.lines.get(self.at).copied() {
            self.at += 1;
            if let Some(line) = Line::new(self.file, number, text) {
                return Some(line);
            }
        }
        None
    }

    /// Takes back the last line.
    pub(crate) fn back(&mut self) {
        self.at -= 1;
    }

    /// The line with this number.
    pub(crate) fn line(&self, number: u32) -> Line<'a> {
        let text = self.lines.iter().find(|(other, _)| *other == number).map_or("", |(_, text)| text);
        let none = Line { file: self.file, number, text: "", words: Vec::new() };
        Line::new(self.file, number, text).unwrap_or(none)
    }

    /// The next line as it stands, if it satisfies a condition.
    pub(crate) fn next_raw(&mut self, accept: impl FnOnce(&str) -> bool) -> Option<&'a str> {
        let (_, text) = *self.lines.get(self.at)?;
        accept(text.trim()).then(|| {
            self.at += 1;
            text.trim()
        })
    }
}

fn segment(line: &Line<'_>) -> Result<Segment, Diagnostic> {
    let mut ends = Vec::new();
    for index in 1..line.words.len().max(2) {
        ends.push(end(line, index)?);
    }
    Ok(Segment { ends })
}

/// `HOST:INTERFACE`.
pub(crate) fn end(line: &Line<'_>, index: usize) -> Result<SegmentEnd, Diagnostic> {
    let word = line.word(index, "HOST:INTERFACE")?;
    word.split_once(':')
        .and_then(|(host, interface)| {
            Some(SegmentEnd { host: host.to_owned(), interface: InterfaceName::new(interface)? })
        })
        .ok_or_else(|| line.error(index, format!("expected HOST:INTERFACE, found \"{word}\"")))
}

fn flow(scenario: &Scenario, line: &Line<'_>, words: &str) -> Result<Step, Diagnostic> {
    let names = scenario.steps.iter().filter_map(|step| match &step.action {
        Action::Flow(FlowAction::Flow(flow)) => flow.id.as_deref(),
        _ => None,
    });
    let (mut actions, diagnostics) = flows::parse_after(words, line.file, &names.collect::<Vec<_>>());
    if let Some(mut fault) = diagnostics.into_iter().find(|found| found.severity == Severity::Error) {
        let offset = words.as_ptr().addr() - line.text.as_ptr().addr();
        fault.line = line.number;
        fault.column = fault.column.max(1) + u32::try_from(offset).unwrap_or(0);
        return Err(fault);
    }
    let Some(action) = actions.pop() else { return Err(line.error(0, "this line asks for nothing")) };
    Ok(Step {
        line: line.number,
        text: line.rest(0).to_owned(),
        action: Action::Flow(action.action),
        expected: Vec::new(),
    })
}

fn packet(line: &Line<'_>) -> Result<Step, Diagnostic> {
    let end = end(line, 1)?;
    let protocol: Protocol = line.value(2, "a protocol")?;
    let mut packet = PacketStep {
        host: end.host,
        interface: end.interface,
        protocol,
        src: endpoint(line, 3)?,
        dst: endpoint(line, 4)?,
        flags: 0x02,
        ttl: 64,
        bad_checksum: false,
        icmp: if protocol == Protocol::ICMPV6 { (128, 0) } else { (8, 0) },
        about: None,
    };
    for index in 5..line.words.len() {
        let word = line.words[index].1;
        let fault = || {
            line.error(
                index,
                format!("expected flags=, ttl=, checksum=bad, type= or about=, found \"{word}\""),
            )
        };
        let (key, value) = word.split_once('=').ok_or_else(fault)?;
        match key {
            "flags" => packet.flags = flags(value).ok_or_else(fault)?,
            "ttl" => packet.ttl = value.parse().map_err(|_| fault())?,
            "checksum" if value == "bad" => packet.bad_checksum = true,
            "type" => {
                let (kind, code) = value.split_once('/').unwrap_or((value, "0"));
                packet.icmp = (kind.parse().map_err(|_| fault())?, code.parse().map_err(|_| fault())?);
            }
            "about" => {
                let mut parts = value.split(',');
                let mut next = || parts.next().ok_or_else(fault);
                let protocol = next()?.parse().map_err(|_| fault())?;
                let (src, dst) = (next()?, next()?);
                packet.about = Some((
                    protocol,
                    read_endpoint(src).ok_or_else(fault)?,
                    read_endpoint(dst).ok_or_else(fault)?,
                ));
            }
            _ => return Err(fault()),
        }
    }
    Ok(Step {
        line: line.number,
        text: line.rest(0).to_owned(),
        action: Action::Packet(packet),
        expected: Vec::new(),
    })
}

/// TCP flags by their letters.
fn flags(letters: &str) -> Option<u8> {
    letters.bytes().try_fold(0, |flags, letter| {
        Some(
            flags
                | match letter {
                    b'F' => 0x01,
                    b'S' => 0x02,
                    b'R' => 0x04,
                    b'P' => 0x08,
                    b'A' => 0x10,
                    b'-' => 0,
                    _ => return None,
                },
        )
    })
}

fn endpoint(line: &Line<'_>, index: usize) -> Result<Endpoint, Diagnostic> {
    let word = line.word(index, "ADDRESS or ADDRESS:PORT")?;
    read_endpoint(word).ok_or_else(|| line.error(index, format!("expected ADDRESS:PORT, found \"{word}\"")))
}

/// `10.0.0.1:80`, `[fd00::1]:80`, or an address alone.
fn read_endpoint(word: &str) -> Option<Endpoint> {
    if let Ok(address) = word.parse::<IpAddr>() {
        return Some(Endpoint::new(address, 0));
    }
    word.parse::<std::net::SocketAddr>().ok().map(Endpoint::from)
}

fn expected(scenario: &mut Scenario, line: &Line<'_>) -> Result<(), Diagnostic> {
    let text = line.rest(1).to_owned();
    if let Some(counters) = &mut scenario.counters {
        counters.push(text);
        return Ok(());
    }
    let Some(step) = scenario.steps.last_mut() else {
        return Err(line.error(0, "an expected line must follow a flow, a packet or counters"));
    };
    match step.expected.last_mut() {
        Some(_) if text == "or" => step.expected.push(Vec::new()),
        Some(lines) => lines.push(text),
        None => step.expected.push(vec![text]),
    }
    Ok(())
}

/// Checks the segments and makes one of its own for each interface that is in none: nobody is there.
fn join(network: &mut Network, reader: &Reader<'_>) -> Result<(), Diagnostic> {
    let fault = |end: &SegmentEnd, message: &str| {
        let name = format!("{}:{}", end.host, end.interface);
        let line = reader.lines.iter().find_map(|(number, text)| {
            Line::new(reader.file, *number, text).filter(|line| {
                line.words[0].1 == "segment" && line.words.iter().any(|(_, word)| *word == name)
            })
        });
        match line {
            Some(line) => {
                let index = line.words.iter().position(|(_, word)| *word == name).unwrap_or(0);
                line.error(index, message)
            }
            None => Line { file: reader.file, number: 0, text: "", words: Vec::new() }.error(0, message),
        }
    };
    let mut joined: Vec<SegmentEnd> = Vec::new();
    for end in network.segments.iter().flat_map(|segment| &segment.ends) {
        let there = network.host(&end.host).and_then(|host| host.link(end.interface));
        if there.is_none() {
            return Err(fault(end, "no host has this interface"));
        }
        if joined.contains(end) {
            return Err(fault(end, "this interface is already in a segment"));
        }
        joined.push(end.clone());
    }
    for host in &network.hosts {
        for link in host.links.iter().filter(|link| !link.loopback && link.kind.as_deref() != Some("bridge"))
        {
            let end = SegmentEnd { host: host.name.clone(), interface: link.name };
            if !joined.contains(&end) {
                network.segments.push(Segment { ends: vec![end] });
            }
        }
    }
    Ok(())
}
