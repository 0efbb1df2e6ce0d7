//! The birth comes before anything else on each connection, isn't sent again, and never keeps the rest from being sent for long.

use super::*;
use crate::mqtt::reason::ReasonCode;
use crate::mqtt::session::Refusal;

const HOUR: Duration = Duration::from_secs(3600);

fn born(protocol: Protocol, qos: Qos, wanted: usize) -> Bench {
    let birth = Outbound { topic: Topic::new("link").unwrap(), qos, retain: true, ..outbound("up") };
    let options = Options { birth: Some(birth), ..options(protocol) };
    Bench { session: Session::new(options, filters(wanted), Remembered::default()), accepted: 0, now: Instant::now() }
}

fn events(bench: &mut Bench) -> Vec<Event> {
    std::iter::from_fn(|| bench.event()).collect()
}

fn publish(payload: &'static str, id: u16, dup: bool) -> Heard {
    Heard::Publish { payload: Bytes::from_static(payload.as_bytes()), id, dup }
}

/// One that the server has taken once.
fn known(protocol: Protocol, qos: Qos) -> Bench {
    let mut bench = born(protocol, qos, 0);
    bench.reconnect(false);
    bench.sent();
    bench.receive(if qos == Qos::AtLeastOnce { Say::PubAck(1) } else { Say::PingResp }).unwrap();
    bench
}

/// Connects, and the server closes the connection. What it has seen by then, and whether the birth is left out for it.
fn closes(bench: &mut Bench) -> (Vec<Heard>, bool) {
    bench.reconnect(false);
    let sent = bench.sent();
    let verdict = bench.session.closed_by_server(false, bench.now);
    assert_eq!((&verdict.guilty, &verdict.returned[..]), (&None, &[][..]), "nothing else is suspected");
    (sent, verdict.birth_left_out)
}

#[test]
fn the_first_one_is_alone_until_it_is_answered() {
    for protocol in BOTH {
        let mut bench = born(protocol, Qos::AtLeastOnce, 1);
        bench.reconnect(false);
        assert_eq!(events(&mut bench), [Event::BirthSent(6)]);
        assert_eq!(bench.sent(), [publish("up", 1, false)]);
        assert!(!bench.session.can_publish());
        bench.receive(Say::PubAck(1)).unwrap();
        assert!(matches!(bench.sent()[..], [Heard::Subscribe { .. }]));
        assert!(!bench.session.can_publish(), "the SUBACK is waited for, as without a birth");
        bench.receive(suback(2, &[1])).unwrap();
        assert!(bench.session.can_publish());

        let mut bench = born(protocol, Qos::AtMostOnce, 1);
        bench.reconnect(false);
        assert_eq!(bench.sent(), [publish("up", 0, false), Heard::PingReq]);
        bench.receive(Say::PingResp).unwrap();
        assert!(matches!(bench.sent()[..], [Heard::Subscribe { .. }]));
    }
}

#[test]
fn it_comes_before_what_is_sent_again_and_is_not_sent_again_itself() {
    for protocol in BOTH {
        let mut bench = known(protocol, Qos::AtLeastOnce);
        bench.publish("a");
        assert_eq!(bench.publishes(), [triple("a", 2, false)]);
        for (birth, session_present) in [(3, true), (4, true)] {
            bench.reconnect(session_present);
            bench.resend_all();
            assert_eq!(bench.publishes(), [triple("up", birth, false), triple("a", 2, true)]);
        }
        // No PUBACK comes for the last one, however long that is: that is told once.
        bench.receive(Say::PubAck(2)).unwrap();
        events(&mut bench);
        for _ in 0..20 {
            bench.pass(Duration::from_secs(5)).unwrap();
            assert_eq!(bench.publishes(), []);
            bench.receive(Say::PingResp).unwrap();
        }
        let timeout = bench.session.options.ack_timeout;
        assert_eq!(events(&mut bench), [Event::BirthUnanswered(timeout)]);
        bench.receive(Say::PubAck(4)).unwrap();
        assert_eq!(events(&mut bench), [Event::BirthTaken], "late, but taken");
    }
}

