//! Reads one iptables-save file, prints what was noticed and how long it took, beside the time it takes to
//! only cut the text into words and hash each.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::hint::black_box;
use std::time::{Duration, Instant};

use natpath_formats::iptables_save;
use natpath_model::{Backend, Family, FileId};

const TIMES: usize = 11;

fn main() -> std::io::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "iptables-save".to_owned());
    let text = std::fs::read_to_string(&path)?;
    let family = if path.contains("ip6tables") { Family::Ip6 } else { Family::Ip4 };
    let parse = || iptables_save::parse(&text, &path, FileId(0), Backend::Iptables, family);
    let (tables, diagnostics) = parse();
    diagnostics.iter().for_each(|diagnostic| println!("{diagnostic}"));
    let rules: usize = tables.iter().flat_map(|table| &table.chains).map(|chain| chain.rules.len()).sum();
    drop(tables);
    let read = median(parse);
    let split = median(|| {
        let mut hasher = DefaultHasher::new();
        text.split_ascii_whitespace().for_each(|word| word.hash(&mut hasher));
        hasher.finish()
    });
    println!("{rules} rules in {read:?}, words alone in {split:?} (medians of {TIMES})");
    Ok(())
}

/// The median time of some work, without the time to free what it gives.
fn median<T>(mut work: impl FnMut() -> T) -> Duration {
    let mut times: Vec<_> = (0..TIMES)
        .map(|_| {
            let start = Instant::now();
            let result = black_box(work());
            let time = start.elapsed();
            drop(result);
            time
        })
        .collect();
    times.sort();
    times[TIMES / 2]
}
