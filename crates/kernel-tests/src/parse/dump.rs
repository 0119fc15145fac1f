//! Reads `dump NAME` blocks: the rules or sets that `load` lines put in the place of a host's. The name tells
//! what it is, as that of a file does: `after.iptables-save`.

use natpath_formats::flows::FlowAction;
use natpath_formats::snapshot::{Dump, DumpKind};
use natpath_model::Diagnostic;
use natpath_verify::scenario::{Action, Scenario};

use super::host::{declared, is_of_rules, is_of_sets};
use super::{Line, Reader};

/// Reads a block.
pub(super) fn read(line: &Line<'_>, reader: &mut Reader<'_>) -> Result<Dump, Diagnostic> {
    let name = line.word(1, "the dump's name")?.to_owned();
    let kind = DumpKind::of_name(&name).ok_or_else(|| {
        line.error(1, "expected a name with iptables-save, ip6tables-legacy-save, ipset ... in it")
    })?;
    let mut text = String::new();
    while let Some(line) = reader.next_raw(|text| is_of_rules(text) || is_of_sets(text)) {
        text.push_str(line);
        text.push('\n');
    }
    if matches!(kind, DumpKind::Rules(..)) {
        text = declared(text.trim_end());
    }
    Ok(Dump { path: name.clone(), name, text: text.into() })
}

/// Finds out what each `load` line makes of its host.
pub(super) fn resolve(scenario: &mut Scenario, reader: &Reader<'_>) -> Result<(), Diagnostic> {
    scenario.resolve_loads().map_err(|error| {
        let is_load = |step: &&natpath_verify::scenario::Step| {
            matches!(step.action, Action::Flow(FlowAction::Load { .. }))
                && format!("{error:#}").contains(&step.text)
        };
        let number = scenario.steps.iter().find(is_load).map_or(0, |step| step.line);
        reader.line(number).error(0, format!("{:#}", error.root_cause()))
    })
}
