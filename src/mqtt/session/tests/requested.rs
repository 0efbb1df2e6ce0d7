//! Filters that readers ask for, as often as they like: that is no load of anybody else's.

use super::*;

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

fn requested(texts: &[&str]) -> BTreeMap<TopicFilter, Qos> {
    texts.iter().map(|text| (filter(text), Qos::AtLeastOnce)).collect()
}

fn subscribe(id: u16, filters: &[&str]) -> Heard {
    Heard::Subscribe { id, filters: filters.iter().map(|text| (*text).to_owned()).collect() }
}

fn unsubscribe(id: u16, filters: &[&str]) -> Heard {
    Heard::Unsubscribe { id, filters: filters.iter().map(|text| (*text).to_owned()).collect() }
}

/// Subscribed to f/00, as configured.
fn with_configured(protocol: Protocol) -> Bench {
    let mut bench = Bench::connected(protocol, filters(1), false);
    assert_eq!(bench.sent(), [subscribe(1, &["f/00"])]);
    bench.receive(suback(1, &[1])).unwrap();
    bench
}

impl Bench {
    fn request(&mut self, texts: &[&str]) {
        self.session.want_requested(requested(texts), self.now);
    }
}

#[test]
fn no_message_waits_for_them_however_often_they_change() {
    for protocol in BOTH {
        let mut bench = with_configured(protocol);
        for n in 0..100_u32 {
            bench.request(&[format!("r/{n}").as_str()]);
            assert!(bench.session.can_publish(), "{n}");
            // Nothing is answered for a while.
            if n % 9 == 8 {
                for packet in bench.sent() {
                    match packet {
                        Heard::Subscribe { id, filters } => {
                            bench.receive(suback(id, &vec![1; filters.len()])).unwrap();
                        }
                        Heard::Unsubscribe { id, filters } => bench.receive(Say::UnsubAck(id, filters.len())).unwrap(),
                        Heard::PingReq => bench.receive(Say::PingResp).unwrap(),
                        other => panic!("{other:?}"),
                    }
                }
            }
            bench.pass(Duration::from_millis(900)).unwrap();
        }
        // Nor in a new session, once those of the configuration are answered.
        bench.request(&["r/1", "r/2"]);
        bench.reconnect(false);
        let sent = bench.sent();
        let [Heard::Subscribe { id, filters }] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!(filters[..], ["f/00"]);
        assert!(!bench.session.can_publish());
        bench.receive(suback(*id, &[1])).unwrap();
        assert!(matches!(&bench.sent()[..], [Heard::Subscribe { filters, .. }] if filters[..] == ["r/1", "r/2"]));
        assert!(bench.session.can_publish());
    }
}

#[test]
fn one_subscribe_for_them_is_on_its_way_at_a_time() {
    for protocol in BOTH {
        let mut bench = with_configured(protocol);
        bench.request(&["r/1"]);
        assert_eq!(bench.sent(), [subscribe(2, &["r/1"])]);
        bench.request(&["r/1", "r/2"]);
        bench.request(&["r/1", "r/2", "r/3"]);
        assert_eq!(bench.sent(), []);
        bench.receive(suback(2, &[1])).unwrap();
        assert_eq!(bench.sent(), [subscribe(3, &["r/2", "r/3"])]);
        // Those of the configuration don't wait for that.
        bench.session.want(filters(2), bench.now);
        assert_eq!(bench.sent(), [subscribe(4, &["f/01"])]);
    }
}

#[test]
fn one_that_is_configured_too_is_as_those_and_has_the_higher_qos() {
    for protocol in BOTH {
        let mut bench = with_configured(protocol);
        let at_most_once: BTreeMap<TopicFilter, Qos> = [(filter("f/00"), Qos::AtMostOnce)].into();
        bench.session.want(at_most_once, bench.now);
        assert_eq!(bench.sent(), [subscribe(2, &["f/00"])]);
        assert!(bench.session.can_publish(), "it stands, with another QoS");
        bench.receive(suback(2, &[0])).unwrap();
        bench.request(&["f/00"]);
        assert_eq!(bench.sent(), [subscribe(3, &["f/00"])]);
        assert!(bench.session.can_publish());
        bench.receive(suback(3, &[1])).unwrap();
        bench.reconnect(false);
        assert!(!bench.session.can_publish(), "it doesn't stand");
    }
}

