//! `-m bpf`: a classic BPF program over the packet's bytes (xt_bpf.c; linux/filter.h, net/core/filter.c).
//!
//! Where a condition depends on bytes that are not known both ways are taken, and the result is known if both
//! give it.

use natpath_model::Family;
use natpath_model::payload::Instruction;

use super::bits::Bits;
use super::{Image, Seen};

/// The most instructions that are run, over all ways.
const MAX_STEPS: u32 = 100_000;

/// Where the packet's ancillary data is in a program's eyes (`SKF_AD_OFF`), and its network header
/// (`SKF_NET_OFF`).
const ANCILLARY: u32 = 0xffff_f000;
const NETWORK: u32 = 0xfff0_0000;

/// Whether the program lets the rule apply.
pub(super) fn run(image: &Image, family: Family, mark: u32, program: &[Instruction]) -> Seen {
    let mut machine = Machine { image, family, mark, program, steps: 0 };
    machine.run_from(0, Registers { a: Bits::of(0), x: Bits::of(0), memory: [Bits::of(0); 16] })
}

struct Machine<'m> {
    image: &'m Image,
    family: Family,
    mark: u32,
    program: &'m [Instruction],
    steps: u32,
}

#[derive(Debug, Clone, Copy)]
struct Registers {
    a: Bits,
    x: Bits,
    memory: [Bits; 16],
}

impl Machine<'_> {
    fn run_from(&mut self, mut at: usize, mut registers: Registers) -> Seen {
        // A jump only leads on, so this ends.
        loop {
            self.steps += 1;
            let Some(instruction) = self.program.get(at).filter(|_| self.steps < MAX_STEPS) else {
                return Seen::Unknown;
            };
            at += 1;
            let Instruction { code, if_true, if_false, k } = *instruction;
            match code & 7 {
                // BPF_LD, BPF_LDX, BPF_ST, BPF_STX, BPF_ALU, BPF_JMP, BPF_RET, BPF_MISC
                0 | 1 => match self.load(code, k, &registers) {
                    Ok(value) if code & 7 == 0 => registers.a = value,
                    Ok(value) => registers.x = value,
                    // A load from beyond the packet ends the program with 0.
                    Err(seen) => return seen,
                },
                2 | 3 => {
                    let value = if code & 7 == 2 { registers.a } else { registers.x };
                    let Some(cell) = registers.memory.get_mut(k as usize) else { return Seen::Unknown };
                    *cell = value;
                }
                4 => match compute(code, registers.a, operand(code, k, &registers)) {
                    Some(value) => registers.a = value,
                    None => return Seen::No,
                },
                5 => {
                    if code & 0xf0 == 0 {
                        at = at.saturating_add(k as usize);
                        continue;
                    }
                    let ways = [at + usize::from(if_true), at + usize::from(if_false)];
                    match condition(code, registers.a, operand(code, k, &registers)) {
                        Seen::Yes => at = ways[0],
                        Seen::No => at = ways[1],
                        Seen::Unknown => return self.both(ways, registers),
                    }
                }
                6 => {
                    let result = if code & 0x18 == 0x10 { registers.a } else { Bits::of(k) };
                    return result.meets(Bits::of(u32::MAX));
                }
                _ if code & 0xf8 == 0 => registers.x = registers.a,
                _ => registers.a = registers.x,
            }
        }
    }

    fn both(&mut self, ways: [usize; 2], registers: Registers) -> Seen {
        let [one, other] = ways.map(|way| self.run_from(way, registers));
        if one == other { one } else { Seen::Unknown }
    }

    fn load(&self, code: u16, k: u32, registers: &Registers) -> Result<Bits, Seen> {
        let size = match code & 0x18 {
            0x00 => 4,
            0x08 => 2,
            _ => 1,
        };
        match code & 0xe0 {
            // BPF_IMM, BPF_ABS, BPF_IND, BPF_MEM, BPF_LEN, BPF_MSH
            0x00 => Ok(Bits::of(k)),
            0x20 => self.at(k, size),
            0x40 => {
                let ahead = registers.x.number().ok_or(Seen::Unknown)?;
                self.at(ahead.wrapping_add(k), size)
            }
            0x60 => registers.memory.get(k as usize).copied().ok_or(Seen::Unknown),
            0x80 => {
                let (least, most) = self.image.length();
                let length = u32::try_from(least).unwrap_or(u32::MAX);
                Ok(if least == most { Bits::of(length) } else { Bits::UNKNOWN })
            }
            _ => Ok(self.at(k, 1)?.and(Bits::of(15)).left(2)),
        }
    }

    fn at(&self, at: u32, size: usize) -> Result<Bits, Seen> {
        if at >= ANCILLARY {
            return self.ancillary(at - ANCILLARY);
        }
        let at = if at >= NETWORK { at - NETWORK } else { at };
        self.image.number(at as usize, size)
    }

    /// What the kernel knows of the packet beside its bytes.
    fn ancillary(&self, what: u32) -> Result<Bits, Seen> {
        match what {
            // SKF_AD_PROTOCOL, SKF_AD_MARK
            0 => Ok(Bits::of(match self.family {
                Family::Ip4 => 0x0800,
                Family::Ip6 => 0x86dd,
            })),
            20 => Ok(Bits::of(self.mark)),
            _ => Err(Seen::Unknown),
        }
    }
}

