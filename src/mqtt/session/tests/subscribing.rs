//! Which filters are asked for, and which taken back, in both versions of MQTT.

use super::*;

fn remembered(n: usize, sure: bool) -> Remembered {
    Remembered { filters: filters(n), sure, ..Remembered::default() }
}

fn connected(protocol: Protocol, wanted: usize, remembered: Remembered, session_present: bool) -> Bench {
    let session = Session::new(options(protocol), filters(wanted), remembered);
    let mut bench = Bench { session, accepted: 0, now: Instant::now() };
    bench.session.connect();
    assert_eq!(bench.sent().len(), 1);
    bench.receive(Say::ConnAck { session_present }).unwrap();
    bench
}

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|i| format!("f/{i:02}")).collect()
}

/// What the session says of its subscriptions in the end.
fn settled(bench: &mut Bench) -> Option<Vec<String>> {
    let mut last = None;
    while let Some(event) = bench.session.next_event() {
        if let Event::Settled(standing, _) = event {
            last = Some(standing.into_keys().map(|filter| filter.to_string()).collect());
        }
    }
    last
}

#[test]
fn a_start_that_finds_its_session_kept_asks_for_nothing_that_stands() {
    for protocol in BOTH {
        let mut bench = connected(protocol, 2, remembered(2, true), true);
        assert_eq!(bench.sent(), []);
        assert_eq!(settled(&mut bench), Some(names(0..2)));
        let mut bench = connected(protocol, 2, remembered(2, true), false);
        assert_eq!(bench.sent(), [Heard::Subscribe { id: 1, filters: names(0..2) }], "a new session has none of it");
        assert_eq!(settled(&mut bench), None);
    }
}

#[test]
fn what_nobody_is_sure_of_is_asked_for_again() {
    for protocol in BOTH {
        let mut bench = connected(protocol, 1, remembered(2, false), true);
        let asked =
            [Heard::Unsubscribe { id: 1, filters: names(1..2) }, Heard::Subscribe { id: 2, filters: names(0..1) }];
        assert_eq!(bench.sent(), asked);
        bench.receive(suback(2, &[1])).unwrap();
        assert_eq!(settled(&mut bench), None, "one answer is missing");
        bench.receive(Say::UnsubAck(1, 1)).unwrap();
        assert_eq!(settled(&mut bench), Some(names(0..1)));
    }
}

#[test]
fn filters_that_the_configuration_has_lost_are_taken_back_and_new_ones_asked_for() {
    for protocol in BOTH {
        let mut bench = connected(protocol, 0, remembered(10, true), true);
        assert_eq!(
            bench.sent(),
            [Heard::Unsubscribe { id: 1, filters: names(0..8) }, Heard::Unsubscribe { id: 2, filters: names(8..10) },]
        );
        bench.receive(Say::UnsubAck(1, 8)).unwrap();
        bench.receive(Say::UnsubAck(2, 2)).unwrap();
        assert_eq!(settled(&mut bench), Some(names(0..0)));
        // While the connection stands.
        bench.session.want(filters(1), bench.now);
        assert_eq!(bench.sent(), [Heard::Subscribe { id: 3, filters: names(0..1) }]);
        bench.receive(suback(3, &[1])).unwrap();
        assert_eq!(settled(&mut bench), Some(names(0..1)));
        let quality: BTreeMap<TopicFilter, Qos> =
            filters(1).into_keys().map(|filter| (filter, Qos::AtMostOnce)).collect();
        bench.session.want(quality, bench.now);
        assert_eq!(
            bench.sent(),
            [Heard::Subscribe { id: 4, filters: names(0..1) }],
            "with another QoS it isn't the same"
        );
        // The answer doesn't come before the connection ends.
        bench.session.connection_lost();
        bench.session.want(filters(0), bench.now);
        bench.reconnect(true);
        assert_eq!(bench.sent(), [Heard::Unsubscribe { id: 5, filters: names(0..1) }], "it may stand or not");
    }
}