#[test]
fn what_was_refused_is_not_asked_for_again_because_others_change() {
    for protocol in BOTH {
        let mut bench = with_configured(protocol);
        bench.request(&["r/bad"]);
        bench.sent();
        bench.receive(suback(2, &[0x80])).unwrap();
        bench.request(&["r/1", "r/bad"]);
        assert_eq!(bench.sent(), [subscribe(3, &["r/1"])]);
        bench.receive(suback(3, &[1])).unwrap();
        bench.request(&["r/bad"]);
        assert_eq!(bench.sent(), [unsubscribe(4, &["r/1"])]);
        bench.receive(Say::UnsubAck(4, 1)).unwrap();
        // A reload is another matter.
        bench.session.want(filters(1), bench.now);
        assert_eq!(bench.sent(), [subscribe(5, &["r/bad"])]);
    }
}

#[test]
fn what_there_was_no_room_for_is_asked_for_soon_and_then_later_and_later() {
    let mut bench = with_configured(Protocol::Mqtt5);
    bench.request(&["r/1"]);
    bench.sent();
    bench.receive(suback(2, &[0x97])).unwrap();
    for (id, seconds) in [(3, 30), (4, 60), (5, 120)] {
        bench.pass(Duration::from_secs(seconds - 1)).unwrap();
        assert!(!bench.sent().contains(&subscribe(id, &["r/1"])));
        bench.pass(Duration::from_secs(1)).unwrap();
        assert!(bench.sent().contains(&subscribe(id, &["r/1"])), "after {seconds} s");
        bench.receive(Say::PingResp).unwrap();
        bench.receive(suback(id, &[if id < 5 { 0x97 } else { 1 }])).unwrap();
    }
    // Granted, it begins anew.
    bench.request(&[]);
    bench.sent();
    bench.receive(Say::UnsubAck(6, 1)).unwrap();
    bench.request(&["r/1"]);
    bench.sent();
    bench.receive(suback(7, &[0x97])).unwrap();
    bench.pass(Duration::from_secs(30)).unwrap();
    assert!(bench.sent().contains(&subscribe(8, &["r/1"])));
}

#[test]
fn what_was_granted_before_is_asked_for_soon_too_whatever_is_refused() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(1), false);
        bench.sent();
        bench.receive(suback(1, &[1])).unwrap();
        let filter = filters(1).into_keys().next().unwrap();
        // The policy is detached for a moment, and the session is gone.
        bench.reconnect(false);
        assert_eq!(bench.sent(), [subscribe(2, &[filter.as_str()])]);
        bench.receive(suback(2, &[0x80])).unwrap();
        assert_eq!(bench.session.refused_until(&filter), Some(bench.now + Duration::from_secs(30)));
        bench.pass(Duration::from_secs(30)).unwrap();
        assert!(bench.sent().contains(&subscribe(3, &[filter.as_str()])));
        bench.receive(suback(3, &[0x80])).unwrap();
        assert_eq!(bench.session.refused_until(&filter), Some(bench.now + Duration::from_secs(60)));
    }
}

/// Messages that wait, of which some are urgent.
struct Urgent<'a>(&'a [bool]);

impl Waiting for Urgent<'_> {
    type Found = usize;

    fn first(&mut self, mut admits: impl FnMut(&Outbound, bool) -> bool) -> Option<usize> {
        self.0.iter().position(|urgent| admits(&Outbound { urgent: *urgent, ..outbound("x") }, false))
    }

    fn least(&mut self, _: impl Fn(&Outbound, u32) -> Option<crate::mqtt::isolation::Rank>) -> Option<usize> {
        None
    }
}

