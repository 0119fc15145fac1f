//! Text to [`ast`](super::ast): cuts a file into lines and a command into words.

use natpath_model::Counter;

use super::ast::{ChainLine, CommandLine, Fault, Line, Word};

/// Reads one line, without its line end.
///
/// # Errors
/// If the line is none of those that iptables-restore takes.
pub fn line(line: &str) -> Result<Line<'_>, Fault> {
    let at = line.len() - line.trim_start().len();
    let text = line.trim();
    match text.as_bytes().first() {
        None | Some(b'#') => Ok(Line::Comment(text)),
        Some(b'*') => Ok(Line::Table(text[1..].trim())),
        Some(b':') => chain(text, at).map(Line::Chain),
        Some(b'[' | b'-') => command(text, at).map(Line::Command),
        Some(_) if text == "COMMIT" => Ok(Line::Commit),
        Some(_) => Err(unknown_line(text, at)),
    }
}

fn unknown_line(text: &str, at: usize) -> Fault {
    let help = match text.split_whitespace().next() {
        Some("iptables" | "ip6tables" | "sudo") => {
            "load the commands first, then give what `iptables-save -c` prints"
        }
        _ => "give the untouched output of `iptables-save -c`",
    };
    Fault::syntax(at, "expected `*TABLE`, `:CHAIN`, a rule `-A ...` or `COMMIT`", help)
}

fn chain(text: &str, at: usize) -> Result<ChainLine<'_>, Fault> {
    let body = &text[1..];
    let (name, rest) = body.split_once(char::is_whitespace).unwrap_or((body, ""));
    let policy_text = rest.trim_start();
    let policy_at = at + text.len() - policy_text.len();
    let (policy, rest) = policy_text.split_once(char::is_whitespace).unwrap_or((policy_text, ""));
    if name.is_empty() || policy.is_empty() {
        let help = "write `:INPUT ACCEPT [0:0]`, or `:NAME - [0:0]` for a user chain";
        return Err(Fault::syntax(at, "expected a chain and its policy", help));
    }
    let rest = rest.trim_start();
    let counter = match rest {
        "" => None,
        _ => Some(
            bracketed(rest)
                .map(|(counter, _)| counter)
                .ok_or_else(|| bad_counter(at + text.len() - rest.len()))?,
        ),
    };
    Ok(ChainLine { name, policy, policy_at, counter })
}

fn command(text: &str, at: usize) -> Result<CommandLine<'_>, Fault> {
    if !text.starts_with('[') {
        return Ok(CommandLine { counter: None, text, at });
    }
    let (counter, rest) = bracketed(text).ok_or_else(|| bad_counter(at))?;
    let body = rest.trim_start();
    if body.is_empty() {
        return Err(Fault::syntax(
            at + text.len(),
            "expected a rule after the counter",
            "write `[0:0] -A ...`",
        ));
    }
    Ok(CommandLine { counter: Some(counter), text: body, at: at + text.len() - body.len() })
}

fn bad_counter(at: usize) -> Fault {
    Fault::syntax(at, "expected a counter `[PACKETS:BYTES]`", "both are numbers up to 2^64 - 1")
}

/// `[PACKETS:BYTES]` and what follows.
fn bracketed(text: &str) -> Option<(Counter, &str)> {
    let (inside, rest) = text.strip_prefix('[')?.split_once(']')?;
    let (packets, bytes) = inside.split_once(':')?;
    Some((Counter { packets: packets.parse().ok()?, bytes: bytes.parse().ok()? }, rest))
}

/// Cuts a command into `words`, which is cleared first.
///
/// # Errors
/// If a quote is not closed.
pub fn words<'a>(command: &CommandLine<'a>, words: &mut Vec<Word<'a>>) -> Result<(), Fault> {
    words.clear();
    let bytes = command.text.as_bytes();
    let mut next = 0;
    while next < bytes.len() {
        if is_blank(bytes[next]) {
            next += 1;
            continue;
        }
        let start = next;
        let quoted;
        (next, quoted) = word_end(bytes, start).map_err(|quote| {
            Fault::syntax(command.at + quote, "this quote is not closed", "end the text with `\"`")
        })?;
        push_word(Word { raw: &command.text[start..next], quoted, at: command.at + start }, words);
    }
    Ok(())
}

