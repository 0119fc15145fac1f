//! Chains that lead back to themselves: the kernel refuses them (nf_tables_api.c, nft_chain_validate();
//! ip_tables.c, mark_source_chains()), so no listing of it has any, and a walk through them would not end.

use natpath_model::{Chain, ChainKind, Opaque, Origin, Rule, Statement, Verdict};

use crate::iptables_save::ast::Fault;

/// What a rule is called that leads back.
const CONSTRUCT: &str = "a jump in a circle of chains";

/// Puts a construct of unknown effect in the place of each jump that closes a circle, and says where these
/// were.
pub(super) fn open(chains: &mut [Chain]) -> Vec<Origin> {
    let mut opened = Vec::new();
    for (chain, rule) in closing(chains) {
        let Some(to) = target(&chains[chain].rules[rule]) else { continue };
        let name = chains[to].name.clone();
        let rule = &mut chains[chain].rules[rule];
        opened.push(rule.origin.clone());
        for statement in &mut rule.statements {
            let word = match statement {
                Statement::Verdict(Verdict::Jump(_)) => "-j",
                Statement::Verdict(Verdict::Goto(_)) => "-g",
                _ => continue,
            };
            *statement = Statement::Opaque(Opaque {
                construct: CONSTRUCT.to_owned(),
                text: format!("{word} {name}"),
                reason: "the kernel refuses it".to_owned(),
                origin: rule.origin.clone(),
            });
        }
    }
    opened
}

/// What is wrong with a rule that [`open`] names.
pub(super) fn fault() -> Fault {
    Fault {
        at: 0,
        code: "chain-loop",
        message: "this jump closes a loop of chains".to_owned(),
        help: "no packet could leave it: the kernel refuses the table".to_owned(),
    }
}

/// How far the search has come with a chain.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Not,
    /// Its rules are being followed.
    Within,
    Whole,
}

/// The jumps that lead to a chain from which they are reached: chain and rule. Only chains that a base chain
/// leads to are asked, as the kernel does. Without recursion: a file may nest its chains as deep as it is long.
fn closing(chains: &[Chain]) -> Vec<(usize, usize)> {
    let mut seen = vec![Seen::Not; chains.len()];
    let mut found = Vec::new();
    let is_base = |chain: &usize| matches!(chains[*chain].kind, ChainKind::Base { .. });
    for root in (0..chains.len()).filter(is_base) {
        let mut path = Vec::new();
        if seen[root] == Seen::Not {
            seen[root] = Seen::Within;
            path.push((root, 0));
        }
        while let Some((chain, next)) = path.last_mut() {
            let (chain, number) = (*chain, *next);
            let Some(rule) = chains[chain].rules.get(number) else {
                seen[chain] = Seen::Whole;
                path.pop();
                continue;
            };
            *next += 1;
            let Some(to) = target(rule) else { continue };
            match seen.get(to) {
                Some(Seen::Not) => {
                    seen[to] = Seen::Within;
                    path.push((to, 0));
                }
                Some(Seen::Within) => found.push((chain, number)),
                Some(Seen::Whole) | None => {}
            }
        }
    }
    found
}

/// The chain that a rule leads to.
fn target(rule: &Rule) -> Option<usize> {
    rule.statements.iter().find_map(|statement| match statement {
        Statement::Verdict(Verdict::Jump(to) | Verdict::Goto(to)) => Some(to.0 as usize),
        _ => None,
    })
}
