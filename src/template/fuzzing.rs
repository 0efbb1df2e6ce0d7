//! A template of anything, filled in with anything.

use jiff::Timestamp;
use serde::de::IgnoredAny;

use super::SourceValue;
use super::{Fixed, MAX_PAYLOAD, Template, Tick, fill};

/// `input` is a template and, behind the first line of it, a value: as text and, where it is JSON, as JSON.
pub fn template(input: &[u8]) {
    let end = memchr::memchr(b'\n', input).unwrap_or(input.len());
    let (source, value) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    let Ok(source) = std::str::from_utf8(source) else { return };
    let fixed = Fixed { client_id: "42".to_owned(), thing: "t".to_owned(), hostname: "a \"quoted\" host".to_owned() };
    let value = SourceValue::text(value.to_vec());
    let value_len = value.bytes().len();
    let tick = Tick { count: u64::MAX, due: Timestamp::MIN, value: Some(&value) };
    if let Ok(filled) = fill(source, &fixed) {
        assert!(Template::text(source, &fixed).is_ok_and(|template| template.constant() == Some(&filled)));
    }
    if let Ok(template) = Template::text(source, &fixed)
        && let Ok(payload) = template.render(&tick)
    {
        assert!(payload.len() <= MAX_PAYLOAD);
        assert!(template.takes_value() || payload.len() <= template.max_len());
        assert!(value_len > 0 || payload.len() <= template.max_len());
    }
    if let Ok(json) = serde_json::from_str(source)
        && let Ok(template) = Template::json(&json, &fixed)
        && let Ok(payload) = template.render(&tick)
    {
        assert!(payload.len() <= MAX_PAYLOAD);
        let read: Result<IgnoredAny, _> = serde_json::from_slice(&payload);
        assert!(read.is_ok(), "{:?}", String::from_utf8_lossy(&payload));
    }
}
