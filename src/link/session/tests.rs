//! The session against a server that says what each test needs.

use super::*;
use bytes::Bytes;
use rumqttc::mqttbytes::v4::{
    ConnAck, ConnectReturnCode, Packet, PubAck, Publish, SubAck, Subscribe, SubscribeReasonCode,
};

const MAX: usize = 1 << 20;

fn options() -> Options {
    Options {
        client_id: "thing-1".to_owned(),
        clean_session: false,
        keep_alive: Duration::from_secs(60),
        ack_timeout: Duration::from_secs(10),
        max_in_flight: 3,
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
    }
}

/// A session, how many messages it was given, and a clock.
struct Bench {
    session: Session,
    accepted: u64,
    now: Instant,
}

impl Bench {
    fn new(filters: BTreeMap<TopicFilter, Qos>) -> Bench {
        Bench { session: Session::new(options(), filters), accepted: 0, now: Instant::now() }
    }

    fn connected(filters: BTreeMap<TopicFilter, Qos>, session_present: bool) -> Bench {
        let mut bench = Bench::new(filters);
        bench.reconnect(session_present);
        bench
    }

    fn reconnect(&mut self, session_present: bool) {
        self.session.connection_lost();
        self.session.connect();
        let sent = self.sent();
        assert!(matches!(sent[..], [Packet::Connect(_)]), "{sent:?}");
        self.receive(Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, session_present))).unwrap();
        assert_eq!(self.session.next_event(), Some(Event::Connected { session_present }));
    }

    fn receive(&mut self, packet: Packet) -> Result<(), End> {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, MAX).unwrap();
        self.session.receive(&mut bytes, self.now, Timestamp::UNIX_EPOCH)
    }

    /// What the session has written since the last call.
    fn sent(&mut self) -> Vec<Packet> {
        let mut bytes = self.session.output().split();
        if !bytes.is_empty() {
            self.session.wrote(self.now);
        }
        std::iter::from_fn(|| (!bytes.is_empty()).then(|| Packet::read(&mut bytes, MAX).unwrap())).collect()
    }

    fn publish(&mut self, payload: &str) -> Sequence {
        self.accepted += 1;
        let sequence = Sequence::new(self.accepted);
        self.session.publish(sequence, outbound(payload), self.now);
        sequence
    }

    fn resend_all(&mut self) {
        while self.session.next_resend_size().is_some() {
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
            Packet::Publish(p) => Some((String::from_utf8(p.payload.to_vec()).unwrap(), p.pkid, p.dup)),
            _ => None,
        };
        self.sent().into_iter().filter_map(publish).collect()
    }
}

fn incoming(payload: &str, id: u16) -> Packet {
    let mut publish = Publish::new("t", QoS::AtLeastOnce, payload);
    publish.pkid = id;
    Packet::Publish(publish)
}

fn suback(id: u16, codes: &[Option<QoS>]) -> Packet {
    let code = |code: &Option<QoS>| code.map_or(SubscribeReasonCode::Failure, SubscribeReasonCode::Success);
    Packet::SubAck(SubAck::new(id, codes.iter().map(code).collect()))
}

fn triple(payload: &str, id: u16, dup: bool) -> (String, u16, bool) {
    (payload.to_owned(), id, dup)
}

