//! What is asked of a local broker, and what differs in what is made of its answers.

use super::*;
use crate::limits::MAX_IN_FLIGHT;
use crate::mqtt::Login;
use crate::mqtt::session::fuzzing::local;
use crate::secret::Secret;

fn bench(protocol: Protocol, filters: BTreeMap<TopicFilter, Qos>, remembered: Remembered) -> Bench {
    let session = Session::new(local(options(protocol)), filters, remembered);
    Bench { session, accepted: 0, now: Instant::now() }
}

fn connected(protocol: Protocol, wanted: usize) -> Bench {
    let mut bench = bench(protocol, filters(wanted), Remembered::default());
    bench.reconnect(false);
    bench
}

/// The bytes that the session has written.
fn bytes(session: &mut Session) -> Vec<u8> {
    session.output().split().to_vec()
}

fn connect(options: Options) -> Vec<u8> {
    let mut session = Session::new(options, BTreeMap::new(), Remembered::default());
    session.connect();
    bytes(&mut session)
}

/// The SUBSCRIBE for one filter after a CONNACK.
fn subscribe(options: Options, filter: &str) -> Vec<u8> {
    let (filter, protocol) = (TopicFilter::new(filter).unwrap(), options.protocol);
    let mut session = Session::new(options, [(filter, Qos::AtLeastOnce)].into(), Remembered::default());
    session.connect();
    bytes(&mut session);
    let connack = Say::ConnAck { session_present: false }.bytes(protocol);
    session.receive(&mut connack.clone(), Instant::now(), Timestamp::UNIX_EPOCH).unwrap();
    bytes(&mut session)
}

#[test]
fn iot_core_is_asked_as_ever() {
    let (old, five) = (options(Protocol::Mqtt311), options(Protocol::Mqtt5));
    assert_eq!(connect(old.clone()), b"\x10\x13\0\x04MQTT\x04\0\0\x3c\0\x07thing-1");
    assert_eq!(
        connect(five.clone()),
        b"\x10\x21\0\x04MQTT\x05\0\0\x3c\x0d\x11\0\0\x0e\x10\x21\0\x64\x27\0\x02\x40\0\0\x07thing-1"
    );
    assert_eq!(subscribe(old, "a/#"), b"\x82\x08\0\x01\0\x03a/#\x01");
    assert_eq!(subscribe(five, "a/#"), b"\x82\x09\0\x01\0\0\x03a/#\x01");
}

#[test]
fn a_local_broker_is_asked_for_what_mqtt_5_has() {
    let (old, five) = (local(options(Protocol::Mqtt311)), local(options(Protocol::Mqtt5)));
    // Without a Maximum Packet Size: what is larger is to be counted, not held back.
    assert_eq!(connect(five.clone()), b"\x10\x1c\0\x04MQTT\x05\0\0\x3c\x08\x11\0\0\x0e\x10\x21\0\x64\0\x07thing-1");
    assert_eq!(subscribe(old, "a/#"), b"\x82\x08\0\x01\0\x03a/#\x01");
    // Retain Handling 1, Retain As Published, No Local, QoS 1.
    assert_eq!(subscribe(five.clone(), "a/#"), b"\x82\x09\0\x01\0\0\x03a/#\x1d");
    // Without No Local, which a shared subscription may not have.
    assert_eq!(subscribe(five, "$share/g/a"), b"\x82\x10\0\x01\0\0\x0a$share/g/a\x19");
}

#[test]
fn a_login_is_in_the_connect_and_in_no_message() {
    for protocol in BOTH {
        let login = Login { username: "gatewire".to_owned(), password: Some(Secret::new("hunter2".to_owned())) };
        let with_password = Options { login: Some(login.clone()), ..options(protocol) };
        assert!(!format!("{with_password:?}").contains("hunter2"));
        let sent = connect(with_password);
        assert!(sent.ends_with(b"\0\x07thing-1\0\x08gatewire\0\x07hunter2"), "{}", sent.escape_ascii());
        assert_eq!(sent[9], 0b1100_0000, "user name and password");
        let without = Options { login: Some(Login { password: None, ..login }), ..options(protocol) };
        let sent = connect(without);
        assert!(sent.ends_with(b"\0\x07thing-1\0\x08gatewire"), "{}", sent.escape_ascii());
        assert_eq!(sent[9], 0b1000_0000);
    }
}

