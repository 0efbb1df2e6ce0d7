//! The `outbox` of the status document.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::time::Rfc3339;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct OutboxDocument {
    pub(crate) waiting: u64,
    pub(crate) urgent: u64,
    pub(crate) in_flight: u64,
    pub(crate) bytes: u64,
    pub(crate) oldest: Option<Rfc3339>,
    pub(crate) stored: u64,
    pub(crate) dropped: BTreeMap<String, u64>,
    pub(crate) held: Option<Held>,
    pub(crate) quarantined: u64,
    pub(crate) quarantine: Vec<Quarantined>,
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    pub(crate) sent: u64,
    /// Not said by version 0.2.0.
    pub(crate) delivery: Option<Delivery>,
    pub(crate) drain: Option<Drain>,
}

/// How long messages took from acceptance to PUBACK.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Delivery {
    pub(crate) count: u64,
    pub(crate) seconds: f64,
    pub(crate) buckets: Vec<Bucket>,
}

/// Those that took at most `le` seconds.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Bucket {
    pub(crate) le: f64,
    pub(crate) count: u64,
}

/// What holds messages back though there is a connection.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Held {
    pub(crate) cause: String,
    pub(crate) since: Option<Rfc3339>,
    pub(crate) reason: String,
    pub(crate) advice: String,
    pub(crate) next_attempt: Option<Rfc3339>,
}

/// A topic, or a group of topics, whose messages are set aside.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Quarantined {
    pub(crate) topic: String,
    pub(crate) retain: bool,
    pub(crate) qos: Option<u8>,
    pub(crate) min_size: Option<u64>,
    pub(crate) examples: Vec<String>,
    pub(crate) since: Option<Rfc3339>,
    pub(crate) messages: u64,
    pub(crate) reason: String,
    pub(crate) missing: Option<String>,
}

/// The backlog of an outage, on its way out.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Drain {
    pub(crate) messages: u64,
    pub(crate) delivered: u64,
    pub(crate) seconds_left: Option<u64>,
}
