//! The verdict on more data on a connection.

use natpath_engine::trace::{Broken, End, Outcome, Place, Reply, Why};
use natpath_model::Protocol;
use natpath_model::flow::Side;

use super::cause;
use crate::render::text::words;
use crate::render::view::View;

/// What becomes of the data.
pub(super) fn text(view: &View<'_>, side: Side, works: bool) -> String {
    let result = &view.path.result;
    let end = &result.end;
    if works {
        return arrives(view, end, side);
    }
    match (end.outcome, &result.broken, &result.reply) {
        (Outcome::LocalError, ..)
            if view.path.hops.first().is_some_and(|hop| hop.out_interface.is_none()) =>
        {
            unsent(view, end)
        }
        (Outcome::Delivered, Some(broken), _) => unanswered(view, end, broken, side),
        (Outcome::Delivered, None, Some(reply)) if reply.end.outcome != Outcome::Delivered => {
            let cause = cause::of(view, &reply.end, &view.path.reply_hops);
            format!("{} gets the data, but its answer is lost, {cause}", receiver(view, end))
        }
        (Outcome::Delivered, ..) => format!("does not work, though {} gets the data", receiver(view, end)),
        (_, _, reply) => {
            let cause = cause::of(view, end, &view.path.hops);
            format!("{}: {cause}", noticed(view, reply.as_ref(), side))
        }
    }
}

fn arrives(view: &View<'_>, end: &End, side: Side) -> String {
    match side {
        Side::Server => format!("works: the client gets the data, from {}", view.src(end.header)),
        Side::Client if view.flow.protocol == Protocol::TCP => {
            format!("works: {} gets the data and acknowledges it", receiver(view, end))
        }
        Side::Client => match view.path.result.reply.as_ref().map(|reply| reply.end.header) {
            Some(header) => {
                format!("works: {} answers, the client sees {}", receiver(view, end), view.src(header))
            }
            None => format!("works: {} takes it", receiver(view, end)),
        },
    }
}

/// `192.0.2.2:80 on server`.
fn receiver(view: &View<'_>, end: &End) -> String {
    let there = view.dst(end.header);
    match (end.outcome, end.at.host) {
        (Outcome::Left, _) => format!("{there} beyond {}", view.place(end.at.host)),
        (_, Place::Assumed(_)) => there,
        (_, Place::Host(_)) => format!("{there} on {}", view.place(end.at.host)),
    }
}

fn unsent(view: &View<'_>, end: &End) -> String {
    match end.why {
        Some(Why::Errno("EPIPE")) => {
            "nothing is sent: the connection is not open (write says EPIPE)".to_owned()
        }
        Some(Why::Errno("ENOTCONN")) => "nothing is sent: no server has got anything yet".to_owned(),
        _ => format!("{} can't send it: {}", view.place(end.at.host), words::ended(end.outcome, end.why)),
    }
}

fn unanswered(view: &View<'_>, end: &End, broken: &Broken, side: Side) -> String {
    if broken.end.why == Some(Why::WrongSource) {
        let from = view.src(broken.end.header);
        let what = if side == Side::Server { "data" } else { "answer" };
        return format!("client ignores the {what}: it comes from {from}, whom it did not ask");
    }
    let what = if view.flow.protocol == Protocol::TCP { "acknowledgement" } else { "answer" };
    let cause = cause::of(view, &broken.end, &broken.hops);
    format!("{} gets the data, but its {what} is lost, {cause}", receiver(view, end))
}

/// What the sender notices of data that did not arrive.
fn noticed(view: &View<'_>, reply: Option<&Reply>, side: Side) -> String {
    let sender = match side {
        Side::Client => "client",
        Side::Server => "server",
    };
    match reply.filter(|reply| reply.end.outcome == Outcome::Delivered) {
        Some(reply) if reply.reset => "the connection is reset".to_owned(),
        Some(Reply { icmp: Some(icmp), .. }) => {
            let words = words::icmp_error(icmp.from, icmp.kind, icmp.code);
            format!("{sender} gets \"{words}\" from {}", icmp.from)
        }
        _ if view.flow.protocol == Protocol::TCP => "connection hangs, the data is lost".to_owned(),
        _ => "the data is lost".to_owned(),
    }
}
