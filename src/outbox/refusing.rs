//! Messages that IoT Core refuses, on their way to the quarantine and back.

use super::drain::Gone;
use super::ledger::{Cause, Entry};
use super::quarantine::{Refused, Returning};
use super::senders::Fate;
use super::{MessageOutcome, Outbox, Refusal, Waiter};
use crate::count::count;
use crate::message::{Condition, Outbound, Qos, Sequence};
use crate::store::{Moment, accepted_now};
use crate::time;

impl Outbox {
    /// Why a message isn't sent, if it isn't.
    pub(super) fn why_not(&self, message: &Outbound) -> Option<String> {
        let quarantine = self.quarantine.borrow();
        if quarantine.is_clear() { None } else { quarantine.why_not(&message.traits()) }
    }

    /// Messages that meet `condition` aren't sent until they are tried anew. `reason` says what IoT Core does, `missing` what its
    /// policy lacks, if that may be why. Returns whether that is new.
    pub(crate) fn set_aside(&self, condition: Condition, reason: &str, missing: Option<String>) -> bool {
        let (now, clock) = (time::now(), time::wall());
        let is_new = self.quarantine.borrow_mut().set_aside(condition, reason, missing, now, clock);
        self.move_refused();
        self.tell_keeper(now);
        is_new
    }

    /// Moves messages that wait and aren't sent to the quarantine, as fast as that is written.
    fn move_refused(&self) {
        let nothing_else = self.find(|_, _| false);
        debug_assert!(nothing_else.is_none());
    }

    /// The first message that is `wanted`, told whether a client waits to be told of it. What isn't sent and lies before it
    /// moves to the quarantine, no faster than that is written.
    pub(super) fn find(&self, mut wanted: impl FnMut(&Outbound, bool) -> bool) -> Option<(Sequence, usize)> {
        loop {
            let mut refused = None;
            let found = {
                let (ledger, quarantine) = (self.ledger.borrow(), self.quarantine.borrow());
                let is_clear = quarantine.is_clear();
                ledger.find(|entry, at| {
                    let message = &entry.message;
                    refused = if is_clear { None } else { quarantine.why_not(&message.traits()) };
                    match refused {
                        // All that is refused moves in its order.
                        Some(_) => !at.is_late && quarantine.has_room(at.is_stored),
                        None => wanted(message, entry.waiter.as_ref().is_some_and(Waiter::is_impatient)),
                    }
                })
            };
            let (Some((sequence, _)), Some(reason)) = (found, refused) else { return found };
            self.take_at(sequence)?;
            self.refuse(sequence, &reason);
        }
    }

    /// IoT Core refuses a message that the link has, and takes no others. A client that waits for the answer is told; if none does, it
    /// waits to be sent again, at its old place. Returns whether a client was told.
    pub(crate) fn doubt(&self, sequence: Sequence, reason: &str) -> bool {
        let has_client = self.ledger.borrow().waiter(sequence).is_some_and(Waiter::is_impatient);
        match has_client {
            true => self.refuse(sequence, reason),
            false => self.put_back(sequence),
        }
        has_client
    }

    /// A message that the link has waits again, at its old place.
    pub(crate) fn put_back(&self, sequence: Sequence) {
        self.ledger.borrow_mut().put_back(sequence);
        self.tell_keeper(time::now());
    }

    /// IoT Core refuses a message that the link has, or would. Who waits for it is told; if nobody does, it is kept.
    pub(crate) fn refuse(&self, sequence: Sequence, reason: &str) {
        let (had_room, now) = (self.has_room(), time::now());
        let was_stored = self.ledger.borrow().may_be_stored(sequence);
        let Some(entry) = self.ledger.borrow_mut().remove(sequence, now) else { return };
        self.senders.borrow_mut().left(sequence, Fate::Refused);
        let Entry { message, at, accepted, waiter, .. } = entry;
        let gone = Gone { sequence, urgent: message.urgent };
        let why = self.why_not(&message).unwrap_or_else(|| reason.to_owned());
        let outcome = MessageOutcome::Refused(Refusal::Rejected { reason: why });
        match waiter {
            Some(waiter) if waiter.is_client() => {
                self.count(&outcome);
                self.settle(Some(waiter), &outcome);
            }
            _ if message.qos == Qos::AtMostOnce => self.count(&outcome),
            waiter => {
                let is_back = matches!(waiter, Some(Waiter::Quarantine(_)));
                self.hold(Refused { message, at, accepted }, was_stored || is_back, reason);
                self.settle(waiter, &outcome);
            }
        }
        self.after_removal(gone, had_room, now);
    }

    fn hold(&self, refused: Refused, was_stored: bool, reason: &str) {
        self.share_room();
        let mut quarantine = self.quarantine.borrow_mut();
        quarantine.insert(refused, was_stored, reason, time::now(), time::wall());
        drop(quarantine);
        self.share_room();
        self.settle_dropped();
    }

    /// The quarantine and the rest share the room that `max_size` gives.
    pub(super) fn share_room(&self) {
        let (mut ledger, mut quarantine) = (self.ledger.borrow_mut(), self.quarantine.borrow_mut());
        quarantine.set_beside(ledger.bytes(), ledger.count());
        let (bytes, messages) = quarantine.held();
        ledger.set_beside(bytes, messages);
    }

    /// Whether messages like this one are sent.
    pub(super) fn is_not_refused(&self, message: &Outbound) -> Result<(), Refusal> {
        self.why_not(message).map_or(Ok(()), |reason| Err(Refusal::Rejected { reason }))
    }

    /// Keeps a message that nobody waits for and that wouldn't be sent.
    pub(super) fn quarantine_at_once(&self, message: Outbound) {
        let reason = self.why_not(&message).unwrap_or_default();
        self.hold(Refused { message, at: time::wall(), accepted: accepted_now() }, false, &reason);
        self.tell_keeper(time::now());
    }

    /// Everything that IoT Core refused is tried anew, as if a day had passed: the policy may have changed.
    pub(crate) fn release_quarantine(&self) {
        let (messages, refusals) = self.quarantine.borrow_mut().release();
        if (messages, refusals) != (0, 0) {
            log::info!(
                GATEWIRE_EVENT = "quarantine_released", GATEWIRE_COUNT = messages;
                "what IoT Core refused is tried again: {} to {}", count(messages, "message"), count(refusals, "topic")
            );
        }
        self.reminder.now();
        self.arrived.notify();
    }

    /// What is tried anew since the last call.
    pub(crate) fn take_released(&self) -> Vec<Condition> {
        self.quarantine.borrow_mut().take_released()
    }

    /// Tries anew what is due, and gives the outbox what it has room for.
    pub(super) fn try_anew(&self) {
        if self.quarantine.borrow().is_release_due(time::now()) {
            self.release_quarantine();
        }
        while self.quarantine.borrow().is_releasing() {
            let has_room = |size| self.ledger.borrow().has_room_for(size);
            let now = time::now();
            let returning = self.quarantine.borrow_mut().next_returning(now, &Moment::now(), time::wall(), has_room);
            match returning {
                None => return,
                Some(Returning::Expired) => self.count_dropped(Cause::Expired),
                Some(Returning::ToOutbox(place, Refused { message, at, accepted })) => {
                    let waiter = Some(Waiter::Quarantine(place));
                    // It has the room; without, the message would stay where it is until the next start.
                    let _ = self.ledger.borrow_mut().accept(message, waiter, now, at, accepted);
                    self.arrived.notify();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
