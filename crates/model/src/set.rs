//! Sets of ipset: named collections of addresses, networks, ports and more, which rules test packets
//! against and add to.
//!
//! An element is a [`Key`] of up to three numbers, one for each [`Part`] of the set's type. Networks are
//! filed by the lengths of their prefixes, the longest first, as the kernel does (ip_set_hash_gen.h): the
//! first prefix under which a packet's numbers are found decides.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::net::{Family, Mac, bits};
use crate::value::Value;

/// All sets of a host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IpSets {
    sets: Vec<IpSet>,
    by_name: BTreeMap<String, usize>,
}

impl IpSets {
    /// Adds a set; one of the same name is replaced.
    pub fn insert(&mut self, set: IpSet) {
        match self.by_name.get(&set.name) {
            Some(place) => self.sets[*place] = set,
            None => {
                self.by_name.insert(set.name.clone(), self.sets.len());
                self.sets.push(set);
            }
        }
    }

    /// The set of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&IpSet> {
        self.by_name.get(name).map(|place| &self.sets[*place])
    }

    /// The set of this name, to change.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut IpSet> {
        self.by_name.get(name).map(|place| &mut self.sets[*place])
    }

    /// The sets in listed order.
    pub fn iter(&self) -> impl Iterator<Item = &IpSet> {
        self.sets.iter()
    }
}

/// One part of a set's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// An address.
    Ip,
    /// A network.
    Net,
    /// A protocol and port as `protocol << 16 | port`; the port alone in `bitmap:port`.
    Port,
    /// A hardware address.
    Mac,
    /// An interface, as a packed name.
    Interface,
    /// A packet's mark.
    Mark,
}

/// How a set keeps its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// One bit each in a range.
    Bitmap,
    /// A hash table.
    Hash,
    /// A list of other sets.
    List,
}

/// A set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpSet {
    /// Its name.
    pub name: String,
    /// How it keeps its elements.
    pub method: Method,
    /// The parts of an element; none in a list.
    pub parts: Vec<Part>,
    /// The family of its addresses; `None` where it has none, or in a list.
    pub family: Option<Family>,
    /// The bits of an address that count (`netmask`, `bitmask`), for sets of single addresses.
    pub mask: Option<Value>,
    /// The bits of a mark that count (`markmask`).
    pub mark_mask: u32,
    /// The first and last value of a bitmap.
    pub range: Option<(Value, Value)>,
    /// The seconds an element stays that is added without saying how long; `None` where elements stay.
    pub timeout: Option<u32>,
    /// The other words after its type, as they were written.
    pub options: String,
    /// The names of a list's sets, in order.
    pub members: Vec<String>,
    /// What of it natpath can't look up, if anything.
    pub unsupported: Option<String>,
    /// The elements by the lengths of their prefixes.
    groups: BTreeMap<Reverse<[u8; 2]>, BTreeMap<Key, Element>>,
}

/// The numbers of an element; those a set's type does not have are 0.
pub type Key = [Value; 3];

/// What is known of an element beside its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Element {
    /// Whether it is an exception from a larger network.
    pub nomatch: bool,
    /// The seconds it still stays; `None` for ever.
    pub timeout: Option<u32>,
}

/// The number that stands for any hardware address.
pub const ANY_MAC: Value = Value::MAX;

/// Set in the name of an interface that is meant as a port of a bridge; the name follows, 8 bits lower.
pub const PHYSICAL: Value = 0xff << 120;

/// A hardware address as a number.
#[must_use]
pub fn mac_value(mac: Mac) -> Value {
    mac.0.iter().fold(0, |value, byte| value << 8 | Value::from(*byte))
}

impl IpSet {
    /// A set without elements.
    #[must_use]
    pub fn new(name: &str, method: Method, parts: Vec<Part>, family: Option<Family>) -> Self {
        Self {
            name: name.to_owned(),
            method,
            parts,
            family,
            mask: None,
            mark_mask: u32::MAX,
            range: None,
            timeout: None,
            options: String::new(),
            members: Vec::new(),
            unsupported: None,
            groups: BTreeMap::new(),
        }
    }

