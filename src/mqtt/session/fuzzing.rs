//! A server that says anything, and a daemon that publishes and acknowledges in between.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;

use super::{Event, Options, Remembered, Session};
use crate::limits::MAX_PACKET;
use crate::message::AckToken;
use crate::message::Sequence;
use crate::message::{Outbound, Qos, Topic, TopicFilter};
use crate::mqtt::{KeepAlive, Protocol, Subscribing};

const MAX_IN_FLIGHT: usize = 4;

/// Plays `script` to a session of MQTT 3.1.1.
pub fn session_3_1_1(script: &[u8]) {
    Play::new(Protocol::Mqtt311, script).run();
}

/// Plays `script` to a session of MQTT 5.
pub fn session_5(script: &[u8]) {
    Play::new(Protocol::Mqtt5, script).run();
}

/// Plays `script` to a session with a local broker; its first byte says of which version.
pub fn session_local(script: &[u8]) {
    let Some((first, rest)) = script.split_first() else { return };
    let protocol = if first & 1 == 0 { Protocol::Mqtt311 } else { Protocol::Mqtt5 };
    Play::with(local(options(protocol)), rest).run();
}

/// The same options as they are for a local broker.
pub(crate) fn local(options: Options) -> Options {
    let subscribing = Subscribing {
        max: usize::MAX,
        retain_as_published: true,
        only_new_retained: true,
        no_local: true,
        each_connection: true,
    };
    Options { subscribing, drops_unfit: true, refusals_are_final: true, waits_for_room: true, ..options }
}

/// A session and the rest of its script: steps of a byte, each with what belongs to it.
struct Play<'a> {
    protocol: Protocol,
    session: Session,
    script: &'a [u8],
    /// What came and isn't a whole packet yet.
    input: BytesMut,
    tokens: VecDeque<AckToken>,
    accepted: u64,
    now: Instant,
}

/// Of a session that is tried out.
pub(crate) fn options(protocol: Protocol) -> Options {
    Options {
        protocol,
        client_id: "thing-1".to_owned(),
        session_expiry: Duration::from_secs(3600),
        keep_alive: KeepAlive::Fixed(Duration::from_secs(60)),
        ack_timeout: Duration::from_secs(10),
        max_in_flight: MAX_IN_FLIGHT,
        will: None,
        birth: None,
        login: None,
        subscribing: Subscribing::default(),
        drops_unfit: false,
        refusals_are_final: false,
        waits_for_room: false,
        topic_alias: false,
    }
}

impl<'a> Play<'a> {
    fn new(protocol: Protocol, script: &'a [u8]) -> Play<'a> {
        Play::with(options(protocol), script)
    }

    fn with(options: Options, script: &'a [u8]) -> Play<'a> {
        let filters = ["a/#", "a/+", "+/b", "b/+", "c"].into_iter().filter_map(|filter| TopicFilter::new(filter).ok());
        let filters: BTreeMap<TopicFilter, Qos> = filters.map(|filter| (filter, Qos::AtLeastOnce)).collect();
        // One that the server still has, and one that it is to be rid of.
        let held = ["c", "old/#"].into_iter().filter_map(|filter| TopicFilter::new(filter).ok());
        let filters_held = held.map(|filter| (filter, Qos::AtLeastOnce)).collect();
        let remembered = Remembered { filters: filters_held, sure: true, ..Remembered::default() };
        Play {
            protocol: options.protocol,
            session: Session::new(options, filters, remembered),
            script,
            input: BytesMut::new(),
            tokens: VecDeque::new(),
            accepted: 0,
            now: Instant::now(),
        }
    }

    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.script.split_first()?;
        self.script = rest;
        Some(*first)
    }

    fn run(&mut self) {
        self.session.connect();
        while let Some(step) = self.take() {
            match step {
                // So many bytes from the server.
                1..=0xdf => {
                    let (bytes, rest) = self.script.split_at(usize::from(step).min(self.script.len()));
                    self.script = rest;
                    self.receive(bytes);
                }
                0xe0 => self.accepted(false),
                0xe1 => self.accepted(true),
                0xe2 | 0xe3 => self.publish(if step == 0xe2 { Qos::AtMostOnce } else { Qos::AtLeastOnce }),
                0xe4 => self.tokens.pop_front().into_iter().for_each(|token| self.session.acknowledge(token)),
                0xe5 => self.tokens.pop_back().into_iter().for_each(|token| self.session.acknowledge(token)),
                0xe6 => self.pass(Duration::from_secs(1)),
                0xe7 => self.pass(Duration::from_secs(10)),
                0xe8 => self.pass(Duration::from_secs(60)),
                0xe9 => {
                    while self.session.has_room() && self.session.next_resend_size(self.now).is_some() {
                        self.session.resend(self.now);
                    }
                }
                0xea => self.session.disconnect(),
                0xeb => self.large(),
                _ => self.reconnect(),
            }
            self.check();
        }
    }

    fn reconnect(&mut self) {
        self.session.connection_lost();
        self.input.clear();
        self.session.connect();
    }

    /// CONNACK as a good server sends it.
    fn accepted(&mut self, session_present: bool) {
        self.reconnect();
        let present = u8::from(session_present);
        match self.protocol {
            Protocol::Mqtt311 => self.receive(&[0x20, 2, present, 0]),
            Protocol::Mqtt5 => self.receive(&[0x20, 3, present, 0, 0]),
        }
        assert!(self.session.is_connected());
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        if self.session.receive(&mut self.input, self.now, Timestamp::UNIX_EPOCH).is_err() {
            self.reconnect();
        }
        if self.session.is_congested() {
            // Nothing more is read then.
            self.reconnect();
        }
        assert!(self.input.len() <= MAX_PACKET + 5, "what is waited for is bounded");
    }

    /// A PUBLISH larger than we take, in pieces.
    fn large(&mut self) {
        let (qos, id) = (self.take().unwrap_or(0) % 3, self.take().unwrap_or(1));
        self.receive(&[0x30 | qos << 1, 0x80, 0x80, 0x10, 0, 1, b'a', 0, id, 0]);
        for _ in 0..9 {
            self.receive(&[0; 32 * 1024]);
        }
    }

    fn publish(&mut self, qos: Qos) {
        let Ok(topic) = Topic::new("a/b") else { return };
        if self.session.can_publish() {
            self.accepted += 1;
            let message = Outbound {
                topic,
                payload: Bytes::from_static(b"x"),
                qos,
                retain: false,
                urgent: false,
                properties: None,
            };
            self.session.publish(Sequence::new(self.accepted), message, self.now);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        if self.session.handle_timeout(self.now).is_err() {
            self.reconnect();
        }
    }

    /// What the session says is MQTT, and what it holds is bounded.
    fn check(&mut self) {
        while let Some(event) = self.session.next_event() {
            if let Event::Message(_, Some(token)) = event {
                self.tokens.push_back(token);
            }
        }
        let mut output = self.session.output().split();
        while !output.is_empty() {
            let whole = match self.protocol {
                Protocol::Mqtt311 => v4::Packet::read(&mut output, MAX_PACKET).is_ok(),
                // The codec wants properties even where MQTT leaves them out.
                Protocol::Mqtt5 if output.starts_with(&[0xe0, 0]) => output.split_to(2).len() == 2,
                Protocol::Mqtt5 => v5::Packet::read(&mut output, None).is_ok(),
            };
            assert!(whole, "what is sent is MQTT: {output:x?}");
        }
        assert!(self.session.in_flight() <= MAX_IN_FLIGHT);
    }
}
