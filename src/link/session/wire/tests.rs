//! Packets cut short where MQTT allows it, and where it doesn't.

use proptest::prelude::*;

use super::*;

fn decode(protocol: Protocol, bytes: &[u8]) -> Result<Option<Received>, Malformed> {
    let mut input = BytesMut::from(bytes);
    let decoded = Wire::new(protocol).decode(&mut input);
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
    assert!(matches!(five(&[0x20, 2, 0, 0]), Received::Unexpected(_)));
}

#[test]
fn the_terms_of_a_connack_are_read() {
    let properties = [
        &[0x11, 0, 0, 0, 60][..],
        &[0x21, 0, 5],
        &[0x24, 0],
        &[0x25, 0],
        &[0x27, 0, 0, 4, 0],
        &[0x28, 0],
        &[0x2a, 0],
        &[0x13, 0, 30],
        &[0x12, 0, 1, b'x'],
    ]
    .concat();
    let length = u8::try_from(properties.len()).unwrap();
    let bytes = [&[0x20, length + 3, 1, 0, length][..], &properties].concat();
    let Received::ConnAck { session_present: true, terms } = five(&bytes) else { panic!() };
    let expected = Terms {
        receive_maximum: Some(5),
        max_packet: Some(1024),
        no_qos_1: true,
        no_retain: true,
        no_wildcards: true,
        no_shared: true,
        keep_alive: Some(Duration::from_secs(30)),
        session_expiry: Some(Duration::from_secs(60)),
        renamed: true,
    };
    assert_eq!(terms, expected);
    let refused = [0x20, 8, 0, 0x87, 5, 0x1f, 0, 2, b'n', b'o'];
    assert!(
        matches!(five(&refused), Received::Refused(reason) if reason.to_string() == "0x87 (not authorized), \"no\"")
    );
}

#[test]
fn properties_of_a_message_are_read_and_subscription_identifiers_passed_over() {
    let publish = |properties: &[u8], payload: &[u8]| {
        let length = u8::try_from(properties.len()).unwrap();
        let body = [&[0, 1, b't', 0, 7, length][..], properties, payload].concat();
        [&[0x32, u8::try_from(body.len()).unwrap()][..], &body].concat()
    };
    let carried = |properties: &[u8]| match five(&publish(properties, b"hello")) {
        Received::Publish(publish) => {
            assert_eq!((&publish.payload[..], publish.id), (&b"hello"[..], 7));
            publish.properties.map(|properties| serde_json::to_string(&*properties).unwrap())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(carried(&[]), None);
    assert_eq!(carried(&[0x0b, 9]), None);
    let some = [&[0x0b, 9, 0x03, 0, 1, b'c', 0x08, 0, 1, b'r'][..], &[0x09, 0, 1, 0xff, 0x01, 1], &[0x02, 0, 0, 0, 9]];
    let user = [0x26, 0, 1, b'k', 0, 1, b'v'];
    assert_eq!(
        carried(&[&some.concat()[..], &user].concat()).unwrap(),
        r#"{"content_type":"c","response_topic":"r","correlation_data_base64":"/w==","payload_format_indicator":1,"user_properties":[["k","v"]],"expires_in":9}"#
    );
    // Where the codec loses count it isn't believed.
    malformed(&publish(&[0x0b, 1, 0x0b, 2, 0x01, 1], b"hello"));
    malformed(&publish(&[0x03, 0, 9, b'c'], b"hello hello"));
    // Topic aliases weren't offered.
    let alias = five(&publish(&[0x23, 0, 1], b"x"));
    assert!(matches!(alias, Received::Unexpected(what) if what.contains("topic alias")));
}

#[test]
fn a_length_that_does_not_end_or_is_too_large_is_noticed_at_once() {
    for protocol in [Protocol::Mqtt311, Protocol::Mqtt5] {
        assert!(matches!(decode(protocol, &[0x30, 0xff, 0xff, 0xff]), Ok(None)));
        assert!(matches!(decode(protocol, &[0x30, 0xff, 0xff, 0xff, 0xff]), Err(Malformed::Invalid(_))));
        assert!(matches!(decode(protocol, &[0x30, 0xff, 0xff, 0xff, 0x7f]), Err(Malformed::TooLarge(268_435_455))));
        assert!(matches!(decode(protocol, &[0x41]), Err(Malformed::Invalid(_))));
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
        let wire = Wire::new(protocol);
        while let Ok(Some(_)) = wire.decode(&mut input) {}
        prop_assert!(input.len() <= bytes.len() && input.capacity() <= MAX_PACKET);
    }
}
