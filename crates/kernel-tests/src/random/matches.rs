//! The matches of random rules: one of each kind that natpath decides exactly or by chance, with negations.

use natpath_model::{Family, Hook};

use super::dice::Dice;
use super::rules::{Place, Table, port};
use super::sets;

/// `-s`, `-d`, `-i`, `-o` and the fragment flag.
pub(super) fn header(dice: &mut Dice, place: &Place<'_>, words: &mut Vec<String>) {
    if dice.percent(22) {
        words.push(format!("{}-s {}", not(dice), place.prefix(dice)));
    }
    let wanted = if place.table == Table::Nat { 55 } else { 25 };
    if dice.percent(wanted) {
        words.push(format!("{}-d {}", not(dice), place.prefix(dice)));
    } else if place.family == Family::Ip4 && dice.percent(2) {
        words.push(format!("{}-d 10.0.0.2/255.0.0.3", not(dice)));
    }
    if place.has_in() && dice.percent(12) {
        words.push(format!("{}-i {}", not(dice), place.interface(dice)));
    }
    if place.has_out() && dice.percent(12) {
        words.push(format!("{}-o {}", not(dice), place.interface(dice)));
    }
    if place.family == Family::Ip4 && place.protocol.is_empty() && dice.percent(1) {
        words.push(format!("{}-f", not(dice)));
    }
}

fn not(dice: &mut Dice) -> &'static str {
    if dice.percent(15) { "! " } else { "" }
}