#[test]
fn one_that_is_not_answered_holds_the_rest_up_for_two_seconds() {
    for protocol in BOTH {
        let mut bench = born(protocol, Qos::AtLeastOnce, 0);
        bench.reconnect(false);
        bench.sent();
        assert_eq!(bench.session.timeout(), Some(bench.now + Duration::from_secs(2)));
        bench.pass(Duration::from_millis(1999)).unwrap();
        assert!(!bench.session.can_publish());
        bench.pass(Duration::from_millis(1)).unwrap();
        assert!(bench.session.can_publish());
        // Its packet identifier is taken, and one place of the window.
        bench.session.next_id = 1;
        bench.publish("a");
        assert_eq!(bench.publishes(), [triple("a", 2, false)]);
        bench.publish("b");
        assert!(!bench.session.can_publish());
    }
}

#[test]
fn one_for_which_the_server_closes_is_left_out_and_nothing_else_is_suspected() {
    for (protocol, qos) in BOTH.into_iter().flat_map(|p| [(p, Qos::AtMostOnce), (p, Qos::AtLeastOnce)]) {
        let mut bench = born(protocol, qos, 0);
        let births = |sent: &[Heard]| sent.iter().filter(|heard| matches!(heard, Heard::Publish { .. })).count();
        for is_left_out in [false, false, true] {
            let (sent, left_out) = closes(&mut bench);
            assert_eq!((births(&sent), left_out), (1, is_left_out));
        }
        bench.reconnect(false);
        assert!(bench.session.can_publish());
        assert_eq!(bench.sent(), []);
        // After an hour one more is enough.
        bench.now += HOUR;
        let (sent, left_out) = closes(&mut bench);
        assert_eq!((births(&sent), left_out), (1, true));
        bench.now += HOUR;
        bench.reconnect(false);
        let id = bench.session.next_id - 1;
        bench.receive(if qos == Qos::AtLeastOnce { Say::PubAck(id) } else { Say::PingResp }).unwrap();
        assert_eq!(events(&mut bench), [Event::BirthSent(6), Event::BirthTaken]);
    }
}

#[test]
fn one_that_was_taken_may_be_what_the_server_closes_for_and_is_alone_next_time() {
    for protocol in BOTH {
        let mut bench = known(protocol, Qos::AtLeastOnce);
        bench.reconnect(true);
        assert!(bench.session.can_publish());
        bench.session.closed_by_server(false, bench.now);
        bench.reconnect(true);
        assert!(!bench.session.can_publish());
    }
}

#[test]
fn one_that_is_answered_with_a_failure_is_told_once_and_sent_all_the_same() {
    let mut bench = born(Protocol::Mqtt5, Qos::AtLeastOnce, 0);
    let mut told = Vec::new();
    for id in 1..4 {
        bench.reconnect(false);
        assert_eq!(bench.publishes(), [triple("up", id, false)]);
        let code = if id < 3 { 0x87 } else { 0 };
        bench.receive_bytes(&[0x40, 3, 0, id as u8, code]).unwrap();
        assert!(bench.session.can_publish());
        told.extend(events(&mut bench).into_iter().filter(|event| !matches!(event, Event::BirthSent(_))));
    }
    assert!(
        matches!(&told[..], [Event::BirthRefused(Refusal::Refuses(Rejection::PubAck(reason))), Event::BirthTaken]
            if reason.code == ReasonCode::NOT_AUTHORIZED),
        "{told:?}"
    );
}

#[test]
fn another_reason_is_told_and_takes_the_place_of_the_first() {
    let mut bench = born(Protocol::Mqtt5, Qos::AtLeastOnce, 0);
    let mut told = Vec::new();
    for (id, code) in [(1, 0x97), (2, 0x97), (3, 0x87), (4, 0x87)] {
        bench.reconnect(false);
        bench.sent();
        bench.receive_bytes(&[0x40, 3, 0, id, code]).unwrap();
        told.extend(events(&mut bench).into_iter().filter_map(|event| match event {
            Event::BirthRefused(Refusal::Refuses(Rejection::PubAck(reason))) => Some(reason.code.0),
            _ => None,
        }));
    }
    assert_eq!(told, [0x97, 0x87]);
}

