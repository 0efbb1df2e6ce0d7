//! QoS 1 messages that were sent and aren't acknowledged.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::patience::Awaited;
use crate::message::{Condition, Outbound, Sequence, Topic, Traits};
use crate::mqtt::wire::PacketIdentifier;

/// The window of unacknowledged publications: those that were sent in the server's session in the order of their first transmission
/// there, in which they have to go again (`MQTT-4.6.0-1`).
#[derive(Debug, Default)]
pub(super) struct InFlight {
    entries: VecDeque<InFlightMessage>,
    /// How many of the entries wait to be sent again.
    unsent: usize,
    /// No acknowledgement can be overdue before this. `None`: nothing is waited for.
    check_at: Option<Instant>,
}

#[derive(Debug)]
struct InFlightMessage {
    sequence: Sequence,
    message: Outbound,
    id: PacketIdentifier,
    /// Its last transmission on this connection; `None`: it waits to be sent again.
    sent: Option<Awaited>,
    /// The next transmission repeats one (`MQTT-3.3.1-1`).
    dup: bool,
    /// It was sent with its packet identifier in the server's session, which may know it.
    is_known: bool,
}

/// A message that the server has.
#[derive(Debug)]
pub(super) struct Acknowledged {
    pub(super) sequence: Sequence,
    pub(super) traits: Traits,
    /// Its last transmission; `None` if it was to be sent again.
    pub(super) sent: Option<Awaited>,
    pub(super) dup: bool,
}

impl InFlight {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn uses(&self, id: PacketIdentifier) -> bool {
        self.entries.iter().any(|entry| entry.id == id)
    }

    /// Of the message with this identifier.
    pub(super) fn topic_of(&self, id: PacketIdentifier) -> Option<&Topic> {
        self.entries.iter().find(|entry| entry.id == id).map(|entry| &entry.message.topic)
    }

    pub(super) fn contains(&self, sequence: Sequence) -> bool {
        self.entries.iter().any(|entry| entry.sequence == sequence)
    }

    /// A message has been written for the first time.
    pub(super) fn push(
        &mut self,
        sequence: Sequence,
        message: Outbound,
        id: PacketIdentifier,
        sent: Awaited,
        ack_timeout: Duration,
    ) {
        self.entries.push_back(InFlightMessage { sequence, message, id, sent: Some(sent), dup: false, is_known: true });
        self.check_at.get_or_insert(sent.since() + ack_timeout);
    }

    /// What ends at `place` has been written or answered ([`Awaited::moved`]).
    pub(super) fn moved(&mut self, place: u64, now: Instant) {
        self.entries.iter_mut().filter_map(|entry| entry.sent.as_mut()).for_each(|sent| sent.moved(place, now));
    }

    /// Bytes of topics and payloads that are on the wire.
    pub(super) fn size_on_the_wire(&self) -> usize {
        self.entries.iter().filter(|entry| entry.sent.is_some()).map(|entry| entry.message.size()).sum()
    }

    /// How many are on the wire: sent on this connection and not acknowledged.
    pub(super) fn on_the_wire(&self) -> usize {
        self.entries.len() - self.unsent
    }

    /// The server has acknowledged `id`: `None` if we don't wait for it.
    pub(super) fn acknowledge(&mut self, id: PacketIdentifier) -> Option<Acknowledged> {
        let index = self.entries.iter().position(|entry| entry.id == id)?;
        match self.entries[index].sent {
            Some(_) => {}
            // It comes late, for the transmission before: the server has it all the same.
            None if self.entries[index].dup => self.unsent -= 1,
            // A new session of the server can't know it yet.
            None => return None,
        }
        let entry = self.entries.remove(index)?;
        self.rest_if_unsent();
        let InFlightMessage { sequence, message, sent, dup, .. } = entry;
        Some(Acknowledged { sequence, traits: message.traits(), sent, dup })
    }

    /// Without anything on the wire nothing can be overdue.
    fn rest_if_unsent(&mut self) {
        if self.entries.len() == self.unsent {
            self.check_at = None;
        }
    }

    /// The server has refused `id` for now: its message is to be sent once more, as a new packet with the identifier `fresh`.
    /// `None` if we don't wait for it.
    pub(super) fn send_anew(&mut self, id: PacketIdentifier, fresh: PacketIdentifier) -> Option<Traits> {
        let entry = self.entries.iter_mut().find(|entry| entry.id == id)?;
        self.unsent += usize::from(entry.sent.take().is_some());
        (entry.id, entry.dup, entry.is_known) = (fresh, false, false);
        let traits = entry.message.traits();
        self.rest_if_unsent();
        Some(traits)
    }

