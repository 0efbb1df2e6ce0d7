//! The real session against a [`Cloud`], with a network between them, in virtual time.

mod driving;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use fastrand::Rng;

use crate::message::{AckToken, Condition, Inbound, Outbound, Qos, Sequence, Topic, TopicFilter};
use crate::mqtt::isolation::Rank;
use crate::mqtt::session::{Answer, End, Remembered, Session, Waiting};
use crate::mqtt::{Options, Protocol, Rejection};
use crate::simulation::cloud::behaviour::{Behaviour, Delay};
use crate::simulation::cloud::message::Downlink;
use crate::simulation::cloud::{Cloud, ConnectionId};
use crate::simulation::server::judge::Pace;

pub(super) const BOTH: [Protocol; 2] = [Protocol::Mqtt311, Protocol::Mqtt5];

/// So often nothing is to be done at one instant.
const MAX_STEPS: usize = 10_000;

/// Bytes under way, or `None`: the end of the connection.
type Wire = VecDeque<(Instant, Option<Vec<u8>>)>;

/// A client that does what the link does, and its server.
pub(super) struct Bench {
    options: Options,
    pub(super) session: Session,
    pub(super) cloud: Cloud,
    pub(super) now: Instant,
    random: Rng,
    /// Of every transfer, each way.
    pub(super) latency: Delay,
    connection: Option<ConnectionId>,
    connack_deadline: Option<Instant>,
    connect_at: Option<Instant>,
    not_before: Instant,
    input: BytesMut,
    to_server: BTreeMap<ConnectionId, Wire>,
    to_client: Wire,
    quota: Pace,
    quota_until: Option<Instant>,
    /// All that was accepted, by number.
    messages: BTreeMap<u64, Outbound>,
    waiting: BTreeSet<u64>,
    pub(super) delivered: BTreeSet<u64>,
    pub(super) rejected: Vec<(u64, Rejection)>,
    pub(super) expired: BTreeSet<u64>,
    pub(super) set_aside: Vec<Condition>,
    pub(super) received: Vec<Inbound>,
    /// What is received is done after so long, in any order.
    pub(super) reading: Delay,
    done_at: BTreeMap<(Instant, AckToken), ()>,
    pub(super) answers: Vec<(TopicFilter, Answer)>,
    /// What the client's disk knows of the server's session.
    remembered: Remembered,
    pub(super) connected: Vec<bool>,
    /// Why connections have ended; `None`: the server has closed.
    pub(super) ends: Vec<Option<End>>,
}

/// What waits, as the session may look through it.
struct Queue<'a> {
    waiting: &'a BTreeSet<u64>,
    messages: &'a BTreeMap<u64, Outbound>,
}

impl Waiting for Queue<'_> {
    type Found = u64;

    fn first(&mut self, mut admits: impl FnMut(&Outbound, bool) -> bool) -> Option<u64> {
        self.waiting.iter().find(|n| admits(&self.messages[n], false)).copied()
    }

    fn least(&mut self, rank: impl Fn(&Outbound, u32) -> Option<Rank>) -> Option<u64> {
        let ranked = (0..).zip(self.waiting).filter_map(|(place, n)| Some((rank(&self.messages[n], place)?, *n)));
        ranked.min().map(|(_, n)| n)
    }
}

pub(super) fn filters(names: &[&str]) -> BTreeMap<TopicFilter, Qos> {
    names.iter().map(|name| (TopicFilter::new(name).unwrap(), Qos::AtLeastOnce)).collect()
}

