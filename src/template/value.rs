//! What a source has read: bytes, which may be JSON. And whether it has moved since. Pure.

use std::borrow::Cow;

use crate::json;

/// A value, as a file or a command has it, or made here.
#[derive(Debug, Clone)]
pub(crate) struct SourceValue {
    bytes: Vec<u8>,
    made_as_json: bool,
}

impl SourceValue {
    /// What a file holds or a command prints, without the newline at its end.
    pub(crate) fn text(mut bytes: Vec<u8>) -> SourceValue {
        if bytes.ends_with(b"\n") {
            bytes.pop();
            if bytes.ends_with(b"\r") {
                bytes.pop();
            }
        }
        SourceValue { bytes, made_as_json: false }
    }

    /// A value of this machine.
    pub(crate) fn json(json: &serde_json::Value) -> SourceValue {
        SourceValue { bytes: json.to_string().into_bytes(), made_as_json: true }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// It is JSON because it was made so, not because it happens to look like it.
    pub(crate) fn is_made_as_json(&self) -> bool {
        self.made_as_json
    }

    /// `None` if it isn't UTF-8.
    pub(crate) fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }

    /// Its text, if that is a JSON number.
    pub(crate) fn as_number(&self) -> Option<&str> {
        self.as_str().map(str::trim_ascii).filter(|text| json::is_number(text))
    }

    /// Its text, if that is JSON.
    pub(crate) fn as_json(&self) -> Option<&str> {
        json::parse(self.as_str()?)
    }

    /// What stands at `path` of a JSON value, as it is written there: names of members, or places in arrays from 0.
    pub(crate) fn field(&self, path: &[String]) -> Option<&str> {
        path.iter().try_fold(self.as_json()?, |json, name| json::child(json, name))
    }

    /// Whether it differs from `before`; numbers, also those within JSON, by at least `min_change`, if that is given.
    pub(crate) fn has_moved(&self, before: &SourceValue, min_change: Option<f64>) -> bool {
        match (before.as_json(), self.as_json()) {
            (Some(before), Some(now)) => json::differ(before, now, min_change),
            _ => self.bytes != before.bytes,
        }
    }
}

/// A field of JSON text as it stands in a text: a string without its quotes. `None`: it holds half a surrogate pair, which isn't
/// a character.
pub(crate) fn plain(json: &str) -> Option<Cow<'_, str>> {
    match json.starts_with('"') {
        true => json::string(json),
        false => String::from_utf8(json::compact(json)).ok().map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn text(text: &str) -> SourceValue {
        SourceValue::text(text.as_bytes().to_vec())
    }

    #[test]
    fn one_newline_at_the_end_goes() {
        for (read, value) in
            [("48312\n", "48312"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a ", "a "), ("\n", ""), ("", "")]
        {
            assert_eq!(text(read).as_str(), Some(value));
        }
        assert_eq!(SourceValue::text(vec![0xff, b'\n']).bytes(), [0xff]);
        assert_eq!(SourceValue::text(vec![0xff]).as_str(), None);
    }

    #[test]
    fn a_number_is_what_json_calls_one() {
        for (read, number) in [("48312\n", "48312"), ("-1.5e3", "-1.5e3"), (" 7 ", "7"), ("1e400", "1e400")] {
            assert_eq!(text(read).as_number(), Some(number));
        }
        for read in ["042", "+5", "NaN", "0x10", "", "1 2", "[1]", "\"1\"", "21.5'C"] {
            assert_eq!(text(read).as_number(), None, "{read}");
        }
    }

    #[test]
    fn fields_are_found_by_their_path() {
        let value = text(r#"{"temp": 21.5, "rooms": [{"name": "kitchen"}], "a.b": 1}"#);
        let field = |path: &str| value.field(&path.split('.').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(field("temp"), Some("21.5"));
        assert_eq!(field("rooms.0.name"), Some("\"kitchen\""));
        for path in ["humidity", "rooms.1", "rooms.x", "temp.x"] {
            assert_eq!(field(path), None, "{path}");
        }
        assert_eq!(text("21.5'C").field(&["temp".to_owned()]), None);
    }

    #[test]
    fn a_value_has_moved_when_it_differs_by_enough() {
        let moved = |before: &str, now: &str, min| text(now).has_moved(&text(before), min);
        for (before, now, min) in [
            ("1", "2", None),
            ("a", "b", Some(5.0)),
            ("0.2", "0.3", Some(0.1)),
            ("10", "a", Some(5.0)),
            ("10", "5", Some(5.0)),
            (r#"{"t":1,"s":"a"}"#, r#"{"t":1,"s":"b"}"#, Some(5.0)),
            (r#"{"t":1,"r":[1,2]}"#, r#"{"t":1,"r":[1,7]}"#, Some(5.0)),
            (r#"{"t":1}"#, r#"{"t":1,"u":1}"#, Some(5.0)),
            (r#"{"t":1}"#, r#"{"u":1}"#, Some(5.0)),
            ("[1]", "[1,1]", Some(5.0)),
            ("9007199254740993", "9007199254740992", None),
            ("12345678901234567890123", "12345678901234567890124", None),
            ("12345678901234567890123", "12345678901234567890124", Some(1.0)),
        ] {
            assert!(moved(before, now, min), "{before} {now} {min:?}");
        }
        for (before, now, min) in [
            ("1", "1", None),
            ("1", "1\n", None),
            ("20", "20.0", None),
            (r#"{"a":1, "b":2}"#, r#"{"b":2,"a":1}"#, None),
            ("10", "14.9", Some(5.0)),
            (r#"{"t":1,"r":[1,2]}"#, r#"{"t":2,"r":[3,4]}"#, Some(5.0)),
            ("a", "a", Some(0.0)),
        ] {
            assert!(!moved(before, now, min), "{before} {now} {min:?}");
        }
    }

    proptest! {
        /// However it wanders: what was sent last is never off by `min` or more.
        #[test]
        fn what_was_sent_is_never_off_by_more(steps in prop::collection::vec(-3.0..3.0f64, 1..100), min in 0.1..5.0f64) {
            let (mut now, mut sent) = (20.0, text("20"));
            for step in steps {
                now += step;
                let value = SourceValue::json(&json!(now));
                if value.has_moved(&sent, Some(min)) {
                    sent = value;
                }
                let last = sent.as_json().unwrap().parse::<f64>().unwrap();
                prop_assert!((now - last).abs() < min + 1e-9);
            }
        }
    }
}