/// Makes a match, if it can stand where the rule stands.
type Make = fn(&mut Dice, &Place<'_>) -> Option<String>;

/// The matches by weight.
const MODULES: [(u32, Make); 46] = [
    (60, ports),
    (10, tcp_flags),
    (20, icmp_type),
    (14, multiport),
    (22, ctstate),
    (8, ctstatus),
    (10, ctorig),
    (6, ctreply),
    (6, ctdir),
    (4, ctproto),
    (8, state),
    (12, mark),
    (8, connmark),
    (16, addrtype),
    (8, iprange),
    (6, length),
    (6, ttl),
    (6, dscp),
    (5, tos),
    (3, ecn),
    (6, statistic_nth),
    (4, statistic_random),
    (8, limit),
    (8, hashlimit),
    (8, recent),
    (7, connlimit),
    (7, connbytes),
    (6, quota),
    (7, mac),
    (6, owner),
    (4, pkttype),
    (4, policy),
    (3, realm),
    (6, rpfilter),
    (6, socket),
    (5, time),
    (6, comment),
    (3, helper),
    (3, ah),
    (3, esp),
    (3, dccp),
    (3, sctp),
    (3, ipv6_headers),
    (3, ipv6header),
    (3, nfacct),
    (3, hop_by_hop),
];

/// Puts one or two matches in a rule, or none.
pub(super) fn modules(dice: &mut Dice, place: &Place<'_>, sets: bool, words: &mut Vec<String>) {
    let count = match (place.protocol, dice.number(0, 99)) {
        ("tcp" | "udp", 0..=54) => 1,
        ("tcp" | "udp", 55..=79) => 2,
        (_, 0..=44) => 1,
        (_, 45..=54) => 2,
        _ => 0,
    };
    let mut taken: Vec<String> = Vec::new();
    if sets && dice.percent(15) {
        words.push(sets::condition(dice, place));
    }
    for _ in 0..count {
        let make = dice.weighted(&MODULES);
        let Some(text) = make(dice, place) else { continue };
        let module = text.split_whitespace().nth(1).unwrap_or_default().to_owned();
        // The ports and flags of one protocol are options of one match.
        let module =
            if module == "tcp" && text.contains("connlimit") { "connlimit".to_owned() } else { module };
        if !taken.contains(&module) {
            taken.push(module);
            words.push(text);
        }
    }
}

fn range(dice: &mut Dice) -> String {
    let first = port(dice);
    if dice.percent(25) { format!("{}:{}", first.min(5000), first.max(5000)) } else { first.to_string() }
}

fn ports(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    place.has_ports().then(|| {
        let side = if dice.percent(85) { "--dport" } else { "--sport" };
        format!("-m {} {}{side} {}", place.protocol, not(dice), range(dice))
    })
}

fn tcp_flags(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    (place.protocol == "tcp").then(|| {
        let flags = [
            "SYN,RST,ACK,FIN SYN",
            "SYN,ACK SYN,ACK",
            "RST RST",
            "PSH,ACK PSH,ACK",
            "ALL NONE",
            "FIN,ACK ACK",
        ];
        format!("-m tcp {}--tcp-flags {}", not(dice), dice.word(&flags))
    })
}

fn icmp_type(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    match place.protocol {
        "icmp" => {
            let kinds = ["8", "0", "3", "3/1", "any", "11", "echo-request"];
            Some(format!("-m icmp {}--icmp-type {}", not(dice), dice.word(&kinds)))
        }
        "ipv6-icmp" => {
            let kinds = ["128", "129", "1", "1/4", "3", "echo-request"];
            Some(format!("-m icmp6 {}--icmpv6-type {}", not(dice), dice.word(&kinds)))
        }
        _ => None,
    }
}

fn multiport(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    place.has_ports().then(|| {
        let side = dice.word(&["--dports", "--dports", "--sports", "--ports"]);
        format!("-m multiport {}{side} {},{},5000:5010", not(dice), port(dice), port(dice))
    })
}

fn ctstate(dice: &mut Dice, _: &Place<'_>) -> Option<String> {
    let states = [
        "NEW",
        "ESTABLISHED",
        "RELATED,ESTABLISHED",
        "INVALID",
        "DNAT",
        "SNAT",
        "UNTRACKED",
        "NEW,INVALID",
        "SNAT,DNAT",
    ];
    Some(format!("-m conntrack {}--ctstate {}", not(dice), dice.word(&states)))
}

fn ctstatus(dice: &mut Dice, _: &Place<'_>) -> Option<String> {
    let statuses = ["NONE", "SEEN_REPLY", "ASSURED", "CONFIRMED", "EXPECTED", "SEEN_REPLY,ASSURED"];
    Some(format!("-m conntrack {}--ctstatus {}", not(dice), dice.word(&statuses)))
}

fn ctorig(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    Some(match dice.number(0, 3) {
        0 => format!("-m conntrack {}--ctorigsrc {}", not(dice), place.prefix(dice)),
        1 => format!("-m conntrack {}--ctorigdst {}", not(dice), place.prefix(dice)),
        2 => format!("-m conntrack {}--ctorigdstport {}", not(dice), range(dice)),
        _ => format!("-m conntrack {}--ctorigsrcport {}", not(dice), range(dice)),
    })
}

fn ctreply(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    Some(match dice.number(0, 3) {
        0 => format!("-m conntrack {}--ctreplsrc {}", not(dice), place.prefix(dice)),
        1 => format!("-m conntrack {}--ctrepldst {}", not(dice), place.prefix(dice)),
        2 => format!("-m conntrack {}--ctreplsrcport {}", not(dice), range(dice)),
        _ => format!("-m conntrack {}--ctrepldstport {}", not(dice), range(dice)),
    })
}

fn ctdir(dice: &mut Dice, _: &Place<'_>) -> Option<String> {
    Some(format!("-m conntrack --ctdir {}", dice.word(&["ORIGINAL", "REPLY"])))
}

fn ctproto(dice: &mut Dice, _: &Place<'_>) -> Option<String> {
    Some(format!("-m conntrack {}--ctproto {}", not(dice), dice.word(&["6", "17", "1", "58"])))
}

fn state(dice: &mut Dice, _: &Place<'_>) -> Option<String> {
    let states = ["NEW", "ESTABLISHED", "RELATED,ESTABLISHED", "INVALID", "UNTRACKED"];
    Some(format!("-m state {}--state {}", not(dice), dice.word(&states)))
}

fn mark(dice: &mut Dice, _: &Place<'_>) -> Option<String> {
    Some(format!("-m mark {}--mark {}", not(dice), dice.word(&["0x1", "0x2", "0x1/0x1", "0x2/0x3", "0x0"])))
}

fn connmark(dice: &mut Dice, _: &Place<'_>) -> Option<String> {
    Some(format!("-m connmark {}--mark {}", not(dice), dice.word(&["0x1", "0x2/0x3", "0x0", "0x4/0x4"])))
}

fn addrtype(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    let kinds: &[&str] = match place.family {
        Family::Ip4 => &["LOCAL", "LOCAL", "UNICAST", "BROADCAST", "BLACKHOLE", "UNREACHABLE", "PROHIBIT"],
        Family::Ip6 => &["LOCAL", "LOCAL", "UNICAST", "MULTICAST", "UNREACHABLE"],
    };
    // A negated IPv6 list of several types is refused; these are single.
    let side = dice.word(&["--dst-type", "--dst-type", "--src-type"]);
    let mut text = format!("-m addrtype {}{side} {}", not(dice), dice.word(kinds));
    if place.family == Family::Ip4 && dice.percent(15) {
        if place.only(&[Hook::Prerouting, Hook::Input]) && place.is_base {
            text.push_str(" --limit-iface-in");
        } else if place.only(&[Hook::Output, Hook::Postrouting]) && place.is_base {
            text.push_str(" --limit-iface-out");
        }
    }
    Some(text)
}

fn iprange(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    let side = dice.word(&["--src-range", "--dst-range"]);
    let wire = dice.number(1, place.plan.wires.len());
    let range = match place.family {
        Family::Ip4 => format!("10.0.{wire}.2-10.0.{wire}.100"),
        Family::Ip6 => format!("fd00:0:0:{wire:x}::2-fd00:0:0:{wire:x}::64"),
    };
    Some(format!("-m iprange {}{side} {range}", not(dice)))
}

/// Lengths of TCP segments are a kernel socket's affair: its options are not those of a flow.
fn length(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    let fixed = place.protocol == "udp" || place.protocol.contains("icmp");
    fixed.then(|| {
        format!("-m length {}--length {}", not(dice), dice.word(&["0:40", "36", "56", "41:100", "100:65535"]))
    })
}

fn ttl(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    let value = dice.number(61, 64);
    Some(match (place.family, dice.number(0, 2)) {
        (Family::Ip4, 0) => format!("-m ttl {}--ttl-eq {value}", not(dice)),
        (Family::Ip4, 1) => format!("-m ttl --ttl-lt {value}"),
        (Family::Ip4, _) => format!("-m ttl --ttl-gt {value}"),
        (Family::Ip6, 0) => format!("-m hl {}--hl-eq {value}", not(dice)),
        (Family::Ip6, 1) => format!("-m hl --hl-lt {value}"),
        (Family::Ip6, _) => format!("-m hl --hl-gt {value}"),
    })
}

fn dscp(dice: &mut Dice, _: &Place<'_>) -> Option<String> {
    Some(format!("-m dscp {}--dscp {}", not(dice), dice.word(&["0x00", "0x08", "0x2e"])))
}

fn tos(dice: &mut Dice, _: &Place<'_>) -> Option<String> {
    Some(format!(
        "-m tos {}--tos {}",
        not(dice),
        dice.word(&["0x00/0xff", "0x20/0xff", "0xb8/0xff", "0x10/0x3f"])
    ))
}

fn ecn(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    Some(match place.protocol {
        "tcp" if dice.percent(50) => {
            format!("-m ecn {}{}", not(dice), dice.word(&["--ecn-tcp-cwr", "--ecn-tcp-ece"]))
        }
        _ => format!("-m ecn {}--ecn-ip-ect {}", not(dice), dice.word(&["0", "1", "2"])),
    })
}

fn statistic_nth(dice: &mut Dice, _: &Place<'_>) -> Option<String> {
    // Where a count stands when the session begins is one of as many paths.
    let every = dice.number(2, 3);
    dice.percent(35).then(|| format!("-m statistic --mode nth {}--every {every} --packet 0", not(dice)))
}

/// An even chance only where no packet comes twice: in a loop each turn would double the paths.
fn statistic_random(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    let odds = match dice.number(0, 2) {
        0 => "0.00000000000",
        1 => "1.00000000000",
        _ if place.only(&[Hook::Input, Hook::Output]) && dice.percent(50) => "0.50000000000",
        _ => return None,
    };
    Some(format!("-m statistic --mode random {}--probability {odds}", not(dice)))
}

/// Slow enough that no token comes back while a scenario lasts.
fn limit(dice: &mut Dice, _: &Place<'_>) -> Option<String> {
    Some(format!("-m limit --limit {}/hour --limit-burst {}", dice.number(1, 9), dice.number(1, 4)))
}

fn hashlimit(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    let verb = dice.word(&["--hashlimit-upto", "--hashlimit-above"]);
    let mode = dice.word(&["srcip", "dstip", "srcip,dstip", "srcip,dstport", "dstip,dstport", "srcport"]);
    let name = format!("hl{}{}", dice.number(1, 60000), if place.is_legacy { "l" } else { "n" });
    let mask = match place.family {
        Family::Ip4 if mode.contains("srcip") && dice.percent(30) => " --hashlimit-srcmask 24",
        _ => "",
    };
    Some(format!(
        "-m hashlimit {verb} {}/hour --hashlimit-burst {} --hashlimit-mode {mode} --hashlimit-name {name}{mask} \
         --hashlimit-htable-expire 600000",
        dice.number(1, 9),
        dice.number(1, 3)
    ))
}

fn recent(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    // The lists of the two families are apart.
    let name = format!("r{}{}", dice.number(1, 3), if place.family == Family::Ip4 { 4 } else { 6 });
    let side = dice.word(&["--rsource", "--rsource", "--rdest"]);
    Some(match dice.number(0, 4) {
        0 | 1 => format!("-m recent --set --name {name} {side}"),
        2 => format!("-m recent {}--rcheck --seconds 600 --name {name} {side}", not(dice)),
        3 => format!(
            "-m recent {}--update --seconds 600 --hitcount {} --name {name} {side}",
            not(dice),
            dice.number(1, 4)
        ),
        _ => format!("-m recent {}--remove --name {name} {side}", not(dice)),
    })
}

/// Of first packets only: others are counted again if they come within one tick of the clock (nf_conncount.c,
/// `__nf_conncount_add`).
fn connlimit(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    if place.protocol != "tcp" {
        return None;
    }
    let mask = match place.family {
        Family::Ip4 => dice.word(&["32", "24", "0"]),
        Family::Ip6 => dice.word(&["128", "64", "0"]),
    };
    let verb = dice.word(&["--connlimit-above", "--connlimit-upto"]);
    let side = dice.word(&["--connlimit-saddr", "--connlimit-daddr"]);
    let limit = dice.number(0, 3);
    Some(format!(
        "-m tcp --tcp-flags SYN,RST,ACK,FIN SYN -m connlimit {verb} {limit} --connlimit-mask {mask} {side}"
    ))
}

fn connbytes(dice: &mut Dice, _: &Place<'_>) -> Option<String> {
    let side = dice.word(&["original", "reply", "both"]);
    let range = dice.word(&["0:1", "1:3", "2:9", "4:100"]);
    Some(format!(
        "-m connbytes {}--connbytes {range} --connbytes-mode packets --connbytes-dir {side}",
        not(dice)
    ))
}

fn quota(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    let fixed = place.protocol == "udp" || place.protocol.contains("icmp");
    fixed.then(|| format!("-m quota {}--quota {}", not(dice), dice.word(&["0", "60", "100", "1000"])))
}

fn mac(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    let seen = place.only(&[Hook::Prerouting, Hook::Input, Hook::Forward]);
    let host = dice.number(1, place.plan.hosts.len());
    let link = dice.number(2, 3);
    seen.then(|| format!("-m mac {}--mac-source 02:00:00:00:{host:02x}:{link:02x}", not(dice)))
}

fn owner(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    place.only(&[Hook::Output, Hook::Postrouting]).then(|| {
        let words = ["--uid-owner 0", "--uid-owner 7", "--gid-owner 0", "--gid-owner 9", "--uid-owner 5-9"];
        format!("-m owner {}{}", not(dice), dice.word(&words))
    })
}

fn pkttype(dice: &mut Dice, _: &Place<'_>) -> Option<String> {
    Some(format!("-m pkttype {}--pkt-type {}", not(dice), dice.word(&["unicast", "broadcast", "multicast"])))
}

fn policy(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    let is_in = place.only(&[Hook::Prerouting, Hook::Input, Hook::Forward]);
    let is_out = place.only(&[Hook::Forward, Hook::Output, Hook::Postrouting]);
    let direction = if is_in {
        "in"
    } else if is_out {
        "out"
    } else {
        return None;
    };
    Some(format!("-m policy --dir {direction} --pol {}", dice.word(&["none", "none", "ipsec"])))
}

fn realm(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    let has_route = place.only(&[Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting]);
    (place.family == Family::Ip4 && has_route)
        .then(|| format!("-m realm {}--realm {}", not(dice), dice.word(&["0x0", "0x1"])))
}

fn rpfilter(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    let fits = matches!(place.table, Table::Raw | Table::Mangle) && place.only(&[Hook::Prerouting]);
    let options = ["", " --loose", " --validmark", " --accept-local", " --invert", " --loose --invert"];
    fits.then(|| format!("-m rpfilter{}", dice.word(&options)))
}

fn socket(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    let fits = place.table == Table::Mangle && place.only(&[Hook::Prerouting, Hook::Input]);
    (fits && place.has_ports()).then(|| format!("-m socket{}", dice.word(&["", " --nowildcard"])))
}

fn time(dice: &mut Dice, _: &Place<'_>) -> Option<String> {
    let words = [
        "--datestart 2020-01-01",
        "--datestop 2021-01-01",
        "--monthdays 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    ];
    Some(format!("-m time {}", dice.word(&words)))
}

fn comment(dice: &mut Dice, _: &Place<'_>) -> Option<String> {
    Some(format!("-m comment --comment {}", dice.word(&["a", "\"two words\""])))
}

fn helper(dice: &mut Dice, _: &Place<'_>) -> Option<String> {
    Some(format!("-m helper {}--helper ftp", not(dice)))
}

fn ah(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    (place.protocol == "ah").then(|| format!("-m ah {}--ahspi 1", not(dice)))
}

fn esp(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    (place.protocol == "esp").then(|| format!("-m esp {}--espspi 1", not(dice)))
}

fn dccp(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    (place.protocol == "dccp").then(|| format!("-m dccp {}--dport 5", not(dice)))
}

fn sctp(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    (place.protocol == "sctp").then(|| format!("-m sctp {}--dport 80", not(dice)))
}

fn ipv6_headers(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    (place.family == Family::Ip6).then(|| {
        let words = [
            "-m rt --rt-type 0",
            "-m rt ! --rt-type 0",
            "-m frag --fragid 1",
            "-m frag ! --fragid 1",
            "-m srh --srh-next-hdr 6",
        ];
        dice.word(&words).to_owned()
    })
}

fn ipv6header(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    (place.family == Family::Ip6).then(|| {
        format!(
            "-m ipv6header {}--header {} --soft",
            not(dice),
            dice.word(&["prot", "frag", "route", "none"])
        )
    })
}

fn nfacct(_: &mut Dice, _: &Place<'_>) -> Option<String> {
    Some("-m nfacct --nfacct-name counted".to_owned())
}

fn hop_by_hop(dice: &mut Dice, place: &Place<'_>) -> Option<String> {
    (place.family == Family::Ip6).then(|| {
        dice.word(&[
            "-m hbh --hbh-len 8",
            "-m hbh ! --hbh-len 8",
            "-m dst --dst-len 8",
            "-m dst ! --dst-len 8",
        ])
        .to_owned()
    })
}
