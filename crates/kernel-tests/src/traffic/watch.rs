//! Waits for what a flow brings about, answers as listeners do, and notes what the ears hear.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use natpath_model::{Family, Flow, Protocol};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt;

use super::wire::{Read, Role};
use super::{Stage, sockets, wire};

/// How long nothing may happen before a flow is taken to have ended.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);
/// The same when the flow has already got all it can get.
const SETTLE: Duration = Duration::from_millis(4);
/// How long a flow may last altogether.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// What was noticed while a flow lasted.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) heard: Vec<(usize, Read)>,
    /// Connections that listeners took, and whether they have had the client's data.
    pub(super) accepted: Vec<(TcpStream, bool)>,
    /// The host whose UDP listener got the question.
    pub(super) asked: Option<usize>,
    /// What the client's socket got, and from whom.
    pub(super) got: Option<Option<SocketAddr>>,
    pub(super) connected: bool,
    pub(super) failed: Option<Errno>,
}

impl Stage<'_> {
    /// Watches a flow until it has what it can get, or nothing happens any more.
    pub(super) fn watch(
        &mut self,
        flow: &Flow,
        start: usize,
        client: &OwnedFd,
        mut stream: Option<TcpStream>,
        notes: &mut Notes,
    ) -> Result<()> {
        let begun = Instant::now();
        let mut last = begun;
        while begun.elapsed() < LIMIT {
            let patience = if self.is_over(start, notes) { SETTLE } else { PATIENCE };
            if last.elapsed() >= patience {
                break;
            }
            let mut happened = self.step(
                patience.saturating_sub(last.elapsed()),
                Some((client, notes.connected || stream.is_none())),
                notes,
            )?;
            happened |= match &mut stream {
                Some(stream) => advance(stream, flow, notes),
                None => hear_answer(client, flow, notes),
            };
            if happened {
                last = Instant::now();
            }
        }
        Ok(())
    }

    /// Whether nothing more is to be expected.
    fn is_over(&self, start: usize, notes: &Notes) -> bool {
        notes.got.is_some()
            || notes.failed.is_some()
            || notes.heard.iter().any(|(host, read)| {
                *host == start
                    && match read.role {
                        Role::Reset | Role::Error { about_first: true, .. } => true,
                        Role::Answer => read.header.protocol.is_icmp(),
                        Role::First | Role::LateReset | Role::Error { .. } | Role::Other => false,
                    }
            })
    }

    /// Waits for something to happen anywhere, and deals with it.
    pub(super) fn step(
        &mut self,
        patience: Duration,
        client: Option<(&OwnedFd, bool)>,
        notes: &mut Notes,
    ) -> Result<bool> {
        let client = client.filter(|_| notes.failed.is_none()).map(|(client, connected)| {
            let flags = if connected { PollFlags::POLLIN } else { PollFlags::POLLOUT };
            PollFd::new(client.as_fd(), flags)
        });
        let ready = {
            let mut all: Vec<PollFd<'_>> =
                self.descriptors(notes).map(|socket| PollFd::new(socket, PollFlags::POLLIN)).collect();
            all.extend(client);
            let timeout =
                PollTimeout::try_from(patience.max(Duration::from_millis(1))).unwrap_or(PollTimeout::ZERO);
            poll(&mut all, timeout).context("poll")? > 0
        };
        if !ready {
            return Ok(false);
        }
        let mut happened = self.hear(notes);
        for (_, listener) in &self.tcp {
            while let Ok((stream, _)) = listener.accept() {
                stream.set_nonblocking(true)?;
                sockets::be_prompt(&stream);
                notes.accepted.push((stream, false));
                happened = true;
            }
        }
        let mut buffer = [0; 2048];
        for (stream, got) in notes.accepted.iter_mut().filter(|(_, got)| !got) {
            if matches!(stream.read(&mut buffer), Ok(1..)) {
                *got = true;
                happened = true;
                sockets::be_prompt(stream);
                let _ = stream.write_all(wire::ANSWER);
            }
        }
        for (host, listener) in &self.udp {
            while let Some(received) = sockets::receive(listener, &mut buffer) {
                happened = true;
                notes.asked = Some(*host);
                // An answer that strays to a server is not answered in its turn.
                if !buffer[..received.length].starts_with(wire::QUESTION) {
                    continue;
                }
                // Where the answer can't be sent, its absence shows.
                let Some(from) = received.from else { continue };
                if let Some(asked_at) = received.asked_at {
                    let _ = self.world.hosts[*host].run(|| sockets::answer_as(wire::ANSWER, asked_at, from));
                } else if let Some(to) = received.to {
                    let _ = sockets::answer(listener, wire::ANSWER, to, from);
                }
            }
        }
        Ok(happened)
    }

    fn descriptors<'a>(&'a self, notes: &'a Notes) -> impl Iterator<Item = BorrowedFd<'a>> {
        let ears = self.ears.iter().map(|ear| ear.socket.as_fd());
        let tcp = self.tcp.iter().map(|(_, listener)| listener.as_fd());
        let udp = self.udp.iter().map(|(_, listener)| listener.as_fd());
        let accepted = notes.accepted.iter().filter(|(_, got)| !got).map(|(stream, _)| stream.as_fd());
        ears.chain(tcp).chain(udp).chain(accepted)
    }

    /// Notes all packets that the ears have heard.
    fn hear(&self, notes: &mut Notes) -> bool {
        let mut buffer = [0; 65536];
        let before = notes.heard.len();
        let mut happened = false;
        for ear in &self.ears {
            while let Some(received) = sockets::receive(&ear.socket, &mut buffer) {
                happened = true;
                let packet = &buffer[..received.length];
                let read = match (ear.family, received.from, received.to) {
                    (Family::Ip4, ..) => wire::read4(packet),
                    (Family::Ip6, Some(from), Some(to)) => wire::read(from.ip(), to, ear.protocol, packet),
                    (Family::Ip6, ..) => None,
                };
                notes.heard.extend(read.map(|read| (ear.host, read)));
            }
        }
        happened || notes.heard.len() > before
    }

    /// Forgets what was heard so far.
    pub(super) fn drain(&self) {
        self.hear(&mut Notes::default());
    }
}

