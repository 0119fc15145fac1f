//! A host with two containers and a client, as Docker would set it up, once with routes and once with a
//! bridge.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::ROLE;

/// The labs.
pub(super) const NAMES: [&str; 2] = ["containers behind routes", "containers on a bridge"];

/// Whether frames between the ports of a bridge are modelled; until then the bridge's lab asserts which
/// answers are wrong, and fails when they are not wrong any more.
const BRIDGES_ARE_MODELLED: bool = true;

/// Stands in for Docker: the container `database` is the process $DB_PID. Podman's, it is there once more.
const DOCKER: &str = "#!/bin/sh
case $1 in
ps) echo 0123abcd ;;
inspect) echo \"$DB_PID /database\" ;;
esac
";

/// Stands in for crictl: the pod's process is $DB_PID too, so there is nothing to record.
const CRICTL: &str = "#!/bin/sh
case $1 in
pods) echo 4567 ;;
inspectp) echo \"$DB_PID default pod\" ;;
esac
";

/// Stands in for wg, in every namespace.
const WG: &str = "#!/bin/sh
printf 'wg0\\tSECRET\\tPUBLIC\\t51820\\toff\\nwg0\\tPEER\\tSECRET\\t(none)\\t10.9.0.2/32\\t0\\t0\\t0\\toff\\n'
";

type Result<T> = std::result::Result<T, String>;

/// The names under which the namespaces are recorded. `db` has none but its first process.
const CLIENT: &str = "node/ns/client";
const WEB: &str = "node/ns/web";

/// A connection, and what becomes of it.
struct Attempt {
    from: String,
    to: &'static str,
    expected: &'static str,
}

/// Sets the lab up, records it, traces, connects.
pub(super) fn run(name: &str) -> Result<()> {
    let bridged = name == NAMES[1];
    let lab = Lab::new(bridged)?;
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (recorded, scripted) = (directory.path().join("recorded"), directory.path().join("scripted"));
    lab.record(&recorded, &scripted)?;
    let mut expected = vec!["node".to_owned(), CLIENT.to_owned(), lab.db.clone(), WEB.to_owned()];
    expected.sort();
    check("the hosts", &lab.hosts(Some(&recorded))?, &expected)?;
    same_directories(&recorded, &scripted)?;
    lab.check_topology(&recorded)?;
    let keys = fs::read_to_string(recorded.join("node/wg")).map_err(|error| error.to_string())?;
    check("hidden keys", &(keys.contains("PUBLIC"), keys.contains("SECRET")), &(true, false))?;
    lab.check_running_host(&expected)?;

    let mut differences = Vec::new();
    for attempt in lab.attempts() {
        let engine = lab.trace(Some(&recorded), &attempt)?;
        let kernel = lab.connect(&attempt)?;
        let flow = format!("{} → {}", attempt.from, attempt.to);
        check(&format!("{flow}: what the kernel does"), &kernel, &attempt.expected.to_owned())?;
        if engine != kernel {
            differences.push(format!("{flow}: the kernel: {kernel}, natpath: {engine}"));
        }
    }
    if bridged && !BRIDGES_ARE_MODELLED {
        return match differences.is_empty() {
            true => Err("bridges are modelled: set BRIDGES_ARE_MODELLED".to_owned()),
            false => {
                eprintln!("{differences:#?}");
                Ok(())
            }
        };
    }
    check("natpath and the kernel", &differences, &Vec::new())
}

fn check<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<()> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}:\n found    {found:#?}\n expected {expected:#?}"))
    }
}

/// The host that runs the test, with its processes.
struct Lab {
    bridged: bool,
    /// The name of the namespace that only a process holds: the container's, where Docker tells it.
    db: String,
    db_pid: u32,
    /// Tools that stand in for others, and the temporary files of natpath.
    directory: TempDir,
    /// By the name of a host, the file that stands for its namespace.
    namespaces: BTreeMap<String, String>,
    children: Vec<Child>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended by itself.
            _ = child.kill();
            _ = child.wait();
        }
    }
}

const COMMON: &str = "
mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns
sysctl -qw kernel.hostname=node net.ipv4.ip_forward=1 net.ipv6.conf.default.accept_dad=0
ip link set lo up
ip netns add client
ip netns add web
for namespace in /run/netns/client /run/netns/web $DB; do
    nsenter --net=$namespace sysctl -qw net.ipv6.conf.default.accept_dad=0
    nsenter --net=$namespace ip link set lo up
