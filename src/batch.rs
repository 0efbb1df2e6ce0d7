//! Several payloads in one JSON array: what a batch of a schedule or of an ingest socket is sent as. Pure.
//!
//! IoT Core bills and limits by message: fifty values in one cost what one does.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

use std::borrow::Cow;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::de::IgnoredAny;
use thiserror::Error;

use crate::config::{self, Encoding};
use crate::json::half_pair;
use crate::limits::MAX_PAYLOAD;
use crate::message::{Properties, exactly};

/// Bytes of `[` and `]`.
const BRACKETS: usize = 2;

/// The content type of an array that is packed.
pub(crate) const GZIP_TYPE: &str = "application/gzip";

/// Why a payload can't be in a batch. The text follows the name of what has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum NotBatchable {
    #[error("isn't UTF-8, which a batch requires")]
    NotUtf8,
    #[error(
        "has no room in a batch: as an element of a JSON array it exceeds the {MAX_PAYLOAD} bytes that IoT Core accepts"
    )]
    TooLarge,
}

/// A payload as it stands in the array.
#[derive(Debug)]
pub(crate) struct Element<'a>(Cow<'a, [u8]>);

impl<'a> Element<'a> {
    /// What is JSON stands there as it is, other text as a string: JSON with half of a surrogate pair, too, as programs that can't read
    /// that would lose the whole array.
    ///
    /// # Errors
    /// It can't be in an array, or is too large for one message.
    pub(crate) fn new(payload: &'a [u8]) -> Result<Element<'a>, NotBatchable> {
        let text = std::str::from_utf8(payload).map_err(|_| NotBatchable::NotUtf8)?;
        let json = match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) if half_pair(text).is_none() => Cow::Borrowed(payload),
            _ => Cow::Owned(serde_json::Value::from(text).to_string().into_bytes()),
        };
        match json.len() + BRACKETS > MAX_PAYLOAD {
            true => Err(NotBatchable::TooLarge),
            false => Ok(Element(json)),
        }
    }
}

/// An array that is being filled.
#[derive(Debug)]
pub(crate) struct Batch {
    config: config::Batch,
    /// `[`, the elements and commas between them; empty without any.
    json: Vec<u8>,
    len: usize,
    /// When it is sent, full or not.
    due: Option<Instant>,
}

impl Batch {
    pub(crate) fn new(config: config::Batch) -> Batch {
        Batch { config, json: Vec::new(), len: 0, due: None }
    }

    /// Whether `element` can be added; if not, the batch has to be taken first. An empty one has room for each.
    pub(crate) fn has_room_for(&self, element: &Element<'_>) -> bool {
        self.len == 0 || self.len < self.config.max && self.json.len() + 1 + element.0.len() < MAX_PAYLOAD
    }

    /// Adds what it has room for. From the first element on `within` counts.
    pub(crate) fn push(&mut self, element: &Element<'_>, now: Instant) {
        self.json.push(if self.len == 0 { b'[' } else { b',' });
        self.json.extend_from_slice(&element.0);
        self.len += 1;
        self.due.get_or_insert(now + self.config.within);
    }

    /// When it is to be sent; `None` while it is empty.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Nothing more fits, or its time has come.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.len >= self.config.max || self.due.is_some_and(|due| due <= now)
    }

    /// Bytes of what it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.json.len()
    }

    /// The array in the form in which it is sent, if it isn't empty. The batch is empty again.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        self.due = None;
        self.len = 0;
        let mut json = std::mem::take(&mut self.json);
        (!json.is_empty()).then(|| {
            json.push(b']');
            match self.config.encoding {
                Encoding::None => exactly(json),
                Encoding::Gzip => exactly(gzip(&json)),
            }
        })
    }

    /// The properties that an array is sent with that would have these: they say what it is, if it isn't JSON.
    pub(crate) fn properties(&self, others: Option<Arc<Properties>>) -> Option<Arc<Properties>> {
        match self.config.encoding {
            Encoding::None => others,
            Encoding::Gzip => Some(Arc::new(Properties {
                content_type: Some(GZIP_TYPE.to_owned()),
                ..others.map(Arc::unwrap_or_clone).unwrap_or_default()
            })),
        }
    }
}

