//! The status document, as its reader sees it.
//!
//! It may come from a daemon of another version, such as while a new one is installed and the old one still runs: what isn't
//! known is passed over, what is missing is left empty.

use std::collections::BTreeMap;

use crate::time::Rfc3339;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Document {
    pub(super) version: String,
    pub(super) started: Option<Rfc3339>,
    pub(super) memory: Option<MemoryDocument>,
    pub(super) link: LinkDocument,
    pub(super) outbox: OutboxDocument,
    pub(super) store: Store,
    pub(super) inbox: Inbox,
    pub(super) counters: CountersDocument,
    pub(super) publish: Vec<Publish>,
    pub(super) forward: Vec<ForwardDocument>,
    pub(super) ingest: Vec<IngestDocument>,
    pub(super) bridge: Vec<BridgeDocument>,
    /// By name.
    pub(super) services: BTreeMap<String, ServiceDocument>,
    /// `None`: the daemon is of a version that knows no jobs.
    pub(super) executions: Option<Vec<ExecutionDocument>>,
    /// `None` without `[provisioning]`.
    pub(super) identity: Option<IdentityDocument>,
    pub(super) certificate: Certificate,
}

/// What gatewire knows of the identity that it makes itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct IdentityDocument {
    pub(super) state: String,
    pub(super) step: Option<String>,
    pub(super) thing: Option<String>,
    pub(super) configuration: Map<String, Value>,
    pub(super) not_after: Option<Rfc3339>,
    pub(super) next_attempt: Option<Rfc3339>,
    pub(super) last_error: Option<LinkError>,
}

/// A service of AWS IoT that is configured.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ServiceDocument {
    pub(super) state: String,
    pub(super) since: Option<Rfc3339>,
    pub(super) reason: Option<String>,
    pub(super) next_attempt: Option<Rfc3339>,
    pub(super) outstanding: u64,
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) timed_out: u64,
    pub(super) delayed: u64,
    pub(super) execution: Option<String>,
    pub(super) waiting: u64,
    pub(super) readers: Option<u64>,
}

/// An execution of a job or a command, also as the store has it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ExecutionDocument {
    pub(crate) at: Option<Rfc3339>,
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) execution: Option<i64>,
    pub(crate) action: Option<String>,
    pub(crate) status: String,
    pub(crate) reason: Option<String>,
}

/// Bytes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MemoryDocument {
    pub(super) resident: u64,
    pub(super) peak: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LinkDocument {
    pub(super) state: LinkPhase,
    pub(super) since: Option<Rfc3339>,
    pub(super) disconnected_since: Option<Rfc3339>,
    pub(super) session_present: Option<bool>,
    pub(super) next_attempt: Option<Rfc3339>,
    pub(super) last_error: Option<LinkError>,
    pub(super) endpoint: String,
    pub(super) port: u16,
    pub(super) proxy: Option<String>,
    pub(super) client_id: String,
    pub(super) protocol: String,
    pub(super) filters_refused: Vec<FilterRefusedDocument>,
    pub(super) history: Vec<SpanDocument>,
}

/// A time of the last 24 hours.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SpanDocument {
    pub(super) seconds: f64,
    pub(super) connected_seconds: f64,
    pub(super) longest_gap_seconds: f64,
    pub(super) cause: Option<String>,
}

/// A filter that gatewire isn't subscribed to.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FilterRefusedDocument {
    pub(super) filter: String,
    pub(super) since: Option<Rfc3339>,
    pub(super) reason: String,
    pub(super) missing: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LinkPhase {
    Connected,
    Connecting,
    Waiting,
    Stopped,
    #[default]
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LinkError {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) advice: String,
    pub(super) at: Option<Rfc3339>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OutboxDocument {
    pub(super) waiting: u64,
    pub(super) in_flight: u64,
    pub(super) bytes: u64,
    pub(super) oldest: Option<Rfc3339>,
    pub(super) stored: u64,
    pub(super) dropped: BTreeMap<String, u64>,
    pub(super) held: Option<Held>,
    pub(super) quarantined: u64,
    pub(super) quarantine: Vec<Quarantined>,
    pub(super) accepted: u64,
    pub(super) delivered: u64,
    pub(super) sent: u64,
    pub(super) drain: Option<Drain>,
}

/// What holds messages back though there is a connection.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Held {
    pub(super) cause: String,
    pub(super) since: Option<Rfc3339>,
    pub(super) reason: String,
    pub(super) advice: String,
    pub(super) next_attempt: Option<Rfc3339>,
}

