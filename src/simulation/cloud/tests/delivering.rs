//! What goes to the client, with the real session.

use std::time::Duration;

use bytes::Bytes;

use super::bench::{BOTH, Bench, downlink, outbound};
use crate::limits::MAX_PACKET;
use crate::message::{Properties, Qos};
use crate::mqtt::Protocol;
use crate::simulation::cloud::behaviour::{Behaviour, Flood, Overlap};
use crate::simulation::cloud::message::{Downlink, Origin};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_was_not_acknowledged_comes_again_with_or_without_dup() {
    for protocol in BOTH {
        for dup in [false, true] {
            let mut bench = Bench::ideal(protocol, &["down/#"]);
            bench.set_behaviour(|behaviour| behaviour.downlink.resends_with_dup = dup);
            bench.reading.min = SECOND * 5;
            bench.reading.max = SECOND * 5;
            let place = bench.offer(downlink("down/a", "x", 1));
            bench.run(SECOND);
            bench.cut(SECOND);
            bench.run(SECOND * 20);
            let offered = &bench.cloud.offered()[place];
            assert_eq!((offered.sent, offered.acknowledged), (2, 1));
            assert_eq!(bench.received(), ["x", "x"]);
            assert!(bench.received[1].duplicate, "the client knows it again without DUP");
            bench.assert_faultless();
        }
    }
}

#[test]
fn a_message_without_puback_is_repeated_or_given_up() {
    for protocol in BOTH {
        let mut bench = Bench::ideal(protocol, &["down/#"]);
        bench.set_behaviour(|behaviour| {
            behaviour.downlink.repeats_after = Some(SECOND * 5);
            behaviour.downlink.gives_up_after = Some(SECOND * 12);
        });
        bench.reading.min = SECOND * 13;
        bench.reading.max = SECOND * 13;
        let place = bench.offer(downlink("down/a", "x", 1));
        bench.run(SECOND * 30);
        let offered = &bench.cloud.offered()[place];
        let repeats = if protocol == Protocol::Mqtt311 { 3 } else { 1 };
        assert_eq!((offered.sent, offered.given_up, offered.acknowledged), (repeats, 1, 0));
        assert_eq!(bench.received(), ["x"]);
        bench.assert_faultless();
    }
}

#[test]
fn no_more_is_on_its_way_than_the_client_takes() {
    for protocol in BOTH {
        let mut bench = Bench::ideal(protocol, &["down/#"]);
        bench.reading.min = SECOND;
        bench.reading.max = SECOND;
        for n in 0..250 {
            bench.offer(downlink("down/a", &n.to_string(), 1));
        }
        bench.run(SECOND / 2);
        assert_eq!(bench.received.len(), 100);
        bench.run(SECOND * 10);
        assert_eq!(bench.received(), (0..250).map(|n| n.to_string()).collect::<Vec<_>>());
        bench.assert_faultless();
    }
}

#[test]
fn overlapping_subscriptions_bring_each_message_once() {
    for overlap in [Overlap::ForEach, Overlap::WithAll, Overlap::WithFirst] {
        let mut behaviour = Behaviour::default();
        behaviour.announced.subscription_identifiers = true;
        behaviour.downlink.overlap = overlap;
        let mut bench = Bench::new(Protocol::Mqtt5, &["down/+/x", "down/a/+"], behaviour, 1);
        bench.run(SECOND);
        let both = bench.offer(downlink("down/a/x", "both", 1));
        bench.offer(downlink("down/a/y", "one", 1));
        bench.run(SECOND);
        assert_eq!(bench.received(), ["both", "one"], "{overlap:?}");
        let copies = if overlap == Overlap::ForEach { 2 } else { 1 };
        assert_eq!((bench.cloud.offered()[both].copies, bench.cloud.offered()[both].is_acknowledged()), (copies, true));
        bench.assert_faultless();
    }
}

