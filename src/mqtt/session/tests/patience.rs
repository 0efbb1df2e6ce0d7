//! How long the server may take to answer, where it is the uplink that is slow.

use super::*;
use crate::mqtt::isolation::Suspect;

const S: Duration = Duration::from_secs(1);

impl Bench {
    /// So much of the output is written now.
    fn write(&mut self, bytes: usize) {
        let written = self.session.output().split_to(bytes);
        self.session.wrote(written.len(), self.now);
    }

    /// When there is something to do next, so much hasn't arrived.
    fn look(&mut self, missing: usize) -> Result<(), End> {
        self.now = self.session.timeout().unwrap();
        self.session.not_arrived(missing, self.now);
        self.session.handle_timeout(self.now)
    }

    fn unwritten(&mut self) -> usize {
        self.session.output().len()
    }
}

fn is_over(outcome: &Result<(), End>) -> bool {
    matches!(outcome, Err(End::NoPubAck(..)))
}

#[test]
fn what_is_still_being_written_is_not_overdue() {
    let mut bench = Bench::connected(Protocol::Mqtt5, BTreeMap::new(), false);
    bench.publish(&"x".repeat(100_000));
    while bench.unwritten() > 10_000 {
        bench.write(10_000);
        bench.pass(9 * S).unwrap();
    }
    let left = bench.unwritten();
    bench.write(left);
    bench.pass(9 * S).unwrap();
    assert!(is_over(&bench.pass(S)));
}

#[test]
fn a_window_whose_acknowledgements_come_slowly_is_not_overdue() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, BTreeMap::new(), false);
        for payload in ["a", "b", "c"] {
            bench.publish(payload);
        }
        bench.publishes();
        for id in 1..=3 {
            bench.pass(9 * S).unwrap();
            assert_eq!(bench.event(), None);
            bench.receive(Say::PubAck(id)).unwrap();
            assert!(matches!(bench.event(), Some(Event::Delivered(_))));
        }
    }
}

#[test]
fn what_is_left_out_by_the_server_is_overdue_however_much_comes_for_later_ones() {
    let mut bench = Bench::connected(Protocol::Mqtt5, BTreeMap::new(), false);
    bench.publish("left out");
    for id in 2..=10 {
        bench.publish("later");
        bench.publishes();
        bench.pass(S).unwrap();
        bench.receive(Say::PubAck(id)).unwrap();
    }
    assert!(is_over(&bench.pass(S)));
}

#[test]
fn what_is_still_on_its_way_is_not_overdue() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(0), false);
        bench.publish(&"x".repeat(100_000));
        bench.publishes();
        for missing in (1..9).rev() {
            bench.look(missing * 10_000).unwrap();
        }
        // Nothing more of it arrives.
        let stuck = bench.now;
        bench.look(10_000).unwrap();
        assert_eq!(bench.event(), None);
        let outcome = bench.look(10_000);
        assert_eq!(bench.now - stuck, 10 * S);
        match protocol {
            Protocol::Mqtt5 => assert!(is_over(&outcome)),
            Protocol::Mqtt311 => assert!(matches!(bench.event(), Some(Event::Overdue(_, 1)))),
        }
    }
}

#[test]
fn what_arrives_between_two_looks_still_has_half_of_the_time() {
    let mut bench = Bench::connected(Protocol::Mqtt5, BTreeMap::new(), false);
    bench.publish(&"x".repeat(100_000));
    bench.publishes();
    let begin = bench.now;
    bench.look(1_000).unwrap();
    bench.look(0).unwrap();
    assert_eq!(bench.now - begin, 10 * S);
    assert!(is_over(&bench.look(0)));
    assert_eq!(bench.now - begin, 15 * S);
}

#[test]
fn what_has_arrived_is_overdue_in_time_however_much_comes_behind_it() {
    let mut bench = Bench::connected(Protocol::Mqtt5, BTreeMap::new(), false);
    let begin = bench.now;
    bench.publish("left out");
    bench.publish(&"x".repeat(100_000));
    bench.publishes();
    bench.look(80_000).unwrap();
    assert!(is_over(&bench.look(20_000)));
    assert_eq!(bench.now - begin, 10 * S);
}

#[test]
fn what_arrived_on_another_connection_is_no_progress() {
    let mut bench = Bench::connected(Protocol::Mqtt5, BTreeMap::new(), false);
    bench.publish(&"x".repeat(10_000));
    bench.publishes();
    bench.reconnect(true);
    let begin = bench.now;
    bench.resend_all();
    bench.publishes();
    // Encrypted it is more than it was.
    bench.look(10_100).unwrap();
    assert!(is_over(&bench.look(10_100)));
    assert_eq!(bench.now - begin, 10 * S);
}

#[test]
fn nobody_looks_where_nothing_is_waited_for() {
    let mut bench = Bench::connected(Protocol::Mqtt5, BTreeMap::new(), false);
    let begin = bench.now;
    bench.publish("answered");
    bench.publishes();
    assert_eq!(bench.session.timeout(), Some(begin + 5 * S));
    bench.receive(Say::PubAck(1)).unwrap();
    assert_eq!(bench.session.timeout(), Some(begin + 60 * S));
    bench.now += 20 * S;
    bench.publish("another");
    bench.publishes();
    assert_eq!(bench.session.timeout(), Some(begin + 25 * S));
}