/// A topic, or a group of topics, whose messages are set aside.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Quarantined {
    pub(super) topic: String,
    pub(super) retain: bool,
    pub(super) qos: Option<u8>,
    pub(super) min_size: Option<u64>,
    pub(super) examples: Vec<String>,
    pub(super) since: Option<Rfc3339>,
    pub(super) messages: u64,
    pub(super) reason: String,
    pub(super) missing: Option<String>,
}

/// The backlog of an outage, on its way out.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Drain {
    pub(super) messages: u64,
    pub(super) delivered: u64,
    pub(super) seconds_left: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Store {
    pub(super) path: String,
    pub(super) error: Option<String>,
    pub(super) since: Option<Rfc3339>,
    pub(super) moved_aside: Vec<String>,
    pub(super) restored: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Inbox {
    pub(super) received: u64,
    pub(super) unmatched: u64,
    pub(super) too_large: u64,
    pub(super) unreadable: u64,
    pub(super) unacknowledged: u64,
}

/// Those of the link.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CountersDocument {
    pub(super) attempts: u64,
    pub(super) copies: u64,
    pub(super) connections: u64,
    pub(super) published: u64,
    pub(super) resent: u64,
    pub(super) received: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Publish {
    pub(super) name: String,
    pub(super) topic: String,
    pub(super) count: u64,
    pub(super) skipped: u64,
    pub(super) unchanged: u64,
    pub(super) failed: u64,
    pub(super) refused: u64,
    pub(super) last_run: Option<Rfc3339>,
    pub(super) last_published: Option<Rfc3339>,
    pub(super) next_run: Option<Rfc3339>,
    pub(super) failing: bool,
    pub(super) last_error: Option<TroubleDocument>,
}

/// What went wrong with a publication.
#[derive(Debug, Deserialize)]
pub(super) struct TroubleDocument {
    pub(super) message: String,
    pub(super) at: Rfc3339,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ForwardDocument {
    pub(super) name: String,
    pub(super) socket: String,
    /// Not said by version 0.1.0.
    #[serde(default)]
    pub(super) format: Option<String>,
    pub(super) readers: u64,
    pub(super) observers: u64,
    pub(super) waiting: u64,
    pub(super) unacknowledged: u64,
    pub(super) waiting_bytes: u64,
    pub(super) stored: u64,
    pub(super) oldest: Option<Rfc3339>,
    pub(super) written: u64,
    pub(super) dropped: BTreeMap<String, u64>,
    pub(super) disconnected_slow: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct IngestDocument {
    pub(super) name: String,
    pub(super) socket: String,
    pub(super) clients: u64,
    pub(super) accepted: u64,
    pub(super) refused: BTreeMap<String, u64>,
}

/// A bridge, and its connection to the local broker.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BridgeDocument {
    pub(super) name: String,
    pub(super) broker: String,
    pub(super) state: LinkPhase,
    pub(super) since: Option<Rfc3339>,
    pub(super) last_error: Option<LinkError>,
    pub(super) filters_refused: Vec<FilterRefusedDocument>,
    pub(super) up: Vec<RuleDocument>,
    pub(super) down: Vec<RuleDocument>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RuleDocument {
    pub(super) from: String,
    pub(super) received: u64,
    pub(super) accepted: u64,
    pub(super) delivered: u64,
    pub(super) waiting: u64,
    pub(super) dropped: BTreeMap<String, u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Certificate {
    pub(super) not_before: Option<Rfc3339>,
    pub(super) not_after: Option<Rfc3339>,
}
