//! One question to the server after another, for `gatewire check --connect`: CONNECT, then one SUBSCRIBE at a time, so that it
//! is clear which of them the server doesn't like.
//!
//! Pure, as the [`Session`](super::Session) is. Messages that come meanwhile are passed over and never acknowledged: the server
//! keeps those with QoS 1 for the daemon.

use std::time::Instant;

use bytes::BytesMut;

use super::event::End;
use super::violation;
use crate::message::{Outbound, Qos, TopicFilter};
use crate::mqtt::reason::Reason;
use crate::mqtt::server_limits::ServerLimits;
use crate::mqtt::wire::{Opening, PacketIdentifier, Received, Request, Wire};
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
}

/// One connection's talk.
#[derive(Debug)]
pub(crate) struct Dialogue {
    wire: Wire,
    output: BytesMut,
    awaiting: Awaiting,
    limits: ServerLimits,
    last_id: PacketIdentifier,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaiting {
    ConnAck,
    SubAck(PacketIdentifier),
    UnsubAck(PacketIdentifier),
    Nothing,
}

impl Dialogue {
    /// Begins with the CONNECT that a session of these `options` sends, will included: a server may refuse it for that. A DISCONNECT must end it, whatever
    /// happens, or the server publishes the will.
    pub(crate) fn connect(options: &Options) -> Dialogue {
        let wire = Wire::passing_over_messages(options);
        let mut output = BytesMut::new();
        wire.connect(&Opening::of(options), &mut output);
        Dialogue { wire, output, awaiting: Awaiting::ConnAck, limits: ServerLimits::default(), last_id: 0 }
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
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.wire.request(self.last_id, request, &mut self.output);
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
                self.awaiting = Awaiting::Nothing;
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
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::Protocol;
    use crate::mqtt::session::fuzzing::options;

    fn dialogue(protocol: Protocol) -> Dialogue {
        let mut dialogue = Dialogue {
            wire: Wire::passing_over_messages(&options(protocol)),
            output: BytesMut::new(),
            awaiting: Awaiting::ConnAck,
            limits: ServerLimits::default(),
            last_id: 0,
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
