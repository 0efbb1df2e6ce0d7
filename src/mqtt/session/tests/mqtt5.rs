//! What the session does in MQTT 5 only.

use std::sync::Arc;

use super::*;
use crate::limits::MAX_PROPERTIES;
use crate::message::{Condition, Properties, TopicPattern, Traits};
use crate::mqtt::reason::ReasonCode;

fn five(filters_wanted: usize) -> Bench {
    Bench::connected(Protocol::Mqtt5, filters(filters_wanted), false)
}

/// A new connection whose CONNACK has these properties; returns what became of it.
fn reconnect_on(bench: &mut Bench, session_present: bool, properties: &[u8]) -> Result<(), End> {
    bench.session.connect();
    bench.sent();
    let length = u8::try_from(properties.len()).unwrap();
    let head = [0x20, length + 3, u8::from(session_present), 0, length];
    bench.receive_bytes(&[&head[..], properties].concat())
}

fn events(bench: &mut Bench) -> Vec<Event> {
    std::iter::from_fn(|| bench.event()).collect()
}

fn traits(payload: &str) -> Traits {
    outbound(payload).traits()
}

fn expiring(bench: &mut Bench, seconds: u32) -> Sequence {
    let mut properties = Properties { expires_in: Some(seconds), ..Properties::default() };
    properties.count_from(bench.now);
    bench.accepted += 1;
    let message = Outbound { properties: Some(Arc::new(properties)), ..outbound("expiring") };
    bench.session.publish(Sequence::new(bench.accepted), message, bench.now);
    Sequence::new(bench.accepted)
}

#[test]
fn a_missing_puback_ends_the_connection_and_nothing_goes_again_on_it() {
    let mut bench = five(0);
    bench.publish("a");
    bench.pass(Duration::from_secs(4)).unwrap();
    bench.publish("b");
    bench.publishes();
    bench.receive(Say::PubAck(1)).unwrap();
    bench.pass(Duration::from_secs(6)).unwrap();
    assert_eq!(bench.session.timeout(), Some(bench.now + Duration::from_secs(4)));
    let end = End::NoPubAck(Topic::new("t").unwrap(), Duration::from_secs(10));
    assert_eq!(bench.pass(Duration::from_secs(4)), Err(end));
    assert!(bench.sent().is_empty());
    bench.reconnect(true);
    bench.resend_all();
    assert_eq!(bench.publishes(), [triple("b", 2, true)]);
}

#[test]
fn a_missing_suback_ends_the_connection() {
    let mut bench = five(1);
    bench.sent();
    let end = End::NoSubAck(TopicFilter::new("f/00").unwrap(), Duration::from_secs(10));
    assert_eq!(bench.pass(Duration::from_secs(10)), Err(end));
    assert!(bench.sent().is_empty());
}

/// The server takes a message to another topic, the first of all.
fn acknowledge_another(bench: &mut Bench) {
    bench.accepted += 1;
    let message = Outbound { topic: Topic::new("other").unwrap(), ..outbound("other") };
    bench.session.publish(Sequence::new(bench.accepted), message, bench.now);
    bench.publishes();
    bench.receive(Say::PubAck(1)).unwrap();
    events(bench);
}

#[test]
fn what_is_refused_before_anything_was_taken_is_guilty_only_once_something_is() {
    let mut bench = five(0);
    let sequence = bench.publish("a");
    bench.accepted += 1;
    let message = Outbound { topic: Topic::new("other").unwrap(), ..outbound("other") };
    bench.session.publish(Sequence::new(bench.accepted), message, bench.now);
    bench.publishes();
    bench.receive_bytes(&[0x40, 3, 0, 1, 0x87]).unwrap();
    let reason = Reason::new(0x87, None);
    assert_eq!(events(&mut bench), [Event::Doubtful(sequence, traits("a"), Rejection::PubAck(reason.clone()))]);
    bench.receive(Say::PubAck(2)).unwrap();
    let condition = Condition::topics(TopicPattern::exactly(&Topic::new("t").unwrap()));
    assert_eq!(events(&mut bench)[0], Event::Guilty(condition, reason));
}

