//! What a client of a forward socket may say, taken out of its line: docs/sockets.md has it.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::Forward;
use crate::config::{self, Ack};
use crate::json::{half_pair, not_an_object};
use crate::socket::Members;

const KEYS: [&str; 4] = ["observe", "ack", "subscribe", "unsubscribe"];

/// The most characters of a key that an answer repeats.
const MAX_SHOWN: usize = 64;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// What it is: only as its first line.
    Observe(bool),
    /// It has done what is to be done with the message of this id.
    Ack(u64),
    /// It wants what matches these filters, too, within the forward's `allow`.
    Subscribe(Vec<String>),
    /// It doesn't want these any more.
    Unsubscribe(Vec<String>),
}

impl Word {
    /// Takes a line of a client apart.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn of(line: &str, forward: &Forward) -> Result<Word, String> {
        let with_rest = |wrong: String| format!("{wrong}; {}", forward.what_it_takes());
        let members = Members::of(line, &KEYS).map_err(|error| {
            let why = not_an_object(line, &error, "{\"observe\":true}");
            with_rest(format!("the line isn't a JSON object: {why}"))
        })?;
        if let Some(unknown) = &members.unknown {
            let nearest = config::meant(unknown, &KEYS).map(|known| format!(" (the nearest is `{known}`)"));
            let shown: String = unknown.chars().take(MAX_SHOWN).collect();
            return Err(with_rest(format!("unknown key `{shown}`{}", nearest.unwrap_or_default())));
        }
        if let Some(key) = members.twice {
            return Err(with_rest(format!("`{key}` is given twice")));
        }
        let mut given = KEYS.into_iter().zip(members.values).filter_map(|(key, value)| Some((key, value?)));
        match (given.next(), given.next()) {
            (Some(("ack", _)), None) if forward.config().ack == Ack::Written => Err(forward.what_it_takes().to_owned()),
            (Some((key, value)), None) => Word::with_value(key, value),
            (Some((one, _)), Some((other, _))) => {
                Err(with_rest(format!("`{one}` and `{other}` in one line: each needs a line of its own")))
            }
            (None, _) => Err(with_rest("the line says nothing".to_owned())),
        }
    }

    fn with_value(key: &str, value: &RawValue) -> Result<Word, String> {
        let word = match key {
            "observe" => read(value).map(Word::Observe),
            "ack" => read(value).map(Word::Ack),
            "subscribe" => read(value).map(Word::Subscribe),
            _ => read(value).map(Word::Unsubscribe),
        };
        word.ok_or_else(|| match (key, half_pair(value.get())) {
            ("observe", _) => "`observe` must be true or false".to_owned(),
            ("ack", _) => "`ack` must be the `id` of a message as it came: a whole number without quotes".to_owned(),
            (_, Some((code, _))) => {
                format!("`{key}` has half of a surrogate pair (U+{code:04X}), which is no character")
            }
            _ => format!("`{key}` must be an array of filters, each in double quotes: {{\"{key}\":[\"a/b\",\"c/#\"]}}"),
        })
    }
}

fn read<T: DeserializeOwned>(value: &RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Allow, Format, Keep, SocketFile, WhenFull};
    use crate::message::{Qos, TopicFilter};
    use crate::template::Fixed;

    fn heard(line: &str, ack: Ack) -> Result<Word, String> {
        let fixed = Fixed { client_id: "gw".to_owned(), thing: "gw".to_owned(), hostname: "pi".to_owned() };
        let config = config::Forward {
            name: "f".to_owned(),
            filters: Vec::new(),
            allow: Some(Allow { filters: TopicFilter::new("#").into_iter().collect(), fixed }),
            qos: Qos::AtLeastOnce,
            socket: SocketFile { path: "f.sock".into(), mode: 0o660, group: None },
            format: Format::Json,
            ack,
            keep: Keep { messages: 10, bytes: 1000, when_full: WhenFull::DropOldest },
        };
        Word::of(line, &Forward::in_memory(config, std::rc::Rc::default()))
    }

    #[test]
    fn what_is_wrong_with_a_line_is_told() {
        for (line, wrong) in [
            ("[1]", "the line isn't a JSON object: it is an array"),
            ("{\"ack\":1", "the line isn't a JSON object: it ends too early"),
            (r#"{"subscribe":"x"}"#, "`subscribe` must be an array of filters"),
            (r#"{"unsubscribe":[1]}"#, "`unsubscribe` must be an array of filters"),
            (r#"{"subscribe":["\ud800"]}"#, "`subscribe` has half of a surrogate pair (U+D800)"),
            (r#"{"subscrib":["x"]}"#, "unknown key `subscrib` (the nearest is `subscribe`)"),
            (r#"{"subscribe":["x"],"subscribe":["y"]}"#, "`subscribe` is given twice; this socket takes only"),
            (r#"{"subscribe":["x"],"ack":1}"#, "`ack` and `subscribe` in one line"),
            (r#"{"observe":1}"#, "`observe` must be true or false"),
            (r#"{"ack":"1"}"#, "`ack` must be the `id` of a message"),
            ("{}", "the line says nothing; this socket takes only"),
        ] {
            let told = heard(line, Ack::Reader).unwrap_err();
            assert!(told.starts_with(wrong), "{line}: {told}");
        }
        assert!(heard(r#"{"ack":1}"#, Ack::Written).unwrap_err().starts_with("this socket takes only"));
        assert_eq!(heard(r#" {"ack":1} "#, Ack::Reader), Ok(Word::Ack(1)));
        assert_eq!(heard(r#"{"subscribe":["\u0061"]}"#, Ack::Written), Ok(Word::Subscribe(vec!["a".to_owned()])));
    }
}
