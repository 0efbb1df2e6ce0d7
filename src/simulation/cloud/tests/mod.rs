//! The server against the real session, and against bytes by hand.

mod behaviours;
mod bench;
mod connecting;
mod delivering;
mod planted;
mod seeds;

use std::time::Duration;

use crate::message::Qos;
use bench::{BOTH, Bench, downlink, outbound};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn messages_pass_both_ways() {
    for protocol in BOTH {
        let mut bench = Bench::ideal(protocol, &["down/#"]);
        for (payload, qos) in [("1", Qos::AtLeastOnce), ("2", Qos::AtMostOnce), ("3", Qos::AtLeastOnce)] {
            bench.publish(outbound("up/a", payload, qos));
        }
        let places = [("x", 1), ("y", 0), ("z", 1)].map(|(payload, qos)| bench.offer(downlink("down/b", payload, qos)));
        let unmatched = bench.offer(downlink("elsewhere", "-", 1));
        bench.run(SECOND);
        assert_eq!(bench.taken(), ["1", "2", "3"]);
        assert_eq!(bench.delivered, [1, 3].into());
        assert_eq!(bench.received(), ["x", "y", "z"]);
        let acknowledged = places.map(|place| bench.cloud.offered()[place].is_acknowledged());
        assert_eq!(acknowledged, [true, false, true]);
        assert!(!bench.cloud.offered()[unmatched].is_matched());
        assert!(bench.cloud.offered().iter().all(|offered| !offered.is_open()));
        assert_eq!(bench.cloud.subscriptions(), [("down/#", 1)].into());
        bench.assert_faultless();
    }
}

#[test]
fn a_quiet_connection_is_kept_for_hours() {
    for protocol in BOTH {
        let mut bench = Bench::ideal(protocol, &["down/#"]);
        bench.run(3600 * 3 * SECOND);
        assert_eq!((bench.connected.len(), bench.ends.len()), (1, 0));
        assert!(bench.cloud.is_connected());
        bench.assert_faultless();
    }
}

#[test]
fn what_comes_while_the_client_is_away_waits_in_a_kept_session() {
    for protocol in BOTH {
        let mut bench = Bench::ideal(protocol, &["down/#"]);
        bench.cut(SECOND / 10);
        bench.run(SECOND / 2);
        for n in 0..20 {
            bench.offer(downlink("down", &format!("parent {n}"), 1));
            bench.offer(downlink("down/a", &n.to_string(), 1));
            bench.offer(downlink("down/a", "lost", 0));
        }
        bench.run(SECOND * 10);
        assert_eq!(bench.connected, [false, true]);
        assert_eq!(bench.received(), (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
        bench.assert_faultless();
    }
}

#[test]
fn a_forgotten_session_loses_what_waited() {
    for protocol in BOTH {
        let mut bench = Bench::ideal(protocol, &["down/#"]);
        bench.cut(SECOND / 10);
        bench.run(SECOND / 2);
        let place = bench.offer(downlink("down/a", "stored", 1));
        bench.set_behaviour(|behaviour| behaviour.sessions.forgotten = 1.0);
        bench.run(SECOND * 10);
        assert_eq!(bench.connected, [false, false]);
        assert_eq!(bench.received(), [""; 0]);
        let offered = &bench.cloud.offered()[place];
        assert!(offered.is_matched() && !offered.is_open() && !offered.is_acknowledged());
        assert_eq!(bench.cloud.subscriptions(), [("down/#", 1)].into());
        bench.assert_faultless();
    }
}
