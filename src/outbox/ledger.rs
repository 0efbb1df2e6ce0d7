//! Which messages wait, which are in flight, which may be forgotten. Pure: no I/O, no clock.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::config::WhenFull;
use crate::message::{Outbound, Qos};

/// The place of a message in the order of acceptance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sequence(u64);

impl Sequence {
    pub(crate) fn new(n: u64) -> Sequence {
        Sequence(n)
    }
}

/// Bytes of memory that a message takes beside its topic and payload, counted against the bound.
pub(crate) const ENTRY_OVERHEAD: u64 = 192;

/// The outbox holds all it may, and none of it may give way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// What is known of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// The daemon has just started: the first attempt hasn't ended yet.
    Coming,
    Up,
    Down,
}

/// The messages of the outbox. `W` is who waits for the outcome of one.
#[derive(Debug)]
pub(crate) struct Ledger<W> {
    /// Accepted and not yet handed to the link, in order.
    waiting: VecDeque<Entry<W>>,
    /// Handed to the link and not yet settled, in order. The link's window bounds it.
    in_flight: VecDeque<Entry<W>>,
    next_sequence: u64,
    /// Topics and payloads of both.
    bytes: u64,
    /// Those of `in_flight` alone.
    in_flight_bytes: u64,
    max_bytes: u64,
    when_full: WhenFull,
    link: Link,
}

#[derive(Debug)]
struct Entry<W> {
    sequence: Sequence,
    message: Outbound,
    accepted_at: Timestamp,
    waiter: W,
}

impl<W> Entry<W> {
    fn size(&self) -> u64 {
        self.message.size() as u64
    }
}

impl<W> Ledger<W> {
    /// An empty ledger that holds at most `max_bytes` of topics, payloads and overhead.
    pub(crate) fn new(max_bytes: u64, when_full: WhenFull) -> Ledger<W> {
        Ledger {
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            next_sequence: 0,
            bytes: 0,
            in_flight_bytes: 0,
            max_bytes,
            when_full,
            link: Link::Coming,
        }
    }

    /// Adds a message behind the others. Returns who waited for the messages that had to give way: the oldest that the link
    /// hasn't got yet. What is in flight never gives way, it may have been delivered already.
    pub(crate) fn accept(&mut self, message: Outbound, waiter: W, now: Timestamp) -> Result<Vec<W>, Full> {
        let needed = message.size() as u64 + ENTRY_OVERHEAD;
        let mut dropped = Vec::new();
        if self.memory() + needed > self.max_bytes {
            let unmovable = self.in_flight_bytes + ENTRY_OVERHEAD * self.in_flight.len() as u64;
            if self.when_full == WhenFull::RejectNew || unmovable + needed > self.max_bytes {
                return Err(Full);
            }
            while self.memory() + needed > self.max_bytes
                && let Some(oldest) = self.waiting.pop_front()
            {
                self.bytes -= oldest.size();
                dropped.push(oldest.waiter);
            }
        }
        self.bytes += message.size() as u64;
        let sequence = Sequence::new(self.next_sequence);
        self.next_sequence += 1;
        self.waiting.push_back(Entry { sequence, message, accepted_at: now, waiter });
        Ok(dropped)
    }

    fn memory(&self) -> u64 {
        self.bytes + ENTRY_OVERHEAD * (self.waiting.len() + self.in_flight.len()) as u64
    }

    /// Topic and payload bytes of the message that [`take`](Self::take) would give.
    pub(crate) fn next_size(&self) -> Option<usize> {
        self.waiting.front().map(|entry| entry.message.size())
    }

    /// Hands the oldest waiting message to the link.
    pub(crate) fn take(&mut self) -> Option<(Sequence, Outbound)> {
        let entry = self.waiting.pop_front()?;
        self.in_flight_bytes += entry.size();
        let taken = (entry.sequence, entry.message.clone());
        self.in_flight.push_back(entry);
        Some(taken)
    }

    /// Forgets a message that the link had, and returns who waited for it; `None` if it is forgotten already.
    pub(crate) fn remove(&mut self, sequence: Sequence) -> Option<W> {
        let index = self.in_flight.binary_search_by_key(&sequence, |entry| entry.sequence).ok()?;
        let entry = self.in_flight.remove(index)?;
        self.bytes -= entry.size();
        self.in_flight_bytes -= entry.size();
        Some(entry.waiter)
    }

    pub(crate) fn link(&self) -> Link {
        self.link
    }

    pub(crate) fn link_up(&mut self) {
        self.link = Link::Up;
    }

