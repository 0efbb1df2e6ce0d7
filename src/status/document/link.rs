//! The `link` of the status document. A bridge's connection has some of it, too.

use serde::Deserialize;

use crate::time::Rfc3339;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LinkDocument {
    pub(crate) state: LinkPhase,
    pub(crate) since: Option<Rfc3339>,
    pub(crate) disconnected_since: Option<Rfc3339>,
    pub(crate) session_present: Option<bool>,
    pub(crate) next_attempt: Option<Rfc3339>,
    pub(crate) last_error: Option<LinkError>,
    pub(crate) endpoint: String,
    pub(crate) port: u16,
    pub(crate) proxy: Option<String>,
    pub(crate) client_id: String,
    pub(crate) protocol: String,
    pub(crate) filters_refused: Vec<FilterRefusedDocument>,
    pub(crate) birth_refused: Option<BirthRefusedDocument>,
    pub(crate) keep_alive: Option<KeepAliveDocument>,
    pub(crate) history: Vec<SpanDocument>,
}

/// After how many seconds of silence a PINGREQ is sent, found by trying, and after how many the network forgets a connection.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct KeepAliveDocument {
    pub(crate) interval: u64,
    pub(crate) forgotten_after: Option<u64>,
}

/// That IoT Core refuses what gatewire publishes on each connection.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct BirthRefusedDocument {
    pub(crate) topic: String,
    pub(crate) since: Option<Rfc3339>,
    pub(crate) reason: String,
    pub(crate) missing: Option<String>,
    pub(crate) advice: String,
    pub(crate) left_out: bool,
}

/// A time of the last 24 hours.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SpanDocument {
    pub(crate) since: Option<Rfc3339>,
    pub(crate) state: String,
    pub(crate) seconds: f64,
    pub(crate) connected_seconds: f64,
    pub(crate) longest_gap_seconds: f64,
    pub(crate) cause: Option<String>,
}

/// A filter that gatewire isn't subscribed to.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct FilterRefusedDocument {
    pub(crate) filter: String,
    pub(crate) since: Option<Rfc3339>,
    pub(crate) reason: String,
    pub(crate) missing: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LinkPhase {
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
pub(crate) struct LinkError {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) advice: String,
    pub(crate) at: Option<Rfc3339>,
}
