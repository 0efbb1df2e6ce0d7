//! A line from a local program: what it asks for, or what is wrong with it.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Code, Refused};
use crate::limits::MAX_PAYLOAD;
use crate::message::{Outbound, Qos, Topic};

/// The standard alphabet, padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const KEYS: [&str; 6] = ["topic", "payload", "payload_base64", "qos", "retain", "id"];

/// A line taken apart, its values not looked at yet. The first `id` stays known whatever is wrong with the rest.
#[derive(Debug, Default)]
pub(super) struct Request<'a> {
    /// As it came: a JSON string or number.
    pub(super) id: Option<&'a RawValue>,
    topic: Option<&'a RawValue>,
    payload: Option<&'a RawValue>,
    payload_base64: Option<&'a RawValue>,
    qos: Option<&'a RawValue>,
    retain: Option<&'a RawValue>,
    unknown: Option<Cow<'a, str>>,
}

impl<'a> Request<'a> {
    /// Takes a line apart.
    pub(super) fn parse(line: &'a str) -> Result<Request<'a>, Refused> {
        let request: Request<'a> = serde_json::from_str(line)
            .map_err(|error| bad_line(format!("not a JSON object: {error}; a line is like {EXAMPLE}")))?;
        match request.id {
            Some(id) if !id.get().starts_with(['"', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) => {
                Err(bad_line("`id` must be a string or a number".to_owned()))
            }
            _ => Ok(request),
        }
    }

    /// The message it asks to have published.
    pub(super) fn message(&self) -> Result<Outbound, Refused> {
        if let Some(key) = &self.unknown {
            return Err(bad_line(match nearest(key) {
                Some(known) => format!("the key `{key}` isn't known; did you mean `{known}`?"),
                None => format!("the key `{key}` isn't known; there are {}", KEYS.join(", ")),
            }));
        }
        let topic: Cow<'_, str> = typed("topic", "a string", self.topic)?
            .ok_or_else(|| bad_line(format!("`topic` is missing; a line is like {EXAMPLE}")))?;
        let topic = Topic::new(&topic)
            .map_err(|error| Refused::new(Code::BadTopic, format!("the topic {topic:?} can't be used: {error}")))?;
        let qos = match self.qos {
            None => Qos::AtLeastOnce,
            Some(level) => {
                level.get().parse().ok().and_then(|level: i64| Qos::try_from(level).ok()).ok_or_else(|| {
                    Refused::new(
                        Code::BadQos,
                        format!("`qos` is {}; it must be 0 or 1, IoT Core has no QoS 2", level.get()),
                    )
                })?
            }
        };
        let retain = typed("retain", "true or false", self.retain)?.unwrap_or(false);
        let payload = self.payload()?;
        if payload.len() > MAX_PAYLOAD {
            let detail = format!("the payload has {} bytes, IoT Core takes at most {MAX_PAYLOAD}", payload.len());
            return Err(Refused::new(Code::TooLarge, detail));
        }
        Ok(Outbound { topic, payload, qos, retain })
    }

    fn payload(&self) -> Result<Bytes, Refused> {
        match (self.payload, self.payload_base64) {
            (Some(_), Some(_)) => Err(bad_line("both `payload` and `payload_base64` are there; give one".to_owned())),
            (None, None) => Err(bad_line(format!("`payload` is missing; a line is like {EXAMPLE}"))),
            (Some(value), None) if value.get().starts_with('"') => {
                let text: Option<String> = typed("payload", "a JSON value", Some(value))?;
                Ok(text.unwrap_or_default().into())
            }
            (Some(value), None) => Ok(compact(value.get())),
            (None, Some(encoded)) => {
                let encoded: Cow<'_, str> = typed("payload_base64", "a string", Some(encoded))?.unwrap_or_default();
                let decoded = BASE64.decode(encoded.as_bytes());
                decoded.map(Bytes::from).map_err(|error| bad_line(format!("`payload_base64` isn't base64: {error}")))
            }
        }
    }
}

const EXAMPLE: &str = r#"{"topic":"a/b","payload":"text"}"#;

fn bad_line(detail: String) -> Refused {
    Refused::new(Code::BadLine, detail)
}

fn typed<'a, T: Deserialize<'a>>(key: &str, wanted: &str, value: Option<&'a RawValue>) -> Result<Option<T>, Refused> {
    let typed = value.map(|value| serde_json::from_str(value.get())).transpose();
    typed.map_err(|error| bad_line(format!("`{key}` must be {wanted}: {error}")))
}

fn nearest(key: &str) -> Option<&'static str> {
    let similarity = |known: &&str| strsim::jaro_winkler(known, key);
    let best = KEYS.into_iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)))?;
    (similarity(&best) > 0.7).then_some(best)
}

/// JSON without the blanks between its tokens; numbers, strings and the order of members stay to the letter.
fn compact(json: &str) -> Bytes {
    if !json.contains([' ', '\t', '\r', '\n']) {
        return Bytes::copy_from_slice(json.as_bytes());
    }
    let mut compact = Vec::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            continue;
        } else {
            in_string = byte == b'"';
        }
        compact.push(byte);
    }
    compact.into()
}

impl<'de: 'a, 'a> Deserialize<'de> for Request<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Request<'a>, D::Error> {
        deserializer.deserialize_map(RequestVisitor)
    }
}

