//! QoS 1 messages from the server that we owe a PUBACK.

use std::collections::VecDeque;

use super::PacketIdentifier;
use crate::inbox::AckToken;
use crate::limits::MAX_IN_FLIGHT;

/// What was received on this connection and isn't acknowledged, in the order of arrival. The server's own window bounds it;
/// one that ignores it is stopped by [`Owed::receive`].
#[derive(Debug, Default)]
pub(super) struct Owed {
    queue: VecDeque<Entry>,
    next_token: u64,
    /// What was acknowledged last on this connection: the server may not have heard of it.
    acknowledged: VecDeque<(PacketIdentifier, Digest)>,
    /// What the server may send again on this connection, because it was on its way on the one before.
    expected: VecDeque<(PacketIdentifier, Digest)>,
}

/// Tells one message from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest(u32);

impl Digest {
    pub(super) fn of(topic: &str, payload: &[u8]) -> Digest {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(topic.as_bytes());
        hasher.update(&[0]);
        hasher.update(payload);
        Digest(hasher.finalize())
    }
}

#[derive(Debug)]
struct Entry {
    id: PacketIdentifier,
    token: AckToken,
    digest: Digest,
    done: bool,
}

/// What to do with a message that came in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    New {
        token: AckToken,
        /// It was received on the connection before, too.
        again: bool,
    },
    /// The server repeats what it hasn't had an answer for: the answer to the first covers it.
    Repeated,
}

impl Owed {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn receive(&mut self, id: PacketIdentifier, digest: Digest) -> Arrival {
        if self.queue.iter().any(|entry| entry.id == id) {
            return Arrival::Repeated;
        }
        self.next_token += 1;
        let token = AckToken::new(self.next_token);
        self.queue.push_back(Entry { id, token, digest, done: false });
        Arrival::New { token, again: self.is_expected(id, digest) }
    }

    /// The server sends again in the order of the first time, with the same packet identifiers, before anything new
    /// (`MQTT-4.4.0-1`, `MQTT-4.6.0-1`). IoT Core doesn't set DUP on it.
    fn is_expected(&mut self, id: PacketIdentifier, digest: Digest) -> bool {
        match self.expected.iter().position(|expected| *expected == (id, digest)) {
            Some(index) => {
                self.expected.drain(..=index);
                true
            }
            None => {
                self.expected.clear();
                false
            }
        }
    }

    /// A connection is established, with the session of the one before or another.
    pub(super) fn restart(&mut self, session_present: bool) {
        if !session_present {
            self.expected.clear();
        }
    }

    /// The message of `token` is taken care of. Tokens of an earlier connection are forgotten: the server sends that
    /// message again.
    pub(super) fn done(&mut self, token: AckToken) {
        if let Ok(index) = self.queue.binary_search_by_key(&token, |entry| entry.token) {
            self.queue[index].done = true;
        }
    }

    /// The next packet identifier to acknowledge: in the order in which the messages came (`MQTT-4.6.0-2`).
    pub(super) fn next(&mut self) -> Option<PacketIdentifier> {
        let entry = self.queue.pop_front_if(|entry| entry.done)?;
        if self.acknowledged.len() >= MAX_IN_FLIGHT {
            self.acknowledged.pop_front();
        }
        self.acknowledged.push_back((entry.id, entry.digest));
        Some(entry.id)
    }

    pub(super) fn connection_lost(&mut self) {
        let owed = self.queue.drain(..).map(|entry| (entry.id, entry.digest));
        let lately: Vec<_> = self.acknowledged.drain(..).chain(owed).collect();
        // An attempt on which nothing came changes nothing.
        if !lately.is_empty() {
            self.expected = lately.into();
        }
    }
}
