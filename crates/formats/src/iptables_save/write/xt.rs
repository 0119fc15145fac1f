//! Matches of extensions that are no test of the header.

use natpath_model::xt::{
    Cluster, ConnBytes, ConnLimit, HashLimit, HashRate, IdRange, Measure, Owner, Per, Rate, Recent, RecentOp,
    ReversePath, SocketTest, TimeWindow,
};
use natpath_model::{Direction, Family, Field, Manip, Test, Value, Xt};

use super::matches::{bang, bounds, interface, mark, mask_of};
use super::{payload, put, quote};
use crate::iptables_save::lower::{sides_text, xt_words};

/// Writes a match with its `-m`.
pub(super) fn write(out: &mut String, family: Family, condition: &Xt) {
    match condition {
        Xt::Policy { text, .. }
        | Xt::AbsentHeader { text }
        | Xt::ControlGroup { text }
        | Xt::Ipvs { text, .. } => return put(out, format_args!(" {text}")),
        _ => put(out, format_args!(" -m {}", condition.name())),
    }
    match condition {
        Xt::Owner(owner) => write_owner(out, owner),
        Xt::Set(test) => {
            put(out, format_args!("{} --match-set ", bang(test.negated)));
            quote(out, &test.set);
            put(out, format_args!(" {}", sides_text(&test.sides)));
        }
        Xt::Limit(limit) => {
            put(out, format_args!(" --limit {} --limit-burst {}", rate(*limit), limit.burst));
        }
        Xt::HashLimit(limit) => write_hashlimit(out, limit),
        Xt::Recent(recent) => write_recent(out, recent),
        Xt::ConnLimit(limit) => write_connlimit(out, family, *limit),
        Xt::ConnBytes(test) => write_connbytes(out, *test),
        Xt::Quota { bytes, negated } => put(out, format_args!("{} --quota {bytes}", bang(*negated))),
        Xt::ReversePath(path) => write_rpfilter(out, *path),
        Xt::Socket(SocketTest { transparent, no_wildcard }) => {
            flag(out, "--transparent", *transparent);
            flag(out, "--nowildcard", *no_wildcard);
        }
        Xt::Time(window) => write_time(out, *window),
        Xt::Helper { name, negated } => {
            put(out, format_args!("{} --helper ", bang(*negated)));
            quote(out, name);
        }
        Xt::Text(search) => payload::write_text(out, search),
        Xt::U32(condition) => payload::write_u32(out, condition),
        Xt::Bpf(program) => payload::write_program(out, program),
        Xt::Cluster(Cluster { nodes, own, seed, negated }) => put(
            out,
            format_args!(
                "{} --cluster-local-nodemask {own:#010x} --cluster-total-nodes {nodes} \
                 --cluster-hash-seed {seed:#010x}",
                bang(*negated)
            ),
        ),
        Xt::SegmentSize { min, max, negated } => {
            put(out, format_args!("{} --mss {min}:{max}", bang(*negated)));
        }
        Xt::Policy { .. } | Xt::AbsentHeader { .. } | Xt::ControlGroup { .. } | Xt::Ipvs { .. } => {}
    }
}

fn flag(out: &mut String, option: &str, set: bool) {
    if set {
        put(out, format_args!(" {option}"));
    }
}

fn rate(rate: Rate) -> String {
    let unit = Per::NAMES.iter().find(|(_, per)| *per == rate.per).map_or("sec", |(name, _)| name);
    format!("{}/{unit}", rate.packets)
}

fn write_owner(out: &mut String, owner: &Owner) {
    for (option, range) in [("--uid-owner", owner.uid), ("--gid-owner", owner.gid)] {
        let Some(IdRange { min, max, negated }) = range else { continue };
        put(out, format_args!("{} {option} {min}", bang(negated)));
        if max != min {
            put(out, format_args!("-{max}"));
        }
    }
    if let Some(negated) = owner.socket_exists {
        put(out, format_args!("{} --socket-exists", bang(negated)));
    }
}

