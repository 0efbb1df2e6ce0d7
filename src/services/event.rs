//! What comes of requests.

use std::time::Duration;

use super::answer::{Answer, Rejection};
use super::{RequestId, Service};

/// What those who ask, and the log, have to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A service can be used from now on: once a connection, and again if it couldn't meanwhile.
    Ready(Service),
    /// A service is switched off until it is tried again: what IoT Core does.
    Refused(Service, String),
    /// A request has ended; nothing more is said of it.
    Answered(RequestId, Answer),
    /// A request is tried again after so long: the service has asked for that, or `None`, hasn't answered in time.
    Delayed(RequestId, Option<Rejection>, Duration),
}

/// Counts of one service, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Requests sent, those sent again included.
    pub(crate) sent: u64,
    /// Requests that have ended with an answer.
    pub(crate) answered: u64,
    /// Answers that didn't come in time.
    pub(crate) timed_out: u64,
    /// Answers that the service can't do it now.
    pub(crate) put_off: u64,
}
