//! `keep_alive = "auto"`, behind networks that forget a connection.

use proptest::prelude::*;

use super::*;
use crate::mqtt::session::Found;
use crate::mqtt::session::silence::Silence;

const LONGEST: Duration = Duration::from_secs(20 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A connection over a network that forgets it after some time without a packet; the next attempt to connect succeeds.
struct Behind {
    silence: Silence,
    forgets_after: Duration,
    now: Instant,
    lost: u32,
    sent: u32,
}

impl Behind {
    fn new(forgets_after: Duration) -> Behind {
        let mut silence = Silence::new(LONGEST);
        let now = Instant::now();
        silence.connected(now);
        Behind { silence, forgets_after, now, lost: 0, sent: 0 }
    }

    /// A PINGREQ when it is due, or something else that is sent before.
    fn send_after(&mut self, silence: Duration) {
        self.now += silence;
        self.sent += 1;
        self.silence.sent_after(silence);
        if silence >= self.forgets_after {
            self.lose();
        } else {
            self.silence.received_after(Duration::ZERO);
            self.silence.found(self.now);
        }
    }

    fn lose(&mut self) {
        self.lost += 1;
        self.now += Duration::from_secs(30);
        self.silence.lost_after(Duration::from_secs(30));
        self.silence.connected(self.now);
    }

    fn ping(&mut self) {
        self.send_after(self.silence.interval());
    }

    fn settle(&mut self) {
        let until = self.now + DAY;
        while self.now < until {
            self.ping();
        }
    }
}

#[test]
fn silence_grows_up_to_twenty_minutes_where_the_network_forgets_nothing() {
    let mut behind = Behind::new(Duration::MAX);
    let mut intervals = Vec::new();
    for _ in 0..7 {
        intervals.push(behind.silence.interval().as_secs());
        behind.ping();
    }
    assert_eq!(intervals, [60, 120, 240, 480, 960, 1200, 1200]);
    behind.settle();
    assert_eq!(behind.lost, 0);
}

#[test]
fn it_stays_below_what_a_nat_forgets_and_looks_once_a_week_whether_it_still_does() {
    let mut behind = Behind::new(Duration::from_secs(350));
    behind.settle();
    let found = behind.silence.known();
    // 240 s were borne, 480 and 360 weren't.
    assert_eq!(found.interval, Duration::from_secs(225));
    assert_eq!(found.forgotten_after, Some(Duration::from_secs(360)));
    let lost = behind.lost;
    assert!(lost <= 3, "{lost}");
    for _ in 0..14 {
        behind.settle();
    }
    assert_eq!(behind.lost, lost + 2, "two weeks");
    behind.forgets_after = Duration::MAX;
    for _ in 0..8 {
        behind.settle();
    }
    assert_eq!(behind.silence.interval(), LONGEST, "the carrier has another NAT");
    assert_eq!(behind.lost, lost + 2);
}

#[test]
fn an_outage_says_nothing_of_the_network() {
    let mut behind = Behind::new(Duration::MAX);
    behind.ping();
    let interval = behind.silence.interval();
    behind.silence.sent_after(interval);
    behind.silence.lost_after(Duration::from_secs(30));
    behind.silence.never_mind();
    behind.silence.connected(behind.now);
    assert_eq!(behind.silence.interval(), interval);
    assert_eq!(behind.silence.known().forgotten_after, None);
}

#[test]
fn one_loss_by_accident_is_doubted_after_an_hour() {
    let mut behind = Behind::new(Duration::MAX);
    (0..3).for_each(|_| behind.ping());
    behind.send_after(Duration::ZERO);
    behind.silence.sent_after(behind.silence.interval());
    behind.lose();
    assert!(behind.silence.known().forgotten_after.is_some());
    behind.settle();
    assert_eq!((behind.silence.interval(), behind.lost), (LONGEST, 1));
}

#[test]
fn another_network_that_forgets_sooner_is_noticed_with_the_first_loss() {
    for (before, after) in [(1000, 100), (10_000, 70), (10_000, 35)] {
        let mut behind = Behind::new(Duration::from_secs(before));
        behind.settle();
        behind.forgets_after = Duration::from_secs(after);
        let (lost, since) = (behind.lost, behind.now);
        while behind.lost == lost || behind.silence.interval() >= behind.forgets_after {
            behind.ping();
        }
        assert!(behind.lost - lost <= 4, "{}", behind.lost - lost);
        let took = behind.now - since;
        assert!(took < Duration::from_secs(30 * 60), "what the server sends is late for {took:?}");
        behind.settle();
        assert!(behind.silence.interval() < behind.forgets_after);
    }
}

#[test]
fn one_loss_by_accident_after_much_silence_costs_a_few_packets() {
    let mut behind = Behind::new(Duration::MAX);
    behind.settle();
    behind.silence.sent_after(LONGEST);
    behind.lose();
    let sent = behind.sent;
    while behind.silence.interval() < LONGEST / 2 {
        behind.ping();
    }
    assert!(behind.sent - sent <= 5, "{}", behind.sent - sent);
    behind.settle();
    assert_eq!((behind.silence.interval(), behind.lost), (LONGEST, 1));
}

#[test]
fn a_search_of_several_losses_is_doubted_after_an_hour_too() {
    for forgets_after in [70, 130] {
        let mut behind = Behind::new(Duration::from_secs(forgets_after));
        while behind.lost < 2 {
            behind.ping();
        }
        behind.forgets_after = Duration::MAX;
        let until = behind.now + Duration::from_secs(2 * 3600);
        while behind.now < until {
            behind.ping();
        }
        assert!(behind.silence.interval() > Duration::from_secs(600), "{:?}", behind.silence.interval());
    }
}

#[test]
fn a_server_that_answers_no_pingreq_is_no_network_that_forgets() {
    let mut behind = Behind::new(Duration::from_secs(1));
    let mut shortest = Duration::MAX;
    for _ in 0..100 {
        behind.ping();
        shortest = shortest.min(behind.silence.interval());
    }
    assert!(shortest >= Duration::from_secs(25), "{shortest:?}");
    let passed = behind.now;
    (0..20).for_each(|_| behind.ping());
    assert!(behind.now - passed >= 20 * Duration::from_secs(80), "most of the time it is asked as seldom as at first");
    // It answers again.
    behind.forgets_after = Duration::MAX;
    behind.settle();
    assert_eq!(behind.silence.interval(), LONGEST);
}

#[test]
fn a_network_that_closes_what_is_silent_is_one_that_forgets_it() {
    let mut silence = Silence::new(LONGEST);
    let now = Instant::now();
    silence.sent_after(Duration::from_secs(60));
    silence.received_after(Duration::ZERO);
    silence.found(now);
    assert_eq!(silence.interval(), Duration::from_secs(120));
    silence.lost_after(Duration::from_secs(90));
    silence.connected(now);
    assert_eq!(silence.known().forgotten_after, Some(Duration::from_secs(90)));
    assert!(silence.interval() < Duration::from_secs(90));
}

/// A session whose keep alive is found by trying.
fn adaptive(protocol: Protocol) -> Bench {
    let options = Options { keep_alive: KeepAlive::UpTo(LONGEST), ..options(protocol) };
    let session = Session::new(options, BTreeMap::new(), Remembered::default());
    let mut bench = Bench { session, accepted: 0, now: Instant::now() };
    bench.session.connect();
    let sent = bench.sent();
    assert!(matches!(sent[..], [Heard::Connect { keep_alive: 1200, .. }]), "{sent:?}");
    bench.receive(Say::ConnAck { session_present: false }).unwrap();
    bench
}

fn found(bench: &mut Bench) -> Vec<(u64, Option<u64>)> {
    let found = |event| match event {
        Event::Silence(Found { interval, forgotten_after }) => {
            Some((interval.as_secs(), forgotten_after.map(|after| after.as_secs())))
        }
        _ => None,
    };
    std::iter::from_fn(|| bench.session.next_event()).filter_map(found).collect()
}

#[test]
fn pingreqs_become_rarer_until_the_network_forgets_the_connection() {
    for protocol in BOTH {
        let mut bench = adaptive(protocol);
        assert_eq!(found(&mut bench), [(60, None)]);
        for (after, next) in [(60, 120), (120, 240), (240, 480)] {
            let due = bench.now + Duration::from_secs(after);
            assert!(bench.session.timeout().is_some_and(|at| at <= due));
            bench.pass(Duration::from_secs(after - 1)).unwrap();
            assert_eq!(bench.sent(), []);
            bench.pass(Duration::from_secs(1)).unwrap();
            assert_eq!(bench.sent(), [Heard::PingReq]);
            bench.receive(Say::PingResp).unwrap();
            assert_eq!(found(&mut bench), [(next, None)]);
        }
        bench.pass(Duration::from_secs(480)).unwrap();
        assert_eq!(bench.sent(), [Heard::PingReq]);
        let limit = Duration::from_secs(30);
        assert_eq!(
            bench.pass(limit),
            Err(End::NoPingResp(limit)),
            "an answer isn't waited for as long as silence lasts"
        );
        bench.session.broke(bench.now);
        bench.reconnect(true);
        assert_eq!(found(&mut bench), [(360, Some(480))]);
    }
}

#[test]
fn what_is_sent_and_not_answered_does_not_put_off_the_question() {
    for protocol in BOTH {
        let mut bench = adaptive(protocol);
        // The network bears two minutes.
        bench.pass(Duration::from_secs(60)).unwrap();
        assert_eq!(bench.sent(), [Heard::PingReq]);
        bench.receive(Say::PingResp).unwrap();
        let asked = (1..10).find(|_| {
            bench.pass(Duration::from_secs(30)).unwrap();
            let is_asked = bench.sent().contains(&Heard::PingReq);
            bench.accepted += 1;
            let message = Outbound { qos: Qos::AtMostOnce, ..outbound("x") };
            bench.session.publish(Sequence::new(bench.accepted), message, bench.now);
            bench.sent();
            is_asked
        });
        assert_eq!(asked, Some(4), "nothing has come for as long as nothing was known to arrive");
    }
}

#[test]
fn a_message_without_puback_asks_whether_the_server_is_there() {
    let mut bench = adaptive(Protocol::Mqtt311);
    bench.publish("x");
    bench.sent();
    bench.pass(options(Protocol::Mqtt311).ack_timeout).unwrap();
    let sent = bench.sent();
    assert!(sent.contains(&Heard::PingReq), "{sent:?}");
    assert_eq!(bench.pass(Duration::from_secs(30)), Err(End::NoPingResp(Duration::from_secs(30))));
}

#[test]
fn an_attempt_that_fails_in_between_says_that_it_was_an_outage() {
    for protocol in BOTH {
        let mut bench = adaptive(protocol);
        bench.pass(Duration::from_secs(60)).unwrap();
        assert_eq!(bench.sent(), [Heard::PingReq]);
        bench.pass(Duration::from_secs(30)).unwrap_err();
        bench.session.broke(bench.now);
        bench.session.connection_lost();
        // No transport could be opened.
        bench.session.connection_lost();
        bench.session.connect();
        bench.sent();
        bench.receive(Say::ConnAck { session_present: true }).unwrap();
        assert_eq!(found(&mut bench), [(60, None)]);
    }
}

#[test]
fn what_is_sent_and_received_stands_in_for_a_pingreq() {
    for protocol in BOTH {
        let mut bench = adaptive(protocol);
        for n in 0..30_u16 {
            bench.pass(Duration::from_secs(50)).unwrap();
            bench.publish(&n.to_string());
            assert!(!bench.sent().contains(&Heard::PingReq));
            bench.receive(Say::PubAck(n + 1)).unwrap();
        }
        assert_eq!(found(&mut bench).last(), Some(&(100, None)));
    }
}

proptest! {
    /// Whatever is sent meanwhile: it settles on what the network bears, and has needed few connections for that.
    #[test]
    fn it_settles_on_what_any_network_bears(
        forgets_after in 31_u64..3000,
        others in prop::collection::vec(1_u64..1500, 0..60),
    ) {
        let forgets_after = Duration::from_secs(forgets_after);
        let mut behind = Behind::new(forgets_after);
        for other in others {
            let other = Duration::from_secs(other);
            match other < behind.silence.interval() {
                true => behind.send_after(other),
                false => behind.ping(),
            }
        }
        behind.settle();
        let interval = behind.silence.interval();
        prop_assert!(interval < forgets_after && interval <= LONGEST, "{:?}", interval);
        prop_assert!(interval * 2 >= forgets_after.min(LONGEST) , "{:?}", interval);
        prop_assert!(behind.lost <= 14, "{}", behind.lost);
    }
}