#[test]
fn one_that_the_connack_rules_out_is_not_sent() {
    let mut bench = born(Protocol::Mqtt5, Qos::AtLeastOnce, 0);
    bench.session.connect();
    bench.sent();
    // Retain available: 0.
    bench.receive_bytes(&[0x20, 5, 0, 0, 2, 0x25, 0]).unwrap();
    assert_eq!(bench.sent(), []);
    assert!(bench.session.can_publish());
    let told = events(&mut bench);
    assert!(matches!(told[1..], [Event::BirthRefused(Refusal::Refuses(Rejection::NoRetain))]), "{told:?}");
}

#[test]
fn one_that_is_refused_is_tried_again_on_the_same_connection_when_that_is_asked_for() {
    let mut bench = born(Protocol::Mqtt5, Qos::AtLeastOnce, 0);
    bench.reconnect(false);
    assert_eq!(bench.publishes(), [triple("up", 1, false)]);
    bench.receive_bytes(&[0x40, 3, 0, 1, 0x97]).unwrap();
    let is_quota = |event: &Event| matches!(event, Event::BirthRefused(Refusal::Refuses(Rejection::PubAck(reason))) if reason.code == ReasonCode::QUOTA_EXCEEDED);
    assert!(events(&mut bench).iter().any(is_quota));
    // The window is full: it comes once there is room.
    bench.publish("a");
    bench.publish("b");
    bench.publish("c");
    bench.sent();
    bench.session.try_birth_again(bench.now);
    assert_eq!(bench.publishes(), []);
    bench.receive(Say::PubAck(2)).unwrap();
    assert_eq!(bench.publishes(), [triple("up", 5, false)]);
    bench.receive_bytes(&[0x40, 3, 0, 5, 0x97]).unwrap();
    assert!(events(&mut bench).iter().any(is_quota), "whoever asks is told");
    bench.session.try_birth_again(bench.now);
    assert_eq!(bench.publishes(), [triple("up", 6, false)]);
    bench.receive(Say::PubAck(6)).unwrap();
    assert_eq!(events(&mut bench).last(), Some(&Event::BirthTaken));
    bench.session.try_birth_again(bench.now);
    assert_eq!(bench.publishes(), [], "one that was taken isn't sent again");
}

#[test]
fn one_that_was_left_out_is_tried_when_that_is_asked_for() {
    for protocol in BOTH {
        let mut bench = born(protocol, Qos::AtLeastOnce, 0);
        for is_left_out in [false, false, true] {
            assert_eq!(closes(&mut bench).1, is_left_out);
        }
        bench.session.try_birth_again(bench.now);
        let (sent, left_out) = closes(&mut bench);
        assert!(left_out && sent.iter().any(|heard| matches!(heard, Heard::Publish { .. })));
        bench.reconnect(false);
        bench.session.try_birth_again(bench.now);
        assert!(matches!(&bench.publishes()[..], [(payload, _, false)] if payload == "up"));
    }
}

/// With a Receive Maximum of 1 nothing may be sent beside it.
#[test]
fn it_takes_its_place_of_the_servers_window() {
    let mut bench = known(Protocol::Mqtt5, Qos::AtLeastOnce);
    bench.session.connect();
    bench.sent();
    bench.receive_bytes(&[0x20, 6, 0, 0, 3, 0x21, 0, 1]).unwrap();
    assert_eq!(bench.publishes(), [triple("up", 2, false)]);
    assert!(!bench.session.can_publish());
    bench.pass(Duration::from_secs(2)).unwrap();
    assert!(!bench.session.can_publish(), "its place is taken for as long as a PUBACK may come");
    bench.receive(Say::PubAck(2)).unwrap();
    assert!(bench.session.can_publish());

    bench.session.connect();
    bench.sent();
    bench.receive_bytes(&[0x20, 6, 0, 0, 3, 0x21, 0, 1]).unwrap();
    let timeout = bench.session.options.ack_timeout;
    bench.pass(timeout).unwrap();
    assert!(bench.session.can_publish(), "a server that has lost it doesn't stop everything");
}
