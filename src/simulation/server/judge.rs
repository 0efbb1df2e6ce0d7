//! What the rules say of the order and the identifiers of QoS 1 messages, in both directions, and of rates.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use super::ConnectionId;
use super::heard::Publish;
use crate::mqtt::Protocol;

/// The QoS 1 messages that a client has sent in one session.
///
/// MQTT lets a server forget them once it has sent PUBACK. They are kept to tell one that is sent again from one that is new: the
/// client can't know of a PUBACK that was lost with its connection.
#[derive(Debug, Default)]
pub(in crate::simulation) struct SentByClient {
    known: BTreeMap<u16, Sent>,
    last_number: u64,
}

#[derive(Debug)]
struct Sent {
    digest: u64,
    /// Among all that came in the session.
    number: u64,
    /// Its first transmission came. If not, nobody knows whether that was before others' that came.
    is_first_known: bool,
    /// Where it came last.
    on: ConnectionId,
    /// There was no PUBACK.
    is_open: bool,
}

/// A client may give up a message that was refused with others, which MQTT doesn't know. So many messages later it may use the
/// identifier again.
const GIVEN_UP_AFTER: u64 = 30_000;

/// What came on one connection.
#[derive(Debug, Default)]
pub(in crate::simulation) struct CameHere {
    ids: BTreeSet<u16>,
    /// Those without PUBACK.
    open: BTreeSet<u16>,
    /// The number of the last that was sent again after an earlier connection.
    last_resent: Option<u64>,
}

/// Where a PUBLISH has come.
#[derive(Debug, Clone, Copy)]
pub(in crate::simulation) struct Where {
    pub(in crate::simulation) connection: ConnectionId,
    pub(in crate::simulation) protocol: Protocol,
    /// The session has begun with the connection.
    pub(in crate::simulation) is_new_session: bool,
}

fn digest(publish: &Publish) -> u64 {
    let mut hasher = DefaultHasher::new();
    let message = &publish.message;
    (&message.topic, &message.payload, message.retain).hash(&mut hasher);
    hasher.finish()
}

impl CameHere {
    /// How many have had no PUBACK.
    pub(in crate::simulation) fn open(&self) -> usize {
        self.open.len()
    }
}

impl SentByClient {
    /// A PUBLISH with QoS 1 has come. Returns the rules that it breaks.
    pub(in crate::simulation) fn publish(&mut self, publish: &Publish, came: &mut CameHere, at: Where) -> Vec<String> {
        let (id, digest) = (publish.id, digest(publish));
        let is_first_here = came.ids.insert(id);
        came.open.insert(id);
        let mut faults = Vec::new();
        let five = at.protocol == Protocol::Mqtt5;
        if five && !is_first_here && publish.dup {
            faults.push(format!("PUBLISH {id} is sent again on the same connection [MQTT-4.4.0-1]"));
        }
        let known = self.known.get_mut(&id);
        let is_same = known.as_ref().is_some_and(|sent| sent.digest == digest && (sent.is_open || publish.dup));
        if let Some(sent) = known.filter(|_| is_same) {
            if !publish.dup {
                faults.push(format!("PUBLISH {id} is sent again without DUP [MQTT-3.3.1-1]"));
            }
            if sent.on != at.connection && sent.is_first_known {
                if came.last_resent.is_some_and(|last| last > sent.number) {
                    faults.push(format!("PUBLISH {id} is sent again after one that came later [MQTT-4.6.0-1]"));
                }
                came.last_resent = came.last_resent.max(Some(sent.number));
            }
            (sent.on, sent.is_open) = (at.connection, true);
            return faults;
        }
        if self.is_open(id) {
            faults
                .push(format!("PUBLISH {id} is another message, and there was no PUBACK for the first [MQTT-2.2.1-3]"));
        }
        if publish.dup && at.is_new_session && is_first_here {
            faults.push(format!("PUBLISH {id} has DUP, and is the first in this session [MQTT-3.3.1-1]"));
        }
        self.last_number += 1;
        let (number, is_first_known) = (self.last_number, !publish.dup);
        let sent = Sent { digest, number, is_first_known, on: at.connection, is_open: true };
        self.known.insert(id, sent);
        faults
    }

    /// A PUBACK is said.
    pub(in crate::simulation) fn acknowledged(&mut self, id: u16, came: &mut CameHere) {
        came.open.remove(&id);
        if let Some(sent) = self.known.get_mut(&id) {
            sent.is_open = false;
        }
    }

    /// Whether the client may use the identifier for nothing else.
    pub(in crate::simulation) fn is_open(&self, id: u16) -> bool {
        self.known.get(&id).is_some_and(|sent| sent.is_open && self.last_number - sent.number < GIVEN_UP_AFTER)
    }

    /// The client knows nothing of them any more.
    pub(in crate::simulation) fn forget(&mut self) {
        self.known.clear();
    }
}

/// The QoS 1 messages that were sent to the client on one connection, in order.
#[derive(Debug, Default)]
pub(in crate::simulation) struct SentToClient(VecDeque<(u16, Transmission)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::simulation) enum Transmission {
    First,
    /// On this connection: one PUBACK may answer both.
    Repeated,
}

impl SentToClient {
    pub(in crate::simulation) fn sent(&mut self, id: u16, transmission: Transmission) {
        self.0.push_back((id, transmission));
    }

    /// Whether the client may still send a PUBACK with it.
    pub(in crate::simulation) fn uses(&self, id: u16) -> bool {
        self.0.iter().any(|(other, _)| *other == id)
    }

    /// A PUBACK has come. Returns the rule that it breaks.
    pub(in crate::simulation) fn puback(&mut self, id: u16) -> Option<String> {
        let Some(place) = self.0.iter().position(|(other, _)| *other == id) else {
            return Some(format!("PUBACK {id}, and no such message was sent on this connection [MQTT-4.3.2-4]"));
        };
        let before = self.0.iter().take(place).find(|(_, transmission)| *transmission == Transmission::First);
        if let Some((first, _)) = before {
            let fault = format!("PUBACK {id} comes before PUBACK {first} [MQTT-4.6.0-2]");
            self.0.remove(place);
            return Some(fault);
        }
        self.0.drain(..=place);
        None
    }
}

/// How often something may happen: so many times a second, and so many at once.
#[derive(Debug, Default)]
pub(in crate::simulation) struct Pace {
    /// When the bucket is full again.
    full_at: Option<Instant>,
}

impl Pace {
    /// It happens. Whether it may, be it that the network has delayed one by up to `jitter` more than another.
    pub(in crate::simulation) fn take(
        &mut self,
        now: Instant,
        (per_second, burst): (u32, u32),
        jitter: Duration,
    ) -> bool {
        let interval = Duration::from_secs(1) / per_second.max(1);
        let full_at = self.full_at.unwrap_or(now).max(now);
        if full_at - now > interval * burst.saturating_sub(1) + jitter {
            return false;
        }
        self.full_at = Some(full_at + interval);
        true
    }
}
