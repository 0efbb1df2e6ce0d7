//! The session against a server that says what each test needs.

mod birth;
mod forbidden;
mod incoming;
mod last;
mod local;
mod mqtt5;
mod overlapping;
mod patience;
mod properties;
mod reconnected;
mod requested;
mod server;
mod silence;
mod subscribing;
mod suspects;

use super::*;
use crate::message::Sequence;
use crate::message::{Outbound, Topic};
use crate::mqtt::reason::Reason;
use crate::mqtt::{KeepAlive, Malformed, Rejection, Subscribing};
use bytes::Bytes;
use server::{BOTH, Heard, Say, hear};

fn options(protocol: Protocol) -> Options {
    Options {
        protocol,
        client_id: "thing-1".to_owned(),
        session_expiry: Duration::from_secs(3600),
        keep_alive: KeepAlive::Fixed(Duration::from_secs(60)),
        ack_timeout: Duration::from_secs(10),
        max_in_flight: 3,
        will: None,
        birth: None,
        login: None,
        subscribing: Subscribing::default(),
        drops_unfit: false,
        refusals_are_final: false,
        topic_alias: false,
        waits_for_room: false,
    }
}

fn filters(n: usize) -> BTreeMap<TopicFilter, Qos> {
    (0..n).map(|i| (TopicFilter::new(&format!("f/{i:02}")).unwrap(), Qos::AtLeastOnce)).collect()
}

fn outbound(payload: &str) -> Outbound {
    Outbound {
        topic: Topic::new("t").unwrap(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos: Qos::AtLeastOnce,
        retain: false,
        urgent: false,
        properties: None,
    }
}

/// A session, how many messages it was given, and a clock.
struct Bench {
    session: Session,
    accepted: u64,
    now: Instant,
}

impl Bench {
    fn new(protocol: Protocol, filters: BTreeMap<TopicFilter, Qos>) -> Bench {
        Bench {
            session: Session::new(options(protocol), filters, Remembered::default()),
            accepted: 0,
            now: Instant::now(),
        }
    }

    fn connected(protocol: Protocol, filters: BTreeMap<TopicFilter, Qos>, session_present: bool) -> Bench {
        let mut bench = Bench::new(protocol, filters);
        bench.reconnect(session_present);
        bench
    }

    fn reconnect(&mut self, session_present: bool) {
        self.session.connection_lost();
        self.session.connect();
        let sent = self.sent();
        assert!(matches!(sent[..], [Heard::Connect { .. }]), "{sent:?}");
        self.receive(Say::ConnAck { session_present }).unwrap();
        let connected = Event::Connected { session_present, session_expiry: None };
        assert_eq!(self.event(), Some(connected));
    }

    /// The next event, but for the ones that only say how the subscriptions stand.
    fn event(&mut self) -> Option<Event> {
        std::iter::from_fn(|| self.session.next_event()).find(|event| !matches!(event, Event::Settled(..)))
    }

    fn protocol(&self) -> Protocol {
        self.session.options.protocol
    }

    fn receive(&mut self, say: Say) -> Result<(), End> {
        self.receive_bytes(&say.bytes(self.protocol()))
    }

    fn receive_bytes(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.session.receive(&mut BytesMut::from(bytes), self.now, Timestamp::UNIX_EPOCH)
    }

    /// What the session has written since the last call.
    fn sent(&mut self) -> Vec<Heard> {
        let mut bytes = self.session.output().split();
        if !bytes.is_empty() {
            self.session.wrote(bytes.len(), self.now);
        }
        std::iter::from_fn(|| (!bytes.is_empty()).then(|| hear(self.protocol(), &mut bytes).unwrap())).collect()
    }

    fn publish(&mut self, payload: &str) -> Sequence {
        self.accepted += 1;
        let sequence = Sequence::new(self.accepted);
        self.session.publish(sequence, outbound(payload), self.now);
        sequence
    }

    fn resend_all(&mut self) {
        while self.session.next_resend_size(self.now).is_some() {
            self.session.resend(self.now);
        }
    }

    fn pass(&mut self, time: Duration) -> Result<(), End> {
        self.now += time;
        self.session.handle_timeout(self.now)
    }

    /// PUBLISH packets written, as (payload, packet identifier, DUP).
    fn publishes(&mut self) -> Vec<(String, u16, bool)> {
        let publish = |packet| match packet {
            Heard::Publish { payload, id, dup } => Some((String::from_utf8(payload.to_vec()).unwrap(), id, dup)),
            _ => None,
        };
        self.sent().into_iter().filter_map(publish).collect()
    }
}

fn incoming(payload: &'static str, id: u16) -> Say {
    Say::Publish { payload, id, qos: 1 }
}

fn suback(id: u16, codes: &[u8]) -> Say {
    Say::SubAck(id, codes.to_vec())
}

fn triple(payload: &str, id: u16, dup: bool) -> (String, u16, bool) {
    (payload.to_owned(), id, dup)
}

#[test]
fn nothing_but_connect_is_sent_before_connack() {
    for protocol in BOTH {
        let mut bench = Bench::new(protocol, filters(1));
        bench.session.connect();
        assert!(!bench.session.can_publish());
        let sent = bench.sent();
        assert_eq!(sent, [Heard::Connect { client_id: "thing-1".to_owned(), clean: false, keep_alive: 60 }]);
        assert_eq!(bench.session.timeout(), None);
    }
}

#[test]
fn filters_are_asked_for_eight_at_a_time() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(20), false);
        let sizes: Vec<usize> = bench.sent().iter().map(|packet| subscribe(packet).1).collect();
        assert_eq!(sizes, [8, 8, 4]);
    }
}

