//! What a connection is doing, as the status document says it.

use serde::Serialize;

use crate::time::Rfc3339;

/// `link.state` of the status document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ConnectionState {
    /// CONNACK has come.
    Connected,
    /// From DNS to CONNACK.
    Connecting,
    /// Until the next attempt.
    Waiting,
    /// The daemon is stopping.
    Stopped,
}

/// What status and journal show of a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    /// Stable, `snake_case`.
    pub(crate) code: &'static str,
    /// One line: what was tried, on what, what came back.
    pub(crate) message: String,
    /// Likely causes, likeliest first, and what to do.
    pub(crate) advice: String,
}

/// `link.last_error` of the status document.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LastError {
    #[serde(flatten)]
    pub(crate) failure: Failure,
    pub(crate) at: Rfc3339,
}
