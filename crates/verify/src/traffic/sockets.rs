//! Sockets made inside a namespace: raw ones that hear, listening ones that answer, those of clients.

use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use anyhow::{Context, Result};
use natpath_model::{Bind, Family, Flow, Protocol, Socket};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType,
    SockaddrIn, SockaddrIn6, SockaddrStorage, bind, listen, recvmsg, sendmsg, sendto, setsockopt, socket,
    sockopt,
};
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};

const FLAGS: SockFlag = SockFlag::SOCK_CLOEXEC.union(SockFlag::SOCK_NONBLOCK);

/// A datagram or raw packet as received.
pub(super) struct Received {
    /// Its length.
    pub(super) length: usize,
    /// Who sent it.
    pub(super) from: Option<SocketAddr>,
    /// The address it was sent to, where the socket was told to say.
    pub(super) to: Option<IpAddr>,
    /// The same with the port, of a transparent socket.
    pub(super) asked_at: Option<SocketAddr>,
}

/// A raw socket that hears all packets of a protocol that the host's own stack takes.
pub(super) fn ear(family: Family, protocol: Protocol) -> Result<OwnedFd> {
    let (domain, number) = match (family, protocol) {
        (Family::Ip4, Protocol::TCP) => (AddressFamily::Inet, SockProtocol::Tcp),
        (Family::Ip6, Protocol::TCP) => (AddressFamily::Inet6, SockProtocol::Tcp),
        (Family::Ip4, Protocol::UDP) => (AddressFamily::Inet, SockProtocol::Udp),
        (Family::Ip6, Protocol::UDP) => (AddressFamily::Inet6, SockProtocol::Udp),
        (Family::Ip4, _) => (AddressFamily::Inet, SockProtocol::Icmp),
        (Family::Ip6, _) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    let socket = socket(domain, SockType::Raw, FLAGS, number).context("no raw socket")?;
    if family == Family::Ip6 {
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    }
    Ok(socket)
}

/// A listening TCP socket.
pub(super) fn tcp_listener(wanted: &Socket) -> Result<TcpListener> {
    let socket = bound(wanted, SockType::Stream)?;
    listen(&socket, Backlog::new(16)?).context("listen")?;
    Ok(TcpListener::from(socket))
}

/// A UDP socket that says at which address it is asked, a transparent one also at which port.
pub(super) fn udp_listener(wanted: &Socket) -> Result<OwnedFd> {
    let socket = bound(wanted, SockType::Datagram)?;
    match (local(wanted), is_transparent(wanted)) {
        (SocketAddr::V4(_), false) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
        (SocketAddr::V6(_), false) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        (SocketAddr::V4(_), true) => setsockopt(&socket, sockopt::Ipv4OrigDstAddr, &true)?,
        (SocketAddr::V6(_), true) => {
            setsockopt(&socket, sockopt::Ipv6OrigDstAddr, &true)?;
            // It may take IPv4, too.
            setsockopt(&socket, sockopt::Ipv4OrigDstAddr, &true)?;
        }
    }
    Ok(socket)
}

/// Whether a listener may answer from an address that its host lacks: where no listing says so, as a
/// prediction assumes.
fn is_transparent(wanted: &Socket) -> bool {
    wanted.transparent != Some(false)
}

fn bound(wanted: &Socket, kind: SockType) -> Result<OwnedFd> {
    let address = local(wanted);
    let socket = socket(domain(Family::of(address.ip())), kind, FLAGS, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &(wanted.bind != Bind::AnyBoth))?;
    }
    if let Some(interface) = wanted.interface {
        setsockopt(&socket, sockopt::BindToDevice, &interface.to_string().into())?;
    }
    if is_transparent(wanted) {
        anywhere(&socket, address.is_ipv6())?;
    } else {
        bind_freely(&socket, address.is_ipv6())?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))
        .with_context(|| format!("can't listen on {address}"))?;
    Ok(socket)
}

