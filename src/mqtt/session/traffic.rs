//! Which bytes are for what, for who counts them on the network. Pure.
//!
//! The session knows what each packet is for, and how many bytes it has; what TLS makes of them is known only below it, for all
//! together. So packets are weights, by which the bytes of the network are shared out.

use std::fmt;
use std::rc::Rc;

use super::Session;
use crate::message::Topic;
use crate::mqtt::wire::Received;

/// What bytes are for: a number of who counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Label(pub(crate) u16);

impl Label {
    /// To make a connection and to end it: CONNECT, CONNACK, the birth, DISCONNECT.
    pub(crate) const CONNECTION: Label = Label(0);
    /// PINGREQ and PINGRESP.
    pub(crate) const KEEP_ALIVE: Label = Label(1);
    /// SUBSCRIBE and UNSUBSCRIBE, with their answers.
    pub(crate) const SUBSCRIBE: Label = Label(2);

    fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Says what messages are for.
pub(crate) trait Labels: fmt::Debug {
    /// One that is published to `topic`, and its PUBACK.
    fn sent(&self, topic: &Topic) -> Label;

    /// One that has come on `topic`, and its PUBACK.
    fn received(&self, topic: &Topic) -> Label;
}

/// The most that TLS adds to a record: 5 of header, with TLS 1.2 as much as an IV, a MAC and padding of 16 to 48 bytes each.
const MOST_OVERHEAD: u64 = 96;

/// Bytes of packets one way, by what they are for.
#[derive(Debug, Default)]
pub(crate) struct Weights {
    by_label: Vec<u64>,
    total: u64,
    /// How many packets these are of.
    packets: u64,
}

impl Weights {
    pub(crate) fn add(&mut self, label: Label, bytes: usize) {
        if bytes == 0 {
            return;
        }
        if self.by_label.len() <= label.index() {
            self.by_label.resize(label.index() + 1, 0);
        }
        self.by_label[label.index()] += bytes as u64;
        self.total += bytes as u64;
        self.packets += 1;
    }

    /// Shares out what the network has `carried`, and tells `to` what each label gets. Returns what is left: it belongs to packets
    /// that aren't known yet.
    ///
    /// What is less than the packets have goes to all of them, which wait for the rest. What is more than TLS can add is the
    /// beginning of something else, unless a connection begins: its certificates and tickets come with CONNECT and CONNACK.
    pub(crate) fn share(&mut self, carried: u64, mut to: impl FnMut(Label, u64)) -> u64 {
        if self.total == 0 {
            return carried;
        }
        let is_beginning = self.by_label.first().is_some_and(|weight| *weight > 0);
        let most = if is_beginning { u64::MAX } else { self.total + self.packets.saturating_mul(MOST_OVERHEAD) };
        let (given, is_whole) = (carried.min(most), carried >= self.total);
        let (mut left, mut of) = (given, self.total);
        for (label, weight) in (0..).map(Label).zip(&mut self.by_label).filter(|(_, weight)| **weight > 0) {
            let part = u64::try_from(u128::from(left) * u128::from(*weight) / u128::from(of)).unwrap_or(left);
            (left, of) = (left - part, of - *weight);
            *weight = if is_whole { 0 } else { weight.saturating_sub(part) };
            to(label, part);
        }
        if is_whole {
            (self.total, self.packets) = (0, 0);
        } else {
            self.total = self.by_label.iter().sum();
        }
        carried - given
    }

    /// Likewise, where nothing more comes: what is left is the connection's.
    pub(crate) fn share_all(&mut self, carried: u64, mut to: impl FnMut(Label, u64)) {
        let left = self.share(carried, &mut to);
        if left > 0 {
            to(Label::CONNECTION, left);
        }
        self.forget();
    }

    fn forget(&mut self) {
        self.by_label.fill(0);
        (self.total, self.packets) = (0, 0);
    }
}

/// What was put into the output and taken out of the input since it was shared out.
#[derive(Debug)]
pub(crate) struct Traffic {
    labels: Rc<dyn Labels>,
    pub(crate) sent: Weights,
    pub(crate) received: Weights,
    /// Bytes of a packet of which only a part was taken out of the input.
    come: usize,
}

impl Session {
    /// Has it noted from now on what bytes are for, or no longer.
    pub(crate) fn label_by(&mut self, labels: Option<Rc<dyn Labels>>) {
        let of = |labels| Traffic { labels, sent: Weights::default(), received: Weights::default(), come: 0 };
        match (&self.traffic, &labels) {
            (Some(traffic), Some(labels)) if std::ptr::addr_eq(Rc::as_ptr(&traffic.labels), Rc::as_ptr(labels)) => {}
            _ => self.traffic = labels.map(of),
        }
    }

