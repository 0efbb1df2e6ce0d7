//! Messages in both directions, and what has become of them.

use std::time::Instant;

use bytes::Bytes;

use super::ConnectionId;
use crate::message::Properties;
pub(crate) use crate::simulation::server::Downlink;

/// A PUBLISH that the server has accepted, whether or not the client hears of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// As the client marked it: the server takes it once more in any case.
    pub(crate) dup: bool,
    pub(crate) properties: Properties,
    pub(crate) at: Instant,
    pub(crate) connection: ConnectionId,
    /// 0 with QoS 0.
    pub(crate) id: u16,
}

/// Who has published a message that goes to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Another device: [`Cloud::publish`](super::Cloud::publish).
    Device,
    /// The client itself, which is subscribed to its topic.
    Client,
    /// The server, as the client's will.
    Will,
    /// Kept on its topic when the client subscribed.
    Retained,
    /// [`Flood`](super::behaviour::Flood).
    Flood,
    /// Jobs or Commands.
    Service,
}

/// A message for the client, and how it went. A message has several copies where several subscriptions match
/// ([`Overlap::ForEach`](super::behaviour::Overlap::ForEach)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offered {
    pub(crate) message: Downlink,
    pub(crate) origin: Origin,
    pub(crate) at: Instant,
    /// For so many subscriptions that are to get it; 0: none matches, or it had QoS 0 and nobody was there.
    pub(crate) copies: usize,
    /// How many of them go with QoS 1, and are to be acknowledged.
    pub(crate) owed: usize,
    /// PUBLISH packets, those sent again included.
    pub(crate) sent: usize,
    pub(crate) first_sent: Option<Instant>,
    /// Of those that are owed.
    pub(crate) acknowledged: usize,
    /// When the first of them was.
    pub(crate) acknowledged_at: Option<Instant>,
    /// Copies with QoS 1 that the server doesn't send any more: the session is forgotten, its time is over, or the client takes
    /// no packet of the size.
    pub(crate) given_up: usize,
}

impl Offered {
    /// Whether a subscription matched.
    pub(crate) fn is_matched(&self) -> bool {
        self.copies > 0
    }

    /// Whether the client has acknowledged every copy.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.owed > 0 && self.acknowledged == self.owed
    }

    /// Whether the server still has to send it, or waits for a PUBACK.
    pub(crate) fn is_open(&self) -> bool {
        self.acknowledged + self.given_up < self.owed
    }
}