#[test]
fn a_puback_with_a_failure_settles_the_message_as_rejected() {
    let mut bench = five(0);
    // A server that takes something.
    acknowledge_another(&mut bench);
    let sequence = bench.publish("a");
    bench.receive_bytes(&[0x40, 3, 0, 2, 0x87]).unwrap();
    let reason = Reason::new(0x87, None);
    let condition = Condition::topics(TopicPattern::exactly(&Topic::new("t").unwrap()));
    let guilty = Event::Guilty(condition, reason.clone());
    assert_eq!(events(&mut bench), [guilty, Event::Rejected(sequence, traits("a"), Rejection::PubAck(reason))]);
    assert_eq!(bench.session.in_flight(), 0);
    bench.reconnect(true);
    assert_eq!(bench.session.next_resend_size(bench.now), None);
}

#[test]
fn the_window_is_the_smaller_one_also_for_what_goes_again() {
    let mut bench = five(0);
    for payload in ["a", "b", "c"] {
        bench.publish(payload);
    }
    reconnect_on(&mut bench, true, &[0x21, 0, 2]).unwrap();
    bench.resend_all();
    assert_eq!(bench.publishes(), [triple("a", 1, true), triple("b", 2, true)]);
    bench.receive(Say::PubAck(2)).unwrap();
    bench.resend_all();
    assert_eq!(bench.publishes(), [triple("c", 3, true)]);
    assert!(!bench.session.can_publish());
    bench.receive(Say::PubAck(1)).unwrap();
    assert!(bench.session.can_publish());
    reconnect_on(&mut bench, true, &[0x21, 0xff, 0xff]).unwrap();
    bench.resend_all();
    bench.publish("d");
    bench.publish("e");
    assert!(!bench.session.can_publish(), "our own window holds, too");
}

#[test]
fn what_the_server_does_not_take_is_rejected_first_and_again() {
    let mut bench = five(0);
    let sequence = bench.publish("a payload");
    reconnect_on(&mut bench, true, &[0x27, 0, 0, 0, 12]).unwrap();
    events(&mut bench);
    bench.resend_all();
    let too_large = Rejection::TooLarge { size: 17, limit: 12 };
    assert_eq!(
        events(&mut bench),
        [Event::Doubtful(sequence, traits("a payload"), too_large.clone())],
        "it has taken nothing yet"
    );
    bench.publish("fits");
    assert_eq!(bench.publishes(), [triple("fits", 2, false)]);
    assert_eq!(events(&mut bench), []);
    bench.receive(Say::PubAck(2)).unwrap();
    events(&mut bench);
    let sequence = bench.publish("a payload");
    assert_eq!(events(&mut bench), [Event::Rejected(sequence, traits("a payload"), too_large)]);

    reconnect_on(&mut bench, false, &[0x24, 0]).unwrap();
    events(&mut bench);
    let sequence = bench.publish("x");
    assert_eq!(events(&mut bench), [Event::Doubtful(sequence, traits("x"), Rejection::NoQos1)]);
}

#[test]
fn what_the_terms_kept_is_tried_again_once_they_allow_more() {
    const NO_RETAIN: &[u8] = &[0x25, 0];
    let relaxed = |bench: &mut Bench| events(bench).contains(&Event::LimitsRelaxed);
    let mut bench = five(0);
    reconnect_on(&mut bench, false, NO_RETAIN).unwrap();
    reconnect_on(&mut bench, true, &[]).unwrap();
    assert!(!relaxed(&mut bench), "nothing was kept");
    reconnect_on(&mut bench, true, NO_RETAIN).unwrap();
    acknowledge_another(&mut bench);
    bench.accepted += 1;
    let retained = Outbound { retain: true, ..outbound("x") };
    assert!(!bench.session.publish(Sequence::new(bench.accepted), retained, bench.now));
    assert!(matches!(events(&mut bench)[..], [Event::Rejected(_, _, Rejection::NoRetain)]));
    reconnect_on(&mut bench, true, &[0x25, 0, 0x24, 0]).unwrap();
    assert!(!relaxed(&mut bench), "it is no better");
    reconnect_on(&mut bench, true, &[]).unwrap();
    assert!(relaxed(&mut bench));
    reconnect_on(&mut bench, true, NO_RETAIN).unwrap();
    reconnect_on(&mut bench, true, &[]).unwrap();
    assert!(!relaxed(&mut bench), "once is enough");
}