#[test]
fn what_one_puback_refuses_holds_nothing_up() {
    let mut bench = connected(Protocol::Mqtt5, 0);
    let sequences = ["a", "b", "c"].map(|payload| bench.publish(payload));
    assert_eq!(bench.publishes().len(), 3);
    for (id, sequence) in (1..).zip(sequences) {
        bench.receive_bytes(&[0x40, 3, 0, id, 0x87]).unwrap();
        assert!(matches!(bench.event(), Some(Event::Rejected(of, _, Rejection::PubAck(_))) if of == sequence));
    }
    assert_eq!(bench.event(), None);
    assert_eq!(bench.session.take_hold(), None, "nothing is held back");
    bench.publish("d");
    assert_eq!(bench.publishes().len(), 1);
}

#[test]
fn what_the_connack_rules_out_is_refused_at_once_and_again() {
    let mut bench = bench(Protocol::Mqtt5, filters(0), Remembered::default());
    bench.session.connect();
    bench.sent();
    // Retain Available 0.
    bench.receive_bytes(&[0x20, 5, 0, 0, 2, 0x25, 0]).unwrap();
    assert!(matches!(bench.event(), Some(Event::Connected { .. })));
    for n in 1..4 {
        let retained = Outbound { retain: true, ..outbound("r") };
        assert!(!bench.session.publish(Sequence::new(n), retained, bench.now));
        let event = bench.event();
        assert!(matches!(event, Some(Event::Rejected(_, _, Rejection::NoRetain))), "{event:?}");
    }
    assert!(!bench.session.wants_other_limits(bench.now + Duration::from_secs(3600)));
}

#[test]
fn a_message_that_breaks_the_rules_does_not_end_the_connection() {
    for protocol in BOTH {
        let mut bench = connected(protocol, 0);
        let properties: &[u8] = if protocol == Protocol::Mqtt5 { &[0] } else { &[] };
        for (topic, id) in [(b'#', 7), (0xff, 8)] {
            let length = 5 + u8::try_from(properties.len()).unwrap();
            let publish = [&[0x32, length, 0, 1, topic, 0, id][..], properties].concat();
            bench.receive_bytes(&publish).unwrap();
            assert!(matches!(bench.event(), Some(Event::Unreadable(..))));
            assert_eq!(bench.sent(), [Heard::PubAck(id.into())]);
        }
    }
}

#[test]
fn a_filter_that_stands_is_asked_for_again_where_nothing_comes_of_it() {
    let remembered = || Remembered { filters: filters(1), sure: true, ..Remembered::default() };
    for protocol in BOTH {
        let mut bench = bench(protocol, filters(1), remembered());
        bench.reconnect(true);
        let asked = match protocol {
            // Retained messages would come again.
            Protocol::Mqtt311 => vec![],
            Protocol::Mqtt5 => vec![Heard::Subscribe { id: 1, filters: vec!["f/00".to_owned()] }],
        };
        assert_eq!(bench.sent(), asked);
        bench.session.connection_lost();
        bench.session.doubt_subscriptions();
        bench.reconnect(true);
        assert!(matches!(bench.sent()[..], [Heard::Subscribe { .. }]), "the server was away");
    }
}

#[test]
fn what_there_is_no_room_for_waits_and_neither_ends_the_connection_nor_holds_anything_against_it() {
    for protocol in BOTH {
        let mut bench = connected(protocol, 0);
        bench.publish("ours");
        bench.sent();
        let mut tokens = Vec::new();
        for id in 1..=MAX_IN_FLIGHT as u16 + 1 {
            bench.receive(incoming("x", id)).unwrap();
            tokens.extend(bench.event().map(|event| match event {
                Event::Message(_, Some(token)) => token,
                other => panic!("{other:?}"),
            }));
        }
        assert_eq!(tokens.len(), MAX_IN_FLIGHT);
        assert!(bench.session.is_congested());
        // An hour, with a PINGREQ a minute.
        for _ in 0..60 {
            let at = bench.session.timeout().unwrap();
            assert!(at > bench.now && at <= bench.now + Duration::from_secs(60));
            bench.now = at;
            bench.session.handle_timeout(at).unwrap();
            assert_eq!(bench.sent(), [Heard::PingReq]);
        }
        tokens.into_iter().for_each(|token| bench.session.acknowledge(token));
        assert!(!bench.session.is_congested());
        bench.receive(Say::PingResp).unwrap();
        assert_eq!(bench.sent().len(), MAX_IN_FLIGHT, "PUBACKs");
        // The PUBACK that is waited for came behind what there was no room for.
        bench.pass(Duration::from_secs(9)).unwrap();
        assert!(!bench.sent().iter().any(|sent| matches!(sent, Heard::Publish { .. })));
        bench.receive(Say::PubAck(1)).unwrap();
    }
}
