//! The experiments that scenarios repeat, held against the list of those that rules of iptables can express:
//! none may be lost, and no scenario may name one that is not listed.

use std::collections::BTreeSet;
use std::path::Path;

/// A line of the list: an experiment, or one that no scenario can repeat, with the reason.
const LIST: &str = include_str!("data/rows.txt");

#[test]
fn every_experiment_has_a_scenario() {
    let listed = LIST.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let (out, wanted): (Vec<&str>, Vec<&str>) = listed.partition(|line| line.starts_with('-'));
    let wanted: BTreeSet<&str> = wanted.iter().flat_map(|line| line.split_whitespace()).collect();
    let out: BTreeSet<&str> =
        out.iter().filter_map(|line| line.trim_start_matches('-').split_whitespace().next()).collect();
    let named = named();
    let covered: BTreeSet<&str> = named.iter().map(String::as_str).collect();
    let missing: Vec<_> = wanted.difference(&covered).collect();
    assert!(missing.is_empty(), "no scenario repeats {missing:?}");
    let unknown: Vec<_> = covered.difference(&wanted).collect();
    assert!(unknown.is_empty(), "data/rows.txt does not list {unknown:?}, which scenarios name");
    let both: Vec<_> = wanted.intersection(&out).collect();
    assert!(both.is_empty(), "data/rows.txt lists {both:?} twice");
}

/// The experiments that scenarios and cases of refused rules name.
fn named() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [root.join("../../scenarios"), root.join("tests/data")];
    let files = folders.iter().flat_map(|folder| {
        std::fs::read_dir(folder).expect("the folder is part of the repository").flatten()
    });
    let mut named = BTreeSet::new();
    for file in files.map(|entry| entry.path()) {
        let is_read = file.extension().is_some_and(|extension| extension == "scenario")
            || file.file_name().is_some_and(|name| name == "refused.txt");
        if is_read {
            let text = std::fs::read_to_string(&file).expect("a text file");
            let rows = text.lines().filter_map(|line| line.strip_prefix("rows:"));
            named.extend(rows.flat_map(str::split_whitespace).filter(|row| *row != "-").map(str::to_owned));
        }
    }
    named
}
