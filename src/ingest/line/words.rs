//! What is wrong with a line's JSON, in words for its writer.

use base64::DecodeError;
use base64::Engine as _;
use serde_json::Value;

use super::shorten;
use crate::config;
use crate::message::BASE64;

/// The keys of `properties`.
const PROPERTIES: [&str; 6] = [
    "content_type",
    "response_topic",
    "correlation_data_base64",
    "payload_format_indicator",
    "user_properties",
    "expires_in",
];

/// Why `properties`, an object, can't be taken. The text follows "`properties` isn't valid: ".
pub(super) fn bad_properties(json: &str) -> String {
    let Ok(Value::Object(given)) = serde_json::from_str::<Value>(json) else {
        return "a part of it is nested too deeply, or isn't JSON".to_owned();
    };
    let fault = given.iter().find_map(|(key, value)| Some((key.as_str(), fault_of(key, value)?)));
    match fault {
        Some((key, Fault::Unknown)) => {
            let nearest = config::meant(key, &PROPERTIES).map(|known| format!("; the nearest is `{known}`"));
            let nearest = nearest.unwrap_or_default();
            format!("unknown key `{}`{nearest}. The keys are {}", shorten(key), PROPERTIES.join(", "))
        }
        Some((key, Fault::Wrong(what))) => format!("`{key}` must be {what}"),
        Some((key, Fault::NotBase64(error))) => format!("`{key}` isn't Base64: {}", not_base64(&error)),
        None => "a key is given twice".to_owned(),
    }
}

enum Fault {
    Unknown,
    Wrong(&'static str),
    NotBase64(DecodeError),
}

fn fault_of(key: &str, value: &Value) -> Option<Fault> {
    let must = |is_right: bool, what| (!is_right).then_some(Fault::Wrong(what));
    match (key, value) {
        ("content_type" | "response_topic", value) => must(value.is_null() || value.is_string(), "a string"),
        ("correlation_data_base64", Value::String(text)) => BASE64.decode(text).err().map(Fault::NotBase64),
        ("correlation_data_base64", value) => must(value.is_null(), "a string in Base64"),
        ("payload_format_indicator", value) => {
            must(value.is_null() || value.as_u64().is_some_and(|number| number < 2), "0 (bytes) or 1 (UTF-8)")
        }
        ("expires_in", value) => {
            let fits = value.as_u64().is_some_and(|seconds| u32::try_from(seconds).is_ok());
            must(value.is_null() || fits, "a whole number of seconds, from 1 to 4294967295, without quotes")
        }
        ("user_properties", Value::Array(pairs)) => {
            let is_pair =
                |pair: &Value| pair.as_array().is_some_and(|pair| pair.len() == 2 && pair.iter().all(Value::is_string));
            must(pairs.iter().all(is_pair), "a list of pairs of strings, like [[\"name\",\"value\"]]")
        }
        ("user_properties", _) => Some(Fault::Wrong("a list of pairs of strings, like [[\"name\",\"value\"]]")),
        _ => Some(Fault::Unknown),
    }
}

/// Why a text isn't Base64.
pub(super) fn not_base64(error: &DecodeError) -> String {
    match *error {
        DecodeError::InvalidByte(offset, byte) => {
            let shown = char::from(byte).escape_default();
            let shown = if byte.is_ascii() { format!("`{shown}`") } else { "no ASCII".to_owned() };
            format!(
                "its byte {} is {shown}; Base64 has A to Z, a to z, 0 to 9, `+` and `/`, and `=` at its end",
                offset + 1
            )
        }
        DecodeError::InvalidLength(length) => {
            format!("without its `=` it has {length} characters, which no encoder writes: a part of it is missing")
        }
        DecodeError::InvalidLastSymbol(offset, _) => {
            format!(
                "its last character, at byte {}, is one that no encoder writes there: a part of it is missing",
                offset + 1
            )
        }
        DecodeError::InvalidPadding => "the `=` at its end are too few or too many".to_owned(),
    }
}
