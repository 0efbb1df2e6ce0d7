//! A session, a server that refuses some messages and filters by closing the connection, and the network between them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use jiff::Timestamp;

use super::queue::{Kind, Queue, kind};
use super::steps::{Forbids, Step};
use crate::message::Sequence;
use crate::message::{Condition, Outbound, Qos, TopicFilter, Traits};
use crate::mqtt::isolation::{Guilty, Suspect};
use crate::mqtt::session::tests::server::{Heard, Say, hear};
use crate::mqtt::session::{Event, NextSend, Remembered, Session};
use crate::mqtt::{KeepAlive, Options, Protocol, Subscribing};

pub(super) const FILTERS: usize = 10;

/// What is refused without a break of the network is so on this many pieces of evidence at least.
const EVIDENCE: u32 = 3;

pub(super) struct World {
    protocol: Protocol,
    pub(super) session: Session,
    pub(super) now: Instant,
    forbids: Forbids,
    pub(super) forbidden_filters: BTreeSet<usize>,
    /// All that was accepted, by number, and when.
    pub(super) messages: BTreeMap<u64, (Outbound, Traits, Instant)>,
    pub(super) waiting: BTreeSet<u64>,
    pub(super) set_aside: Vec<Condition>,
    pub(super) quarantined: BTreeSet<u64>,
    pub(super) delivered: BTreeSet<u64>,
    /// First arrivals at the server.
    pub(super) arrived: Vec<u64>,
    pub(super) standing: BTreeSet<String>,
    to_server: BytesMut,
    to_client: BytesMut,
    closed: bool,
    /// A PINGRESP is on its way to the client.
    is_pinged: bool,
    has_session: bool,
    /// Connections that the server has closed.
    pub(super) closes: usize,
    /// Those that have broken so that it looks like that.
    pub(super) breaks: usize,
    /// The client knows that something was taken on this connection.
    has_taken: bool,
    /// Kinds of which the client knows that they were taken.
    taken: BTreeSet<Kind>,
    /// Of the last message with QoS 0 on this connection: tried alone, it is suspected for longer than others are.
    last_qos_0: Option<Kind>,
    /// Closes by one kind alone while others were taken, since the last of it was taken.
    evidence: BTreeMap<Kind, u32>,
    /// Since when the network and the server do as they should.
    calm_since: Option<Instant>,
    /// How long a message that the server takes has waited for its PUBACK since then.
    pub(super) longest: Duration,
}

fn filter(i: usize) -> TopicFilter {
    TopicFilter::new(&format!("f/{i:02}")).unwrap()
}

