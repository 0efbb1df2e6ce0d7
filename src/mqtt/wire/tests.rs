//! Packets cut short where MQTT allows it, and where it doesn't.

use proptest::prelude::*;

use super::*;
use crate::mqtt::session::fuzzing::options;

fn decode(protocol: Protocol, bytes: &[u8]) -> Result<Option<Received>, Malformed> {
    let mut input = BytesMut::from(bytes);
    let decoded = Wire::new(&options(protocol)).decode(&mut input);
    if let Ok(Some(_)) = &decoded {
        assert!(input.is_empty(), "{bytes:x?}: {} bytes are left", input.len());
    }
    decoded
}

fn five(bytes: &[u8]) -> Received {
    decode(Protocol::Mqtt5, bytes).unwrap().unwrap()
}

fn malformed(bytes: &[u8]) {
    let decoded = decode(Protocol::Mqtt5, bytes);
    assert!(matches!(decoded, Err(Malformed::Invalid(_))), "{bytes:x?}: {decoded:?}");
}

#[test]
fn a_disconnect_may_end_after_each_of_its_parts() {
    for (bytes, shown) in [
        (&[0xe0, 0][..], "0x00 (success)"),
        (&[0xe0, 1, 0x8e], "0x8E (session taken over)"),
        (&[0xe0, 2, 0x8e, 0], "0x8E (session taken over)"),
        (&[0xe0, 7, 0x8b, 5, 0x1f, 0, 2, b'h', b'i'], "0x8B (server shutting down), \"hi\""),
    ] {
        assert!(matches!(five(bytes), Received::Disconnect(reason) if reason.to_string() == shown), "{bytes:x?}");
    }
    malformed(&[0xe0, 2, 0x8e, 5]);
    malformed(&[0xe0, 2, 0x8e, 0x80]);
}

#[test]
fn a_puback_may_end_after_each_of_its_parts() {
    for (bytes, code) in [
        (&[0x40, 2, 0, 7][..], 0),
        (&[0x40, 3, 0, 7, 0x10], 0x10),
        (&[0x40, 3, 0, 7, 0x87], 0x87),
        (&[0x40, 4, 0, 7, 0x97, 0], 0x97),
        (&[0x40, 9, 0, 7, 0x87, 5, 0x1f, 0, 2, b'n', b'o'], 0x87),
    ] {
        let Received::PubAck(7, reason) = five(bytes) else { panic!("{bytes:x?}") };
        assert_eq!((reason.code.0, reason.is_failure()), (code, code >= 0x80));
    }
    malformed(&[0x40, 0]);
    malformed(&[0x40, 1, 0]);
    malformed(&[0x40, 5, 0, 7, 0x87, 5, 0x1f]);
}

#[test]
fn what_may_not_end_early_is_malformed_and_not_waited_for() {
    for kind in [0x20, 0x30, 0x32, 0x90, 0xb0] {
        for length in 0..=2 {
            let bytes = [&[kind, length][..], &vec![0; usize::from(length)]].concat();
            if kind != 0x20 || length != 2 {
                malformed(&bytes);
            }
        }
    }
    // A PUBLISH that ends before the length of its properties, and one whose properties go on behind it.
    malformed(&[0x32, 5, 0, 1, b't', 0, 7]);
    malformed(&[0x32, 6, 0, 1, b't', 0, 7, 3]);
    malformed(&[0x90, 3, 0, 7, 0x80]);
    assert!(matches!(five(&[0xd0, 0]), Received::PingResp));
}

#[test]
fn a_server_without_mqtt_5_is_understood() {
    assert!(matches!(five(&[0x20, 2, 0, 1]), Received::Refused(reason) if reason.code.0 == 1));
    malformed(&[0x20, 2, 0, 0]);
}

#[test]
fn the_terms_of_a_connack_are_read() {
    let properties = [
        &[0x11, 0, 0, 0, 60][..],
        &[0x21, 0, 5],
        &[0x22, 0, 8],
        &[0x24, 0],
        &[0x25, 0],
        &[0x27, 0, 0, 4, 0],
        &[0x28, 0],
        &[0x29, 0],
        &[0x2a, 0],
        &[0x13, 0, 30],
        &[0x12, 0, 1, b'x'],
    ]
    .concat();
    let length = u8::try_from(properties.len()).unwrap();
    let bytes = [&[0x20, length + 3, 1, 0, length][..], &properties].concat();
    let Received::ConnAck { session_present: true, limits } = five(&bytes) else { panic!() };
    let expected = ServerLimits {
        receive_maximum: Some(5),
        max_packet: Some(1024),
        no_qos_1: true,
        no_retain: true,
        no_wildcards: true,
        no_shared: true,
        no_identifiers: true,
        keep_alive: Some(Duration::from_secs(30)),
        session_expiry: Some(Duration::from_secs(60)),
        topic_aliases: 8,
        renamed: true,
    };
    assert_eq!(limits, expected);
    let refused = [0x20, 8, 0, 0x87, 5, 0x1f, 0, 2, b'n', b'o'];
    assert!(
        matches!(five(&refused), Received::Refused(reason) if reason.to_string() == "0x87 (not authorized), \"no\"")
    );
}

