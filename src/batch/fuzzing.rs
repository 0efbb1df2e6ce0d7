//! Payloads of anything, put together.

use std::time::{Duration, Instant};

use serde::de::IgnoredAny;

use super::{Batch, Element, NotBatchable};
use crate::config;
use crate::limits::MAX_PAYLOAD;

/// The lines of `input` are payloads of a batch, whose largest number of elements its first byte says.
pub fn batch(input: &[u8]) {
    let Some((&max, input)) = input.split_first() else { return };
    let (max, now) = (usize::from(max) + 1, Instant::now());
    let mut batch = Batch::new(config::Batch { max, within: Duration::from_secs(1), encoding: config::Encoding::None });
    let (mut taken, mut arrays) = (0, Vec::new());
    for payload in input.split(|byte| *byte == b'\n') {
        match Element::new(payload) {
            Ok(element) => {
                if !batch.has_room_for(&element) {
                    arrays.extend(batch.take());
                }
                batch.push(&element, now);
                taken += 1;
            }
            Err(NotBatchable::NotUtf8) => assert!(std::str::from_utf8(payload).is_err()),
            Err(NotBatchable::TooLarge) => assert!(payload.len() * 6 + 4 > MAX_PAYLOAD),
        }
    }
    arrays.extend(batch.take());
    let mut found = 0;
    for array in arrays {
        assert!(array.len() <= MAX_PAYLOAD);
        let elements: Vec<IgnoredAny> = serde_json::from_slice(&array).expect("a batch is a JSON array");
        assert!((1..=max).contains(&elements.len()));
        found += elements.len();
    }
    assert_eq!(found, taken, "nothing is lost");
}
