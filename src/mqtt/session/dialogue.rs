//! One question to the server after another: CONNECT, then one SUBSCRIBE or PUBLISH at a time, so that it is clear which of them the
//! server doesn't like.
//!
//! Pure, as the [`Session`](super::Session) is. For `gatewire check --connect` messages that come meanwhile are passed over and never
//! acknowledged: the server keeps those with QoS 1 for the daemon. For who asks something they may be the answer.

use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::event::End;
use super::violation;
use crate::message::{Outbound, Qos, Topic, TopicFilter};
use crate::mqtt::reason::Reason;
use crate::mqtt::server_limits::ServerLimits;
use crate::mqtt::wire::{Head, Opening, PacketIdentifier, Received, Request, Wire};
use crate::mqtt::{Options, Rejection};

/// What the server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// CONNACK that accepts.
    Connected { session_present: bool },
    /// What is granted for the filter asked for.
    Subscription(Result<Qos, Reason>),
    /// UNSUBACK.
    Unsubscribed,
    /// PUBACK, which may come before the answer to what was published, or after it.
    Published(Result<(), Reason>),
    /// A message; it is acknowledged.
    Message(Topic, Bytes),
    /// A message of so many bytes, as a packet: more than we take.
    TooLarge(Topic, usize),
}

/// One connection's talk.
#[derive(Debug)]
pub(crate) struct Dialogue {
    wire: Wire,
    output: BytesMut,
    awaiting: Awaiting,
    limits: ServerLimits,
    last_id: PacketIdentifier,
    /// Messages are for us.
    takes_messages: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaiting {
    ConnAck,
    SubAck(PacketIdentifier),
    UnsubAck(PacketIdentifier),
    PubAck(PacketIdentifier),
    Nothing,
}

impl Dialogue {
    /// Begins with the CONNECT that a session of these `options` sends, will included: a server may refuse it for that. A DISCONNECT must end it, whatever
    /// happens, or the server publishes the will.
    pub(crate) fn connect(options: &Options) -> Dialogue {
        Dialogue::with(Wire::passing_over_messages(options), options, false)
    }

    /// Likewise, for who asks something and takes the answer.
    pub(crate) fn asking(options: &Options) -> Dialogue {
        Dialogue::with(Wire::passing_over_messages(options), options, true)
    }

    fn with(wire: Wire, options: &Options, takes_messages: bool) -> Dialogue {
        let mut output = BytesMut::new();
        wire.connect(&Opening::of(options), &mut output);
        let (awaiting, limits) = (Awaiting::ConnAck, ServerLimits::default());
        Dialogue { wire, output, awaiting, limits, last_id: 0, takes_messages }
    }

    /// Publishes a message, which must be one that the server takes ([`Dialogue::refuses`]).
    pub(crate) fn publish(&mut self, message: &Outbound, now: Instant) {
        let id = self.next_id();
        self.wire.publish(message, id, false, now, &mut self.output);
        self.awaiting = Awaiting::PubAck(id);
    }

    /// Why the server wouldn't take this message, by its CONNACK.
    pub(crate) fn refuses(&self, message: &Outbound, now: Instant) -> Option<Rejection> {
        self.limits.rejection(message, || Wire::size(message, now))
    }

    /// Asks for one filter. The answer is there at once if the CONNACK already has said no.
    pub(crate) fn subscribe(&mut self, filter: &TopicFilter, qos: Qos) -> Option<Reply> {
        if let Some(code) = self.limits.filter_refusal(filter) {
            return Some(Reply::Subscription(Err(Reason::new(code.0, None))));
        }
        self.awaiting = Awaiting::SubAck(self.request(&Request::Subscribe(vec![(filter.clone(), qos)], None)));
        None
    }

    /// Takes one filter back.
    pub(crate) fn unsubscribe(&mut self, filter: &TopicFilter) {
        self.awaiting = Awaiting::UnsubAck(self.request(&Request::Unsubscribe(vec![filter.clone()])));
    }

    fn request(&mut self, request: &Request) -> PacketIdentifier {
        let id = self.next_id();
        self.wire.request(id, request, &mut self.output);
        id
    }

    fn next_id(&mut self) -> PacketIdentifier {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id
    }