#[test]
fn what_is_urgent_does_not_wait_for_filters_of_the_configuration_either() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(1), false);
        let now = bench.now;
        assert_eq!(bench.session.next_send(&mut Urgent(&[false]), true, now), NextSend::Wait);
        assert!(bench.session.can_publish_urgent());
        assert_eq!(bench.session.next_send(&mut Urgent(&[false, true]), true, now), NextSend::Fresh(1));
        bench.sent();
        bench.receive(suback(1, &[1])).unwrap();
        assert!(!bench.session.can_publish_urgent(), "nor is it alone any more");
        assert_eq!(bench.session.next_send(&mut Urgent(&[false, true]), true, now), NextSend::Fresh(0));
    }
}

#[test]
fn in_a_new_session_what_is_urgent_and_was_in_flight_goes_before_what_is_new() {
    for protocol in BOTH {
        let mut bench = with_configured(protocol);
        for (number, urgent) in [(1, false), (2, true)] {
            let message = Outbound { urgent, ..outbound(if urgent { "urgent" } else { "normal" }) };
            bench.session.publish(Sequence::new(number), message, bench.now);
        }
        bench.reconnect(false);
        bench.sent();
        let (size, now) = (outbound("urgent").size(), bench.now);
        assert_eq!(bench.session.next_send(&mut Urgent(&[true]), true, now), NextSend::Resend(size));
        assert!(!bench.session.can_publish_urgent());
        bench.session.resend(now);
        assert_eq!(bench.session.next_send(&mut Urgent(&[true]), true, now), NextSend::Fresh(0), "before the other");
        assert_eq!(bench.session.next_send(&mut Urgent(&[false]), true, now), NextSend::Wait);
    }
}

#[test]
fn messages_wait_no_longer_because_there_are_more_new_filters() {
    let mut bench = Bench::connected(Protocol::Mqtt311, filters(1), false);
    for n in 2..=10 {
        bench.pass(Duration::from_secs(1)).unwrap();
        bench.session.want(filters(n), bench.now);
        assert!(!bench.session.can_publish());
    }
    bench.pass(Duration::from_secs(1)).unwrap();
    assert!(bench.session.can_publish(), "ack_timeout after the first");
}

/// What a server does on a SUBSCRIBE of a bad filter.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Does {
    Close,
    Nothing,
}

/// A server that does this on filters below `bad/`, and answers all else.
struct Server {
    bench: Bench,
    does: Does,
    /// When connections have ended.
    ends: Vec<Instant>,
    published: usize,
    paused: usize,
}

impl Server {
    fn new(protocol: Protocol, does: Does) -> Server {
        Server { bench: with_configured(protocol), does, ends: Vec::new(), published: 0, paused: 0 }
    }

    /// Lets a second pass, in which a message is sent if it may.
    fn second(&mut self) {
        let mut is_closed = false;
        let bench = &mut self.bench;
        if bench.session.can_publish() && bench.session.is_way_free(bench.now) {
            bench.publish("m");
            self.published += 1;
        }
        for packet in bench.sent() {
            match packet {
                Heard::Subscribe { filters, .. } if filters.iter().any(|filter| filter.starts_with("bad/")) => {
                    is_closed = self.does == Does::Close;
                }
                Heard::Subscribe { id, filters } => bench.receive(suback(id, &vec![1; filters.len()])).unwrap(),
                Heard::Unsubscribe { id, filters } => bench.receive(Say::UnsubAck(id, filters.len())).unwrap(),
                Heard::PingReq => bench.receive(Say::PingResp).unwrap(),
                Heard::Publish { id, .. } => bench.receive(Say::PubAck(id)).unwrap(),
                other => panic!("{other:?}"),
            }
        }
        let ended = bench.pass(Duration::from_secs(1));
        let verdict = match ended {
            Ok(()) if is_closed => bench.session.closed_by_server(false, bench.now),
            Ok(()) => return,
            Err(End::NoSubAck(filter, _)) => {
                let paused = bench.session.suback_missing(&filter, bench.now);
                bench.session.ended_otherwise();
                Verdict { paused, ..Verdict::default() }
            }
            Err(other) => panic!("{other:?}"),
        };
        self.ends.push(bench.now);
        self.paused += usize::from(verdict.paused.is_some());
        bench.reconnect(true);
        bench.resend_all();
    }

