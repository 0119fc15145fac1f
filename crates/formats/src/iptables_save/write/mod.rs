//! The model to iptables-save text.

mod matches;
mod payload;
mod statements;
mod xt;

use std::fmt::Write;

use natpath_model::{Chain, ChainKind, Counter, Family, Policy, Rule, Statement, Table, TableFamily};

use super::lower::{UNREADABLE, hooks_of};

/// Writes tables of one backend and family, so that [`parse`](fn@super::parse) gives them back but for
/// origins.
///
/// That holds for tables as `parse` makes them. What iptables has no words for is written as a comment
/// line: tables of nft's own, and several statements in one rule.
#[must_use]
pub fn write(tables: &[Table]) -> String {
    let mut out = String::new();
    for table in tables {
        if hooks_of(&table.name).is_none() || table.family == TableFamily::Inet {
            line(&mut out, format_args!("# table {} {} is not of iptables", table.family, table.name));
            continue;
        }
        write_table(&mut out, table);
    }
    out
}

fn write_table(out: &mut String, table: &Table) {
    line(out, format_args!("*{}", table.name));
    for chain in &table.chains {
        write_declaration(out, chain);
    }
    let family = if table.family == TableFamily::Ip6 { Family::Ip6 } else { Family::Ip4 };
    for chain in &table.chains {
        for rule in &chain.rules {
            write_rule(out, table, family, chain, rule);
        }
    }
    out.push_str("COMMIT\n");
}

fn write_declaration(out: &mut String, chain: &Chain) {
    let (policy, counter) = match chain.kind {
        ChainKind::Base { policy: Policy::Accept, counter, .. } => ("ACCEPT", counter),
        ChainKind::Base { policy: Policy::Drop, counter, .. } => ("DROP", counter),
        ChainKind::Regular => ("-", Counter::default()),
    };
    line(out, format_args!(":{} {policy} [{}:{}]", chain.name, counter.packets, counter.bytes));
}

fn write_rule(out: &mut String, table: &Table, family: Family, chain: &Chain, rule: &Rule) {
    if let Some(counter) = rule.counter {
        put(out, format_args!("[{}:{}] ", counter.packets, counter.bytes));
    }
    if let Some(text) = rule.statements.iter().find_map(unreadable_text) {
        return line(out, format_args!("{text}"));
    }
    put(out, format_args!("-A {}", chain.name));
    matches::write(out, family, &rule.matches);
    if let Some(comment) = &rule.comment {
        out.push_str(" -m comment --comment ");
        quote(out, comment);
    }
    for statement in &rule.statements {
        statements::write(out, table, family, statement);
    }
    out.push('\n');
}

/// The whole text of a rule that could not be read.
fn unreadable_text(statement: &Statement) -> Option<&str> {
    match statement {
        Statement::Opaque(opaque) if opaque.construct == UNREADABLE => Some(&opaque.text),
        _ => None,
    }
}

/// Writes a word as iptables-save does: in quotes if it has characters that need them (xtables.c,
/// `xtables_save_string`).
fn quote(out: &mut String, text: &str) {
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':' | b'/' | b'@' | b'%')
    };
    if !text.is_empty() && !text.starts_with('-') && text.bytes().all(plain) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\' | '\'') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

/// Adds formatted text; a `String` takes everything.
fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _infallible = out.write_fmt(text);
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    put(out, text);
    out.push('\n');
}
