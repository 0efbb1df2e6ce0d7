//! What a rule has carried since the daemon's start, by what became of it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use serde::Serialize;

use super::cause::Cause;

/// Of one rule.
#[derive(Debug, Default)]
pub(super) struct Counters {
    received: Cell<u64>,
    accepted: Cell<u64>,
    delivered: Cell<u64>,
    dropped: RefCell<BTreeMap<Cause, u64>>,
}

/// One of `up` and `down` of a bridge in the status document.
#[derive(Debug, Serialize)]
pub(crate) struct RuleStatus {
    pub(super) from: String,
    /// Whether its messages go before what isn't urgent; only of `up`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) urgent: Option<bool>,
    /// Messages that the rule takes.
    pub(super) received: u64,
    /// Those of them that go on: of `every` and `on_change` once that is certain.
    pub(super) accepted: u64,
    /// Those of them that the other side has acknowledged.
    pub(super) delivered: u64,
    /// Those that aren't delivered or dropped yet.
    pub(super) waiting: u64,
    /// The others, by cause: those there are.
    pub(super) dropped: BTreeMap<&'static str, u64>,
}

impl Counters {
    pub(super) fn received(&self) {
        self.received.set(self.received.get() + 1);
    }

    pub(super) fn accepted(&self, n: u64) {
        self.accepted.set(self.accepted.get() + n);
    }

    pub(super) fn delivered(&self) {
        self.delivered.set(self.delivered.get() + 1);
    }

    pub(super) fn dropped(&self, cause: Cause) {
        *self.dropped.borrow_mut().entry(cause).or_default() += 1;
    }

    pub(super) fn status(&self, from: String, waiting: u64) -> RuleStatus {
        let dropped = self.dropped.borrow().iter().map(|(cause, n)| (cause.as_str(), *n)).collect();
        let (received, accepted, delivered) = (self.received.get(), self.accepted.get(), self.delivered.get());
        RuleStatus { from, urgent: None, received, accepted, delivered, waiting, dropped }
    }
}

impl RuleStatus {
    /// More that was dropped for a cause than was known here.
    pub(super) fn add_dropped(&mut self, cause: Cause, n: u64) {
        if n > 0 {
            *self.dropped.entry(cause.as_str()).or_default() += n;
        }
    }
}
