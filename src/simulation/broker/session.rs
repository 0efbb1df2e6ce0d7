//! What the broker keeps of its client, and of one connection.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::mqtt::Protocol;
use crate::simulation::server::behaviour::Announced;
use crate::simulation::server::heard::Connect;
use crate::simulation::server::judge::{CameHere, SentByClient, SentToClient};
use crate::simulation::server::{ConnectionId, Downlink, matches};

#[derive(Debug)]
pub(super) struct Connection {
    /// What came and isn't a whole packet yet.
    pub(super) input: Vec<u8>,
    pub(super) phase: Phase,
    pub(super) last_received: Instant,
}

#[derive(Debug)]
pub(super) enum Phase {
    Opened,
    /// CONNACK is on its way out, or never comes.
    Connecting(Box<Connect>),
    Connected(Box<Established>),
    /// The client has said DISCONNECT.
    Departed,
}

/// What holds from CONNACK on.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) connect: Connect,
    pub(super) announced: Announced,
    pub(super) is_new_session: bool,
    pub(super) came: CameHere,
    pub(super) sent: SentToClient,
    /// When the last acknowledgement is due: the next comes no earlier.
    pub(super) last_ack: Instant,
}

impl Connection {
    pub(super) fn new(now: Instant) -> Connection {
        Connection { input: Vec::new(), phase: Phase::Opened, last_received: now }
    }

    pub(super) fn protocol(&self) -> Option<Protocol> {
        match &self.phase {
            Phase::Connecting(connect) => Some(connect.protocol),
            Phase::Connected(established) => Some(established.connect.protocol),
            Phase::Opened | Phase::Departed => None,
        }
    }

    pub(super) fn established(&mut self) -> Option<&mut Established> {
        match &mut self.phase {
            Phase::Connected(established) => Some(established),
            _ => None,
        }
    }

    /// When something must have come at the latest.
    pub(super) fn silent_until(&self) -> Option<Instant> {
        let Phase::Connected(established) = &self.phase else { return None };
        let keep_alive = Duration::from_secs(established.connect.keep_alive.into());
        (keep_alive > Duration::ZERO).then(|| self.last_received + keep_alive * 3 / 2)
    }
}

#[derive(Debug, Default)]
pub(super) struct Session {
    /// By filter, with the options.
    pub(super) subscriptions: BTreeMap<String, Subscription>,
    /// Sent with QoS 1 and not acknowledged, in the order of first transmission.
    pub(super) in_flight: VecDeque<InFlight>,
    /// With QoS 1, and not sent yet.
    pub(super) queue: VecDeque<MessageCopy>,
    last_id: u16,
    pub(super) client: SentByClient,
    pub(super) active: Option<ConnectionId>,
}

#[derive(Debug, Clone)]
pub(super) struct Subscription {
    pub(super) options: u8,
    pub(super) identifier: Option<u32>,
    /// What was granted.
    pub(super) qos: u8,
}

impl Subscription {
    fn is_no_local(&self) -> bool {
        self.options & 4 != 0
    }

    fn retains_as_published(&self) -> bool {
        self.options & 8 != 0
    }
}

#[derive(Debug, Clone)]
pub(super) struct MessageCopy {
    pub(super) message: Downlink,
    /// Which of [`Broker::published`](super::Broker::published), if a device has published it.
    pub(super) place: Option<usize>,
    pub(super) identifiers: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) id: u16,
    pub(super) copy: MessageCopy,
    /// Where it was sent last.
    pub(super) on: ConnectionId,
}

impl Session {
    /// An identifier that isn't in use.
    pub(super) fn allocate(&mut self, is_used: impl Fn(u16) -> bool) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            let id = self.last_id;
            if !is_used(id) && !self.in_flight.iter().any(|sent| sent.id == id) {
                return id;
            }
        }
    }

    /// The copy that the client has of a message, if it is subscribed to its topic: one, whatever overlaps.
    pub(super) fn copy(&self, message: &Downlink, place: Option<usize>) -> Option<MessageCopy> {
        let matching = self.subscriptions.iter().filter(|(filter, _)| matches(filter, &message.topic, true));
        let is_own = place.is_none();
        let matching: Vec<&Subscription> =
            matching.map(|(_, subscription)| subscription).filter(|it| !(is_own && it.is_no_local())).collect();
        let granted = matching.iter().map(|subscription| subscription.qos).max()?;
        let retain = message.retain && matching.iter().any(|subscription| subscription.retains_as_published());
        let identifiers = matching.iter().filter_map(|subscription| subscription.identifier).collect();
        let message = Downlink { qos: message.qos.min(granted), retain, ..message.clone() };
        Some(MessageCopy { message, place, identifiers })
    }
}