fn write_hashlimit(out: &mut String, limit: &HashLimit) {
    let option = if limit.above { "--hashlimit-above" } else { "--hashlimit-upto" };
    match limit.rate {
        HashRate::Packets(packets) => {
            put(out, format_args!(" {option} {} --hashlimit-burst {}", rate(packets), packets.burst));
        }
        HashRate::Bytes(bytes) => {
            put(out, format_args!(" {option} {}b/s", bytes.bytes()));
            if bytes.refills > 0 {
                put(out, format_args!(" --hashlimit-burst {}b", bytes.bytes() * u64::from(bytes.refills)));
            }
        }
    }
    let key = limit.key;
    let modes = [
        (key.src.is_some(), "srcip"),
        (key.src_port, "srcport"),
        (key.dst.is_some(), "dstip"),
        (key.dst_port, "dstport"),
    ];
    let modes: Vec<_> = modes.iter().filter(|(given, _)| *given).map(|(_, name)| *name).collect();
    if !modes.is_empty() {
        put(out, format_args!(" --hashlimit-mode {}", modes.join(",")));
    }
    for (option, length) in [("--hashlimit-srcmask", key.src), ("--hashlimit-dstmask", key.dst)] {
        if let Some(length) = length {
            put(out, format_args!(" {option} {length}"));
        }
    }
    put(out, format_args!(" --hashlimit-htable-expire {} --hashlimit-name ", limit.expire));
    quote(out, &limit.name);
}

fn write_recent(out: &mut String, recent: &Recent) {
    let op = match recent.op {
        RecentOp::Set => "--set",
        RecentOp::Check => "--rcheck",
        RecentOp::Update => "--update",
        RecentOp::Remove => "--remove",
    };
    put(out, format_args!("{} {op}", bang(recent.negated)));
    for (option, number) in [("--seconds", recent.seconds), ("--hitcount", recent.hits)] {
        if number != 0 {
            put(out, format_args!(" {option} {number}"));
        }
    }
    flag(out, "--reap", recent.reap);
    flag(out, "--rttl", recent.same_ttl);
    out.push_str(" --name ");
    quote(out, &recent.name);
    let side = if recent.of == Manip::Src { "--rsource" } else { "--rdest" };
    put(out, format_args!(" --mask {} {side}", recent.mask));
}

fn write_connlimit(out: &mut String, family: Family, limit: ConnLimit) {
    let option = if limit.above { "--connlimit-above" } else { "--connlimit-upto" };
    let side = if limit.of == Manip::Src { "--connlimit-saddr" } else { "--connlimit-daddr" };
    let ones = limit.mask.count_ones();
    let host = u32::from(family.bits()) - ones.min(u32::from(family.bits()));
    // A mask with holes has no length.
    let is_prefix = limit.mask.trailing_zeros() == host || ones == 0;
    put(out, format_args!(" {option} {} --connlimit-mask ", limit.limit));
    match is_prefix {
        true => put(out, format_args!("{ones}")),
        false => put(out, format_args!("{}", family.address(limit.mask))),
    }
    put(out, format_args!(" {side}"));
}

fn write_connbytes(out: &mut String, test: ConnBytes) {
    let measure = Measure::NAMES.iter().find(|(_, measure)| *measure == test.measure);
    let direction = match test.direction {
        Some(Direction::Original) => "original",
        Some(Direction::Reply) => "reply",
        None => "both",
    };
    put(
        out,
        format_args!(
            "{} --connbytes {}:{} --connbytes-mode {} --connbytes-dir {direction}",
            bang(test.negated),
            test.from,
            test.to,
            measure.map_or("bytes", |(name, _)| name)
        ),
    );
}

fn write_rpfilter(out: &mut String, path: ReversePath) {
    flag(out, "--loose", path.loose);
    flag(out, "--validmark", path.valid_mark);
    flag(out, "--accept-local", path.accept_local);
    flag(out, "--invert", path.inverted);
}

