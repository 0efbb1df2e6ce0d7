//! One connection of the client.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::behaviour::Announced;
use super::session::SessionKey;
use crate::mqtt::Protocol;
use crate::simulation::server::heard::Connect;
use crate::simulation::server::judge::{CameHere, Pace, SentToClient};

#[derive(Debug)]
pub(super) struct Connection {
    /// What came and isn't a whole packet yet.
    pub(super) input: Vec<u8>,
    pub(super) phase: Phase,
    pub(super) last_received: Instant,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// CONNECT hasn't come.
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
    pub(super) key: SessionKey,
    pub(super) announced: Announced,
    pub(super) keep_alive: Duration,
    pub(super) is_new_session: bool,
    pub(super) came: CameHere,
    pub(super) sent: SentToClient,
    /// SUBSCRIBE and UNSUBSCRIBE without answer, with what they asked for.
    pub(super) requests: BTreeMap<u16, Vec<String>>,
    /// So many packets more, and the server closes.
    pub(super) packets_left: Option<u32>,
    /// When the last acknowledgement is due: in order, the next comes no earlier.
    pub(super) last_ack: Instant,
    /// The topics for which numbers stand.
    pub(super) aliases: BTreeMap<u16, String>,
    /// When the next message may go that was stored.
    pub(super) next_stored: Instant,
    /// Of what isn't discarded.
    pub(super) pace: Pace,
}

impl Connection {
    pub(super) fn new(now: Instant) -> Connection {
        Connection { input: Vec::new(), phase: Phase::Opened, last_received: now }
    }

    pub(super) fn connect(&self) -> Option<&Connect> {
        match &self.phase {
            Phase::Connecting(connect) => Some(connect),
            Phase::Connected(established) => Some(&established.connect),
            Phase::Opened | Phase::Departed => None,
        }
    }

    pub(super) fn protocol(&self) -> Option<Protocol> {
        Some(self.connect()?.protocol)
    }

    pub(super) fn established(&mut self) -> Option<&mut Established> {
        match &mut self.phase {
            Phase::Connected(established) => Some(established),
            _ => None,
        }
    }

    /// When something must have come at the latest (`MQTT-3.1.2-24` of 3.1.1, `MQTT-3.1.2-22` of 5).
    pub(super) fn silent_until(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Connected(established) => Some(self.last_received + established.keep_alive * 3 / 2),
            _ => None,
        }
    }
}
