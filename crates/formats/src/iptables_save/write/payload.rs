//! Matches on the packet's bytes.

use natpath_model::payload::{Instruction, TextSearch, U32, U32Step};

use super::matches::bang;
use super::{put, quote};

/// Bytes that can't be printed are written in hexadecimal (libxt_string.c, `is_hex_string`).
pub(super) fn write_text(out: &mut String, search: &TextSearch) {
    out.push_str(bang(search.negated));
    let is_plain = search.pattern.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ')
        && !search.pattern.ends_with(b" ");
    match str::from_utf8(&search.pattern) {
        Ok(text) if is_plain => {
            out.push_str(" --string ");
            quote(out, text);
        }
        _ => {
            out.push_str(" --hex-string \"|");
            search.pattern.iter().for_each(|byte| put(out, format_args!("{byte:02x}")));
            out.push_str("|\"");
        }
    }
    out.push_str(" --algo ");
    quote(out, &search.algorithm);
    for (option, offset, default) in [("--from", search.from, 0), ("--to", search.to, TextSearch::END)] {
        if offset != default {
            put(out, format_args!(" {option} {offset}"));
        }
    }
    if search.ignore_case {
        out.push_str(" --icase");
    }
}

pub(super) fn write_u32(out: &mut String, condition: &U32) {
    put(out, format_args!("{} --u32 \"", bang(condition.negated)));
    for (index, test) in condition.tests.iter().enumerate() {
        put(out, format_args!("{}{:#x}", if index == 0 { "" } else { "&&" }, test.start));
        for (step, number) in &test.steps {
            let sign = U32Step::SIGNS.iter().find(|(_, known)| known == step).map_or("", |(sign, _)| sign);
            put(out, format_args!("{sign}{number:#x}"));
        }
        for (index, (low, high)) in test.ranges.iter().enumerate() {
            put(out, format_args!("{}{low:#x}", if index == 0 { '=' } else { ',' }));
            if low != high {
                put(out, format_args!(":{high:#x}"));
            }
        }
    }
    out.push('"');
}

pub(super) fn write_program(out: &mut String, program: &[Instruction]) {
    put(out, format_args!(" --bytecode \"{}", program.len()));
    for Instruction { code, if_true, if_false, k } in program {
        put(out, format_args!(",{code} {if_true} {if_false} {k}"));
    }
    out.push('"');
}
