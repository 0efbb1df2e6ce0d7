//! JSON as it stands in a text: taken apart no further than needed, so that numbers keep their digits and objects their order.

mod compact;
mod fault;
mod number;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

pub(crate) use compact::compact;
pub(crate) use fault::not_an_object;

/// Beyond so many brackets in each other JSON is compared by its text.
const MAX_DEPTH: usize = 64;

/// A string, borrowed where it holds no escapes.
#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

type Members<'a> = BTreeMap<Text<'a>, &'a RawValue>;

/// `text` without the white space around it, if it is JSON.
pub(crate) fn parse(text: &str) -> Option<&str> {
    serde_json::from_str::<&RawValue>(text).ok().map(RawValue::get)
}

/// Whether `text` is a JSON number (RFC 8259, section 6), of whatever size.
pub(crate) fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) && parse(text) == Some(text)
}

/// What a JSON string says; `None` if `json` is none, or holds half a surrogate pair, which isn't a character.
pub(crate) fn string(json: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(json).ok().map(|text| text.0)
}

/// The member or element of this name in a JSON object or array; elements are counted from 0.
pub(crate) fn child<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let found = match json.as_bytes().first()? {
        b'{' => serde_json::from_str::<Members<'a>>(json).ok()?.remove(&Text(name.into()))?,
        b'[' => {
            let items = serde_json::from_str::<Vec<&'a RawValue>>(json).ok()?;
            *items.get(name.parse::<usize>().ok()?)?
        }
        _ => return None,
    };
    Some(found.get())
}

/// Whether two JSON values differ, by their content and not their spelling; numbers, also those within, by at least `min_change`,
/// if that is given.
pub(crate) fn differ(before: &str, now: &str, min_change: Option<f64>) -> bool {
    differ_below(before, now, min_change, 0)
}

fn differ_below(before: &str, now: &str, min_change: Option<f64>, depth: usize) -> bool {
    let by_text = || compact(before) != compact(now);
    if depth == MAX_DEPTH {
        return by_text();
    }
    let differ = |(a, b): (&&RawValue, &&RawValue)| differ_below(a.get(), b.get(), min_change, depth + 1);
    match (before.as_bytes().first(), now.as_bytes().first()) {
        (Some(b'{'), Some(b'{')) => match (serde_json::from_str::<Members<'_>>(before), serde_json::from_str(now)) {
            (Ok(a), Ok::<Members<'_>, _>(b)) => {
                a.len() != b.len() || a.iter().any(|(name, a)| b.get(name).is_none_or(|b| differ((a, b))))
            }
            _ => by_text(),
        },
        (Some(b'['), Some(b'[')) => {
            match (serde_json::from_str::<Vec<&RawValue>>(before), serde_json::from_str::<Vec<&RawValue>>(now)) {
                (Ok(a), Ok(b)) => a.len() != b.len() || a.iter().zip(&b).any(differ),
                _ => by_text(),
            }
        }
        (Some(b'"'), Some(b'"')) => match (string(before), string(now)) {
            (Some(a), Some(b)) => a != b,
            _ => by_text(),
        },
        _ if is_number(before) && is_number(now) => match min_change {
            Some(min) => number::differ_by(before, now, min),
            None => !number::are_equal(before, now),
        },
        _ => before != now,
    }
}

/// The first half of a surrogate pair that stands alone in JSON, which no UTF-8 can say, and as which character,
/// counted from the one after its first quote, or of all JSON that isn't a string.
pub(crate) fn half_pair(json: &str) -> Option<(u32, usize)> {
    // Escapes are seldom.
    json.contains("\\u").then(|| first_half_pair(json)).flatten()
}

fn first_half_pair(json: &str) -> Option<(u32, usize)> {
    let mut rest = json.strip_prefix('"').unwrap_or(json);
    for position in 1.. {
        let Some(unit) = hex_escape(rest) else {
            let length = if rest.starts_with('\\') { 2 } else { rest.chars().next()?.len_utf8() };
            rest = rest.get(length..)?;
            continue;
        };
        rest = &rest[6..];
        match (unit, hex_escape(rest)) {
            (0xD800..=0xDBFF, Some(0xDC00..=0xDFFF)) => rest = &rest[6..],
            (0xD800..=0xDFFF, _) => return Some((unit, position)),
            _ => {}
        }
    }
    None
}

/// What stands behind `\u`, if the text begins with that.
fn hex_escape(json: &str) -> Option<u32> {
    u32::from_str_radix(json.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_what_json_calls_one_whatever_its_size() {
        for text in ["0", "-0", "48312", "-1.5e3", "1e400", "12345678901234567890123", "0.1E-7"] {
            assert!(is_number(text), "{text}");
        }
        let others = [
            "042",
            "+5",
            "NaN",
            "inf",
            "-Infinity",
            "0x10",
            "1_000",
            ".5",
            "5.",
            "1e",
            "",
            "-",
            "1 2",
            " 1",
            "1 ",
            "[1]",
            "\"1\"",
        ];
        for text in others {
            assert!(!is_number(text), "{text}");
        }
    }

    #[test]
    fn children_are_found_with_their_text_as_it_is() {
        let json = r#"{"temp": 21.50, "big": 12345678901234567890123, "rooms": [{"na\u006de": "kitchen"}], "a.b": 1, "a.b": 2}"#;
        assert_eq!(child(json, "temp"), Some("21.50"));
        assert_eq!(child(json, "big"), Some("12345678901234567890123"));
        assert_eq!(child(json, "a.b"), Some("2"), "the last counts");
        assert_eq!(child(json, "rooms").and_then(|rooms| child(rooms, "0")), Some(r#"{"na\u006de": "kitchen"}"#));
        assert_eq!(child(r#"{"na\u006de": "kitchen"}"#, "name"), Some("\"kitchen\""));
        for (json, name) in [(json, "humidity"), ("[1]", "1"), ("[1]", "x"), ("1", "0"), ("\"abc\"", "a")] {
            assert_eq!(child(json, name), None, "{json} {name}");
        }
    }

    #[test]
    fn values_are_compared_by_their_content() {
        for (a, b) in [
            ("1", "1.0"),
            ("12345678901234567890123", "12345678901234567890123.0"),
            (r#"{"a":1, "b":[2]}"#, r#"{"b":[20e-1],"a":1}"#),
            (r#""\u00e9""#, "\"é\""),
            (r#""\ud800""#, r#""\ud800""#),
            ("null", "null"),
        ] {
            assert!(!differ(a, b, None), "{a} {b}");
        }
        for (a, b) in [
            ("12345678901234567890123", "12345678901234567890124"),
            ("1e400", "1e401"),
            ("0.1", "0.10000000000000000000001"),
            (r#"{"a":1}"#, r#"{"b":1}"#),
            (r#"{"a":1}"#, r#"{"a":1,"b":1}"#),
            ("[1]", "[1,1]"),
            ("1", "\"1\""),
            ("true", "false"),
        ] {
            assert!(differ(a, b, None), "{a} {b}");
        }
        let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(50_000), "]".repeat(50_000));
        assert!(differ(&deep("1"), &deep("2"), Some(5.0)) && !differ(&deep("1"), &deep(" 1 "), None));
    }
}