    fn is_subscribed(&self, text: &str) -> bool {
        self.bench.session.subscriptions.settled().is_some_and(|standing| standing.contains_key(&filter(text)))
    }
}

#[test]
fn readers_that_ask_for_ever_new_bad_filters_cost_a_handful_of_connections_an_hour() {
    for (protocol, does) in [(BOTH[0], Does::Close), (BOTH[1], Does::Close), (Protocol::Mqtt5, Does::Nothing)] {
        let mut server = Server::new(protocol, does);
        for n in 0..2 * 3600 {
            let last = format!("bad/{n}");
            server.bench.request(&["good", &last]);
            server.second();
        }
        let start = server.ends[0];
        let first = server.ends.iter().filter(|end| **end < start + Duration::from_secs(3600)).count();
        assert!(first <= 8 && server.ends.len() <= 16, "{protocol:?} {does:?}: {first}, {}", server.ends.len());
        assert!(server.paused > 2 && server.published > 6800, "{protocol:?} {does:?}: {} sent", server.published);
        assert!(server.is_subscribed("good"));
    }
}

#[test]
fn one_bad_filter_of_a_reader_costs_three_connections_and_others_are_granted_meanwhile() {
    for protocol in BOTH {
        let mut server = Server::new(protocol, Does::Close);
        server.bench.request(&["a", "bad/x", "c"]);
        for _ in 0..20 {
            server.second();
        }
        assert_eq!((server.ends.len(), server.paused), (3, 0), "{protocol:?}");
        assert!(server.is_subscribed("a") && server.is_subscribed("c"));
        assert_eq!(server.bench.session.refusal(&filter("bad/x")), Some(true));
        // Who asks for other filters, or for this one again, doesn't have it asked for.
        for texts in [&["a", "bad/x", "d"][..], &["d"], &["bad/x", "e"]] {
            server.bench.request(texts);
            server.second();
            server.second();
        }
        assert!(server.is_subscribed("e"));
        assert_eq!(server.ends.len(), 3);
        // In an hour it is, once.
        for _ in 0..3700 {
            server.second();
        }
        assert_eq!(server.ends.len(), 4);
    }
}

#[test]
fn what_is_put_off_is_told_and_asked_for_when_the_configuration_is_read_again() {
    let mut server = Server::new(Protocol::Mqtt311, Does::Close);
    for n in 0..4 {
        server.bench.request(&[&format!("bad/{n}")]);
        server.second();
    }
    assert_eq!((server.ends.len(), server.paused), (3, 1));
    server.bench.request(&["good"]);
    server.second();
    let PutOff { filters: put_off, until, suspects } = server.bench.session.put_off().unwrap();
    assert!(!suspects.is_empty());
    assert_eq!((put_off, server.bench.session.refusal(&filter("good"))), (vec![filter("good")], Some(true)));
    assert!(until > server.bench.now && server.bench.session.timeout().unwrap() <= until);
    // What was subscribed to is asked for in a new session all the same, if it is the configuration's.
    server.bench.reconnect(false);
    let sent = server.bench.sent();
    let [Heard::Subscribe { id, filters: asked }] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(asked[..], ["f/00"]);
    server.bench.session.want(filters(1), server.bench.now);
    server.bench.receive(suback(*id, &[1])).unwrap();
    assert!(matches!(&server.bench.sent()[..], [Heard::Subscribe { filters, .. }] if filters[..] == ["good"]));
    assert_eq!(server.bench.session.put_off(), None);
}
