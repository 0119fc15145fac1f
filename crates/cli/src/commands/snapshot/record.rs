//! Records one host: runs each tool in its namespace and writes what it prints.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::tools::{FILTER_PLACES, PLAIN_QUEUES, RECORDS, Record, When};

/// Runs tools, and says what they could not do.
pub(super) struct Recorder {
    path: OsString,
    root: bool,
    both_backends: bool,
    /// Tools that are not installed.
    pub(super) missing: BTreeSet<String>,
    progress: Progress,
}

/// Where a tool runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In the namespace of this process.
    Here,
    /// In the namespace of this path.
    Inside(PathBuf),
}

impl Place {
    /// A file of the kernel that stands for the namespace.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Here => Path::new("/proc/self/ns/net"),
            Self::Inside(path) => path,
        }
    }
}

impl Recorder {
    pub(super) fn new() -> Self {
        let mut path = std::env::var_os("PATH").unwrap_or_default();
        // Where many distributions keep the tools, and what few users' PATH has.
        path.push(":/usr/local/sbin:/usr/sbin:/sbin");
        let (missing, progress) = (BTreeSet::new(), Progress::new());
        let mut recorder = Self { path, root: false, both_backends: false, missing, progress };
        recorder.root = recorder.print(&Place::Here, "id", &["-u"]).trim() == "0";
        if !recorder.root {
            say("not root: rules, connections and other namespaces can't be read");
        }
        recorder.both_backends = recorder.has("iptables-legacy-save")
            && (recorder.has("iptables-nft-save")
                || recorder.print(&Place::Here, "iptables-save", &["-V"]).contains("nf_tables"));
        recorder
    }

    /// Whether a tool is installed.
    pub(super) fn has(&self, tool: &str) -> bool {
        let is_program = |path: PathBuf| {
            use std::os::unix::fs::PermissionsExt;
            fs::metadata(path.join(tool))
                .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        };
        std::env::split_paths(&self.path).any(is_program)
    }

    /// Runs a tool to its end.
    pub(super) fn run(&self, place: &Place, tool: &str, arguments: &[&str]) -> std::io::Result<Output> {
        let mut command = match place {
            Place::Here => Command::new(tool),
            Place::Inside(path) => {
                let mut flag = OsString::from("--net=");
                flag.push(path);
                let mut command = Command::new("nsenter");
                command.arg(flag).arg(tool);
                command
            }
        };
        command.args(arguments).env("PATH", &self.path).env("LC_ALL", "C").stdin(Stdio::null()).output()
    }

    /// What a tool prints; nothing where it fails.
    pub(super) fn print(&self, place: &Place, tool: &str, arguments: &[&str]) -> String {
        let output = self.run(place, tool, arguments);
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    }

    /// Records the namespace at `place` as the host of this name.
    pub(super) fn host(&mut self, name: &str, place: &Place, dir: &Path) -> Result<()> {
        make_directory(dir)?;
        let host = HostRecord { name, place, dir };
        for record in &RECORDS {
            let wanted = match record.when {
                When::Always => true,
                When::Exists(path) => Path::new(path).exists(),
                When::TwoBackends => self.both_backends,
            };
            if wanted {
                self.progress.tell(name);
                self.record(&host, record)?;
            }
        }
        self.filters(&host)?;
        self.wireguard(&host)?;
        if let Some(date) = self.output(&host, "date", "date", &["+%s"]) {
            host.write("date", &date)?;
        }
        Ok(())
    }

    fn record(&mut self, host: &HostRecord<'_>, record: &Record) -> Result<()> {
        let installed = record.tools.iter().find(|tool| self.has(tool));
        let tool = installed.or(record.tools.first()).copied().unwrap_or_default();
        if let Some(text) = self.output(host, record.file, tool, record.arguments) {
            return host.write(record.file, &text);
        }
        if let Some((file, arguments)) = record.otherwise.filter(|_| installed.is_some())
            && let Some(text) = self.output(host, file, tool, arguments)
        {
            host.write(file, &text)?;
        }
        Ok(())
    }

    /// What a tool prints for a file; `None`, with a word on stderr, where there is nothing to write.
    fn output(
        &mut self,
        host: &HostRecord<'_>,
        file: &str,
        tool: &str,
        arguments: &[&str],
    ) -> Option<Vec<u8>> {
        if !self.has(tool) {
            self.missing.insert(tool.to_owned());
            return None;
        }
        let command = format!("{tool} {}", arguments.join(" "));
        let name = host.name;
        match self.run(host.place, tool, arguments) {
            // The legacy tools print nothing for others than root, and call it success.
            Ok(output)
                if output.status.success() && output.stdout.is_empty() && !self.root && of_rules(file) =>
            {
                say(&format!("{name}: {file} is not recorded: {command}: only root may read rules"));
            }
            Ok(output) if output.status.success() => return Some(output.stdout),
            Ok(output) if !output.stdout.is_empty() => {
                say(&format!("{name}: {file} may lack something: {command}: {}", reason(&output)));
                return Some(output.stdout);
            }
            Ok(output) => say(&format!("{name}: {file} is not recorded: {command}: {}", reason(&output))),
            Err(error) => say(&format!("{name}: {file} is not recorded: {command}: {error}")),
        }
        None
    }

