//! Which filters are asked for, and which taken back, in both versions of MQTT.

use super::*;

fn remembered(n: usize, sure: bool) -> Remembered {
    Remembered { filters: filters(n), sure }
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
        if let Event::Settled(standing) = event {
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
