//! The daemon as a server sees it, in either version of MQTT: for tests whose promise is the same in both.

use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;

use super::PATIENCE;
use super::scripted::{Broker, Peer};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Mqtt311,
    Mqtt5,
}

impl Version {
    /// As the configuration names it.
    pub fn name(self) -> &'static str {
        match self {
            Version::Mqtt311 => "3.1.1",
            Version::Mqtt5 => "5",
        }
    }
}

/// Runs a test in both versions at once.
pub fn both(test: impl Fn(Version) + Sync) {
    let test = &test;
    std::thread::scope(|scope| {
        for version in [Version::Mqtt311, Version::Mqtt5] {
            scope.spawn(move || test(version));
        }
    });
}

/// A packet from the daemon, as far as the tests look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Connect { client_id: String, keep_alive: u16, clean: bool },
    Subscribe { id: u16, filters: Vec<String> },
    Publish(Published),
    PubAck(u16),
    PingReq,
    Disconnect,
    Other(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub topic: String,
    pub payload: String,
    pub qos: u8,
    pub retain: bool,
    pub dup: bool,
    /// 0 with QoS 0.
    pub id: u16,
}

/// One connection of the daemon.
pub struct Device {
    version: Version,
    peer: Peer,
}

impl Broker {
    /// The next connection, on which nothing has been said.
    pub fn accept_device(&self, version: Version) -> Device {
        Device { version, peer: self.accept() }
    }

    /// The next connection, with its CONNECT accepted.
    pub fn connected_device(&self, version: Version, session_present: bool) -> Device {
        let mut device = self.accept_device(version);
        device.connect();
        device.connack(session_present);
        device
    }
}

impl Device {
    /// See [`Peer::forgive`].
    pub fn forgive(&mut self) {
        self.peer.forgive();
    }

    /// The next packet; `None` once the daemon has closed.
    pub fn next(&mut self) -> Option<Said> {
        self.next_within(PATIENCE).expect("no packet")
    }

    /// Likewise; an error if neither comes in time.
    pub fn next_within(&mut self, time: Duration) -> Result<Option<Said>, ()> {
        match self.version {
            Version::Mqtt311 => self.peer.read(time, |input: &mut BytesMut| {
                use rumqttc::mqttbytes::Error::InsufficientBytes;
                match v4::Packet::read(input, 1 << 24) {
                    Ok(packet) => Some(said_4(packet)),
                    Err(InsufficientBytes(_)) => None,
                    Err(error) => panic!("the daemon sent what isn't MQTT 3.1.1: {error:?}"),
                }
            }),
            Version::Mqtt5 => self.peer.read(time, |input: &mut BytesMut| {
                use rumqttc::v5::mqttbytes::Error::InsufficientBytes;
                // A DISCONNECT that says nothing more: the codec takes it for an error.
                if input.starts_with(&[0xe0, 0]) {
                    input.advance(2);
                    return Some(Said::Disconnect);
                }
                match v5::Packet::read(input, None) {
                    Ok(packet) => Some(said_5(packet)),
                    Err(InsufficientBytes(_)) => None,
                    Err(error) => panic!("the daemon sent what isn't MQTT 5: {error:?}"),
                }
            }),
        }
    }

    /// Whether no packet comes within `time`.
    pub fn is_silent(&mut self, time: Duration) -> bool {
        match self.next_within(time) {
            Err(()) => true,
            Ok(said) => panic!("{said:?}"),
        }
    }

    /// The next packet, which must be CONNECT; whether it asks for a clean session.
    pub fn connect(&mut self) -> bool {
        match self.next() {
            Some(Said::Connect { clean, .. }) => clean,
            other => panic!("{other:?} instead of CONNECT"),
        }
    }

    /// The next packet, which must be SUBSCRIBE: packet identifier and filters.
    pub fn subscribe(&mut self) -> (u16, Vec<String>) {
        match self.next() {
            Some(Said::Subscribe { id, filters }) => (id, filters),
            other => panic!("{other:?} instead of SUBSCRIBE"),
        }
    }

