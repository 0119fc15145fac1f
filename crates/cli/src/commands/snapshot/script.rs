//! The script that records a host where natpath is not installed.

use super::tools::{FILTER_PLACES, PLAIN_QUEUES, RECORDS, Record, When};

/// The script, with the table of [`RECORDS`] as shell lines.
pub(super) fn text() -> String {
    include_str!("script.sh")
        .replace("@RECORDS@\n", &records())
        .replace("@PLAIN_QUEUES@", &PLAIN_QUEUES.join(" | "))
        .replace("@FILTER_PLACES@", &FILTER_PLACES.join(" "))
}

fn records() -> String {
    let mut text = String::from(
        "    # With iptables of both backends: whether the plain name is the nft one.\n    \
         both=\n    \
         if has iptables-legacy-save; then\n        \
         if has iptables-nft-save || iptables-save -V 2>/dev/null | grep -q nf_tables; then both=yes; fi\n    \
         fi\n",
    );
    for record in RECORDS {
        if !record.about.is_empty() {
            text += &format!("    # {}\n", record.about);
        }
        text += &line(&record);
    }
    text
}

fn line(record: &Record) -> String {
    let tool = match record.tools {
        [only] => (*only).to_owned(),
        several => format!("\"$(first {})\"", several.join(" ")),
    };
    let mut command = format!("record {} {tool} {}", record.file, record.arguments.join(" "));
    if let Some((file, arguments)) = record.otherwise {
        command += &format!(" ||\n        record {file} {tool} {}", arguments.join(" "));
    }
    match record.when {
        When::Always => format!("    {command}\n"),
        When::Exists(path) => format!("    [ ! -e {path} ] || {command}\n"),
        When::TwoBackends => format!("    [ -z \"$both\" ] || {command}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_fill_in() {
        let text = text();
        assert!(!text.contains("@RECORDS@") && !text.contains("@PLAIN") && !text.contains("@FILTER"));
        assert!(text.lines().all(|line| line.len() <= 120), "{text}");
        assert!(text.contains("    record addr.json ip -j -d addr\n"));
        assert!(text.contains("record ip6tables-save \"$(first ip6tables-nft-save ip6tables-save)\" -c\n"));
    }
}
