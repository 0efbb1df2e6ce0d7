//! The status document, as its reader sees it.
//!
//! It may come from a daemon of another version, such as while a new one is installed and the old one still runs: what isn't
//! known is passed over, what is missing is left empty.

mod link;
mod outbox;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::time::Rfc3339;
pub(crate) use link::{
    BirthRefusedDocument, FilterRefusedDocument, KeepAliveDocument, LinkDocument, LinkError, LinkPhase, SpanDocument,
};
pub(crate) use outbox::{Delivery, Drain, Held, OutboxDocument, Quarantined};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Document {
    pub(crate) version: String,
    pub(crate) started: Option<Rfc3339>,
    pub(crate) memory: Option<MemoryDocument>,
    pub(crate) clock: ClockDocument,
    pub(crate) reload_refused: Option<ReloadRefusedDocument>,
    pub(crate) link: LinkDocument,
    pub(crate) outbox: OutboxDocument,
    pub(crate) store: Store,
    pub(crate) inbox: Inbox,
    pub(crate) counters: CountersDocument,
    /// `None` without `[meter]`.
    pub(crate) meter: Option<MeterDocument>,
    pub(crate) publish: Vec<Publish>,
    pub(crate) forward: Vec<ForwardDocument>,
    pub(crate) ingest: Vec<IngestDocument>,
    pub(crate) bridge: Vec<BridgeDocument>,
    /// By name.
    pub(crate) services: BTreeMap<String, ServiceDocument>,
    /// `None`: the daemon is of a version that knows no jobs.
    pub(crate) executions: Option<Vec<ExecutionDocument>>,
    /// `None` without `[provisioning]`.
    pub(crate) identity: Option<IdentityDocument>,
    pub(crate) certificate: Certificate,
    /// `None` unless they are served at a TCP port.
    pub(crate) metrics: Option<MetricsDocument>,
}

/// Where the metrics are served.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MetricsDocument {
    pub(crate) listen: String,
    pub(crate) error: Option<String>,
}

/// That the last reload was refused.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ReloadRefusedDocument {
    pub(crate) at: Option<Rfc3339>,
    pub(crate) errors: Vec<String>,
}

/// What gatewire knows of the identity that it makes itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct IdentityDocument {
    pub(crate) state: String,
    pub(crate) step: Option<String>,
    pub(crate) thing: Option<String>,
    pub(crate) configuration: Map<String, Value>,
    pub(crate) not_after: Option<Rfc3339>,
    pub(crate) next_attempt: Option<Rfc3339>,
    pub(crate) last_error: Option<LinkError>,
}

/// A service of AWS IoT that is configured.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ServiceDocument {
    pub(crate) state: String,
    pub(crate) since: Option<Rfc3339>,
    pub(crate) reason: Option<String>,
    pub(crate) next_attempt: Option<Rfc3339>,
    pub(crate) outstanding: u64,
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    pub(crate) timed_out: u64,
    pub(crate) delayed: u64,
    pub(crate) execution: Option<String>,
    pub(crate) waiting: u64,
    pub(crate) readers: Option<u64>,
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

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ClockDocument {
    /// `None` where gatewire may not ask the kernel.
    pub(crate) synchronised: Option<bool>,
}

/// Bytes to and from the network, in UTC's hour, day and month.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MeterDocument {
    pub(crate) hour: CarriedDocument,
    pub(crate) day: CarriedDocument,
    pub(crate) month: CarriedDocument,
    pub(crate) causes: BTreeMap<String, CarriedDocument>,
    pub(crate) budget: Option<BudgetDocument>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct BudgetDocument {
    pub(crate) month: u64,
    pub(crate) used_percent: u64,
    pub(crate) then: String,
    pub(crate) state: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CarriedDocument {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) forecast: Option<u64>,
}

/// Bytes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MemoryDocument {
    pub(crate) resident: u64,
    pub(crate) peak: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Store {
    pub(crate) path: String,
    pub(crate) error: Option<String>,
    pub(crate) since: Option<Rfc3339>,
    pub(crate) moved_aside: Vec<String>,
    pub(crate) restored: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Inbox {
    pub(crate) received: u64,
    pub(crate) unmatched: u64,
    pub(crate) too_large: u64,
    pub(crate) unreadable: u64,
    pub(crate) unacknowledged: u64,
}

/// Those of the link.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CountersDocument {
    pub(crate) attempts: u64,
    pub(crate) copies: u64,
    pub(crate) connections: u64,
    pub(crate) published: u64,
    pub(crate) resent: u64,
    pub(crate) received: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Publish {
    pub(crate) name: String,
    pub(crate) topic: String,
    pub(crate) count: u64,
    pub(crate) skipped: u64,
    pub(crate) unchanged: u64,
    pub(crate) failed: u64,
    pub(crate) refused: u64,
    pub(crate) last_run: Option<Rfc3339>,
    pub(crate) last_published: Option<Rfc3339>,
    pub(crate) next_run: Option<Rfc3339>,
    pub(crate) failing: bool,
    pub(crate) last_error: Option<TroubleDocument>,
}

/// What went wrong with a publication.
#[derive(Debug, Deserialize)]
pub(crate) struct TroubleDocument {
    pub(crate) message: String,
    pub(crate) at: Rfc3339,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ForwardDocument {
    pub(crate) name: String,
    pub(crate) socket: String,
    /// Not said by version 0.1.0.
    #[serde(default)]
    pub(crate) format: Option<String>,
    pub(crate) subscribed: Vec<String>,
    pub(crate) readers: u64,
    pub(crate) observers: u64,
    pub(crate) waiting: u64,
    pub(crate) unacknowledged: u64,
    pub(crate) waiting_bytes: u64,
    pub(crate) stored: u64,
    pub(crate) oldest: Option<Rfc3339>,
    pub(crate) written: u64,
    pub(crate) dropped: BTreeMap<String, u64>,
    pub(crate) disconnected_slow: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct IngestDocument {
    pub(crate) name: String,
    pub(crate) socket: String,
    pub(crate) clients: u64,
    pub(crate) accepted: u64,
    pub(crate) refused: BTreeMap<String, u64>,
}

/// A bridge, and its connection to the local broker.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct BridgeDocument {
    pub(crate) name: String,
    pub(crate) broker: String,
    pub(crate) state: LinkPhase,
    pub(crate) since: Option<Rfc3339>,
    pub(crate) last_error: Option<LinkError>,
    pub(crate) filters_refused: Vec<FilterRefusedDocument>,
    pub(crate) up: Vec<RuleDocument>,
    pub(crate) down: Vec<RuleDocument>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RuleDocument {
    pub(crate) from: String,
    pub(crate) urgent: bool,
    pub(crate) received: u64,
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    pub(crate) waiting: u64,
    pub(crate) dropped: BTreeMap<String, u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Certificate {
    pub(crate) not_before: Option<Rfc3339>,
    pub(crate) not_after: Option<Rfc3339>,
}