pub(super) fn downlink(topic: &str, payload: &str, qos: u8) -> Downlink {
    Downlink {
        topic: topic.to_owned(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos,
        ..Downlink::default()
    }
}

pub(super) fn outbound(topic: &str, payload: &str, qos: Qos) -> Outbound {
    Outbound {
        topic: Topic::new(topic).unwrap(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos,
        retain: false,
        urgent: false,
        properties: None,
    }
}

fn number(sequence: Sequence) -> u64 {
    sequence.get()
}

impl Bench {
    pub(super) fn new(protocol: Protocol, names: &[&str], behaviour: Behaviour, seed: u64) -> Bench {
        let now = Instant::now();
        let options = crate::mqtt::session::fuzzing::options(protocol);
        Bench {
            session: Session::new(options.clone(), filters(names), Remembered::default()),
            options,
            cloud: Cloud::new(behaviour, seed, now),
            now,
            random: Rng::with_seed(!seed),
            latency: Delay::between(Duration::from_millis(20), Duration::from_millis(20)),
            connection: None,
            connack_deadline: None,
            connect_at: Some(now),
            not_before: now,
            input: BytesMut::new(),
            to_server: BTreeMap::new(),
            to_client: VecDeque::new(),
            quota: Pace::default(),
            quota_until: None,
            messages: BTreeMap::new(),
            waiting: BTreeSet::new(),
            delivered: BTreeSet::new(),
            rejected: Vec::new(),
            expired: BTreeSet::new(),
            set_aside: Vec::new(),
            received: Vec::new(),
            reading: Delay::default(),
            done_at: BTreeMap::new(),
            answers: Vec::new(),
            remembered: Remembered::default(),
            connected: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// A client that is connected, with an ideal server.
    pub(super) fn ideal(protocol: Protocol, names: &[&str]) -> Bench {
        let mut bench = Bench::new(protocol, names, Behaviour::default(), 1);
        bench.run(Duration::from_secs(2));
        assert_eq!(bench.connected, [false]);
        bench
    }

    pub(super) fn set_behaviour(&mut self, change: impl FnOnce(&mut Behaviour)) {
        let mut behaviour = self.cloud.behaviour.clone();
        change(&mut behaviour);
        self.cloud.set_behaviour(behaviour, self.now);
        self.settle();
    }

    /// The options of the client, before it connects.
    pub(super) fn options(&mut self, change: impl FnOnce(&mut Options)) {
        change(&mut self.options);
        self.session.reconfigure(self.options.clone(), None);
    }

    /// The client says DISCONNECT, and connects again.
    pub(super) fn say_goodbye(&mut self) {
        self.session.disconnect();
        self.end(None, false);
        self.settle();
    }

    /// The client is to publish this. Returns its number.
    pub(super) fn publish(&mut self, message: Outbound) -> u64 {
        let n = self.messages.len() as u64 + 1;
        self.messages.insert(n, message);
        self.waiting.insert(n);
        self.settle();
        n
    }

    /// Another device publishes.
    pub(super) fn offer(&mut self, message: Downlink) -> usize {
        let place = self.cloud.publish(message, self.now);
        self.settle();
        place
    }

    /// Time passes, and what is due happens.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        while let Some(at) = self.next_at().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    /// The network breaks. The server learns of it after so long.
    pub(super) fn cut(&mut self, learns_after: Duration) {
        let Some(id) = self.connection.take() else { return };
        self.lose(id, self.now + learns_after);
        self.session.ended_otherwise();
        self.disconnected();
        self.settle();
    }

    /// What was written last never arrives, be it a part of a packet.
    fn lose(&mut self, id: ConnectionId, learned_at: Instant) {
        let wire = self.to_server.entry(id).or_default();
        wire.truncate(self.random.usize(..=wire.len()));
        if let Some((_, Some(bytes))) = wire.back_mut() {
            bytes.truncate(self.random.usize(..=bytes.len()));
        }
        let at = arrival(wire, learned_at);
        wire.push_back((at, None));
        self.to_client.clear();
    }

    /// The client says goodbye, and has another session from now on: of the other protocol.
    pub(super) fn change_protocol(&mut self) {
        self.session.disconnect();
        self.end(None, false);
        self.options.protocol = match self.options.protocol {
            Protocol::Mqtt311 => Protocol::Mqtt5,
            Protocol::Mqtt5 => Protocol::Mqtt311,
        };
        self.session.reconfigure(self.options.clone(), Some(Remembered::default()));
        self.remembered = Remembered::default();
        // Back in the first session without a connection in the other, it has let go of that one all the same.
        self.cloud.client_restarted();
        self.settle();
    }

    /// The client's process is killed, and starts anew: of what it had sent, its disk knows what wasn't delivered.
    pub(super) fn restart(&mut self, wanted: BTreeMap<TopicFilter, Qos>) {
        if let Some(id) = self.connection.take() {
            self.lose(id, self.now);
        }
        self.disconnected();
        let remembered = Remembered { sure: self.random.bool(), ..self.remembered.clone() };
        self.session = Session::new(self.options.clone(), wanted, remembered);
        let has_ended = |n: &u64| self.delivered.contains(n) || self.expired.contains(n);
        let is_done = |n: &u64| has_ended(n) || self.rejected.iter().any(|(other, _)| other == n);
        let open = self.messages.iter().filter(|(n, message)| {
            let is_set_aside = self.set_aside.iter().any(|condition| condition.matches(&message.traits()));
            message.qos == Qos::AtLeastOnce && !is_done(n) && !is_set_aside
        });
        self.waiting = open.map(|(n, _)| *n).collect();
        self.quota = Pace::default();
        self.cloud.client_restarted();
        self.settle();
    }

    /// The client doesn't connect for so long.
    pub(super) fn hold_back(&mut self, time: Duration) {
        self.not_before = self.now + time;
        self.connect_at = self.connect_at.map(|at| at.max(self.not_before));
    }

    /// Other filters are wanted.
    pub(super) fn want(&mut self, wanted: BTreeMap<TopicFilter, Qos>) {
        self.session.want(wanted, self.now);
        self.settle();
    }

    pub(super) fn taken(&self) -> Vec<String> {
        let text = |payload: &Bytes| String::from_utf8_lossy(payload).into_owned();
        self.cloud.taken().iter().map(|taken| text(&taken.payload)).collect()
    }

    pub(super) fn received(&self) -> Vec<String> {
        self.received.iter().map(|message| String::from_utf8_lossy(&message.payload).into_owned()).collect()
    }

    /// The client may be at fault for none of it.
    pub(super) fn assert_faultless(&self) {
        assert_eq!(self.cloud.faults(), [""; 0]);
    }

    /// Every message with QoS 1 is delivered, rejected or set aside, and the server has what is delivered; the client has what it
    /// has acknowledged.
    pub(super) fn assert_nothing_lost(&self) {
        let rejected = |n: &u64| self.expired.contains(n) || self.rejected.iter().any(|(other, _)| other == n);
        for (n, message) in self.messages.iter().filter(|(_, message)| message.qos == Qos::AtLeastOnce) {
            let is_set_aside = self.set_aside.iter().any(|condition| condition.matches(&message.traits()));
            assert!(self.delivered.contains(n) || rejected(n) || is_set_aside, "{n}: {message:?}");
            let is_taken = self.cloud.taken().iter().any(|taken| taken.payload == message.payload);
            assert!(is_taken || !self.delivered.contains(n), "{n} isn't taken: {message:?}");
        }
        for offered in self.cloud.offered().iter().filter(|offered| offered.acknowledged > 0) {
            let is_received = self.received.iter().any(|received| received.payload == offered.message.payload);
            assert!(is_received, "{offered:?}");
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.session.in_flight() == 0
    }

    fn next_at(&self) -> Option<Instant> {
        self.deadlines().into_iter().flatten().min()
    }

    fn deadlines(&self) -> [Option<Instant>; 8] {
        let to_server = self.to_server.values().filter_map(|wire| wire.front()).map(|(at, _)| *at).min();
        let to_client = self.to_client.front().map(|(at, _)| *at);
        let done = self.done_at.keys().next().map(|(at, _)| *at);
        let (session, cloud) = (self.session.timeout(), self.cloud.timeout());
        [self.connect_at, self.connack_deadline, self.quota_until, session, cloud, to_server, to_client, done]
    }

    /// Everything that is due now, until nothing is.
    fn settle(&mut self) {
        let steps = (0..MAX_STEPS).take_while(|_| self.step()).count();
        assert!(steps < MAX_STEPS, "a busy loop: {:?} {:?} {:?}", self.deadlines(), self.session, self.cloud.timeout());
    }

    fn is_due(&self, at: Option<Instant>) -> bool {
        at.is_some_and(|at| at <= self.now)
    }
}

/// When something arrives that was put on a wire: not before what is under way.
fn arrival(wire: &Wire, at: Instant) -> Instant {
    wire.back().map_or(at, |(last, _)| at.max(*last))
}