impl World {
    pub(super) fn new(protocol: Protocol, forbids: Forbids, forbidden_filters: BTreeSet<usize>) -> World {
        let options = Options {
            protocol,
            client_id: "thing-1".to_owned(),
            session_expiry: Duration::from_secs(3600),
            keep_alive: KeepAlive::Fixed(Duration::from_secs(1200)),
            ack_timeout: Duration::from_secs(600),
            max_in_flight: 5,
            will: None,
            birth: None,
            login: None,
            subscribing: Subscribing::default(),
            drops_unfit: false,
            refusals_are_final: false,
            topic_alias: false,
            waits_for_room: false,
        };
        let wanted = (0..FILTERS).map(|i| (filter(i), Qos::AtLeastOnce)).collect();
        let mut world = World {
            protocol,
            session: Session::new(options, wanted, Remembered::default()),
            now: Instant::now(),
            forbids,
            forbidden_filters,
            messages: BTreeMap::new(),
            waiting: BTreeSet::new(),
            set_aside: Vec::new(),
            quarantined: BTreeSet::new(),
            delivered: BTreeSet::new(),
            arrived: Vec::new(),
            standing: BTreeSet::new(),
            to_server: BytesMut::new(),
            to_client: BytesMut::new(),
            closed: false,
            is_pinged: false,
            has_session: false,
            closes: 0,
            breaks: 0,
            has_taken: false,
            taken: BTreeSet::new(),
            last_qos_0: None,
            evidence: BTreeMap::new(),
            calm_since: None,
            longest: Duration::ZERO,
        };
        world.session.connect();
        world
    }

    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Accept(sort, qos_1) => {
                let n = self.messages.len() as u64 + 1;
                let qos = if qos_1 { Qos::AtLeastOnce } else { Qos::AtMostOnce };
                let message = self.forbids.message(n, sort, qos);
                let traits = message.traits();
                self.messages.insert(n, (message, traits, self.now));
                self.waiting.insert(n);
            }
            Step::Serve(n) => self.serve(n),
            Step::Hear => self.hear(),
            Step::Pass(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.session.handle_timeout(self.now).unwrap();
            }
            Step::Break => {
                if self.session.is_connected() {
                    self.breaks += 1;
                    self.end(true);
                }
            }
            Step::Outage => self.end(false),
        }
        self.send();
    }

    fn traits(&self, n: u64) -> &Traits {
        &self.messages[&n].1
    }

    pub(super) fn is_refused(&self, n: u64) -> bool {
        self.forbids.refuses(self.traits(n))
    }

    fn end(&mut self, by_server: bool) {
        self.to_server.clear();
        self.to_client.clear();
        self.closed = false;
        match by_server {
            true => self.judge(),
            false => {
                self.evidence.clear();
                self.session.ended_otherwise();
            }
        }
        (self.has_taken, self.is_pinged, self.last_qos_0) = (false, false, None);
        self.session.connect();
    }

    /// The connection was closed: what that shows must be true, or must look so.
    fn judge(&mut self) {
        let suspects: Vec<Suspect> = self.session.last_sent(self.now).collect();
        let alone = match &suspects[..] {
            [] => self.last_qos_0.take(),
            [Suspect::Publish(traits)] => Some(kind(traits)),
            _ => None,
        };
        if let Some(kind) = alone.filter(|_| self.has_taken) {
            *self.evidence.entry(kind).or_default() += 1;
        }
        let verdict = self.session.closed_by_server(false, self.now);
        match verdict.guilty {
            Some(Guilty::Publish(condition)) => {
                self.assert_evidence(&condition);
                self.set_aside.push(condition);
            }
            Some(Guilty::Subscribe(guilty)) => {
                let is_forbidden = self.forbidden_filters.iter().any(|i| filter(*i) == guilty);
                assert!(is_forbidden || self.breaks > 2, "{guilty} is innocent");
            }
            None => {}
        }
        self.waiting.extend(verdict.returned.into_iter().map(number));
    }

    fn assert_evidence(&self, condition: &Condition) {
        let met = self.messages.values().map(|(_, traits, _)| traits).filter(|traits| condition.matches(traits));
        let met: Vec<&Traits> = met.collect();
        assert!(met.iter().any(|traits| self.forbids.refuses(traits)) || self.breaks > 2, "{condition} is innocent");
        let taken = met.iter().find(|traits| self.taken.contains(&kind(traits)) && !self.forbids.refuses(traits));
        assert!(taken.is_none(), "{condition}: {taken:?} was taken");
        let kinds: BTreeSet<Kind> = met.into_iter().map(kind).collect();
        let evidence: u32 = kinds.iter().filter_map(|kind| self.evidence.get(kind)).sum();
        assert!(evidence >= EVIDENCE, "{condition}: {evidence} pieces of evidence");
    }

    /// What the link does whenever it wakes.
    fn send(&mut self) {
        loop {
            self.move_set_aside();
            let World { waiting, messages, .. } = self;
            let next = self.session.next_send(&mut Queue { waiting, messages }, true, self.now);
            match next {
                NextSend::Wait => break,
                NextSend::Resend(_) => self.session.resend(self.now),
                NextSend::Fresh(n) => self.publish(n),
            }
        }
        let written = self.session.output().split();
        self.session.wrote(written.len(), self.now);
        self.to_server.unsplit(written);
    }

    fn publish(&mut self, n: u64) {
        self.waiting.remove(&n);
        let (message, traits, _) = self.messages[&n].clone();
        if traits.qos == Qos::AtMostOnce {
            self.last_qos_0 = Some(kind(&traits));
        }
        self.session.publish(Sequence::new(n), message, self.now);
    }

    /// As the outbox does it.
    fn move_set_aside(&mut self) {
        let World { waiting, messages, set_aside, quarantined, .. } = self;
        waiting.retain(|n| {
            let (_, traits, _) = &messages[n];
            let goes = set_aside.iter().any(|condition| condition.matches(traits));
            if goes && traits.qos == Qos::AtLeastOnce {
                quarantined.insert(*n);
            }
            !goes
        });
    }

    fn serve(&mut self, n: usize) {
        for _ in 0..n {
            if self.closed || self.to_server.is_empty() {
                return;
            }
            match hear(self.protocol, &mut self.to_server).unwrap() {
                Heard::Connect { .. } => {
                    self.say(&Say::ConnAck { session_present: self.has_session });
                    self.has_session = true;
                }
                Heard::Publish { payload, id, .. } => {
                    let number = payload.split(|byte| *byte == b' ').next().unwrap();
                    self.published(std::str::from_utf8(number).unwrap().parse().unwrap(), id);
                }
                Heard::Subscribe { id, filters } => {
                    let is_forbidden =
                        |name: &String| self.forbidden_filters.iter().any(|i| filter(*i).as_str() == name);
                    if filters.iter().any(is_forbidden) {
                        self.closed = true;
                        return;
                    }
                    self.say(&Say::SubAck(id, vec![1; filters.len()]));
                    self.standing.extend(filters);
                }
                Heard::PingReq => self.say(&Say::PingResp),
                other => panic!("{other:?}"),
            }
        }
    }

    fn published(&mut self, n: u64, id: u16) {
        if self.is_refused(n) {
            self.closed = true;
            return;
        }
        if !self.arrived.contains(&n) {
            self.arrived.push(n);
        }
        if id > 0 {
            self.say(&Say::PubAck(id));
        }
    }

    fn say(&mut self, say: &Say) {
        self.is_pinged |= matches!(say, Say::PingResp);
        self.to_client.unsplit(say.bytes(self.protocol));
    }

    fn hear(&mut self) {
        let mut input = self.to_client.split();
        // A PINGRESP says that messages with QoS 0 were taken.
        self.has_taken |= std::mem::take(&mut self.is_pinged);
        self.session.receive(&mut input, self.now, Timestamp::UNIX_EPOCH).unwrap();
        while let Some(event) = self.session.next_event() {
            match event {
                Event::Delivered(sequence) => self.was_delivered(number(sequence)),
                Event::Connected { .. } | Event::Settled(..) | Event::Subscription(..) => {}
                other => panic!("{other:?}"),
            }
        }
        if self.closed {
            self.closes += 1;
            self.end(true);
        }
    }

    fn was_delivered(&mut self, n: u64) {
        assert!(self.delivered.insert(n));
        self.has_taken = true;
        let (_, traits, at) = &self.messages[&n];
        self.evidence.remove(&kind(traits));
        self.taken.insert(kind(traits));
        if let Some(calm) = self.calm_since {
            self.longest = self.longest.max(self.now - calm.max(*at));
        }
    }

    /// The faults stop. If there is a `witness`, the server is given something that it takes each four seconds. Until all that is
    /// innocent is delivered and with a witness all else is set aside, for `limit` at most; returns whether that was reached.
    pub(super) fn settle(&mut self, witness: bool, limit: Duration) -> bool {
        let calm = *self.calm_since.insert(self.now);
        for round in 0.. {
            if witness && round % 2 == 0 {
                self.take(Step::Accept(self.forbids.allowed(), true));
            }
            self.take(Step::Serve(usize::MAX));
            self.take(Step::Hear);
            self.take(Step::Pass(2));
            let is_done = self.waiting.iter().all(|n| !witness && self.is_refused(*n))
                && self.to_server.is_empty()
                && (self.session.in_flight() == 0)
                && self.standing.len() == FILTERS - self.forbidden_filters.len();
            if is_done || self.now > calm + limit {
                return is_done;
            }
        }
        unreachable!()
    }

    /// How many kinds of messages were accepted that the server refuses.
    pub(super) fn refused_kinds(&self) -> u32 {
        let refused = self.messages.values().filter(|(_, traits, _)| self.forbids.refuses(traits));
        let kinds: BTreeSet<Kind> = refused.map(|(_, traits, _)| kind(traits)).collect();
        u32::try_from(kinds.len()).unwrap()
    }

    /// With the filters that it refuses.
    pub(super) fn guilty(&self) -> usize {
        self.refused_kinds() as usize + self.forbidden_filters.len()
    }

    /// A message that came after a later one of its kind.
    pub(super) fn out_of_order(&self) -> Option<u64> {
        let mut last: BTreeMap<Kind, u64> = BTreeMap::new();
        self.arrived.iter().copied().find(|n| last.insert(kind(self.traits(*n)), *n).is_some_and(|before| before > *n))
    }

    /// What was set aside gets another chance.
    pub(super) fn try_all_again(&mut self) {
        for condition in self.set_aside.drain(..) {
            self.session.try_again(condition, self.now);
        }
        self.waiting.append(&mut self.quarantined);
    }

    /// The server closes the connection for no reason.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.breaks += 1;
    }
}

fn number(sequence: Sequence) -> u64 {
    (1..).find(|n| Sequence::new(*n) == sequence).unwrap()
}
