use natpath_model::set::Key;

use super::*;

/// Reads sets, and reads them again as they are written.
fn read(text: &str) -> IpSets {
    let (sets, diagnostics) = parse(text, "ipset");
    assert_eq!(diagnostics, []);
    let written = write(&sets);
    let (again, diagnostics) = parse(&written, "ipset");
    assert_eq!(diagnostics, [], "{written}");
    assert_eq!(sets, again, "{written}");
    sets
}

fn keys(sets: &IpSets, name: &str) -> Vec<Key> {
    sets.get(name).expect("a set").elements().map(|(key, ..)| *key).collect()
}

#[test]
fn every_type_is_read_and_written_back() {
    let sets = read(
        "create a hash:ip family inet hashsize 1024 maxelem 65536 timeout 300 counters comment bucketsize 12 initval 0x30d6faf3
add a 10.42.0.10 timeout 0 packets 3 bytes 90 comment \"a web server\"
add a 10.42.0.11
create a6 hash:ip family inet6 hashsize 1024 maxelem 65536
add a6 2001:db8::1
create b hash:net family inet
add b 10.0.0.0/8
add b 10.1.0.0/16 nomatch
create c hash:ip,port family inet
add c 192.0.2.1,tcp:80
add c 192.0.2.1,icmp:8/0
create d hash:net,port family inet6
add d 2001:db8::/32,udp:53
create e hash:ip,port,ip
add e 192.0.2.1,tcp:80,192.0.2.2
create f hash:ip,port,net
add f 192.0.2.1,sctp:80,192.0.2.0/24
create g hash:net,net
add g 192.0.2.0/24,198.51.100.0/25
create h hash:net,iface
add h 192.0.2.0/24,eth0
add h 192.0.2.0/24,physdev:eth1
create i hash:mac
add i 02:00:00:00:00:01
create j hash:ip,mac
add j 192.0.2.1,02:00:00:00:00:01
create k hash:ip,mark markmask 0xff
add k 192.0.2.1,0x17
create l bitmap:ip range 10.0.0.0-10.0.0.255
add l 10.0.0.7
create m bitmap:port range 0-1024
add m 80
create n bitmap:ip,mac range 10.0.0.0/24
add n 10.0.0.7,02:00:00:00:00:01
add n 10.0.0.8
create o hash:net,port,net
add o 10.0.0.0/8,tcp:80,192.0.2.0/24
create p list:set size 8
add p a
add p b
",
    );
    assert_eq!(sets.iter().map(natpath_model::IpSet::len).sum::<usize>(), 23);
    assert_eq!(sets.get("p").map(|set| &set.members[..]), Some(&["a".to_owned(), "b".to_owned()][..]));
    let timeouts: Vec<_> = sets
        .get("a")
        .into_iter()
        .flat_map(natpath_model::IpSet::elements)
        .map(|(.., found)| found.timeout)
        .collect();
    assert_eq!(timeouts, [None, Some(300)]);
}

#[test]
fn ranges_stand_for_their_elements() {
    let sets = read(
        "create a hash:ip\nadd a 10.0.0.1-10.0.0.3\nadd a 10.0.1.0/30\ncreate b hash:net\nadd b 10.0.0.1-10.0.0.8\n\
         create c hash:ip,port\nadd c 10.0.0.1,tcp:80-82\n",
    );
    assert_eq!(keys(&sets, "a").len(), 7);
    let lengths: Vec<u8> = sets
        .get("b")
        .into_iter()
        .flat_map(natpath_model::IpSet::elements)
        .map(|(_, lengths, _)| lengths[0])
        .collect();
    assert_eq!(lengths, [32, 32, 31, 30]);
    assert_eq!(keys(&sets, "c").iter().map(|key| key[1] & 0xffff).collect::<Vec<_>>(), [80, 81, 82]);
}

#[test]
fn a_mask_makes_networks_of_addresses() {
    let sets = read("create a hash:ip netmask 24\nadd a 10.0.0.77\n");
    assert_eq!(keys(&sets, "a"), [[0x0a00_0000, 0, 0]]);
}

#[test]
fn what_is_wrong_has_a_place() {
    let check = |text: &str, place: (u32, u32)| {
        let (_, diagnostics) = parse(text, "ipset");
        let [found] = &diagnostics[..] else { panic!("{text}: {diagnostics:?}") };
        assert_eq!((found.line, found.column), place, "{found}");
    };
    check("create a hash:frog\n", (1, 10));
    check("create a hash:ip\nadd b 10.0.0.1\n", (2, 5));
    check("create a hash:ip\nadd a fd00::1\n", (2, 7));
    check("create a hash:ip\nadd a 10.0.0.1 frog\n", (2, 16));
    check("create a hash:ip,port\nadd a 10.0.0.0/8,tcp:1-9\n", (2, 7));
    check("create a\n", (1, 9));
    check("ipset create\n", (1, 1));
}

#[test]
fn ranges_of_a_file_make_no_more_than_a_million_elements() {
    // Half a million, and a line that alone would be let through.
    let (sets, diagnostics) = parse("create s hash:ip\nadd s 1.0.0.0/13\nadd s 2.0.0.0/12\n", "ipset");
    assert_eq!(sets.get("s").map(IpSet::len), Some(1 << 19));
    let found: Vec<_> = diagnostics.iter().map(|found| (found.line, found.column)).collect();
    assert_eq!(found, [(3, 7)]);
}

#[test]
fn a_mask_that_turns_a_range_around_is_a_fault() {
    let text = "create s hash:ip bitmask 0.0.0.255\nadd s 10.0.0.200-10.0.1.1\n";
    let (sets, diagnostics) = parse(text, "ipset");
    assert_eq!(sets.get("s").map(IpSet::len), Some(0));
    assert_eq!(diagnostics.len(), 1);
}
