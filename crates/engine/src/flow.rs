//! Runs one line of a flow from its first packet to its last, and says what became of it.

mod close;
mod more;
mod open;
mod result;

use natpath_model::Flow;
use natpath_model::flow::{CloseHow, Side};

use crate::choice::Choices;
use crate::packet::Packet;
use crate::run::{Beyond, Journey, Run, Sender, State};
use crate::state::Env;
use crate::trace::{End, Header, Outcome, PathResult, Place};
use crate::world::{End as WireEnd, World};

pub(crate) use result::all_drawn;

/// The bytes of data a flow sends where it does not say.
const DATA: u16 = 8;

/// The most data of one TCP segment: the default for IPv4.
const MAX_SEGMENT: u16 = 536;

/// What one run of a flow gave.
#[derive(Debug)]
pub(crate) struct FlowRun {
    pub(crate) sent: Header,
    pub(crate) result: PathResult,
    pub(crate) journeys: Vec<Journey>,
    /// The journey of the first answer.
    pub(crate) reply: Option<usize>,
    pub(crate) state: State,
    pub(crate) env: Env,
    pub(crate) unrecorded: Vec<crate::trace::Unrecorded>,
}

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start<'f> {
    pub(crate) flow: &'f Flow,
    pub(crate) sender: Sender,
    pub(crate) act: Act<'f>,
    /// How many lines of flows were before it.
    pub(crate) number: u32,
}

/// What happens on a flow's connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act<'f> {
    /// It is opened and used.
    Open,
    /// In its place a single frame is sent, from an interface to another.
    Frame(WireEnd, WireEnd, Packet),
    /// An end of the connection of this name sends more data.
    More(&'f str, Side),
    /// The connection of this name is ended.
    Close(&'f str, CloseHow),
}

impl Act<'_> {
    /// Whether the first packet goes the way of the connection's first.
    pub(crate) fn is_by_client(&self) -> bool {
        !matches!(
            self,
            Self::More(_, Side::Server) | Self::Close(_, CloseHow::ServerFin | CloseHow::ServerRst)
        )
    }
}

/// Runs a line once.
pub(crate) fn run(
    world: &World<'_>,
    start: &Start<'_>,
    state: State,
    choices: Choices,
    beyond: Beyond,
) -> FlowRun {
    let run = Run::new(world, start.flow, start.sender, state, choices, beyond);
    match start.act {
        Act::Open => open::run(run, start.number),
        Act::Frame(from, to, packet) => open::inject(run, from, to, packet),
        Act::More(id, side) => more::run(run, id, side),
        Act::Close(id, how) => close::run(run, id, how),
    }
}

/// The bytes that each side of a TCP flow sends: a stream is cut to what every path takes (RFC 9293, 3.7.1).
fn sent_bytes(flow: &Flow) -> u16 {
    flow.size.unwrap_or(DATA).min(MAX_SEGMENT)
}

/// Whoever took a packet; beyond a router that is the destination itself.
fn server_node(end: &End) -> Place {
    if end.outcome == Outcome::Left { Place::Assumed(end.header.dst.address) } else { end.at.host }
}

fn is_taken(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Delivered | Outcome::Left)
}
