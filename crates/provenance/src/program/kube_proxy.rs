//! kube-proxy, in all three modes, and the few chains that kubelet shares with it.
//!
//! Facts: kubernetes/kubernetes, pkg/proxy/iptables/proxier.go (chains KUBE-*, comments, marks 0x4000 and
//! 0x8000; comments of Services are left out where there are more than 1,000 endpoints),
//! pkg/proxy/ipvs/proxier.go (KUBE-NODE-PORT and others, interface kube-ipvs0), pkg/proxy/nftables/proxier.go
//! (table `kube-proxy`, chains KIND-HASH-NAMESPACE/NAME/PROTOCOL/PORT); Kubernetes documentation, "Virtual
//! IPs and Service Proxies".

use super::Program;
use crate::pattern::{Pattern, first, p};
use crate::sight::Sight;
use crate::signature::{Signature, mark};

/// How many calls lie between a Service's address and its endpoint's chain.
const CALLS: u32 = 4;

pub(super) const SIGNATURE: Signature = Signature {
    tables: &[p("kube-proxy", "Services")],
    table_chains: &[
        p("endpoint-*-*/*/*/__*/*", "Service $2/$3, endpoint $5:$6"),
        p("endpoint-*-*/*/*/*__*/*", "Service $2/$3:$5, endpoint $6:$7"),
        p("service-*-*/*/*/", "Service $2/$3"),
        p("service-*-*/*/*/*", "Service $2/$3:$5"),
        p("external-*-*/*/*/", "Service $2/$3, traffic from outside"),
        p("external-*-*/*/*/*", "Service $2/$3:$5, traffic from outside"),
        p("local-*-*/*/*/", "Service $2/$3, endpoints of this node"),
        p("local-*-*/*/*/*", "Service $2/$3:$5, endpoints of this node"),
        p("firewall-*-*/*/*/", "Service $2/$3, allowed sources"),
        p("firewall-*-*/*/*/*", "Service $2/$3:$5, allowed sources"),
        p("nat-*", "all Services"),
        p("services", "all Services"),
        p("masquerading", "masquerading for Services"),
        p("service-endpoints-check", "Services without endpoints"),
        p("nodeport-endpoints-check", "Services without endpoints"),
        p("reject-chain", "Services without endpoints"),
        p("firewall-check", "Services with allowed sources"),
        p("cluster-ips-check", "cluster IPs that no Service has"),
        p("filter-*", "checks for Services"),
    ],
    chains: &[
        p("KUBE-SERVICES", "all Services"),
        p("KUBE-NODEPORTS", "node ports"),
        p("KUBE-NODE-PORT", "node ports (IPVS)"),
        p("KUBE-EXTERNAL-SERVICES", "Services for outside"),
        p("KUBE-SVC-*", "a Service"),
        p("KUBE-SVL-*", "a Service, endpoints of this node"),
        p("KUBE-XLB-*", "a Service, endpoints of this node"),
        p("KUBE-EXT-*", "a Service, traffic from outside"),
        p("KUBE-FW-*", "a Service, allowed sources"),
        p("KUBE-SEP-*", "an endpoint of a Service"),
        p("KUBE-MARK-MASQ", "mark for masquerading"),
        p("KUBE-MARK-DROP", "marks packets to be dropped"),
        p("KUBE-POSTROUTING", "masquerading for Services"),
        p("KUBE-FORWARD", "forwarding for Services"),
        p("KUBE-FIREWALL", "protection of the node's loopback"),
        p("KUBE-PROXY-FIREWALL", "Services with allowed sources"),
        p("KUBE-SOURCE-RANGES-FIREWALL", "Services with allowed sources (IPVS)"),
        p("KUBE-LOAD-BALANCER", "load balancers (IPVS)"),
        p("KUBE-IPVS-FILTER", "protection of Services' addresses (IPVS)"),
        p("KUBE-IPVS-OUT-FILTER", "protection of Services' addresses (IPVS)"),
        p("KUBE-PROXY-CANARY", "canary that shows a flush"),
        p("KUBE-KUBELET-CANARY", "canary that shows a flush"),
        p("KUBE-IPTABLES-HINT", "kubelet's hint on the backend"),
    ],
    comments: &[
        p("kubernetes firewall for dropping marked packets", "marked packets are dropped"),
        p("block incoming localnet connections", "protection of the node's loopback"),
        p("masquerade clusterIP traffic from outside cluster", "cluster IPs from outside are masqueraded"),
        p("Reject traffic to invalid ports of ClusterIPs", "cluster IPs' ports that no Service has"),
        p("Drop traffic to unallocated ClusterIPs", "cluster IPs that no Service has"),
    ],
    beyond: Some(of_service),
    marks: &[mark(0x4000, 0x4000, "to be masqueraded"), mark(0x8000, 0x8000, "to be dropped")],
    interfaces: &[p("kube-ipvs0", "addresses of Services (IPVS)")],
    ..Signature::of(Program::KubeProxy)
};