/// Adds a word; `--option=value` is two, as getopt_long(3) reads it.
fn push_word<'a>(word: Word<'a>, words: &mut Vec<Word<'a>>) {
    let option = word.raw.starts_with("--").then(|| word.raw.split_once('=')).flatten();
    if let Some((name, value)) = option.filter(|(name, _)| !name.contains('"')) {
        words.push(Word { raw: name, quoted: false, at: word.at });
        words.push(Word { raw: value, quoted: word.quoted, at: word.at + name.len() + 1 });
        return;
    }
    words.push(word);
}

/// Where the word that begins at `start` ends, and whether it has a quote; else where the open quote is.
fn word_end(bytes: &[u8], start: usize) -> Result<(usize, bool), usize> {
    let mut next = start;
    let mut open = None;
    let mut quoted = false;
    while let Some(&byte) = bytes.get(next) {
        match byte {
            b'"' if open.is_some() => open = None,
            b'"' => (open, quoted) = (Some(next), true),
            b'\\' if open.is_some() => next += 1,
            _ if open.is_none() && is_blank(byte) => break,
            _ => {}
        }
        next += 1;
    }
    match open {
        Some(quote) => Err(quote),
        None => Ok((next, quoted)),
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_words(text: &str, expected: &[&str]) {
        let Ok(Line::Command(command)) = line(text) else { panic!("{text} is not a command") };
        let mut found = Vec::new();
        words(&command, &mut found).expect("closed quotes");
        assert_eq!(found.iter().map(Word::text).collect::<Vec<_>>(), expected, "{text}");
        for word in found {
            assert_eq!(&text[word.at..word.end()], word.raw);
        }
    }

    #[test]
    fn words_are_cut_as_iptables_restore_cuts_them() {
        check_words("-A INPUT -j ACCEPT", &["-A", "INPUT", "-j", "ACCEPT"]);
        check_words("[1:2]  -A\tINPUT", &["-A", "INPUT"]);
        check_words(
            r#"-A X --comment "a \"b\" c\\" -j Y"#,
            &["-A", "X", "--comment", r#"a "b" c\"#, "-j", "Y"],
        );
        check_words(r#"-A X --comment """#, &["-A", "X", "--comment", ""]);
        check_words(r#"-A X a"b c"d e\f"#, &["-A", "X", "ab cd", r"e\f"]);
        check_words("-A X --comment \"naïve – ü\" -j Y", &["-A", "X", "--comment", "naïve – ü", "-j", "Y"]);
    }

    #[test]
    fn lines_are_told_apart() {
        assert_eq!(line("  # text "), Ok(Line::Comment("# text")));
        assert_eq!(line(""), Ok(Line::Comment("")));
        assert_eq!(line("*nat"), Ok(Line::Table("nat")));
        assert_eq!(line("COMMIT\r"), Ok(Line::Commit));
        let counter = Some(Counter { packets: 1, bytes: 2 });
        let expected = ChainLine { name: "INPUT", policy: "DROP", policy_at: 7, counter };
        assert_eq!(line(":INPUT DROP [1:2]"), Ok(Line::Chain(expected)));
        assert_eq!(
            line(":X -"),
            Ok(Line::Chain(ChainLine { name: "X", policy: "-", policy_at: 3, counter: None }))
        );
        let command = CommandLine { counter, text: "-A X", at: 6 };
        assert_eq!(line("[1:2] -A X"), Ok(Line::Command(command)));
    }

    #[test]
    fn faults_have_a_place() {
        let place = |text| line(text).map_err(|fault| fault.at);
        assert_eq!(place("  iptables -A X"), Err(2));
        assert_eq!(place(":INPUT"), Err(0));
        assert_eq!(place(":INPUT DROP 1:2"), Err(12));
        assert_eq!(place("[1:x] -A"), Err(0));
        assert_eq!(place("[1:2]"), Err(5));
        let Ok(Line::Command(command)) = line("-A X --comment \"open") else { panic!("a command") };
        assert_eq!(words(&command, &mut Vec::new()).map_err(|fault| fault.at), Err(15));
    }
}
