//! ufw, the Uncomplicated Firewall.
//!
//! Facts: ufw-framework(8) and before.rules, after.rules, user.rules in /etc/ufw; ufw, src/ufw-init-functions
//! (chains ufw-before-*, ufw-after-*, ufw-reject-*, ufw-track-*, ufw-skip-to-policy-*) and
//! src/backend_iptables.py (ufw-user-*, ufw-logging-*). IPv6 has the same chains as ufw6-*.

use super::Program;
use crate::pattern::p;
use crate::signature::Signature;

pub(super) const SIGNATURE: Signature = Signature {
    chains: &[
        p("ufw*-user-limit", "limit of connections"),
        p("ufw*-user-limit-accept", "limit of connections"),
        p("ufw*-user-logging-*", "logging"),
        p("ufw*-user-forward", "user route rule"),
        p("ufw*-user-*", "user rule"),
        p("ufw*-before-logging-*", "logging"),
        p("ufw*-after-logging-*", "logging"),
        p("ufw*-logging-*", "logging"),
        p("ufw*-before-*", "before.rules"),
        p("ufw*-after-*", "after.rules"),
        p("ufw*-not-local", "packets for nobody here (before.rules)"),
        p("ufw*-skip-to-policy-*", "default policy for $2"),
        p("ufw*-reject-*", "default policy for $2"),
        p("ufw*-track-*", "tracking under the default policy for $2"),
    ],
    ..Signature::of(Program::Ufw)
};

#[cfg(test)]
mod tests {
    use crate::tests::check;

    #[test]
    fn user_rules_and_policies() {
        check(
            "*filter
            :INPUT DROP [0:0]
            :ufw-before-input - [0:0]
            :ufw-not-local - [0:0]
            :ufw-skip-to-policy-input - [0:0]
            :ufw-user-forward - [0:0]
            :ufw-user-input - [0:0]
            :ufw-user-limit-accept - [0:0]
            -A INPUT -j ufw-before-input  => ufw: before.rules
            -A ufw-before-input -j ufw-user-input  => ufw: before.rules
            -A ufw-not-local -j DROP  => ufw: packets for nobody here (before.rules)
            -A ufw-skip-to-policy-input -j DROP  => ufw: default policy for input
            -A ufw-user-forward -i eth1 -o eth0 -j ACCEPT  => ufw: user route rule
            -A ufw-user-input -p tcp -m tcp --dport 22 -j ufw-user-limit-accept  => ufw: user rule
            -A ufw-user-limit-accept -j ACCEPT  => ufw: limit of connections
            COMMIT",
        );
    }
}
