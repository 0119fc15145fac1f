//! The findings and hints of every scenario, held against a list that was read line by line: what the engine calls a
//! fault must be one, and a faultless flow must have none.

use std::fmt::Write as _;
use std::path::Path;

use natpath_verify::judge::engine;
use natpath_verify::scenario::Action;

#[test]
fn findings_of_all_scenarios() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files: Vec<_> = std::fs::read_dir(root.join("scenarios"))
        .expect("scenarios/ is part of the repository")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "scenario"))
        .collect();
    files.sort();
    let mut found = String::new();
    for file in &files {
        let name = file.file_stem().expect("a file name").to_string_lossy();
        let text = std::fs::read_to_string(file).expect("a text file");
        let scenario = natpath_kernel_tests::parse::scenario(&text, &name).expect("a readable scenario");
        let said = engine::run(&scenario).expect("a scenario whose flows start somewhere");
        for (step, trace) in scenario.steps.iter().zip(&said.traces) {
            // A lone frame is no flow whose answer anybody waits for.
            let Action::Flow(_) = &step.action else { continue };
            for path in trace.iter().flat_map(|trace| &trace.paths) {
                let findings = path
                    .findings
                    .iter()
                    .map(|finding| (finding.code, finding.host, &finding.headline, &finding.fix));
                let hints = path.hints.iter().map(|hint| ("hint", hint.host, &hint.headline, &hint.fix));
                for (code, host, headline, fix) in findings.chain(hints) {
                    let host = &scenario.network.hosts[host.0 as usize].name;
                    let line = format!("{name}: {}: {code} on {host}: {headline}", step.text.trim());
                    if found.lines().any(|known| known == line) {
                        continue;
                    }
                    writeln!(found, "{line}").expect("writing to a string");
                    for command in fix.iter().flat_map(|fix| fix.lines()) {
                        writeln!(found, "    {command}").expect("writing to a string");
                    }
                }
            }
        }
    }
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/findings.txt");
    if std::env::var_os("NATPATH_BLESS").is_some() {
        std::fs::write(&expected, &found).expect("the list can be written");
    }
    let known = std::fs::read_to_string(&expected).unwrap_or_default();
    for (line, known) in found.lines().zip(known.lines()) {
        assert_eq!(line, known, "set NATPATH_BLESS=1 to write the list anew, then read the difference");
    }
    assert_eq!(found.lines().count(), known.lines().count(), "set NATPATH_BLESS=1 to write the list anew");
    assert!(!files.is_empty() && !found.is_empty());
}