/// The packet identifier of a SUBSCRIBE and how many filters it has.
fn subscribe(packet: &Heard) -> (u16, usize) {
    let Heard::Subscribe { id, filters } = packet else { panic!("{packet:?}") };
    (*id, filters.len())
}

#[test]
fn a_present_session_is_resumed_without_subscribe_and_a_lost_one_with() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(1), false);
        let id = subscribe(&bench.sent()[0]).0;
        bench.receive(suback(id, &[1])).unwrap();
        bench.reconnect(true);
        assert!(bench.sent().is_empty());
        bench.reconnect(false);
        assert!(matches!(bench.sent()[..], [Heard::Subscribe { .. }]));
    }
}

#[test]
fn a_subscribe_without_answer_goes_again_with_its_identifier() {
    let protocol = Protocol::Mqtt311;
    let mut bench = Bench::connected(protocol, filters(1), false);
    let first = bench.sent();
    bench.pass(Duration::from_secs(5)).unwrap();
    assert!(bench.sent().is_empty());
    assert_eq!(bench.session.timeout(), Some(bench.now + Duration::from_secs(5)));
    bench.pass(Duration::from_secs(5)).unwrap();
    assert_eq!(bench.sent(), first);
    assert_eq!(bench.event(), Some(Event::SubscribeOverdue(TopicFilter::new("f/00").unwrap())));
    bench.reconnect(true);
    assert!(matches!(bench.sent()[..], [Heard::Subscribe { .. }]), "it was never granted");
}

#[test]
fn each_filter_gets_its_own_answer() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(3), false);
        let id = subscribe(&bench.sent()[0]).0;
        bench.receive(suback(id, &[1, 0x80, 0])).unwrap();
        let answers: Vec<Event> = std::iter::from_fn(|| bench.event()).collect();
        let filter = |i: usize| TopicFilter::new(&format!("f/{i:02}")).unwrap();
        assert_eq!(
            answers,
            [
                Event::Subscription(filter(0), Answer::Granted),
                Event::Subscription(filter(1), Answer::Refused(Reason::new(0x80, None))),
                Event::Subscription(filter(2), Answer::Downgraded)
            ]
        );
        assert!(matches!(bench.receive(suback(id, &[0x80])), Ok(())), "a repeated SUBACK is no reason to hang up");
    }
}

#[test]
fn a_suback_for_another_number_of_filters_is_a_violation() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(3), false);
        let id = subscribe(&bench.sent()[0]).0;
        assert!(matches!(bench.receive(suback(id, &[0x80])), Err(End::Violation(_))));
    }
}

#[test]
fn acknowledgements_come_in_any_order_and_open_the_window() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(0), false);
        let sequences: Vec<Sequence> = ["a", "b", "c"].map(|payload| bench.publish(payload)).to_vec();
        assert_eq!(bench.publishes(), [triple("a", 1, false), triple("b", 2, false), triple("c", 3, false)]);
        assert!(!bench.session.can_publish());
        for id in [2, 3] {
            bench.receive(Say::PubAck(id)).unwrap();
            assert_eq!(bench.event(), Some(Event::Delivered(sequences[id as usize - 1])));
        }
        bench.receive(Say::PubAck(77)).unwrap();
        assert_eq!(bench.event(), None);
        assert!(bench.session.can_publish());
        assert_eq!(bench.session.in_flight(), 1);
    }
}

#[test]
fn identifiers_in_flight_are_skipped_when_they_wrap() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(0), false);
        bench.publish("stuck");
        bench.session.next_id = u16::MAX;
        bench.publish("last");
        bench.publish("wrapped");
        assert_eq!(bench.publishes().iter().map(|p| p.1).collect::<Vec<_>>(), [1, u16::MAX, 2]);
    }
}