#[test]
fn an_answer_to_a_ping_that_is_on_its_way_is_waited_for() {
    let mut bench = Bench::connected(Protocol::Mqtt5, filters(0), false);
    bench.session.options.ack_timeout = 1000 * S;
    bench.publish(&"x".repeat(20_000));
    bench.publishes();
    bench.pass(60 * S).unwrap();
    assert_eq!(bench.sent(), [Heard::PingReq]);
    for missing in [9_000, 3_000] {
        bench.look(missing).unwrap();
    }
    let stuck = bench.now;
    assert_eq!(bench.look(3_000), Err(End::NoPingResp(30 * S)));
    assert_eq!(bench.now - stuck, 30 * S);
}

#[test]
fn a_ping_waits_for_what_is_written_before_it() {
    let mut bench = Bench::connected(Protocol::Mqtt5, filters(0), false);
    bench.session.options.ack_timeout = 1000 * S;
    bench.publish(&"x".repeat(20_000));
    bench.pass(60 * S).unwrap();
    for _ in 0..3 {
        bench.pass(29 * S).unwrap();
        bench.write(6_000);
    }
    let left = bench.unwritten();
    bench.write(left);
    bench.pass(29 * S).unwrap();
    assert_eq!(bench.pass(S), Err(End::NoPingResp(30 * S)));
}

#[test]
fn what_may_lie_in_a_modem_gets_twice_the_time_on_the_next_connection() {
    let mut bench = Bench::connected(Protocol::Mqtt5, BTreeMap::new(), false);
    bench.publish(&"x".repeat(50_000));
    for patience in [10, 20, 40] {
        bench.resend_all();
        bench.publishes();
        bench.pass((patience - 1) * S).unwrap();
        assert!(is_over(&bench.pass(S)), "{patience}");
        bench.reconnect(true);
    }
    bench.resend_all();
    bench.publishes();
    bench.receive(Say::PubAck(1)).unwrap();
    bench.publish("small");
    bench.publishes();
    bench.pass(11 * S).unwrap();
    bench.receive(Say::PubAck(2)).unwrap();
    bench.publish("in time");
    bench.publishes();
    bench.receive(Say::PubAck(3)).unwrap();
    bench.publish("not in time");
    bench.publishes();
    assert!(is_over(&bench.pass(10 * S)));
}

#[test]
fn small_messages_without_answer_never_wait_longer() {
    let mut bench = Bench::connected(Protocol::Mqtt5, BTreeMap::new(), false);
    bench.publish("small");
    for _ in 0..3 {
        bench.resend_all();
        bench.publishes();
        assert!(is_over(&bench.pass(10 * S)));
        bench.reconnect(true);
    }
}

fn is_suspected(bench: &Bench) -> bool {
    bench.session.isolation.is_alone(&Suspect::Publish(outbound("never answered").traits()))
}

/// Two closes without a reason, as of a network that resets connections, while a message was unanswered.
fn with_a_suspect(protocol: Protocol) -> Bench {
    let mut bench = Bench::connected(protocol, BTreeMap::new(), false);
    bench.publish("never answered");
    for returned in [0, 1] {
        bench.resend_all();
        bench.publishes();
        assert_eq!(bench.session.closed_by_server(false, bench.now).returned.len(), returned);
        bench.reconnect(true);
    }
    bench.publish("never answered");
    assert!(is_suspected(&bench));
    bench
}

#[test]
fn a_suspect_that_is_never_answered_does_not_stop_the_rest() {
    for protocol in BOTH {
        let mut bench = with_a_suspect(protocol);
        let mut others = 0;
        for _ in 0..100 {
            bench.resend_all();
            let message = Outbound { topic: Topic::new("other").unwrap(), ..outbound("other") };
            let is_free = bench.session.can_publish() && bench.session.is_way_free(bench.now);
            if is_free && bench.session.admits(&message, true, bench.now) || bench.session.may_try(bench.now) {
                bench.accepted += 1;
                bench.session.publish(Sequence::new(bench.accepted), message, bench.now);
            }
            for packet in bench.sent() {
                match packet {
                    Heard::PingReq => bench.receive(Say::PingResp).unwrap(),
                    Heard::Publish { payload, id, .. } if payload == "other" => {
                        others += 1;
                        bench.receive(Say::PubAck(id)).unwrap();
                    }
                    _ => {}
                }
            }
            if bench.pass(S).is_err() {
                bench.session.ended_otherwise();
                bench.reconnect(true);
            }
        }
        assert!(others > 50, "{protocol:?}: {others}");
    }
}

#[test]
fn a_disconnect_before_connack_accuses_nobody() {
    let mut bench = Bench::connected(Protocol::Mqtt5, BTreeMap::new(), false);
    bench.publish("innocent");
    bench.publishes();
    for _ in 0..10 {
        bench.session.connection_lost();
        bench.session.connect();
        let verdict = bench.session.closed_by_server(false, bench.now);
        assert!(verdict.guilty.is_none() && !verdict.of_a_trial);
    }
    assert!(!is_suspected(&bench));
}