/// A file of gzip with this in it: without a name or a time, so that the same array always is the same bytes.
fn gzip(json: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(json).and_then(|()| encoder.finish());
    written.expect("a Vec takes everything")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(10);

    fn batch(max: usize) -> Batch {
        Batch::new(config::Batch { max, within: WITHIN, encoding: Encoding::None })
    }

    fn push(batch: &mut Batch, payload: &str, now: Instant) {
        let element = Element::new(payload.as_bytes()).unwrap();
        assert!(batch.has_room_for(&element));
        batch.push(&element, now);
    }

    fn take(batch: &mut Batch) -> Option<String> {
        batch.take().map(|json| String::from_utf8(json.to_vec()).unwrap())
    }

    #[test]
    fn json_stands_in_the_array_as_it_is_and_text_as_a_string() {
        let (mut batch, now) = (batch(50), Instant::now());
        for payload in [r#"{"t":1.50}"#, "21.5", "21.5'C", "a\"b", "", "NaN", r#"["\ud800"]"#] {
            push(&mut batch, payload, now);
        }
        assert_eq!(take(&mut batch).unwrap(), r#"[{"t":1.50},21.5,"21.5'C","a\"b","","NaN","[\"\\ud800\"]"]"#);
        assert_eq!(take(&mut batch), None);
        assert_eq!(Element::new(&[0xff]).unwrap_err(), NotBatchable::NotUtf8);
    }

    #[test]
    fn it_is_due_when_it_is_full_or_its_first_element_has_waited() {
        let (mut batch, now) = (batch(2), Instant::now());
        assert_eq!((batch.due(), batch.is_due(now + WITHIN)), (None, false));
        push(&mut batch, "1", now);
        assert_eq!((batch.due(), batch.is_due(now)), (Some(now + WITHIN), false));
        assert!(batch.is_due(now + WITHIN));
        push(&mut batch, "2", now + Duration::from_secs(5));
        assert_eq!(batch.due(), Some(now + WITHIN));
        assert!(batch.is_due(now) && !batch.has_room_for(&Element::new(b"3").unwrap()));
        assert_eq!(take(&mut batch).unwrap(), "[1,2]");
        assert_eq!(batch.due(), None);
    }

    #[test]
    fn gzip_is_what_gzip_reads_and_says_what_it_is() {
        let mut batch = Batch::new(config::Batch { max: 1000, within: WITHIN, encoding: Encoding::Gzip });
        for n in 0..100 {
            push(&mut batch, &format!(r#"{{"celsius":21.{n},"at":"2026-01-01T00:00:00Z"}}"#), Instant::now());
        }
        let len = batch.bytes() + 1;
        let packed = batch.take().unwrap();
        let mut json = String::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut json).unwrap();
        assert!(json.starts_with(r#"[{"celsius":21.0,"#) && json.ends_with("}]"), "{json}");
        assert!(json.len() == len && packed.len() * 10 < len, "{len} bytes took {}", packed.len());
        assert_eq!(batch.take(), None);
        let hops = Properties { user_properties: vec![("hops".to_owned(), "1".to_owned())], ..Properties::default() };
        let properties = batch.properties(Some(Arc::new(hops))).unwrap();
        assert_eq!(
            (properties.content_type.as_deref(), properties.user_properties.len()),
            (Some("application/gzip"), 1)
        );
    }

    proptest! {
        // Large ones take their time.
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Text has at most seven bits of chance in a byte, so that even an array of the greatest length gets shorter.
        #[test]
        fn what_is_packed_is_never_too_large(text in r"[\x20-\x7e]{20000,30000}") {
            let mut batch = Batch::new(config::Batch { max: 1000, within: WITHIN, encoding: Encoding::Gzip });
            let element = Element::new(text.as_bytes()).unwrap();
            while batch.has_room_for(&element) {
                batch.push(&element, Instant::now());
            }
            prop_assert!(batch.take().unwrap().len() <= MAX_PAYLOAD);
            batch.push(&element, Instant::now());
            let len = batch.bytes();
            prop_assert!(batch.take().unwrap().len() < len);
        }

        #[test]
        fn an_array_never_gets_too_large_and_loses_nothing(lens in prop::collection::vec(1..MAX_PAYLOAD, 1..20), max in 1..6usize) {
            let (mut batch, now) = (batch(max), Instant::now());
            let (mut arrays, mut expected) = (Vec::new(), 0);
            for len in lens {
                let payload = "7".repeat(len);
                let Ok(element) = Element::new(payload.as_bytes()) else {
                    prop_assert!(len + BRACKETS > MAX_PAYLOAD);
                    continue;
                };
                expected += 1;
                if !batch.has_room_for(&element) {
                    arrays.extend(batch.take());
                }
                batch.push(&element, now);
            }
            arrays.extend(batch.take());
            let mut found = 0;
            for array in arrays {
                prop_assert!(array.len() <= MAX_PAYLOAD);
                let commas = array.iter().filter(|byte| **byte == b',').count();
                prop_assert!(commas < max);
                found += commas + 1;
            }
            prop_assert_eq!(found, expected);
        }
    }
}
