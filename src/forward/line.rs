//! A message as its readers see it: docs/sockets.md tells its form.

use std::io::Write as _;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use crate::config::Format;
use crate::message::Inbound;
use crate::socket::append_string;
use crate::time::Rfc3339;

/// What a line has beside topic and payload, roughly.
const FRAME: usize = 160;

/// Writes messages as lines.
#[derive(Debug)]
pub(super) struct Encoder {
    format: Format,
    /// The millisecond of the last message and how it is written: of many at once most have the same.
    clock: (i64, Vec<u8>),
}

impl Encoder {
    pub(super) fn new(format: Format) -> Encoder {
        Encoder { format, clock: (i64::MIN, Vec::new()) }
    }

    pub(super) fn writes(&self, format: Format) -> bool {
        self.format == format
    }

    /// Appends the line of a message, newline included, or its netstring; `is_duplicate` marks it as one that may have come before.
    pub(super) fn append(&mut self, out: &mut Vec<u8>, id: u64, message: &Inbound, is_duplicate: bool) {
        match self.format {
            Format::Json => self.append_json(out, id, message, is_duplicate),
            Format::Payload => out.extend_from_slice(&message.payload),
            Format::Netstring => {
                // Writing to a `Vec` can't fail.
                let _ = write!(out, "{}:", message.payload.len());
                out.extend_from_slice(&message.payload);
            }
        }
        out.push(if self.format == Format::Netstring { b',' } else { b'\n' });
    }

    fn append_json(&mut self, out: &mut Vec<u8>, id: u64, message: &Inbound, is_duplicate: bool) {
        out.reserve(message.payload.len() + message.topic.as_str().len() + FRAME);
        // Writing to a `Vec` can't fail.
        let _ = write!(out, "{{\"id\":{id},\"topic\":");
        append_string(out, message.topic.as_str());
        append_payload(out, &message.payload);
        let qos = message.qos.level();
        let _ = write!(out, ",\"qos\":{qos}");
        out.extend_from_slice(if message.retain { b",\"retain\":true" } else { b",\"retain\":false" });
        out.extend_from_slice(if is_duplicate { b",\"duplicate\":true" } else { b",\"duplicate\":false" });
        out.extend_from_slice(b",\"received_at\":\"");
        out.extend_from_slice(self.clock(message.received_at));
        out.push(b'"');
        if let Some(properties) = &message.properties {
            out.extend_from_slice(b",\"properties\":");
            // Writing to a `Vec` can't fail.
            let _ = serde_json::to_writer(&mut *out, properties);
        }
        out.push(b'}');
    }

    /// RFC 3339, UTC, always with three digits of the second's fraction.
    fn clock(&mut self, time: Timestamp) -> &[u8] {
        let (millisecond, text) = &mut self.clock;
        if *millisecond != time.as_millisecond() {
            *millisecond = time.as_millisecond();
            text.clear();
            Rfc3339(time).print(text);
        }
        text
    }
}

/// As a string where it is UTF-8 and escaping at most doubles it, else in Base64.
fn append_payload(out: &mut Vec<u8>, payload: &[u8]) {
    let start = out.len();
    if let Ok(text) = std::str::from_utf8(payload) {
        out.extend_from_slice(b",\"payload\":");
        let string = out.len();
        append_string(out, text);
        let escaped = out.len() - string - 2;
        if escaped <= 2 * payload.len() {
            return;
        }
        out.truncate(start);
    }
    // Writing to a `Vec` can't fail.
    let _ = write!(out, ",\"payload_base64\":\"{}\"", Base64Display::new(payload, &STANDARD));
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::message::{Qos, Topic};

    fn message(payload: &[u8]) -> Inbound {
        Inbound {
            topic: Topic::received("test/topic"),
            payload: Bytes::copy_from_slice(payload),
            qos: Qos::AtLeastOnce,
            retain: false,
            duplicate: false,
            received_at: "2026-01-31T12:00:00.123456Z".parse().unwrap(),
            properties: None,
        }
    }

    fn line(format: Format, message: &Inbound) -> String {
        let mut out = b"before".to_vec();
        Encoder::new(format).append(&mut out, 17, message, message.duplicate);
        String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
    }

    #[test]
    fn a_json_line_is_as_the_design_shows_it() {
        assert_eq!(
            line(Format::Json, &message(br#"{"message":"hi"}"#)),
            r#"{"id":17,"topic":"test/topic","payload":"{\"message\":\"hi\"}","qos":1,"retain":false,"duplicate":false,"received_at":"2026-01-31T12:00:00.123Z"}"#
                .to_owned()
                + "\n"
        );
        let mut whole_second = message(b"");
        whole_second.received_at = "2026-01-31T12:00:00Z".parse().unwrap();
        (whole_second.retain, whole_second.duplicate, whole_second.qos) = (true, true, Qos::AtMostOnce);
        assert_eq!(
            line(Format::Json, &whole_second),
            r#"{"id":17,"topic":"test/topic","payload":"","qos":0,"retain":true,"duplicate":true,"received_at":"2026-01-31T12:00:00.000Z"}"#
                .to_owned()
                + "\n"
        );
    }

    #[test]
    fn what_a_string_holds_badly_comes_in_base64() {
        assert!(line(Format::Json, &message(b"\xff\x00")).contains(r#","payload_base64":"/wA=","qos""#));
        assert!(line(Format::Json, &message(b"\x00\x01abc")).contains(r#""payload_base64":"AAFhYmM=""#));
        assert!(line(Format::Json, &message(br#"""""#)).contains(r#""payload":"\"\"\"""#));
    }

    #[test]
    fn the_bare_payload_is_followed_by_a_newline() {
        assert_eq!(line(Format::Payload, &message(b"21.5")), "21.5\n");
    }

    #[test]
    fn a_netstring_says_how_long_the_payload_is() {
        let mut out = Vec::new();
        for payload in [&b"21.5"[..], b"", b"a\nb,1:c,\0\xff"] {
            Encoder::new(Format::Netstring).append(&mut out, 17, &message(payload), false);
        }
        assert_eq!(out, b"4:21.5,0:,10:a\nb,1:c,\0\xff,");
    }

    proptest! {
        #[test]
        fn any_payload_reads_back_as_it_was(payload in proptest::collection::vec(any::<u8>(), 0..40)) {
            let line = line(Format::Json, &message(&payload));
            let json: serde_json::Value = serde_json::from_str(&line).unwrap();
            let read = match json.get("payload") {
                Some(text) => text.as_str().unwrap().as_bytes().to_vec(),
                None => base64::Engine::decode(&STANDARD, json["payload_base64"].as_str().unwrap()).unwrap(),
            };
            prop_assert_eq!(read, payload);
            prop_assert_eq!(line.matches('\n').count(), 1);
        }
    }
}
