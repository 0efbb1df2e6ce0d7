//! What is given up: who waited for it is told, and the log, with the causes.

use serde::Serialize;

use super::ledger::Cause;
use super::{MessageOutcome, Outbox, Refusal};

use crate::time;

/// Messages given up, by cause.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Dropped {
    /// The outbox was full and `when_full` is `drop-oldest`.
    pub(crate) full: u64,
    /// They had waited for `max_age`, or for their own `expires_in`.
    pub(crate) expired: u64,
    /// QoS 0 while the link was down, or past the budget.
    pub(crate) not_connected: u64,
    /// IoT Core refused them, and who sent them was told; or they had QoS 0.
    pub(crate) rejected: u64,
    /// IoT Core refused them, and the quarantine was full.
    pub(crate) quarantine_full: u64,
    /// A damaged database took them with it.
    pub(crate) damaged: u64,
}

impl From<Cause> for Refusal {
    fn from(cause: Cause) -> Refusal {
        match cause {
            Cause::Full => Refusal::OutboxFull,
            Cause::Expired => Refusal::Expired,
            Cause::NotConnected => Refusal::NotConnected,
            Cause::HeldBack => Refusal::PastBudget,
        }
    }
}

impl Outbox {
    /// Tells those who waited for messages that were given up, and the log at most once a minute.
    pub(super) fn settle_dropped(&self) {
        let dropped = self.ledger.borrow_mut().take_dropped();
        if !dropped.is_empty() {
            // There is room for others.
            self.ease();
        }
        for (cause, waiter) in dropped {
            self.count_dropped(cause);
            self.settle(waiter, &MessageOutcome::Refused(cause.into()));
        }
        self.say_dropped();
    }

    /// What hasn't been said yet, at the end.
    pub(crate) fn say_last_drops(&self) {
        self.drops.reset();
        self.say_dropped();
    }

    fn say_dropped(&self) {
        let (now, said) = (self.dropped(), self.drops_said.get());
        let of = |count: fn(&Dropped) -> u64| count(&now) - count(&said);
        let causes = [
            (of(|n| n.full), "of the oldest, because more than [outbox] max_size waited"),
            (of(|n| n.expired), "that had waited for [outbox] max_age or for their own expires_in"),
            (of(|n| n.quarantine_full), "set aside because IoT Core refuses them, when [outbox] max_size was reached"),
            (of(|n| n.damaged), "that were in damaged parts of the database"),
        ];
        let dropped: u64 = causes.iter().map(|(n, _)| n).sum();
        if dropped > 0 && self.drops.is_due(time::now()) {
            self.drops_said.set(now);
            let causes = causes.iter().filter(|(n, _)| *n > 0).map(|(n, cause)| format!("{n} {cause}"));
            log::warn!(
                GATEWIRE_EVENT = "messages_dropped", GATEWIRE_COUNT = dropped;
                "messages dropped: {}. Total since the start: {}. Logged at most once a minute",
                causes.collect::<Vec<_>>().join("; "),
                now.full + now.expired + now.quarantine_full + now.damaged
            );
        }
    }

    pub(super) fn dropped(&self) -> Dropped {
        let quarantine = self.quarantine.borrow();
        Dropped {
            damaged: self.ledger.borrow().missing() + quarantine.missing(),
            quarantine_full: quarantine.dropped(),
            ..self.counters.dropped.get()
        }
    }
}
