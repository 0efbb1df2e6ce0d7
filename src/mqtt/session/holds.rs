//! Why messages wait though there is a connection: what the log says of it, and the status, both come from here.

use std::mem::Discriminant;
use std::time::Instant;

use super::Session;
use super::event::Refusal;
use crate::mqtt::reason::Reason;

/// What keeps messages from being sent, or from being acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hold {
    /// The server refuses everything: what it does.
    Refused(Refusal),
    /// The server takes no more for now (quota exceeded).
    Throttled(Reason),
    /// The server doesn't acknowledge messages in time; they are sent again (MQTT 3.1.1).
    Unanswered,
    /// The server hasn't answered a SUBSCRIBE: what isn't urgent waits.
    Subscribing,
}

/// What was said last.
#[derive(Debug, Default)]
pub(super) struct Said(Option<Hold>);

/// What has changed: what held messages back before, and what does now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) before: Option<Hold>,
    pub(crate) now: Option<Hold>,
}

impl Session {
    /// What holds messages back; of several, what lasts longest.
    fn hold_now(&self) -> Option<Hold> {
        if self.isolation.refuses_everything() {
            return Some(Hold::Refused(self.holding.refusal.clone().unwrap_or(Refusal::Ends(None))));
        }
        if let Some(limit) = &self.holding.limits {
            return Some(Hold::Refused(Refusal::Refuses(limit.clone())));
        }
        if let Some(reason) = self.throttle.reason() {
            return Some(Hold::Throttled(reason.clone()));
        }
        match () {
            () if self.is_unanswered => Some(Hold::Unanswered),
            () if self.held_until.is_some() => Some(Hold::Subscribing),
            () => None,
        }
    }

    /// What holds messages back, if that is something else than at the last call.
    pub(crate) fn take_hold(&mut self) -> Option<Change> {
        let now = self.hold_now();
        let kind = |hold: &Option<Hold>| -> Option<Discriminant<Hold>> { hold.as_ref().map(std::mem::discriminant) };
        if kind(&now) == kind(&self.said.0) {
            return None;
        }
        Some(Change { before: std::mem::replace(&mut self.said.0, now.clone()), now })
    }

    /// Something holds messages back, as [`Session::take_hold`] has said.
    pub(crate) fn is_holding(&self) -> bool {
        self.said.0.is_some()
    }

    /// When messages are tried again that are held back.
    pub(crate) fn next_trial(&self) -> Option<Instant> {
        match self.said.0.as_ref()? {
            Hold::Refused(_) => self.isolation.next_trial().or(self.holding.ask_again_at()),
            Hold::Throttled(_) => self.throttle.until(),
            Hold::Unanswered => None,
            Hold::Subscribing => self.held_until,
        }
    }
}
