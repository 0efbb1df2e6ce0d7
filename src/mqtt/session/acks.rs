//! QoS 1 messages from the server that we owe a PUBACK.

use std::collections::{BTreeSet, VecDeque};

use super::traffic::Label;
use crate::limits::MAX_IN_FLIGHT;
use crate::message::AckToken;
use crate::mqtt::wire::PacketIdentifier;

/// The most that may be unacknowledged when a server is forgiven that it sends too much, in bytes: of larger messages it gets rid
/// too slowly.
const MAX_MISTAKEN: usize = 1024 * 1024;

/// What was received on this connection and isn't acknowledged, in the order of arrival: at most [`MAX_IN_FLIGHT`] that the server
/// waits for, and as many that it has given up.
#[derive(Debug, Default)]
pub(super) struct Owed {
    queue: VecDeque<PendingAck>,
    next_token: u64,
    /// What was acknowledged last on this connection, and where each PUBACK begins in all that was ever put into the output: the
    /// server may not have heard of it.
    acknowledged: VecDeque<(PacketIdentifier, Digest, u64)>,
    /// A PUBACK was said on this connection.
    has_acknowledged: bool,
    /// What the server may send again on this connection, because it was on its way on the one before.
    expected: VecDeque<(PacketIdentifier, Digest)>,
    /// Messages with QoS 2 for which PUBREC was said and PUBREL hasn't come.
    unreleased: BTreeSet<PacketIdentifier>,
}

/// An acknowledgement to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ack {
    PubAck(PacketIdentifier),
    /// Of a message with QoS 2.
    PubRec(PacketIdentifier),
}

/// Tells one message from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest {
    checksum: u32,
    /// Of the payload, in bytes.
    size: usize,
}

impl Digest {
    pub(super) fn of(topic: &str, payload: &[u8]) -> Digest {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(topic.as_bytes());
        hasher.update(&[0]);
        hasher.update(payload);
        Digest { checksum: hasher.finalize(), size: payload.len() }
    }
}

#[derive(Debug)]
struct PendingAck {
    /// `None`: the server waits for its PUBACK no more, it has used the identifier for another message.
    id: Option<PacketIdentifier>,
    token: AckToken,
    digest: Digest,
    /// QoS 2.
    is_exactly_once: bool,
    /// It came with DUP: the server had sent it on an earlier connection.
    is_resent: bool,
    done: bool,
    /// What its PUBACK is for.
    label: Label,
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
    /// The server repeats what it had PUBREC for: it hasn't heard that.
    Unheard,
    /// It is more than the server may send.
    TooMany,
}

/// Whether a message may be taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Enough,
    /// Once another is acknowledged.
    Later,
    /// The server has sent as many for the first time as it may, and breaks the rules.
    Exceeded,
}

impl Owed {
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether the server may send nothing more before something is acknowledged.
    pub(super) fn is_full(&self) -> bool {
        self.awaited() >= MAX_IN_FLIGHT || self.queue.len() >= 2 * MAX_IN_FLIGHT
    }

    /// How many the server waits for an answer to.
    fn awaited(&self) -> usize {
        self.queue.iter().filter(|entry| entry.id.is_some()).count() + self.unreleased.len()
    }

    /// Whether there is room for a message.
    pub(super) fn room(&self, id: PacketIdentifier, digest: Digest, is_exactly_once: bool, is_resent: bool) -> Room {
        let same = self.queue.iter().find(|entry| entry.id == Some(id));
        let is_repeated = same.is_some_and(|entry| entry.digest == digest);
        if is_repeated || is_exactly_once && self.unreleased.contains(&id) {
            return Room::Enough;
        }
        // Another with the same identifier takes the place that this one has with the server.
        let is_full = self.awaited() - usize::from(same.is_some()) >= MAX_IN_FLIGHT;
        let own = self.queue.iter().filter(|entry| entry.id.is_some_and(|own| own != id) && !entry.is_resent);
        let held: usize = self.queue.iter().map(|entry| entry.digest.size).sum();
        // mosquitto up to 2.0.11 sends as many again for each PUBACK that it hears.
        let may_be_mistaken = self.has_acknowledged && held <= MAX_MISTAKEN;
        match is_full || self.queue.len() >= 2 * MAX_IN_FLIGHT {
            false => Room::Enough,
            true if !is_resent && own.count() >= MAX_IN_FLIGHT && !may_be_mistaken => Room::Exceeded,
            true => Room::Later,
        }
    }

