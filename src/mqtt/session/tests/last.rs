//! Groups of filters that are asked for after all others: the server may close the connection for them.

use super::*;
use crate::mqtt::isolation::Guilty;

fn group(name: &str) -> Vec<TopicFilter> {
    ["a", "b"].map(|last| TopicFilter::new(&format!("{name}/{last}")).unwrap()).into()
}

fn names(group: &[TopicFilter]) -> Vec<String> {
    group.iter().map(ToString::to_string).collect()
}

fn subscribe(id: u16, group: &[TopicFilter]) -> Vec<Heard> {
    vec![Heard::Subscribe { id, filters: names(group) }]
}

fn with(protocol: Protocol, groups: Vec<Vec<TopicFilter>>) -> Bench {
    let mut bench = Bench::new(protocol, filters(1));
    bench.session.want_last(groups, bench.now);
    bench.reconnect(false);
    bench
}

#[test]
fn each_is_asked_for_by_itself_once_all_others_are_answered_and_holds_no_message_up() {
    for protocol in BOTH {
        let mut bench = with(protocol, vec![group("x"), group("w")]);
        assert_eq!(bench.sent(), [Heard::Subscribe { id: 1, filters: vec!["f/00".to_owned()] }]);
        assert!(!bench.session.can_publish());
        bench.receive(suback(1, &[1])).unwrap();
        assert_eq!(bench.sent(), subscribe(2, &group("x")), "in the order of the groups");
        assert!(bench.session.can_publish(), "no message waits for it");
        bench.receive(suback(2, &[1, 1])).unwrap();
        assert_eq!(bench.sent(), subscribe(3, &group("w")));
        bench.receive(suback(3, &[1, 1])).unwrap();
        assert_eq!(bench.sent(), []);
        bench.session.want_last(vec![group("w")], bench.now);
        assert_eq!(bench.sent(), [Heard::Unsubscribe { id: 4, filters: names(&group("x")) }]);
    }
}

#[test]
fn what_is_wanted_otherwise_or_covered_by_that_is_in_no_group() {
    let filter = |text| TopicFilter::new(text).unwrap();
    for (otherwise, asked) in [("x/#", None), ("x/a", Some("x/b"))] {
        let mut bench = Bench::new(Protocol::Mqtt5, [(filter(otherwise), Qos::AtLeastOnce)].into());
        bench.session.want_last(vec![group("x")], bench.now);
        bench.reconnect(false);
        assert_eq!(bench.sent(), subscribe(1, &[filter(otherwise)]));
        bench.receive(suback(1, &[1])).unwrap();
        let asked: Vec<Heard> = asked.into_iter().flat_map(|text| subscribe(2, &[filter(text)])).collect();
        assert_eq!(bench.sent(), asked);
    }
}

#[test]
fn that_other_groups_are_wanted_asks_for_nothing_again_that_was_refused_but_for_what_comes_back() {
    for protocol in BOTH {
        let mut bench = with(protocol, vec![group("x")]);
        bench.sent();
        bench.receive(suback(1, &[0x80])).unwrap();
        assert_eq!(bench.sent(), subscribe(2, &group("x")));
        bench.receive(suback(2, &[1, 0x80])).unwrap();
        // Its service is switched off.
        bench.session.want_last(Vec::new(), bench.now);
        assert_eq!(bench.sent(), [Heard::Unsubscribe { id: 3, filters: names(&group("x")[..1]) }]);
        bench.receive(Say::UnsubAck(3, 1)).unwrap();
        bench.session.want_last(vec![group("x")], bench.now);
        assert_eq!(bench.sent(), subscribe(4, &group("x")), "and not f/00, which was refused, too");
    }
}

/// Against a server that closes the connection on one of them: after how many connections that is known, and how many messages went
/// out meanwhile.
fn until_guilty(bench: &mut Bench, forbidden: &TopicFilter) -> (usize, usize) {
    let (mut connections, mut published) = (0, 0);
    loop {
        connections += 1;
        assert!(connections < 20, "it isn't found");
        let mut is_closed = false;
        while !is_closed {
            for packet in bench.sent() {
                match packet {
                    Heard::Subscribe { filters, .. } if filters.contains(&forbidden.to_string()) => is_closed = true,
                    Heard::Subscribe { id, filters } => {
                        bench.receive(suback(id, &vec![1; filters.len()])).unwrap();
                    }
                    Heard::Unsubscribe { id, filters } => bench.receive(Say::UnsubAck(id, filters.len())).unwrap(),
                    Heard::PingReq => bench.receive(Say::PingResp).unwrap(),
                    Heard::Publish { id, .. } => bench.receive(Say::PubAck(id)).unwrap(),
                    other => panic!("{other:?}"),
                }
            }
            // The server takes its time to close.
            bench.pass(Duration::from_millis(30)).unwrap();
            if bench.session.can_publish() && bench.session.is_way_free(bench.now) {
                bench.publish("m");
                published += 1;
            }
        }
        let verdict = bench.session.closed_by_server(false, bench.now);
        bench.now += Duration::from_secs(5);
        match verdict.guilty {
            Some(Guilty::Subscribe(filter)) => {
                assert_eq!(filter, *forbidden);
                return (connections, published);
            }
            None => bench.reconnect(true),
            other @ Some(_) => panic!("{other:?}"),
        }
    }
}

#[test]
fn connections_that_end_for_what_was_granted_before_leave_it_out_for_a_moment_only() {
    for (protocol, was_granted, wait) in
        BOTH.into_iter().flat_map(|protocol| [(protocol, true, 30), (protocol, false, 3600)])
    {
        let mut bench = Bench::connected(protocol, filters(1), false);
        let filter = filters(1).into_keys().next().unwrap();
        if was_granted {
            bench.sent();
            bench.receive(suback(1, &[1])).unwrap();
            bench.reconnect(false);
        }
        until_guilty(&mut bench, &filter);
        let until = bench.session.refused_until(&filter).unwrap();
        assert_eq!(until, bench.now - Duration::from_secs(5) + Duration::from_secs(wait));
    }
}

#[test]
fn one_that_closes_the_connection_is_found_and_the_others_stay() {
    for protocol in BOTH {
        let mut bench = with(protocol, vec![group("w"), group("x")]);
        let forbidden = group("x").remove(1);
        let (connections, published) = until_guilty(&mut bench, &forbidden);
        assert!(connections <= 6 && published > 0, "{connections}, {published} messages");
        // Its service is switched off, and tried again after a day.
        bench.session.want_last(vec![group("w")], bench.now);
        bench.reconnect(true);
        for say in bench.sent() {
            match say {
                Heard::Unsubscribe { id, filters } => bench.receive(Say::UnsubAck(id, filters.len())).unwrap(),
                other => panic!("{other:?}: the others stand"),
            }
        }
        bench.now += Duration::from_secs(24 * 3600);
        bench.session.want_last(vec![group("w"), group("x")], bench.now);
        bench.reconnect(true);
        assert_eq!(until_guilty(&mut bench, &forbidden).0, 1, "one close a day");
    }
}