/// Comments that name a Service, with the Service first.
const SERVICES: &[(Pattern, &str)] = &[
    (p("* cluster IP", "$1"), ", cluster IP"),
    (p("* loadbalancer IP", "$1"), ", load balancer IP"),
    (p("* external IP", "$1"), ", external IP"),
    (p("* has no endpoints", "$1"), " has no endpoints"),
    (p("* has no local endpoints", "$1"), " has no endpoints on this node"),
    (p("* health check node port", "$1"), ", health check port"),
    (p("* traffic for * external destinations", "$2"), ", traffic from outside"),
    (p("* traffic not accepted by *", "$1"), ", sources that are not allowed"),
    (p("other traffic to * will be dropped by *", "$1"), ", sources that are not allowed"),
    (p("* other traffic to * will be dropped by *", "$1"), ", sources that are not allowed"),
];

/// What a rule is to the Service that its comment, its chain or a caller of its chain names.
fn of_service(sight: &Sight<'_>) -> Option<String> {
    let chain = sight.chain.name.as_str();
    if !chain.starts_with("KUBE-") {
        return None;
    }
    let per_service = ["SVC", "SVL", "XLB", "EXT", "FW", "SEP"];
    let rest = &chain["KUBE-".len()..];
    let kind = per_service.into_iter().find(|kind| rest.strip_prefix(kind).is_some_and(|r| r.starts_with('-')));
    let Some(kind) = kind else { return by_comment(sight.comment()) };
    let service = service_of(sight, CALLS)?;
    if let Some(endpoint) = sight.dnat_target() {
        return Some(format!("Service {service}, endpoint {endpoint}"));
    }
    let said = by_comment(sight.comment()).filter(|said| said.contains(','));
    said.or_else(|| {
        Some(match kind {
            "SEP" => format!("Service {service}, endpoint's own traffic"),
            "SVL" | "XLB" => format!("Service {service}, endpoints of this node"),
            "EXT" => format!("Service {service}, traffic from outside"),
            "FW" => format!("Service {service}, allowed sources"),
            _ => format!("Service {service}"),
        })
    })
}

/// What a comment says of a Service.
fn by_comment(comment: &str) -> Option<String> {
    if let Some(read) = p("* -> *", "Service $1, endpoint $2").read(comment) {
        return Some(read);
    }
    let of = |(pattern, what): &(Pattern, &str)| {
        let service = pattern.read(comment).filter(|service| is_service(service))?;
        Some(format!("Service {service}{what}"))
    };
    let found = SERVICES.iter().find_map(of);
    found.or_else(|| is_service(comment).then(|| format!("Service {comment}")))
}

/// The Service of a rule's chain: named by a comment in it, else by those that call it.
fn service_of(sight: &Sight<'_>, calls: u32) -> Option<String> {
    let named = sight.chain.rules.iter().find_map(|rule| service_in(rule.comment.as_deref()?));
    let caller = |caller: Sight<'_>| {
        let own = service_in(caller.comment());
        own.or_else(|| service_of(&caller, calls - 1))
    };
    named.or_else(|| if calls == 0 { None } else { sight.callers().find_map(caller) })
}

fn service_in(comment: &str) -> Option<String> {
    let patterns = SERVICES.iter().map(|(pattern, _)| *pattern).chain([p("* -> *", "$1"), p("*", "$1")]);
    patterns.filter_map(|pattern| first(&[pattern], comment)).find(|service| is_service(service))
}

/// Whether a text is `NAMESPACE/NAME` or `NAMESPACE/NAME:PORT`.
fn is_service(text: &str) -> bool {
    let (namespace, name) = text.split_once('/').unwrap_or_default();
    let plain = |text: &str| !text.is_empty() && !text.contains([' ', '/', '@']);
    plain(namespace) && plain(name)
}

#[cfg(test)]
mod tests {
    use crate::tests::{check, check_nft};

