//! Texts and JSON payloads with placeholders, taken apart once and filled in at each publication.

use std::fmt::Write as _;

use jiff::Timestamp;
use thiserror::Error;

/// A name that may stand between `{{` and `}}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placeholder {
    ClientId,
    Hostname,
    /// Counts the publications since the daemon started, from 1.
    Count,
    /// When the publication was due, RFC 3339 in UTC.
    Timestamp,
}

impl Placeholder {
    pub(crate) const ALL: [Placeholder; 4] =
        [Placeholder::ClientId, Placeholder::Hostname, Placeholder::Count, Placeholder::Timestamp];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Placeholder::ClientId => "client_id",
            Placeholder::Hostname => "hostname",
            Placeholder::Count => "count",
            Placeholder::Timestamp => "timestamp",
        }
    }
}

/// What `{{client_id}}` and `{{hostname}}` stand for: known when the configuration is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fixed {
    pub(crate) client_id: String,
    pub(crate) hostname: String,
}

/// What changes from one publication to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tick {
    /// From 1.
    pub(crate) count: u64,
    pub(crate) due: Timestamp,
}

/// A payload, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {}
