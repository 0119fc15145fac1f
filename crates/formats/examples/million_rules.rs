//! Reads a million rules of iptables, and says how long that took and the most memory it had (Linux only).
//!
//! `cargo run --release -p natpath-formats --example million_rules [RULES]`

use std::fmt::Write as _;
use std::time::Instant;

use natpath_formats::iptables_save;
use natpath_model::{Backend, Family, FileId};

fn main() {
    let rules = std::env::args().nth(1).and_then(|number| number.parse().ok()).unwrap_or(1_000_000u32);
    let mut text = String::from("*filter\n:FORWARD ACCEPT [0:0]\n");
    for number in 0..rules {
        let [a, b, c, d] = number.to_be_bytes();
        // Writing to a string can't fail.
        let _ = writeln!(text, "-A FORWARD -s 1{a}.{b}.{c}.{d}/32 -p tcp -m tcp --dport 80 -j ACCEPT");
    }
    text.push_str("COMMIT\n");
    let began = Instant::now();
    let (tables, diagnostics) =
        iptables_save::parse(&text, "iptables-save", FileId(0), Backend::Iptables, Family::Ip4);
    let took = began.elapsed();
    let read: usize = tables.iter().flat_map(|table| &table.chains).map(|chain| chain.rules.len()).sum();
    println!("{read} rules of {} bytes in {took:?}, {} diagnostics", text.len(), diagnostics.len());
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(line) = status.lines().find(|line| line.starts_with("VmHWM")) {
        println!("{line}");
    }
}