fn local(wanted: &Socket) -> SocketAddr {
    let address = match wanted.bind {
        Bind::Address(address) => address,
        Bind::Any(family) => family.unspecified(),
        Bind::AnyBoth => Family::Ip6.unspecified(),
    };
    SocketAddr::new(address, wanted.port)
}

/// The socket that sends a flow's first packet: bound, marked and so on as the flow says.
pub(super) fn client(flow: &Flow, owns_source: bool) -> Result<OwnedFd> {
    let family = flow.family();
    let (kind, protocol) = match flow.protocol {
        Protocol::TCP => (SockType::Stream, None),
        Protocol::UDP => (SockType::Datagram, None),
        Protocol::ICMP => (SockType::Raw, Some(SockProtocol::Icmp)),
        _ => (SockType::Raw, Some(SockProtocol::IcmpV6)),
    };
    // The calling thread is the namespace's own and ends with this socket, so its ids need no restoring.
    if let Some(gid) = flow.gid {
        setfsgid(Gid::from_raw(gid));
    }
    if let Some(uid) = flow.uid {
        setfsuid(Uid::from_raw(uid));
    }
    let socket = socket(domain(family), kind, FLAGS, protocol).context("no client socket")?;
    let is_v6 = family == Family::Ip6;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if flow.mark != 0 {
        setsockopt(&socket, sockopt::Mark, &flow.mark)?;
    }
    if let Some(interface) = flow.bound {
        setsockopt(&socket, sockopt::BindToDevice, &interface.to_string().into())?;
    }
    if let Some(ttl) = flow.ttl {
        let (level, name) = if is_v6 {
            (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS)
        } else {
            (libc::IPPROTO_IP, libc::IP_TTL)
        };
        set_number(&socket, level, name, i32::from(ttl))?;
    }
    if flow.dscp != 0 {
        let (level, name) =
            if is_v6 { (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) } else { (libc::IPPROTO_IP, libc::IP_TOS) };
        set_number(&socket, level, name, i32::from(flow.dscp) << 2)?;
    }
    if flow.protocol != Protocol::TCP {
        let value = if flow.dont_fragment { libc::IP_PMTUDISC_PROBE } else { libc::IP_PMTUDISC_DONT };
        let (level, name) = if is_v6 {
            (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER)
        } else {
            (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER)
        };
        set_number(&socket, level, name, value)?;
    }
    if !owns_source {
        anywhere(&socket, is_v6)?;
    }
    let port = if flow.protocol.has_ports() { flow.src_port.unwrap_or(Flow::EPHEMERAL) } else { 0 };
    if flow.src.is_some() || port != 0 {
        let address = SocketAddr::new(flow.src.unwrap_or(family.unspecified()), port);
        bind(socket.as_raw_fd(), &SockaddrStorage::from(address))
            .with_context(|| format!("can't send from {address}"))?;
    }
    Ok(socket)
}

/// Lets a socket be bound to an address that the host lacks, though not send from it.
fn bind_freely(socket: &OwnedFd, is_v6: bool) -> Result<()> {
    const IPV6_FREEBIND: i32 = 78; // linux/in6.h
    if is_v6 {
        set_number(socket, libc::IPPROTO_IPV6, IPV6_FREEBIND, 1)?;
    } else {
        setsockopt(socket, sockopt::IpFreebind, &true)?;
    }
    Ok(())
}

/// Lets a socket have an address that the host lacks.
fn anywhere(socket: &OwnedFd, is_v6: bool) -> Result<()> {
    const IPV6_TRANSPARENT: i32 = 75; // linux/in6.h
    if is_v6 {
        set_number(socket, libc::IPPROTO_IPV6, IPV6_TRANSPARENT, 1)?;
    } else {
        setsockopt(socket, sockopt::IpTransparent, &true)?;
    }
    Ok(())
}

fn domain(family: Family) -> AddressFamily {
    match family {
        Family::Ip4 => AddressFamily::Inet,
        Family::Ip6 => AddressFamily::Inet6,
    }
}

