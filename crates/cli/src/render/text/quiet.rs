//! What base chains did that neither changed nor stopped a packet.

use natpath_engine::trace::{Effect, Place, Step};

use super::phase::ChainPhase;
use crate::render::view::View;

/// `no rule matches (4 tried)`, `only logs (3 tried)`, `returns from KUBE-POSTROUTING (2 tried)`.
pub(crate) fn text(view: &View<'_>, host: Place, chains: &[ChainPhase<'_>]) -> String {
    let tried: u32 = chains.iter().map(|chain| chain.counts().0).sum();
    if tried == 0 {
        return "no rules".to_owned();
    }
    let deeds = Deeds::of(view, host, chains);
    format!("{} ({tried} tried)", deeds.text())
}

/// What the rules that applied did.
#[derive(Default)]
struct Deeds {
    logs: bool,
    marks: bool,
    counts: bool,
    called: Vec<String>,
    /// The chains that were left by a rule; an empty name is a base chain.
    returns: Vec<String>,
}

impl Deeds {
    fn of(view: &View<'_>, host: Place, chains: &[ChainPhase<'_>]) -> Self {
        let mut deeds = Self::default();
        for step in chains.iter().flat_map(|chain| &chain.rules) {
            let Step::Rule { rule, effect, .. } = step else { continue };
            let Some(at) = view.rule(host, *rule) else { continue };
            match effect {
                Effect::Return => {
                    let name = if at.is_in_base_chain() { "" } else { &at.chain.name };
                    add(&mut deeds.returns, name);
                }
                Effect::Jump(target) | Effect::Goto(target) => {
                    if let Some(chain) = at.table.chains.get(target.0 as usize) {
                        add(&mut deeds.called, &chain.name);
                    }
                }
                Effect::Log => deeds.logs = true,
                Effect::Mark(..) | Effect::Connmark(..) => deeds.marks = true,
                _ => deeds.counts = true,
            }
        }
        deeds
    }

    fn text(&self) -> String {
        let small = [(self.logs, "logs"), (self.counts, "counts")];
        let small: Vec<_> = small.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
        match (&self.returns[..], &small[..]) {
            ([], []) if self.marks => "the mark stays as it is".to_owned(),
            ([], []) => match &self.called[..] {
                [] => "no rule matches".to_owned(),
                [one] => format!("no rule matches, nor any in {one}"),
                [one, two] => format!("no rule matches, nor any in {one} and {two}"),
                many => format!("no rule matches, nor any in {} chains called", many.len()),
            },
            ([], small) => format!("only {}", small.join(" and ")),
            (returns, small) => {
                let small: String = small.iter().map(|word| format!("{word}, ")).collect();
                format!("{small}{}", returned(returns))
            }
        }
    }
}

fn returned(from: &[String]) -> String {
    let names: Vec<_> = from.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    match names[..] {
        [] => "returns".to_owned(),
        [one] => format!("returns from {one}"),
        [one, two] => format!("returns from {one} and {two}"),
        _ => format!("returns from {} chains", names.len()),
    }
}

fn add(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}
