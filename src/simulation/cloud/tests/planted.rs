//! What a client does wrong is noticed: bytes by hand.

use std::time::{Duration, Instant};

use crate::mqtt::Protocol;
use crate::simulation::cloud::behaviour::{Behaviour, Reply};
use crate::simulation::cloud::message::Downlink;
use crate::simulation::cloud::{Cloud, ConnectionId, Output};

/// CONNECT of MQTT 3.1.1 with keep alive 60 s and a kept session, of `c`.
const CONNECT_3: &[u8] = &[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 0, 0, 60, 0, 1, b'c'];
/// Likewise of MQTT 5, with an hour of session expiry and Receive Maximum 2.
const CONNECT_5: &[u8] =
    &[0x10, 22, 0, 4, b'M', b'Q', b'T', b'T', 5, 0, 0, 60, 8, 0x11, 0, 0, 0x0e, 0x10, 0x21, 0, 2, 0, 1, b'c'];

struct Peer {
    cloud: Cloud,
    id: ConnectionId,
    now: Instant,
    protocol: Protocol,
}

impl Peer {
    fn new(protocol: Protocol, behaviour: Behaviour) -> Peer {
        let now = Instant::now();
        let mut cloud = Cloud::new(behaviour, 1, now);
        let id = cloud.accept(now);
        let mut peer = Peer { cloud, id, now, protocol };
        peer.say(peer.connect());
        peer
    }

    fn connect(&self) -> &'static [u8] {
        if self.protocol == Protocol::Mqtt5 { CONNECT_5 } else { CONNECT_3 }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.cloud.receive(self.id, bytes, self.now);
    }

    fn reconnect(&mut self) {
        self.cloud.lost(self.id, self.now);
        self.pass(2);
        self.id = self.cloud.accept(self.now);
        self.say(self.connect());
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.cloud.handle_timeout(self.now);
    }

    /// A PUBLISH to `t`.
    fn publish(&mut self, first: u8, id: u16, payload: &str) {
        let mut body = vec![0, 1, b't'];
        if first & 6 != 0 {
            body.extend(id.to_be_bytes());
        }
        if self.protocol == Protocol::Mqtt5 {
            body.push(0);
        }
        body.extend(payload.as_bytes());
        let packet = crate::simulation::server::bytes::packet(first, &body);
        self.say(&packet);
    }

    /// SUBSCRIBE to `t` with QoS 1 and so many more filters.
    fn subscribe(&mut self, id: u16, more: u8) {
        let mut body = id.to_be_bytes().to_vec();
        if self.protocol == Protocol::Mqtt5 {
            body.push(0);
        }
        body.extend([0, 1, b't', 1]);
        for n in 0..more {
            body.extend([0, 1, b'a' + n, 1]);
        }
        let packet = crate::simulation::server::bytes::packet(0x82, &body);
        self.say(&packet);
    }

    fn offer(&mut self, payload: &'static str) {
        let message = Downlink { topic: "t".to_owned(), payload: payload.into(), qos: 1, ..Downlink::default() };
        self.cloud.publish(message, self.now);
    }

    fn is_closed(&mut self) -> bool {
        std::iter::from_fn(|| self.cloud.next_output()).any(|(_, output)| output == Output::Close)
    }
}

/// Plays `client` to an ideal server that says no PUBACK, and looks for exactly one fault, with this text.
fn plant(protocol: Protocol, text: &str, client: impl FnOnce(&mut Peer)) {
    let mut peer = Peer::new(protocol, Behaviour { puback: Reply::NEVER, ..Behaviour::default() });
    client(&mut peer);
    let faults = peer.cloud.faults();
    assert!(matches!(faults, [fault] if fault.contains(text)), "{protocol:?}: {text}: {faults:?}");
}

fn plant_both(text: &str, client: impl Fn(&mut Peer)) {
    for protocol in super::BOTH {
        plant(protocol, text, &client);
    }
}

const QOS_0: u8 = 0x30;
const QOS_1: u8 = 0x32;
const QOS_1_DUP: u8 = 0x3a;