#[test]
fn a_refused_filter_is_asked_for_again_after_an_hour_and_when_the_configuration_is_read_again() {
    for protocol in BOTH {
        let mut bench = connected(protocol, 2, Remembered::default(), false);
        bench.sent();
        bench.receive(suback(1, &[1, 0x80])).unwrap();
        assert_eq!(settled(&mut bench), Some(names(0..1)));
        bench.reconnect(true);
        assert_eq!(bench.sent(), []);
        for _ in 0..59 {
            bench.pass(Duration::from_secs(60)).unwrap();
            bench.receive(Say::PingResp).unwrap();
            assert!(bench.sent().iter().all(|packet| *packet == Heard::PingReq));
        }
        assert!(bench.session.timeout().unwrap() <= bench.now + Duration::from_secs(60));
        bench.pass(Duration::from_secs(60)).unwrap();
        assert!(bench.sent().contains(&Heard::Subscribe { id: 2, filters: names(1..2) }));
        bench.receive(suback(2, &[0x80])).unwrap();
        bench.session.want(filters(2), bench.now);
        assert_eq!(bench.sent(), [Heard::Subscribe { id: 3, filters: names(1..2) }]);
    }
}

#[test]
fn an_unsubscribe_without_answer_is_repeated_or_ends_the_connection() {
    for protocol in BOTH {
        let mut bench = connected(protocol, 0, remembered(1, true), true);
        let asked = [Heard::Unsubscribe { id: 1, filters: names(0..1) }];
        assert_eq!(bench.sent(), asked);
        match (protocol, bench.pass(Duration::from_secs(10))) {
            (Protocol::Mqtt311, Ok(())) => assert_eq!(bench.sent(), asked),
            (Protocol::Mqtt5, Err(End::NoUnsubAck(filter, _))) => assert_eq!(filter.as_str(), "f/00"),
            (_, other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn nothing_is_published_before_new_filters_are_answered() {
    for protocol in BOTH {
        // A session that holds them all waits for nothing.
        let bench = connected(protocol, 2, remembered(2, true), true);
        assert!(bench.session.can_publish());
        let mut bench = connected(protocol, 2, remembered(2, true), false);
        assert!(!bench.session.can_publish());
        bench.receive(suback(1, &[0x80, 0x80])).unwrap();
        assert!(bench.session.can_publish(), "a failure is an answer");
        bench.session.want(filters(3), bench.now);
        assert!(!bench.session.can_publish());
        bench.session.connection_lost();
        bench.session.want(filters(1), bench.now);
        bench.reconnect(true);
        // What was taken back isn't waited for.
        assert_eq!(bench.session.can_publish(), !bench.session.subscriptions.is_subscribing());
    }
    // MQTT 5 gives up the connection, MQTT 3.1.1 waits no longer.
    let mut bench = connected(Protocol::Mqtt311, 1, Remembered::default(), false);
    assert_eq!(bench.session.timeout(), Some(bench.now + Duration::from_secs(5)));
    bench.pass(Duration::from_secs(9)).unwrap();
    assert!(!bench.session.can_publish());
    bench.pass(Duration::from_secs(1)).unwrap();
    assert!(bench.session.can_publish());
}

mod publications_wait {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// SUBACKs come in any order and with any answers, connections end: no PUBLISH leaves while a filter is unanswered.
        #[test]
        fn for_every_suback(
            protocol in prop::sample::select(&BOTH[..]),
            wanted in 0..20_usize,
            held in 0..20_usize,
            steps in prop::collection::vec((0..4_u8, any::<usize>(), any::<bool>()), 1..40),
        ) {
            let mut bench = connected(protocol, wanted, remembered(held, true), held > 0);
            let mut asked: Vec<(u16, usize)> = Vec::new();
            for (step, index, flag) in steps {
                match step {
                    0 if !asked.is_empty() => {
                        let (id, count) = asked.remove(index % asked.len());
                        bench.receive(suback(id, &vec![if flag { 1 } else { 0x80 }; count])).unwrap();
                    }
                    1 => {
                        asked.clear();
                        bench.reconnect(flag);
                    }
                    _ if bench.session.can_publish() => {
                        bench.publish("x");
                    }
                    _ => {}
                }
                while bench.session.has_room() && bench.session.next_resend_size(bench.now).is_some() {
                    bench.session.resend(bench.now);
                }
                for packet in bench.sent() {
                    match packet {
                        Heard::Subscribe { id, filters } => asked.push((id, filters.len())),
                        Heard::Publish { .. } => prop_assert!(asked.is_empty(), "{asked:?}"),
                        _ => {}
                    }
                }
            }
        }
    }
}
