//! ferm. It replaces the tables it is given, and is recognised only where it had to invent a chain.
//!
//! Facts: ferm(1), "@subchain"; MaxKellermann/ferm, src/ferm (chains ferm_auto_NUMBER).

use super::Program;
use crate::pattern::p;
use crate::signature::Signature;

pub(super) const SIGNATURE: Signature = Signature {
    chains: &[p("ferm_auto_*", "unnamed subchain $1")],
    anchors: &["ferm_auto_*"],
    rest: Some("ruleset of this host"),
    ..Signature::of(Program::Ferm)
};

#[cfg(test)]
mod tests {
    use crate::tests::check;

    #[test]
    fn subchains_give_it_away() {
        check(
            r#"*filter
            :INPUT DROP [0:0]
            :ferm_auto_1 - [0:0]
            :ssh - [0:0]
            -A INPUT -p tcp -m tcp --dport 22 -j ssh  => ferm: ruleset of this host
            -A ferm_auto_1 -j DROP  => ferm: unnamed subchain 1
            -A ssh -j ACCEPT  => ferm: ruleset of this host
            COMMIT"#,
        );
    }
}
