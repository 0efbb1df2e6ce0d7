//! What comes from the server, in both versions of MQTT.

use super::*;
use crate::message::AckToken;

#[test]
fn pubacks_go_out_in_the_order_of_arrival() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(0), false);
        let mut tokens = Vec::new();
        for id in [7, 9, 8] {
            bench.receive(incoming("x", id)).unwrap();
            let Some(Event::Message(message, Some(token))) = bench.event() else { panic!() };
            assert_eq!(message.qos, Qos::AtLeastOnce);
            tokens.push(token);
        }
        bench.session.acknowledge(tokens[1]);
        bench.session.acknowledge(tokens[2]);
        assert!(bench.sent().is_empty());
        bench.session.acknowledge(tokens[0]);
        assert_eq!(bench.sent(), [7, 9, 8].map(Heard::PubAck));
    }
}

#[test]
fn a_message_repeated_before_its_puback_is_passed_on_once() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(0), false);
        bench.receive(incoming("x", 7)).unwrap();
        bench.receive(incoming("x", 7)).unwrap();
        assert!(matches!(bench.event(), Some(Event::Message(..))));
        assert_eq!(bench.event(), None);
    }
}

#[test]
fn a_token_of_an_earlier_connection_acknowledges_nothing() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(0), false);
        bench.receive(incoming("x", 7)).unwrap();
        let Some(Event::Message(_, Some(token))) = bench.event() else { panic!() };
        bench.reconnect(true);
        bench.receive(incoming("x", 7)).unwrap();
        bench.session.acknowledge(token);
        assert!(bench.sent().is_empty());
        assert_eq!(bench.session.unacknowledged(), 1);
    }
}

#[test]
fn what_a_server_may_not_send_ends_the_connection() {
    for protocol in BOTH {
        let connack = || Say::ConnAck { session_present: false };
        let mut bench = Bench::connected(protocol, filters(0), false);
        assert!(matches!(bench.receive(connack()), Err(End::Violation(_))));
        let mut bench = Bench::new(protocol, filters(0));
        bench.session.connect();
        assert!(matches!(bench.receive(incoming("x", 1)), Err(End::Violation(_))));
        let mut bench = Bench::new(protocol, filters(0));
        bench.session.connect();
        let code = if protocol == Protocol::Mqtt5 { 0x87 } else { 5 };
        assert_eq!(bench.receive(Say::Refused(code)), Err(End::Refused(Reason::new(code, None))));
    }
}

#[test]
fn bytes_that_are_not_mqtt_end_the_connection() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(0), false);
        let mut garbage = BytesMut::from(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]);
        let end = bench.session.receive(&mut garbage, bench.now, Timestamp::UNIX_EPOCH);
        assert!(
            matches!(&end, Err(End::Malformed(Malformed::Invalid(text))) if text.contains("HTTP/1.1 400")),
            "{end:?}"
        );
        let mut bench = Bench::connected(protocol, filters(0), false);
        let mut oversize = BytesMut::from(&[0x90, 0xff, 0xff, 0xff, 0x7f][..]);
        let end = bench.session.receive(&mut oversize, bench.now, Timestamp::UNIX_EPOCH);
        assert_eq!(end, Err(End::Malformed(Malformed::TooLarge(268_435_455))));
    }
}

#[test]
fn an_incomplete_packet_waits_for_the_rest() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(0), false);
        let bytes = incoming("hello", 3).bytes(protocol);
        let mut input = BytesMut::new();
        for byte in bytes {
            assert_eq!(bench.event(), None);
            input.extend_from_slice(&[byte]);
            bench.session.receive(&mut input, bench.now, Timestamp::UNIX_EPOCH).unwrap();
        }
        assert!(matches!(bench.event(), Some(Event::Message(message, _)) if message.payload == "hello"));
    }
}

/// Whether messages come as duplicates, as the session passes them on.
fn duplicates(bench: &mut Bench) -> Vec<bool> {
    std::iter::from_fn(|| bench.event())
        .filter_map(|event| if let Event::Message(message, _) = event { Some(message.duplicate) } else { None })
        .collect()
}

