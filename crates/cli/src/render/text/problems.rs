//! The screens of real users' problems: each page `scenarios/pNN-NAME.scenario`, which the kernel judges, has
//! beside it the answer that natpath gives, `pNN-NAME.screen`. Each was read as the user would whose
//! connection is broken: does it name the cause, and what to do?
//!
//! `NATPATH_BLESS=1 cargo test -p natpath problems` writes them anew.

use std::fs;
use std::path::{Path, PathBuf};

use natpath_engine::Session;
use natpath_formats::flows::FlowAction;
use natpath_kernel_tests::parse;
use natpath_verify::scenario::Action;

use super::{Layout, render};
use crate::render::view::Traced;

/// The lines of a screen: what a reader sees of a flow without scrolling.
const SCREEN: usize = 40;

#[test]
fn every_problem_has_its_screen() {
    let pages = pages();
    assert!(!pages.is_empty(), "scenarios/ holds no problem");
    let faults: Vec<_> = pages.iter().flat_map(|page| faults(page)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The pages of problems, by name.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let entries = fs::read_dir(root).expect("scenarios/ is part of the repository");
    let is_problem = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.strip_prefix('p').is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()))
            && name.ends_with(".scenario")
    };
    let mut pages: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_problem).collect();
    pages.sort();
    pages
}

/// What is wrong with the screen of a page.
fn faults(page: &Path) -> Vec<String> {
    let (screen, kept) = (screen(page), page.with_extension("screen"));
    let mut faults = Vec::new();
    for flow in screen.split("\n\nflow ").filter(|flow| !flow.contains("VERDICT  works")) {
        let lines = flow.trim_end().lines().count();
        if lines > SCREEN {
            faults.push(format!("{}: {lines} lines, more than a screen", kept.display()));
        }
    }
    if std::env::var_os("NATPATH_BLESS").is_some() {
        fs::write(&kept, &screen).expect("a screen is written");
        return faults;
    }
    let expected = fs::read_to_string(&kept).unwrap_or_default();
    let differing = screen.lines().zip(expected.lines()).position(|(found, expected)| found != expected);
    if screen != expected {
        let line = differing.unwrap_or(expected.lines().count().min(screen.lines().count()));
        faults.push(format!(
            "{}:{}: expected\n    {}\nbut found\n    {}",
            kept.display(),
            line + 1,
            expected.lines().nth(line).unwrap_or("(the end)"),
            screen.lines().nth(line).unwrap_or("(the end)"),
        ));
    }
    faults
}

/// What natpath prints of a page's flows.
fn screen(page: &Path) -> String {
    let text = fs::read_to_string(page).expect("a page");
    let name = page.display().to_string();
    let scenario = parse::scenario(&text, &name).unwrap_or_else(|fault| panic!("{fault}"));
    let mut session = Session::new(&scenario.network);
    let mut traces = Vec::new();
    for step in &scenario.steps {
        let Action::Flow(FlowAction::Flow(flow)) = &step.action else { continue };
        let trace = session.trace(flow).unwrap_or_else(|error| panic!("{name}:{}: {error}", step.line));
        let text = step.text.strip_prefix("flow ").unwrap_or(&step.text).to_owned();
        traces.push(Traced {
            flow: flow.clone(),
            more: None,
            text,
            trace,
            loaded: Vec::new(),
            before: Vec::new(),
        });
    }
    let layout = Layout { verbose: false, width: Some(100) };
    anstream::adapter::strip_str(&render(&scenario.network, &traces, &[], layout)).to_string()
}