#[test]
fn nothing_but_connect_is_sent_before_connack() {
    let mut bench = Bench::new(filters(1));
    bench.session.connect();
    assert!(!bench.session.can_publish());
    let sent = bench.sent();
    let [Packet::Connect(connect)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((connect.client_id.as_str(), connect.clean_session, connect.keep_alive), ("thing-1", false, 60));
    assert_eq!(bench.session.timeout(), None);
}

#[test]
fn filters_are_asked_for_eight_at_a_time() {
    let mut bench = Bench::connected(filters(20), false);
    let sizes: Vec<usize> = bench.sent().iter().map(|p| subscribe(p).filters.len()).collect();
    assert_eq!(sizes, [8, 8, 4]);
}

fn subscribe(packet: &Packet) -> &Subscribe {
    let Packet::Subscribe(subscribe) = packet else { panic!("{packet:?}") };
    subscribe
}

#[test]
fn a_present_session_is_resumed_without_subscribe_and_a_lost_one_with() {
    let mut bench = Bench::connected(filters(1), false);
    let id = subscribe(&bench.sent()[0]).pkid;
    bench.receive(suback(id, &[Some(QoS::AtLeastOnce)])).unwrap();
    bench.reconnect(true);
    assert!(bench.sent().is_empty());
    bench.reconnect(false);
    assert!(matches!(bench.sent()[..], [Packet::Subscribe(_)]));
}

#[test]
fn a_subscribe_without_answer_goes_again_with_its_identifier() {
    let mut bench = Bench::connected(filters(1), false);
    let first = bench.sent();
    assert_eq!(bench.session.timeout(), Some(bench.now + Duration::from_secs(10)));
    bench.pass(Duration::from_secs(10)).unwrap();
    assert_eq!(bench.sent(), first);
    bench.reconnect(true);
    assert!(matches!(bench.sent()[..], [Packet::Subscribe(_)]), "it was never granted");
}

#[test]
fn each_filter_gets_its_own_answer() {
    let mut bench = Bench::connected(filters(3), false);
    let id = subscribe(&bench.sent()[0]).pkid;
    bench.receive(suback(id, &[Some(QoS::AtLeastOnce), None, Some(QoS::AtMostOnce)])).unwrap();
    let answers: Vec<Event> = std::iter::from_fn(|| bench.session.next_event()).collect();
    let filter = |i: usize| TopicFilter::new(&format!("f/{i:02}")).unwrap();
    assert_eq!(
        answers,
        [
            Event::Subscription(filter(0), Answer::Granted),
            Event::Subscription(filter(1), Answer::Refused),
            Event::Subscription(filter(2), Answer::Downgraded)
        ]
    );
    assert!(matches!(bench.receive(suback(id, &[None])), Ok(())), "a repeated SUBACK is no reason to hang up");
}

#[test]
fn a_suback_for_another_number_of_filters_is_a_violation() {
    let mut bench = Bench::connected(filters(3), false);
    let id = subscribe(&bench.sent()[0]).pkid;
    assert!(matches!(bench.receive(suback(id, &[None])), Err(End::Violation(_))));
}

#[test]
fn acknowledgements_come_in_any_order_and_open_the_window() {
    let mut bench = Bench::connected(filters(0), false);
    let sequences: Vec<Sequence> = ["a", "b", "c"].map(|payload| bench.publish(payload)).to_vec();
    assert_eq!(bench.publishes(), [triple("a", 1, false), triple("b", 2, false), triple("c", 3, false)]);
    assert!(!bench.session.can_publish());
    for id in [2, 3] {
        bench.receive(Packet::PubAck(PubAck::new(id))).unwrap();
        assert_eq!(bench.session.next_event(), Some(Event::Delivered(sequences[id as usize - 1])));
    }
    bench.receive(Packet::PubAck(PubAck::new(77))).unwrap();
    assert_eq!(bench.session.next_event(), None);
    assert!(bench.session.can_publish());
    assert_eq!(bench.session.in_flight(), 1);
}

#[test]
fn identifiers_in_flight_are_skipped_when_they_wrap() {
    let mut bench = Bench::connected(filters(0), false);
    bench.publish("stuck");
    bench.session.next_id = u16::MAX;
    bench.publish("last");
    bench.publish("wrapped");
    assert_eq!(bench.publishes().iter().map(|p| p.1).collect::<Vec<_>>(), [1, u16::MAX, 2]);
}

#[test]
fn a_missing_puback_brings_the_message_again_with_dup_and_its_identifier() {
    let mut bench = Bench::connected(filters(0), false);
    bench.publish("a");
    bench.pass(Duration::from_secs(4)).unwrap();
    bench.publish("b");
    bench.publishes();
    assert_eq!(bench.session.timeout(), Some(bench.now + Duration::from_secs(6)));
    bench.pass(Duration::from_secs(6)).unwrap();
    assert!(!bench.session.can_publish(), "what is sent again goes first");
    bench.resend_all();
    assert_eq!(bench.publishes(), [triple("a", 1, true)]);
    bench.pass(Duration::from_secs(4)).unwrap();
    bench.resend_all();
    assert_eq!(bench.publishes(), [triple("b", 2, true)]);
    bench.receive(Packet::PubAck(PubAck::new(2))).unwrap();
    bench.receive(Packet::PubAck(PubAck::new(1))).unwrap();
    assert_eq!(bench.session.in_flight(), 0);
    assert_eq!(bench.session.counters(), Counters { published: 4, resent: 2, received: 0 });
}

#[test]
fn a_puback_that_comes_late_still_counts() {
    let mut bench = Bench::connected(filters(0), false);
    let sequence = bench.publish("a");
    bench.pass(Duration::from_secs(10)).unwrap();
    bench.receive(Packet::PubAck(PubAck::new(1))).unwrap();
    assert_eq!(bench.session.next_event(), Some(Event::Delivered(sequence)));
    assert_eq!(bench.session.next_resend_size(), None);
}

#[test]
fn a_resumed_session_gets_the_same_identifiers_with_dup_and_a_new_one_new_messages() {
    for session_present in [true, false] {
        let mut bench = Bench::connected(filters(0), false);
        for payload in ["a", "b", "c"] {
            bench.publish(payload);
        }
        bench.receive(Packet::PubAck(PubAck::new(2))).unwrap();
        bench.publishes();
        bench.reconnect(session_present);
        bench.resend_all();
        assert_eq!(bench.publishes(), [triple("a", 1, session_present), triple("c", 3, session_present)]);
    }
}

#[test]
fn pubacks_go_out_in_the_order_of_arrival() {
    let mut bench = Bench::connected(filters(0), false);
    let mut tokens = Vec::new();
    for id in [7, 9, 8] {
        bench.receive(incoming("x", id)).unwrap();
        let Some(Event::Message(message, Some(token))) = bench.session.next_event() else { panic!() };
        assert_eq!(message.qos, Qos::AtLeastOnce);
        tokens.push(token);
    }
    bench.session.acknowledge(tokens[1]);
    bench.session.acknowledge(tokens[2]);
    assert!(bench.sent().is_empty());
    bench.session.acknowledge(tokens[0]);
    assert_eq!(bench.sent(), [7, 9, 8].map(|id| Packet::PubAck(PubAck::new(id))));
}

#[test]
fn a_message_repeated_before_its_puback_is_passed_on_once() {
    let mut bench = Bench::connected(filters(0), false);
    bench.receive(incoming("x", 7)).unwrap();
    bench.receive(incoming("x", 7)).unwrap();
    assert!(matches!(bench.session.next_event(), Some(Event::Message(..))));
    assert_eq!(bench.session.next_event(), None);
}

#[test]
fn a_token_of_an_earlier_connection_acknowledges_nothing() {
    let mut bench = Bench::connected(filters(0), false);
    bench.receive(incoming("x", 7)).unwrap();
    let Some(Event::Message(_, Some(token))) = bench.session.next_event() else { panic!() };
    bench.reconnect(true);
    bench.receive(incoming("x", 7)).unwrap();
    bench.session.acknowledge(token);
    assert!(bench.sent().is_empty());
    assert_eq!(bench.session.unacknowledged(), 1);
}

#[test]
fn silence_is_met_with_a_ping_and_then_with_the_end() {
    let mut bench = Bench::connected(filters(0), false);
    assert_eq!(bench.session.timeout(), Some(bench.now + Duration::from_secs(60)));
    bench.pass(Duration::from_secs(59)).unwrap();
    assert!(bench.sent().is_empty());
    bench.pass(Duration::from_secs(1)).unwrap();
    assert_eq!(bench.sent(), [Packet::PingReq]);
    bench.receive(Packet::PingResp).unwrap();
    bench.pass(Duration::from_secs(60)).unwrap();
    assert_eq!(bench.sent(), [Packet::PingReq]);
    assert_eq!(bench.session.timeout(), Some(bench.now + Duration::from_secs(30)));
    assert_eq!(bench.pass(Duration::from_secs(30)), Err(End::NoPingResp(Duration::from_secs(30))));
}

#[test]
fn a_side_that_only_talks_or_only_listens_pings_too() {
    let mut bench = Bench::connected(filters(0), false);
    for _ in 0..6 {
        bench.pass(Duration::from_secs(10)).unwrap();
        bench.session.wrote(bench.now);
    }
    assert_eq!(bench.sent(), [Packet::PingReq]);
}

#[test]
fn what_a_server_may_not_send_ends_the_connection() {
    let connack = || Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, false));
    let mut bench = Bench::connected(filters(0), false);
    assert!(matches!(bench.receive(connack()), Err(End::Violation(_))));
    let mut bench = Bench::connected(filters(0), false);
    let mut exactly_once = Publish::new("t", QoS::ExactlyOnce, "x");
    exactly_once.pkid = 1;
    assert!(matches!(bench.receive(Packet::Publish(exactly_once)), Err(End::Violation(_))));
    let mut bench = Bench::new(filters(0));
    bench.session.connect();
    assert!(matches!(bench.receive(incoming("x", 1)), Err(End::Violation(_))));
    let mut bench = Bench::new(filters(0));
    bench.session.connect();
    let refused = Packet::ConnAck(ConnAck::new(ConnectReturnCode::NotAuthorized, false));
    assert_eq!(bench.receive(refused), Err(End::Refused(5)));
}