#[test]
fn what_the_server_sends_again_after_a_reconnect_is_marked_as_a_duplicate() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(0), false);
        for (payload, id) in [("one", 1), ("two", 2), ("three", 3)] {
            bench.receive(incoming(payload, id)).unwrap();
        }
        let Some(Event::Message(_, Some(token))) = bench.event() else { panic!() };
        // Its PUBACK may be lost on the way.
        bench.session.acknowledge(token);
        duplicates(&mut bench);
        bench.reconnect(true);
        for (payload, id) in [("two", 2), ("three", 3), ("four", 1), ("two", 2)] {
            bench.receive(incoming(payload, id)).unwrap();
        }
        // The last is the repetition of one that isn't acknowledged on this connection.
        assert_eq!(duplicates(&mut bench), [true, true, false]);
        bench.reconnect(true);
        bench.reconnect(true);
        bench.receive(incoming("two", 2)).unwrap();
        assert_eq!(duplicates(&mut bench), [true], "an attempt on which nothing came changes nothing");
        bench.reconnect(false);
        bench.receive(incoming("two", 2)).unwrap();
        assert_eq!(duplicates(&mut bench), [false], "a new session repeats nothing");
    }
}

/// A PUBLISH on `t` that is larger than we take.
fn too_large(qos: u8, id: u16) -> Vec<u8> {
    let mut bytes = vec![0x30 | qos << 1, 0x80, 0x80, 0x10, 0, 1, b't'];
    if qos > 0 {
        bytes.extend(id.to_be_bytes());
    }
    bytes.resize(4 + (256 << 10), b'x');
    bytes
}

#[test]
fn a_message_that_is_too_large_is_dropped_acknowledged_in_its_turn_and_named() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(0), false);
        bench.receive(incoming("x", 7)).unwrap();
        let Some(Event::Message(_, Some(token))) = bench.event() else { panic!() };
        for piece in too_large(1, 8).chunks(16 * 1024) {
            bench.receive_bytes(piece).unwrap();
        }
        let event = bench.event();
        assert_eq!(event, Some(Event::TooLarge(Topic::received("t"), 4 + (256 << 10))));
        assert!(bench.sent().is_empty(), "the first comes first");
        bench.session.acknowledge(token);
        assert_eq!(bench.sent(), [Heard::PubAck(7), Heard::PubAck(8)]);
        bench.receive_bytes(&too_large(0, 0)).unwrap();
        assert!(matches!(bench.event(), Some(Event::TooLarge(..))));
        assert!(bench.sent().is_empty());
        // In the middle of one the connection ends: the next begins with a packet.
        bench.receive_bytes(&too_large(1, 9)[..1000]).unwrap();
        bench.reconnect(true);
    }
}

#[test]
fn answers_behind_a_large_message_are_waited_for_while_it_comes() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(0), false);
        bench.publish("a");
        bench.publishes();
        let large = too_large(0, 0);
        for piece in large.chunks(32 * 1024) {
            bench.receive_bytes(piece).unwrap();
            bench.pass(Duration::from_secs(9)).unwrap();
        }
        assert!(bench.sent().iter().all(|packet| *packet == Heard::PingReq));
        bench.receive(Say::PubAck(1)).unwrap();
        assert_eq!(bench.session.in_flight(), 0);
    }
}

#[test]
fn a_message_with_qos_2_is_passed_on_once_and_acknowledged_in_two_steps() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(0), false);
        let exactly_once = || Say::Publish { payload: "x", id: 7, qos: 2 };
        bench.receive(exactly_once()).unwrap();
        let Some(Event::Message(message, Some(token))) = bench.event() else { panic!() };
        assert_eq!(message.qos, Qos::AtLeastOnce);
        bench.session.acknowledge(token);
        assert_eq!(bench.sent(), [Heard::PubRec(7)]);
        bench.reconnect(true);
        bench.receive(exactly_once()).unwrap();
        assert_eq!((bench.event(), bench.sent()), (None, vec![Heard::PubRec(7)]));
        for _ in 0..2 {
            bench.receive_bytes(&[0x62, 2, 0, 7]).unwrap();
            assert_eq!(bench.sent(), [Heard::PubComp(7)]);
        }
        bench.receive_bytes(&too_large(2, 7)).unwrap();
        assert!(matches!(bench.event(), Some(Event::TooLarge(..))));
        assert_eq!(bench.sent(), [Heard::PubRec(7)]);
    }
}

/// Messages with these identifiers, with or without DUP.
fn flood(protocol: Protocol, ids: std::ops::RangeInclusive<u16>, is_resent: bool) -> BytesMut {
    let bytes = |id| {
        let mut bytes = incoming("x", id).bytes(protocol).to_vec();
        bytes[0] |= u8::from(is_resent) << 3;
        bytes
    };
    BytesMut::from(&ids.flat_map(bytes).collect::<Vec<u8>>()[..])
}

fn tokens(bench: &mut Bench) -> Vec<AckToken> {
    let mut tokens = Vec::new();
    while let Some(event) = bench.event() {
        match event {
            Event::Message(_, token) => tokens.extend(token),
            other => panic!("{other:?}"),
        }
    }
    tokens
}