/// Written out rather than derived: an unknown key must not hide the `id` behind it.
struct RequestVisitor;

impl<'de> Visitor<'de> for RequestVisitor {
    type Value = Request<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Request<'de>, M::Error> {
        let mut request = Request::default();
        while let Some(key) = map.next_key::<Key<'de>>()? {
            let value: &'de RawValue = map.next_value()?;
            let slot = match key.0.as_ref() {
                "id" => &mut request.id,
                "topic" => &mut request.topic,
                "payload" => &mut request.payload,
                "payload_base64" => &mut request.payload_base64,
                "qos" => &mut request.qos,
                "retain" => &mut request.retain,
                _ => {
                    request.unknown.get_or_insert(key.0);
                    continue;
                }
            };
            if slot.replace(value).is_some() {
                return Err(M::Error::custom(format_args!("the key `{}` is there twice", key.0)));
            }
        }
        Ok(request)
    }
}

/// A key, borrowed where it holds no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn message(line: &str) -> Result<Outbound, (Code, String)> {
        let parsed = Request::parse(line).and_then(|request| request.message());
        parsed.map_err(|refused| (refused.code, refused.detail))
    }

    fn payload(line: &str) -> Vec<u8> {
        message(line).unwrap().payload.to_vec()
    }

    #[test]
    fn a_string_is_sent_as_it_is_and_other_json_compact_to_the_letter() {
        assert_eq!(payload(r#"{"topic":"t","payload":"a \"b\"\n"}"#), b"a \"b\"\n");
        let line = r#"{"topic":"t","payload": { "z" : 1.10, "a" : [ 1e400, "x \" y" , null ] } }"#;
        assert_eq!(payload(line), br#"{"z":1.10,"a":[1e400,"x \" y",null]}"#);
        assert_eq!(payload(r#"{"topic":"t","payload":{"open":true}}"#), br#"{"open":true}"#);
        assert_eq!(payload(r#"{"topic":"t","payload":null}"#), b"null");
        assert_eq!(payload(r#"{"topic":"t","payload":""}"#), b"");
        assert_eq!(payload(r#"{"topic":"t","payload_base64":"AP8="}"#), [0, 255]);
        assert_eq!(payload(r#"{"topic":"t","payload_base64":"AP8"}"#), [0, 255]);
    }

    #[test]
    fn qos_and_retain_have_defaults() {
        let sent = message(r#"{"topic":"t","payload":1}"#).unwrap();
        assert_eq!((sent.qos, sent.retain), (Qos::AtLeastOnce, false));
        let sent = message(r#"{"topic":"t","payload":1,"qos":0,"retain":true}"#).unwrap();
        assert_eq!((sent.qos, sent.retain), (Qos::AtMostOnce, true));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_code() {
        for (line, code, text) in [
            ("hello", Code::BadLine, "not a JSON object"),
            ("[1]", Code::BadLine, "not a JSON object"),
            (r#"{"topic":"t","payload":1} x"#, Code::BadLine, "not a JSON object"),
            (r#"{"payload":1}"#, Code::BadLine, "`topic` is missing"),
            (r#"{"topic":"t"}"#, Code::BadLine, "`payload` is missing"),
            (r#"{"topic":"t","payload":1,"payload_base64":""}"#, Code::BadLine, "give one"),
            (r#"{"topic":7,"payload":1}"#, Code::BadLine, "`topic` must be a string"),
            (r#"{"topic":"t","payload":1,"retian":true}"#, Code::BadLine, "did you mean `retain`?"),
            (r#"{"topic":"t","payload":1,"retain":1}"#, Code::BadLine, "`retain` must be true or false"),
            (r#"{"topic":"t","payload":1,"id":true}"#, Code::BadLine, "`id` must be a string or a number"),
            (r#"{"topic":"t","topic":"u","payload":1}"#, Code::BadLine, "there twice"),
            (r#"{"topic":"t","payload_base64":"%"}"#, Code::BadLine, "isn't base64"),
            (r#"{"topic":"a/+","payload":1}"#, Code::BadTopic, "wildcard"),
            (r#"{"topic":"","payload":1}"#, Code::BadTopic, "empty"),
            (r#"{"topic":"t","payload":1,"qos":2}"#, Code::BadQos, "IoT Core has no QoS 2"),
            (r#"{"topic":"t","payload":1,"qos":"1"}"#, Code::BadQos, "must be 0 or 1"),
        ] {
            let (found, detail) = message(line).unwrap_err();
            assert_eq!(found, code, "{line}: {detail}");
            assert!(detail.contains(text), "{line}: {detail}");
        }
    }

    #[test]
    fn a_payload_past_the_limit_is_refused() {
        let line = |n: usize| format!(r#"{{"topic":"t","payload":"{}"}}"#, "x".repeat(n));
        assert_eq!(payload(&line(MAX_PAYLOAD)).len(), MAX_PAYLOAD);
        assert_eq!(message(&line(MAX_PAYLOAD + 1)).unwrap_err().0, Code::TooLarge);
    }

    #[test]
    fn the_id_is_known_whatever_else_is_wrong() {
        let request = Request::parse(r#"{"wat":1,"id":"a7","topic":5}"#).unwrap();
        assert_eq!(request.id.unwrap().get(), "\"a7\"");
        assert!(request.message().is_err());
    }
}
