//! `batch`, of `[[publish]]`, `[[ingest]]` and `[[bridge.up]]`.

use std::time::Duration;

/// `batch`: several messages in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batch {
    /// The most elements of an array.
    pub(crate) max: usize,
    /// How long the first may wait for the others.
    pub(crate) within: Duration,
    pub(crate) encoding: Encoding,
}

/// `batch.encoding`: in which form an array is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Encoding {
    /// As it is: JSON.
    #[default]
    None,
    /// As a file of gzip (RFC 1952), which says with MQTT 5 what it is: `application/gzip`.
    Gzip,
}