#[test]
fn a_missing_puback_brings_the_message_again_with_dup_and_its_identifier() {
    let protocol = Protocol::Mqtt311;
    let mut bench = Bench::connected(protocol, filters(0), false);
    bench.publish("a");
    bench.publishes();
    bench.pass(Duration::from_secs(4)).unwrap();
    bench.publish("b");
    bench.publishes();
    bench.pass(Duration::from_secs(1)).unwrap();
    assert_eq!(bench.session.next_resend_size(bench.now), None);
    assert_eq!(bench.session.timeout(), Some(bench.now + Duration::from_secs(5)));
    bench.pass(Duration::from_secs(5)).unwrap();
    assert!(!bench.session.can_publish(), "what is sent again goes first");
    bench.resend_all();
    assert_eq!(bench.publishes(), [triple("a", 1, true)]);
    bench.pass(Duration::from_secs(4)).unwrap();
    bench.resend_all();
    assert_eq!(bench.publishes(), [triple("b", 2, true)]);
    bench.receive(Say::PubAck(2)).unwrap();
    bench.receive(Say::PubAck(1)).unwrap();
    assert_eq!(bench.session.in_flight(), 0);
    assert_eq!(bench.session.counters(), SessionCounters { published: 4, resent: 2, ..SessionCounters::default() });
}

#[test]
fn a_puback_that_comes_late_still_counts() {
    let protocol = Protocol::Mqtt311;
    let mut bench = Bench::connected(protocol, filters(0), false);
    let sequence = bench.publish("a");
    bench.pass(Duration::from_secs(10)).unwrap();
    assert!(matches!(bench.event(), Some(Event::Overdue(..))));
    bench.receive(Say::PubAck(1)).unwrap();
    assert_eq!(bench.event(), Some(Event::Delivered(sequence)));
    assert_eq!(bench.session.next_resend_size(bench.now), None);
}

#[test]
fn a_resumed_session_gets_the_same_identifiers_with_dup_and_a_new_one_new_messages() {
    for protocol in BOTH {
        for session_present in [true, false] {
            let mut bench = Bench::connected(protocol, filters(0), false);
            for payload in ["a", "b", "c"] {
                bench.publish(payload);
            }
            bench.receive(Say::PubAck(2)).unwrap();
            bench.publishes();
            bench.reconnect(session_present);
            bench.resend_all();
            assert_eq!(bench.publishes(), [triple("a", 1, session_present), triple("c", 3, session_present)]);
        }
    }
}

#[test]
fn silence_is_met_with_a_ping_and_then_with_the_end() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(0), false);
        assert_eq!(bench.session.timeout(), Some(bench.now + Duration::from_secs(60)));
        bench.pass(Duration::from_secs(59)).unwrap();
        assert!(bench.sent().is_empty());
        bench.pass(Duration::from_secs(1)).unwrap();
        assert_eq!(bench.sent(), [Heard::PingReq]);
        bench.receive(Say::PingResp).unwrap();
        bench.pass(Duration::from_secs(60)).unwrap();
        assert_eq!(bench.sent(), [Heard::PingReq]);
        bench.pass(Duration::from_secs(25)).unwrap();
        assert_eq!(bench.session.timeout(), Some(bench.now + Duration::from_secs(5)));
        assert_eq!(bench.pass(Duration::from_secs(5)), Err(End::NoPingResp(Duration::from_secs(30))));
    }
}

#[test]
fn a_side_that_only_talks_or_only_listens_pings_too() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(0), false);
        for _ in 0..6 {
            bench.pass(Duration::from_secs(10)).unwrap();
            bench.session.wrote(0, bench.now);
        }
        assert_eq!(bench.sent(), [Heard::PingReq]);
    }
}

#[test]
fn nothing_follows_disconnect() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(0), false);
        bench.receive(incoming("x", 7)).unwrap();
        let Some(Event::Message(_, Some(token))) = bench.event() else { panic!() };
        bench.publish("a");
        let heard_at = bench.now;
        bench.now += Duration::from_secs(7);
        bench.session.disconnect();
        assert_eq!(bench.session.heard_at(), Some(heard_at), "so it may not have come to the server");
        bench.session.has_closed(bench.now);
        assert_eq!(bench.session.heard_at(), Some(bench.now));
        bench.session.acknowledge(token);
        assert!(!bench.session.can_publish());
        let sent = bench.sent();
        assert_eq!(sent.last(), Some(&Heard::Disconnect));
        bench.receive(Say::PubAck(1)).unwrap();
        assert!(matches!(bench.event(), Some(Event::Delivered(_))), "an acknowledgement still counts");
    }
}
