//! Lines that fit a screen. Colours take no room, and words are never cut: what has no space to break at
//! stays whole.

/// A space at which no line is broken.
pub(crate) const GLUE: &str = "\u{a0}";

/// Breaks a text that begins at column `begin` before it passes `width`; the next lines begin there too.
/// Without a width nothing is broken.
pub(crate) fn wrapped(text: &str, begin: usize, width: Option<usize>) -> String {
    let Some(width) = width else { return text.replace(GLUE, " ") };
    let mut out = String::with_capacity(text.len());
    let mut at = begin;
    for (index, word) in text.split(' ').enumerate() {
        let long = columns(word);
        if index > 0 && at > begin && at + 1 + long > width {
            out.truncate(out.trim_end_matches(' ').len());
            out += "\n";
            out += &" ".repeat(begin);
            at = begin;
        } else if index > 0 && (at > begin || out.is_empty()) {
            out += " ";
            at += 1;
        }
        out += word;
        at += long;
    }
    out.replace(GLUE, " ")
}

/// The columns a text takes on a terminal.
pub(crate) fn columns(text: &str) -> usize {
    anstream::adapter::strip_str(text).map(|part| part.chars().count()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::text::style::bad;

    #[test]
    fn lines_break_at_spaces_and_go_on_below_their_begin() {
        let check = |text: &str, expected: &str| assert_eq!(wrapped(text, 2, Some(10)), expected);
        check("one two", "one two");
        check("one two three", "one two\n  three");
        check("one two  (three)", "one two\n  (three)");
        check("a  b", "a  b");
        check(&format!("one two{GLUE}three"), "one\n  two three");
        check("unbreakable words", "unbreakable\n  words");
        assert_eq!(wrapped("one two three", 2, None), "one two three");
    }

    #[test]
    fn colours_take_no_room() {
        let text = format!("{} two", bad("one"));
        assert_eq!(wrapped(&text, 0, Some(7)), text);
    }
}
