//! Messages that IoT Core refuses, on their way to the quarantine and back.

use std::time::Instant;

use jiff::Timestamp;

use super::ledger::{Cause, Entry, Sequence};
use super::quarantine::{Refused, Returning};
use super::{Outbox, Outcome, Refusal, Waiter};
use crate::message::{Outbound, Qos, Target};
use crate::store::{Moment, accepted_now};

impl Outbox {
    /// Why messages to `target` aren't sent, if they aren't.
    pub(super) fn why_not(&self, target: &Target) -> Option<String> {
        self.quarantine.borrow().why_not(target)
    }

    /// Sets a target aside: messages to it aren't sent until it is tried anew. `reason` says what IoT Core does, `missing` what
    /// its policy lacks, if that may be why. Returns whether that is new.
    pub(crate) fn set_aside(&self, target: Target, reason: &str, missing: Option<String>) -> bool {
        let (now, clock) = (Instant::now(), Timestamp::now());
        let is_new = self.quarantine.borrow_mut().set_aside(target, reason, missing, now, clock);
        self.tell_keeper();
        is_new
    }

    /// IoT Core refuses a message that the link has, or would. Who waits for it is told; if nobody does, it is kept.
    pub(crate) fn refuse(&self, sequence: Sequence, reason: &str) {
        let had_room = self.has_room();
        let was_stored = self.ledger.borrow().may_be_stored(sequence);
        let Some(entry) = self.ledger.borrow_mut().remove(sequence, Instant::now()) else { return };
        let Entry { message, at, accepted, waiter, .. } = entry;
        let why = self.why_not(&message.target()).unwrap_or_else(|| reason.to_owned());
        let outcome = Outcome::Refused(Refusal::Rejected { reason: why });
        match waiter {
            Some(Waiter::Client(client)) if !client.is_closed() => {
                self.count(&outcome);
                self.settle(Some(Waiter::Client(client)), &outcome);
            }
            _ if message.qos == Qos::AtMostOnce => self.count(&outcome),
            waiter => {
                let is_back = matches!(waiter, Some(Waiter::Quarantine(_)));
                self.hold(Refused { message, at, accepted }, was_stored || is_back, reason);
                self.settle(waiter, &outcome);
            }
        }
        self.after_removal(sequence, had_room);
    }

    fn hold(&self, refused: Refused, was_stored: bool, reason: &str) {
        self.quarantine.borrow_mut().insert(refused, was_stored, reason, Instant::now(), Timestamp::now());
        self.settle_dropped();
    }

    /// Whether messages like this one are sent.
    pub(super) fn is_not_refused(&self, message: &Outbound) -> Result<(), Refusal> {
        self.why_not(&message.target()).map_or(Ok(()), |reason| Err(Refusal::Rejected { reason }))
    }

    /// Keeps a message that nobody waits for and that wouldn't be sent.
    pub(super) fn quarantine_at_once(&self, message: Outbound) {
        let reason = self.why_not(&message.target()).unwrap_or_default();
        self.hold(Refused { message, at: Timestamp::now(), accepted: accepted_now() }, false, &reason);
        self.tell_keeper();
    }

    /// Everything that IoT Core refused is tried anew, as if a day had passed: the policy may have changed.
    pub(crate) fn release_quarantine(&self) {
        let (messages, topics) = self.quarantine.borrow_mut().release();
        if (messages, topics) != (0, 0) {
            log::info!(
                GATEWIRE_EVENT = "quarantine_released", GATEWIRE_COUNT = messages;
                "what IoT Core refused is tried anew: {topics} topics, {messages} messages"
            );
        }
        self.changed.notify_one();
        self.arrived.notify_one();
    }

    /// The targets that are tried anew since the last call.
    pub(crate) fn take_released(&self) -> Vec<Target> {
        self.quarantine.borrow_mut().take_released()
    }

    /// Tries anew what is due, and gives the outbox what it has room for.
    pub(super) fn try_anew(&self) {
        if self.quarantine.borrow().is_release_due(Instant::now()) {
            self.release_quarantine();
        }
        while self.quarantine.borrow().is_releasing() {
            let has_room = |size| self.ledger.borrow().has_room_for(size);
            let now = Instant::now();
            let returning =
                self.quarantine.borrow_mut().next_returning(now, &Moment::now(), Timestamp::now(), has_room);
            match returning {
                None => return,
                Some(Returning::Expired) => self.count_dropped(Cause::Expired),
                Some(Returning::ToOutbox(place, Refused { message, at, accepted })) => {
                    let waiter = Some(Waiter::Quarantine(place));
                    // It has the room; without, the message would stay where it is until the next start.
                    let _ = self.ledger.borrow_mut().accept(message, waiter, now, at, accepted);
                    self.arrived.notify_one();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