done
ip link add eth0 type veth peer name eth0 netns client
ip link add web0 type veth peer name eth0 netns web
ip link add db0 type veth peer name eth0 netns ${DB_PID}
ip addr add 203.0.113.1/24 dev eth0
for link in eth0 web0 db0; do ip link set $link up; done
furnish() {
    nsenter --net=$1 ip addr add $2 dev eth0
    nsenter --net=$1 ip link set eth0 up
    nsenter --net=$1 ip route add default via $3
}
furnish /run/netns/client 203.0.113.2/24 203.0.113.1
";

const ROUTED: &str = "
ip addr add 172.18.0.1/24 dev web0
ip addr add 172.19.0.1/24 dev db0
furnish /run/netns/web 172.18.0.2/24 172.18.0.1
furnish $DB 172.19.0.2/24 172.19.0.1
";

const BRIDGED: &str = "
ip link add docker0 type bridge
ip addr add 172.18.0.1/16 dev docker0
for link in web0 db0; do ip link set $link master docker0; done
ip link set docker0 up
furnish /run/netns/web 172.18.0.2/16 172.18.0.1
furnish $DB 172.18.0.3/16 172.18.0.1
";

const RULES: &str = "
iptables-nft-restore <<END
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.16.0.0/12 -o eth0 -j MASQUERADE
-A DOCKER -i eth0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.18.0.2:80
-A DOCKER -i eth0 -p tcp -m tcp --dport 8081 -j DNAT --to-destination 172.18.0.2:81
COMMIT
*filter
:FORWARD DROP [0:0]
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -s 172.16.0.0/12 -j ACCEPT
-A FORWARD -d 172.18.0.2/32 -p tcp -m multiport --dports 80,81 -j ACCEPT
COMMIT
END
";

impl Lab {
    fn new(bridged: bool) -> Result<Self> {
        let db = Command::new("unshare")
            .args(["--net", "sleep", "1000"])
            .spawn()
            .map_err(|error| error.to_string())?;
        let pid = db.id();
        let held = format!("/proc/{pid}/ns/net");
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut lab = Self {
            bridged,
            db: if bridged { format!("node/ns/sleep-{pid}") } else { "node/ns/database".to_owned() },
            db_pid: pid,
            directory,
            namespaces: BTreeMap::new(),
            children: vec![db],
        };
        wait_for("a namespace of its own", || {
            let number = |path: &str| fs::read_link(path).ok();
            let named =
                fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep");
            named && number(&held) != number("/proc/self/ns/net")
        })?;
        let named = |name: &str| format!("/run/netns/{name}");
        lab.namespaces.extend([
            (CLIENT.to_owned(), named("client")),
            (WEB.to_owned(), named("web")),
            (lab.db.clone(), held.clone()),
            ("node".to_owned(), "/proc/self/ns/net".to_owned()),
        ]);
        lab.stand_in("wg", WG)?;
        for (tool, text) in [("docker", DOCKER), ("podman", DOCKER), ("crictl", CRICTL)] {
            lab.stand_in(tool, if bridged { "#!/bin/sh\nexit 1\n" } else { text })?;
        }
        fs::create_dir(lab.directory.path().join("tmp")).map_err(|error| error.to_string())?;
        let links = if bridged { BRIDGED } else { ROUTED };
        let script = format!("set -e\nDB={held} DB_PID={pid}\n{COMMON}{links}{RULES}");
        output(Command::new("sh").arg("-c").arg(script))?;
        lab.listen(WEB, "80")?;
        lab.listen(CLIENT, "9000")?;
        wait_for("links that send", || {
            let addresses = |path: &String| {
                let mut command = Command::new("nsenter");
                output(command.arg(format!("--net={path}")).args(["ip", "-o", "-6", "addr"]))
                    .unwrap_or_default()
            };
            lab.namespaces.values().all(|path| !addresses(path).contains("tentative"))
        })?;
        // A bridge's port learns and forwards a moment after it is up.
        std::thread::sleep(Duration::from_secs(2));
        Ok(lab)
    }

