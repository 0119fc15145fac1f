//! Sends flows through a running network and watches: a raw socket for each protocol in each host hears
//! what the host's own stack takes, with the header it then has; real sockets listen, connect and answer.
//!
//! A TCP flow is a handshake, data from the client and data back, seven packets, and stays open. A UDP flow
//! is a datagram and its answer, by a socket that is not connected; an ICMP flow an echo and its reply.

mod sockets;
mod wire;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use natpath_engine::trace::Header;
use natpath_model::{Endpoint, Family, Flow, Network, Protocol};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, connect, getsockname, sendto, socket,
    sockopt,
};

use crate::kernel::{World, conntrack};
use crate::observe::{Arrival, Back, Observation, SeenEntry};
use crate::scenario::PacketStep;
use wire::{Read, Role};

pub(crate) use wire::datagram;

/// How long nothing may happen before a flow is taken to have ended.
const PATIENCE: Duration = Duration::from_millis(250);
/// The same when the flow has already got all it can get.
const SETTLE: Duration = Duration::from_millis(4);
/// How long a flow may last altogether.
const LIMIT: Duration = Duration::from_secs(5);

/// A running network with ears and listeners.
#[derive(Debug)]
pub struct Stage<'w> {
    world: &'w World,
    network: &'w Network,
    ears: Vec<Ear>,
    tables: Vec<Watched>,
    tcp: Vec<(usize, TcpListener)>,
    udp: Vec<(usize, OwnedFd)>,
    open: Vec<OwnedFd>,
}

/// A host's conntrack table, and what was in it when it was last read.
#[derive(Debug)]
struct Watched {
    host: usize,
    table: conntrack::Table,
    known: BTreeMap<u32, conntrack::KernelEntry>,
}

#[derive(Debug)]
struct Ear {
    host: usize,
    family: Family,
    protocol: Protocol,
    socket: OwnedFd,
}

/// What was noticed while a flow lasted.
#[derive(Default)]
struct Notes {
    heard: Vec<(usize, Read)>,
    /// Connections that listeners took, and whether they have had the client's data.
    accepted: Vec<(TcpStream, bool)>,
    /// The host whose UDP listener got the question.
    asked: Option<usize>,
    /// What the client's socket got, and from whom.
    got: Option<Option<SocketAddr>>,
    connected: bool,
    failed: Option<Errno>,
}

impl<'w> Stage<'w> {
    /// Opens ears and listeners in every host.
    ///
    /// # Errors
    /// If a socket can't be made.
    pub fn open(world: &'w World, network: &'w Network) -> Result<Self> {
        let mut stage = Self {
            world,
            network,
            ears: Vec::new(),
            tables: Vec::new(),
            tcp: Vec::new(),
            udp: Vec::new(),
            open: Vec::new(),
        };
        for (host, (snapshot, namespace)) in network.hosts.iter().zip(&world.hosts).enumerate() {
            let (ears, tcp, udp) = namespace.run(|| {
                let (mut ears, mut tcp, mut udp) = (Vec::new(), Vec::new(), Vec::new());
                for family in Family::ALL {
                    for protocol in [Protocol::TCP, Protocol::UDP, family.icmp()] {
                        ears.push(Ear { host, family, protocol, socket: sockets::ear(family, protocol)? });
                    }
                }
                for socket in &snapshot.sockets {
                    match socket.protocol {
                        Protocol::TCP => tcp.push((host, sockets::tcp_listener(socket)?)),
                        Protocol::UDP => udp.push((host, sockets::udp_listener(socket)?)),
                        other => bail!("{}: can't listen for {other}", snapshot.name),
                    }
                }
                Ok((ears, tcp, udp))
            })?;
            // Without rules nothing is tracked.
            if !snapshot.files.is_empty() {
                let table = conntrack::Table::open(namespace)?;
                stage.tables.push(Watched { host, table, known: BTreeMap::new() });
            }
            stage.ears.extend(ears);
            stage.tcp.extend(tcp);
            stage.udp.extend(udp);
        }
        Ok(stage)
    }

    /// Sends a flow and watches it to its end.
    ///
    /// # Errors
    /// If it can't be sent from here, or the conntrack tables can't be read.
    pub fn flow(&mut self, flow: &Flow) -> Result<Observation> {
        let start = self.start(flow)?;
        let mut notes = Notes::default();
        self.drain();
        let client = self.client(flow, start)?;
        self.send(flow, &client, &mut notes);
        let stream =
            (flow.protocol == Protocol::TCP).then(|| client.try_clone().map(TcpStream::from)).transpose()?;
        self.watch(flow, start, &client, stream, &mut notes)?;
        let own = getsockname::<SockaddrStorage>(client.as_raw_fd())
            .ok()
            .as_ref()
            .and_then(sockets::socket_address);
        let works = self.works(flow, own, &notes);
        let observation = Observation {
            arrived: self.arrived(&notes)?,
            back: self.back(start, &notes),
            works: Some(works),
            entries: self.new_entries()?,
        };
        let accepted = notes.accepted.into_iter().map(|(stream, _)| OwnedFd::from(stream));
        if works || flow.protocol != Protocol::TCP {
            self.open.extend(accepted);
            self.open.push(client);
        } else {
            for socket in accepted.chain([client]) {
                sockets::mute(&socket);
            }
        }
        Ok(observation)
    }

