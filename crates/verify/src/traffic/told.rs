//! What the notes of a flow say: where it arrived, what came back, whether it worked, what it left.

use std::net::SocketAddr;

use anyhow::Result;
use natpath_engine::trace::Header;
use natpath_model::{Endpoint, Flow, Protocol};

use super::Stage;
use super::watch::Notes;
use super::wire::{Read, Role};
use crate::observe::{Arrival, Back, SeenEntry};

impl Stage<'_> {
    /// Whether the whole flow worked.
    pub(super) fn works(&self, flow: &Flow, own: Option<SocketAddr>, notes: &Notes) -> bool {
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

    /// Where the first packet arrived.
    pub(super) fn arrived(&self, notes: &Notes) -> Result<Option<Arrival>> {
        let first = notes.heard.iter().find(|(_, read)| read.role == Role::First);
        let Some((host, read)) = first else { return Ok(None) };
        let listening = match read.header.protocol {
            // A wrong answer's reset may have ended the half-open connection, but then the answer was heard,
            // or the reset.
            Protocol::TCP => {
                let ended = |(at, other): &(usize, Read)| {
                    at == host && other.role == Role::LateReset && other.header == read.header
                };
                !notes.accepted.is_empty()
                    || notes.heard.iter().any(|(_, read)| read.role == Role::Answer)
                    || notes.heard.iter().any(ended)
                    || self.is_half_open(*host, read.header)?
                    || self.is_taken_in_silence(*host, read.header, notes)
            }
            Protocol::UDP => notes.asked.is_some(),
            _ => true,
        };
        Ok(Some(Arrival { host: self.name(*host), header: read.header, listening: Some(listening) }))
    }

    /// Whether a listener has answered a SYN and waits for the handshake's end (tcp_states.h, `TCP_SYN_RECV`).
    pub(super) fn is_half_open(&self, host: usize, header: Header) -> Result<bool> {
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

    /// Whether a listener takes a SYN that nothing answers: to whom no route leads it can't answer, and keeps
    /// nothing of it (tcp_input.c, `tcp_conn_request`).
    fn is_taken_in_silence(&self, host: usize, header: Header, notes: &Notes) -> bool {
        let refused = |(_, read): &(usize, Read)| matches!(read.role, Role::Reset | Role::LateReset);
        let takes = |socket: &natpath_model::Socket| {
            socket.protocol == Protocol::TCP
                && socket.port == header.dst.port.value
                && socket.bind.takes(header.dst.address)
        };
        !notes.heard.iter().any(refused) && self.network.hosts[host].sockets.iter().any(takes)
    }

    /// What came back for the first packet.
    pub(super) fn back(&self, start: usize, notes: &Notes) -> Option<Back> {
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

    /// A packet that was heard, as an answer.
    pub(super) fn told(&self, host: usize, read: Read) -> Back {
        let (host, header) = (self.name(host), read.header);
        match read.role {
            Role::Error { kind, code, about, .. } => {
                Back::Icmp { host, kind, code, from: header.src.address, about }
            }
            Role::Reset | Role::LateReset => Back::Reset { host, header },
            Role::First | Role::Answer | Role::More | Role::Acknowledgement | Role::Other => {
                Back::Answer { host, header }
            }
        }
    }

    /// The conntrack entries that were not there when this was asked last.
    pub(super) fn new_entries(&mut self) -> Result<Vec<SeenEntry>> {
        let mut new = Vec::new();
        for watched in &mut self.tables {
            let now = watched.table.entries()?;
            let name = &self.network.hosts[watched.host].name;
            new.extend(now.iter().filter(|(key, _)| !watched.known.contains_key(key)).map(|(_, entry)| {
                let zone = (entry.zone.0, entry.zone_direction);
                SeenEntry::new(name, zone, (entry.original, entry.reply), entry.status, entry.mark)
            }));
            watched.known = now;
        }
        new.sort();
        Ok(new)
    }
}