#[test]
fn an_expired_message_is_not_sent_unless_the_server_may_know_it() {
    let mut bench = five(0);
    bench.pass(Duration::from_secs(1)).unwrap();
    expiring(&mut bench, 5);
    bench.publishes();
    bench.pass(Duration::from_secs(5)).unwrap();
    bench.reconnect(true);
    bench.resend_all();
    assert_eq!(bench.publishes(), [triple("expiring", 1, true)], "a resumed session gets all that was in flight");
    bench.reconnect(false);
    bench.resend_all();
    assert!(bench.publishes().is_empty());
    assert_eq!(events(&mut bench), [Event::Expired(Sequence::new(1))]);
    assert_eq!(bench.session.in_flight(), 0);
    let sequence = expiring(&mut bench, 0);
    assert!(bench.publishes().is_empty());
    assert_eq!(events(&mut bench), [Event::Expired(sequence)]);
}

#[test]
fn the_servers_keep_alive_counts_and_ours_again_on_the_next_connection() {
    let mut bench = five(0);
    reconnect_on(&mut bench, false, &[0x13, 0, 20]).unwrap();
    assert_eq!(bench.session.timeout(), Some(bench.now + Duration::from_secs(20)));
    bench.pass(Duration::from_secs(20)).unwrap();
    assert_eq!(bench.sent(), [Heard::PingReq]);
    assert_eq!(bench.pass(Duration::from_secs(10)), Err(End::NoPingResp(Duration::from_secs(10))));
    reconnect_on(&mut bench, false, &[]).unwrap();
    assert_eq!(bench.session.timeout(), Some(bench.now + Duration::from_secs(60)));
}

#[test]
fn a_connack_that_makes_no_sense_is_a_violation_and_another_session_expiry_is_told() {
    for properties in [&[0x21, 0, 0][..], &[0x27, 0, 0, 0, 0], &[0x12, 0, 1, b'x']] {
        assert!(matches!(reconnect_on(&mut five(0), false, properties), Err(End::Violation(_))), "{properties:x?}");
    }
    let mut bench = five(0);
    reconnect_on(&mut bench, false, &[0x11, 0, 0, 0, 60]).unwrap();
    let session_expiry = Some(Duration::from_secs(60));
    assert_eq!(events(&mut bench), [Event::Connected { session_present: false, session_expiry }]);
    reconnect_on(&mut bench, false, &[0x11, 0, 0, 14, 16]).unwrap();
    assert_eq!(events(&mut bench), [Event::Connected { session_present: false, session_expiry: None }]);
}

#[test]
fn filters_that_the_server_cannot_do_are_not_asked_for() {
    let filters = ["$share/g/a", "a/+", "a/b"].map(|filter| (TopicFilter::new(filter).unwrap(), Qos::AtLeastOnce));
    let mut bench = Bench::new(Protocol::Mqtt5, filters.clone().into());
    reconnect_on(&mut bench, false, &[0x28, 0, 0x2a, 0]).unwrap();
    assert_eq!(bench.sent(), [Heard::Subscribe { id: 1, filters: vec!["a/b".to_owned()] }]);
    let refused = |index: usize, code: ReasonCode| {
        Event::Subscription(filters[index].0.clone(), Answer::Refused(Reason::new(code.0, None)))
    };
    let expected = [
        refused(0, ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED),
        refused(1, ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED),
    ];
    assert_eq!(events(&mut bench)[1..], expected);
}