#[test]
fn properties_arrive_and_an_expired_message_does_not() {
    let mut bench = Bench::ideal(Protocol::Mqtt5, &["down/#"]);
    let properties = Properties {
        content_type: Some("text/plain".to_owned()),
        response_topic: Some("up/answer".to_owned()),
        correlation_data: Some(Bytes::from_static(&[0, 1])),
        payload_format_indicator: Some(1),
        user_properties: vec![("a".to_owned(), "b".to_owned()), ("a".to_owned(), "c".to_owned())],
        expires_in: Some(60),
        expires_at: None,
    };
    bench.offer(Downlink { properties: properties.clone(), ..downlink("down/a", "x", 1) });
    bench.run(SECOND);
    assert_eq!(bench.received[0].properties.as_deref(), Some(&properties));
    bench.hold_back(SECOND * 100);
    bench.cut(SECOND);
    bench.run(SECOND * 2);
    let expired = bench.offer(Downlink { properties, ..downlink("down/a", "late", 1) });
    bench.run(SECOND * 120);
    assert_eq!(bench.received(), ["x"]);
    assert_eq!((bench.cloud.offered()[expired].given_up, bench.connected.len()), (1, 2));
    bench.assert_faultless();
}

#[test]
fn what_the_client_publishes_comes_back_to_it() {
    for protocol in BOTH {
        let mut bench = Bench::ideal(protocol, &["up/#"]);
        bench.publish(outbound("up/a", "x", Qos::AtLeastOnce));
        bench.run(SECOND);
        assert_eq!(bench.received(), ["x"]);
        assert_eq!(bench.cloud.offered()[0].origin, Origin::Client);
        bench.set_behaviour(|behaviour| behaviour.downlink.echoes = false);
        bench.publish(outbound("up/a", "y", Qos::AtLeastOnce));
        bench.run(SECOND);
        assert_eq!(bench.received(), ["x"]);
        bench.assert_faultless();
    }
}

#[test]
fn a_flood_comes_while_the_client_is_there() {
    for protocol in BOTH {
        let mut bench = Bench::ideal(protocol, &["down/#"]);
        let flood = Flood { topic: "down/a".to_owned(), size: 100, qos: 1, every: SECOND / 100 };
        bench.set_behaviour(|behaviour| behaviour.flood = Some(flood));
        bench.run(SECOND * 10);
        assert!((990..=1001).contains(&bench.received.len()), "{}", bench.received.len());
        assert!(bench.received.iter().all(|message| message.payload.len() == 100));
        bench.hold_back(SECOND * 10);
        bench.cut(SECOND);
        bench.run(SECOND * 2);
        let offered = bench.cloud.offered().len();
        bench.run(SECOND * 5);
        assert_eq!(bench.cloud.offered().len(), offered);
        bench.set_behaviour(|behaviour| behaviour.flood = None);
        bench.run(SECOND * 100);
        assert!(bench.cloud.offered().iter().all(|offered| offered.is_acknowledged()));
        bench.assert_faultless();
    }
}

#[test]
fn a_packet_larger_than_the_client_takes_is_not_sent() {
    let mut bench = Bench::ideal(Protocol::Mqtt5, &["down/#"]);
    let place = bench.offer(downlink("down/a", &"x".repeat(MAX_PACKET), 1));
    bench.run(SECOND);
    let offered = &bench.cloud.offered()[place];
    assert_eq!((offered.sent, offered.is_open(), bench.received.len()), (0, false, 0));
    bench.assert_faultless();
}

#[test]
fn retained_messages_come_for_wildcards_as_mqtt_wants_it() {
    for protocol in BOTH {
        let mut behaviour = Behaviour::default();
        behaviour.downlink.retained_for_wildcards = true;
        behaviour.downlink.hash_matches_parent = true;
        let mut bench = Bench::new(protocol, &["w/#"], behaviour, 1);
        for (topic, payload) in [("w", "parent"), ("w/b", "child"), ("w/c", "gone"), ("w/c", "")] {
            bench.cloud.publish(Downlink { retain: true, ..downlink(topic, payload, 1) }, bench.now);
        }
        bench.run(SECOND);
        assert_eq!(bench.received(), ["parent", "child"]);
        bench.assert_faultless();
    }
}