    pub fn publish(&mut self) -> Published {
        match self.next() {
            Some(Said::Publish(publish)) => publish,
            other => panic!("{other:?} instead of PUBLISH"),
        }
    }

    pub fn connack(&mut self, session_present: bool) {
        self.body(0x20, &[u8::from(session_present), 0], &[]);
    }

    /// Grants QoS 1 to so many filters.
    pub fn suback(&mut self, id: u16, filters: usize) {
        self.body(0x90, &id.to_be_bytes(), &vec![1; filters]);
    }

    pub fn puback(&mut self, id: u16) {
        let [high, low] = id.to_be_bytes();
        self.peer.raw(&[0x40, 2, high, low]);
    }

    pub fn pingresp(&mut self) {
        self.peer.raw(&[0xd0, 0]);
    }

    /// A message with QoS 1.
    pub fn message(&mut self, topic: &str, payload: &str, id: u16) {
        let length = u16::try_from(topic.len()).unwrap().to_be_bytes();
        self.body(0x32, &[&length, topic.as_bytes(), &id.to_be_bytes()].concat(), payload.as_bytes());
    }

    /// The server hangs up, with a reason where MQTT has one: 0x8B, it is shutting down.
    pub fn hang_up(mut self) {
        if self.version == Version::Mqtt5 {
            self.peer.raw(&[0xe0, 1, 0x8b]);
        }
        self.peer.close();
    }

    /// Ends the connection with a TCP reset.
    pub fn reset(self) {
        self.peer.reset();
    }

    /// A packet of `head`, no properties where the version has them, and `tail`.
    fn body(&mut self, kind: u8, head: &[u8], tail: &[u8]) {
        let properties: &[u8] = match self.version {
            Version::Mqtt311 => &[],
            Version::Mqtt5 => &[0],
        };
        let body = [head, properties, tail].concat();
        let mut packet = vec![kind];
        let mut length = body.len();
        while length >= 0x80 {
            packet.push(0x80 | (length % 0x80) as u8);
            length /= 0x80;
        }
        packet.push(length as u8);
        self.peer.raw(&[packet, body].concat());
    }
}

fn said_4(packet: v4::Packet) -> Said {
    match packet {
        v4::Packet::Connect(v4::Connect { client_id, keep_alive, clean_session, .. }) => {
            Said::Connect { client_id, keep_alive, clean: clean_session }
        }
        v4::Packet::Subscribe(subscribe) => Said::Subscribe {
            id: subscribe.pkid,
            filters: subscribe.filters.into_iter().map(|filter| filter.path).collect(),
        },
        v4::Packet::Publish(publish) => Said::Publish(Published {
            topic: publish.topic,
            payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
            qos: publish.qos as u8,
            retain: publish.retain,
            dup: publish.dup,
            id: publish.pkid,
        }),
        v4::Packet::PubAck(ack) => Said::PubAck(ack.pkid),
        v4::Packet::PingReq => Said::PingReq,
        v4::Packet::Disconnect => Said::Disconnect,
        other => Said::Other(format!("{other:?}")),
    }
}

fn said_5(packet: v5::Packet) -> Said {
    match packet {
        v5::Packet::Connect(v5::Connect { client_id, keep_alive, clean_start, .. }, _, _) => {
            Said::Connect { client_id, keep_alive, clean: clean_start }
        }
        v5::Packet::Subscribe(subscribe) => Said::Subscribe {
            id: subscribe.pkid,
            filters: subscribe.filters.into_iter().map(|filter| filter.path).collect(),
        },
        v5::Packet::Publish(publish) => Said::Publish(Published {
            topic: String::from_utf8(publish.topic.to_vec()).unwrap(),
            payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
            qos: publish.qos as u8,
            retain: publish.retain,
            dup: publish.dup,
            id: publish.pkid,
        }),
        v5::Packet::PubAck(ack) => Said::PubAck(ack.pkid),
        v5::Packet::PingReq(_) => Said::PingReq,
        v5::Packet::Disconnect(_) => Said::Disconnect,
        other => Said::Other(format!("{other:?}")),
    }
}
