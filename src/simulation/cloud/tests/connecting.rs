//! CONNECT, CONNACK, keep alive and sessions, with the real session.

use std::time::Duration;

use super::bench::{BOTH, Bench, downlink, outbound};
use crate::message::Qos;
use crate::mqtt::Protocol;
use crate::mqtt::session::End;
use crate::simulation::cloud::behaviour::{Behaviour, Closes, Delay, Reply};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn connack_refuses_comes_late_or_never() {
    for protocol in BOTH {
        let behaviour = Behaviour { refuses_connect: Some((5, 0x87)), ..Behaviour::default() };
        let mut bench = Bench::new(protocol, &[], behaviour, 1);
        bench.run(SECOND);
        let code = if protocol == Protocol::Mqtt5 { 0x87 } else { 5 };
        assert!(matches!(&bench.ends[..], [Some(End::Refused(reason))] if reason.code.0 == code), "{:?}", bench.ends);
        bench.set_behaviour(|behaviour| *behaviour = Behaviour { connack: Reply::NEVER, ..Behaviour::default() });
        bench.run(SECOND * 23);
        assert_eq!(bench.ends[1..], [None], "given up after 20 s");
        let late = Reply::after(SECOND * 10, SECOND * 15);
        bench.set_behaviour(|behaviour| *behaviour = Behaviour { connack: late, ..Behaviour::default() });
        bench.run(SECOND * 9);
        assert!(!bench.cloud.is_connected());
        bench.run(SECOND * 30);
        assert_eq!(bench.connected, [false]);
        bench.assert_faultless();
    }
}

#[test]
fn without_pingresp_the_client_connects_again() {
    for protocol in BOTH {
        let mut bench = Bench::ideal(protocol, &[]);
        bench.set_behaviour(|behaviour| behaviour.pingresp = Reply::NEVER);
        bench.run(SECOND * 100);
        assert!(matches!(bench.ends[..], [Some(End::NoPingResp(_))]), "{:?}", bench.ends);
        bench.assert_faultless();
    }
}

#[test]
fn a_half_open_connection_ends_with_the_keep_alive_or_with_the_next() {
    for protocol in BOTH {
        let mut bench = Bench::ideal(protocol, &[]);
        // The client is back long before the server learns of it.
        bench.cut(SECOND * 1000);
        bench.run(SECOND * 10);
        assert_eq!(bench.connected, [false, true]);
        assert_eq!(bench.cloud.wills().len(), 0);
        bench.assert_faultless();
        bench.set_behaviour(|behaviour| behaviour.connack = Reply::NEVER);
        bench.cut(SECOND * 1000);
        bench.run(SECOND / 2);
        assert!(bench.cloud.is_connected(), "it hasn't heard");
        bench.set_behaviour(|behaviour| behaviour.expected.keep_alive = false);
        bench.hold_back(SECOND * 200);
        bench.run(SECOND * 100);
        assert!(!bench.cloud.is_connected());
        bench.assert_faultless();
    }
}

#[test]
fn a_session_expires() {
    for protocol in BOTH {
        let mut bench = Bench::ideal(protocol, &["down"]);
        bench.hold_back(SECOND * 3700);
        bench.cut(SECOND);
        bench.run(SECOND * 3000);
        let stored = bench.offer(downlink("down", "stored", 1));
        bench.run(SECOND * 700);
        let late = bench.offer(downlink("down", "late", 1));
        assert!(bench.cloud.offered()[stored].is_matched() && !bench.cloud.offered()[stored].is_open());
        assert!(!bench.cloud.offered()[late].is_matched(), "nobody is there");
        bench.run(SECOND * 100);
        assert_eq!(bench.connected, [false, false]);
        bench.assert_faultless();
    }
}

#[test]
fn an_expiry_and_a_keep_alive_other_than_asked_for_are_told() {
    let mut behaviour = Behaviour::default();
    behaviour.sessions.expiry_at_most = SECOND * 60;
    behaviour.announced.keep_alive = (100, 200);
    let mut bench = Bench::new(Protocol::Mqtt5, &["down"], behaviour, 1);
    bench.run(SECOND);
    assert_eq!(bench.session.timeout(), Some(bench.now - SECOND + SECOND * 100 + bench.latency.max * 2));
    bench.hold_back(SECOND * 100);
    bench.cut(SECOND);
    bench.run(SECOND * 110);
    assert_eq!(bench.connected, [false, false]);
    bench.assert_faultless();
}

#[test]
fn connections_are_closed_for_no_reason() {
    for protocol in BOTH {
        let closes = [
            Closes { after: Some(Delay::between(SECOND, SECOND * 5)), ..Closes::default() },
            Closes { after_packets: Some((1, 5)), reason: Some(0x8e), ..Closes::default() },
        ];
        for closes in closes {
            let mut bench = Bench::ideal(protocol, &["down/#"]);
            bench.set_behaviour(|behaviour| behaviour.closes = closes);
            bench.cloud.end_connections(None, bench.now);
            for n in 0..40 {
                bench.publish(outbound("up", &n.to_string(), Qos::AtLeastOnce));
                bench.run(SECOND);
            }
            assert!(bench.ends.len() > 4, "{:?}", bench.ends);
            bench.set_behaviour(|behaviour| behaviour.closes = Closes::default());
            bench.run(SECOND * 600);
            assert!(bench.is_idle());
            bench.assert_nothing_lost();
            bench.assert_faultless();
        }
    }
}

#[test]
fn a_restarted_client_begins_anew_with_its_identifiers() {
    for protocol in BOTH {
        let mut bench = Bench::ideal(protocol, &["down/#"]);
        bench.set_behaviour(|behaviour| behaviour.puback = Reply::NEVER);
        for n in 0..5 {
            bench.publish(outbound("up", &n.to_string(), Qos::AtLeastOnce));
        }
        bench.run(SECOND);
        bench.restart(super::bench::filters(&["down/#"]));
        bench.set_behaviour(|behaviour| behaviour.puback = Reply::default());
        bench.run(SECOND * 10);
        assert_eq!(bench.connected, [false, true]);
        assert!(bench.is_idle());
        assert!(bench.cloud.taken().iter().all(|taken| !taken.dup));
        bench.assert_nothing_lost();
        bench.assert_faultless();
    }
}
