//! The status document: what the daemon is doing, in one JSON object.

mod asked;
pub(crate) mod document;
pub(crate) mod following;
pub(crate) mod memory;
pub(crate) mod prometheus;
pub(crate) mod socket;

use std::collections::BTreeMap;

use crate::time::Rfc3339;
use serde::Serialize;

use crate::bridge::BridgeStatus;
use crate::executions::ServiceStatus;
use crate::forward::ForwardStatus;
use crate::identity::IdentityStatus;
use crate::inbox::InboxStatus;
use crate::ingest::IngestStatus;
use crate::link::state::{LinkCounters, LinkStatus};
use crate::meter::MeterStatus;
use crate::outbox::OutboxStatus;
use crate::schedule::PublishStatus;
use crate::services::history::Entry;
use crate::store::StoreStatus;
use memory::MemoryStatus;

/// Each part says its own; the names of the keys are a promise to scripts.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    pub(crate) version: &'static str,
    /// When the daemon started.
    pub(crate) started: Rfc3339,
    pub(crate) memory: Option<MemoryStatus>,
    pub(crate) clock: ClockStatus,
    /// Left out unless the last reload was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reload_refused: Option<ReloadRefusedStatus>,
    pub(crate) link: LinkStatus,
    pub(crate) outbox: OutboxStatus,
    pub(crate) store: StoreStatus,
    pub(crate) inbox: InboxStatus,
    pub(crate) counters: LinkCounters,
    /// `None` without `[meter]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) meter: Option<MeterStatus>,
    pub(crate) publish: Vec<PublishStatus>,
    pub(crate) forward: Vec<ForwardStatus>,
    pub(crate) ingest: Vec<IngestStatus>,
    pub(crate) bridge: Vec<BridgeStatus>,
    /// By name; left out unless there is one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) services: BTreeMap<&'static str, ServiceStatus>,
    /// The last of jobs and commands.
    pub(crate) executions: Vec<Entry>,
    /// `None` without `[provisioning]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<IdentityStatus>,
    /// `None` as long as gatewire is yet to get one. A reader that takes no `null` is served, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<CertificateStatus>,
    /// Left out unless they are served at a TCP port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metrics: Option<MetricsStatus>,
}

/// The `metrics` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct MetricsStatus {
    /// Address and port.
    pub(crate) listen: String,
    /// Why nobody listens there, as long as that is so.
    pub(crate) error: Option<String>,
}

/// The `reload_refused` of the status document: what is in force is the configuration of before.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ReloadRefusedStatus {
    pub(crate) at: Rfc3339,
    /// What is wrong, a line each.
    pub(crate) errors: Vec<String>,
}

/// The `clock` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct ClockStatus {
    /// Whether a time service keeps it right; `None` where the kernel may not be asked.
    pub(crate) synchronised: Option<bool>,
}

/// The `certificate` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct CertificateStatus {
    pub(crate) not_before: Rfc3339,
    pub(crate) not_after: Rfc3339,
}

impl Status {
    /// The document, and a newline.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        json_line(self)
    }
}

/// What a part of the daemon says, and a newline.
fn json_line(value: &impl Serialize) -> Vec<u8> {
    let mut json = serde_json::to_vec(value).unwrap_or_else(|error| {
        log::error!(GATEWIRE_EVENT = "internal"; "the status can't be written as JSON: {error}");
        b"{}".to_vec()
    });
    json.push(b'\n');
    json
}
