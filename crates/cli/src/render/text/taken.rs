//! The remark that a source port was given up because another connection holds it.

use natpath_engine::trace::Header;
use natpath_model::{Nat, NatRange, Port, Statement};

use crate::render::view::{RuleView, View};

/// Of a rule that would have kept the port: it has no `--random`, and no range that leaves the port out.
pub(crate) fn by_rule(view: &View<'_>, rule: &RuleView<'_>, before: Header, after: Header) -> String {
    let old = before.src.port;
    let keeps = |range: &NatRange| {
        !range.random && range.ports.is_none_or(|ports| (ports.min..=ports.max).contains(&old.value))
    };
    let range = rule.rule.statements.iter().find_map(|statement| match statement {
        Statement::Nat(Nat::Snat(range) | Nat::Masquerade(range)) => Some(range),
        _ => None,
    });
    let remark = remark(view, before, after).filter(|_| range.is_some_and(keeps));
    remark.map_or(String::new(), |remark| format!(", {remark}"))
}

/// Of a source port that no rule changed.
pub(crate) fn redrawn(view: &View<'_>, before: Header, after: Header) -> String {
    let what = if before.protocol.is_icmp() { "id" } else { "src port" };
    let new = view.number(after.src.port);
    match remark(view, before, after) {
        Some(remark) => format!("{remark}: {what} → {new}"),
        None => format!("{what} {} → {new}", view.number(before.src.port)),
    }
}

/// `port 4000 is taken by another connection`; `None` where the port was not drawn now.
fn remark(view: &View<'_>, before: Header, after: Header) -> Option<String> {
    let (old, new) = (before.src.port, after.src.port);
    if new.drawn.is_none() || new.drawn == old.drawn || is_older(view, new) {
        return None;
    }
    let (what, whose) =
        if before.protocol.is_icmp() { ("id", "another query") } else { ("port", "another connection") };
    Some(format!("{what} {} is taken by {whose}", view.number(old)))
}

/// Whether an earlier flow drew the port: a later one of the same source is given the same.
fn is_older(view: &View<'_>, port: Port) -> bool {
    let paths = view.earlier.iter().flat_map(|traced| &traced.trace.paths);
    port.drawn.is_some_and(|number| paths.into_iter().any(|path| path.drawn.contains_key(&number)))
}
