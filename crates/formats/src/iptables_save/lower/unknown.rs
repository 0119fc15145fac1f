//! The extensions of iptables that natpath carries verbatim, and why.

/// Why a match can't be decided.
pub(super) fn of_match(name: &str) -> &'static str {
    match name {
        "string" | "u32" | "bpf" | "dccp" | "ecn" => "depends on the packet's payload",
        "limit" | "hashlimit" | "connlimit" | "recent" | "quota" | "rateest" | "connbytes" | "quota2" => {
            "depends on traffic before the packet"
        }
        "set" => "depends on an ipset, which is not modelled",
        "time" => "depends on the time of day",
        "owner" | "cgroup" | "socket" => "depends on the socket that sends or takes the packet",
        "mac" | "physdev" | "pkttype" => "depends on the frame around the packet",
        "policy" => "depends on IPsec policies",
        _ => "not modelled",
    }
}

/// Why a target's effect is not known; `None` if iptables has no such target.
pub(super) fn of_target(name: &str) -> Option<&'static str> {
    Some(match name {
        "TPROXY" => "hands the packet to a local proxy socket",
        "NFQUEUE" | "QUEUE" => "a program decides",
        "DSCP" | "TOS" | "ECN" => "changes the type of service",
        "TTL" | "HL" => "changes the time to live",
        "SET" => "changes an ipset",
        "TEE" => "sends a copy of the packet elsewhere",
        "SYNPROXY" => "answers handshakes itself",
        "CLUSTERIP" | "DNPT" | "SNPT" | "TCPOPTSTRIP" | "HMARK" | "SECMARK" | "CONNSECMARK" | "ACCOUNT"
        | "CHAOS" | "DELUDE" | "DHCPMAC" | "DNETMAP" | "ECHO" | "IPMARK" | "LOGMARK" | "PROTO" | "SYSRQ"
        | "TARPIT" | "FULLCONENAT" | "MIRROR" | "SAME" | "ROUTE" => "not modelled",
        _ => return None,
    })
}

/// Whether a target has no effect on any packet's path.
pub(super) fn is_inert(name: &str) -> bool {
    matches!(
        name,
        "NFLOG"
            | "ULOG"
            | "TRACE"
            | "AUDIT"
            | "TCPMSS"
            | "CHECKSUM"
            | "LED"
            | "IDLETIMER"
            | "RATEEST"
            | "CLASSIFY"
    )
}
