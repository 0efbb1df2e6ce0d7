//! The outbox and the link: what it is given, what became of that, and whether there is one.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::drain::{Drain, Gone};
use super::senders::Fate;
use super::status::HeldStatus;
use super::{MessageOutcome, Outbox, Refusal, source};
use crate::count::{count, count_that};
use crate::message::{Outbound, Sequence};
use crate::time;
use crate::time::Rfc3339;

/// That a backlog goes out is said again after so long, if it isn't out.
const SAY_AGAIN: Duration = Duration::from_secs(3600);

impl Outbox {
    /// The first message that the link `admits`, told whether a client waits to be told of it: its place, and bytes of topic and
    /// payload.
    pub(crate) fn next(&self, admits: impl FnMut(&Outbound, bool) -> bool) -> Option<(Sequence, usize)> {
        self.find(admits)
    }

    /// Of the messages that may only be sent alone, the one of the lowest rank. That is told the place of each.
    pub(crate) fn next_alone<R: Ord>(&self, rank: impl Fn(&Outbound, u32) -> Option<R>) -> Option<(Sequence, usize)> {
        let may_be_sent = |message: &Outbound| self.why_not(message).is_none();
        self.ledger
            .borrow()
            .find_least(|entry, place| rank(&entry.message, place).filter(|_| may_be_sent(&entry.message)))
    }

    /// Hands a message to the link.
    pub(crate) fn take_at(&self, sequence: Sequence) -> Option<Outbound> {
        let taken = self.ledger.borrow_mut().take(sequence);
        if let Some(message) = &taken {
            let is_last = self.ledger.borrow().waiting_like(message.urgent) == 0;
            self.gate.borrow_mut().admission(message.urgent).taken(message.size(), is_last, source::now());
            self.let_in();
        }
        if self.ledger.borrow().needs_load() {
            self.reminder.now();
        }
        taken
    }

    /// Hands the next message to the link.
    #[cfg(test)]
    pub(crate) fn take(&self) -> Option<(Sequence, Outbound)> {
        let (sequence, _) = self.next(|_, _| true)?;
        Some((sequence, self.take_at(sequence)?))
    }

    /// IoT Core has acknowledged a QoS 1 message.
    pub(crate) fn delivered(&self, sequence: Sequence) {
        self.finish(sequence, &MessageOutcome::Delivered);
    }

    /// A QoS 0 message has been written to the link.
    pub(crate) fn sent(&self, sequence: Sequence) {
        self.finish(sequence, &MessageOutcome::Sent);
    }

    /// The time of a message had passed before it could be sent.
    pub(crate) fn expired(&self, sequence: Sequence) {
        self.finish(sequence, &MessageOutcome::Refused(Refusal::Expired));
    }

    fn finish(&self, sequence: Sequence, outcome: &MessageOutcome) {
        let had_room = self.has_room();
        let now = time::now();
        let Some(entry) = self.ledger.borrow_mut().remove(sequence, now) else { return };
        let fate = match outcome {
            MessageOutcome::Refused(Refusal::Expired) => Fate::Expired,
            MessageOutcome::Refused(_) => Fate::Dropped,
            MessageOutcome::Delivered | MessageOutcome::Stored | MessageOutcome::Sent => Fate::Delivered,
        };
        self.senders.borrow_mut().left(sequence, fate);
        self.count(outcome);
        if *outcome == MessageOutcome::Delivered {
            self.latency.delivered(entry.accepted, time::since_boot());
        }
        let gone = Gone { sequence, urgent: entry.message.urgent };
        self.settle(entry.waiter, outcome);
        self.after_removal(gone, had_room, now);
    }

    /// A message has left the ledger.
    pub(super) fn after_removal(&self, gone: Gone, had_room: bool, now: Instant) {
        if !had_room {
            self.ease();
        }
        self.tell_keeper(now);
        self.look_at_drain(Some(gone), now);
    }

