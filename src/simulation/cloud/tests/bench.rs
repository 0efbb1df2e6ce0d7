//! The real session against a [`Cloud`], with a network between them, in virtual time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use jiff::Timestamp;

use crate::message::{AckToken, Condition, Inbound, Outbound, Qos, Sequence, Topic, TopicFilter};
use crate::mqtt::isolation::{Guilty, Rank};
use crate::mqtt::session::{Answer, End, Event, NextSend, Remembered, Session, Waiting};
use crate::mqtt::{Options, Protocol, Rejection};
use crate::simulation::cloud::behaviour::{Behaviour, Delay};
use crate::simulation::cloud::judge::Pace;
use crate::simulation::cloud::message::Downlink;
use crate::simulation::cloud::{Cloud, ConnectionId, Output};

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
        properties: None,
    }
}

fn number(sequence: Sequence) -> u64 {
    sequence.get()
}

impl Bench {
    pub(super) fn new(protocol: Protocol, names: &[&str], behaviour: Behaviour, seed: u64) -> Bench {
        let now = Instant::now();
        let options = Options {
            protocol,
            client_id: "thing-1".to_owned(),
            session_expiry: Duration::from_secs(3600),
            keep_alive: Duration::from_secs(60),
            ack_timeout: Duration::from_secs(10),
            max_in_flight: 100,
            will: None,
        };
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
        let mut options = self.options.clone();
        change(&mut options);
        self.session.reconfigure(options, None);
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

    /// The client's process is killed, and starts anew: of what it had sent, its disk knows what wasn't delivered.
    pub(super) fn restart(&mut self, wanted: BTreeMap<TopicFilter, Qos>) {
        if let Some(id) = self.connection.take() {
            self.lose(id, self.now);
        }
        self.disconnected();
        self.session = Session::new(self.options.clone(), wanted, self.remembered.clone());
        let is_done = |n: &u64| self.delivered.contains(n) || self.rejected.iter().any(|(other, _)| other == n);
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
        let rejected = |n: &u64| self.rejected.iter().any(|(other, _)| other == n);
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

    fn step(&mut self) -> bool {
        self.serve();
        if self.is_due(self.connect_at) {
            self.connect();
        }
        if self.is_due(self.connack_deadline) {
            self.end(None, false);
        }
        if self.is_due(self.session.timeout())
            && let Err(end) = self.session.handle_timeout(self.now)
        {
            self.end(Some(end), false);
        }
        if self.session.wants_other_limits(self.now) {
            self.session.disconnect();
            self.end(None, false);
        }
        let to_client = self.to_client.front().map(|(at, _)| *at);
        if self.is_due(to_client) {
            self.hear();
        }
        while let Some(((at, token), ())) = self.done_at.first_key_value().map(|(key, ())| (*key, ()))
            && at <= self.now
        {
            self.done_at.remove(&(at, token));
            self.session.acknowledge(token);
            if !self.input.is_empty() {
                self.receive();
            }
        }
        self.fill();
        self.events();
        self.write();
        self.cloud.handle_timeout(self.now);
        self.output();
        self.is_due(self.next_at())
    }

    fn connect(&mut self) {
        self.connect_at = None;
        self.session.connect();
        self.input.clear();
        self.to_client.clear();
        self.connection = Some(self.cloud.accept(self.now));
        self.connack_deadline = Some(self.now + Duration::from_secs(20));
    }

    /// What has arrived at the server.
    fn serve(&mut self) {
        for id in self.to_server.keys().copied().collect::<Vec<_>>() {
            while let Some(wire) = self.to_server.get_mut(&id)
                && let Some((_, bytes)) = wire.pop_front_if(|(at, _)| *at <= self.now)
            {
                match bytes {
                    // Cut in two anywhere.
                    Some(bytes) => {
                        let (one, two) = bytes.split_at(self.random.usize(..=bytes.len()));
                        self.cloud.receive(id, one, self.now);
                        self.cloud.receive(id, two, self.now);
                    }
                    None => self.cloud.lost(id, self.now),
                }
            }
        }
        self.output();
    }

    /// What the server says goes on the wire.
    fn output(&mut self) {
        while let Some((id, output)) = self.cloud.next_output() {
            if Some(id) != self.connection {
                continue;
            }
            let at = arrival(&self.to_client, self.now + self.latency.pick(&mut self.random));
            self.to_client.push_back(match output {
                Output::Bytes(bytes) => (at, Some(bytes)),
                Output::Close => (at, None),
            });
        }
    }

    /// What has arrived at the client.
    fn hear(&mut self) {
        match self.to_client.pop_front() {
            Some((_, Some(bytes))) => {
                self.input.extend_from_slice(&bytes);
                self.receive();
            }
            Some((_, None)) => self.end(None, true),
            None => {}
        }
    }

    fn receive(&mut self) {
        let heard = self.session.receive(&mut self.input, self.now, Timestamp::UNIX_EPOCH);
        self.events();
        if let Err(end) = heard {
            self.end(Some(end), false);
        }
    }

    fn fill(&mut self) {
        self.quota_until = None;
        loop {
            let has_room = self.session.has_room();
            let Bench { waiting, messages, .. } = self;
            let next = self.session.next_send(&mut Queue { waiting, messages }, has_room, self.now);
            if matches!(next, NextSend::Wait) {
                return;
            }
            if !self.quota.take(self.now, (100, 10), Duration::ZERO) {
                self.quota_until = Some(self.now + Duration::from_millis(10));
                return;
            }
            match next {
                NextSend::Resend(_) => self.session.resend(self.now),
                NextSend::Fresh(n) => {
                    self.waiting.remove(&n);
                    let message = self.messages[&n].clone();
                    self.session.publish(Sequence::new(n), message, self.now);
                    self.events();
                }
                NextSend::Wait => {}
            }
        }
    }

    fn write(&mut self) {
        let output = self.session.output().split();
        let Some(id) = self.connection.filter(|_| !output.is_empty()) else { return };
        self.session.wrote(output.len(), self.now);
        let wire = self.to_server.entry(id).or_default();
        let at = arrival(wire, self.now + self.latency.pick(&mut self.random));
        wire.push_back((at, Some(output.to_vec())));
    }

    fn events(&mut self) {
        while let Some(event) = self.session.next_event() {
            match event {
                Event::Connected { session_present, .. } => {
                    self.connack_deadline = None;
                    self.connected.push(session_present);
                }
                Event::Message(message, token) => {
                    self.received.push(message);
                    if let Some(token) = token {
                        let at = self.now + self.reading.pick(&mut self.random);
                        self.done_at.insert((at, token), ());
                    }
                }
                Event::Delivered(sequence) => assert!(self.delivered.insert(number(sequence)), "{sequence:?} twice"),
                Event::Rejected(sequence, _, rejection) => self.rejected.push((number(sequence), rejection)),
                Event::Doubtful(sequence, traits, rejection) => {
                    self.waiting.insert(number(sequence));
                    if matches!(rejection, Rejection::PubAck(_)) {
                        self.session.keep_apart(traits, self.now);
                    }
                }
                Event::Guilty(condition, _) => self.set_aside(condition),
                Event::Subscription(filter, answer) => self.answers.push((filter, answer)),
                Event::Settled(filters, identifiers) => {
                    self.remembered = Remembered { filters, identifiers, sure: true };
                }
                Event::Overdue(..) | Event::SubscribeOverdue(_) | Event::Throttled(..) | Event::LimitsRelaxed => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn set_aside(&mut self, condition: Condition) {
        let Bench { waiting, messages, .. } = self;
        waiting.retain(|n| !condition.matches(&messages[n].traits()));
        self.set_aside.push(condition);
    }

    /// The client gives the connection up, or sees that the server has closed.
    fn end(&mut self, end: Option<End>, is_close: bool) {
        let Some(id) = self.connection else { return };
        if let Some(end) = &end {
            self.session.say_why(end);
        }
        self.write();
        self.connection = None;
        let wire = self.to_server.entry(id).or_default();
        let at = arrival(wire, self.now + self.latency.max);
        wire.push_back((at, None));
        let for_a_packet = is_close || matches!(&end, Some(End::Disconnected(reason)) if reason.code.0 == 0x87);
        if for_a_packet && self.session.is_connected() {
            let verdict = self.session.closed_by_server(false, self.now);
            self.waiting.extend(verdict.returned.into_iter().map(number));
            if let Some(Guilty::Publish(condition)) = verdict.guilty {
                self.set_aside(condition);
            }
        } else {
            self.session.ended_otherwise();
        }
        self.ends.push(end);
        self.disconnected();
    }

    fn disconnected(&mut self) {
        self.session.connection_lost();
        self.done_at.clear();
        self.connack_deadline = None;
        self.to_client.clear();
        let wait = Duration::from_millis(self.random.u64(1100..3000));
        self.connect_at = Some((self.now + wait).max(self.not_before));
    }
}

/// When something arrives that was put on a wire: not before what is under way.
fn arrival(wire: &Wire, at: Instant) -> Instant {
    wire.back().map_or(at, |(last, _)| at.max(*last))
}
