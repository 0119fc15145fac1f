//! Patterns of names and texts, and the words they stand for.

/// A form that a text may have, and what it means.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pattern {
    /// The whole text, where `*` takes any characters, as few as possible, and `#` one hexadecimal digit.
    pub(crate) form: &'static str,
    /// The meaning; `$1` stands for what the first `*` took.
    pub(crate) what: &'static str,
}

/// A form and its meaning.
pub(crate) const fn p(form: &'static str, what: &'static str) -> Pattern {
    Pattern { form, what }
}

impl Pattern {
    /// The meaning of a text that has the form.
    pub(crate) fn read(self, text: &str) -> Option<String> {
        taken(self.form, text).map(|parts| fill(self.what, &parts))
    }
}

/// The meaning of a text by the first of several patterns whose form it has.
pub(crate) fn first(patterns: &[Pattern], text: &str) -> Option<String> {
    patterns.iter().find_map(|pattern| pattern.read(text))
}

/// Whether a text has a form.
pub(crate) fn fits(form: &str, text: &str) -> bool {
    taken(form, text).is_some()
}

/// What each `*` of a form took; `None` where the text has another form.
fn taken<'a>(form: &str, text: &'a str) -> Option<Vec<&'a str>> {
    let (form, bytes) = (form.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0, 0);
    let mut stars: Vec<(usize, usize)> = Vec::new();
    let mut after_star = 0;
    while read < bytes.len() {
        match form.get(at) {
            Some(b'*') => {
                stars.push((read, read));
                at += 1;
                after_star = at;
            }
            Some(want) if takes(*want, bytes[read]) => (at, read) = (at + 1, read + 1),
            // Only the last star needs to give way: what stands before it already fits as early as it can.
            Some(_) | None => {
                let last = stars.last_mut()?;
                last.1 += 1;
                (at, read) = (after_star, last.1);
            }
        }
    }
    let rest = &form[at..];
    stars.extend(rest.iter().map(|_| (bytes.len(), bytes.len())));
    let ends = rest.iter().all(|byte| *byte == b'*');
    ends.then(|| stars.iter().map(|(from, to)| text.get(*from..*to).unwrap_or_default()).collect())
}

fn takes(want: u8, byte: u8) -> bool {
    want == byte || want == b'#' && byte.is_ascii_hexdigit()
}

/// The words with `$1`, `$2` ... replaced.
fn fill(words: &str, parts: &[&str]) -> String {
    (1..).zip(parts).fold(words.to_owned(), |text, (number, part)| text.replace(&format!("${number}"), part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_takes_as_little_as_it_can() {
        let check = |form, text, expected: Option<&[&str]>| {
            assert_eq!(taken(form, text).as_deref(), expected, "{form} {text}");
        };
        check("f2b-*", "f2b-sshd", Some(&["sshd"]));
        check("f2b-*", "f2b", None);
        check("*_*_allow", "IN_public_allow", Some(&["IN", "public"]));
        check("service-*-*/*", "service-OJRZ-kube-system/dns", Some(&["OJRZ", "kube-system", "dns"]));
        check("a*b", "aXbYb", Some(&["XbY"]));
        check("*", "", Some(&[""]));
        check("plain", "plain", Some(&[]));
        check("plain", "plainer", None);
        check("* -> *", "shop/wéb -> é", Some(&["shop/wéb", "é"]));
    }

    #[test]
    fn a_hash_takes_one_hexadecimal_digit() {
        assert!(fits("br-############", "br-38ff398a6292"));
        assert!(!fits("br-############", "br-lan"));
    }

    #[test]
    fn words_are_filled_with_what_was_taken() {
        assert_eq!(p("*-*", "zone $1 to $2").read("net-loc").as_deref(), Some("zone net to loc"));
        assert_eq!(p("*-*", "only $2").read("net-"), Some("only ".to_owned()));
    }
}
