//! Reads flows: `PROTO SRC DST [KEY=VALUE]... [df]`, and the other lines of a flows file.
//!
//! ```text
//! tcp 198.51.100.2 198.51.100.1:80 id=first ttl=3   # a connection
//! more first client                                 # more data on it
//! close first fin
//! load node1 iptables-save
//! forget node1 tcp 198.51.100.2:40000 198.51.100.1:80
//! wait 30000
//! ```

use std::net::IpAddr;

pub use natpath_model::flow::{CloseHow, Side};
use natpath_model::{Diagnostic, Family, Flow, InterfaceName, Protocol};

use crate::diagnose::syntax;

mod words;

/// A line of a flows file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowLine {
    /// The line's number, from 1.
    pub line: u32,
    /// Its text without the comment.
    pub text: String,
    /// What it asks for.
    pub action: FlowAction,
}

/// What a line of a flows file asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlowAction {
    /// Traces a flow.
    Flow(Flow),
    /// Replaces a host's rules by these dumps.
    Load {
        /// The host.
        host: String,
        /// The files, as written.
        files: Vec<String>,
    },
    /// Deletes a conntrack entry.
    Forget {
        /// The host.
        host: String,
        /// The entry's protocol.
        protocol: Protocol,
        /// The source of its original tuple; no port for any.
        src: (IpAddr, Option<u16>),
        /// The destination of its original tuple; no port for any.
        dst: (IpAddr, Option<u16>),
    },
    /// Sends more data on an open connection.
    More {
        /// The flow's name.
        id: String,
        /// Who sends.
        side: Side,
    },
    /// Ends an open connection.
    Close {
        /// The flow's name.
        id: String,
        /// Who ends it, and how.
        how: CloseHow,
    },
    /// Lets time pass, in milliseconds.
    Wait(u64),
}

/// Why a flow's words could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FlowSyntaxError {
    /// The index of the faulty word; equal to the number of words where one is missing.
    pub word: usize,
    /// What was found and what was expected.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

impl FlowSyntaxError {
    fn new(word: usize, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { word, message: message.into(), help: help.into() }
    }
}

type Result<T> = std::result::Result<T, FlowSyntaxError>;

/// Reads the three words of a flow.
///
/// # Errors
/// If a word is not of the expected form, or the addresses are not of one family.
///
/// # Examples
/// ```
/// use natpath_formats::flows::flow_from_words;
///
/// let flow = flow_from_words("tcp", "-:4000", "[2001:db8::1]:80").unwrap();
/// assert_eq!((flow.src, flow.src_port, flow.dst_port), (None, Some(4000), 80));
/// assert!(flow_from_words("tcp", "192.0.2.1", "192.0.2.2").is_err());
/// ```
pub fn flow_from_words(proto: &str, src: &str, dst: &str) -> Result<Flow> {
    let protocol = words::protocol(0, proto)?;
    let source = words::endpoint(1, src)?;
    let (address, dst_port) = words::destination(2, dst)?;
    let family = Family::of(address);
    if let Some(other) = source.address.or(source.any).filter(|other| Family::of(*other) != family) {
        let message = format!("{other} and {address} are not of one family");
        return Err(FlowSyntaxError::new(2, message, "write two IPv4 or two IPv6 addresses"));
    }
    if protocol == Protocol::ICMPV6 && family == Family::Ip4 {
        let message = format!("icmpv6 can't go to the IPv4 address {address}");
        return Err(FlowSyntaxError::new(0, message, "write `icmp`"));
    }
    let protocol = if protocol.is_icmp() { family.icmp() } else { protocol };
    if protocol.is_icmp() {
        let ports = [(1, source.port), (2, dst_port)];
        if let Some((word, Some(port))) = ports.into_iter().find(|(_, port)| port.is_some()) {
            let message = format!("{protocol} has no ports, found `:{port}`");
            return Err(FlowSyntaxError::new(word, message, "leave the port out"));
        }
    } else if dst_port.is_none() {
        let shown = if address.is_ipv6() { format!("[{address}]:80") } else { format!("{address}:80") };
        let message = format!("expected a destination port after `{dst}`");
        return Err(FlowSyntaxError::new(2, message, format!("write such as `{shown}`")));
    }
    Ok(Flow::new(protocol, source.address, source.port, address, dst_port.unwrap_or(0)))
}

/// Reads a flows file.
#[must_use]
pub fn parse(text: &str, file_name: &str) -> (Vec<FlowLine>, Vec<Diagnostic>) {
    parse_after(text, file_name, &[])
}

/// Reads lines that follow flows with these names.
#[must_use]
pub fn parse_after(text: &str, file_name: &str, names: &[&str]) -> (Vec<FlowLine>, Vec<Diagnostic>) {
    let (mut lines, mut diagnostics) = (Vec::<FlowLine>::new(), Vec::new());
    for (number, full) in (1u32..).zip(text.lines()) {
        let body = full.split('#').next().unwrap_or("");
        let words: Vec<&str> = body.split_whitespace().collect();
        if words.is_empty() {
            continue;
        }
        let read = action(&words).and_then(|action| check_id(names, &lines, &words, action));
        match read {
            Ok(action) => lines.push(FlowLine { line: number, text: body.trim().to_owned(), action }),
            Err(error) => {
                let place = (number, column(body, &words, error.word));
                diagnostics.push(syntax(file_name, place, error.message, &error.help, full));
            }
        }
    }
    (lines, diagnostics)
}

/// Where a word begins in its line; the end of the line's text for a word that is missing.
fn column(line: &str, words: &[&str], word: usize) -> u32 {
    let at = match words.get(word) {
        Some(word) => (word.as_ptr() as usize).saturating_sub(line.as_ptr() as usize),
        None => line.trim_end().len(),
    };
    u32::try_from(at + 1).unwrap_or(u32::MAX)
}