/// Acknowledges at once what this TCP socket receives, and sends at once what is written.
pub(super) fn be_prompt(socket: &impl AsFd) {
    // Where it fails the connection is gone already, which the watcher sees by itself.
    let _ = setsockopt(socket, sockopt::TcpNoDelay, &true);
    let _ = set_number(socket, libc::IPPROTO_TCP, libc::TCP_QUICKACK, 1);
}

/// Makes a TCP socket vanish without a packet when it is closed.
pub(super) fn mute(socket: &impl AsFd) {
    // Fails only where there is no connection, and then nothing is sent either.
    let _ = setsockopt(socket, sockopt::TcpRepair, &1);
}

/// Sets an option that is a number and has no name in nix.
fn set_number(socket: &impl AsFd, level: i32, name: i32, value: i32) -> Result<()> {
    let length = libc::socklen_t::try_from(size_of::<i32>()).context("the size of an int")?;
    // SAFETY: the pointer is to a live i32 of the length given, and the kernel only reads it.
    #[expect(unsafe_code, reason = "nix has no wrapper for these options")]
    let result = unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw const value).cast(), length)
    };
    Errno::result(result).map(drop).with_context(|| format!("socket option {level}/{name} = {value}"))
}

/// Receives one datagram or raw packet, if one is there.
pub(super) fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Option<Received> {
    let mut control =
        nix::cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo, libc::sockaddr_in, libc::sockaddr_in6);
    let mut slices = [IoSliceMut::new(buffer)];
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::empty())
            .ok()?;
    let (mut to, mut asked_at) = (None, None);
    for control in message.cmsgs().ok()? {
        match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                to = Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr))));
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                to = Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)));
            }
            ControlMessageOwned::Ipv4OrigDstAddr(address) => {
                asked_at = Some(SocketAddr::V4(SockaddrIn::from(address).into()));
            }
            ControlMessageOwned::Ipv6OrigDstAddr(address) => {
                asked_at = Some(SocketAddr::V6(SockaddrIn6::from(address).into()));
            }
            _ => {}
        }
    }
    let from = message.address.as_ref().and_then(socket_address);
    Some(Received { length: message.bytes, from, to, asked_at })
}

/// Sends a datagram from an address and port that need not be the host's, by a socket that is then gone.
pub(super) fn answer_as(data: &[u8], from: SocketAddr, to: SocketAddr) -> Result<()> {
    let socket = socket(domain(Family::of(from.ip())), SockType::Datagram, FLAGS, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    anywhere(&socket, from.is_ipv6())?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(from))?;
    let to = match to.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, to.port())),
        IpAddr::V6(_) => to,
    };
    sendto(socket.as_raw_fd(), data, &SockaddrStorage::from(to), MsgFlags::empty())?;
    Ok(())
}

/// Sends a datagram from the given address.
pub(super) fn answer(socket: &OwnedFd, data: &[u8], from: IpAddr, to: SocketAddr) -> nix::Result<()> {
    let slices = [std::io::IoSlice::new(data)];
    let address = SockaddrStorage::from(to);
    let (info4, info6);
    let control = match from {
        IpAddr::V4(from) => {
            info4 = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from(from).to_be() },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            ControlMessage::Ipv4PacketInfo(&info4)
        }
        IpAddr::V6(from) => {
            info6 =
                libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: from.octets() }, ipi6_ifindex: 0 };
            ControlMessage::Ipv6PacketInfo(&info6)
        }
    };
    sendmsg(socket.as_raw_fd(), &slices, &[control], MsgFlags::empty(), Some(&address)).map(drop)
}

/// A socket address, where it is one of IP.
pub(super) fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(address) = address.as_sockaddr_in() {
        return Some(SocketAddr::new(address.ip().into(), address.port()));
    }
    address.as_sockaddr_in6().map(|address| {
        SocketAddr::V6(SocketAddrV6::new(
            address.ip(),
            address.port(),
            address.flowinfo(),
            address.scope_id(),
        ))
    })
}
