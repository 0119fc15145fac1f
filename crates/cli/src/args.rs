//! The words of the command line.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

const HELP: &str = "\
`natpath COMMAND --help` has examples. `natpath man COMMAND | man -l -` is the same as a manual page, and
`natpath completions bash|zsh|fish` makes the shell complete all of it.";

/// Where a packet really goes on Linux, and why.
#[derive(Debug, Parser)]
#[command(name = "natpath", version, about, after_help = HELP)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What natpath can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Follow a connection both ways through recorded hosts, and say what each rule does to it
    Trace(TraceArguments),
    /// Say what was read from recorded hosts, and what could not be read or modelled
    Inspect(InspectArguments),
    /// Record the running host, its containers and its network namespaces
    Snapshot(SnapshotArguments),
    /// Rebuild a recorded network on this machine's kernel, send flows, and compare with the prediction
    Verify(VerifyArguments),
    /// Print completions for a shell
    Completions(CompletionsArguments),
    /// Print the manual page, of natpath or of one of its commands
    Man(ManArguments),
}

const TRACE_HELP: &str = "\
PROTO is tcp, udp, sctp, icmp or icmpv6 (an echo request). An IPv6 address with a port is [ADDR]:PORT.
SRC `-` or `-:PORT` is the kernel's choice of address, for a connection that a host of the network makes
(with --from). Without a source port an ephemeral one is taken, shown as `*`.

DIR holds one directory per host, or the files of a single host: the output of iptables-save,
`ip -j -d addr`, `ip -j route show table all`, `ip -j rule`, `sysctl -a`, `ss -H -lntup` and so on, in
files named iptables-save, addr.json, route.json, rule.json, sysctl, sockets (see README.md); `natpath
snapshot` writes them. Without --net the running host is recorded and read, which takes root.

Examples:
  natpath trace --net examples/double-dnat tcp 198.51.100.2 198.51.100.1:80
  natpath trace --net prod --in edge:eth0 udp 203.0.113.7:5353 192.0.2.1:53
  natpath trace --net prod --from node1 tcp - 10.96.0.10:443 mark=0x10
  natpath trace --net prod --json icmp 10.0.0.5 10.0.0.9 | jq '.flows[].paths[].outcome'
  natpath trace --net prod --flows flows.txt
  sudo natpath trace tcp - 192.0.2.1:443
  echo 'tcp 10.0.0.5 10.0.0.9:22 ttl=3' | natpath trace --net prod --flows -

Lines of a flows file: a flow as above with KEY=VALUE (also from=, in=, icmp-id=, at=MILLISECONDS, id=NAME),
  load HOST FILE...           these dumps take the place of the host's rules
  more ID client|server       more data on the connection of the flow with id=ID
  close ID fin|rst|server-fin|server-rst
  forget HOST PROTO SRC DST   deletes conntrack entries
  wait MILLISECONDS
docs/flows.md says more.

Exit status:
  0  every path of every flow works
  1  some path does not
  2  usage, or input that can't be read (message on stderr)";

/// The words of `natpath trace`.
#[derive(Debug, Args)]
#[command(after_help = TRACE_HELP)]
#[command(group(ArgGroup::new("what").args(["proto", "flows"]).required(true).multiple(true)))]
pub(crate) struct TraceArguments {
    /// The recorded network, or a single recorded host [default: the running host]
    #[arg(long, value_name = "DIR")]
    pub(crate) net: Option<PathBuf>,

    /// Print JSON, schema natpath.trace/1
    #[arg(long)]
    pub(crate) json: bool,

    /// Also show every rule that was tried and the first match that failed, and connection tracking
    #[arg(short, long)]
    pub(crate) verbose: bool,

    /// Trace the flows of a file in order over one state, one line each; `-` is stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["proto", "enters", "from", "icmp_id"])]
    pub(crate) flows: Option<PathBuf>,

    /// When to colour the text
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,

    #[command(flatten)]
    pub(crate) asked: FlowArguments,
}

