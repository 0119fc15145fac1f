//! `ip -j rule`: policy routing rules.

use std::collections::BTreeMap;

use ipnet::IpNet;
use natpath_model::{Diagnostic, Family, InterfaceName, PolicyAction, PolicyRule, Protocol};
use serde::Deserialize;
use serde_json::Value;

use super::words::{Word, interface, prefix, present, table, tos};
use super::{Row, each};

#[derive(Deserialize)]
struct RuleRow {
    #[serde(default)]
    priority: u32,
    #[serde(default, deserialize_with = "present")]
    not: bool,
    src: Option<String>,
    srclen: Option<u8>,
    dst: Option<String>,
    dstlen: Option<u8>,
    iif: Option<String>,
    oif: Option<String>,
    fwmark: Option<Word>,
    fwmask: Option<Word>,
    tos: Option<Word>,
    ipproto: Option<Word>,
    sport: Option<u16>,
    sport_start: Option<u16>,
    sport_end: Option<u16>,
    dport: Option<u16>,
    dport_start: Option<u16>,
    dport_end: Option<u16>,
    uid_start: Option<u32>,
    uid_end: Option<u32>,
    suppress_prefixlen: Option<i64>,
    table: Option<Word>,
    goto: Option<u32>,
    action: Option<String>,
    #[serde(default, deserialize_with = "present")]
    nop: bool,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// Keys that say nothing about which packets a rule takes. `unresolved` is noted by the goto itself.
const NO_CONDITIONS: [&str; 4] = ["protocol", "iif_detached", "oif_detached", "unresolved"];

/// Reads the policy rules of a family in listed order. A condition that natpath does not model is kept in
/// [`PolicyRule::opaque`].
///
/// # Errors
/// If the text is not a JSON list.
pub fn parse(
    text: &str,
    file_name: &str,
    family: Family,
) -> Result<(Vec<PolicyRule>, Vec<Diagnostic>), Diagnostic> {
    let mut noted = Vec::new();
    let (rules, mut diagnostics) = each(text, file_name, |row| {
        let rule = rule(row, &row.read(file_name)?, file_name, family)?;
        if let Some(opaque) = &rule.opaque {
            noted.push(unsupported(row, opaque, file_name));
        }
        Ok(rule)
    })?;
    diagnostics.append(&mut noted);
    Ok((rules, diagnostics))
}

fn unsupported(row: &Row<'_>, opaque: &str, file_name: &str) -> Diagnostic {
    let mut diagnostic =
        row.fault(file_name, format!("the condition `{opaque}` of a policy rule can't be decided"), "");
    diagnostic.severity = natpath_model::Severity::Unsupported;
    diagnostic.code = "unsupported";
    diagnostic.construct = Some(format!("ip rule {opaque}"));
    diagnostic
}

fn rule(row: &Row<'_>, read: &RuleRow, file_name: &str, family: Family) -> Result<PolicyRule, Diagnostic> {
    let fault = |what: &str, found: &str| {
        let message = format!("expected {what}, found `{found}`");
        row.fault(file_name, message, "is this the output of `ip -j rule`?")
    };
    let net = |text: &Option<String>, length| -> Result<Option<IpNet>, Diagnostic> {
        let Some(text) = text.as_deref().filter(|text| *text != "all") else { return Ok(None) };
        prefix(text, length, family).map(Some).ok_or_else(|| fault("a prefix", text))
    };
    let device = |name: &Option<String>| -> Result<Option<InterfaceName>, Diagnostic> {
        name.as_deref()
            .map(|name| interface(name).ok_or_else(|| fault("an interface name", name)))
            .transpose()
    };
    let number = |word: &Word| word.number().ok_or_else(|| fault("a number", &format!("{word:?}")));
    let mark = match &read.fwmark {
        None => None,
        Some(mark) => Some((number(mark)?, read.fwmask.as_ref().map_or(Ok(u32::MAX), number)?)),
    };
    let tos = match &read.tos {
        None => None,
        Some(word) => Some(tos(word).ok_or_else(|| fault("a type of service", &format!("{word:?}")))?),
    };
    let protocol = match &read.ipproto {
        None => None,
        Some(word) => Some(protocol(word).ok_or_else(|| fault("a protocol", &format!("{word:?}")))?),
    };
    let ports = |one: Option<u16>, start: Option<u16>, end: Option<u16>| {
        one.map(|port| (port, port)).or(start.zip(end))
    };
    let (action, mut opaque) = action(read);
    opaque.extend(read.others.iter().filter(|(key, _)| !NO_CONDITIONS.contains(&key.as_str())).map(words));
    Ok(PolicyRule {
        inverted: read.not,
        src: net(&read.src, read.srclen)?,
        dst: net(&read.dst, read.dstlen)?,
        in_interface: device(&read.iif)?,
        out_interface: device(&read.oif)?,
        mark,
        tos,
        protocol,
        src_ports: ports(read.sport, read.sport_start, read.sport_end),
        dst_ports: ports(read.dport, read.dport_start, read.dport_end),
        uids: read.uid_start.zip(read.uid_end),
        suppress_prefix_length: read.suppress_prefixlen.and_then(|length| u8::try_from(length).ok()),
        opaque: (!opaque.is_empty()).then(|| opaque.join(" ")),
        ..PolicyRule::all(family, read.priority, action)
    })
}

/// What a rule does, and what of it is not modelled.
fn action(read: &RuleRow) -> (PolicyAction, Vec<String>) {
    let action = match read.action.as_deref() {
        Some("blackhole") => Some(PolicyAction::Blackhole),
        Some("unreachable") => Some(PolicyAction::Unreachable),
        Some("prohibit") => Some(PolicyAction::Prohibit),
        Some("nop") => Some(PolicyAction::Nop),
        Some("lookup" | "to_tbl") | None => None,
        Some(other) => return (PolicyAction::Nop, vec![other.to_owned()]),
    };
    let action = action
        .or(read.goto.map(PolicyAction::Goto))
        .or(read.nop.then_some(PolicyAction::Nop))
        .or(read.table.as_ref().map(|word| PolicyAction::Table(table(word))));
    match action {
        Some(action) => (action, Vec::new()),
        None if read.others.contains_key("l3mdev") => (PolicyAction::Nop, Vec::new()),
        None => (PolicyAction::Nop, vec!["no action".to_owned()]),
    }
}

fn words((key, value): (&String, &Value)) -> String {
    match value {
        Value::Null => key.clone(),
        Value::String(text) => format!("{key} {text}"),
        other => format!("{key} {other}"),
    }
}

fn protocol(word: &Word) -> Option<u8> {
    match word {
        Word::Number(number) => u8::try_from(*number).ok(),
        Word::Text(name) => name.parse::<Protocol>().ok().map(|protocol| protocol.0),
    }
}
