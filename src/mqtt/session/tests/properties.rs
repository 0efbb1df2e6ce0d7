//! The session against a server that keeps MQTT's rules over a wire that keeps none: connections end anywhere, the server
//! forgets its session, acknowledgements come late, in any order, or not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use proptest::prelude::*;

use super::server::{BOTH, Heard, Say, hear};
use super::{Event, Options, Session};
use crate::message::Sequence;
use crate::message::{Outbound, Qos, Topic};
use crate::mqtt::session::fuzzing::local;
use crate::mqtt::{KeepAlive, Protocol, Subscribing};

const WINDOW: usize = 5;
const ACK_TIMEOUT: Duration = Duration::from_secs(10);

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    Accept(usize),
    /// So many bytes of what the client has written reach the server.
    ToServer(usize),
    /// The server acknowledges one of the messages it owes an answer for.
    Acknowledge(usize),
    /// The server loses one of them: IoT Core discards what comes too fast.
    Discard(usize),
    /// The server's packets reach the client, cut into pieces of so many bytes.
    ToClient(usize),
    Pass(u64),
    /// The connection ends; the server keeps its session or not.
    Cut {
        keep_session: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..8usize).prop_map(Step::Accept),
        6 => (1..200usize).prop_map(Step::ToServer),
        6 => any::<usize>().prop_map(Step::Acknowledge),
        1 => any::<usize>().prop_map(Step::Discard),
        4 => (1..20usize).prop_map(Step::ToClient),
        2 => (1..15u64).prop_map(Step::Pass),
        2 => any::<bool>().prop_map(|keep_session| Step::Cut { keep_session }),
    ]
}

struct World {
    protocol: Protocol,
    session: Session,
    now: Instant,
    accepted: u64,
    waiting: VecDeque<u64>,
    delivered: BTreeSet<Sequence>,
    to_server: BytesMut,
    to_client: BytesMut,
    /// First arrivals at the server, in order.
    arrived: Vec<u64>,
    /// What the server's session knows: packet identifier to message, until acknowledged.
    known: BTreeMap<u16, u64>,
    /// Received on this connection and neither acknowledged nor discarded.
    owed: Vec<u16>,
    /// Packet identifiers received on this connection.
    seen: BTreeSet<u16>,
    keep_session: bool,
}