#[test]
fn properties_of_a_message_are_read_and_subscription_identifiers_beside_them() {
    let publish = |properties: &[u8], payload: &[u8]| {
        let length = u8::try_from(properties.len()).unwrap();
        let body = [&[0, 1, b't', 0, 7, length][..], properties, payload].concat();
        [&[0x32, u8::try_from(body.len()).unwrap()][..], &body].concat()
    };
    let carried = |properties: &[u8]| match five(&publish(properties, b"hello")) {
        Received::Publish(publish) => {
            assert_eq!((&publish.payload[..], publish.head.id), (&b"hello"[..], 7));
            let json = publish.properties.map(|properties| serde_json::to_string(&*properties).unwrap());
            (publish.subscriptions, json)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(carried(&[]), (vec![], None));
    assert_eq!(carried(&[0x0b, 9]), (vec![9], None));
    let two = carried(&[0x0b, 1, 0x0b, 0x80, 1, 0x01, 1]);
    assert_eq!(two, (vec![1, 128], Some(r#"{"payload_format_indicator":1}"#.to_owned())));
    let some = [&[0x0b, 9, 0x03, 0, 1, b'c', 0x08, 0, 1, b'r'][..], &[0x09, 0, 1, 0xff, 0x01, 1], &[0x02, 0, 0, 0, 9]];
    let user = [0x26, 0, 1, b'k', 0, 1, b'v'];
    assert_eq!(
        carried(&[&some.concat()[..], &user].concat()).1.unwrap(),
        r#"{"content_type":"c","response_topic":"r","correlation_data_base64":"/w==","payload_format_indicator":1,"user_properties":[["k","v"]],"expires_in":9}"#
    );
    malformed(&publish(&[0x0b, 0x80], b"hello"));
    malformed(&publish(&[0x11, 0, 0, 0, 1], b"hello"));
    malformed(&publish(&[0x03, 0, 9, b'c'], b"hello hello"));
    // Topic aliases weren't offered.
    assert!(matches!(five(&publish(&[0x23, 0, 1], b"x")), Received::TopicAlias));
}

#[test]
fn what_the_codecs_cannot_read_is_told_in_our_words() {
    for (protocol, bytes) in [
        (Protocol::Mqtt311, &[0x20, 2, 0, 66][..]),
        (Protocol::Mqtt5, &[0x20, 2, 0, 66]),
        (Protocol::Mqtt5, &[0x20, 3, 0, 66, 0]),
    ] {
        let refused = decode(protocol, bytes).unwrap().unwrap();
        assert!(matches!(refused, Received::Refused(ref reason) if reason.code.0 == 66), "{refused:?}");
    }
    for (protocol, bytes, words) in [
        (Protocol::Mqtt311, &[0x90, 3, 0, 1, 66][..], "a SUBACK with the unknown reason code 0x42"),
        (Protocol::Mqtt311, &[0x90, 1, 0], "a SUBACK that doesn't follow the rules of MQTT (remaining length 1)"),
        (Protocol::Mqtt5, &[0x90, 4, 0, 1, 0, 66], "a SUBACK with the unknown reason code 0x42"),
        (Protocol::Mqtt5, &[0x40, 4, 0, 1, 66, 0], "a PUBACK with the unknown reason code 0x42"),
        (Protocol::Mqtt5, &[0x90, 1, 0], "a SUBACK that doesn't follow the rules of MQTT (remaining length 1)"),
        (Protocol::Mqtt5, &[0xe0, 2, 66, 0], "a DISCONNECT with the unknown reason code 0x42"),
    ] {
        let error = decode(protocol, bytes).unwrap_err().to_string();
        assert!(error.starts_with(words), "{error}");
    }
}

#[test]
fn the_topic_of_a_message_has_no_wildcards() {
    for protocol in [Protocol::Mqtt311, Protocol::Mqtt5] {
        for topic in ["down/#", "down/+/x", "#", "a+b"] {
            let length = u16::try_from(topic.len()).unwrap();
            let mut body = [&length.to_be_bytes()[..], topic.as_bytes()].concat();
            body.extend((protocol == Protocol::Mqtt5).then_some(0));
            let small = [&[0x30, u8::try_from(body.len()).unwrap()][..], &body].concat();
            for bytes in [small, too_large(2, 20 << 20, topic.as_bytes(), length)] {
                let wildcard = Malformed::Wildcard(Topic::received(topic));
                assert_eq!(decode(protocol, &bytes).unwrap_err(), wildcard);
            }
        }
    }
}

#[test]
fn a_length_that_does_not_end_or_is_too_large_is_noticed_at_once() {
    for protocol in [Protocol::Mqtt311, Protocol::Mqtt5] {
        assert!(matches!(decode(protocol, &[0x30, 0xff, 0xff, 0xff]), Ok(None)));
        assert!(matches!(decode(protocol, &[0x30, 0xff, 0xff, 0xff, 0xff]), Err(Malformed::Invalid(_))));
        assert!(matches!(decode(protocol, &[0x90, 0xff, 0xff, 0xff, 0x7f]), Err(Malformed::TooLarge(268_435_455))));
        assert!(matches!(decode(protocol, &[0x41]), Err(Malformed::Invalid(_))));
    }
}

#[test]
fn a_connack_with_flags_that_mqtt_does_not_have_is_malformed() {
    for (protocol, bytes) in [(Protocol::Mqtt311, &[0x20, 2, 2, 0][..]), (Protocol::Mqtt5, &[0x20, 3, 0x81, 0, 0])] {
        assert!(matches!(decode(protocol, bytes), Err(Malformed::Invalid(_))), "{bytes:x?}");
    }
}

/// The beginning of a PUBLISH of so many bytes behind the fixed header, whatever its topic's length says.
fn too_large(flags: u8, remaining: usize, topic: &[u8], topic_length: u16) -> Vec<u8> {
    let length = [0, 7, 14, 21].map(|shift| (remaining >> shift & 0x7f) as u8 | if shift < 21 { 0x80 } else { 0 });
    let mut bytes = [&[0x30 | flags][..], &length, &topic_length.to_be_bytes(), topic].concat();
    if flags & 6 != 0 {
        bytes.extend([1, 2]);
    }
    bytes
}

#[test]
fn a_head_that_makes_no_sense_is_malformed_at_once_however_large_the_packet() {
    let large = 20 << 20;
    for protocol in [Protocol::Mqtt311, Protocol::Mqtt5] {
        for bytes in [too_large(0, large, b"", 0), too_large(6, large, b"t", 1), too_large(2, large, b"\xff", 1)] {
            assert!(matches!(decode(protocol, &bytes), Err(Malformed::Invalid(_))), "{bytes:x?}");
        }
        // Its head hasn't come: it is waited for, and no more than that.
        assert!(matches!(decode(protocol, &too_large(2, large, b"t", 9)), Ok(None)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever the pieces, a PUBLISH that is too large goes by, of which no more is held than a piece and its head, and what
    /// stands behind it is heard.
    #[test]
    fn a_publish_that_is_too_large_goes_by(
        five in any::<bool>(),
        flags in prop::sample::select(vec![0_u8, 2, 4, 0x0b]),
        topic in "[a-z/]{1,300}",
        size in MAX_PACKET + 1..MAX_PACKET + 600_000,
        pieces in prop::collection::vec(1..40_000_usize, 1..20),
    ) {
        let protocol = if five { Protocol::Mqtt5 } else { Protocol::Mqtt311 };
        let mut bytes = too_large(flags, size, topic.as_bytes(), u16::try_from(topic.len()).unwrap());
        let total = 5 + size;
        bytes.resize(total, 0x30);
        bytes.extend([0xd0, 0]);
        let (mut wire, mut input, mut heard) = (Wire::new(&options(protocol)), BytesMut::new(), Vec::new());
        let mut rest = &bytes[..];
        for piece in pieces.iter().cycle() {
            let (now, later) = rest.split_at(rest.len().min(*piece));
            input.extend_from_slice(now);
            rest = later;
            while let Some(received) = wire.decode(&mut input).unwrap() {
                heard.push(received);
            }
            prop_assert!(input.len() <= topic.len() + 9, "{} bytes are held", input.len());
            if rest.is_empty() {
                break;
            }
        }
        let [Received::TooLarge(publish), Received::PingResp] = &heard[..] else { panic!("{heard:?}") };
        prop_assert_eq!((publish.head.topic.as_str(), publish.size), (&topic[..], total));
        prop_assert_eq!(publish.head.id, if flags & 6 == 0 { 0 } else { 0x0102 });
        prop_assert_eq!(publish.head.is_exactly_once, flags & 4 != 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

    /// Whole frames of any type with any body: each is decoded or refused, and never waited for.
    #[test]
    fn a_whole_frame_is_always_settled(
        five in any::<bool>(),
        first in prop_oneof![any::<u8>(), prop::sample::select(vec![0x20, 0x30, 0x32, 0x40, 0x90, 0xb0, 0xd0, 0xe0])],
        body in prop::collection::vec(prop_oneof![0..6u8, any::<u8>(), prop::sample::select(vec![0x0b, 0x1f, 0x26])], 0..100),
    ) {
        let protocol = if five { Protocol::Mqtt5 } else { Protocol::Mqtt311 };
        let bytes = [&[first, u8::try_from(body.len()).unwrap()][..], &body].concat();
        prop_assert!(!matches!(decode(protocol, &bytes), Ok(None)));
    }

    #[test]
    fn no_bytes_panic_or_are_taken_for_more_than_they_are(
        five in any::<bool>(),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let protocol = if five { Protocol::Mqtt5 } else { Protocol::Mqtt311 };
        let mut input = BytesMut::from(&bytes[..]);
        let mut wire = Wire::new(&options(protocol));
        while let Ok(Some(_)) = wire.decode(&mut input) {}
        prop_assert!(input.len() <= bytes.len() && input.capacity() <= MAX_PACKET);
    }
}

#[test]
fn a_publish_is_as_large_as_is_said() {
    let topic = Topic::new("gateways/thing-1/hello").unwrap();
    for protocol in [Protocol::Mqtt311, Protocol::Mqtt5] {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce] {
            for len in
                [0, 1, 96, 97, 98, 99, 100, 101, 102, 103, 16_354, 16_355, 16_356, 16_357, 16_358, 16_359, 131_072]
            {
                let (payload, mut output) = (Bytes::from(vec![b'x'; len]), BytesMut::new());
                let message =
                    Outbound { topic: topic.clone(), payload, qos, retain: false, urgent: false, properties: None };
                Wire::new(&options(protocol)).publish(&message, 1, false, Instant::now(), &mut output);
                assert_eq!(
                    publish_size(protocol, qos, topic.as_str().len(), 0, len),
                    output.len(),
                    "{protocol:?} {qos:?} {len}"
                );
            }
        }
    }
}

#[test]
fn a_publish_by_alias_and_one_with_a_content_type_are_as_large_as_is_said() {
    let topic = Topic::new("gateways/thing-1/hello").unwrap();
    let content_type = "application/gzip";
    for len in [0, 100, 200] {
        let (payload, now) = (Bytes::from(vec![b'x'; len]), Instant::now());
        let mut message = Outbound {
            topic: topic.clone(),
            payload,
            qos: Qos::AtLeastOnce,
            retain: false,
            urgent: false,
            properties: None,
        };
        let size = |message: &Outbound, sent| {
            let mut output = BytesMut::new();
            v5::publish_as(message, 1, sent, now, &mut output);
            output.len()
        };
        let said = |topic, properties| publish_size(Protocol::Mqtt5, Qos::AtLeastOnce, topic, properties, len);
        assert_eq!(size(&message, Sent::Named(1)), said(topic.as_str().len(), ALIAS_BYTES));
        assert_eq!(size(&message, Sent::Alias(1)), said(0, ALIAS_BYTES));
        let properties = Properties { content_type: Some(content_type.to_owned()), ..Properties::default() };
        message.properties = Some(std::sync::Arc::new(properties));
        assert_eq!(size(&message, Sent::Plain), said(topic.as_str().len(), PROPERTY_OF_TEXT + content_type.len()));
    }
}

#[test]
fn aliases_begin_and_end_on_a_connection_that_stays() {
    let mut wire = Wire::new(&options(Protocol::Mqtt5));
    let (topic, payload) = (Topic::new("gateways/thing-1/hello").unwrap(), Bytes::new());
    let message = Outbound { topic, payload, qos: Qos::AtLeastOnce, retain: false, urgent: false, properties: None };
    let size = |wire: &mut Wire| {
        let mut output = BytesMut::new();
        wire.publish_first(&message, 1, Instant::now(), &mut output);
        output.len()
    };
    let [plain, named, by_alias] = [(22, 0), (22, ALIAS_BYTES), (0, ALIAS_BYTES)]
        .map(|(topic, properties)| publish_size(Protocol::Mqtt5, Qos::AtLeastOnce, topic, properties, 0));
    wire.established(&ServerLimits { topic_aliases: 2, ..ServerLimits::default() });
    assert_eq!(size(&mut wire), plain);
    wire.use_aliases(true);
    assert_eq!([size(&mut wire), size(&mut wire)], [named, by_alias]);
    // A reload that changes nothing takes nothing away.
    wire.use_aliases(true);
    assert_eq!(size(&mut wire), by_alias);
    wire.use_aliases(false);
    assert_eq!(size(&mut wire), plain);
    wire.use_aliases(true);
    assert_eq!(size(&mut wire), named, "the server may know it by its number or not: it is told again");
    wire.restart();
    wire.use_aliases(false);
    wire.use_aliases(true);
    assert_eq!(size(&mut wire), plain, "what the server takes isn't known yet");
}