const INSPECT_HELP: &str = "\
Each file of the directory is listed: how many items were read from it, what of them can't be decided, what
could not be read, and which files are not read and why. Every line of a file (or row of a JSON list) is an
item, structure, unread or an error, so nothing is lost without a word.

Examples:
  natpath inspect --net prod
  natpath inspect --net prod --json | jq '.hosts[].files[] | {file, items, unsupported}'
  sudo natpath inspect

Exit status:
  0  something was read
  2  usage, or nothing that can be read (message on stderr)";

/// The words of `natpath inspect`.
#[derive(Debug, Args)]
#[command(after_help = INSPECT_HELP)]
pub(crate) struct InspectArguments {
    /// The recorded network, or a single recorded host [default: the running host]
    #[arg(long, value_name = "DIR")]
    pub(crate) net: Option<PathBuf>,

    /// Print JSON, schema natpath.inspect/1
    #[arg(long)]
    pub(crate) json: bool,

    /// List every construct that can't be decided, not one of each kind
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

const SNAPSHOT_HELP: &str = "\
DIR gets a directory for the host and one for each of its network namespaces: DIR/HOST, DIR/HOST/ns/NAME.
Namespaces are those of Docker, Podman and CRI containers, those that `ip netns` has named, and all others
that some process holds. Each file is the untouched output of a standard tool (WireGuard's secret keys are
hidden); a tool that is not installed is named and left out. Nothing is sent and nothing is changed. Only root
may read rules and enter namespaces.

The script does the same where natpath is not installed: it needs a POSIX shell and the tools.

Examples:
  sudo natpath snapshot --out prod
  natpath snapshot --script > natpath-snapshot.sh
  natpath snapshot --script | ssh root@node1 sh -s /tmp/prod

Exit status:
  0  recorded, but for what stderr names
  2  usage, or a directory that can't be written";

/// The words of `natpath snapshot`.
#[derive(Debug, Args)]
#[command(after_help = SNAPSHOT_HELP)]
#[group(required = true, multiple = false)]
pub(crate) struct SnapshotArguments {
    /// The directory to write, empty or not there yet
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Print a POSIX shell script that records a host
    #[arg(long)]
    pub(crate) script: bool,
}

const VERIFY_HELP: &str = "\
Each host becomes a network namespace of this machine, with the recorded links, addresses, routes, parameters,
sockets, sets, connections and rules, and each flow is sent by real sockets. Who was not recorded but must be
there (a sender outside, a next hop, a host behind a bridge) is a namespace as well. Nothing leaves the
namespaces, and nothing is left of them. It takes root, and iptables, ipset and conntrack where the network has
such rules, sets and connections. The kernel that runs is the judge: what differs from the one that was recorded
shows as a difference.

Examples:
  sudo natpath verify --net examples/double-dnat
  sudo natpath verify --net prod --flows flows.txt
  sudo natpath verify --net prod --in edge:eth0 udp 203.0.113.7:5353 192.0.2.1:53

Exit status:
  0  the kernel did what was predicted (or the prediction is `undecided`)
  1  it did something else
  2  usage, input that can't be read, or a network that can't be rebuilt here (message on stderr)";

/// The words of `natpath verify`.
#[derive(Debug, Args)]
#[command(after_help = VERIFY_HELP)]
pub(crate) struct VerifyArguments {
    /// The recorded network, or a single recorded host
    #[arg(long, value_name = "DIR")]
    pub(crate) net: PathBuf,

    /// A file of flows, as for trace [default: the flow of the command line, else DIR/flows]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["proto", "enters", "from", "icmp_id"])]
    pub(crate) flows: Option<PathBuf>,

    /// Also show what was seen of the flows that were predicted
    #[arg(short, long)]
    pub(crate) verbose: bool,

    #[command(flatten)]
    pub(crate) asked: FlowArguments,
}

/// A flow in the words of the command line.
#[derive(Debug, Args)]
pub(crate) struct FlowArguments {
    /// The interface by which the first packet enters
    #[arg(long = "in", value_name = "HOST:IFACE", conflicts_with = "from")]
    pub(crate) enters: Option<String>,