    /// The bits of an address of the set's family.
    #[must_use]
    pub fn width(&self) -> u8 {
        self.family.map_or(0, Family::bits)
    }

    /// Adds an element; `lengths` are those of the prefixes of its networks, in order.
    pub fn insert(&mut self, key: Key, lengths: &[u8], element: Element) {
        let (key, lengths) = self.normal(key, lengths);
        self.groups.entry(Reverse(lengths)).or_default().insert(key, element);
    }

    /// Removes an element and says whether it was there.
    pub fn remove(&mut self, key: Key, lengths: &[u8]) -> bool {
        let (key, lengths) = self.normal(key, lengths);
        self.groups.get_mut(&Reverse(lengths)).is_some_and(|group| group.remove(&key).is_some())
    }

    /// The element that these numbers fall under, the most specific first. `alive` says whether an element
    /// still counts.
    pub fn find(&self, key: Key, alive: impl Fn(&Key, &[u8; 2], &Element) -> bool) -> Option<&Element> {
        self.groups.iter().find_map(|(Reverse(lengths), group)| {
            let masked = self.masked(key, *lengths);
            let (key, element) = group.get_key_value(&masked)?;
            alive(key, lengths, element).then_some(element)
        })
    }

    /// All elements with the lengths of their prefixes, in a fixed order.
    pub fn elements(&self) -> impl Iterator<Item = (&Key, &[u8; 2], &Element)> {
        self.groups
            .iter()
            .flat_map(|(Reverse(lengths), group)| group.iter().map(move |(key, found)| (key, lengths, found)))
    }

    /// How many elements it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len() + self.groups.values().map(BTreeMap::len).sum::<usize>()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of an address in this set.
    #[must_use]
    pub fn address(&self, address: IpAddr) -> Value {
        bits(address) & self.mask.unwrap_or(Value::MAX)
    }

    fn normal(&self, key: Key, lengths: &[u8]) -> (Key, [u8; 2]) {
        let width = self.width();
        let length = |index: usize| lengths.get(index).copied().unwrap_or(width).min(width);
        let lengths = [length(0), length(1)];
        (self.masked(key, lengths), lengths)
    }

    /// The numbers with the host bits of networks cleared.
    fn masked(&self, mut key: Key, lengths: [u8; 2]) -> Key {
        let nets = self.parts.iter().enumerate().filter(|(_, part)| **part == Part::Net);
        for ((index, _), length) in nets.zip(lengths) {
            let host = u32::from(self.width() - length);
            key[index] = key[index].checked_shr(host).and_then(|net| net.checked_shl(host)).unwrap_or(0);
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_network_decides() {
        let mut set = IpSet::new("s", Method::Hash, vec![Part::Net], Some(Family::Ip4));
        set.insert([0x0a00_0000, 0, 0], &[8], Element::default());
        set.insert([0x0a01_0000, 0, 0], &[16], Element { nomatch: true, timeout: None });
        let find = |value| set.find([value, 0, 0], |_, _, _| true).map(|element| element.nomatch);
        assert_eq!(find(0x0a02_0304), Some(false));
        assert_eq!(find(0x0a01_0304), Some(true));
        assert_eq!(find(0x0b01_0304), None);
    }

    #[test]
    fn an_expired_exception_lets_the_larger_network_decide() {
        let mut set = IpSet::new("s", Method::Hash, vec![Part::Net], Some(Family::Ip6));
        set.insert([0xfd00 << 112, 0, 0], &[8], Element::default());
        set.insert([0xfd00 << 112, 0, 0], &[64], Element { nomatch: true, timeout: Some(1) });
        let found = set.find([(0xfd00 << 112) | 7, 0, 0], |_, _, element| element.timeout.is_none());
        assert_eq!(found, Some(&Element::default()));
    }
}