/// Takes a TCP client on: connected, data sent, data received.
fn advance(stream: &mut TcpStream, flow: &Flow, notes: &mut Notes) -> bool {
    if notes.failed.is_some() || notes.got.is_some() {
        return false;
    }
    if !notes.connected {
        match nix::sys::socket::getsockopt(stream, sockopt::SocketError) {
            Ok(0) => {}
            Ok(code) => {
                notes.failed = Some(Errno::from_raw(code));
                return true;
            }
            Err(_) => return false,
        }
        if stream.peer_addr().is_err() {
            return false;
        }
        notes.connected = true;
        sockets::be_prompt(stream);
        let _ = stream.write_all(&wire::data(wire::QUESTION, usize::from(flow.size.unwrap_or(0))));
        return true;
    }
    let mut buffer = [0; 64];
    match stream.read(&mut buffer) {
        Ok(1..) => notes.got = Some(None),
        Ok(0) => notes.failed = Some(Errno::ECONNRESET),
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EAGAIN) | None => return false,
            Some(error) => notes.failed = Some(error),
        },
    }
    true
}

/// Takes the answer to a datagram.
fn hear_answer(client: &OwnedFd, flow: &Flow, notes: &mut Notes) -> bool {
    if flow.protocol != Protocol::UDP {
        // A raw socket gets a copy of all that the ears hear.
        let mut buffer = [0; 2048];
        return sockets::receive(client, &mut buffer).is_some();
    }
    let mut buffer = [0; 64];
    let Some(received) = sockets::receive(client, &mut buffer) else { return false };
    if notes.got.is_none() && buffer[..received.length].starts_with(wire::ANSWER) {
        notes.got = Some(received.from.map(|from| SocketAddr::new(from.ip(), from.port())));
    }
    true
}
