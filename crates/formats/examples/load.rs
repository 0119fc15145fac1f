//! Reads one iptables-save file and prints what was noticed and how long it took.

use std::time::Instant;

use natpath_formats::iptables_save;
use natpath_model::{Backend, Family, FileId};

fn main() -> std::io::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "iptables-save".to_owned());
    let text = std::fs::read_to_string(&path)?;
    let family = if path.contains("ip6tables") { Family::Ip6 } else { Family::Ip4 };
    let mut times = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        let read = iptables_save::parse(&text, &path, FileId(0), Backend::Iptables, family);
        times.push(start.elapsed());
        if times.len() == 5 {
            let rules: usize =
                read.0.iter().flat_map(|table| &table.chains).map(|chain| chain.rules.len()).sum();
            read.1.iter().for_each(|diagnostic| println!("{diagnostic}"));
            times.sort();
            println!("{rules} rules in {:?} (median of 5)", times[2]);
        }
    }
    Ok(())
}
