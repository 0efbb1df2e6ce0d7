//! Each behaviour, with the real session.

use std::time::Duration;

use bytes::Bytes;

use super::bench::{BOTH, Bench, downlink, outbound};
use crate::message::{Qos, Topic};
use crate::mqtt::session::{Answer, End};
use crate::mqtt::{Protocol, Will};
use crate::simulation::cloud::behaviour::{Behaviour, FilterAnswer, Refusal, Refuses, Reply};
use crate::simulation::cloud::message::Downlink;

const SECOND: Duration = Duration::from_secs(1);

fn plain(payload: &str) -> crate::message::Outbound {
    outbound("up/a", payload, Qos::AtLeastOnce)
}

#[test]
fn the_server_shuts_down_or_loses_its_sessions() {
    for protocol in BOTH {
        let mut bench = Bench::ideal(protocol, &["down/#"]);
        bench.cloud.end_connections(Some(0x8b), bench.now);
        bench.run(SECOND * 5);
        bench.cloud.forget_sessions(bench.now);
        bench.run(SECOND * 5);
        assert_eq!(bench.connected, [false, true, false]);
        let is_told = matches!(&bench.ends[..], [Some(End::Disconnected(reason)), None] if reason.code.0 == 0x8b);
        assert_eq!(is_told, protocol == Protocol::Mqtt5);
        bench.assert_faultless();
    }
}

#[test]
fn the_will_is_published_unless_the_client_says_goodbye() {
    for protocol in BOTH {
        let mut bench = Bench::new(protocol, &["up/#"], Behaviour::default(), 1);
        bench.options(|options| {
            let topic = Topic::new("up/will").unwrap();
            options.will =
                Some(Will { topic, payload: Bytes::from_static(b"gone"), qos: Qos::AtLeastOnce, retain: true });
        });
        bench.run(SECOND);
        bench.cut(SECOND);
        bench.run(SECOND * 5);
        assert_eq!(bench.cloud.wills().len(), 1);
        assert_eq!(bench.received(), ["gone"]);
        bench.say_goodbye();
        bench.run(SECOND * 5);
        assert_eq!((bench.cloud.wills().len(), bench.connected.len()), (1, 3));
        bench.assert_faultless();
    }
}

#[test]
fn acknowledgements_late_lost_twice_and_in_any_order_lose_nothing() {
    for protocol in BOTH {
        let mut bench = Bench::ideal(protocol, &[]);
        bench.set_behaviour(|behaviour| {
            behaviour.puback = Reply { lost: 0.1, ..Reply::after(Duration::ZERO, SECOND * 3) };
            behaviour.acknowledges_in_any_order = true;
            behaviour.acknowledges_twice = 0.3;
        });
        for n in 0..200 {
            bench.publish(plain(&n.to_string()));
        }
        bench.run(SECOND * 200);
        bench.set_behaviour(|behaviour| *behaviour = Behaviour::default());
        bench.run(SECOND * 60);
        assert!(bench.taken().len() > 200);
        assert_eq!(bench.delivered.len(), 200);
        bench.assert_nothing_lost();
        bench.assert_faultless();
    }
}

#[test]
fn a_refused_prefix_is_set_aside_however_it_is_refused() {
    for protocol in BOTH {
        for how in [Refuses::Closes, Refuses::Disconnects(0x87), Refuses::Fails(0x87)] {
            let mut bench = Bench::ideal(protocol, &[]);
            bench.set_behaviour(|behaviour| behaviour.refusals = vec![Refusal::prefix("up/b", how)]);
            for n in 0..60 {
                bench.publish(plain(&n.to_string()));
                if n % 10 == 0 {
                    bench.publish(outbound("up/bad", &format!("bad {n}"), Qos::AtLeastOnce));
                }
                bench.run(SECOND * 10);
            }
            bench.run(SECOND * 600);
            assert_eq!(bench.delivered.len(), 60, "{protocol:?} {how:?}");
            assert!(bench.taken().iter().all(|payload| !payload.starts_with("bad")));
            bench.assert_nothing_lost();
            bench.assert_faultless();
        }
    }
}

#[test]
fn filters_fail_are_downgraded_or_close() {
    for protocol in BOTH {
        let mut behaviour = Behaviour::default();
        behaviour.filters.insert("a".to_owned(), FilterAnswer::Fails(0x87));
        behaviour.filters.insert("b".to_owned(), FilterAnswer::Downgraded);
        behaviour.filters.insert("c".to_owned(), FilterAnswer::Closes);
        behaviour.filters.insert("d".to_owned(), FilterAnswer::Disconnects(0x87));
        let mut bench = Bench::new(protocol, &["a", "b", "c", "d", "e"], behaviour, 1);
        bench.run(SECOND * 600);
        assert_eq!(bench.cloud.subscriptions(), [("b", 0), ("e", 1)].into());
        let answer = |name: &str| bench.answers.iter().rev().find(|(filter, _)| filter.as_str() == name);
        assert!(matches!(answer("a"), Some((_, Answer::Refused(_)))));
        assert!(matches!(answer("b"), Some((_, Answer::Downgraded))));
        bench.assert_faultless();
    }
}

