//! The connections of flows that have a name: more data on them, and their end.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use natpath_model::flow::{CloseHow, Side};
use natpath_model::{Endpoint, Flow, Protocol};
use nix::errno::Errno;
use nix::sys::socket::{SockaddrStorage, getsockname, getsockopt, sockopt};

use super::watch::{Asked, LIMIT, Notes, PATIENCE, SETTLE};
use super::wire::{Read, Role};
use super::{Stage, sockets, wire};
use crate::observe::{Arrival, Back, Observation, SeenChange, SeenClosing, state_name};

/// A flow that has a name.
#[derive(Debug)]
pub(super) struct Held {
    flow: Flow,
    start: usize,
    ends: Ends,
}

/// The sockets of a connection.
#[derive(Debug)]
enum Ends {
    /// None: it failed, or was ended.
    None,
    Stream {
        client: TcpStream,
        server: TcpStream,
    },
    Datagram {
        client: OwnedFd,
        asked: Option<Asked>,
    },
}

impl Held {
    /// Keeps what a flow has opened; a failed connection vanishes without a packet.
    pub(super) fn new(flow: &Flow, start: usize, works: bool, client: OwnedFd, notes: Notes) -> Self {
        let ends = if flow.protocol != Protocol::TCP {
            Ends::Datagram { client, asked: notes.asked }
        } else if let (true, Some((server, _))) = (works, notes.accepted.into_iter().find(|(_, got)| *got)) {
            Ends::Stream { client: client.into(), server }
        } else {
            sockets::mute(&client);
            Ends::None
        };
        Self { flow: flow.clone(), start, ends }
    }
}

impl Stage<'_> {
    /// Sends more data from one end of a named flow's connection, and watches it to its end.
    ///
    /// # Errors
    /// If there is no such flow, or the conntrack tables can't be read.
    pub fn more(&mut self, id: &str, side: Side) -> Result<Observation> {
        let mut held = self.held.remove(id).with_context(|| format!("no flow is named {id}"))?;
        self.drain();
        let seen = self.more_of(&mut held, side);
        self.held.insert(id.to_owned(), held);
        seen
    }

    fn more_of(&mut self, held: &mut Held, side: Side) -> Result<Observation> {
        let Held { flow, start, ends } = held;
        match (ends, side) {
            (Ends::None, _) => self.refused(Errno::EPIPE),
            (Ends::Stream { client, server }, Side::Client) => self.more_of_stream(flow, client, server),
            (Ends::Stream { client, server }, Side::Server) => self.more_of_stream(flow, server, client),
            (Ends::Datagram { client, asked }, Side::Client) => {
                let mut notes = Notes::default();
                self.send(flow, client, &mut notes);
                self.watch(flow, *start, client, None, &mut notes)?;
                let own = getsockname::<SockaddrStorage>(client.as_raw_fd()).ok();
                let own = own.as_ref().and_then(sockets::socket_address);
                *asked = notes.asked.or(*asked);
                Ok(Observation {
                    arrived: self.arrived(&notes)?,
                    back: self.back(*start, &notes),
                    works: Some(self.works(flow, own, &notes)),
                    entries: self.new_entries()?,
                })
            }
            (Ends::Datagram { asked: None, .. }, Side::Server) => self.refused(Errno::ENOTCONN),
            (Ends::Datagram { client, asked: Some(asked) }, Side::Server) => {
                self.more_of_server(flow, client, *asked)
            }
        }
    }

    /// Nothing could be sent.
    fn refused(&mut self, errno: Errno) -> Result<Observation> {
        let back = Some(Back::Errno(format!("{errno:?}")));
        Ok(Observation { arrived: None, back, works: Some(false), entries: self.new_entries()? })
    }

    /// Data on a TCP connection, which the other end acknowledges.
    fn more_of_stream(
        &mut self,
        flow: &Flow,
        from: &mut TcpStream,
        to: &mut TcpStream,
    ) -> Result<Observation> {
        let own = endpoint(from.local_addr().ok());
        sockets::be_prompt(to);
        // What ended the connection earlier is told once by the socket, whoever asks.
        let _ = getsockopt(from, sockopt::SocketError);
        if let Err(error) = from.write_all(&wire::data(wire::MORE, usize::from(flow.size.unwrap_or(0)))) {
            return self.refused(error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw));
        }
        let mut notes = Notes::default();
        let mut got = false;
        let mut reset = false;
        let is_own = |read: &Read| read.role == Role::Acknowledgement && Some(read.header.dst) == own;
        self.watch_until(&mut notes, |notes| {
            let happened = match to.read(&mut [0; 4096]) {
                Ok(1..) => {
                    got = true;
                    sockets::be_prompt(to);
                    true
                }
                Ok(0) | Err(_) => false,
            };
            reset |= is_reset(from);
            let acknowledged = notes.heard.iter().any(|(_, read)| is_own(read));
            (happened, got && acknowledged || reset)
        })?;
        let acknowledged = notes.heard.iter().any(|(_, read)| is_own(read));
        Ok(Observation {
            arrived: self.more_arrived(&notes, got),
            back: self.back_for_more(&notes),
            works: Some(got && acknowledged && !reset),
            entries: self.new_entries()?,
        })
    }

    /// A datagram of the server's that nobody asked for.
    fn more_of_server(&mut self, flow: &Flow, client: &OwnedFd, asked: Asked) -> Result<Observation> {
        let data = wire::data(wire::MORE, usize::from(flow.size.unwrap_or(0)));
        if let Err(error) = self.answer_of(&asked, &data) {
            return self.refused(error.downcast::<Errno>()?);
        }
        let mut notes = Notes::default();
        let mut from = None;
        self.watch_until(&mut notes, |_| {
            let received = sockets::receive(client, &mut [0; 2048]);
            let happened = received.is_some();
            from = from.or(received.and_then(|received| received.from));
            (happened, from.is_some())
        })?;
        let wanted = SocketAddr::new(flow.dst, flow.dst_port);
        let is_right = from.is_some_and(|from| (from.ip(), from.port()) == (wanted.ip(), wanted.port()));
        Ok(Observation {
            arrived: self.more_arrived(&notes, from.is_some()),
            back: self.back_for_more(&notes),
            works: Some(is_right),
            entries: self.new_entries()?,
        })
    }

    /// Watches until a check says that all is there, or nothing happens any more. The check says as well
    /// whether something has happened.
    fn watch_until(
        &mut self,
        notes: &mut Notes,
        mut check: impl FnMut(&Notes) -> (bool, bool),
    ) -> Result<()> {
        let begun = Instant::now();
        let (mut last, mut over) = (begun, false);
        while begun.elapsed() < LIMIT {
            let patience: Duration = if over { SETTLE } else { PATIENCE };
            let Some(left) = patience.checked_sub(last.elapsed()).filter(|left| !left.is_zero()) else {
                break;
            };
            let heard = self.step(left.min(SETTLE), None, notes)?;
            let (happened, done) = check(notes);
            if heard || happened {
                last = Instant::now();
            }
            over |= done;
        }
        Ok(())
    }

    /// Where the data arrived; `got`: whether the other end's socket took it.
    fn more_arrived(&self, notes: &Notes, got: bool) -> Option<Arrival> {
        let (host, read) = notes.heard.iter().find(|(_, read)| read.role == Role::More)?;
        Some(Arrival { host: self.name(*host), header: read.header, listening: Some(got) })
    }

    fn back_for_more(&self, notes: &Notes) -> Option<Back> {
        let is_back = |read: &Read| {
            matches!(
                read.role,
                Role::Acknowledgement | Role::Reset | Role::LateReset | Role::Error { about_first: true, .. }
            )
        };
        let heard = notes.heard.iter().find(|(_, read)| is_back(read));
        heard.map(|(host, read)| self.told(*host, *read))
    }

    /// Ends a named flow's connection.
    ///
    /// # Errors
    /// If there is no such flow, or the conntrack tables can't be read.
    pub fn close(&mut self, id: &str, how: CloseHow) -> Result<SeenClosing> {
        let held = self.held.get_mut(id).with_context(|| format!("no flow is named {id}"))?;
        let ends = std::mem::replace(&mut held.ends, Ends::None);
        // What packets since the last flow have changed is not the end's doing.
        self.new_entries()?;
        let (open, arrived) = match ends {
            Ends::None => (false, false),
            Ends::Datagram { .. } => (true, true),
            Ends::Stream { client, server } => {
                let (own, peer) = match how {
                    CloseHow::Fin | CloseHow::Rst => (client, server),
                    CloseHow::ServerFin | CloseHow::ServerRst => (server, client),
                };
                let graceful = matches!(how, CloseHow::Fin | CloseHow::ServerFin);
                // What ended it earlier may not have been read yet.
                if is_reset(&own) || own.peer_addr().is_err() {
                    sockets::mute(&peer);
                    (false, false)
                } else {
                    (true, if graceful { finish(own, peer)? } else { abort(own, peer)? })
                }
            }
        };
        Ok(SeenClosing { open, arrived, changes: self.changes()? })
    }

    /// The conntrack entries whose TCP state has changed since they were read last.
    fn changes(&mut self) -> Result<Vec<SeenChange>> {
        let mut changes = Vec::new();
        for watched in &mut self.tables {
            let now = watched.table.entries()?;
            for (id, was) in &watched.known {
                let is = now.get(id);
                if is.is_none_or(|is| is.tcp != was.tcp) {
                    changes.push(SeenChange {
                        host: self.network.hosts[watched.host].name.clone(),
                        original: was.original,
                        from: state_name(was.tcp),
                        to: is.map(|is| state_name(is.tcp)),
                    });
                }
            }
            watched.known = now;
        }
        changes.sort();
        Ok(changes)
    }
}

