//! Kernel parameters as `sysctl` prints them, with the kernel's defaults for those that were not listed.

use std::collections::BTreeMap;

use crate::net::Family;
use crate::value::InterfaceName;

/// The values of kernel parameters by dotted name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sysctls {
    values: BTreeMap<String, String>,
}

impl Sysctls {
    /// Sets a parameter. Slashes and dots are exchanged where the name is given with slashes.
    pub fn set(&mut self, name: &str, value: &str) {
        self.values.insert(name.to_owned(), value.to_owned());
    }

    /// The text of a parameter, if it was listed.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// A parameter as a number, if it was listed as one.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.split_whitespace().next()?.parse().ok()
    }

    /// All parameters in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The number of parameters listed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether none was listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// `net.ipvX.conf.INTERFACE.KEY`, if listed. `sysctl` prints a dot in an interface name as a slash.
    #[must_use]
    pub fn conf(&self, family: Family, interface: InterfaceName, key: &str) -> Option<i64> {
        self.conf_named(family, &interface.to_string().replace('.', "/"), key)
    }

    /// `net.ipvX.conf.all.KEY`, if listed.
    #[must_use]
    pub fn conf_all(&self, family: Family, key: &str) -> Option<i64> {
        self.conf_named(family, "all", key)
    }

    /// `net.ipvX.conf.default.KEY`, if listed: what an interface has that was not listed itself.
    #[must_use]
    pub fn conf_default(&self, family: Family, key: &str) -> Option<i64> {
        self.conf_named(family, "default", key)
    }

    fn conf_named(&self, family: Family, interface: &str, key: &str) -> Option<i64> {
        let version = match family {
            Family::Ip4 => 4,
            Family::Ip6 => 6,
        };
        self.number(&format!("net.ipv{version}.conf.{interface}.{key}"))
    }
}
