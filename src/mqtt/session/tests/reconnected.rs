//! What changes from one connection to the next: what the server says it can, what was refused for now, the server itself.

use super::*;

fn named(filters: &[&str]) -> BTreeMap<TopicFilter, Qos> {
    filters.iter().map(|filter| (TopicFilter::new(filter).unwrap(), Qos::AtLeastOnce)).collect()
}

/// A new connection in the session of the one before, whose CONNACK has these properties.
fn reconnect_on(bench: &mut Bench, properties: &[u8]) {
    bench.session.connect();
    bench.sent();
    let length = u8::try_from(properties.len()).unwrap();
    bench.receive_bytes(&[&[0x20, length + 3, 1, 0, length][..], properties].concat()).unwrap();
}

const NO_WILDCARDS: &[u8] = &[0x28, 0];

/// PUBACK with "quota exceeded".
fn throttle(bench: &mut Bench, id: u8) {
    bench.receive_bytes(&[0x40, 3, 0, id, 0x97]).unwrap();
}

#[test]
fn a_filter_that_came_with_a_reload_is_not_asked_for_where_the_server_cannot_do_it() {
    let mut bench = Bench::new(Protocol::Mqtt5, named(&["a"]));
    reconnect_on(&mut bench, NO_WILDCARDS);
    bench.sent();
    bench.session.want(named(&["a", "b/+", "c"]), bench.now);
    assert_eq!(bench.sent(), [Heard::Subscribe { id: 2, filters: vec!["c".to_owned()] }]);
    assert_eq!(bench.session.refusal(&TopicFilter::new("b/+").unwrap()), Some(true));
    let refusals = || matches!(bench.event(), Some(Event::Subscription(_, Answer::Refused(_))));
    assert_eq!(std::iter::repeat_with(refusals).take(5).filter(|is_refusal| *is_refusal).count(), 1);
    bench.session.want(named(&["a", "b/+", "c", "d"]), bench.now);
    assert!(!matches!(bench.event(), Some(Event::Subscription(..))), "it was said");
}

#[test]
fn a_subscription_that_the_server_could_not_make_any_more_is_left_as_it_is() {
    let mut bench = Bench::new(Protocol::Mqtt5, named(&["a/+", "+/b"]));
    // A server without subscription identifiers; the next has them, and no wildcards.
    reconnect_on(&mut bench, &[0x29, 0]);
    bench.sent();
    bench.receive(suback(1, &[1, 1])).unwrap();
    reconnect_on(&mut bench, NO_WILDCARDS);
    assert_eq!(bench.sent(), []);
    assert_eq!(bench.session.refusal(&TopicFilter::new("a/+").unwrap()), None, "it stands");
    reconnect_on(&mut bench, &[]);
    assert_eq!(bench.sent().len(), 2, "with identifiers");
}

#[test]
fn a_throttled_message_goes_again_behind_those_that_were_sent_before() {
    let mut bench = Bench::connected(Protocol::Mqtt5, filters(0), false);
    for payload in ["a", "b"] {
        bench.publish(payload);
    }
    bench.publishes();
    throttle(&mut bench, 1);
    bench.pass(Duration::from_secs(1)).unwrap();
    bench.resend_all();
    assert_eq!(bench.publishes(), [triple("a", 3, false)]);
    bench.reconnect(true);
    bench.resend_all();
    assert_eq!(bench.publishes(), [triple("b", 2, true), triple("a", 3, true)]);
}

#[test]
fn a_throttled_message_that_did_not_go_again_is_no_duplicate_in_the_next_connection() {
    let mut bench = Bench::connected(Protocol::Mqtt5, filters(0), false);
    for payload in ["a", "b"] {
        bench.publish(payload);
    }
    bench.publishes();
    throttle(&mut bench, 1);
    bench.reconnect(true);
    bench.pass(Duration::from_secs(1)).unwrap();
    bench.resend_all();
    assert_eq!(bench.publishes(), [triple("a", 3, false), triple("b", 2, true)]);
    bench.reconnect(true);
    bench.resend_all();
    assert_eq!(bench.publishes(), [triple("b", 2, true), triple("a", 3, true)]);
    bench.reconnect(false);
    bench.resend_all();
    assert_eq!(bench.publishes(), [triple("a", 3, false), triple("b", 2, false)]);
}

#[test]
fn after_the_first_connection_with_another_server_what_is_sent_again_is_a_duplicate() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(0), false);
        bench.publish("a");
        bench.session.connection_lost();
        bench.session.reconfigure(options(protocol), Some(Remembered::default()));
        for (session_present, dup) in [(false, false), (true, true)] {
            bench.reconnect(session_present);
            bench.resend_all();
            assert_eq!(bench.publishes(), [triple("a", 1, dup)]);
        }
    }
}

#[test]
fn what_was_in_flight_goes_again_in_its_old_order_and_in_a_new_session_what_is_urgent_first() {
    let mut bench = Bench::connected(Protocol::Mqtt5, filters(0), false);
    bench.publish("a");
    let alarm = Outbound { urgent: true, ..outbound("alarm") };
    assert!(bench.session.publish(Sequence::new(1000), alarm, bench.now));
    bench.publish("b");
    bench.publishes();
    bench.reconnect(true);
    bench.resend_all();
    assert_eq!(bench.publishes(), [triple("a", 1, true), triple("alarm", 2, true), triple("b", 3, true)]);
    bench.reconnect(false);
    bench.resend_all();
    assert_eq!(bench.publishes(), [triple("alarm", 2, false), triple("a", 1, false), triple("b", 3, false)]);
}