    fn stand_in(&self, tool: &str, text: &str) -> Result<()> {
        let path = self.directory.path().join(tool);
        let written =
            fs::write(&path, text).and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)));
        written.map_err(|error| error.to_string())
    }

    /// A program with the tools that stand in for others before it.
    fn command(&self, program: &str) -> Command {
        let path =
            format!("{}:{}", self.directory.path().display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new(program);
        let temporary = self.directory.path().join("tmp");
        command.env("PATH", path).env("DB_PID", self.db_pid.to_string()).env("TMPDIR", temporary);
        command
    }

    fn natpath(&self) -> Command {
        self.command(env!("CARGO_BIN_EXE_natpath"))
    }

    fn inside(&self, host: &str, role: &str) -> Result<Command> {
        let path = self.namespaces.get(host).ok_or_else(|| format!("there is no namespace {host}"))?;
        let this = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={path}")).arg(this).env(ROLE, role);
        Ok(command)
    }

    fn listen(&mut self, host: &str, port: &str) -> Result<()> {
        let child =
            self.inside(host, &format!("listen {port}"))?.spawn().map_err(|error| error.to_string())?;
        self.children.push(child);
        wait_for("a listener", || {
            let asked = self
                .inside(host, &format!("connect 127.0.0.1:{port}"))
                .and_then(|mut command| output(&mut command));
            asked.is_ok_and(|said| said.starts_with("delivered"))
        })
    }

    /// Runs the command and the script one after the other.
    fn record(&self, recorded: &Path, scripted: &Path) -> Result<()> {
        output(self.natpath().arg("snapshot").arg("--out").arg(recorded))?;
        let script = output(self.natpath().args(["snapshot", "--script"]))?;
        output(self.command("sh").arg("-c").arg(script).arg("sh").arg(scripted)).map(drop)
    }

    /// Without `--net` the same is recorded and read, and nothing of it stays.
    fn check_running_host(&self, expected: &Vec<String>) -> Result<()> {
        check("the hosts of the running host", &self.hosts(None)?, expected)?;
        let attempt = &self.attempts()[0];
        check("a trace of the running host", &self.trace(None, attempt)?, &attempt.expected.to_owned())?;
        let left = fs::read_dir(self.directory.path().join("tmp")).map_err(|error| error.to_string())?;
        check("temporary files that stay", &left.count(), &0)
    }

    /// The hosts that natpath reads in a directory, or of the running host.
    fn hosts(&self, recorded: Option<&Path>) -> Result<Vec<String>> {
        let mut command = self.natpath();
        command.args(["inspect", "--json"]).args(recorded.map(|path| format!("--net={}", path.display())));
        let document: Value =
            serde_json::from_str(&output(&mut command)?).map_err(|error| error.to_string())?;
        let hosts = document["hosts"].as_array().cloned().unwrap_or_default();
        let files = hosts.iter().flat_map(|host| host["files"].as_array().cloned().unwrap_or_default());
        let is_bad = |file: &Value| file["missed"] != 0 || file["errors"] != Value::from(Vec::<Value>::new());
        check("files with errors", &files.filter(is_bad).collect(), &Vec::<Value>::new())?;
        Ok(hosts.iter().filter_map(|host| host["name"].as_str().map(str::to_owned)).collect())
    }

    fn check_topology(&self, recorded: &Path) -> Result<()> {
        let text = fs::read_to_string(recorded.join("topology.json"))
            .map_err(|error| format!("topology.json: {error}"))?;
        let found: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let pair = |host: &str, link: &str| Value::from(vec![format!("{host}:eth0"), format!("node:{link}")]);
        let expected = [pair(CLIENT, "eth0"), pair(&self.db, "db0"), pair(WEB, "web0")];
        check("topology.json", &found["segments"], &Value::from(expected.to_vec()))
    }

    fn attempts(&self) -> Vec<Attempt> {
        let attempt = |from: &str, to, expected| Attempt { from: from.to_owned(), to, expected };
        let mut attempts = vec![
            // The published port, as the client sees it; the client's address stays.
            attempt(CLIENT, "203.0.113.1:8080", "delivered, seen as 203.0.113.2"),
            attempt(CLIENT, "203.0.113.1:8081", "no-listener"),
            attempt(CLIENT, "203.0.113.1:8082", "no-listener"),
            // Outwards, masqueraded.
            attempt(WEB, "203.0.113.2:9000", "delivered, seen as 203.0.113.1"),
            attempt(&self.db, "203.0.113.2:9001", "no-listener"),
            // Not published, and the rules that publish do not take what comes from inside.
            attempt(CLIENT, if self.bridged { "172.18.0.3:80" } else { "172.19.0.2:80" }, "dropped"),
            attempt(&self.db, "203.0.113.1:8080", "no-listener"),
            attempt("node", "172.18.0.2:80", "delivered, seen as 172.18.0.1"),
        ];
        // From container to container.
        let seen_as =
            if self.bridged { "delivered, seen as 172.18.0.3" } else { "delivered, seen as 172.19.0.2" };
        attempts.push(attempt(&self.db, "172.18.0.2:80", seen_as));
        attempts
    }

    fn connect(&self, attempt: &Attempt) -> Result<String> {
        let said = output(&mut self.inside(&attempt.from, &format!("connect {}", attempt.to))?)?;
        Ok(said.trim().to_owned())
    }

    /// The answer of natpath, by the recorded files and, for a namespace, by its short name.
    fn trace(&self, recorded: Option<&Path>, attempt: &Attempt) -> Result<String> {
        let short = attempt.from.rsplit('/').next().unwrap_or_default();
        let mut command = self.natpath();
        command.args(["trace", "--json"]).args(recorded.map(|path| format!("--net={}", path.display())));
        command.args(["--from", short, "tcp", "-", attempt.to]);
        let ran = command.output().map_err(|error| error.to_string())?;
        let document: Value = serde_json::from_slice(&ran.stdout)
            .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&ran.stderr)))?;
        Ok(meaning(&document["flows"][0]["paths"][0]))
    }
}