#[test]
fn a_message_keeps_its_properties_unless_they_are_too_many() {
    let publish = |value: usize| {
        let property = [&[0x03][..], &u16::try_from(value).unwrap().to_be_bytes(), &vec![b'x'; value]].concat();
        let length = u16::try_from(property.len()).unwrap();
        let varint = [(length & 0x7f) as u8 | 0x80, (length >> 7) as u8];
        let body = [&[0, 1, b't'][..], &varint, &property, b"payload"].concat();
        let total = u16::try_from(body.len()).unwrap();
        [&[0x30, (total & 0x7f) as u8 | 0x80, (total >> 7) as u8][..], &body].concat()
    };
    let mut bench = five(0);
    bench.receive_bytes(&publish(MAX_PROPERTIES - 3)).unwrap();
    assert!(matches!(&events(&mut bench)[..], [Event::Message(message, None)] if message.properties.is_some()));
    bench.receive_bytes(&publish(MAX_PROPERTIES - 2)).unwrap();
    let events = events(&mut bench);
    let [Event::PropertiesLeftOut(_), Event::Message(message, None)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&message.payload[..], &message.properties), (&b"payload"[..], &None));
}

#[test]
fn a_disconnect_ends_the_connection_with_its_reason() {
    for bytes in [&[0xe0, 0][..], &[0xe0, 1, 0], &[0xe0, 2, 0, 0]] {
        assert_eq!(five(0).receive_bytes(bytes), Err(End::Disconnected(Reason::new(0, None))));
    }
    let mut bench = five(0);
    let sequence = bench.publish("a");
    let end = bench.receive_bytes(&[0x40, 2, 0, 1, 0xe0, 1, 0x8e]);
    assert_eq!(end, Err(End::Disconnected(Reason::new(0x8e, None))));
    assert_eq!(events(&mut bench), [Event::Delivered(sequence)], "what came before it counts");
}

#[test]
fn a_message_with_characters_that_a_server_may_close_for_is_not_sent() {
    // As an earlier version has left it on the disk.
    let mut bench = five(0);
    let old = Outbound { topic: Topic::received("door/a\nb"), ..outbound("x") };
    bench.session.publish(Sequence::new(1), old, bench.now);
    let properties = Properties { content_type: Some("\u{1}".to_owned()), ..Properties::default() };
    let old = Outbound { properties: Some(Arc::new(properties)), ..outbound("x") };
    bench.session.publish(Sequence::new(2), old, bench.now);
    assert!(bench.publishes().is_empty());
    let rejected = |event: &Event| matches!(event, Event::Rejected(.., Rejection::Character(_)));
    let events = events(&mut bench);
    assert!(events.len() == 2 && events.iter().all(rejected), "{events:?}");
}

#[test]
fn a_server_that_breaks_the_rules_is_told_which() {
    for (bytes, code) in [
        (&[0x20, 3, 0, 0, 0][..], 0x82),
        (&[0xd0, 1, 0], 0x81),
        (&[0x30, 6, 0, 1, b't', 3, 0x23, 0], 0x81),
        (&[0x30, 7, 0, 1, b't', 3, 0x23, 0, 1], 0x94),
        (&[0x30, 3, 0, 0, 0], 0x94),
        (&[0x90, 0x80, 0x80, 0x80, 0x10], 0x95),
    ] {
        let mut bench = five(0);
        let end = bench.receive_bytes(bytes).unwrap_err();
        assert!(bench.session.say_why(&end), "{end}");
        assert_eq!(&bench.session.output()[..], [0xe0, 1, code], "{bytes:x?}: {end}");
    }
    for end in [End::NoPingResp(Duration::ZERO), End::Disconnected(Reason::new(0x8e, None))] {
        assert!(!five(0).session.say_why(&end));
    }
}

#[test]
fn an_old_session_after_a_clean_start_ends_the_connection() {
    for protocol in BOTH {
        let clean = Options { session_expiry: Duration::ZERO, ..options(protocol) };
        let session = Session::new(clean, filters(0), Remembered::default());
        let mut bench = Bench { session, accepted: 0, now: Instant::now() };
        bench.session.connect();
        bench.sent();
        let end = bench.receive(Say::ConnAck { session_present: true }).unwrap_err();
        assert!(matches!(&end, End::Violation(text) if text.contains("MQTT-3.2.2-4")), "{end}");
        bench.session.say_why(&end);
        let said: &[u8] = if protocol == Protocol::Mqtt5 { &[0xe0, 1, 0x82] } else { &[] };
        assert_eq!(&bench.session.output()[..], said);
    }
}
