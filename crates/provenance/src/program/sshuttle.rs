//! sshuttle.
//!
//! Facts: sshuttle/sshuttle, sshuttle/methods/nat.py (chain sshuttle-PORT), tproxy.py (sshuttle-m-PORT,
//! sshuttle-t-PORT, sshuttle-d-PORT) and nft.py (tables `sshuttle-ipv4-PORT`, `sshuttle-ipv6-PORT`).

use super::Program;
use crate::pattern::p;
use crate::signature::Signature;

pub(super) const SIGNATURE: Signature = Signature {
    tables: &[p("sshuttle-ipv*-*", "tunnel at port $2")],
    chains: &[
        p("sshuttle-m-*", "marks what is for the tunnel at port $1"),
        p("sshuttle-t-*", "hands packets to the tunnel at port $1"),
        p("sshuttle-d-*", "packets of known sockets, tunnel at port $1"),
        p("sshuttle-*", "tunnel at port $1"),
    ],
    ..Signature::of(Program::Sshuttle)
};

#[cfg(test)]
mod tests {
    use crate::tests::check;

    #[test]
    fn redirection() {
        check(
            "*nat
            :OUTPUT ACCEPT [0:0]
            :sshuttle-12300 - [0:0]
            -A OUTPUT -j sshuttle-12300  => sshuttle: tunnel at port 12300
            -A sshuttle-12300 -d 10.20.0.0/16 -p tcp -j REDIRECT --to-ports 12300  => sshuttle: tunnel at port 12300
            COMMIT",
        );
    }
}
