//! The end of a connection.

use natpath_model::flow::CloseHow;
use natpath_model::{Endpoint, Port, Protocol};

use super::FlowRun;
use super::result::{self, Facts};
use crate::endpoint::{Role, SocketKey, SocketState};
use crate::packet::TcpFlags;
use crate::run::{Connection, Run, Sender};
use crate::trace::Header;

/// Ends a connection from one side: FIN, which the other side returns once it has got it, or RST. Of a
/// connection without such segments only the sockets go.
pub(super) fn run(mut run: Run<'_, '_>, id: &str, how: CloseHow) -> FlowRun {
    let sequence = run.state.sequence;
    let found = run.state.connections.remove(id);
    let by_server = matches!(how, CloseHow::ServerFin | CloseHow::ServerRst);
    let works = found.as_ref().is_some_and(|connection| {
        run.resume(connection);
        end(&mut run, connection, by_server, matches!(how, CloseHow::Fin | CloseHow::ServerFin))
    });
    for key in found.iter().flat_map(|connection| [Some(connection.client), connection.server]).flatten() {
        run.state.sockets.close(&key);
    }
    let sent = header(&run, found.as_ref(), by_server);
    if run.journeys.is_empty() {
        // Nothing is sent, and nothing is told of it.
        run.refuse_to_send(run.sender_node(), sent, "ENOTCONN");
    }
    result::conclude(run, Facts { sent, reply: None, works, broken: None, sequence })
}

fn header(run: &Run<'_, '_>, connection: Option<&Connection>, by_server: bool) -> Header {
    let flow = run.flow;
    let client = Endpoint::new(
        flow.src.unwrap_or(flow.family().unspecified()),
        Port::new(flow.src_port.unwrap_or(natpath_model::Flow::EPHEMERAL)),
    );
    let server = Endpoint::new(flow.dst, Port::new(flow.dst_port));
    let own = connection.and_then(|connection| ends(connection, by_server));
    let asked = if by_server { (server, client) } else { (client, server) };
    let (src, dst) = own.map_or(asked, |(own, _)| (own.local, own.remote));
    Header { protocol: flow.protocol, src, dst }
}

/// The socket that closes, and the other.
fn ends(connection: &Connection, by_server: bool) -> Option<(SocketKey, Option<SocketKey>)> {
    if by_server {
        Some((connection.server?, Some(connection.client)))
    } else {
        Some((connection.client, connection.server))
    }
}

/// Sends what ends the connection; whether both sides know of it afterwards.
fn end(run: &mut Run<'_, '_>, connection: &Connection, by_server: bool, graceful: bool) -> bool {
    if run.flow.protocol != Protocol::TCP {
        return true;
    }
    let Some((own, Some(peer))) = ends(connection, by_server) else { return false };
    let flags = if graceful { TcpFlags::FIN } else { TcpFlags::RST };
    if !send(run, &own, by_server, flags, Role::First) {
        return false;
    }
    let state = |run: &Run<'_, '_>, key: &SocketKey| run.state.sockets.get(key).map(|socket| socket.state);
    if !graceful {
        return state(run, &peer) == Some(SocketState::Reset);
    }
    if state(run, &peer) != Some(SocketState::Closing) {
        return false;
    }
    send(run, &peer, !by_server, TcpFlags::FIN, Role::Other) && state(run, &own) == Some(SocketState::Closing)
}

fn send(run: &mut Run<'_, '_>, own: &SocketKey, by_server: bool, flags: TcpFlags, role: Role) -> bool {
    let Some(transparent) = run.state.sockets.get(own).map(|socket| socket.transparent) else { return false };
    let Some(mut packet) = run.state.sockets.send(own, flags, 0) else { return false };
    if !by_server {
        packet.ttl = run.flow.ttl.unwrap_or(64);
        packet.tos = run.flow.dscp << 2;
    }
    match (by_server, run.sender) {
        (false, Sender::Outside { .. }) => run.send_in(packet, role),
        _ => run.send(own.node.into(), packet, role, transparent, None),
    };
    run.settle();
    true
}