    #[test]
    fn a_service_and_its_endpoint() {
        check(
            r#"*nat
            :PREROUTING ACCEPT [0:0]
            :KUBE-EXT-67NZLRHBNDSAWJRO - [0:0]
            :KUBE-NODEPORTS - [0:0]
            :KUBE-SEP-4CSIJRPUOXNVGBMP - [0:0]
            :KUBE-SERVICES - [0:0]
            :KUBE-SVC-67NZLRHBNDSAWJRO - [0:0]
            :KUBE-POSTROUTING - [0:0]
            -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES  => kube-proxy: all Services
            -A KUBE-EXT-67NZLRHBNDSAWJRO -m comment --comment "masquerade traffic for shop/web:http external destinations" -j KUBE-MARK-MASQ  => kube-proxy: Service shop/web:http, traffic from outside
            -A KUBE-EXT-67NZLRHBNDSAWJRO -j KUBE-SVC-67NZLRHBNDSAWJRO  => kube-proxy: Service shop/web:http, traffic from outside
            -A KUBE-NODEPORTS -p tcp -m comment --comment "shop/web:http" -m tcp --dport 30080 -j KUBE-EXT-67NZLRHBNDSAWJRO  => kube-proxy: Service shop/web:http
            -A KUBE-SEP-4CSIJRPUOXNVGBMP -s 10.42.0.10/32 -m comment --comment "shop/web:http" -j KUBE-MARK-MASQ  => kube-proxy: Service shop/web:http, endpoint's own traffic
            -A KUBE-SEP-4CSIJRPUOXNVGBMP -p tcp -m comment --comment "shop/web:http" -m tcp -j DNAT --to-destination 10.42.0.10:8080  => kube-proxy: Service shop/web:http, endpoint 10.42.0.10:8080
            -A KUBE-SERVICES -d 10.43.11.5/32 -p tcp -m comment --comment "shop/web:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-67NZLRHBNDSAWJRO  => kube-proxy: Service shop/web:http, cluster IP
            -A KUBE-SERVICES -d 10.43.11.8/32 -p tcp -m comment --comment "shop/empty:http has no endpoints" -m tcp --dport 80 -j REJECT  => kube-proxy: Service shop/empty:http has no endpoints
            -A KUBE-SVC-67NZLRHBNDSAWJRO -m comment --comment "shop/web:http -> 10.42.0.10:8080" -j KUBE-SEP-4CSIJRPUOXNVGBMP  => kube-proxy: Service shop/web:http, endpoint 10.42.0.10:8080
            -A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully  => kube-proxy: masquerading for Services
            COMMIT"#,
        );
    }

    #[test]
    fn a_large_cluster_has_no_comments_but_those_of_addresses() {
        check(
            r#"*nat
            :KUBE-SEP-QAX236RR3UXXQODE - [0:0]
            :KUBE-SERVICES - [0:0]
            :KUBE-SVC-NPX46M4PTMTKRN6Y - [0:0]
            -A KUBE-SEP-QAX236RR3UXXQODE -p tcp -m tcp -j DNAT --to-destination 10.128.0.183:6443  => kube-proxy: Service default/kubernetes:https, endpoint 10.128.0.183:6443
            -A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment "default/kubernetes:https cluster IP" -m tcp --dport 443 -j KUBE-SVC-NPX46M4PTMTKRN6Y
            -A KUBE-SVC-NPX46M4PTMTKRN6Y -j KUBE-SEP-QAX236RR3UXXQODE  => kube-proxy: Service default/kubernetes:https
            COMMIT"#,
        );
    }

    #[test]
    fn chains_of_nft() {
        check_nft(
            "kube-proxy",
            &[
                ("service-HPJLA6DC-shop/web/tcp/https", "dnat to ...", None, "kube-proxy: Service shop/web:https"),
                ("endpoint-PQ3OVSJI-shop/sticky/tcp/http__10.244.1.11/8080", "dnat to 10.244.1.11:8080", None, "kube-proxy: Service shop/sticky:http, endpoint 10.244.1.11:8080"),
                ("external-YXV5H5BM-shop/db/tcp/", "goto ...", Some("masquerade"), "kube-proxy: Service shop/db, traffic from outside"),
                ("cluster-ips-check", "reject", Some("Reject traffic to invalid ports of ClusterIPs"), "kube-proxy: cluster IPs' ports that no Service has"),
            ],
        );
    }
}
