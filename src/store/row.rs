//! What the store keeps of a message, and how that is written down.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::types::ValueRef;

use super::QueueId;
use super::clock::{Accepted, Moment};
use crate::message::{Outbound, Properties, Qos, Topic};

/// A message of a queue, as it lies in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its place in its queue; below 2^53.
    pub(crate) seq: u64,
    /// What the clock showed when it was accepted: for people, nothing is decided by it.
    pub(crate) at: Timestamp,
    pub(crate) accepted: Accepted,
    pub(crate) topic: Topic,
    pub(crate) payload: Bytes,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    /// The server had marked it as sent before (DUP), or it was given to a reader before.
    pub(crate) duplicate: bool,
    /// On its way to IoT Core it goes before what isn't.
    pub(crate) urgent: bool,
    /// MQTT 5 only.
    pub(crate) properties: Option<Arc<Properties>>,
}

impl Row {
    /// Bytes of topic, payload and properties: what the bounds count.
    pub(crate) fn size(&self) -> u64 {
        let properties = self.properties.as_ref().map_or(0, |properties| properties.memory());
        (self.topic.as_str().len() + self.payload.len() + properties) as u64
    }

    /// The message, on its way to IoT Core again; its `expires_in` goes on counting from the acceptance, as far as its time is
    /// certain.
    pub(crate) fn into_outbound(self, now: Instant, moment: &Moment) -> (Outbound, Timestamp, Accepted) {
        let Row { at, accepted, topic, payload, qos, retain, urgent, mut properties, .. } = self;
        if let Some(properties) = &mut properties {
            Arc::make_mut(properties).count_on(now, moment.age(accepted));
        }
        (Outbound { topic, payload, qos, retain, urgent, properties }, at, accepted)
    }

    /// The properties as they are written: in the JSON of the socket lines; nothing where there are none.
    pub(super) fn properties_json(&self) -> Vec<u8> {
        let json = self.properties.as_ref().map(serde_json::to_vec);
        // Strings, numbers and lists of them: nothing in it can fail to be written.
        json.and_then(Result::ok).unwrap_or_default()
    }

    pub(super) fn flags(&self) -> u8 {
        self.qos.level() | u8::from(self.retain) << 1 | u8::from(self.duplicate) << 2 | u8::from(self.urgent) << 3
    }

    /// The content's checksum. SQLite has none of its own: a page of a payload that has turned to garbage reads as well as
    /// any other.
    pub(super) fn checksum(&self, key: i64, properties: &[u8]) -> u32 {
        checksum(key, self.flags(), [self.topic.as_str().as_bytes(), &self.payload, properties])
    }
}

/// The columns of a row, as [`super::database`] writes them and [`super::salvage`] finds them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns<'a> {
    pub(super) key: i64,
    pub(super) at: i64,
    pub(super) boot: i64,
    pub(super) since_boot: i64,
    pub(super) size: i64,
    pub(super) flags: i64,
    pub(super) checksum: i64,
    pub(super) topic: &'a [u8],
    pub(super) payload: &'a [u8],
    /// Empty: it has none.
    pub(super) properties: &'a [u8],
}

impl Columns<'_> {
    /// Whether the content is what was written.
    pub(super) fn are_sound(&self) -> bool {
        self.key >= 0
            && u8::try_from(self.flags).is_ok_and(|flags| {
                i64::from(checksum(self.key, flags, [self.topic, self.payload, self.properties])) == self.checksum
            })
            && std::str::from_utf8(self.topic).is_ok()
    }

    /// The message. `this_boot` is the number of the present boot; `offset` is how far the clock of the message's boot was
    /// ahead of the time since that boot, in milliseconds, if it was ever synchronised. `None`: the content isn't sound.
    pub(super) fn to_row(self, this_boot: i64, offset: Option<i64>) -> Option<Row> {
        if !self.are_sound() {
            return None;
        }
        let accepted = match self.boot == this_boot {
            true => Accepted::ThisBoot(u64::try_from(self.since_boot).unwrap_or(0)),
            false => Accepted::Earlier(
                offset.and_then(|offset| Timestamp::from_millisecond(offset.saturating_add(self.since_boot)).ok()),
            ),
        };
        Some(Row {
            seq: QueueId::seq_of_key(self.key),
            at: Timestamp::from_millisecond(self.at).unwrap_or(Timestamp::UNIX_EPOCH),
            accepted,
            topic: Topic::received(std::str::from_utf8(self.topic).ok()?),
            payload: Bytes::copy_from_slice(self.payload),
            qos: if self.flags & 1 == 0 { Qos::AtMostOnce } else { Qos::AtLeastOnce },
            retain: self.flags & 2 != 0,
            duplicate: self.flags & 4 != 0,
            urgent: self.flags & 8 != 0,
            properties: match self.properties {
                [] => None,
                json => Some(Arc::new(serde_json::from_slice(json).ok()?)),
            },
        })
    }
}

fn checksum(key: i64, flags: u8, parts: [&[u8]; 3]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&key.to_le_bytes());
    hasher.update(&[flags]);
    for part in parts {
        hasher.update(&(part.len() as u32).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize()
}

/// The bytes of a column that was written as text or as a blob.
pub(super) fn bytes_of(value: ValueRef<'_>) -> &[u8] {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes,
        _ => &[],
    }
}
