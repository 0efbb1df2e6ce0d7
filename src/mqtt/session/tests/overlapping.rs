//! Filters with topics in common: what is subscribed to, and which copies of a message are passed on.

use rumqttc::v5::mqttbytes::v5;

use super::*;
use crate::message::AckToken;

fn wanted(filters: &[(&str, Qos)]) -> BTreeMap<TopicFilter, Qos> {
    filters.iter().map(|(filter, qos)| (TopicFilter::new(filter).unwrap(), *qos)).collect()
}

fn one(filters: &[&str]) -> BTreeMap<TopicFilter, Qos> {
    wanted(&filters.iter().map(|filter| (*filter, Qos::AtLeastOnce)).collect::<Vec<_>>())
}

fn names(filters: &[&str]) -> Vec<String> {
    filters.iter().map(|filter| (*filter).to_owned()).collect()
}

/// The filters of the next packets that ask for them or take them back, each packet's behind `+` or `-`.
fn requests(bench: &mut Bench) -> Vec<(u16, String)> {
    let request = |packet| match packet {
        Heard::Subscribe { id, filters } => (id, format!("+{}", filters.join(" "))),
        Heard::Unsubscribe { id, filters } => (id, format!("-{}", filters.join(" "))),
        other => panic!("{other:?}"),
    };
    bench.sent().into_iter().map(request).collect()
}

#[test]
fn a_filter_that_another_covers_is_subscribed_to_only_if_that_is_refused() {
    for protocol in BOTH {
        let filters = one(&["plant/#", "plant/+/temp", "plant", "other"]);
        let mut bench = Bench::connected(protocol, filters.clone(), false);
        let first = match protocol {
            // `plant/#` has `plant` in MQTT, and hasn't at IoT Core.
            Protocol::Mqtt5 => vec![(1, "+other".to_owned()), (2, "+plant".to_owned()), (3, "+plant/#".to_owned())],
            Protocol::Mqtt311 => vec![(1, "+other plant plant/#".to_owned())],
        };
        assert_eq!(requests(&mut bench), first);
        match protocol {
            Protocol::Mqtt5 => {
                bench.receive(suback(1, &[1])).unwrap();
                bench.receive(suback(2, &[1])).unwrap();
                bench.receive(suback(3, &[0x80])).unwrap();
            }
            Protocol::Mqtt311 => bench.receive(suback(1, &[1, 1, 0x80])).unwrap(),
        }
        let next = first.len() as u16 + 1;
        assert_eq!(requests(&mut bench), [(next, "+plant/+/temp".to_owned())]);
        bench.receive(suback(next, &[1])).unwrap();
        assert_eq!(requests(&mut bench), []);
        // Asked for once more, and granted: what it covers stays until then.
        bench.session.want(filters, bench.now);
        let asked = requests(&mut bench);
        assert_eq!(asked[0].1, "+plant/#");
        bench.receive(suback(asked[0].0, &[1])).unwrap();
        let taken_back: Vec<String> = requests(&mut bench).into_iter().map(|(_, request)| request).collect();
        assert!(taken_back.contains(&"-plant/+/temp".to_owned()), "{taken_back:?}");
    }
}

#[test]
fn a_lower_qos_covers_nothing_that_wants_more() {
    for protocol in BOTH {
        let filters = wanted(&[("a/#", Qos::AtMostOnce), ("a/b", Qos::AtLeastOnce), ("a/c", Qos::AtMostOnce)]);
        let mut bench = Bench::connected(protocol, filters, false);
        let asked: Vec<String> = requests(&mut bench).into_iter().map(|(_, request)| request).collect();
        let all = asked.join("");
        assert!(all.contains("a/#") && all.contains("a/b") && !all.contains("a/c"), "{asked:?}");
    }
    // Granted with less than asked for: the other may get more.
    let mut bench = Bench::connected(Protocol::Mqtt311, one(&["a/#", "a/b"]), false);
    assert_eq!(requests(&mut bench), [(1, "+a/#".to_owned())]);
    bench.receive(suback(1, &[0])).unwrap();
    assert_eq!(requests(&mut bench), [(2, "+a/b".to_owned())]);
    bench.receive(suback(2, &[0])).unwrap();
    assert_eq!(requests(&mut bench), [(3, "-a/b".to_owned())], "it doesn't");
    bench.receive(Say::UnsubAck(3, 1)).unwrap();
    assert_eq!(requests(&mut bench), []);
}