/// mosquitto has everything on its way that it ever sent without hearing a PUBACK, and as much as may be besides; and for each
/// PUBACK it sends a hundred, where more than that wait.
#[test]
fn a_server_that_sends_too_many_again_gets_rid_of_them() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(0), true);
        let mut input = flood(protocol, 1..=900, true);
        input.extend_from_slice(&flood(protocol, 901..=1300, false));
        let mut taken = 0;
        while taken < 1300 {
            bench.session.receive(&mut input, bench.now, Timestamp::UNIX_EPOCH).unwrap();
            let tokens = tokens(&mut bench);
            assert!((1..=100).contains(&tokens.len()));
            taken += tokens.len();
            tokens.into_iter().for_each(|token| bench.session.acknowledge(token));
        }
        assert_eq!(bench.session.unacknowledged(), 0);
    }
}

#[test]
fn no_more_is_taken_than_may_be_unacknowledged() {
    for (protocol, is_resent) in [(Protocol::Mqtt5, false), (Protocol::Mqtt5, true), (Protocol::Mqtt311, false)] {
        let mut bench = Bench::connected(protocol, filters(0), true);
        let mut input = flood(protocol, 1..=150, is_resent);
        let end = bench.session.receive(&mut input, bench.now, Timestamp::UNIX_EPOCH);
        let tokens = tokens(&mut bench);
        assert_eq!((tokens.len(), bench.session.unacknowledged()), (100, 100));
        let end = match (protocol, is_resent) {
            (Protocol::Mqtt5, false) => end.unwrap_err(),
            // It doesn't know better, or has a right to: what is too much waits.
            _ => {
                assert!(end.is_ok() && bench.session.is_congested());
                bench.session.acknowledge(tokens[0]);
                assert!(!bench.session.is_congested());
                let limit = Duration::from_secs(if protocol == Protocol::Mqtt5 { 2 } else { 10 });
                bench.now += limit / 2;
                bench.session.receive(&mut input, bench.now, Timestamp::UNIX_EPOCH).unwrap();
                assert!(bench.session.is_congested() && bench.event().is_some() && bench.event().is_none());
                assert_eq!(bench.session.timeout(), Some(bench.now + limit));
                bench.pass(limit).unwrap_err()
            }
        };
        assert!(matches!(end, End::TooMany(_)));
        drop(bench.sent());
        if protocol == Protocol::Mqtt5 {
            assert!(bench.session.say_why(&end));
            assert_eq!(&bench.session.output()[..], [0xe0, 1, 0x93]);
        }
    }
}

/// The server has begun a packet, and goes on as if it hadn't: what it answers is a part of that.
#[test]
fn a_packet_that_never_ends_ends_the_connection_however_many_bytes_come() {
    let beginnings: [&[u8]; 5] = [
        b"\x30\xff\xff\xff\x7f\0\x01t",
        b"\x32\x80\x80\x10\0\x01t\0\x07x",
        b"\x30\xa0\x8d\x06\0\x01t",
        b"\x30\xff\xff",
        b"\x40",
    ];
    for protocol in BOTH {
        for beginning in beginnings {
            let mut bench = Bench::connected(protocol, filters(0), false);
            let began = bench.now;
            let mut input = BytesMut::from(beginning);
            let end = loop {
                bench.session.receive(&mut input, bench.now, Timestamp::UNIX_EPOCH).unwrap();
                bench.publish("a");
                bench.sent();
                if let Err(end) = bench.pass(Duration::from_secs(1)) {
                    break end;
                }
                // Of the shortest packets nothing more comes.
                if beginning.len() > 3 {
                    input.extend_from_slice(&[0x40, 2, 0, 1]);
                }
                assert!(bench.now - began < Duration::from_secs(12), "{beginning:?}");
            };
            // With MQTT 5 the acknowledgements of small packets are missed as soon.
            assert!(matches!(end, End::Unfinished { .. } | End::NoPubAck(..)), "{end}");
        }
    }
}

#[test]
fn a_packet_that_comes_slowly_is_waited_for_and_one_after_the_other() {
    for protocol in BOTH {
        let mut bench = Bench::connected(protocol, filters(0), false);
        let mut input = BytesMut::new();
        for _ in 0..3 {
            for piece in too_large(0, 0).chunks(9 * 1024 + 500) {
                input.extend_from_slice(piece);
                bench.session.receive(&mut input, bench.now, Timestamp::UNIX_EPOCH).unwrap();
                bench.pass(Duration::from_secs(9)).unwrap();
                bench.sent();
            }
            bench.session.receive(&mut input, bench.now, Timestamp::UNIX_EPOCH).unwrap();
            assert!(matches!(bench.event(), Some(Event::TooLarge(..))));
        }
    }
}
