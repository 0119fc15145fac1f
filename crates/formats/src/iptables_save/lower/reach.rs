//! What the kernel refuses because of how chains lead to one another: a target where its hook can't
//! have it, too deep a chain (x_tables.c, `xt_check_table_hooks`; nf_tables_api.c, `nft_chain_validate`).

use natpath_model::{Backend, ChainKind, Hook, Nat, Origin, Statement, Table, Verdict};

use crate::iptables_save::ast::Fault;

/// How many chains may lie below a base chain (`NFT_JUMP_STACK_SIZE`, of which the base chain is one).
const MAX_DEPTH: usize = 15;

/// The rules that keep a table from being loaded, each with what is wrong.
pub(super) fn faults(table: &Table) -> Vec<(Origin, Fault)> {
    let mut found = Vec::new();
    let mut hooks: Vec<Vec<Hook>> = vec![Vec::new(); table.chains.len()];
    let mut depths = vec![0; table.chains.len()];
    for from in order(table) {
        if let ChainKind::Base { hook, .. } = table.chains[from].kind {
            hooks[from] = vec![hook];
        }
        for (to, origin) in led_to(table, from) {
            if depths[from] == MAX_DEPTH && table.backend == Backend::Iptables {
                let message = format!("this chain would be the {}th below a base chain", MAX_DEPTH + 1);
                let help = format!("nf_tables allows {MAX_DEPTH} of them");
                found.push((origin.clone(), fault("too-deep", message, help)));
            }
            depths[to] = depths[to].max(depths[from] + 1);
            let new: Vec<Hook> =
                hooks[from].iter().filter(|hook| !hooks[to].contains(hook)).copied().collect();
            hooks[to].extend(new);
        }
        if table.chains[from].kind == ChainKind::Regular {
            found.extend(misplaced(table, from, &hooks[from]));
        }
    }
    found
}

/// The chains that packets reach, each after all that lead to it; a table has no loops here ([`super::circle`]).
fn order(table: &Table) -> Vec<usize> {
    let mut seen = vec![false; table.chains.len()];
    let mut order = Vec::new();
    let is_base = |at: &usize| matches!(table.chains[*at].kind, ChainKind::Base { .. });
    for base in (0..table.chains.len()).filter(is_base) {
        if std::mem::replace(&mut seen[base], true) {
            continue;
        }
        // The chains from the base chain to here, each with what it leads to and is still to be seen.
        let mut path = vec![(base, led_to(table, base))];
        while let Some((at, left)) = path.last_mut() {
            match left.pop() {
                None => {
                    order.push(*at);
                    path.pop();
                }
                Some((to, _)) if !seen[to] => {
                    seen[to] = true;
                    path.push((to, led_to(table, to)));
                }
                Some(_) => {}
            }
        }
    }
    order.reverse();
    order
}

/// The chains that a chain leads to, with the rules that do.
fn led_to(table: &Table, from: usize) -> Vec<(usize, &Origin)> {
    let mut to = Vec::new();
    for rule in &table.chains[from].rules {
        for statement in &rule.statements {
            if let Statement::Verdict(Verdict::Jump(chain) | Verdict::Goto(chain)) = statement {
                to.push((chain.0 as usize, &rule.origin));
            }
        }
    }
    to.retain(|(to, _)| *to < table.chains.len());
    to
}

/// The translations of a user chain that a hook leads to which can't have them.
fn misplaced(table: &Table, chain: usize, hooks: &[Hook]) -> Vec<(Origin, Fault)> {
    let mut found = Vec::new();
    for rule in &table.chains[chain].rules {
        for statement in &rule.statements {
            let Statement::Nat(nat) = statement else { continue };
            let (name, allowed): (_, &[Hook]) = match nat {
                Nat::Dnat(_) => ("DNAT", &[Hook::Prerouting, Hook::Output]),
                Nat::Redirect(_) => ("REDIRECT", &[Hook::Prerouting, Hook::Output]),
                Nat::Snat(_) => ("SNAT", &[Hook::Postrouting, Hook::Input]),
                Nat::Masquerade(_) => ("MASQUERADE", &[Hook::Postrouting]),
                _ => continue,
            };
            let Some(hook) = hooks.iter().find(|hook| !allowed.contains(hook)) else { continue };
            let allowed: Vec<_> = allowed.iter().map(|hook| hook.chain_name()).collect();
            let message = format!("{name} is not allowed in {}, which leads here", hook.chain_name());
            let help = format!("the kernel takes it below {} only", allowed.join(" and "));
            found.push((rule.origin.clone(), fault("wrong-table", message, help)));
        }
    }
    found
}

fn fault(code: &'static str, message: String, help: String) -> Fault {
    Fault { at: 0, code, message, help }
}