    /// The host that sends the first packet
    #[arg(long, value_name = "HOST")]
    pub(crate) from: Option<String>,

    /// The identifier of an ICMP echo request [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) icmp_id: Option<u16>,

    /// The protocol
    #[arg(value_name = "PROTO", requires = "dst")]
    pub(crate) proto: Option<String>,

    /// The source: address and port, or `-`
    #[arg(value_name = "SRC[:PORT]", allow_hyphen_values = true)]
    pub(crate) src: Option<String>,

    /// The destination: address and port
    #[arg(value_name = "DST[:PORT]")]
    pub(crate) dst: Option<String>,

    /// More of the flow, as in a flows file: iface=, ttl=, mark=, size=, dscp=, uid=, gid=, src-mac=, df
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) options: Vec<String>,
}

impl FlowArguments {
    /// The words of a line of a flows file; none if no flow is given.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words: Vec<String> =
            [&self.proto, &self.src, &self.dst].into_iter().flatten().cloned().collect();
        if words.is_empty() {
            return words;
        }
        words.extend(self.options.iter().cloned());
        words.extend(self.from.iter().map(|host| format!("from={host}")));
        words.extend(self.enters.iter().map(|place| format!("in={place}")));
        words.extend(self.icmp_id.iter().map(|id| format!("icmp-id={id}")));
        words
    }
}

/// The words of `natpath completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// A shell that has completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// For ~/.local/share/bash-completion/completions/natpath
    Bash,
    /// For a file _natpath in a directory of $fpath
    Zsh,
    /// For ~/.config/fish/completions/natpath.fish
    Fish,
}

impl From<Shell> for clap_complete::Shell {
    fn from(shell: Shell) -> Self {
        match shell {
            Shell::Bash => Self::Bash,
            Shell::Zsh => Self::Zsh,
            Shell::Fish => Self::Fish,
        }
    }
}

/// The words of `natpath man`.
#[derive(Debug, Args)]
pub(crate) struct ManArguments {
    /// The command whose page is wanted
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Option<String>,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl From<Color> for anstream::ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    fn words(line: &str) -> Result<Vec<String>, clap::error::ErrorKind> {
        let all = ["natpath", "trace"].into_iter().chain(line.split_whitespace());
        Arguments::try_parse_from(all).map_err(|error| error.kind()).map(|arguments| {
            match arguments.command {
                Command::Trace(trace) => trace.asked.words(),
                other => panic!("{other:?} is no trace"),
            }
        })
    }

    #[test]
    fn the_command_line_gives_the_words_of_a_flow() {
        let check = |line: &str, expected: &str| {
            assert_eq!(words(line).map(|words| words.join(" ")), Ok(expected.to_owned()), "{line}");
        };
        check("tcp 192.0.2.1 192.0.2.2:80 --json", "tcp 192.0.2.1 192.0.2.2:80");
        check("tcp --from r - 192.0.2.2:80 -v", "tcp - 192.0.2.2:80 from=r");
        check("tcp -:1024 192.0.2.2:80 ttl=3 df", "tcp -:1024 192.0.2.2:80 ttl=3 df");
        check("--icmp-id 7 --in r:eth0 icmp a b", "icmp a b in=r:eth0 icmp-id=7");
        check("--flows -", "");
    }

    #[test]
    fn what_is_not_a_flow_is_a_usage_error() {
        use clap::error::ErrorKind::{ArgumentConflict, MissingRequiredArgument};
        assert_eq!(words(""), Err(MissingRequiredArgument));
        assert_eq!(words("tcp 192.0.2.1"), Err(MissingRequiredArgument));
        assert_eq!(words("--flows f tcp a b"), Err(ArgumentConflict));
        assert_eq!(words("--from r --in r:eth0 tcp a b"), Err(ArgumentConflict));
    }
}
