//! More data on a connection that is open.

use natpath_model::flow::Side;
use natpath_model::{Port, Protocol};

use super::result::{self, Facts};
use super::{DATA, FlowRun, is_taken, sent_bytes, server_node};
use crate::endpoint::{Role, SocketKey, SocketState};
use crate::packet::{Packet, TcpFlags, Transport, icmp};
use crate::run::{Connection, Run, Sender};
use crate::skb::Transparent;
use crate::trace::{Broken, FlowPacket, Header, Outcome, Place, Why};

/// Sends data from one end; the other acknowledges it, or answers a datagram.
pub(super) fn run(mut run: Run<'_, '_>, id: &str, side: Side) -> FlowRun {
    let sequence = run.state.sequence;
    let found = run.state.connections.get(id).cloned();
    let ends = found.as_ref().and_then(|connection| ends(connection, side));
    let (sent, works, broken) = match (found, ends) {
        (Some(connection), Some((own, peer))) => {
            run.resume(&connection);
            if run.flow.protocol == Protocol::TCP {
                send_segment(&mut run, &own, peer.as_ref(), side)
            } else {
                send_datagram(&mut run, id, &connection, &own, side)
            }
        }
        (_, _) => not_open(&mut run, side),
    };
    let reply = result::first_answer(&run.journeys);
    result::conclude(run, Facts { sent, reply, works, broken, sequence })
}

/// The sending socket and the other.
fn ends(connection: &Connection, side: Side) -> Option<(SocketKey, Option<SocketKey>)> {
    match side {
        Side::Client => Some((connection.client, connection.server)),
        Side::Server => Some((connection.server?, Some(connection.client))),
    }
}

/// Nothing can be sent: the connection was never open, or is not any more.
fn not_open(run: &mut Run<'_, '_>, side: Side) -> (Header, bool, Option<Broken>) {
    let flow = run.flow;
    let client = natpath_model::Endpoint::new(
        flow.src.unwrap_or(flow.family().unspecified()),
        Port::new(flow.src_port.unwrap_or(natpath_model::Flow::EPHEMERAL)),
    );
    let server = natpath_model::Endpoint::new(flow.dst, Port::new(flow.dst_port));
    let (src, dst) = match side {
        Side::Client => (client, server),
        Side::Server => (server, client),
    };
    let header = Header { protocol: flow.protocol, src, dst };
    // tcp_sendmsg on a socket without a connection; of other protocols only the server's end can lack.
    let errno = if flow.protocol == Protocol::TCP { "EPIPE" } else { "ENOTCONN" };
    run.refuse_to_send(run.sender_node(), header, errno);
    (header, false, None)
}

fn header_of(key: &SocketKey) -> Header {
    Header { protocol: key.protocol, src: key.local, dst: key.remote }
}

/// Sends from a socket, as the client's own flow asks for where it is the client's.
fn send(
    run: &mut Run<'_, '_>,
    own: &SocketKey,
    mut packet: Packet,
    side: Side,
    role: Role,
    transparent: Transparent,
) -> usize {
    if side == Side::Client {
        packet.ttl = run.flow.ttl.unwrap_or(64);
        packet.tos = run.flow.dscp << 2;
    }
    match (side, run.sender) {
        (Side::Client, Sender::Outside { .. }) => run.send_in(packet, role),
        _ => run.send(own.node.into(), packet, role, transparent, None),
    }
}

fn send_segment(
    run: &mut Run<'_, '_>,
    own: &SocketKey,
    peer: Option<&SocketKey>,
    side: Side,
) -> (Header, bool, Option<Broken>) {
    let transparent = run.state.sockets.get(own).map(|socket| socket.transparent);
    let packet = run.state.sockets.send(own, TcpFlags::PSH, sent_bytes(run.flow));
    let (Some(packet), Some(transparent)) = (packet, transparent) else {
        return not_open(run, side);
    };
    send(run, own, packet, side, Role::First, transparent);
    run.settle();
    // What was lost before is missed by the other end, and sent again (RFC 6675).
    if let Some(packet) = peer.and_then(|peer| run.state.sockets.send_again(own, peer)) {
        send(run, own, packet, side, Role::Other, transparent);
        run.settle();
    }
    let is_acknowledged = run
        .state
        .sockets
        .get(own)
        .is_some_and(|socket| socket.state != SocketState::Reset && socket.is_acknowledged());
    let taken = is_taken(result::ended(&run.journeys[0]).outcome);
    let works = taken && is_acknowledged;
    let broken = (taken && !works).then(|| lost_answer(run)).flatten();
    (header_of(own), works, broken)
}

/// The acknowledgement or answer that did not arrive.
fn lost_answer(run: &Run<'_, '_>) -> Option<Broken> {
    let journey = &run.journeys[result::first_answer(&run.journeys)?];
    let end = result::ended(journey);
    (end.outcome != Outcome::Delivered).then(|| Broken {
        packet: FlowPacket::Answer,
        end,
        hops: journey.hops.clone(),
    })
}

fn send_datagram(
    run: &mut Run<'_, '_>,
    id: &str,
    connection: &Connection,
    own: &SocketKey,
    side: Side,
) -> (Header, bool, Option<Broken>) {
    let (flow, client) = (run.flow, connection.client);
    let transport = if flow.protocol.is_icmp() {
        let kind = icmp::echo_request(flow.family());
        Transport::Query { kind, code: 0, id: own.local.port }
    } else {
        Transport::Ports { protocol: flow.protocol, src: own.local.port, dst: own.remote.port }
    };
    let mut packet = Packet::new(own.local.address, own.remote.address, transport);
    packet.data = flow.size.unwrap_or(DATA);
    packet.dont_fragment = flow.dont_fragment && side == Side::Client;
    if side == Side::Client {
        run.state.sockets.wait_again(&client);
    }
    let transparent = match side {
        Side::Client => run.client_is_transparent(),
        Side::Server => connection.server_transparent,
    };
    send(run, own, packet, side, Role::First, transparent);
    run.settle();
    let end = result::ended(&run.journeys[0]);
    let taken = is_taken(end.outcome);
    let to_client = match side {
        Side::Client => run
            .journeys
            .iter()
            .find(|journey| journey.role == Role::Needed(FlowPacket::Answer))
            .map(|journey| (FlowPacket::Answer, journey)),
        Side::Server => Some((FlowPacket::ServerData, &run.journeys[0])),
    };
    // The client takes datagrams from anybody, but this one is from somebody else than it asked.
    let is_right = |header: &Header| {
        header.src == client.remote || flow.protocol.is_icmp() && header.src.address == flow.dst
    };
    let sender = Place::from(client.node);
    let broken = to_client.filter(|_| taken).and_then(|(packet, journey)| {
        let mut end = result::ended(journey);
        let here = end.at.host == sender && matches!(end.outcome, Outcome::Delivered | Outcome::NoListener);
        if here && !is_right(&end.header) {
            (end.outcome, end.why) = (Outcome::Delivered, Some(Why::WrongSource));
        }
        let arrived = here && end.outcome == Outcome::Delivered && end.why.is_none();
        (!arrived).then(|| Broken { packet, end, hops: journey.hops.clone() })
    });
    let answered = match side {
        Side::Client => {
            run.state.sockets.get(&client).is_some_and(|socket| socket.state == SocketState::Open)
        }
        Side::Server => true,
    };
    if side == Side::Client && taken {
        let (local, remote) = (end.header.dst, end.header.src);
        let server = SocketKey { node: server_node(&end).into(), protocol: client.protocol, local, remote };
        run.keep_open(id, client, Some(server));
    }
    (header_of(own), taken && broken.is_none() && answered, broken)
}
