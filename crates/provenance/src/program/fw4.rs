//! firewall4 of OpenWrt.
//!
//! Facts: openwrt/firewall4, root/usr/share/firewall4/templates/ruleset.uc (table `fw4`, comments "!fw4: ...",
//! chains HOOK_ZONE, ACTION_to_ZONE, ACTION_from_ZONE).

use super::Program;
use crate::pattern::p;
use crate::signature::Signature;

pub(super) const SIGNATURE: Signature = Signature {
    tables: &[p("fw4", "rules for all zones")],
    table_chains: &[
        p("raw_*", "rules for all zones"),
        p("mangle_*", "rules for all zones"),
        p("input_*", "zone $1, input"),
        p("output_*", "zone $1, output"),
        p("forward_*", "zone $1, forwarding"),
        p("dstnat_*", "zone $1, port forward"),
        p("srcnat_*", "zone $1, masquerading"),
        p("*_to_*", "zone $2"),
        p("*_from_*", "zone $2"),
        p("helper_*", "zone $1, helpers"),
    ],
    comments: &[p("!fw4: *", "$1")],
    ..Signature::of(Program::Fw4)
};

#[cfg(test)]
mod tests {
    use crate::tests::check_nft;

    #[test]
    fn its_comments_say_it() {
        check_nft(
            "fw4",
            &[
                ("srcnat_wan", "masquerade", Some("!fw4: Masquerade IPv4 wan traffic"), "OpenWrt fw4: Masquerade IPv4 wan traffic"),
                ("forward_wan", "jump drop_to_wan", None, "OpenWrt fw4: zone wan, forwarding"),
                ("input", "iif lo accept", None, "OpenWrt fw4: rules for all zones"),
            ],
        );
    }
}
