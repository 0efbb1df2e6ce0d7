//! What the server keeps of a client from one connection to the next.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::ConnectionId;
use super::behaviour::Overlap;
use crate::mqtt::Protocol;
use crate::simulation::server::judge::SentByClient;
use crate::simulation::server::matches;

/// Whose session. Those of MQTT 3.1.1 and MQTT 5 don't interchange.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionKey {
    pub(super) client_id: String,
    is_5: bool,
}

impl SessionKey {
    pub(super) fn new(client_id: &str, protocol: Protocol) -> SessionKey {
        SessionKey { client_id: client_id.to_owned(), is_5: protocol == Protocol::Mqtt5 }
    }
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) subscriptions: BTreeMap<String, Subscription>,
    /// Sent with QoS 1 and not acknowledged, in the order of first transmission.
    pub(super) in_flight: VecDeque<InFlight>,
    /// With QoS 1, and not sent yet.
    pub(super) queue: VecDeque<MessageCopy>,
    next_id: u16,
    pub(super) client: SentByClient,
    /// The connection that is established with it.
    pub(super) active: Option<ConnectionId>,
    /// How long it lives without one.
    pub(super) expiry: Duration,
    /// When it ends, without one.
    pub(super) ends_at: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) qos: u8,
    pub(super) identifier: Option<u32>,
}

/// A message for one subscription, or for several at once.
#[derive(Debug, Clone)]
pub(super) struct MessageCopy {
    /// Which of [`Cloud::offered`](super::Cloud::offered).
    pub(super) message: usize,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) identifiers: Vec<u32>,
    pub(super) expires_at: Option<Instant>,
    /// The client was away when it came.
    pub(super) is_stored: bool,
}

#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) id: u16,
    pub(super) copy: MessageCopy,
    /// Where it was sent last.
    pub(super) on: ConnectionId,
}

impl Session {
    pub(super) fn new() -> Session {
        Session {
            subscriptions: BTreeMap::new(),
            in_flight: VecDeque::new(),
            queue: VecDeque::new(),
            next_id: 1,
            client: SentByClient::default(),
            active: None,
            expiry: Duration::ZERO,
            ends_at: None,
        }
    }

    /// An identifier that isn't in use (`MQTT-2.2.1-4`).
    pub(super) fn allocate(&mut self, is_used: impl Fn(u16) -> bool) -> u16 {
        loop {
            let id = self.next_id;
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            if !is_used(id) && !self.in_flight.iter().any(|sent| sent.id == id) {
                return id;
            }
        }
    }

    /// The copies that a message on `topic` has, each with its highest QoS and its identifiers.
    pub(super) fn copies(&self, topic: &str, overlap: Overlap, hash_matches_parent: bool) -> Vec<(u8, Vec<u32>)> {
        let matching = self.subscriptions.iter().filter(|(filter, _)| matches(filter, topic, hash_matches_parent));
        let (shared, own): (Vec<_>, Vec<_>) = matching.partition(|(filter, _)| filter.starts_with("$share/"));
        let each = |(_, subscription): (&String, &Subscription)| {
            (subscription.qos, subscription.identifier.into_iter().collect::<Vec<u32>>())
        };
        let mut copies: Vec<(u8, Vec<u32>)> = own.into_iter().map(each).collect();
        if overlap != Overlap::ForEach && copies.len() > 1 {
            let qos = copies.iter().map(|(qos, _)| *qos).max().unwrap_or(0);
            let mut identifiers: Vec<u32> = copies.into_iter().flat_map(|(_, identifiers)| identifiers).collect();
            if overlap == Overlap::WithFirst {
                identifiers.truncate(1);
            }
            copies = vec![(qos, identifiers)];
        }
        copies.extend(shared.into_iter().map(each));
        copies
    }
}
