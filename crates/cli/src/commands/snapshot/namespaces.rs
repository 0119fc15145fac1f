//! The network namespaces of this host: containers, pods, named ones, and those that only processes hold.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::record::{Place, Recorder, reason, say};

/// A namespace that is not the one of this process.
#[derive(Debug)]
pub(super) struct Namespace {
    pub(super) name: String,
    pub(super) path: PathBuf,
}

/// Finds every namespace once, under the first name that leads to it.
pub(super) fn find(recorder: &Recorder) -> Vec<Namespace> {
    let mut seen: BTreeSet<u64> = inode(Place::Here.path()).into_iter().collect();
    let mut taken = BTreeSet::new();
    let mut found = Vec::new();
    for Namespace { name, path } in candidates(recorder) {
        let number = inode(&path);
        if number.is_some_and(|number| seen.contains(&number)) {
            continue;
        }
        let mut name = clean(&name);
        if taken.contains(&name) {
            name = format!("{name}-{}", number.unwrap_or_default());
        }
        match recorder.run(&Place::Inside(path.clone()), "true", &[]) {
            Ok(output) if number.is_some() && !output.status.success() => {
                say(&format!("the namespace {name} can't be entered: {}", reason(&output)));
                continue;
            }
            Err(error) => {
                say(&format!("the namespace {name} can't be entered: nsenter: {error}"));
                continue;
            }
            Ok(_) => {}
        }
        let Some(number) = number else {
            say(&format!("the namespace {name} can't be entered: it is gone"));
            continue;
        };
        seen.insert(number);
        taken.insert(name.clone());
        found.push(Namespace { name, path });
    }
    found
}

/// The number by which the kernel knows a namespace.
pub(super) fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|file| file.ino())
}

/// A name for a directory.
pub(super) fn clean(name: &str) -> String {
    let is_plain = |character: &char| character.is_ascii_alphanumeric() || "._-".contains(*character);
    let name: String =
        name.chars().map(|character| if is_plain(&character) { character } else { '_' }).collect();
    match name.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None => name,
    }
}

fn candidates(recorder: &Recorder) -> Vec<Namespace> {
    let mut all = containers(recorder, "docker");
    all.extend(containers(recorder, "podman"));
    all.extend(sandboxes(recorder));
    all.extend(named(recorder));
    all.extend(others());
    all
}

fn of_process(pid: &str, name: &str) -> Namespace {
    Namespace { name: name.to_owned(), path: Path::new("/proc").join(pid).join("ns/net") }
}

/// The ids of what runs; none where the tool is not installed or nobody answers it.
fn ids(recorder: &Recorder, tool: &str, arguments: &[&str], what: &str) -> Vec<String> {
    if !recorder.has(tool) {
        return Vec::new();
    }
    match recorder.run(&Place::Here, tool, arguments) {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
        }
        Ok(output) => {
            say(&format!("{tool} can't be asked for its {what}: {}", reason(&output)));
            Vec::new()
        }
        Err(error) => {
            say(&format!("{tool} can't be asked for its {what}: {error}"));
            Vec::new()
        }
    }
}

/// The containers of Docker or Podman.
fn containers(recorder: &Recorder, tool: &str) -> Vec<Namespace> {
    let ids = ids(recorder, tool, &["ps", "-q", "--no-trunc"], "containers");
    if ids.is_empty() {
        return Vec::new();
    }
    let mut arguments = vec!["inspect", "-f", "{{.State.Pid}} {{.Name}}"];
    arguments.extend(ids.iter().map(String::as_str));
    let listed = recorder.print(&Place::Here, tool, &arguments);
    let words = listed.lines().filter_map(|line| line.trim().split_once(' '));
    words.map(|(pid, name)| of_process(pid, name.strip_prefix('/').unwrap_or(name))).collect()
}

/// The pods of a CRI runtime, as `NAMESPACE_POD`.
fn sandboxes(recorder: &Recorder) -> Vec<Namespace> {
    const TEMPLATE: &str = "{{.info.pid}} {{.status.metadata.namespace}}_{{.status.metadata.name}}";
    let ids = ids(recorder, "crictl", &["pods", "-q", "--state", "ready"], "pods");
    let mut found = Vec::new();
    for id in ids {
        let arguments = ["inspectp", "-o", "go-template", "--template", TEMPLATE, &id];
        let shown = recorder.print(&Place::Here, "crictl", &arguments);
        found.extend(shown.trim().split_once(' ').map(|(pid, name)| of_process(pid, name)));
    }
    found
}

/// Those that `ip netns` has named.
fn named(recorder: &Recorder) -> Vec<Namespace> {
    let listed = recorder.print(&Place::Here, "ip", &["netns", "list"]);
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    names.map(|name| Namespace { name: name.to_owned(), path: Path::new("/run/netns").join(name) }).collect()
}

/// Namespaces that processes hold, called after the first of them.
fn others() -> Vec<Namespace> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok())).collect();
    pids.sort_unstable();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for pid in pids {
        let pid = pid.to_string();
        let held = of_process(&pid, "");
        if !inode(&held.path).is_some_and(|number| seen.insert(number)) {
            continue;
        }
        let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        found.push(Namespace { name: format!("{}-{pid}", command.trim_end_matches('\n')), ..held });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_fit_for_directories() {
        let check = |name: &str, expected: &str| assert_eq!(clean(name), expected);
        check("web-1", "web-1");
        check(".hidden", "_hidden");
        check("a/b c", "a_b_c");
        check("..", "_.");
    }

    #[test]
    fn a_namespace_has_one_number() {
        let own = inode(Place::Here.path());
        assert!(own.is_some() && own == inode(Path::new("/proc/self/ns/net")));
        assert_eq!(inode(Path::new("/proc/no-such-process/ns/net")), None);
    }
}