#[test]
fn a_kept_session_is_rid_of_what_is_covered_now_and_loses_nothing_when_that_changes() {
    for protocol in BOTH {
        let held = Remembered { filters: one(&["a/#", "a/b"]), sure: true, ..Remembered::default() };
        let session = Session::new(options(protocol), one(&["a/#", "a/b"]), held);
        let mut bench = Bench { session, accepted: 0, now: Instant::now() };
        bench.reconnect(true);
        assert_eq!(requests(&mut bench), [(1, "-a/b".to_owned())]);
        bench.receive(Say::UnsubAck(1, 1)).unwrap();
        // What replaces a filter stands before that goes.
        bench.session.want(one(&["a/b", "a/c"]), bench.now);
        assert_eq!(requests(&mut bench), [(2, "+a/b a/c".to_owned())]);
        bench.receive(suback(2, &[1, 1])).unwrap();
        assert_eq!(requests(&mut bench), [(3, "-a/#".to_owned())]);
    }
}

/// The filters of the next SUBSCRIBE packets of MQTT 5 and their identifiers.
fn identifiers(bench: &mut Bench) -> Vec<(Vec<String>, Option<usize>)> {
    let mut bytes = bench.session.output().split();
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let v5::Packet::Subscribe(packet) = v5::Packet::read(&mut bytes, None).unwrap() else { panic!() };
        let filters = packet.filters.into_iter().map(|filter| filter.path).collect();
        found.push((filters, packet.properties.and_then(|properties| properties.id)));
    }
    found
}

/// A PUBLISH on `a/b/c` with these subscription identifiers.
fn copy(id: u8, identifiers: &[u8], payload: &str) -> Vec<u8> {
    let properties: Vec<u8> = identifiers.iter().flat_map(|identifier| [0x0b, *identifier]).collect();
    let body = [&b"\x00\x05a/b/c"[..], &[0, id, properties.len() as u8], &properties, payload.as_bytes()].concat();
    [&[0x32, body.len() as u8][..], &body].concat()
}

fn overlapping() -> Bench {
    let mut bench = Bench::connected(Protocol::Mqtt5, one(&["a/+/c", "a/b/#", "z"]), false);
    let asked = [(names(&["a/+/c"]), Some(1)), (names(&["a/b/#"]), Some(2)), (names(&["z"]), None)];
    assert_eq!(identifiers(&mut bench), asked);
    (1..=3).for_each(|id| bench.receive(suback(id, &[1])).unwrap());
    while bench.session.next_event().is_some() {}
    bench
}

/// The payloads that are passed on, with their tokens.
fn passed(bench: &mut Bench) -> Vec<(String, AckToken)> {
    let message = |event| match event {
        Event::Message(message, Some(token)) => (String::from_utf8(message.payload.to_vec()).unwrap(), token),
        other => panic!("{other:?}"),
    };
    std::iter::from_fn(|| bench.event()).map(message).collect()
}

#[test]
fn copies_for_several_subscriptions_are_told_from_messages_by_their_identifiers() {
    // One copy for each, one with all identifiers, one with the first.
    for copies in [&[&[1_u8][..], &[2]][..], &[&[2], &[1]], &[&[1, 2]], &[&[2]]] {
        let mut bench = overlapping();
        let mut id = 0;
        for round in 0..3 {
            for identifiers in copies {
                id += 1;
                bench.receive_bytes(&copy(id, identifiers, "toggle")).unwrap();
            }
            let passed = passed(&mut bench);
            assert_eq!(passed.len(), 1, "{copies:?} {round}");
            bench.session.acknowledge(passed[0].1);
            assert_eq!(bench.sent().len(), copies.len(), "copies are acknowledged, too");
        }
        assert_eq!(bench.session.counters().copies, 3 * (copies.len() as u64 - 1));
    }
}