    /// Forgets the messages that `go` back to where they waited; returns which those are, in order.
    pub(super) fn take_back(&mut self, go: impl Fn(&Traits) -> bool) -> Vec<Sequence> {
        let (taken, rest): (VecDeque<InFlightMessage>, VecDeque<InFlightMessage>) =
            self.entries.drain(..).partition(|entry| go(&entry.message.traits()));
        self.entries = rest;
        self.unsent -= taken.iter().filter(|entry| entry.sent.is_none()).count();
        self.rest_if_unsent();
        taken.into_iter().map(|entry| entry.sequence).collect()
    }

    /// Forgets the message on the wire that meets a condition.
    pub(super) fn take_on_the_wire(&mut self, condition: &Condition) -> Option<(Sequence, Traits)> {
        let meets = |entry: &InFlightMessage| entry.sent.is_some() && condition.matches(&entry.message.traits());
        let entry = self.entries.iter().position(meets).and_then(|index| self.entries.remove(index))?;
        self.rest_if_unsent();
        Some((entry.sequence, entry.message.traits()))
    }

    /// When to look for overdue acknowledgements.
    pub(super) fn check_at(&self) -> Option<Instant> {
        self.check_at
    }

    /// The topic of the message whose acknowledgement is overdue the longest.
    pub(super) fn overdue(&self, now: Instant, ack_timeout: Duration) -> Option<&Topic> {
        let on_the_wire = self.entries.iter().filter_map(|entry| Some((entry.sent?.since(), &entry.message.topic)));
        let (since, topic) = on_the_wire.min_by_key(|(since, _)| *since)?;
        (since + ack_timeout <= now).then_some(topic)
    }

    /// Marks what has waited for `ack_timeout` to be sent again with DUP; returns how many those are.
    pub(super) fn mark_overdue(&mut self, now: Instant, ack_timeout: Duration) -> usize {
        let mut overdue = 0;
        let mut earliest: Option<Instant> = None;
        for entry in &mut self.entries {
            let Some(sent) = entry.sent else { continue };
            let due = sent.since() + ack_timeout;
            if due <= now {
                entry.sent = None;
                entry.dup = true;
                overdue += 1;
            } else {
                earliest = Some(earliest.map_or(due, |instant| instant.min(due)));
            }
        }
        self.unsent += overdue;
        self.check_at = earliest;
        overdue
    }

    /// A connection is established: all goes again, in order. With the server's session present what was sent in it is a duplicate with
    /// its old packet identifier (`MQTT-4.4.0-1`), without it the server has never seen them, and their order is that of acceptance,
    /// of what is urgent first.
    pub(super) fn restart(&mut self, session_present: bool) {
        for entry in &mut self.entries {
            entry.sent = None;
            entry.is_known &= session_present;
            entry.dup = entry.is_known;
        }
        if !session_present {
            self.entries.make_contiguous().sort_by_key(|entry| (!entry.message.urgent, entry.sequence));
        }
        self.unsent = self.entries.len();
        self.check_at = None;
    }

    /// The message to send again next, and whether it goes with DUP.
    pub(super) fn next_unsent(&self) -> Option<(&Outbound, bool)> {
        (self.unsent > 0)
            .then(|| self.entries.iter().find(|entry| entry.sent.is_none()))?
            .map(|entry| (&entry.message, entry.dup))
    }

    /// Whether an urgent message has to be sent again.
    pub(super) fn has_unsent_urgent(&self) -> bool {
        self.unsent > 0 && self.entries.iter().any(|entry| entry.sent.is_none() && entry.message.urgent)
    }

    /// Forgets the message to send again next.
    pub(super) fn give_up_next(&mut self) -> Option<(Sequence, Traits)> {
        let index = self.entries.iter().position(|entry| entry.sent.is_none())?;
        let entry = self.entries.remove(index)?;
        self.unsent -= 1;
        Some((entry.sequence, entry.message.traits()))
    }

    /// The message to send again next, with its packet identifier and DUP.
    pub(super) fn resend(&self) -> Option<(&Outbound, PacketIdentifier, bool)> {
        let entry = self.entries.iter().find(|entry| entry.sent.is_none())?;
        Some((&entry.message, entry.id, entry.dup))
    }

    /// It is in the output.
    pub(super) fn resent(&mut self, sent: Awaited, ack_timeout: Duration) {
        let Some(index) = self.entries.iter().position(|entry| entry.sent.is_none()) else { return };
        let Some(entry) = self.entries.remove(index) else { return };
        // As a new packet it comes behind those that the server's session may know.
        let last_known = || self.entries.iter().rposition(|entry| entry.is_known).map_or(index, |last| last + 1);
        let place = if entry.is_known { index } else { last_known() };
        self.entries.insert(place, InFlightMessage { sent: Some(sent), is_known: true, ..entry });
        self.unsent -= 1;
        self.check_at.get_or_insert(sent.since() + ack_timeout);
    }

    /// What is on the wire now, the last sent last.
    pub(super) fn on_the_wire_traits(&self) -> impl Iterator<Item = Traits> {
        self.entries.iter().filter(|entry| entry.sent.is_some()).map(|entry| entry.message.traits())
    }
}