    /// Whether a backlog is worth a line: not while none of it is sent, nor each time that the link comes back for a moment.
    fn is_news(&self, drain: &Drain) -> bool {
        let now = time::now();
        let is_known = self.backlog_said.get().is_some_and(|(messages, at)| {
            drain.messages() < messages.saturating_mul(2) && now.saturating_duration_since(at) < SAY_AGAIN
        });
        let is_news = self.held().is_none() && !is_known;
        if is_news {
            self.backlog_said.set(Some((drain.messages(), now)));
        }
        is_news
    }

    /// Says when the backlog is out.
    pub(super) fn look_at_drain(&self, gone: Option<Gone>, now: Instant) {
        let is_empty = self.ledger.borrow().is_empty();
        let mut drain = self.drain.borrow_mut();
        if let Some(drained) = drain.as_mut().and_then(|drain| drain.look(gone, is_empty, now)) {
            *drain = None;
            self.backlog_said.set(None);
            log::info!(
                GATEWIRE_EVENT = "backlog_sent", GATEWIRE_COUNT = drained.messages;
                "the backlog is out: {} in {:.0?}", count(drained.messages, "message"), drained.took
            );
        }
    }

    /// The session is established: QoS 0 messages are taken too, and what waited goes out.
    pub(crate) fn link_up(&self) {
        let mut ledger = self.ledger.borrow_mut();
        ledger.link_up();
        let waiting = ledger.waiting() + ledger.in_flight() as u64;
        let drain = Drain::begin(ledger.next_sequence(), waiting, time::now());
        if let Some(drain) = drain.as_ref().filter(|drain| self.is_news(drain)) {
            let oldest = ledger.oldest().map_or_else(String::new, |at| format!(", the oldest from {at:.0}"));
            log::info!(
                GATEWIRE_EVENT = "backlog", GATEWIRE_COUNT = drain.messages();
                "{} for IoT Core{oldest}: they are sent first, in order, at the rate of [connection] rate_limit",
                count_that(drain.messages(), "message", "waits", "wait")
            );
        }
        drop(ledger);
        *self.drain.borrow_mut() = drain;
        self.gate.borrow_mut().change_link(|link| link.restart(source::now()));
        self.let_in();
        self.connected.notify();
    }

    /// The network takes so many bytes a second, `None` for more than enough; it `has_moved`: some of what was written has arrived.
    pub(crate) fn link_moves(&self, bytes_per_second: Option<u64>, has_moved: bool) {
        self.gate.borrow_mut().change_link(|link| link.link_moves(bytes_per_second, has_moved, source::now()));
        self.let_in();
    }

    /// The connection is gone: QoS 0 messages that weren't written are given up, QoS 1 messages stay.
    pub(crate) fn link_down(&self) {
        self.ledger.borrow_mut().link_down();
        *self.drain.borrow_mut() = None;
        self.settle_dropped();
        self.let_in();
        self.reminder.now();
    }

    /// Something holds messages back, or does no longer.
    pub(crate) fn set_held(&self, held: Option<HeldStatus>) {
        *self.held.borrow_mut() = held;
    }

    /// What holds messages back; of several, what holds all of them.
    pub(crate) fn held(&self) -> Option<HeldStatus> {
        self.held.borrow().clone().or_else(|| self.held_back.borrow().clone())
    }

    /// What isn't urgent waits from now on as if there were no link, for this reason; or no longer. How many messages that are.
    pub(crate) fn hold_what_is_not_urgent(&self, why: Option<HeldStatus>) -> u64 {
        self.ledger.borrow_mut().hold_others(why.is_some());
        *self.held_back.borrow_mut() = why;
        self.settle_dropped();
        self.let_in();
        self.reminder.now();
        self.arrived.notify();
        self.ledger.borrow().waiting_like(false)
    }

    /// When the server is asked again.
    pub(crate) fn held_until(&self, at: Option<Timestamp>) {
        if let Some(held) = &mut *self.held.borrow_mut() {
            held.next_attempt = at.map(Rfc3339);
        }
    }
}