/// Flows have different names, and a line about a flow names one that came before.
fn check_id(names: &[&str], lines: &[FlowLine], words: &[&str], action: FlowAction) -> Result<FlowAction> {
    let known = |id: &str| {
        let is_named = |line: &FlowLine| matches!(&line.action, FlowAction::Flow(flow) if flow.id.as_deref() == Some(id));
        names.contains(&id) || lines.iter().any(is_named)
    };
    match &action {
        FlowAction::Flow(Flow { id: Some(id), .. }) if known(id) => {
            let word = words.iter().position(|word| word.strip_prefix("id=") == Some(id)).unwrap_or(0);
            Err(FlowSyntaxError::new(
                word,
                format!("a flow named {id} is above already"),
                "give it another name",
            ))
        }
        FlowAction::More { id, .. } | FlowAction::Close { id, .. } if !known(id) => {
            let help = format!("write `id={id}` at the end of the flow's line");
            Err(FlowSyntaxError::new(1, format!("no flow above is named {id}"), help))
        }
        _ => Ok(action),
    }
}

fn action(words: &[&str]) -> Result<FlowAction> {
    match words[0] {
        "load" => load(words),
        "forget" => forget(words),
        "more" => more(words),
        "close" => close(words),
        "wait" => {
            exactly(words, 2, "wait MILLISECONDS")?;
            words::number(1, words[1], u64::MAX, "milliseconds").map(FlowAction::Wait)
        }
        _ => flow(words).map(FlowAction::Flow),
    }
}

fn exactly(words: &[&str], count: usize, form: &str) -> Result<()> {
    match words.len() {
        length if length == count => Ok(()),
        length => {
            let message = format!("expected `{form}`");
            Err(FlowSyntaxError::new(length.min(count), message, "one such line for each"))
        }
    }
}

fn flow(words: &[&str]) -> Result<Flow> {
    words::protocol(0, words[0])?;
    let [proto, src, dst, options @ ..] = words else {
        let message = "expected `PROTO SRC DST [KEY=VALUE]...`";
        let help = "write such as `tcp 192.0.2.1 192.0.2.2:80`; `-` stands for any source";
        return Err(FlowSyntaxError::new(words.len(), message, help));
    };
    let mut flow = flow_from_words(proto, src, dst)?;
    for (word, option) in (3..).zip(options) {
        if words[3..word].iter().any(|other| other.split('=').next() == option.split('=').next()) {
            return Err(FlowSyntaxError::new(
                word,
                format!("`{option}` is the second of its kind"),
                "leave one out",
            ));
        }
        words::option(&mut flow, word, option)?;
    }
    Ok(flow)
}

fn load(words: &[&str]) -> Result<FlowAction> {
    let [_, host, files @ ..] = words else {
        return Err(FlowSyntaxError::new(1, "expected `load HOST FILE...`", "name the host and its dumps"));
    };
    if files.is_empty() {
        return Err(FlowSyntaxError::new(2, "expected `load HOST FILE...`", "name the dumps to load"));
    }
    let files = files.iter().map(|file| (*file).to_owned()).collect();
    Ok(FlowAction::Load { host: (*host).to_owned(), files })
}

fn forget(words: &[&str]) -> Result<FlowAction> {
    exactly(words, 5, "forget HOST PROTO SRC DST")?;
    let source = words::endpoint(3, words[3])?;
    let src = source.address.ok_or_else(|| {
        FlowSyntaxError::new(
            3,
            format!("expected an address, found `{}`", words[3]),
            "write the entry's source",
        )
    })?;
    let dst = words::destination(4, words[4])?;
    if Family::of(src) != Family::of(dst.0) {
        let message = format!("{src} and {} are not of one family", dst.0);
        return Err(FlowSyntaxError::new(4, message, "write two IPv4 or two IPv6 addresses"));
    }
    let protocol = words::protocol(2, words[2])?;
    let protocol = if protocol.is_icmp() { Family::of(src).icmp() } else { protocol };
    Ok(FlowAction::Forget { host: words[1].to_owned(), protocol, src: (src, source.port), dst })
}

fn more(words: &[&str]) -> Result<FlowAction> {
    exactly(words, 3, "more ID client|server")?;
    let side = match words[2] {
        "client" => Side::Client,
        "server" => Side::Server,
        other => {
            let message = format!("expected `client` or `server`, found `{other}`");
            return Err(FlowSyntaxError::new(2, message, "say who sends"));
        }
    };
    Ok(FlowAction::More { id: words[1].to_owned(), side })
}

fn close(words: &[&str]) -> Result<FlowAction> {
    exactly(words, 3, "close ID fin|rst|server-fin|server-rst")?;
    let how = match words[2] {
        "fin" => CloseHow::Fin,
        "rst" => CloseHow::Rst,
        "server-fin" => CloseHow::ServerFin,
        "server-rst" => CloseHow::ServerRst,
        other => {
            let message = format!("expected `fin`, `rst`, `server-fin` or `server-rst`, found `{other}`");
            return Err(FlowSyntaxError::new(2, message, "say who ends it, and how"));
        }
    };
    Ok(FlowAction::Close { id: words[1].to_owned(), how })
}

fn interface(word: usize, name: &str) -> Result<InterfaceName> {
    InterfaceName::new(name).ok_or_else(|| {
        let message = format!("expected an interface name of 1 to 15 bytes, found `{name}`");
        FlowSyntaxError::new(word, message, "write such as eth0")
    })
}

#[cfg(test)]
mod tests;