    pub(crate) fn traffic(&mut self) -> Option<&mut Traffic> {
        self.traffic.as_mut()
    }

    /// What the output has beyond `before` was for this.
    pub(super) fn put(&mut self, label: Label, before: usize) {
        if let Some(traffic) = &mut self.traffic {
            traffic.sent.add(label, self.output.len().saturating_sub(before));
        }
    }

    /// Likewise, for a message to `topic`.
    pub(super) fn put_message(&mut self, topic: &Topic, before: usize) {
        if let Some(traffic) = &mut self.traffic {
            let label = traffic.labels.sent(topic);
            traffic.sent.add(label, self.output.len().saturating_sub(before));
        }
    }

    /// What a message on `topic` that has come is for, if that is noted.
    pub(super) fn label_of_received(&self, topic: &Topic) -> Label {
        self.traffic.as_ref().map_or(Label::default(), |traffic| traffic.labels.received(topic))
    }

    /// So many bytes were taken out of the input, and this packet with the last of them, if there was one.
    pub(super) fn note_taken(&mut self, bytes: usize, packet: Option<&Received>) {
        let Some(traffic) = &mut self.traffic else { return };
        traffic.come += bytes;
        let Some(packet) = packet else { return };
        let label = match packet {
            Received::Publish(publish) => traffic.labels.received(&publish.head.topic),
            Received::TooLarge(publish) => traffic.labels.received(&publish.head.topic),
            Received::Unreadable(publish) => traffic.labels.received(&publish.head.topic),
            Received::PubAck(id, _) => {
                self.in_flight.topic_of(*id).map_or(Label::CONNECTION, |topic| traffic.labels.sent(topic))
            }
            Received::SubAck(..) | Received::UnsubAck(_) => Label::SUBSCRIBE,
            Received::PingResp => Label::KEEP_ALIVE,
            _ => Label::CONNECTION,
        };
        let bytes = std::mem::take(&mut traffic.come);
        if bytes > 0 {
            traffic.received.add(label, bytes);
        }
    }

    /// The connection has ended: what wasn't shared out isn't any more.
    pub(super) fn forget_traffic(&mut self) {
        if let Some(Traffic { sent, received, come, .. }) = &mut self.traffic {
            sent.forget();
            received.forget();
            *come = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What each label gets, and what is left.
    fn shared(weights: &mut Weights, carried: u64) -> (Vec<u64>, u64) {
        let mut parts = vec![0; 8];
        let left = weights.share(carried, |label, part| parts[label.index()] += part);
        (parts, left)
    }

    #[test]
    fn what_tls_adds_is_shared_by_size() {
        let mut weights = Weights::default();
        weights.add(Label(3), 300);
        weights.add(Label(4), 100);
        // Two records.
        let (parts, left) = shared(&mut weights, 444);
        assert_eq!((parts[3], parts[4], left), (333, 111, 0));
        assert_eq!(shared(&mut weights, 24), (vec![0; 8], 24), "nothing is known that it could be for");
    }

    #[test]
    fn a_packet_gets_what_is_left_of_it_later() {
        let mut weights = Weights::default();
        weights.add(Label(3), 1000);
        assert_eq!(shared(&mut weights, 400).0[3], 400);
        weights.add(Label::KEEP_ALIVE, 2);
        let (parts, left) = shared(&mut weights, 646);
        assert_eq!((parts[3] + parts[1], left), (646, 0));
        assert!(parts[3] >= 600, "{parts:?}");
    }

    #[test]
    fn the_beginning_of_a_large_message_is_not_the_answers_before_it() {
        let mut weights = Weights::default();
        weights.add(Label(3), 4);
        assert_eq!(shared(&mut weights, 16_000).1, 16_000 - 4 - MOST_OVERHEAD);
        // A connection's own are certificates and tickets.
        weights.add(Label::CONNECTION, 4);
        assert_eq!(shared(&mut weights, 5000).0[0], 5000);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_counted_twice(
            steps in proptest::collection::vec((0..8_u16, 0..20_000_usize, 0..40_000_u64), 1..60)
        ) {
            let (mut weights, mut carried, mut shared_out, mut left) = (Weights::default(), 0, 0, 0);
            for (label, size, more) in steps {
                weights.add(Label(label), size);
                carried += more;
                left = weights.share(left + more, |_, part| shared_out += part);
                prop_assert_eq!(carried, shared_out + left);
                prop_assert_eq!(weights.total, weights.by_label.iter().sum::<u64>());
            }
            weights.share_all(left, |_, part| shared_out += part);
            prop_assert_eq!((carried, weights.total), (shared_out, 0));
        }
    }
}
