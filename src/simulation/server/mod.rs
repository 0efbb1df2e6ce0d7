//! What servers of MQTT have in common: the bytes of packets, and the rules that their client must keep.

pub(in crate::simulation) mod behaviour;
pub(in crate::simulation) mod bytes;
pub(in crate::simulation) mod heard;
pub(in crate::simulation) mod judge;
pub(in crate::simulation) mod say;

use std::fmt;
use std::time::Instant;

use ::bytes::Bytes;

use crate::message::Properties;

/// A server that is reached over the network. Pure: whoever drives it hands in what comes, calls [`Server::handle_timeout`] when
/// [`Server::timeout`] is there, and after either [`Server::next_output`] until there is no more.
pub(crate) trait Server {
    /// A transport connection was made.
    fn accept(&mut self, now: Instant) -> ConnectionId;

    /// Bytes have come, split in any way.
    fn receive(&mut self, id: ConnectionId, bytes: &[u8], now: Instant);

    /// The transport has ended, and the server learns of it.
    fn lost(&mut self, id: ConnectionId, now: Instant);

    /// The next connection is another process's.
    fn client_restarted(&mut self);

    fn timeout(&self) -> Option<Instant>;

    fn handle_timeout(&mut self, now: Instant);

    fn next_output(&mut self) -> Option<(ConnectionId, Output)>;
}

/// Names a connection, in the order in which they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionId(pub(in crate::simulation) u64);

/// What the server does to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    Bytes(Vec<u8>),
    /// It closes. Nothing more comes on this connection, and nothing is heard.
    Close,
}

/// A message that is published to the server's clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Downlink {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    /// 0 or 1.
    pub(crate) qos: u8,
    /// The server keeps it for those who subscribe later.
    pub(crate) retain: bool,
    /// MQTT 5 only. `expires_in` counts from when it is published.
    pub(crate) properties: Properties,
}

/// Whether a topic is one of a filter's (MQTT 5, 4.7). At IoT Core `a/#` doesn't match `a`.
pub(in crate::simulation) fn matches(filter: &str, topic: &str, hash_matches_parent: bool) -> bool {
    let filter = match filter.strip_prefix("$share/") {
        Some(share) => share.split_once('/').map_or(share, |(_, filter)| filter),
        None => filter,
    };
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", level) => return level.is_some() || hash_matches_parent,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

pub(in crate::simulation) const MALFORMED_PACKET: u8 = 0x81;
pub(in crate::simulation) const PROTOCOL_ERROR: u8 = 0x82;
pub(in crate::simulation) const NOT_AUTHORIZED: u8 = 0x87;
pub(in crate::simulation) const KEEP_ALIVE_TIMEOUT: u8 = 0x8d;
pub(in crate::simulation) const SESSION_TAKEN_OVER: u8 = 0x8e;
pub(in crate::simulation) const TOPIC_ALIAS_INVALID: u8 = 0x94;
pub(in crate::simulation) const PACKET_TOO_LARGE: u8 = 0x95;
pub(in crate::simulation) const QUOTA_EXCEEDED: u8 = 0x97;

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}", self.0)
    }
}
