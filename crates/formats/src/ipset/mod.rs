//! `ipset save`, to and from the model.
//!
//! ```text
//! create blocked hash:net family inet hashsize 1024 maxelem 65536 timeout 300
//! add blocked 10.0.0.0/8 timeout 17
//! add blocked 10.1.0.0/16 nomatch
//! ```
//!
//! | type | read |
//! |---|---|
//! | hash:ip, hash:net, hash:ip,port, hash:net,port, hash:ip,port,ip, hash:ip,port,net, hash:net,net | exactly |
//! | hash:net,port,net, hash:net,iface, hash:mac, hash:ip,mac, hash:ip,mark | exactly; patterns of interfaces are not decided |
//! | bitmap:ip, bitmap:port, bitmap:ip,mac, list:set | exactly |
//!
//! Counters and comments of elements are passed over. Ranges, which `ipset save` itself never prints, are
//! read as the elements they stand for.

mod element;
mod write;

pub use write::write;

use natpath_model::set::{Method, Part};
use natpath_model::{Diagnostic, Family, IpSet, IpSets, Value};

use crate::diagnose::syntax;
use element::Fault;

const HELP: &str = "give the untouched output of `ipset save`";

/// The types of ipset 7, with their parts.
pub(crate) const TYPES: [(&str, Method, &[Part]); 16] = [
    ("hash:ip", Method::Hash, &[Part::Ip]),
    ("hash:net", Method::Hash, &[Part::Net]),
    ("hash:ip,port", Method::Hash, &[Part::Ip, Part::Port]),
    ("hash:net,port", Method::Hash, &[Part::Net, Part::Port]),
    ("hash:ip,port,ip", Method::Hash, &[Part::Ip, Part::Port, Part::Ip]),
    ("hash:ip,port,net", Method::Hash, &[Part::Ip, Part::Port, Part::Net]),
    ("hash:net,net", Method::Hash, &[Part::Net, Part::Net]),
    ("hash:net,port,net", Method::Hash, &[Part::Net, Part::Port, Part::Net]),
    ("hash:net,iface", Method::Hash, &[Part::Net, Part::Interface]),
    ("hash:mac", Method::Hash, &[Part::Mac]),
    ("hash:ip,mac", Method::Hash, &[Part::Ip, Part::Mac]),
    ("hash:ip,mark", Method::Hash, &[Part::Ip, Part::Mark]),
    ("bitmap:ip", Method::Bitmap, &[Part::Ip]),
    ("bitmap:port", Method::Bitmap, &[Part::Port]),
    ("bitmap:ip,mac", Method::Bitmap, &[Part::Ip, Part::Mac]),
    ("list:set", Method::List, &[]),
];

/// Reads the text of one file.
///
/// # Examples
/// ```
/// let text = "create web hash:ip,port family inet\nadd web 192.0.2.1,tcp:80\n";
/// let (sets, diagnostics) = natpath_formats::ipset::parse(text, "ipset");
/// assert!(diagnostics.is_empty());
/// assert_eq!(sets.get("web").map(|set| set.len()), Some(1));
/// ```
#[must_use]
pub fn parse(text: &str, file_name: &str) -> (IpSets, Vec<Diagnostic>) {
    let (mut sets, mut diagnostics) = (IpSets::default(), Vec::new());
    let mut made = 0;
    for (number, line) in (1u32..).zip(text.lines()) {
        if let Err(fault) = read_line(line, &mut sets, &mut made) {
            let place = fault.word.as_ptr().addr().wrapping_sub(line.as_ptr().addr());
            let column = u32::try_from(place.min(line.len()) + 1).unwrap_or(u32::MAX);
            diagnostics.push(syntax(file_name, (number, column), fault.message, HELP, line));
        }
    }
    (sets, diagnostics)
}

