//! A local program that sends anything, and reads when it likes.

pub(super) mod bench;

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::answers::Answers;
use super::line::{Reject, parse};
use crate::limits::MAX_PAYLOAD;
use crate::message::Topic;
use crate::socket::{Line, Lines};

pub use bench::ingest_client;

/// Reads `input` as the lines of a client of an ingest socket, in pieces whose size its first byte says.
pub fn ingest_lines(input: &[u8]) {
    let Some((&size, input)) = input.split_first() else { return };
    let (mut lines, mut answers) = (Lines::default(), Answers::default());
    for piece in input.chunks(usize::from(size) + 1) {
        lines.push(piece);
        take(&mut lines, &mut answers);
    }
    lines.end();
    take(&mut lines, &mut answers);
}

/// Each line is a message within its bounds, or has an answer that is one line of JSON.
fn take(lines: &mut Lines, answers: &mut Answers) {
    while let Some(line) = lines.next() {
        let (id, request) = match line {
            Line::Text(line) => parse(line),
            Line::TooLong => (None, Err(Reject::LineTooLong)),
            Line::NotUtf8 => (None, Err(Reject::NotUtf8)),
        };
        match request {
            Ok(request) => {
                assert!(request.payload.len() <= MAX_PAYLOAD);
                if let Ok(topic) = Topic::new(&request.topic) {
                    assert_eq!(topic.as_str(), request.topic);
                }
            }
            Err(reject) => answers.reject(id, &reject),
        }
        let answer = answers.ready();
        let count = answer.iter().filter(|&&byte| byte == b'\n').count();
        assert!(count <= 1 && (answer.is_empty() || answer.ends_with(b"\n")));
        if count == 1 {
            // The id comes back as it came, even with half a surrogate pair, which no string of Rust can hold.
            let object: BTreeMap<&str, &RawValue> = serde_json::from_slice(answer).expect("an answer is a JSON object");
            assert!(object.contains_key("error") && object.contains_key("detail"), "{object:?}");
        }
        let len = answer.len();
        answers.wrote(len);
    }
}
