//! A message as a line.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};

use crate::config::Format;
use crate::message::Inbound;

/// Room for the keys and the short values of a line.
const FRAME: usize = 192;

/// Writes `message` in the format of a forward, newline included.
pub(super) fn write(message: &Inbound, id: u64, format: Format) -> Bytes {
    match format {
        Format::Json => json(message, id),
        Format::Payload => {
            let mut line = BytesMut::with_capacity(message.payload.len() + 1);
            line.put_slice(&message.payload);
            line.put_u8(b'\n');
            line.freeze()
        }
    }
}

/// Written straight into the bytes that go out: this is done for each message.
fn json(message: &Inbound, id: u64) -> Bytes {
    let line = BytesMut::with_capacity(FRAME + message.topic.as_str().len() + message.payload.len() * 4 / 3);
    let mut line = line.writer();
    // Writing to memory can't fail.
    let _ = write!(line, "{{\"id\":{id},\"topic\":");
    let _ = serde_json::to_writer(&mut line, message.topic.as_str());
    match text(&message.payload) {
        Some(text) => {
            let _ = line.write_all(b",\"payload\":");
            let _ = serde_json::to_writer(&mut line, text);
        }
        None => {
            let _ = line.write_all(b",\"payload_base64\":\"");
            let encoded = STANDARD.encode(&message.payload);
            let _ = line.write_all(encoded.as_bytes());
            let _ = line.write_all(b"\"");
        }
    }
    let _ = writeln!(
        line,
        ",\"qos\":{},\"retain\":{},\"duplicate\":{},\"received_at\":\"{:.3}\"}}",
        message.qos.level(),
        message.retain,
        message.duplicate,
        message.received_at
    );
    line.into_inner().freeze()
}

/// The payload as text, if it is UTF-8 and wouldn't get more than twice as long by escaping.
fn text(payload: &[u8]) -> Option<&str> {
    let escapes = |byte: &u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 1,
        0..=0x1f => 5,
        _ => 0,
    };
    let text = std::str::from_utf8(payload).ok()?;
    (payload.iter().map(escapes).sum::<usize>() <= payload.len()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Qos, Topic};

    fn line(payload: &[u8], format: Format) -> String {
        let message = Inbound {
            topic: Topic::received("test/\"topic"),
            payload: Bytes::copy_from_slice(payload),
            qos: Qos::AtLeastOnce,
            retain: false,
            duplicate: true,
            received_at: "2026-01-31T12:00:00.123456Z".parse().unwrap(),
        };
        String::from_utf8(write(&message, 17, format).to_vec()).unwrap()
    }

    #[test]
    fn a_line_has_the_keys_of_the_contract_in_their_order() {
        assert_eq!(
            line(br#"{"message":"hi"}"#, Format::Json),
            concat!(
                r#"{"id":17,"topic":"test/\"topic","payload":"{\"message\":\"hi\"}","qos":1,"retain":false,"#,
                r#""duplicate":true,"received_at":"2026-01-31T12:00:00.123Z"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn bytes_that_are_not_text_are_base64() {
        assert!(line(&[0xff, 0], Format::Json).contains(r#""payload_base64":"/wA=","#));
        assert!(line(&[1; 10], Format::Json).contains(r#""payload_base64":"AQEBAQEBAQEBAQ==","#), "escaping is longer");
        assert!(line(b"\n\n\n", Format::Json).contains(r#""payload":"\n\n\n","#), "twice as long is still text");
    }

    #[test]
    fn the_bare_payload_gets_a_newline() {
        assert_eq!(line(b"21.5", Format::Payload), "21.5\n");
    }
}