    pub(super) fn receive(
        &mut self,
        id: PacketIdentifier,
        digest: Digest,
        is_exactly_once: bool,
        is_resent: bool,
    ) -> Arrival {
        if is_exactly_once && self.unreleased.contains(&id) {
            return Arrival::Unheard;
        }
        if let Some(entry) = self.queue.iter_mut().find(|entry| entry.id == Some(id)) {
            if entry.digest == digest {
                return Arrival::Repeated;
            }
            // IoT Core gives up after an hour what isn't acknowledged. A PUBACK for that would be one for this.
            entry.id = None;
        }
        if self.is_full() {
            return Arrival::TooMany;
        }
        self.next_token += 1;
        let token = AckToken::new(self.next_token);
        let label = Label::default();
        self.queue.push_back(PendingAck {
            id: Some(id),
            token,
            digest,
            is_exactly_once,
            is_resent,
            done: false,
            label,
        });
        Arrival::New { token, again: self.is_expected(id, digest) }
    }

    /// What the message received last is for.
    pub(super) fn label_last(&mut self, label: Label) {
        if let Some(entry) = self.queue.back_mut() {
            entry.label = label;
        }
    }

    /// What the acknowledgement is for that comes next.
    pub(super) fn label_of_next(&self) -> Label {
        self.queue.iter().find(|entry| entry.id.is_some()).map_or(Label::default(), |entry| entry.label)
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
            self.unreleased.clear();
        }
    }

    /// PUBREL: the server lets go of a message with QoS 2.
    pub(super) fn released(&mut self, id: PacketIdentifier) {
        self.unreleased.remove(&id);
    }

    /// The message of `token` is taken care of. Tokens of an earlier connection are forgotten: the server sends that
    /// message again.
    pub(super) fn done(&mut self, token: AckToken) {
        if let Ok(index) = self.queue.binary_search_by_key(&token, |entry| entry.token) {
            self.queue[index].done = true;
        }
    }

    /// The next acknowledgement, in the order in which the messages came (`MQTT-4.6.0-2`). It begins at `place` in all that was ever
    /// put into the output.
    pub(super) fn next(&mut self, place: u64) -> Option<Ack> {
        loop {
            let entry = self.queue.pop_front_if(|entry| entry.done)?;
            let Some(id) = entry.id else { continue };
            if entry.is_exactly_once {
                self.unreleased.insert(id);
                return Some(Ack::PubRec(id));
            }
            if self.acknowledged.len() >= MAX_IN_FLIGHT {
                self.acknowledged.pop_front();
            }
            self.acknowledged.push_back((id, entry.digest, place));
            self.has_acknowledged = true;
            return Some(Ack::PubAck(id));
        }
    }

    /// The server has answered what came behind `place`, and so has heard of what was acknowledged before: it won't come again.
    pub(super) fn heard(&mut self, place: u64) {
        while self.acknowledged.pop_front_if(|(.., begin)| *begin < place).is_some() {}
    }

    pub(super) fn connection_lost(&mut self) {
        self.has_acknowledged = false;
        let owed = self.queue.drain(..).filter_map(|entry| Some((entry.id?, entry.digest)));
        let acknowledged = self.acknowledged.drain(..).map(|(id, digest, _)| (id, digest));
        let lately: Vec<_> = acknowledged.chain(owed).collect();
        // An attempt on which nothing came changes nothing.
        if !lately.is_empty() {
            self.expected = lately.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: Digest = Digest { checksum: 1, size: 2 };
    const OFF: Digest = Digest { checksum: 2, size: 3 };

    fn token(arrival: Arrival) -> AckToken {
        let Arrival::New { token, again: false } = arrival else { panic!("{arrival:?}") };
        token
    }

    /// Takes a message in and acknowledges it at `place`.
    fn acknowledge(owed: &mut Owed, id: PacketIdentifier, place: u64) {
        let token = token(owed.receive(id, ON, false, false));
        owed.done(token);
        assert_eq!(owed.next(place), Some(Ack::PubAck(id)));
    }

    fn is_again(owed: &mut Owed, id: PacketIdentifier) -> bool {
        matches!(owed.receive(id, ON, false, false), Arrival::New { again: true, .. })
    }

    #[test]
    fn what_the_server_may_not_have_heard_of_is_recognised_when_it_comes_again() {
        let mut owed = Owed::default();
        acknowledge(&mut owed, 1, 10);
        acknowledge(&mut owed, 2, 14);
        // A PINGREQ that ends at 14 was answered.
        owed.heard(14);
        owed.connection_lost();
        owed.restart(true);
        assert!(!is_again(&mut owed, 1), "a new message, with an identifier that is free since");
        owed.connection_lost();
        acknowledge(&mut owed, 2, 20);
        owed.connection_lost();
        assert!(is_again(&mut owed, 2));
        owed.connection_lost();
        owed.restart(false);
        assert!(!is_again(&mut owed, 2), "the server has forgotten it");
    }

    #[test]
    fn another_message_with_an_identifier_that_is_owed_is_no_repetition() {
        let mut owed = Owed::default();
        let first = token(owed.receive(1, ON, false, false));
        assert_eq!(owed.receive(1, ON, false, false), Arrival::Repeated);
        let second = token(owed.receive(1, OFF, false, false));
        owed.done(first);
        assert_eq!(owed.next(0), None, "it would be one for the second");
        owed.done(second);
        assert_eq!((owed.next(0), owed.next(4)), (Some(Ack::PubAck(1)), None));
    }

    #[test]
    fn a_server_that_has_had_an_answer_is_forgiven_too_many_that_are_small() {
        for (size, answered, room) in
            [(100, true, Room::Later), (100, false, Room::Exceeded), (60_000, true, Room::Exceeded)]
        {
            let (digest, mut owed) = (Digest { checksum: 1, size }, Owed::default());
            for id in 1..=100 {
                assert_eq!(owed.room(id, digest, false, false), Room::Enough);
                let token = token(owed.receive(id, digest, false, false));
                if id == 1 && answered {
                    owed.done(token);
                    owed.next(0).unwrap();
                }
            }
            if answered {
                token(owed.receive(101, digest, false, false));
            }
            assert_eq!(owed.room(102, digest, false, false), room, "{size} {answered}");
        }
    }

    #[test]
    fn no_more_is_held_than_the_server_may_send() {
        let mut owed = Owed::default();
        for id in 1..=100 {
            assert!(matches!(owed.receive(id, ON, id % 2 == 0, false), Arrival::New { .. }), "{id}");
        }
        assert_eq!(
            (owed.receive(101, ON, false, false), owed.receive(7, ON, false, false)),
            (Arrival::TooMany, Arrival::Repeated)
        );
        // A server that gives up what isn't acknowledged uses its identifiers again: that is bounded, too.
        for id in 1..=100 {
            assert!(matches!(owed.receive(id, OFF, false, false), Arrival::New { .. }), "{id}");
        }
        assert_eq!(owed.receive(1, ON, false, false), Arrival::TooMany);
    }

    #[test]
    fn a_message_with_qos_2_is_taken_once_until_it_is_released() {
        let mut owed = Owed::default();
        let token = token(owed.receive(1, ON, true, false));
        assert_eq!(owed.receive(1, ON, true, false), Arrival::Repeated);
        owed.done(token);
        assert_eq!((owed.next(0), owed.next(0)), (Some(Ack::PubRec(1)), None));
        owed.connection_lost();
        owed.restart(true);
        assert_eq!(owed.receive(1, ON, true, false), Arrival::Unheard);
        owed.released(1);
        assert!(matches!(owed.receive(1, ON, true, false), Arrival::New { .. }));
    }
}