/// What a path says, in the words of [`super::sockets::connect`].
pub(super) fn meaning(path: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("nothing").to_owned();
    match (word(&path["outcome"]).as_str(), path["works"].as_bool()) {
        ("delivered", Some(true)) => format!("delivered, seen as {}", word(&path["there"]["src"])),
        (outcome, _) => outcome.to_owned(),
    }
}

fn output(command: &mut Command) -> Result<String> {
    let ran = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if !ran.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&ran.stderr)));
    }
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) -> Result<()> {
    for _ in 0..200 {
        if is_there() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    Err(format!("{what}: it does not come"))
}

/// Compares two directories, counters and timers apart.
fn same_directories(one: &Path, other: &Path) -> Result<()> {
    let (one, other) = (files(one, "")?, files(other, "")?);
    check("the files", &other.keys().collect::<Vec<_>>(), &one.keys().collect())?;
    one.iter().zip(other.values()).try_for_each(|((name, one), other)| {
        let at = one.iter().zip(other).position(|(one, other)| one != other).unwrap_or(0);
        let around = |lines: &[String]| lines.iter().skip(at.saturating_sub(2)).take(5).cloned().collect();
        match one == other {
            true => Ok(()),
            false => check::<Vec<String>>(&format!("{name}, from line {at}"), &around(other), &around(one)),
        }
    })
}

/// The files under a directory, by path, without what changes from one second to the next.
fn files(directory: &Path, under: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(|error| error.to_string())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{under}/{name}");
        if entry.path().is_dir() {
            found.extend(files(&entry.path(), &path)?);
            continue;
        }
        let text = fs::read_to_string(entry.path()).map_err(|error| format!("{path}: {error}"))?;
        found.insert(path, lasting(&name, &text));
    }
    Ok(found)
}

fn lasting(file: &str, text: &str) -> Vec<String> {
    let is_counter = |line: &&str| match file {
        "date" | "conntrack" | "neigh.json" => true,
        "addr.json" | "bridge-link.json" => line.contains("_timer\":"),
        "sysctl" => !line.starts_with("net.") || line.starts_with("net.netfilter.nf_conntrack_count"),
        _ => line.starts_with("# Generated") || line.starts_with("# Completed"),
    };
    let without = |line: &str| match line.split_once(" [").filter(|_| line.starts_with(':')) {
        Some((chain, _)) => chain.to_owned(),
        None if line.starts_with('[') && file.ends_with("-save") => {
            line.split_once("] ").map_or(line, |(_, rule)| rule).to_owned()
        }
        None => line.to_owned(),
    };
    // JSON is one line: a line a value shows where two differ.
    let text = if file.ends_with(".json") { text.replace(",\"", ",\n\"") } else { text.to_owned() };
    text.lines().filter(|line| !is_counter(line)).map(without).collect()
}