#[test]
fn bytes_that_are_not_mqtt_end_the_connection() {
    let mut bench = Bench::connected(filters(0), false);
    let mut garbage = BytesMut::from(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]);
    let end = bench.session.receive(&mut garbage, bench.now, Timestamp::UNIX_EPOCH);
    assert!(matches!(&end, Err(End::Malformed(Malformed::Invalid(text))) if text.contains("HTTP/1.1 400")), "{end:?}");
    let mut bench = Bench::connected(filters(0), false);
    let mut oversize = BytesMut::from(&[0x30, 0xff, 0xff, 0xff, 0x7f][..]);
    let end = bench.session.receive(&mut oversize, bench.now, Timestamp::UNIX_EPOCH);
    assert_eq!(end, Err(End::Malformed(Malformed::TooLarge(268_435_455))));
}

#[test]
fn an_incomplete_packet_waits_for_the_rest() {
    let mut bench = Bench::connected(filters(0), false);
    let mut bytes = BytesMut::new();
    incoming("hello", 3).write(&mut bytes, MAX).unwrap();
    let mut input = BytesMut::new();
    for byte in bytes {
        assert_eq!(bench.session.next_event(), None);
        input.extend_from_slice(&[byte]);
        bench.session.receive(&mut input, bench.now, Timestamp::UNIX_EPOCH).unwrap();
    }
    assert!(matches!(bench.session.next_event(), Some(Event::Message(message, _)) if message.payload == "hello"));
}

#[test]
fn nothing_follows_disconnect() {
    let mut bench = Bench::connected(filters(0), false);
    bench.receive(incoming("x", 7)).unwrap();
    let Some(Event::Message(_, Some(token))) = bench.session.next_event() else { panic!() };
    bench.publish("a");
    bench.session.disconnect();
    bench.session.acknowledge(token);
    assert!(!bench.session.can_publish());
    let sent = bench.sent();
    assert_eq!(sent.last(), Some(&Packet::Disconnect));
    bench.receive(Packet::PubAck(PubAck::new(1))).unwrap();
    assert!(matches!(bench.session.next_event(), Some(Event::Delivered(_))), "an acknowledgement still counts");
}
