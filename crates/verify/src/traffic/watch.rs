//! Waits for what a flow brings about, answers as listeners do, and notes what the ears hear.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use natpath_model::{Family, Flow, Protocol};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt;

use super::sockets::Received;
use super::wire::{Read, Role};
use super::{Stage, sockets, wire};

/// How long nothing may happen before a flow is taken to have ended.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);
/// The same when the flow has already got all it can get.
pub(super) const SETTLE: Duration = Duration::from_millis(4);
/// How long a flow may last altogether.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// What was noticed while a flow lasted.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) heard: Vec<(usize, Read)>,
    /// Connections that listeners took, and whether they have had the client's data.
    pub(super) accepted: Vec<(TcpStream, bool)>,
    /// The UDP listener that got the question.
    pub(super) asked: Option<Asked>,
    /// What the client's socket got, and from whom.
    pub(super) got: Option<Option<SocketAddr>>,
    pub(super) connected: bool,
    pub(super) failed: Option<Errno>,
}

/// A question that a UDP listener got.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// The number of the listener.
    pub(super) listener: usize,
    /// The address it was asked at.
    at: AskedAt,
    /// Who asked.
    from: SocketAddr,
}

/// The address at which a UDP listener was asked, from which it answers.
#[derive(Debug, Clone, Copy)]
enum AskedAt {
    /// One of the listener's own, with its port.
    Own(IpAddr),
    /// Any, of a transparent listener: it answers by another socket that has this address and port.
    Any(SocketAddr),
}

impl Asked {
    fn of(listener: usize, received: &Received) -> Option<Self> {
        let any = received.asked_at.map(AskedAt::Any);
        let at = any.or(received.to.map(AskedAt::Own))?;
        Some(Self { listener, at, from: received.from? })
    }
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
                        Role::First
                        | Role::LateReset
                        | Role::More
                        | Role::Acknowledgement
                        | Role::Error { .. }
                        | Role::Other => false,
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
        for (number, (_, listener)) in self.udp.iter().enumerate() {
            while let Some(received) = sockets::receive(listener, &mut buffer) {
                happened = true;
                // An answer that strays to a server is not answered in its turn.
                if !buffer[..received.length].starts_with(wire::QUESTION) {
                    continue;
                }
                if let Some(asked) = Asked::of(number, &received) {
                    notes.asked = Some(asked);
                    // Where the answer can't be sent, its absence shows.
                    let _ = self.answer_of(&asked, &wire::data(wire::ANSWER, received.length));
                }
            }
        }
        Ok(happened)
    }

    /// Sends a datagram from the UDP listener that was asked.
    pub(super) fn answer_of(&self, asked: &Asked, data: &[u8]) -> Result<()> {
        let (host, listener) = &self.udp[asked.listener];
        match asked.at {
            AskedAt::Own(at) => sockets::answer(listener, data, at, asked.from)?,
            AskedAt::Any(at) => {
                self.world.hosts[*host].run(|| sockets::answer_as(data, at, asked.from))?;
            }
        }
        Ok(())
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
        // Once it is connected an error is a soft one: the connection goes on (tcp_ipv4.c, `tcp_v4_err`).
        if stream.peer_addr().is_err() {
            match nix::sys::socket::getsockopt(stream, sockopt::SocketError) {
                Ok(0) | Err(_) => return false,
                Ok(code) => {
                    notes.failed = Some(Errno::from_raw(code));
                    return true;
                }
            }
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
