//! What a client of the status socket asks for. Pure.

use serde_json::value::RawValue;

use crate::socket::{Line, Members, append_string};

/// The longest line, in bytes.
pub(super) const MAX_LINE: usize = 4 * 1024;

/// What a client gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// The document, and the end.
    Document,
    /// A line now, and one at each change of the link.
    Following,
    /// An answer that says what is wrong, and the end.
    Nonsense(&'static str),
}

impl Asked {
    /// What the first line of a client asks for.
    pub(super) fn of(line: &Line<'_>) -> Asked {
        const { assert!(MAX_LINE == 4 * 1024) };
        match line {
            Line::Text(text) => Asked::in_text(text),
            Line::TooLong => Asked::Nonsense("the line is longer than 4 KiB"),
            Line::NotUtf8 => Asked::Nonsense("the line isn't UTF-8"),
        }
    }

    fn in_text(text: &str) -> Asked {
        let Ok(members) = Members::of(text, &["follow"]) else {
            return Asked::Nonsense("the line isn't a JSON object; this socket takes {\"follow\":true}, or nothing");
        };
        match members.unknown.as_deref() {
            // Who looks for a forward is told what an ingest socket says.
            Some("observe") => {
                return Asked::Nonsense(
                    "unknown key `observe`; this is the status socket, which takes {\"follow\":true}",
                );
            }
            Some(_) => return Asked::Nonsense("there is only the key `follow`: {\"follow\":true}"),
            None => {}
        }
        if members.twice.is_some() {
            return Asked::Nonsense("`follow` is given twice");
        }
        match members.values[0].map(RawValue::get) {
            Some("true") => Asked::Following,
            Some("false" | "null") | None => Asked::Document,
            Some(_) => Asked::Nonsense("`follow` must be true or false"),
        }
    }
}

/// The answer to what isn't understood.
pub(super) fn bad_line(detail: &str) -> Vec<u8> {
    let mut answer = b"{\"error\":\"bad_line\",\"detail\":".to_vec();
    append_string(&mut answer, detail);
    answer.extend_from_slice(b"}\n");
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_follow_is_asked_for() {
        let asked = |text| Asked::of(&Line::Text(text));
        assert_eq!(asked(" {\"follow\": true} "), Asked::Following);
        for text in ["{}", "{\"follow\":false}", "{\"follow\":null}"] {
            assert_eq!(asked(text), Asked::Document, "{text}");
        }
        for (text, detail) in [
            ("what?", "isn't a JSON object"),
            ("[]", "isn't a JSON object"),
            ("{\"follow\":1}", "must be true or false"),
            ("{\"follow\":true,\"follow\":true}", "twice"),
            ("{\"follow\":true,\"every\":1}", "only the key"),
            ("{\"observe\":true}", "unknown key `observe`"),
        ] {
            assert!(matches!(asked(text), Asked::Nonsense(said) if said.contains(detail)), "{text}");
        }
        assert!(matches!(Asked::of(&Line::TooLong), Asked::Nonsense(_)));
        assert!(matches!(Asked::of(&Line::NotUtf8), Asked::Nonsense(_)));
    }

    #[test]
    fn the_answer_is_one_line_of_json() {
        let answer = bad_line("a \"b\"");
        assert_eq!(answer, b"{\"error\":\"bad_line\",\"detail\":\"a \\\"b\\\"\"}\n");
    }
}
