//! Docker Engine.
//!
//! Facts: Docker documentation, "Packet filtering and firewalls" and "Docker with iptables" (chains
//! DOCKER-USER, DOCKER, DOCKER-FORWARD, DOCKER-CT, DOCKER-BRIDGE, DOCKER-INTERNAL, DOCKER-ISOLATION-STAGE-1
//! and -2, DOCKER-INGRESS of swarm mode) and "Docker with nftables" (tables `docker-bridges`); moby/moby,
//! libnetwork/drivers/bridge (`br-` and 12 digits of the network's id) and
//! integration/network/bridge/nftablesdoc (chains of bridges, comments).

use natpath_model::{Manip, Nat, Statement};

use super::Program;
use crate::pattern::p;
use crate::sight::Sight;
use crate::signature::Signature;

pub(super) const SIGNATURE: Signature = Signature {
    tables: &[p("docker-bridges", "container networks")],
    table_chains: &[
        p("nat-prerouting-and-output", "published container port"),
        p("raw-PREROUTING", "protection of containers from direct access"),
        p("filter-forward-in__*", "to containers on $1"),
        p("filter-forward-out__*", "from containers on $1"),
        p("nat-postrouting-out__*", "masquerading of containers on $1"),
        p("nat-postrouting-in__*", "hairpin to containers on $1"),
    ],
    chains: &[
        p("DOCKER", "published container port"),
        p("DOCKER-USER", "administrator's rule (DOCKER-USER)"),
        p("DOCKER-ISOLATION-STAGE-*", "network isolation"),
        p("DOCKER-INTERNAL", "isolation of internal networks"),
        p("DOCKER-FORWARD", "forwarding of container networks"),
        p("DOCKER-BRIDGE", "dispatch by container network"),
        p("DOCKER-CT", "answers of known connections"),
        p("DOCKER-INGRESS", "published service of the swarm"),
    ],
    anchors: &["DOCKER", "DOCKER-USER", "DOCKER-ISOLATION-STAGE-1", "DOCKER-FORWARD"],
    comments: &[
        p("ICC", "traffic within a container network"),
        p("UNPUBLISHED PORT DROP", "unpublished ports are closed"),
        p("OUTGOING", "containers may go out"),
        p("DROP DIRECT ACCESS", "protection of containers from direct access"),
    ],
    rules: &[
        p("DOCKER * -j DNAT *", "published container port"),
        p("DOCKER -i * -j RETURN", "containers on $1 go straight"),
        p("DOCKER ! -i * -o * -j DROP", "unpublished ports are closed"),
        p("PREROUTING -d * ! -i docker0 -j DROP", "protection of containers from direct access"),
        p("PREROUTING -d * ! -i br-############ -j DROP", "protection of containers from direct access"),
        p("POSTROUTING -s * ! -o docker0 -j MASQUERADE", "masquerading of containers on docker0"),
        p("POSTROUTING -s * ! -o br-############ -j MASQUERADE", "masquerading of a container network"),
        p("POSTROUTING -o docker0 * -j MASQUERADE", "host's own traffic to containers"),
        p("POSTROUTING -o br-############ * -j MASQUERADE", "host's own traffic to containers"),
        p("FORWARD *-o docker0 * -j ACCEPT", "answers to containers on docker0"),
        p("FORWARD *-o br-############ * -j ACCEPT", "answers to containers"),
        p("FORWARD -i docker0 ! -o docker0 -j ACCEPT", "containers on docker0 may go out"),
        p("FORWARD -i br-############ ! -o br-############ -j ACCEPT", "containers may go out"),
        p("FORWARD -i docker0 -o docker0 -j *", "traffic within container network docker0"),
        p("FORWARD -i br-############ -o br-############ -j *", "traffic within a container network"),
    ],
    beyond: Some(hairpin),
    interfaces: &[
        p("docker0", "default container network"),
        p("docker_gwbridge", "gateway of swarm networks"),
        p("br-############", "container network"),
        p("veth#######", "container"),
    ],
    ..Signature::of(Program::Docker)
};

/// A container that asks for its own published port: a MASQUERADE from an address to itself.
fn hairpin(sight: &Sight<'_>) -> Option<String> {
    let masquerades =
        sight.rule.statements.iter().any(|statement| matches!(statement, Statement::Nat(Nat::Masquerade(_))));
    let (src, dst) = (sight.addresses(Manip::Src)?, sight.addresses(Manip::Dst)?);
    let own = masquerades && src == dst && src.as_single().is_some();
    own.then(|| "container's way to its own published port".to_owned())
}

#[cfg(test)]
mod tests {
    use crate::tests::{check, check_nft};

    #[test]
    fn published_ports_and_masquerading() {
        check(
            "*nat
            :PREROUTING ACCEPT [0:0]
            :POSTROUTING ACCEPT [0:0]
            :DOCKER - [0:0]
            -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER  => Docker: published container port
            -A POSTROUTING -s 172.30.0.0/24 ! -o br-38ff398a6292 -j MASQUERADE  => Docker: masquerading of a container network
            -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE  => Docker: masquerading of containers on docker0
            -A POSTROUTING -s 192.168.0.0/16 -o eth0 -j MASQUERADE  => nobody
            -A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE  => Docker: container's way to its own published port
            -A DOCKER -i docker0 -j RETURN  => Docker: containers on docker0 go straight
            -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80  => Docker: published container port
            COMMIT",
        );
    }

    #[test]
    fn isolation_and_forwarding() {
        check(
            "*filter
            :FORWARD DROP [0:0]
            :DOCKER - [0:0]
            :DOCKER-ISOLATION-STAGE-1 - [0:0]
            -A FORWARD -j DOCKER-ISOLATION-STAGE-1  => Docker: network isolation
            -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT  => Docker: answers to containers on docker0
            -A FORWARD -i docker0 ! -o docker0 -j ACCEPT  => Docker: containers on docker0 may go out
            -A FORWARD -i br-75d016be0638 -o br-75d016be0638 -j ACCEPT  => Docker: traffic within a container network
            -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT  => Docker: published container port
            -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DROP  => Docker: network isolation
            COMMIT",
        );
    }

    #[test]
    fn without_a_chain_of_its_own_a_rule_is_not_its() {
        check("*filter\n:FORWARD DROP [0:0]\n-A FORWARD -i docker0 -o docker0 -j ACCEPT  => nobody\nCOMMIT");
    }

    #[test]
    fn tables_of_nft() {
        check_nft(
            "docker-bridges",
            &[
                ("nat-prerouting-and-output", "tcp dport 8080 dnat to 172.30.0.2:80", Some("DNAT"), "Docker: published container port"),
                ("filter-forward-in__bridge1", "drop", Some("UNPUBLISHED PORT DROP"), "Docker: unpublished ports are closed"),
                ("filter-forward-in__bridge1", "ip daddr 172.30.0.2 tcp dport 80 accept", None, "Docker: to containers on bridge1"),
                ("filter-FORWARD", "oifname vmap @filter-forward-in-jumps", None, "Docker: container networks"),
            ],
        );
    }
}