    /// Sends a frame and watches until nothing happens any more.
    ///
    /// # Errors
    /// If it can't be sent from here, or the conntrack tables can't be read.
    pub fn packet(&mut self, packet: &PacketStep) -> Result<Observation> {
        let from = self.network.hosts.iter().position(|host| host.name == packet.host);
        let from = from.with_context(|| format!("no host {}", packet.host))?;
        let frame = self.frame(packet, from)?;
        self.drain();
        self.world.hosts[from].run(|| {
            let link = getifaddrs()?
                .filter(|interface| interface.interface_name == packet.interface.to_string())
                .find_map(|interface| interface.address?.as_link_addr().copied())
                .context("the interface has no link-layer address")?;
            let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
            sendto(socket.as_raw_fd(), &frame, &link, MsgFlags::empty()).context("can't send a frame")
        })?;
        let mut notes = Notes::default();
        let start = Instant::now();
        let mut last = start;
        while last.elapsed() < PATIENCE && start.elapsed() < LIMIT {
            if self.step(PATIENCE.saturating_sub(last.elapsed()), None, &mut notes)? {
                last = Instant::now();
            }
        }
        let (sent, others): (Vec<_>, Vec<_>) = notes.heard.iter().partition(|(_, read)| read.is_sent(packet));
        let arrived = sent.first().map(|(host, read)| Arrival {
            host: self.name(*host),
            header: read.header,
            listening: None,
        });
        // Ears are read one after the other, so what a host without the socket says about the answer may
        // have been read before it.
        let is_late = |read: &Read| matches!(read.role, Role::First | Role::LateReset | Role::Other);
        let back = others
            .iter()
            .filter(|(_, read)| !matches!(read.role, Role::Error { about_first: false, .. }))
            .min_by_key(|(_, read)| is_late(read));
        let back = back.map(|(host, read)| self.told(*host, *read));
        Ok(Observation { arrived, back, works: None, entries: self.new_entries()? })
    }

