//! Matches on the packet's bytes, of which natpath knows the headers but for what each sender makes up, and
//! not the data.

mod bits;
mod bpf;
mod image;
mod text;
mod u32;

use image::Image;
use natpath_model::payload::{Instruction, TextSearch, U32};

use crate::packet::Packet;
use crate::xt::Answer;

/// What a look at bytes that are known in part gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Yes,
    No,
    /// It depends on bytes that are not known.
    Unknown,
}

impl From<bool> for Seen {
    fn from(is: bool) -> Self {
        if is { Self::Yes } else { Self::No }
    }
}

/// `-m string`. A text is looked for because it is rare, so it is taken not to be in what is not known.
pub(crate) fn find_text(packet: &Packet, search: &TextSearch) -> Answer {
    let found = match text::find(&Image::of(packet), search) {
        Seen::Unknown => Answer::Assumed(false, unknown()),
        seen => Answer::Is(seen == Seen::Yes),
    };
    found.negate_if(search.negated)
}

/// `-m u32`.
pub(crate) fn compare_numbers(packet: &Packet, condition: &U32) -> Answer {
    answer(u32::holds(&Image::of(packet), condition)).negate_if(condition.negated)
}

/// `-m bpf`.
pub(crate) fn run_program(packet: &Packet, mark: u32, program: &[Instruction]) -> Answer {
    answer(bpf::run(&Image::of(packet), packet.family(), mark, program))
}

fn answer(seen: Seen) -> Answer {
    match seen {
        Seen::Unknown => Answer::Unknown(unknown()),
        seen => Answer::Is(seen == Seen::Yes),
    }
}

fn unknown() -> String {
    "depends on bytes of the packet that only its sender knows, such as its data".to_owned()
}
