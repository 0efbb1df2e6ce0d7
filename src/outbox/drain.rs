//! A backlog on its way out after an outage. Pure: no I/O, no clock.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::message::Sequence;

/// Fewer messages than this aren't worth a word.
const WORTH_SAYING: u64 = 100;

/// What waited when the link came up.
#[derive(Debug)]
pub(super) struct Drain {
    /// What comes later isn't part of it.
    until: Sequence,
    messages: u64,
    delivered: u64,
    began: Instant,
}

/// The `drain` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct DrainStatus {
    /// Messages that waited when the link came up.
    pub(crate) messages: u64,
    /// How many of them are gone.
    pub(crate) delivered: u64,
    /// Seconds until the last of them is delivered, if it goes on as it did so far.
    pub(crate) seconds_left: Option<u64>,
}

/// A message that is delivered or given up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gone {
    pub(super) sequence: Sequence,
    pub(super) urgent: bool,
}

/// What has been drained.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Drained {
    pub(super) messages: u64,
    pub(super) took: Duration,
}

impl Drain {
    /// The link is up, and so many messages wait below a place. `None`: not worth a word.
    pub(super) fn begin(until: Sequence, messages: u64, now: Instant) -> Option<Drain> {
        (messages >= WORTH_SAYING).then_some(Drain { until, messages, delivered: 0, began: now })
    }

    /// A message is delivered or given up, or something else has changed; `is_empty`: nothing waits any more. Returns what has
    /// been drained once the backlog is out.
    pub(super) fn look(&mut self, gone: Option<Gone>, is_empty: bool, now: Instant) -> Option<Drained> {
        let is_later = gone.is_some_and(|gone| gone.sequence >= self.until);
        self.delivered += u64::from(gone.is_some() && !is_later);
        // But for what is urgent they are taken in order: when a later one is gone, the backlog is out, but for a few in flight.
        let is_behind = is_later && gone.is_some_and(|gone| !gone.urgent);
        (is_behind || is_empty || self.delivered >= self.messages)
            .then(|| Drained { messages: self.delivered, took: now.duration_since(self.began) })
    }

    pub(super) fn status(&self, now: Instant) -> DrainStatus {
        let left = self.messages.saturating_sub(self.delivered);
        let took = now.duration_since(self.began).as_secs_f64();
        let seconds_left = (self.delivered > 0).then(|| (took / self.delivered as f64 * left as f64).ceil() as u64);
        DrainStatus { messages: self.messages, delivered: self.delivered, seconds_left }
    }

    pub(super) fn messages(&self) -> u64 {
        self.messages
    }
}
