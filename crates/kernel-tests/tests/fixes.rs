//! Every remedy that the engine gives for a flow of a scenario, judged by the running kernel: the flows before
//! it are sent, the commands are run on their host, then the flow is sent. One that failed must work, or at
//! least be taken where nobody listens; one that worked must do something else, or work again where chance may
//! have spared it. Where namespaces are not permitted the tests are ignored.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use natpath_engine::trace::HostId;
use natpath_formats::flows::FlowAction;
use natpath_kernel_tests::parse;
use natpath_model::Flow;
use natpath_verify::judge::{engine, kernel};
use natpath_verify::kernel::{World, not_permitted};
use natpath_verify::observe::Observation;
use natpath_verify::scenario::{Action, Scenario};
use natpath_verify::traffic::Stage;

/// Each test has several processes of its own, so more threads make nothing faster.
const THREADS: usize = 2;

/// A flow that has something to be repaired, and how.
struct Remedy {
    /// The flow's place among the steps, and its line.
    step: usize,
    text: String,
    flow: Flow,
    /// What it is for: a finding's code, or `hint`.
    of: &'static str,
    host: HostId,
    commands: Vec<String>,
    /// Whether the flow may take other paths, by chance, that may need no remedy.
    by_chance: bool,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let reason = not_permitted();
    let mut trials = Vec::new();
    for page in pages() {
        let name = page.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let read = read(&page).and_then(|scenario| Ok((remedies(&scenario)?, scenario)));
        let (remedies, scenario) = match read {
            Ok(read) => read,
            Err(error) => {
                trials.push(Trial::test(name, move || Err(format!("{error:#}").into())));
                continue;
            }
        };
        for remedy in remedies {
            let (scenario, reason) = (scenario.clone(), reason.clone());
            let title = format!("{name}: {}: {}", remedy.text.trim(), remedy.of);
            trials.push(Trial::ignorable_test(title, move || match reason {
                Some(reason) => Ok(Completion::ignored_with(reason)),
                None => judge(&scenario, &remedy).map(|()| Completion::Completed),
            }));
        }
    }
    if trials.is_empty() {
        trials.push(Trial::test("remedies are there", || Err("no scenario has a remedy".into())));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// All pages of `scenarios/`, sorted.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let is_page = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "scenario");
    let mut pages: Vec<_> = entries.map(|entry| entry.path()).filter(is_page).collect();
    pages.sort();
    pages
}

fn read(page: &Path) -> Result<Scenario> {
    let text = std::fs::read_to_string(page).context("can't read it")?;
    parse::scenario(&text, &page.display().to_string()).map_err(|fault| anyhow::anyhow!("{fault}"))
}

/// The first remedy of each kind that the engine gives for each flow.
fn remedies(scenario: &Scenario) -> Result<Vec<Remedy>> {
    let said = engine::run(scenario)?;
    let mut found: Vec<Remedy> = Vec::new();
    for (index, (step, trace)) in scenario.steps.iter().zip(&said.traces).enumerate() {
        let Action::Flow(FlowAction::Flow(flow)) = &step.action else { continue };
        for path in trace.iter().flat_map(|trace| &trace.paths) {
            let findings = path.findings.iter().map(|finding| (finding.code, finding.host, &finding.fix));
            let hints = path.hints.iter().map(|hint| ("hint", hint.host, &hint.fix));
            for (of, host, fix) in findings.chain(hints) {
                let Some(fix) = fix else { continue };
                if found.iter().any(|known| known.step == index && known.of == of) {
                    continue;
                }
                let (text, flow) = (step.text.clone(), flow.clone());
                let commands = fix.lines().map(str::to_owned).collect();
                let by_chance = trace.iter().any(|trace| trace.paths.len() > 1);
                found.push(Remedy { step: index, text, flow, of, host, commands, by_chance });
            }
        }
    }
    Ok(found)
}

fn judge(scenario: &Scenario, remedy: &Remedy) -> Result<(), Failed> {
    let before = send(scenario, remedy, &[]).map_err(|error| format!("{error:#}"))?;
    let after = send(scenario, remedy, &remedy.commands).map_err(|error| format!("{error:#}"))?;
    let lines = |observation: &Observation| observation.lines().join("\n  ");
    let commands = remedy.commands.join("\n");
    // Without its entry a connection is as good as a new one, which need not work either.
    let must_work = before.works == Some(false) && remedy.of != "stale-conntrack";
    let refused = after.arrived.as_ref().is_some_and(|arrival| arrival.listening == Some(false));
    if must_work && after.works != Some(true) && !refused {
        return Err(format!("after\n  {commands}\nit still fails:\n  {}", lines(&after)).into());
    }
    let was_lucky = remedy.by_chance && before.works == Some(true) && after.works == Some(true);
    if before.lines() == after.lines() && !was_lucky {
        return Err(format!("{commands}\nchanges nothing:\n  {}", lines(&after)).into());
    }
    Ok(())
}

/// Builds the network, sends the flows before the one to be repaired, runs the commands on their host and
/// sends it.
fn send(scenario: &Scenario, remedy: &Remedy, commands: &[String]) -> Result<Observation> {
    let world = World::build(&scenario.network)?;
    if let [first, ..] = &world.missing[..] {
        bail!("{first}");
    }
    let mut stage = Stage::open(&world, &scenario.network)?;
    for step in 0..remedy.step {
        kernel::act(&mut stage, scenario, step)?;
    }
    let host = &world.hosts[remedy.host.0 as usize];
    for command in commands {
        // What iptables-save shows is iptables-nft's in a scenario, whatever this machine calls iptables.
        let command = match command.split_once(' ') {
            Some((program @ ("iptables" | "ip6tables"), rest)) => format!("{program}-nft {rest}"),
            _ => command.clone(),
        };
        host.command("sh", &["-c", &command], "").with_context(|| command.clone())?;
    }
    stage.flow(&remedy.flow)
}
