//! How long an entry lives without a packet: `net.netfilter.nf_conntrack_*_timeout*`, in seconds.

use std::time::Duration;

use natpath_model::{Protocol, Sysctls};

use super::TcpState;

/// The age at which a UDP entry with answers becomes a stream (nf_conntrack_proto_udp.c).
pub(super) const UDP_STREAM_AFTER: Duration = Duration::from_secs(2);

/// The timeouts of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeouts {
    pub(super) udp: Duration,
    pub(super) udp_stream: Duration,
    icmp: Duration,
    icmpv6: Duration,
    gre: Duration,
    generic: Duration,
    /// Of an SCTP association before and after it is answered: COOKIE_WAIT, ESTABLISHED.
    sctp: [Duration; 2],
    tcp: [Duration; 10],
    /// Of an open TCP connection that waits for an acknowledgement, or was picked up in the middle.
    pub(super) tcp_unacknowledged: Duration,
    /// Of one whose side sends the same again and again.
    pub(super) tcp_max_retrans: Duration,
}

impl Timeouts {
    pub(super) fn read(sysctls: &Sysctls) -> Self {
        let seconds = |key: &str, default: u64| {
            let listed = sysctls.number(&format!("net.netfilter.nf_conntrack_{key}"));
            Duration::from_secs(listed.and_then(|value| u64::try_from(value).ok()).unwrap_or(default))
        };
        let tcp = |state: &str, default| seconds(&format!("tcp_timeout_{state}"), default);
        let sctp = |state: &str, default| seconds(&format!("sctp_timeout_{state}"), default);
        let syn_sent = tcp("syn_sent", 120);
        // SYN_SENT2 has no parameter (nf_conntrack_proto_tcp.c, `tcp_timeouts`).
        let syn_sent2 = Duration::from_secs(120);
        Self {
            udp: seconds("udp_timeout", 30),
            udp_stream: seconds("udp_timeout_stream", 120),
            icmp: seconds("icmp_timeout", 30),
            icmpv6: seconds("icmpv6_timeout", 30),
            gre: seconds("gre_timeout", 30),
            generic: seconds("generic_timeout", 600),
            sctp: [sctp("cookie_wait", 3), sctp("established", 210)],
            tcp: [
                syn_sent,
                syn_sent,
                syn_sent2,
                tcp("syn_recv", 60),
                tcp("established", 432_000),
                tcp("fin_wait", 120),
                tcp("close_wait", 60),
                tcp("last_ack", 30),
                tcp("time_wait", 120),
                tcp("close", 10),
            ],
            tcp_unacknowledged: tcp("unacknowledged", 300),
            tcp_max_retrans: tcp("max_retrans", 300),
        }
    }

    /// The timeout of a TCP connection in this state.
    pub(super) fn tcp(&self, state: TcpState) -> Duration {
        self.tcp[state as usize]
    }

    /// The timeout of a connection of another protocol; of UDP, before it is a stream. `answered` counts for
    /// SCTP only.
    pub(super) fn of(&self, protocol: Protocol, answered: bool) -> Duration {
        match protocol {
            Protocol::UDP | Protocol::UDPLITE => self.udp,
            Protocol::ICMP => self.icmp,
            Protocol::ICMPV6 => self.icmpv6,
            Protocol::GRE => self.gre,
            Protocol::SCTP => self.sctp[usize::from(answered)],
            _ => self.generic,
        }
    }
}