    /// The filters of every device whose queueing may have some.
    fn filters(&mut self, host: &HostRecord<'_>) -> Result<()> {
        if !self.has("tc") {
            self.missing.insert("tc".to_owned());
            return Ok(());
        }
        let queues = self.print(host.place, "tc", &["qdisc", "show"]);
        // qdisc KIND HANDLE dev DEVICE ...
        let devices: BTreeSet<&str> = queues
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|words| words.len() > 4 && !PLAIN_QUEUES.contains(&words[1]))
            .map(|words| words[4])
            .collect();
        let mut text = String::new();
        for device in devices {
            for place in FILTER_PLACES {
                let shown = self.print(host.place, "tc", &["filter", "show", "dev", device, place]);
                if !shown.trim().is_empty() {
                    text += &format!("# dev {device} {place}\n{}\n", shown.trim_end_matches('\n'));
                }
            }
        }
        host.write("tc", text.as_bytes())
    }

    fn wireguard(&mut self, host: &HostRecord<'_>) -> Result<()> {
        match self.output(host, "wg", "wg", &["show", "all", "dump"]) {
            Some(dump) => host.write("wg", hide_keys(&String::from_utf8_lossy(&dump)).as_bytes()),
            None => Ok(()),
        }
    }
}

/// A host as it is being recorded.
struct HostRecord<'a> {
    name: &'a str,
    place: &'a Place,
    dir: &'a Path,
}

impl HostRecord<'_> {
    fn write(&self, file: &str, text: &[u8]) -> Result<()> {
        add_to(&self.dir.join(file), text)
    }
}

/// Adds to a file that others can't read.
pub(super) fn add_to(path: &Path, text: &[u8]) -> Result<()> {
    let shown = || format!("{} can't be written", path.display());
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path).with_context(shown)?;
    file.write_all(text).with_context(shown)
}

/// WireGuard's private and preshared keys are hidden as `wg show` hides them.
fn hide_keys(dump: &str) -> String {
    const HIDDEN: &str = "(hidden)";
    let mut text = String::with_capacity(dump.len());
    for line in dump.lines() {
        let mut words: Vec<&str> = line.split('\t').collect();
        // An interface: its name, private key, public key, port, mark. A peer: its interface, public key,
        // preshared key and six more.
        let secret = match words.len() {
            5 => Some(1),
            9 => Some(2),
            _ => None,
        };
        if let Some(word) = secret.and_then(|at| words.get_mut(at)).filter(|word| **word != "(none)") {
            *word = HIDDEN;
        }
        text += &words.join("\t");
        text.push('\n');
    }
    text
}

fn of_rules(file: &str) -> bool {
    file.contains("tables") && file.ends_with("-save")
}

/// The first line of what a tool complained of.
pub(super) fn reason(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    let line = errors.lines().find(|line| !line.trim().is_empty());
    line.unwrap_or("it failed").to_owned()
}

/// Makes a directory that others can't read: rules and connections are nobody else's affair.
pub(super) fn make_directory(dir: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("{} can't be made", dir.display()))
}

/// A word on stderr.
pub(super) fn say(text: &str) {
    anstream::eprintln!("natpath: {text}");
}

/// Says what is being recorded, once a second, if it takes longer than that.
struct Progress {
    told: Instant,
}

impl Progress {
    fn new() -> Self {
        Self { told: Instant::now() }
    }

    fn tell(&mut self, host: &str) {
        if self.told.elapsed() > Duration::from_secs(1) {
            say(&format!("recording {host}"));
            self.told = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_keys_are_hidden() {
        let dump = "wg0\tSECRET\tpublic\t51820\toff\n\
                    wg0\tpeer\tSHARED\t192.0.2.9:51820\t10.0.0.2/32\t0\t0\t0\toff\n\
                    wg0\tother\t(none)\t(none)\t10.0.0.3/32\t0\t0\t0\toff\n";
        let hidden = "wg0\t(hidden)\tpublic\t51820\toff\n\
                      wg0\tpeer\t(hidden)\t192.0.2.9:51820\t10.0.0.2/32\t0\t0\t0\toff\n\
                      wg0\tother\t(none)\t(none)\t10.0.0.3/32\t0\t0\t0\toff\n";
        assert_eq!(hide_keys(dump), hidden);
    }

    #[test]
    fn a_tool_that_is_not_there_is_missing() {
        let recorder = Recorder::new();
        assert!(recorder.has("sh") && !recorder.has("no-such-tool-at-all"));
        assert_eq!(recorder.print(&Place::Here, "no-such-tool-at-all", &[]), "");
    }
}