fn read_line<'l>(line: &'l str, sets: &mut IpSets, made: &mut Value) -> Result<(), Fault<'l>> {
    let mut words = Words::new(line);
    match words.next() {
        None => Ok(()),
        Some(word) if word.starts_with('#') => Ok(()),
        Some("create" | "-N" | "-n") => {
            let set = create(&mut words)?;
            sets.insert(set);
            Ok(())
        }
        Some("add" | "-A" | "-a") => {
            let name = words.needed("the name of a set")?;
            let known = sets.get(name).is_some();
            let value = words.needed("an element")?;
            match sets.get_mut(name).filter(|_| known) {
                Some(set) => element::add(set, value, &mut words, made),
                None => Err(Fault::new(name, format!("there is no set `{name}` before this line"))),
            }
        }
        Some("COMMIT") => Ok(()),
        Some(word) => Err(Fault::new(word, format!("expected create or add, found `{word}`"))),
    }
}

/// `NAME TYPE [OPTION [VALUE]]...`
fn create<'l>(words: &mut Words<'l>) -> Result<IpSet, Fault<'l>> {
    let name = words.needed("the name of a set")?;
    let kind = words.needed("the type of a set")?;
    let options = words.rest();
    let Some((_, method, parts)) = TYPES.iter().find(|(known, ..)| *known == kind) else {
        return Err(Fault::new(kind, format!("ipset has no type `{kind}`")));
    };
    let addressed = parts.iter().any(|part| matches!(part, Part::Ip | Part::Net));
    let mut set = IpSet::new(name, *method, parts.to_vec(), addressed.then_some(Family::Ip4));
    options.clone_into(&mut set.options);
    while let Some(option) = words.next() {
        let mut number = |max: u32| {
            let word = words.needed("a number")?;
            let value = element::number(word).filter(|value| *value <= max);
            value.ok_or_else(|| Fault::new(word, format!("expected a number up to {max}, found `{word}`")))
        };
        match option {
            "family" => {
                let word = words.needed("inet or inet6")?;
                let family = match word {
                    "inet" | "-4" => Family::Ip4,
                    "inet6" | "-6" => Family::Ip6,
                    _ => return Err(Fault::new(word, format!("expected inet or inet6, found `{word}`"))),
                };
                set.family = addressed.then_some(family);
            }
            "timeout" => set.timeout = Some(number(u32::MAX)?),
            "markmask" => set.mark_mask = number(u32::MAX)?,
            "netmask" => {
                let length = number(128)?;
                let host = u32::from(set.width()).saturating_sub(length);
                set.mask = Some(u128::MAX.checked_shl(host).unwrap_or(0));
            }
            "bitmask" => {
                let word = words.needed("a mask")?;
                let mask = word.parse().map_err(|_| Fault::new(word, "expected an address as a mask"))?;
                set.mask = Some(natpath_model::net::bits(mask));
            }
            "range" => {
                let word = words.needed("a range")?;
                let range = element::bitmap_range(&set, word);
                set.range = Some(range.ok_or_else(|| Fault::new(word, "expected a range FIRST-LAST"))?);
            }
            "hashsize" | "maxelem" | "bucketsize" | "initval" | "probes" | "resize" | "size" => {
                words.needed("a number")?;
            }
            "counters" | "comment" | "skbinfo" | "forceadd" => {}
            _ => return Err(Fault::new(option, format!("ipset has no option `{option}`"))),
        }
    }
    Ok(set)
}

/// The words of a line; one in double quotes is one word, with its quotes.
struct Words<'l> {
    rest: &'l str,
}

impl<'l> Words<'l> {
    fn new(line: &'l str) -> Self {
        Self { rest: line }
    }

    fn next(&mut self) -> Option<&'l str> {
        let text = self.rest.trim_start();
        if text.is_empty() {
            self.rest = text;
            return None;
        }
        let mut quoted = false;
        let mut escaped = false;
        let end = text.find(|letter: char| {
            if escaped {
                escaped = false;
                return false;
            }
            match letter {
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                _ => {}
            }
            letter.is_whitespace() && !quoted
        });
        let (word, rest) = text.split_at(end.unwrap_or(text.len()));
        self.rest = rest;
        Some(word)
    }

    fn needed(&mut self, what: &str) -> Result<&'l str, Fault<'l>> {
        let end = self.rest;
        self.next().ok_or_else(|| Fault::new(end, format!("expected {what} at the end of the line")))
    }

    fn rest(&self) -> &'l str {
        self.rest.trim()
    }
}

#[cfg(test)]
mod tests;