#[test]
fn retained_messages_come_with_the_subscription() {
    for protocol in BOTH {
        let mut bench = Bench::new(protocol, &["a", "w/+"], Behaviour::default(), 1);
        for topic in ["a", "w/b"] {
            let message = Downlink { retain: true, ..downlink(topic, "kept", 1) };
            bench.cloud.publish(message, bench.now);
        }
        bench.run(SECOND);
        assert_eq!(bench.received(), ["kept"], "exact filters only");
        assert!(bench.received[0].retain);
        bench.assert_faultless();
    }
}

#[test]
fn what_is_refused_in_silence_goes_again_until_it_is_taken() {
    for protocol in BOTH {
        let mut bench = Bench::ideal(protocol, &[]);
        bench.set_behaviour(|behaviour| behaviour.refusals = vec![Refusal::topic("up/a", Refuses::Silently)]);
        bench.publish(plain("x"));
        bench.run(SECOND * 35);
        assert!(bench.taken().is_empty() && !bench.is_idle());
        let gives_up = bench.ends.iter().filter(|end| matches!(end, Some(End::NoPubAck(..)))).count();
        assert_eq!(gives_up > 0, protocol == Protocol::Mqtt5);
        bench.set_behaviour(|behaviour| behaviour.refusals.clear());
        bench.run(SECOND * 60);
        assert!(bench.is_idle());
        assert!(bench.cloud.taken()[0].dup);
        bench.assert_nothing_lost();
        bench.assert_faultless();
    }
}

#[test]
fn what_is_discarded_goes_again() {
    for protocol in BOTH {
        let mut bench = Bench::ideal(protocol, &[]);
        bench.set_behaviour(|behaviour| behaviour.discards_over = Some(20));
        for n in 0..60 {
            bench.publish(plain(&n.to_string()));
        }
        bench.run(SECOND * 5);
        assert!((20..60).contains(&bench.taken().len()), "{}", bench.taken().len());
        bench.run(SECOND * 100);
        assert!(bench.is_idle());
        bench.assert_nothing_lost();
        bench.assert_faultless();
    }
}

#[test]
fn a_quota_makes_the_client_wait() {
    let mut bench = Bench::ideal(Protocol::Mqtt5, &[]);
    bench.set_behaviour(|behaviour| behaviour.refusals = vec![Refusal::everything(Refuses::Fails(0x97))]);
    bench.publish(plain("x"));
    bench.run(SECOND * 10);
    bench.set_behaviour(|behaviour| behaviour.refusals.clear());
    bench.run(SECOND * 10);
    assert_eq!((bench.taken(), bench.ends.len()), (vec!["x".to_owned()], 0));
    bench.assert_faultless();
}

#[test]
fn a_suback_comes_late_or_never() {
    for protocol in BOTH {
        let behaviour = Behaviour { suback: Reply::NEVER, ..Behaviour::default() };
        let mut bench = Bench::new(protocol, &["a", "b"], behaviour, 1);
        bench.run(SECOND * 30);
        assert!(bench.answers.is_empty());
        bench.set_behaviour(|behaviour| behaviour.suback = Reply::after(SECOND, SECOND * 5));
        bench.run(SECOND * 30);
        assert_eq!(bench.answers.len(), 2);
        bench.assert_faultless();
    }
}

#[test]
fn one_subscription_more_than_the_server_has_room_for_fails() {
    for protocol in BOTH {
        let behaviour = Behaviour { maximum_subscriptions: 2, ..Behaviour::default() };
        let mut bench = Bench::new(protocol, &["a", "b", "c"], behaviour, 1);
        bench.run(SECOND);
        assert_eq!(bench.cloud.subscriptions(), [("a", 1), ("b", 1)].into());
        assert!(matches!(&bench.answers[2], (_, Answer::Refused(_))));
        bench.assert_faultless();
    }
}

#[test]
fn limits_are_kept() {
    let mut behaviour = Behaviour::default();
    behaviour.announced.receive_maximum = 3;
    behaviour.announced.maximum_packet_size = Some(100);
    behaviour.announced.retain = false;
    behaviour.announced.wildcards = false;
    behaviour.announced.shared_subscriptions = false;
    behaviour.puback = Reply::after(SECOND, SECOND);
    let mut bench = Bench::new(Protocol::Mqtt5, &["a/#", "$share/g/b", "c"], behaviour, 1);
    for n in 0..20 {
        bench.publish(plain(&n.to_string()));
    }
    bench.run(SECOND * 10);
    bench.publish(plain(&"x".repeat(200)));
    bench.publish(crate::message::Outbound { retain: true, ..plain("retained") });
    bench.run(SECOND * 10);
    assert_eq!(bench.cloud.subscriptions(), [("c", 1)].into());
    assert_eq!((bench.delivered.len(), bench.rejected.len()), (20, 2));
    bench.assert_faultless();
}