#[test]
fn what_is_sent_again_on_another_connection_is_no_other_message() {
    let mut bench = overlapping();
    bench.receive_bytes(&[copy(1, &[1], "x"), copy(2, &[2], "x")].concat()).unwrap();
    assert_eq!(passed(&mut bench).len(), 1);
    bench.reconnect(true);
    bench.receive_bytes(&[copy(1, &[1], "x"), copy(2, &[2], "x")].concat()).unwrap();
    let again = bench.event();
    assert!(matches!(&again, Some(Event::Message(message, _)) if message.duplicate), "{again:?}");
    assert_eq!(bench.event(), None);
    // The copy of one that had its PUBACK on the connection before.
    let mut bench = overlapping();
    bench.receive_bytes(&copy(1, &[1], "x")).unwrap();
    let first = passed(&mut bench);
    bench.session.acknowledge(first[0].1);
    bench.reconnect(true);
    bench.receive_bytes(&copy(2, &[2], "x")).unwrap();
    assert_eq!(bench.event(), None);
}

#[test]
fn a_server_without_identifiers_is_asked_without() {
    let mut bench = Bench::new(Protocol::Mqtt5, one(&["a/+/c", "a/b/#"]));
    bench.session.connect();
    bench.sent();
    bench.receive_bytes(&[0x20, 5, 0, 0, 2, 0x29, 0]).unwrap();
    assert_eq!(identifiers(&mut bench), [(names(&["a/+/c", "a/b/#"]), None)]);
    // One that says so in its SUBACK.
    let mut bench = Bench::connected(Protocol::Mqtt5, one(&["a/+/c", "a/b/#"]), false);
    assert_eq!(identifiers(&mut bench).len(), 2);
    bench.receive(suback(1, &[0xa1])).unwrap();
    assert_eq!(identifiers(&mut bench), [(names(&["a/+/c"]), None)]);
    bench.receive(suback(2, &[0xa1])).unwrap();
    assert_eq!(identifiers(&mut bench), [(names(&["a/b/#"]), None)]);
    // And again, where there are none: it refuses the filters, and isn't asked for ever.
    bench.receive(suback(3, &[0xa1])).unwrap();
    bench.receive(suback(4, &[0xa1])).unwrap();
    assert_eq!(identifiers(&mut bench), []);
}

#[test]
fn a_session_of_an_earlier_version_gets_its_identifiers() {
    let held = Remembered { filters: one(&["a/+/c", "a/b/#"]), sure: true, ..Remembered::default() };
    let session = Session::new(options(Protocol::Mqtt5), one(&["a/+/c", "a/b/#"]), held.clone());
    let mut bench = Bench { session, accepted: 0, now: Instant::now() };
    bench.reconnect(true);
    assert_eq!(identifiers(&mut bench), [(names(&["a/+/c"]), Some(1)), (names(&["a/b/#"]), Some(2))]);
    // They are remembered.
    let identifiers_held = held.filters.keys().cloned().zip([7, 9]).collect();
    let session = Session::new(
        options(Protocol::Mqtt5),
        held.filters.clone(),
        Remembered { identifiers: identifiers_held, ..held },
    );
    let mut bench = Bench { session, accepted: 0, now: Instant::now() };
    bench.reconnect(true);
    assert_eq!(bench.sent(), []);
    bench.receive_bytes(&[copy(1, &[7], "x"), copy(2, &[9], "x")].concat()).unwrap();
    assert_eq!(passed(&mut bench).len(), 1);
}
