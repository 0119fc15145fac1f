//! What happens between flows: time passes, rules are replaced, conntrack entries deleted.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use natpath_formats::snapshot::Dump;
use natpath_model::{Protocol, Snapshot};

use super::{Stage, Watched};
use crate::kernel::{conntrack, rules};

impl Stage<'_> {
    /// Lets time pass.
    pub fn wait(&self, time: Duration) {
        std::thread::sleep(time);
    }

    /// Puts other rules in the place of a host's.
    ///
    /// # Errors
    /// If there is no such host, or a tool refuses the rules.
    pub fn load(&mut self, after: &Snapshot, dumps: &[Dump]) -> Result<()> {
        let host = self.host_named(&after.name)?;
        let before = self.loaded.get(&host).unwrap_or(&self.network.hosts[host]);
        rules::replace(&self.world.hosts[host], before, after, dumps)?;
        if !self.tables.iter().any(|watched| watched.host == host) {
            let table = conntrack::Table::open(&self.world.hosts[host])?;
            let known = table.entries()?;
            self.tables.push(Watched { host, table, known });
        }
        self.loaded.insert(host, after.clone());
        Ok(())
    }

    /// Deletes conntrack entries. That there are none is no fault.
    ///
    /// # Errors
    /// If there is no such host, or conntrack(8) fails.
    pub fn forget(
        &self,
        host: &str,
        protocol: Protocol,
        src: (IpAddr, Option<u16>),
        dst: (IpAddr, Option<u16>),
    ) -> Result<()> {
        let host = self.host_named(host)?;
        let namespace = &self.world.hosts[host];
        let family = if src.0.is_ipv6() { "ipv6" } else { "ipv4" };
        let mut words = format!("-D -f {family} -p {protocol} -s {} -d {}", src.0, dst.0);
        for (option, port) in [("--sport", src.1), ("--dport", dst.1)] {
            words.extend(port.map(|port| format!(" {option} {port}")));
        }
        match namespace.command("conntrack", &words.split(' ').collect::<Vec<_>>(), "") {
            Err(error) if !format!("{error:#}").contains("0 flow entries") => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn host_named(&self, name: &str) -> Result<usize> {
        let found = self.network.hosts.iter().position(|host| host.name == name);
        found.with_context(|| format!("no host {name}"))
    }
}
