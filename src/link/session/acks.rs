//! QoS 1 messages from the server that we owe a PUBACK.

use std::collections::VecDeque;

use super::PacketIdentifier;
use crate::inbox::AckToken;

/// What was received on this connection and isn't acknowledged, in the order of arrival. The server's own window bounds it;
/// one that ignores it is stopped by [`Owed::receive`].
#[derive(Debug, Default)]
pub(super) struct Owed {
    queue: VecDeque<Entry>,
    next_token: u64,
}

#[derive(Debug)]
struct Entry {
    id: PacketIdentifier,
    token: AckToken,
    done: bool,
}

/// What to do with a message that came in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    New(AckToken),
    /// The server repeats what it hasn't had an answer for: the answer to the first covers it.
    Repeated,
}

impl Owed {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn receive(&mut self, id: PacketIdentifier) -> Arrival {
        if self.queue.iter().any(|entry| entry.id == id) {
            return Arrival::Repeated;
        }
        self.next_token += 1;
        let token = AckToken::new(self.next_token);
        self.queue.push_back(Entry { id, token, done: false });
        Arrival::New(token)
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
        self.queue.pop_front_if(|entry| entry.done).map(|entry| entry.id)
    }

    pub(super) fn connection_lost(&mut self) {
        self.queue.clear();
    }
}