#[test]
fn packets_out_of_place() {
    plant_both("before CONNECT", |peer| {
        peer.id = peer.cloud.accept(peer.now);
        peer.say(&[0xc0, 0]);
    });
    plant_both("MQTT-3.1.0-2", |peer| peer.say(peer.connect()));
    plant_both("after the one before", |peer| {
        peer.cloud.lost(peer.id, peer.now);
        peer.id = peer.cloud.accept(peer.now);
        peer.say(peer.connect());
    });
    plant_both("MQTT-3.14.4-2", |peer| peer.say(&[0xe0, 0, 0xc0, 0]));
    plant_both("1.5 times", |peer| peer.pass(90));
    plant_both("PUBREC", |peer| peer.say(&[0x50, 2, 0, 1]));
    plant(Protocol::Mqtt5, "AUTH", |peer| peer.say(&[0xf0, 0]));
    plant(Protocol::Mqtt5, "the server broke the rules", |peer| peer.say(&[0xe0, 1, 0x82]));
    for protocol in super::BOTH {
        let mut peer = Peer::new(protocol, Behaviour { connack: Reply::NEVER, ..Behaviour::default() });
        peer.publish(QOS_1, 1, "x");
        assert!(
            matches!(peer.cloud.faults(), [fault] if fault.contains("before CONNACK")),
            "{:?}",
            peer.cloud.faults()
        );
    }
}

#[test]
fn malformed_packets() {
    for (bytes, text) in [
        (&[0xc1, 0][..], "MQTT-2.1.3-1"),
        (&[0x80, 2, 0, 1], "MQTT-2.1.3-1"),
        (&[0xc0, 0x80, 0], "MQTT-1.5.5-1"),
        (&[0x30, 0xff, 0xff, 0xff, 0xff], "more than four bytes"),
        (&[0xc0, 1, 0], "1 bytes behind"),
        (&[0x36, 5, 0, 1, b't', 0, 1], "MQTT-3.3.1-4"),
        (&[0x38, 4, 0, 1, b't', 0], "MQTT-3.3.1-2"),
        (&[0x30, 4, 0, 1, b'#', 0], "MQTT-3.3.2-2"),
        (&[0x30, 3, 0, 0, 0], "MQTT-4.7.3-1"),
        (&[0x30, 4, 0, 1, 0xff, 0], "MQTT-1.5.4-1"),
        (&[0x30, 4, 0, 1, 0, 0], "MQTT-1.5.4-2"),
        (&[0x30, 4, 0, 9, b't', 0], "shorter"),
        (&[0x32, 6, 0, 1, b't', 0, 0, 0], "MQTT-2.2.1-3"),
        (&[0x40, 2, 0, 0], "MQTT-2.2.1-3"),
    ] {
        plant_both(text, |peer| {
            peer.say(bytes);
            assert!(peer.is_closed());
        });
    }
    for (bytes, text) in [
        (&[0x30, 7, 0, 1, b't', 3, 0x23, 0, 0][..], "MQTT-3.3.2-8"),
        (&[0x30, 7, 0, 1, b't', 3, 0x23, 0, 9], "MQTT-3.3.2-9"),
        (&[0x30, 6, 0, 0, 3, 0x23, 0, 1], "stands for nothing"),
        (&[0x30, 6, 0, 1, b't', 2, 0x0b, 1], "0x0b"),
        (&[0x30, 8, 0, 1, b't', 4, 1, 0, 1, 0], "twice"),
        (&[0x82, 7, 0, 1, 0, 0, 1, b't', 0x40], "MQTT-3.8.3-5"),
        (&[0x82, 3, 0, 1, 0], "MQTT-3.8.3-2"),
        (&[0x82, 9, 0, 1, 0, 0, 3, b'#', b'/', b'a', 1], "MQTT-4.7.1-2"),
        (&[0x82, 9, 0, 1, 2, 0x0b, 1, 0, 1, b't', 1], "isn't available"),
        (&[0xa2, 3, 0, 1, 0], "MQTT-3.10.3-2"),
    ] {
        plant(Protocol::Mqtt5, text, |peer| peer.say(bytes));
    }
}