impl World {
    fn new(protocol: Protocol, is_local: bool) -> World {
        let options = Options {
            protocol,
            client_id: "thing-1".to_owned(),
            session_expiry: Duration::from_secs(3600),
            keep_alive: KeepAlive::Fixed(Duration::from_secs(1200)),
            ack_timeout: ACK_TIMEOUT,
            max_in_flight: WINDOW,
            will: None,
            birth: None,
            login: None,
            subscribing: Subscribing::default(),
            drops_unfit: false,
            refusals_are_final: false,
            topic_alias: false,
            waits_for_room: false,
        };
        let options = if is_local { local(options) } else { options };
        let mut world = World {
            protocol,
            session: Session::new(options, BTreeMap::new(), super::Remembered::default()),
            now: Instant::now(),
            accepted: 0,
            waiting: VecDeque::new(),
            delivered: BTreeSet::new(),
            to_server: BytesMut::new(),
            to_client: BytesMut::new(),
            arrived: Vec::new(),
            known: BTreeMap::new(),
            owed: Vec::new(),
            seen: BTreeSet::new(),
            keep_session: false,
        };
        world.session.connect();
        world
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Accept(n) => {
                for _ in 0..n {
                    self.accepted += 1;
                    self.waiting.push_back(self.accepted);
                }
            }
            Step::ToServer(n) => self.carry_to_server(n),
            Step::Acknowledge(index) => {
                if !self.owed.is_empty() {
                    let id = self.owed.remove(index % self.owed.len());
                    self.known.remove(&id);
                    self.say(Say::PubAck(id));
                }
            }
            Step::Discard(index) => {
                if !self.owed.is_empty() {
                    self.owed.remove(index % self.owed.len());
                }
            }
            Step::ToClient(piece) => self.carry_to_client(piece),
            Step::Pass(seconds) => {
                self.now += Duration::from_secs(seconds);
                if self.session.handle_timeout(self.now).is_err() {
                    self.cut(true);
                }
            }
            Step::Cut { keep_session } => self.cut(keep_session),
        }
        self.send();
    }

    fn cut(&mut self, keep_session: bool) {
        self.keep_session = keep_session;
        self.to_server.clear();
        self.to_client.clear();
        self.owed.clear();
        self.seen.clear();
        if !keep_session {
            self.known.clear();
        }
        self.session.connect();
    }

    /// What the link does whenever it wakes.
    fn send(&mut self) {
        while self.session.has_room() && self.session.next_resend_size(self.now).is_some() {
            self.session.resend(self.now);
        }
        while self.session.can_publish()
            && let Some(n) = self.waiting.pop_front()
        {
            let payload = Bytes::from(n.to_string());
            let message = Outbound {
                topic: Topic::new("t").unwrap(),
                payload,
                qos: Qos::AtLeastOnce,
                retain: false,
                urgent: false,
                properties: None,
            };
            self.session.publish(Sequence::new(n), message, self.now);
        }
        assert!(self.session.in_flight() <= WINDOW);
        let written = self.session.output().split();
        self.session.wrote(written.len(), self.now);
        self.to_server.unsplit(written);
    }

    fn carry_to_server(&mut self, n: usize) {
        let mut input = self.to_server.clone();
        let mut taken = 0;
        while let Some(packet) = hear(self.protocol, &mut input) {
            let left = input.len();
            taken = self.to_server.len() - left;
            self.serve(packet);
            if taken >= n {
                break;
            }
        }
        let _ = self.to_server.split_to(taken);
    }

    fn say(&mut self, say: Say) {
        self.to_client.unsplit(say.bytes(self.protocol));
    }

    fn serve(&mut self, packet: Heard) {
        match packet {
            Heard::Connect { .. } => self.say(Say::ConnAck { session_present: self.keep_session }),
            Heard::Publish { payload, id, dup } => {
                let n: u64 = std::str::from_utf8(&payload).unwrap().parse().unwrap();
                if let Some(before) = self.known.insert(id, n) {
                    assert_eq!(before, n, "packet identifier {id} is used twice");
                }
                let again = !self.seen.insert(id);
                assert!(!again || self.protocol == Protocol::Mqtt311, "sent twice on one connection");
                assert!(!dup || again || self.keep_session, "DUP in a new session");
                if !self.arrived.contains(&n) {
                    self.arrived.push(n);
                }
                if !self.owed.contains(&id) {
                    self.owed.push(id);
                }
            }
            Heard::PingReq => self.say(Say::PingResp),
            other => panic!("{other:?}"),
        }
    }

    fn carry_to_client(&mut self, piece: usize) {
        let bytes = self.to_client.split();
        let mut input = BytesMut::new();
        for chunk in bytes.chunks(piece) {
            input.extend_from_slice(chunk);
            self.session.receive(&mut input, self.now, Timestamp::UNIX_EPOCH).unwrap();
        }
        assert!(input.is_empty());
        while let Some(event) = self.session.next_event() {
            match event {
                Event::Delivered(sequence) => assert!(self.delivered.insert(sequence), "{sequence:?} delivered twice"),
                Event::Connected { .. } | Event::Settled(..) | Event::Overdue(..) | Event::Throttled(..) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// A calm end: everything gets through.
    fn settle(&mut self) {
        for _ in 0..self.accepted + 100 {
            self.take(Step::ToServer(usize::MAX));
            while !self.owed.is_empty() {
                self.take(Step::Acknowledge(0));
            }
            self.take(Step::ToClient(usize::MAX));
            // Less than `ACK_TIMEOUT`, or what was just sent would be overdue.
            self.take(Step::Pass(5));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_accepted_message_arrives_and_first_arrivals_keep_the_order(
        protocol in prop::sample::select(&BOTH[..]),
        is_local: bool,
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut world = World::new(protocol, is_local);
        for step in steps {
            world.take(step);
        }
        world.settle();
        let all: Vec<u64> = (1..=world.accepted).collect();
        prop_assert_eq!(&world.arrived, &all);
        prop_assert_eq!(world.delivered.len(), all.len());
        prop_assert_eq!(world.session.in_flight(), 0);
    }

    #[test]
    fn no_bytes_from_the_network_make_it_panic(
        protocol in prop::sample::select(&BOTH[..]),
        is_local: bool,
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 1..8),
    ) {
        let mut world = World::new(protocol, is_local);
        world.take(Step::ToServer(usize::MAX));
        world.take(Step::ToClient(usize::MAX));
        let mut input = BytesMut::new();
        for chunk in chunks {
            input.extend_from_slice(&chunk);
            if world.session.receive(&mut input, world.now, Timestamp::UNIX_EPOCH).is_err() {
                break;
            }
        }
    }
}
