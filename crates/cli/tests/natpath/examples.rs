//! Every directory of `examples/`, and of `tests/data` what this machine's kernel can't be asked, is a network
//! with a file `flows` and the answers expected for it, as text and as JSON.
//! `NATPATH_BLESS=1 cargo test -p natpath examples` writes the answers anew.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{natpath, root};

#[test]
fn every_example_gives_its_expected_answers() {
    let networks = networks();
    assert!(!networks.is_empty(), "examples/ holds no network with a file `flows`");
    let faults: Vec<_> = networks.iter().flat_map(|network| faults(network)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_readme_shows_what_is_printed() {
    let file = root().join("README.md");
    let readme = fs::read_to_string(&file).expect("a readme");
    let words = "trace --net examples/double-dnat tcp 198.51.100.2 198.51.100.1:80";
    let begin = format!("```console\n$ cargo run --release -- {words}\n");
    let (before, rest) = readme.split_once(&begin).expect("the command");
    let (shown, after) = rest.split_once("```").expect("the end of the block");
    let printed = natpath(words).stdout;
    if std::env::var_os("NATPATH_BLESS").is_some() {
        fs::write(&file, format!("{before}{begin}{printed}```{after}")).expect("the readme is written");
        return;
    }
    assert_eq!(shown, printed, "README.md is not up to date");
}

/// The folders of networks, from the root of the repository.
const FOLDERS: [&str; 2] = ["examples", "crates/cli/tests/data"];

/// The directories there that have flows, by name, from the root of the repository.
fn networks() -> Vec<PathBuf> {
    let of_folder = |folder: &&str| {
        let folder = PathBuf::from(*folder);
        let entries = fs::read_dir(root().join(&folder)).into_iter().flatten().flatten();
        let paths = entries.map(move |entry| folder.join(entry.file_name()));
        paths.filter(|path| root().join(path).join("flows").is_file()).collect::<Vec<_>>()
    };
    let mut networks: Vec<_> = FOLDERS.iter().flat_map(of_folder).collect();
    networks.sort();
    networks
}

/// What is wrong with the answers to one example.
fn faults(network: &Path) -> Vec<String> {
    let name = network.display();
    let words = format!("trace --net {name} --flows {name}/flows");
    let (text, json) = (natpath(&words), natpath(&format!("{words} --json")));
    if text.status == 2 {
        return vec![format!("{name}: {}", text.stderr)];
    }
    let mut faults = Vec::new();
    let expected_status = i32::from(!works(&json.stdout));
    for (ran, file) in [(&text, "expected.txt"), (&json, "expected.json")] {
        if ran.status != expected_status {
            faults.push(format!("{name}: status {} and not {expected_status}", ran.status));
        }
        faults.extend(difference(&root().join(network).join(file), &ran.stdout));
    }
    faults
}

/// Whether every path of every flow works.
fn works(json: &str) -> bool {
    let document: serde_json::Value = serde_json::from_str(json).expect("JSON");
    let flows = document["flows"].as_array().expect("an array");
    flows
        .iter()
        .flat_map(|flow| flow["paths"].as_array().expect("an array"))
        .all(|path| path["works"] == true)
}

/// The first line in which an answer differs from its file.
fn difference(file: &Path, found: &str) -> Option<String> {
    if std::env::var_os("NATPATH_BLESS").is_some() {
        fs::write(file, found).expect("an expected answer is written");
        return None;
    }
    let expected = fs::read_to_string(file).unwrap_or_default();
    if expected == found {
        return None;
    }
    let same = expected.lines().zip(found.lines()).take_while(|(expected, found)| expected == found).count();
    Some(format!(
        "{}:{}: expected\n    {}\nbut found\n    {}",
        file.display(),
        same + 1,
        expected.lines().nth(same).unwrap_or("(the end)"),
        found.lines().nth(same).unwrap_or("(the end)"),
    ))
}