    /// The connection is gone. QoS 0 messages are forgotten, those who waited for them are returned. QoS 1 messages that
    /// were in flight stay so: the session sends them again.
    pub(crate) fn link_down(&mut self) -> Vec<W> {
        self.link = Link::Down;
        let mut dropped = Vec::new();
        for queue in [&mut self.in_flight, &mut self.waiting] {
            if queue.iter().all(|entry| entry.message.qos == Qos::AtLeastOnce) {
                continue;
            }
            for entry in std::mem::take(queue) {
                match entry.message.qos {
                    Qos::AtLeastOnce => queue.push_back(entry),
                    Qos::AtMostOnce => {
                        self.bytes -= entry.message.size() as u64;
                        dropped.push(entry.waiter);
                    }
                }
            }
        }
        self.in_flight_bytes = self.in_flight.iter().map(Entry::size).sum();
        dropped
    }

    /// Empties the ledger.
    pub(crate) fn drain(&mut self) -> Vec<W> {
        self.bytes = 0;
        self.in_flight_bytes = 0;
        self.in_flight.drain(..).chain(self.waiting.drain(..)).map(|entry| entry.waiter).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.in_flight.front().or(self.waiting.front()).map(|entry| entry.accepted_at)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::message::Topic;

    fn message(size: usize, qos: Qos) -> Outbound {
        let topic = Topic::new("t").unwrap();
        Outbound { topic, payload: Bytes::from(vec![b'x'; size - 1]), qos, retain: false, properties: None }
    }

    fn qos1(size: usize) -> Outbound {
        message(size, Qos::AtLeastOnce)
    }

    /// A ledger with room for exactly `n` messages of 100 bytes.
    fn with_room_for(n: u64, when_full: WhenFull) -> Ledger<u32> {
        Ledger::new(n * (100 + ENTRY_OVERHEAD), when_full)
    }

    fn accept(ledger: &mut Ledger<u32>, waiter: u32) -> Result<Vec<u32>, Full> {
        ledger.accept(qos1(100), waiter, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn messages_leave_in_the_order_they_came() {
        let mut ledger = with_room_for(10, WhenFull::DropOldest);
        for waiter in 0..5 {
            accept(&mut ledger, waiter).unwrap();
        }
        let taken: Vec<Sequence> = std::iter::from_fn(|| ledger.take()).map(|(sequence, _)| sequence).collect();
        assert!(taken.is_sorted());
        assert_eq!((ledger.waiting(), ledger.in_flight()), (0, 5));
        for (waiter, sequence) in [3, 0, 4, 1, 2].map(|i| (i as u32, taken[i])) {
            assert_eq!(ledger.remove(sequence), Some(waiter));
            assert_eq!(ledger.remove(sequence), None);
        }
        assert!(ledger.is_empty());
        assert_eq!(ledger.bytes(), 0);
    }

    #[test]
    fn a_full_outbox_drops_the_oldest_waiting_and_nothing_in_flight() {
        let mut ledger = with_room_for(3, WhenFull::DropOldest);
        for waiter in 0..3 {
            assert_eq!(accept(&mut ledger, waiter), Ok(vec![]));
        }
        ledger.take();
        assert_eq!(accept(&mut ledger, 3), Ok(vec![1]));
        ledger.take();
        ledger.take();
        assert_eq!(accept(&mut ledger, 4), Err(Full));
        assert_eq!(ledger.in_flight(), 3);
    }

    #[test]
    fn a_message_that_can_never_fit_drops_nothing() {
        let mut ledger = with_room_for(3, WhenFull::DropOldest);
        accept(&mut ledger, 0).unwrap();
        assert_eq!(ledger.accept(qos1(5000), 1, Timestamp::UNIX_EPOCH), Err(Full));
        assert_eq!(ledger.waiting(), 1);
    }

    #[test]
    fn reject_new_keeps_what_it_has() {
        let mut ledger = with_room_for(2, WhenFull::RejectNew);
        accept(&mut ledger, 0).unwrap();
        accept(&mut ledger, 1).unwrap();
        assert_eq!(accept(&mut ledger, 2), Err(Full));
        assert_eq!(ledger.waiting(), 2);
    }

    #[test]
    fn a_lost_link_gives_up_qos_0_and_keeps_qos_1() {
        let mut ledger = with_room_for(10, WhenFull::DropOldest);
        ledger.link_up();
        for waiter in 0..6 {
            let qos = if waiter % 2 == 0 { Qos::AtMostOnce } else { Qos::AtLeastOnce };
            ledger.accept(message(100, qos), waiter, Timestamp::UNIX_EPOCH).unwrap();
        }
        ledger.take();
        ledger.take();
        assert_eq!(ledger.link_down(), vec![0, 2, 4]);
        assert_eq!((ledger.in_flight(), ledger.waiting(), ledger.bytes()), (1, 2, 300));
        assert_eq!(ledger.link(), Link::Down);
    }
}