fn write_time(out: &mut String, window: TimeWindow) {
    let all = TimeWindow::default();
    let clock = |seconds: u32| format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    for (option, seconds, default) in
        [("--timestart", window.day.0, all.day.0), ("--timestop", window.day.1, all.day.1)]
    {
        if seconds != default {
            put(out, format_args!(" {option} {}", clock(seconds)));
        }
    }
    if window.monthdays != all.monthdays {
        let days = (1..32).filter(|day| window.monthdays & 1 << day != 0).map(|day| day.to_string());
        days_text(out, "--monthdays", days);
    }
    if window.weekdays != all.weekdays {
        let days = (1..).zip(xt_words::WEEKDAYS).filter(|(bit, _)| window.weekdays & 1 << bit != 0);
        days_text(out, "--weekdays", days.map(|(_, name)| name.to_owned()));
    }
    for (option, seconds, default) in
        [("--datestart", window.dates.0, all.dates.0), ("--datestop", window.dates.1, all.dates.1)]
    {
        if seconds != default {
            put(out, format_args!(" {option} {}T{}", date(seconds / 86400), clock(seconds % 86400)));
        }
    }
    flag(out, "--contiguous", window.contiguous);
    flag(out, "--kerneltz", window.kernel_zone);
}

/// A list of days; where there is none, all of them turned round.
fn days_text(out: &mut String, option: &str, days: impl Iterator<Item = String>) {
    let days: Vec<_> = days.collect();
    if days.is_empty() {
        let last = if option == "--weekdays" { 7 } else { 31 };
        let all: Vec<_> = (1..=last).map(|day| day.to_string()).collect();
        return put(out, format_args!(" ! {option} {}", all.join(",")));
    }
    put(out, format_args!(" {option} {}", days.join(",")));
}

/// The date of a day since 1970, as `YYYY-MM-DD`.
fn date(days: u32) -> String {
    // Years begin in March here, so that leap days come last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u32::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The words after `-m` of a test of one field.
pub(super) fn field_test(test: &Test) -> String {
    let bang = bang(test.negated);
    let (low, _) = bounds(&test.set);
    match test.expr.field() {
        Field::Tos => format!("tos{bang} --tos {low:#04x}/{:#04x}", mask_of(&test.expr, 0xff)),
        Field::SourceMac => {
            let bytes: Vec<_> = low.to_be_bytes()[10..].iter().map(|byte| format!("{byte:02x}")).collect();
            format!("mac{bang} --mac-source {}", bytes.join(":"))
        }
        Field::PacketType => {
            let known = xt_words::PACKET_TYPES.iter().find(|(_, kind)| *kind == low);
            format!("pkttype{bang} --pkt-type {}", known.map_or("unicast", |(name, _)| name))
        }
        Field::Realm => format!("realm{bang} --realm {}", mark(&test.expr, low)),
        Field::Ip6Headers => ip6_headers(test),
        Field::BridgeIn => bridge(test, "in"),
        Field::BridgeOut => bridge(test, "out"),
        _ => format!("physdev{bang} --physdev-is-bridged"),
    }
}

fn bridge(test: &Test, side: &str) -> String {
    match test.set.as_single() {
        Some(0) => format!("physdev{} --physdev-is-{side}", bang(!test.negated)),
        _ => format!("physdev{} --physdev-{side} {}", bang(test.negated), interface(&test.set)),
    }
}

fn ip6_headers(test: &Test) -> String {
    let (low, _) = bounds(&test.set);
    let mask = mask_of(&test.expr, 0xff);
    let soft = matches!(test.expr, natpath_model::Expr::Masked { .. });
    let negated = if soft { low == 0 && mask != 0 } else { test.negated };
    let bits = if soft { mask } else { low };
    let names = xt_words::IP6_HEADERS[..8].iter().filter(|(_, bit)| bits & Value::from(*bit) != 0);
    let names: Vec<_> = names.map(|(name, _)| *name).collect();
    format!("ipv6header{} --header {}{}", bang(negated), names.join(","), if soft { " --soft" } else { "" })
}