    /// Lets time pass.
    pub fn wait(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn name(&self, host: usize) -> String {
        self.network.hosts[host].name.clone()
    }

    /// The host that a flow starts at.
    fn start(&self, flow: &Flow) -> Result<usize> {
        if flow.enters.is_some() {
            bail!("a flow that enters from outside has no host to be sent from");
        }
        let hosts = &self.network.hosts;
        if let Some(from) = &flow.from {
            return hosts
                .iter()
                .position(|host| host.name == *from)
                .with_context(|| format!("no host {from}"));
        }
        let source = flow.src.context("a flow without source address needs from=")?;
        let owners: Vec<_> = (0..hosts.len()).filter(|host| self.owns(*host, source)).collect();
        match owners[..] {
            [owner] => Ok(owner),
            [] => bail!("no host has the address {source}"),
            _ => bail!("several hosts have the address {source}: from= is needed"),
        }
    }

    fn owns(&self, host: usize, address: IpAddr) -> bool {
        let links = &self.network.hosts[host].links;
        links.iter().flat_map(|link| &link.addresses).any(|own| own.local == address)
    }

    fn client(&self, flow: &Flow, start: usize) -> Result<OwnedFd> {
        let owns = flow.src.is_none_or(|source| self.owns(start, source));
        self.world.hosts[start].run(|| sockets::client(flow, owns))
    }

    /// Sends the first packet.
    fn send(&self, flow: &Flow, client: &OwnedFd, notes: &mut Notes) {
        let port = if flow.protocol.has_ports() { flow.dst_port } else { 0 };
        let to = SockaddrStorage::from(SocketAddr::new(flow.dst, port));
        let size = usize::from(flow.size.unwrap_or(0));
        let sent = match flow.protocol {
            Protocol::TCP => match connect(client.as_raw_fd(), &to) {
                Err(Errno::EINPROGRESS) => Ok(()),
                other => other,
            },
            Protocol::UDP => {
                let data = wire::data(wire::QUESTION, size);
                sendto(client.as_raw_fd(), &data, &to, MsgFlags::empty()).map(drop)
            }
            _ => {
                let data = wire::echo_request(flow.dst.is_ipv6(), flow.icmp_id, size);
                sendto(client.as_raw_fd(), &data, &to, MsgFlags::empty()).map(drop)
            }
        };
        notes.failed = sent.err();
    }

    /// Watches a flow until it has what it can get, or nothing happens any more.
    fn watch(
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
    fn step(
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
                if let (Some(from), Some(to)) = (received.from, received.to) {
                    // Where the answer can't be sent, its absence shows.
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

    fn drain(&self) {
        self.hear(&mut Notes::default());
    }

    fn works(&self, flow: &Flow, own: Option<SocketAddr>, notes: &Notes) -> bool {
        let asked = SocketAddr::new(flow.dst, flow.dst_port);
        match flow.protocol {
            Protocol::TCP => notes.got.is_some() && notes.accepted.iter().any(|(_, got)| *got),
            Protocol::UDP => notes.got.flatten() == Some(asked),
            _ => notes.heard.iter().any(|(_, read)| {
                read.role == Role::Answer
                    && read.header.src == Endpoint::new(flow.dst, flow.icmp_id)
                    && own.is_none_or(|own| own.ip().is_unspecified() || own.ip() == read.header.dst.address)
            }),
        }
    }

    fn arrived(&self, notes: &Notes) -> Result<Option<Arrival>> {
        let first = notes.heard.iter().find(|(_, read)| read.role == Role::First);
        let Some((host, read)) = first else { return Ok(None) };
        let listening = match read.header.protocol {
            // A wrong answer's reset may have ended the half-open connection, but then the answer was heard.
            Protocol::TCP => {
                !notes.accepted.is_empty()
                    || notes.heard.iter().any(|(_, read)| read.role == Role::Answer)
                    || self.is_half_open(*host, read.header)?
            }
            Protocol::UDP => notes.asked.is_some(),
            _ => true,
        };
        Ok(Some(Arrival { host: self.name(*host), header: read.header, listening: Some(listening) }))
    }

    /// Whether a listener has answered a SYN and waits for the handshake's end (tcp_states.h, `TCP_SYN_RECV`).
    fn is_half_open(&self, host: usize, header: Header) -> Result<bool> {
        let port = format!(":{:04X} ", header.dst.port.value);
        self.world.hosts[host].run(|| {
            Ok(["tcp", "tcp6"].into_iter().any(|name| {
                let sockets =
                    std::fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
                sockets.lines().any(|line| {
                    let words: Vec<_> = line.split_whitespace().collect();
                    words.get(3) == Some(&"03") && format!("{} ", words[1]).ends_with(&port)
                })
            }))
        })
    }

    fn back(&self, start: usize, notes: &Notes) -> Option<Back> {
        let heard = notes.heard.iter().find(|(_, read)| {
            matches!(read.role, Role::Answer | Role::Reset | Role::Error { about_first: true, .. })
        });
        let own_error = heard.is_some_and(|(host, read)| {
            *host == start
                && matches!(
                    read.role,
                    Role::Error { kind: 3, code: 1, .. } | Role::Error { kind: 1, code: 3, .. }
                )
                && self.owns(start, read.header.src.address)
                && read.header.src.address == read.header.dst.address
        });
        match heard {
            // The sender's own stack says that it can't reach its neighbour.
            Some(_) if own_error => Some(Back::Errno("EHOSTUNREACH".to_owned())),
            Some((host, read)) => Some(self.told(*host, *read)),
            None => notes.failed.map(|error| Back::Errno(format!("{error:?}"))),
        }
    }

    fn told(&self, host: usize, read: Read) -> Back {
        let (host, header) = (self.name(host), read.header);
        match read.role {
            Role::Error { kind, code, about, .. } => {
                Back::Icmp { host, kind, code, from: header.src.address, about }
            }
            Role::Reset | Role::LateReset => Back::Reset { host, header },
            Role::First | Role::Answer | Role::Other => Back::Answer { host, header },
        }
    }

    /// The conntrack entries that were not there when this was asked last.
    fn new_entries(&mut self) -> Result<Vec<SeenEntry>> {
        let mut new = Vec::new();
        for watched in &mut self.tables {
            let now = watched.table.entries()?;
            let name = &self.network.hosts[watched.host].name;
            new.extend(now.values().filter(|entry| !watched.known.contains_key(&entry.id)).map(|entry| {
                let zone = (entry.zone.0, entry.zone_direction);
                SeenEntry::new(name, zone, (entry.original, entry.reply), entry.status, entry.mark)
            }));
            watched.known = now;
        }
        new.sort();
        Ok(new)
    }

    /// The frame of a packet step, for the next hop's hardware address.
    fn frame(&self, packet: &PacketStep, from: usize) -> Result<Vec<u8>> {
        let host = &self.network.hosts[from];
        let link =
            host.link(packet.interface).with_context(|| format!("no interface {}", packet.interface))?;
        let own =
            |end: &&natpath_model::SegmentEnd| end.host == host.name && end.interface == packet.interface;
        let segment = self.network.segments.iter().find(|segment| segment.ends.iter().any(|end| own(&end)));
        let segment = segment.context("the interface is in no segment")?;
        let others: Vec<_> = segment
            .ends
            .iter()
            .filter(|end| !own(end))
            .filter_map(|end| self.network.host(&end.host)?.link(end.interface))
            .collect();
        let owner = |address: IpAddr| {
            others.iter().find(|link| link.addresses.iter().any(|own| own.local == address)).copied()
        };
        let router = || {
            let route = host.routes.iter().find(|route| route.destination.prefix_len() == 0)?;
            owner(route.next_hops.first()?.gateway?)
        };
        let next = match others[..] {
            [only] => Some(only),
            _ => owner(packet.dst.address).or_else(router),
        };
        let to = next.and_then(|link| link.mac).context("it is not clear whom to send the frame to")?;
        Ok(wire::frame(packet, link.mac.context("the interface has no hardware address")?, to))
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
