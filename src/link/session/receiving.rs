//! Messages from the server, and their acknowledgements.

use std::time::Instant;

use jiff::Timestamp;

use super::acks::{Ack, Arrival, Digest};
use super::event::{End, Event};
use super::wire::{Head, Incoming, TooLarge};
use super::{Session, State};
use crate::inbox::AckToken;
use crate::limits::MAX_PROPERTIES;
use crate::message::{Inbound, Qos};

impl Session {
    pub(super) fn incoming(&mut self, mut publish: Incoming, now: Instant, received_at: Timestamp) -> Result<(), End> {
        self.counters.received += 1;
        let (token, again) = match self.arrival(&publish.head, &publish.payload)? {
            None if publish.head.qos == Qos::AtLeastOnce => return Ok(()),
            None => (None, false),
            Some((token, again)) => (Some(token), again),
        };
        publish.duplicate |= again;
        if self.is_copy(&publish, again, now) {
            self.counters.copies += 1;
            token.into_iter().for_each(|token| self.acknowledge(token));
            return Ok(());
        }
        let Incoming { head: Head { topic, qos, .. }, payload, retain, duplicate, properties, .. } = publish;
        let carried = properties.filter(|properties| {
            let few = properties.wire_len() <= MAX_PROPERTIES;
            if !few {
                self.events.push_back(Event::PropertiesLeftOut(topic.clone()));
            }
            few
        });
        let message = Inbound { topic, payload, qos, retain, duplicate, received_at, properties: carried };
        self.events.push_back(Event::Message(message.detached(), token));
        Ok(())
    }

    /// Whether it is a copy of a message that has come for another subscription.
    fn is_copy(&mut self, publish: &Incoming, again: bool, now: Instant) -> bool {
        let matching = match publish.subscriptions.is_empty() {
            true => Vec::new(),
            false => self.subscriptions.identifiers_for(&publish.head.topic),
        };
        // One for a subscription that is taken back, or a shared one, has no copy that comes for those that stand.
        let known: Vec<u32> =
            publish.subscriptions.iter().copied().filter(|identifier| matching.contains(identifier)).collect();
        let digest = || Digest::of(publish.head.topic.as_str(), &publish.payload);
        !known.is_empty() && self.copies.is_one(digest(), &known, again, now)
    }

    /// The token of a message that has to be acknowledged, and whether it came before; `None` if it hasn't to be, or is repeated.
    fn arrival(&mut self, head: &Head, content: &[u8]) -> Result<Option<(AckToken, bool)>, End> {
        if head.qos == Qos::AtMostOnce {
            return Ok(None);
        }
        match self.owed.receive(head.id, Digest::of(head.topic.as_str(), content), head.is_exactly_once) {
            Arrival::New { token, again } => Ok(Some((token, again))),
            Arrival::Repeated => Ok(None),
            Arrival::Unheard => {
                self.wire.pubrec(head.id, &mut self.output);
                Ok(None)
            }
            Arrival::TooMany => Err(End::TooMany(None)),
        }
    }

    /// A message larger than we take has come by. It is acknowledged: the server would send it again and again.
    pub(super) fn too_large(&mut self, publish: TooLarge) -> Result<(), End> {
        let TooLarge { head, size } = publish;
        self.counters.received += 1;
        if let Some((token, _)) = self.arrival(&head, &size.to_be_bytes())? {
            self.acknowledge(token);
        }
        self.events.push_back(Event::TooLarge(head.topic, size));
        Ok(())
    }

    /// A message from the server is taken care of. Its PUBACK goes out once all that came before it are, too.
    pub(crate) fn acknowledge(&mut self, token: AckToken) {
        self.owed.done(token);
        while matches!(self.state, State::Connected(_))
            && let Some(ack) = self.owed.next(self.place())
        {
            match ack {
                Ack::PubAck(id) => self.wire.puback(id, &mut self.output),
                Ack::PubRec(id) => self.wire.pubrec(id, &mut self.output),
            }
        }
    }
}
