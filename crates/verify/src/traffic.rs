//! Sends flows through a running network and watches: a raw socket for each protocol in each host hears
//! what the host's own stack takes, with the header it then has; real sockets listen, connect and answer.
//!
//! A TCP flow is a handshake, data from the client and data back, seven packets, and stays open. A UDP flow
//! is a datagram and its answer, by a socket that is not connected; an ICMP flow an echo and its reply.

mod sockets;
mod told;
mod watch;
mod wire;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use natpath_model::{Family, Flow, Network, Protocol};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, connect, getsockname, sendto, socket,
};

use crate::kernel::{World, conntrack};
use crate::observe::{Arrival, Observation};
use crate::scenario::PacketStep;
use watch::{LIMIT, Notes, PATIENCE};
use wire::{Read, Role};

pub(crate) use wire::datagram;

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
                let known =
                    if snapshot.connections.is_empty() { BTreeMap::new() } else { table.entries()? };
                stage.tables.push(Watched { host, table, known });
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