    pub(crate) fn disconnect(&mut self) {
        self.wire.disconnect(&mut self.output);
    }

    /// Bytes to be written; whoever writes them takes them.
    pub(crate) fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Takes whole packets from the front of `input` until one is the answer that is waited for.
    pub(crate) fn receive(&mut self, input: &mut BytesMut) -> Result<Option<Reply>, End> {
        while let Some(packet) = self.wire.decode(input)? {
            if let Some(reply) = self.packet(packet)? {
                if !matches!(reply, Reply::Message(..) | Reply::TooLarge(..)) {
                    self.awaiting = Awaiting::Nothing;
                }
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    fn packet(&mut self, packet: Received) -> Result<Option<Reply>, End> {
        match (self.awaiting, packet) {
            (_, Received::Disconnect(reason)) => Err(End::Disconnected(reason)),
            (_, Received::TopicAlias) => Err(End::TopicAlias),
            (_, Received::Unexpected(name)) => Err(violation(&format!("the server sent {name}"))),
            (Awaiting::ConnAck, Received::Refused(reason)) => Err(End::Refused(reason)),
            (Awaiting::ConnAck, Received::ConnAck { session_present, limits }) => match limits.fault() {
                Some(fault) => Err(violation(&format!("the server sent {fault}"))),
                None => {
                    self.limits = limits;
                    Ok(Some(Reply::Connected { session_present }))
                }
            },
            (Awaiting::ConnAck, _) => Err(violation("the server sent something before CONNACK")),
            (_, Received::ConnAck { .. } | Received::Refused(_)) => Err(violation("the server sent a second CONNACK")),
            (Awaiting::SubAck(asked), Received::SubAck(id, granted)) if id == asked => {
                match <[_; 1]>::try_from(granted) {
                    Ok([granted]) => Ok(Some(Reply::Subscription(granted))),
                    Err(_) => Err(violation("a SUBACK answers more or fewer filters than were asked for")),
                }
            }
            (Awaiting::UnsubAck(asked), Received::UnsubAck(id)) if id == asked => Ok(Some(Reply::Unsubscribed)),
            (Awaiting::PubAck(asked), Received::PubAck(id, reason)) if id == asked => {
                Ok(Some(Reply::Published(if reason.is_failure() { Err(reason) } else { Ok(()) })))
            }
            (_, Received::Publish(message)) if self.takes_messages => {
                self.acknowledge(&message.head);
                Ok(Some(Reply::Message(message.head.topic, message.payload)))
            }
            (_, Received::TooLarge(message)) if self.takes_messages => {
                self.acknowledge(&message.head);
                Ok(Some(Reply::TooLarge(message.head.topic, message.size)))
            }
            (_, Received::PubRel(id)) if self.takes_messages => {
                self.wire.pubcomp(id, &mut self.output);
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn acknowledge(&mut self, head: &Head) {
        match (head.qos, head.is_exactly_once) {
            (_, true) => self.wire.pubrec(head.id, &mut self.output),
            (Qos::AtLeastOnce, false) => self.wire.puback(head.id, &mut self.output),
            (Qos::AtMostOnce, false) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::Protocol;
    use crate::mqtt::reason::ReasonCode;
    use crate::mqtt::session::fuzzing::options;

    fn dialogue(protocol: Protocol) -> Dialogue {
        let mut dialogue = Dialogue {
            wire: Wire::passing_over_messages(&options(protocol)),
            output: BytesMut::new(),
            awaiting: Awaiting::ConnAck,
            limits: ServerLimits::default(),
            last_id: 0,
            takes_messages: false,
        };
        let connack: &[u8] = if protocol == Protocol::Mqtt5 { &[0x20, 5, 1, 0, 2, 0x28, 0] } else { &[0x20, 2, 1, 0] };
        let reply = dialogue.receive(&mut BytesMut::from(connack));
        assert_eq!(reply, Ok(Some(Reply::Connected { session_present: true })));
        dialogue
    }

    #[test]
    fn messages_that_come_meanwhile_are_neither_taken_for_the_answer_nor_acknowledged() {
        for (protocol, suback) in
            [(Protocol::Mqtt311, &[0x90, 3, 0, 1, 1][..]), (Protocol::Mqtt5, &[0x90, 4, 0, 1, 0, 1][..])]
        {
            let mut dialogue = dialogue(protocol);
            assert_eq!(dialogue.subscribe(&TopicFilter::new("a/b").unwrap(), Qos::AtLeastOnce), None);
            dialogue.output().clear();
            let publish: &[u8] = if protocol == Protocol::Mqtt5 {
                &[0x32, 6, 0, 1, b't', 0, 7, 0]
            } else {
                &[0x32, 5, 0, 1, b't', 0, 7]
            };
            assert_eq!(dialogue.receive(&mut BytesMut::from(publish)), Ok(None));
            let mut unreadable = publish.to_vec();
            unreadable[4] = b'#';
            assert_eq!(dialogue.receive(&mut BytesMut::from(&unreadable[..])), Ok(None));
            let mut input = BytesMut::from(&[publish, suback].concat()[..]);
            let granted = Reply::Subscription(Ok(Qos::AtLeastOnce));
            assert_eq!(dialogue.receive(&mut input), Ok(Some(granted)));
            assert!(dialogue.output().is_empty(), "nothing is said that wasn't asked");
        }
    }

    #[test]
    fn who_asks_takes_the_answer_before_its_puback_or_after_it() {
        let request = Outbound {
            topic: Topic::new("ask").unwrap(),
            payload: Bytes::from_static(b"?"),
            qos: Qos::AtLeastOnce,
            retain: false,
            urgent: false,
            properties: None,
        };
        for (protocol, answer, puback) in [
            (Protocol::Mqtt311, &[0x32, 6, 0, 1, b't', 0, 7, b'!'][..], &[0x40, 2, 0, 1][..]),
            (Protocol::Mqtt5, &[0x32, 7, 0, 1, b't', 0, 7, 0, b'!'], &[0x40, 2, 0, 1]),
        ] {
            for packets in [[answer, puback], [puback, answer]] {
                let mut dialogue = Dialogue { takes_messages: true, ..dialogue(protocol) };
                dialogue.publish(&request, Instant::now());
                assert!(!dialogue.output().split().is_empty());
                let mut input = BytesMut::from(&packets.concat()[..]);
                let replies = [(); 3].map(|()| dialogue.receive(&mut input).unwrap());
                let message = Some(Reply::Message(Topic::received("t"), Bytes::from_static(b"!")));
                let published = Some(Reply::Published(Ok(())));
                let expected =
                    if packets[0] == answer { [message, published, None] } else { [published, message, None] };
                assert_eq!(replies, expected);
                assert_eq!(dialogue.output()[..], [0x40, 2, 0, 7], "the answer is acknowledged");
            }
        }
        let mut dialogue = Dialogue { takes_messages: true, ..dialogue(Protocol::Mqtt5) };
        dialogue.publish(&request, Instant::now());
        let refused = dialogue.receive(&mut BytesMut::from(&[0x40, 3, 0, 1, 0x87][..]));
        assert!(
            matches!(refused, Ok(Some(Reply::Published(Err(reason)))) if reason.code == ReasonCode::NOT_AUTHORIZED)
        );
    }

    #[test]
    fn what_the_connack_rules_out_is_not_asked_for() {
        let mut dialogue = dialogue(Protocol::Mqtt5);
        let reply = dialogue.subscribe(&TopicFilter::new("a/#").unwrap(), Qos::AtLeastOnce);
        assert!(matches!(reply, Some(Reply::Subscription(Err(reason))) if reason.code.0 == 0xA2), "no wildcards");
        assert!(dialogue.output().is_empty());
    }

    #[test]
    fn what_a_server_may_not_say_ends_it() {
        for (packet, text) in [
            (&[0x20, 2, 0, 0][..], "a second CONNACK"),
            (&[0x90, 4, 0, 1, 1, 1], "more or fewer filters"),
            (&[0xc0, 0], "PINGREQ"),
        ] {
            let mut dialogue = dialogue(Protocol::Mqtt311);
            dialogue.subscribe(&TopicFilter::new("a").unwrap(), Qos::AtMostOnce);
            let end = dialogue.receive(&mut BytesMut::from(packet)).unwrap_err();
            assert!(end.to_string().contains(text), "{end}");
        }
    }
}