#[test]
fn identifiers_and_dup() {
    plant_both("another message", |peer| {
        peer.publish(QOS_1, 7, "a");
        peer.publish(QOS_1, 7, "b");
    });
    plant_both("without DUP", |peer| {
        peer.publish(QOS_1, 7, "a");
        peer.reconnect();
        peer.publish(QOS_1, 7, "a");
    });
    plant_both("first in this session", |peer| peer.publish(QOS_1_DUP, 7, "a"));
    plant_both("MQTT-4.6.0-1", |peer| {
        peer.publish(QOS_1, 7, "a");
        peer.publish(QOS_1, 8, "b");
        peer.reconnect();
        peer.publish(QOS_1_DUP, 8, "b");
        peer.publish(QOS_1_DUP, 7, "a");
    });
    plant(Protocol::Mqtt5, "on the same connection", |peer| {
        peer.publish(QOS_1, 7, "a");
        peer.publish(QOS_1_DUP, 7, "a");
    });
    plant_both("an identifier that is in use", |peer| {
        peer.publish(QOS_1, 7, "a");
        peer.subscribe(7, 0);
    });
    plant_both("SUBSCRIBE with 9 filters", |peer| peer.subscribe(1, 8));
}

#[test]
fn limits() {
    plant_both("QoS 2", |peer| peer.publish(0x34, 1, "a"));
    plant_both("more publications", |peer| (0..11).for_each(|_| peer.publish(QOS_0, 0, "a")));
    plant_both("128 KiB", |peer| peer.publish(QOS_0, 0, &"x".repeat(131_073)));
    plant_both("the Receive Maximum is 100", |peer| {
        for id in 1..=101 {
            peer.publish(QOS_1, id, "a");
            peer.now += Duration::from_millis(10);
        }
    });
    plant(Protocol::Mqtt5, "MQTT-3.2.2-15", |peer| {
        peer.cloud.behaviour.announced.maximum_packet_size = Some(100);
        peer.reconnect();
        peer.publish(QOS_0, 0, &"x".repeat(100));
    });
    plant(Protocol::Mqtt5, "MQTT-3.2.2-14", |peer| {
        peer.cloud.behaviour.announced.retain = false;
        peer.reconnect();
        peer.publish(0x31, 0, "x");
    });
    plant(Protocol::Mqtt5, "MQTT-3.2.2-11", |peer| {
        peer.cloud.behaviour.announced.maximum_qos = 0;
        peer.reconnect();
        peer.publish(QOS_1, 1, "x");
    });
}

#[test]
fn acknowledgements() {
    plant_both("no such message", |peer| peer.say(&[0x40, 2, 0, 9]));
    plant_both("comes before PUBACK 1", |peer| {
        peer.subscribe(1, 0);
        peer.offer("a");
        peer.offer("b");
        peer.say(&[0x40, 2, 0, 2]);
    });
    plant_both("no such message", |peer| {
        peer.subscribe(1, 0);
        peer.offer("a");
        peer.say(&[0x40, 2, 0, 1]);
        peer.say(&[0x40, 2, 0, 1]);
    });
}

#[test]
fn what_a_client_may_do_is_no_fault() {
    for protocol in super::BOTH {
        let mut peer = Peer::new(protocol, Behaviour { puback: Reply::NEVER, ..Behaviour::default() });
        peer.publish(QOS_1, 7, "a");
        if protocol == Protocol::Mqtt311 {
            peer.publish(QOS_1_DUP, 7, "a");
        }
        peer.reconnect();
        // 8 was sent, and never arrived.
        peer.publish(QOS_1_DUP, 7, "a");
        peer.publish(QOS_1_DUP, 8, "b");
        peer.publish(QOS_1, 9, "c");
        peer.cloud.client_restarted();
        peer.reconnect();
        peer.publish(QOS_1, 7, "c");
        assert_eq!(peer.cloud.faults(), [""; 0]);
        assert_eq!(peer.cloud.taken().len(), if protocol == Protocol::Mqtt311 { 6 } else { 5 });
    }
}