/// A FIN from one side, then one from the other; whether both arrived. What fails vanishes in silence.
fn finish(mut own: TcpStream, mut peer: TcpStream) -> Result<bool> {
    if own.shutdown(Shutdown::Write).is_ok() && is_over(&mut peer)? {
        // The acknowledgement goes out before the other FIN.
        sockets::be_prompt(&peer);
        std::thread::sleep(SETTLE);
        if peer.shutdown(Shutdown::Write).is_ok() && is_over(&mut own)? {
            std::thread::sleep(SETTLE);
            return Ok(true);
        }
    }
    sockets::mute(&own);
    sockets::mute(&peer);
    Ok(false)
}

/// A reset from one side; whether it arrived.
fn abort(own: TcpStream, mut peer: TcpStream) -> Result<bool> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(&own, sockopt::Linger, &linger).context("SO_LINGER")?;
    drop(own);
    let arrived = is_over(&mut peer)?;
    std::thread::sleep(SETTLE);
    sockets::mute(&peer);
    Ok(arrived)
}

/// Waits for a connection to end as its one side sees it.
fn is_over(stream: &mut TcpStream) -> Result<bool> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let begun = Instant::now();
    while begun.elapsed() < LIMIT {
        match stream.read(&mut [0; 4096]) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(false);
            }
            Err(error) => bail!("a connection ends with {error}"),
        }
    }
    Ok(false)
}

/// Whether a connection was reset.
fn is_reset(stream: &TcpStream) -> bool {
    matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::ConnectionReset)
}

fn endpoint(address: Option<SocketAddr>) -> Option<Endpoint> {
    address.map(Endpoint::from)
}
