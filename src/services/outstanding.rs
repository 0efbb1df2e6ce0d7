//! A request without answer. Pure.

use std::time::Instant;

use super::request::{Correlation, Request};
use crate::message::Outbound;

/// Where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It is to be sent, as soon as its service is ready.
    Queued,
    /// It was sent on this connection.
    Sent { deadline: Instant },
    /// It has failed, and is to be sent once more.
    Delayed { until: Instant },
}

#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) request: Request,
    /// Which attempt this is, of all requests.
    pub(super) attempt: u64,
    /// Of this attempt: an answer counts only if it has this token.
    pub(super) token: String,
    pub(super) message: Outbound,
    pub(super) state: State,
    /// This attempt was sent, on this connection or one before it: its answer may come.
    pub(super) was_sent: bool,
    /// Attempts that have failed.
    pub(super) failures: u32,
}

impl Outstanding {
    /// The copy that was sent isn't on its way any more. What waits for its next attempt goes on waiting.
    pub(super) fn queue_again(&mut self) {
        if matches!(self.state, State::Sent { .. }) {
            self.state = State::Queued;
        }
    }

    /// Whether an answer with this token is to the attempt that is on its way, or was when a connection ended.
    pub(super) fn waits_for(&self, token: Option<&str>) -> bool {
        self.was_sent
            && match self.request.correlation() {
                Correlation::ClientToken => token == Some(&self.token),
                Correlation::Topic => true,
            }
    }
}