fn operand(code: u16, k: u32, registers: &Registers) -> Bits {
    if code & 8 == 0 { Bits::of(k) } else { registers.x }
}

/// `None` for a division by zero, which ends the program with 0.
fn compute(code: u16, a: Bits, b: Bits) -> Option<Bits> {
    let divide = |operation: fn(u32, u32) -> u32| match b.number() {
        Some(0) => None,
        Some(_) => Some(a.with(b, operation)),
        None => Some(Bits::UNKNOWN),
    };
    let shift = |operation: fn(Bits, u32) -> Bits| b.number().map_or(Bits::UNKNOWN, |by| operation(a, by));
    Some(match code & 0xf0 {
        0x00 => a.with(b, u32::wrapping_add),
        0x10 => a.with(b, u32::wrapping_sub),
        0x20 => a.with(b, u32::wrapping_mul),
        0x30 => return divide(|a, b| a / b),
        0x40 => a.or(b),
        0x50 => a.and(b),
        0x60 => shift(Bits::left),
        0x70 => shift(Bits::right),
        0x80 => a.with(Bits::of(0), |a, _| a.wrapping_neg()),
        0x90 => return divide(|a, b| a % b),
        0xa0 => a.xor(b),
        _ => Bits::UNKNOWN,
    })
}

fn condition(code: u16, a: Bits, b: Bits) -> Seen {
    let not = |seen| match seen {
        Seen::Yes => Seen::No,
        Seen::No => Seen::Yes,
        Seen::Unknown => Seen::Unknown,
    };
    match code & 0xf0 {
        0x10 => a.equals(b),
        0x20 => a.is_above(b),
        0x30 => not(b.is_above(a)),
        0x40 => a.meets(b),
        _ => Seen::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use natpath_model::{Port, Protocol};

    use super::*;
    use crate::packet::{Packet, Transport};

    /// Runs a program written as `tcpdump -ddd` writes it, on one line.
    fn check(program: &str, expected: Seen) {
        let (src, dst) = (Port::new(4000), Port::new(53));
        let transport = Transport::Ports { protocol: Protocol::UDP, src, dst };
        let address = |text: &str| text.parse().expect("an address");
        let packet = Packet { data: 9, ..Packet::new(address("10.0.0.1"), address("10.0.0.2"), transport) };
        let program: Vec<Instruction> = program
            .split(',')
            .map(|words| {
                let numbers: Vec<u32> =
                    words.split_whitespace().map(|word| word.parse().expect("a number")).collect();
                let [code, if_true, if_false, k] = numbers[..] else { panic!("four numbers: {words}") };
                let [code, if_true, if_false] = [code, if_true, if_false].map(|number| number as u16);
                Instruction { code, if_true: if_true as u8, if_false: if_false as u8, k }
            })
            .collect();
        assert_eq!(run(&Image::of(&packet), Family::Ip4, 7, &program), expected, "{program:?}");
    }

    #[test]
    fn programs_over_headers_are_known() {
        check("6 0 0 1", Seen::Yes);
        check("6 0 0 0", Seen::No);
        // `ip proto 17` and `ip proto 6`.
        check("48 0 0 9,21 0 1 17,6 0 0 65535,6 0 0 0", Seen::Yes);
        check("48 0 0 9,21 0 1 6,6 0 0 65535,6 0 0 0", Seen::No);
        // `udp dst port 53`: the header's length is read from the header.
        check("177 0 0 0,72 0 0 2,21 0 1 53,6 0 0 1,6 0 0 0", Seen::Yes);
        // The mark, the length, and a load from beyond the packet.
        check("32 0 0 4294963220,21 0 1 7,6 0 0 1,6 0 0 0", Seen::Yes);
        check("128 0 0 0,21 0 1 37,6 0 0 1,6 0 0 0", Seen::Yes);
        check("32 0 0 34,6 0 0 1", Seen::No);
    }

    #[test]
    fn a_condition_that_is_not_known_matters_where_its_ways_differ() {
        check("48 0 0 28,21 0 1 65,6 0 0 1,6 0 0 0", Seen::Unknown);
        check("48 0 0 28,21 0 1 65,6 0 0 1,6 0 0 2", Seen::Yes);
        check("48 0 0 28,84 0 0 15,37 0 1 15,6 0 0 1,6 0 0 0", Seen::No);
    }

    #[test]
    fn arithmetic_is_that_of_32_bits() {
        check("0 0 0 5,20 0 0 6,21 0 1 4294967295,6 0 0 1,6 0 0 0", Seen::Yes);
        check("0 0 0 5,52 0 0 0,6 0 0 1", Seen::No);
        check("0 0 0 5,2 0 0 3,0 0 0 9,97 0 0 3,28 0 0 0,21 0 1 4,6 0 0 1,6 0 0 0", Seen::Yes);
        check("0 0 0 5,7 0 0 0,0 0 0 1,135 0 0 0,21 0 1 5,6 0 0 1,6 0 0 0", Seen::Yes);
    }
}
