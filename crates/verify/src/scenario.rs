//! A scenario: a network, what is sent through it, and what is expected to be seen.

use natpath_formats::flows::FlowAction;
use natpath_model::{Endpoint, InterfaceName, Network, Protocol};

/// A scenario file as read.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The file's name, for messages.
    pub file: String,
    /// Its text.
    pub text: String,
    /// What it shows, in a sentence.
    pub title: String,
    /// The experiments it repeats.
    pub rows: Vec<String>,
    /// The hosts and wires.
    pub network: Network,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// The counters expected at the end; `None` if the file has none.
    pub counters: Option<Vec<String>>,
}

/// A line that does something.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its number in the file, from 1.
    pub line: u32,
    /// Its text.
    pub text: String,
    /// What it does.
    pub action: Action,
    /// What is expected to be seen: one of these.
    pub expected: Vec<Alternative>,
}

/// The lines of one thing that may be seen.
pub type Alternative = Vec<String>;

/// What a step does.
#[derive(Debug, Clone)]
pub enum Action {
    /// A line of the flows contract.
    Flow(FlowAction),
    /// A frame out of nowhere.
    Packet(PacketStep),
}

/// One frame sent out of an interface, without a socket behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketStep {
    /// The sending host.
    pub host: String,
    /// The interface.
    pub interface: InterfaceName,
    /// The protocol.
    pub protocol: Protocol,
    /// Source; for ICMP the port is the identifier.
    pub src: Endpoint,
    /// Destination.
    pub dst: Endpoint,
    /// TCP flags as in the header's byte.
    pub flags: u8,
    /// Time to live.
    pub ttl: u8,
    /// Whether the transport checksum is wrong.
    pub bad_checksum: bool,
    /// ICMP type and code.
    pub icmp: (u8, u8),
    /// The packet that an ICMP error quotes.
    pub about: Option<(Protocol, Endpoint, Endpoint)>,
}

impl Scenario {
    /// The file's text with these expectations in place of its own.
    #[must_use]
    pub fn blessed(&self, steps: &[Vec<Alternative>], counters: &[String]) -> String {
        let mut text = String::new();
        let mut has_counters = false;
        let expected = |text: &mut String, lines: &[String]| {
            for line in lines {
                text.push_str("  = ");
                text.push_str(line);
                text.push('\n');
            }
        };
        for (number, line) in (1u32..).zip(self.text.lines()) {
            let trimmed = line.trim_start();
            if trimmed == "=" || trimmed.starts_with("= ") {
                continue;
            }
            text.push_str(line);
            text.push('\n');
            if let Some(index) = self.steps.iter().position(|step| step.line == number) {
                for (index, alternative) in steps.get(index).into_iter().flatten().enumerate() {
                    if index > 0 {
                        text.push_str("  = or\n");
                    }
                    expected(&mut text, alternative);
                }
            } else if trimmed == "counters" {
                has_counters = true;
                expected(&mut text, counters);
            }
        }
        if !has_counters && !counters.is_empty() {
            text.push_str("counters\n");
            expected(&mut text, counters);
        }
        text
    }
}
