//! The extensions of iptables that natpath carries verbatim, and why.

/// Why a match can't be decided.
pub(super) fn of_match(name: &str) -> &'static str {
    match name {
        "osf" | "ipp2p" | "ndpi" | "layer7" | "weburl" => "depends on the packet's payload",
        "geoip" => "depends on a database of addresses and countries",
        "rateest" => "depends on how fast packets come",
        "connlabel" => "depends on the connection's labels, which are not recorded",
        "devgroup" => "depends on the groups of interfaces, which are not modelled",
        "cpu" => "depends on the processor that handles the packet",
        "eui64" => "depends on the frame around the packet",
        _ => "not modelled",
    }
}

/// Why a target's effect is not known; `None` if iptables has no such target.
pub(super) fn of_target(name: &str) -> Option<&'static str> {
    Some(match name {
        "NFQUEUE" | "QUEUE" => "a program decides",
        "SYNPROXY" => "answers handshakes itself",
        "DNPT" | "SNPT" => "translates prefixes without connection tracking",
        "HMARK" => "sets a mark by a hash",
        "SECMARK" | "CONNSECMARK" => "sets what a security module decides by",
        "CLUSTERIP" => "answers for an address that several hosts share",
        "FLOWOFFLOAD" => "hands the connection to a flow table, past the rules",
        "ACCOUNT" | "CHAOS" | "DELUDE" | "DHCPMAC" | "DNETMAP" | "ECHO" | "IPMARK" | "LOGMARK" | "PROTO"
        | "SYSRQ" | "TARPIT" | "FULLCONENAT" | "MIRROR" | "SAME" | "ROUTE" => "not modelled",
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
            | "TCPOPTSTRIP"
            // Its copy goes a way of its own.
            | "TEE"
            // Clears bits of TCP that no packet of a flow has.
            | "ECN"
    )
}
