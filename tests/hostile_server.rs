//! A server that keeps no rules, or sends more than we take: nothing of that stops the link for longer than it must, and no more
//! is held than was agreed.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;
use serde_json::json;
use support::daemon::Setup;
use support::eventually;
use support::scripted::Broker;

const INGEST: &str = "[[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"#\"]\n";
const FORWARD: &str = "[[forward]]\nname = \"f\"\nfilters = [\"t/#\"]\nsocket = \"DIR/f.sock\"\n";

/// A PUBLISH of a million bytes on `t/large`.
fn too_large(qos: u8, id: u8, five: bool) -> Vec<u8> {
    let mut bytes = vec![0x30 | qos << 1, 0xc0, 0x84, 0x3d, 0, 7];
    bytes.extend(b"t/large");
    if qos > 0 {
        bytes.extend([0, id]);
    }
    if five {
        bytes.push(0);
    }
    bytes.resize(4 + 1_000_000, b'x');
    bytes
}

#[test]
fn a_packet_that_is_too_large_is_dropped_and_the_link_stays() {
    for protocol in ["3.1.1", "5"] {
        let broker = Broker::start();
        let setup = Setup::new(broker.port, &format!("{INGEST}{FORWARD}")).unspilled();
        let gatewire = setup.speaking(protocol).start();
        let mut client = gatewire.client("publish.sock");
        let five = protocol == "5";
        let sent =
            [too_large(0, 0, five), too_large(1, 7, five), too_large(2, 8, five), too_large(1, 9, five)].concat();
        let mut acks = Vec::new();
        if five {
            let mut peer = broker.connected_5(false, &[]);
            let id = peer.subscribe().pkid;
            peer.raw(&[0x90, 4, 0, u8::try_from(id).unwrap(), 0, 1]);
            peer.raw(&sent);
            while acks.len() < 3 {
                acks.push(match peer.next().unwrap() {
                    v5::Packet::PubAck(ack) => ack.pkid,
                    v5::Packet::PubRec(ack) => ack.pkid,
                    other => panic!("{other:?}"),
                });
            }
            client.send("{\"topic\":\"up\",\"payload\":1}");
            let id = peer.publish().pkid;
            peer.puback(id, 0);
            assert_eq!(client.json(), json!({"result": "delivered"}));
        } else {
            let mut peer = broker.connected(false);
            let subscribe = peer.subscribe();
            peer.grant(&subscribe);
            peer.raw(&sent);
            while acks.len() < 3 {
                acks.push(match peer.next().unwrap() {
                    v4::Packet::PubAck(ack) => ack.pkid,
                    v4::Packet::PubRec(ack) => ack.pkid,
                    other => panic!("{other:?}"),
                });
            }
            client.send("{\"topic\":\"up\",\"payload\":1}");
            let id = peer.publish().pkid;
            peer.puback(id);
            assert_eq!(client.json(), json!({"result": "delivered"}));
        }
        assert_eq!(acks, [7, 8, 9]);
        let line = gatewire.wait_for("a message on `t/large` has 1000004 bytes");
        assert!(line.contains("it is dropped and acknowledged"), "{line}");
        assert_eq!(gatewire.count("t/large"), 1, "said once");
        let status = gatewire.status();
        assert_eq!((&status["inbox"]["too_large"], &status["counters"]["connections"]), (&json!(4), &json!(1)));
    }
}

#[test]
fn more_than_the_receive_maximum_ends_the_connection_with_its_reason() {
    let broker = Broker::start();
    // A reader that never acknowledges.
    let forward = FORWARD.replace("\"t/#\"", "\"t\"") + "ack = \"reader\"\n";
    let gatewire = Setup::new(broker.port, &forward).start();
    let _reader = gatewire.client("f.sock");
    let mut peer = broker.connected_5(true, &[]);
    peer.forgive();
    // Small ones: the last is there before a message can be on the disk, and acknowledged for that.
    let message = |id: u16| [&[0x32, 7, 0, 1, b't'], &id.to_be_bytes()[..], &[0, b'x']].concat();
    peer.raw(&(1..=400).flat_map(message).collect::<Vec<u8>>());
    assert_eq!(peer.reason(), Some(0x93));
    let error = gatewire.wait_for_failure("protocol_violation");
    assert!(error.contains("more than 100 messages with QoS 1"), "{error}");
}

#[test]
fn a_topic_with_wildcards_ends_the_connection_and_reaches_no_reader() {
    for protocol in ["3.1.1", "5"] {
        let broker = Broker::start();
        let gatewire = Setup::new(broker.port, FORWARD).speaking(protocol).start();
        let mut reader = gatewire.client("f.sock");
        let five = protocol == "5";
        let message = |topic: &[u8; 3]| match five {
            true => [&[0x30, 7, 0, 3][..], topic, &[0, b'x']].concat(),
            false => [&[0x30, 6, 0, 3][..], topic, b"x"].concat(),
        };
        let told = "broke the rules of MQTT: the server sent a PUBLISH to `t/#`";
        if five {
            let mut peer = broker.connected_5(true, &[]);
            peer.forgive();
            peer.raw(&message(b"t/#"));
            assert_eq!(peer.reason(), Some(0x90));
            gatewire.wait_for(told);
            let mut peer = broker.connected_5(true, &[]);
            peer.raw(&message(b"t/a"));
            assert_eq!(reader.json()["topic"], "t/a");
        } else {
            let mut peer = broker.connected(true);
            peer.raw(&message(b"t/#"));
            while peer.next().is_some() {}
            gatewire.wait_for(told);
            let mut peer = broker.connected(true);
            peer.raw(&message(b"t/a"));
            assert_eq!(reader.json()["topic"], "t/a");
        }
    }
}

/// What another client has published with a topic that isn't UTF-8, to a server that passes it on with each connection.
#[test]
fn a_message_that_cannot_be_passed_on_ends_two_connections_and_is_dropped_on_the_third() {
    for protocol in ["3.1.1", "5"] {
        let broker = Broker::start();
        let gatewire = Setup::new(broker.port, FORWARD).speaking(protocol).start();
        let mut reader = gatewire.client("f.sock");
        let five = protocol == "5";
        let message = |flags: u8, topic: &[u8; 3], id: &[u8]| {
            let none: &[u8] = if five { &[0] } else { &[] };
            let body = [&[0, 3][..], topic, id, none, b"x"].concat();
            [&[0x30 | flags, u8::try_from(body.len()).unwrap()][..], &body].concat()
        };
        let sent = [message(0, b"t/#", &[]), message(2, b"t/\xff", &[0, 7]), message(2, b"t/a", &[0, 8])].concat();
        let mut acks = Vec::new();
        if five {
            for _ in 0..2 {
                let mut peer = broker.connected_5(true, &[]);
                peer.forgive();
                peer.raw(&sent);
                assert_eq!(peer.reason(), Some(0x90));
            }
            let mut peer = broker.connected_5(true, &[]);
            peer.raw(&sent);
            while acks.len() < 2 {
                acks.push(match peer.next().unwrap() {
                    v5::Packet::PubAck(ack) => ack.pkid,
                    v5::Packet::Subscribe(_) => continue,
                    other => panic!("{other:?}"),
                });
            }
        } else {
            for _ in 0..2 {
                let mut peer = broker.connected(true);
                peer.raw(&sent);
                while peer.next().is_some() {}
            }
            let mut peer = broker.connected(true);
            peer.raw(&sent);
            while acks.len() < 2 {
                acks.push(match peer.next().unwrap() {
                    v4::Packet::PubAck(ack) => ack.pkid,
                    v4::Packet::Subscribe(_) => continue,
                    other => panic!("{other:?}"),
                });
            }
        }
        assert_eq!((acks, &reader.json()["topic"]), (vec![7, 8], &json!("t/a")));
        gatewire.wait_for("a message on `t/\u{fffd}` breaks the rules of MQTT: a text that isn't UTF-8");
        let status = gatewire.status();
        assert_eq!((&status["inbox"]["unreadable"], &status["counters"]["connections"]), (&json!(2), &json!(3)));
    }
}

/// One that doesn't look at the version.
#[test]
fn a_server_that_answers_mqtt_5_as_3_1_1_is_told_from_one_that_breaks_the_rules() {
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, "").speaking("5").start();
    let (mut peer, _) = broker.accept_5();
    peer.raw(&[0x20, 2, 0, 0]);
    gatewire.wait_for("a CONNACK of MQTT 3.1.1");
    let error = gatewire.wait_for_failure("malformed_packet");
    assert!(
        error.contains("The server may know MQTT 3.1.1 only") && error.contains("try connection.protocol"),
        "{error}"
    );
}

#[test]
fn an_old_session_after_a_clean_start_is_refused_and_explained() {
    let broker = Broker::start();
    let gatewire = Setup::with_connection(broker.port, "session_expiry = \"0s\"", INGEST).start();
    let mut peer = broker.connected_5(true, &[]);
    assert_eq!(peer.reason(), Some(0x82));
    let error = gatewire.wait_for_failure("protocol_violation");
    assert!(error.contains("MQTT-3.2.2-4"), "{error}");
}

#[test]
fn what_is_stored_waits_for_the_suback_of_a_new_session() {
    for protocol in ["3.1.1", "5"] {
        let broker = Broker::start();
        let gatewire = Setup::new(broker.port, &format!("{INGEST}{FORWARD}")).speaking(protocol).start();
        let mut client = gatewire.client("publish.sock");
        client.send("{\"topic\":\"request\",\"payload\":1}");
        if protocol == "5" {
            let mut peer = broker.connected_5(false, &[]);
            let id = peer.subscribe().pkid;
            // What it says on its own is no SUBACK.
            peer.raw(&[0x30, 4, 0, 1, b't', 0]);
            eventually("the message", || (gatewire.status()["inbox"]["received"] == 1).then_some(()));
            assert_eq!(gatewire.status()["outbox"]["in_flight"], 0);
            peer.raw(&[0x90, 4, 0, u8::try_from(id).unwrap(), 0, 1]);
            assert_eq!(peer.publish().topic, "request");
        } else {
            let mut peer = broker.connected(false);
            let subscribe = peer.subscribe();
            peer.raw(&[0x30, 3, 0, 1, b't']);
            eventually("the message", || (gatewire.status()["inbox"]["received"] == 1).then_some(()));
            assert_eq!(gatewire.status()["outbox"]["in_flight"], 0);
            peer.grant(&subscribe);
            assert_eq!(peer.publish().topic, "request");
        }
    }
}

/// A message a line to the ingest socket; each is stored, as there is no link.
fn store(gatewire: &support::daemon::Gatewire, count: usize) {
    let mut client = gatewire.client("publish.sock");
    let lines: String = (0..count).map(|n| format!("{{\"topic\":\"t/{n}\",\"payload\":{n}}}\n")).collect();
    client.write(lines.as_bytes());
    (0..count).for_each(|_| assert_eq!(client.json()["result"], "stored"));
}

#[test]
fn a_server_that_closes_after_each_connack_is_told_of_a_few_times_and_the_backlog_once() {
    for protocol in ["3.1.1", "5"] {
        let broker = Broker::start();
        let connection = "backoff = { min = \"100ms\", max = \"100ms\", stable_after = \"3s\" }\n\
                          rate_limit = { connects_per_second = 100 }\n";
        let gatewire = Setup::with_connection(broker.port, connection, INGEST).speaking(protocol).start();
        store(&gatewire, 150);
        let close = || {
            if protocol == "5" {
                broker.connected_5(false, &[]).close();
            } else {
                broker.connected(false).close();
            }
        };
        (0..20).for_each(|_| close());
        let count = |text: &str| gatewire.count(text);
        assert_eq!(count("150 messages wait for IoT Core"), 1, "{protocol}");
        // By doubling; and the first closes each have their own line if something was sent before them.
        assert!(count("connected to") <= 4 && count("next attempt") <= 12, "{protocol}: {:#?}", gatewire.log());
        // It stays now: that is said once it has lasted.
        let _peer = if protocol == "5" { Err(broker.connected_5(false, &[])) } else { Ok(broker.connected(false)) };
        gatewire.wait_for("that ended sooner");
    }
}

/// What the status says of why messages wait, for scripts and for people, once that is for `cause`.
fn held(setup: &Setup, gatewire: &support::daemon::Gatewire, cause: &str) -> (serde_json::Value, String) {
    let held = eventually(cause, || {
        let held = gatewire.status()["outbox"]["held"].clone();
        (held["cause"] == cause).then_some(held)
    });
    assert!(held["reason"].is_string() && held["advice"].is_string() && held["since"].is_string(), "{held}");
    let (code, page, _) = setup.output("status");
    assert_eq!(code, 0);
    (held, page.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn until_nothing_is_held(gatewire: &support::daemon::Gatewire) {
    eventually("nothing to be held", || gatewire.status()["outbox"]["held"].is_null().then_some(()));
}

#[test]
fn why_messages_wait_is_in_the_status_and_not_in_the_log_alone() {
    let broker = Broker::start();
    let setup = Setup::new(broker.port, &format!("{INGEST}{FORWARD}"));
    let gatewire = setup.start();
    let mut client = gatewire.client("publish.sock");
    let mut peer = broker.connected_5(false, &[]);
    client.send("{\"topic\":\"up\",\"payload\":1}");

    // A SUBSCRIBE without its answer.
    let id = peer.subscribe().pkid;
    let (_, page) = held(&setup, &gatewire, "subscribing");
    assert!(page.contains("messages wait for the answer to a SUBSCRIBE"), "{page}");
    peer.raw(&[0x90, 4, 0, u8::try_from(id).unwrap(), 0, 1]);

    // Everything is answered with 0x97.
    let id = peer.publish().pkid;
    peer.puback(id, 0x97);
    let line = gatewire.wait_for("quota exceeded");
    let (said, page) = held(&setup, &gatewire, "throttled");
    assert!(said["reason"].as_str().unwrap().contains("0x97") && said["next_attempt"].is_string(), "{said}");
    assert!(line.contains(said["advice"].as_str().unwrap()), "{line}\n{said}");
    assert!(page.contains("IoT Core takes no more messages for now") && page.contains("0x97"), "{page}");
    let id = peer.publish().pkid;
    peer.puback(id, 0x97);
    assert_eq!(held(&setup, &gatewire, "throttled").0["since"], said["since"], "it is the same");
    let id = peer.publish().pkid;
    peer.puback(id, 0);
    until_nothing_is_held(&gatewire);
    assert_eq!(gatewire.count("takes messages again"), 0, "that everything was refused wasn't said");
}

#[test]
fn that_a_server_acknowledges_nothing_is_in_the_status() {
    let broker = Broker::start();
    let setup = Setup::with_connection(broker.port, "ack_timeout = \"1s\"\n", INGEST).speaking("3.1.1");
    let gatewire = setup.start();
    let mut peer = broker.connected(false);
    gatewire.client("publish.sock").send("{\"topic\":\"up\",\"payload\":1}");
    let id = peer.publish().pkid;
    assert_eq!(peer.publish().pkid, id);
    let line = gatewire.wait_for("didn't acknowledge a message");
    let (said, page) = held(&setup, &gatewire, "unanswered");
    assert!(line.contains(said["advice"].as_str().unwrap()), "{line}\n{said}");
    assert!(page.contains("IoT Core doesn't acknowledge messages") && page.contains("no PUBACK within 1s"), "{page}");
    peer.puback(id);
    until_nothing_is_held(&gatewire);
}

#[test]
fn a_service_whose_subscribe_has_no_answer_is_left_out_after_three_connections() {
    let broker = Broker::start();
    let jobs = "[jobs]\nsocket = \"DIR/jobs.sock\"\n";
    let setup = Setup::new(broker.port, &format!("{FORWARD}{jobs}"));
    let gatewire = setup.edit("[connection]\n", "[connection]\nack_timeout = \"2s\"\n").start();
    // Everything but the service's is answered.
    let mut unanswered = 0;
    while unanswered < 3 {
        let (mut peer, mut is_asked_for) = (broker.connected_5(false, &[]), false);
        while let Some(packet) = peer.next() {
            let v5::Packet::Subscribe(subscribe) = packet else { continue };
            match subscribe.filters.iter().any(|filter| filter.path.starts_with("$aws/things/thing-1/jobs/")) {
                true => is_asked_for = true,
                false => peer.raw(&[0x90, 4, 0, u8::try_from(subscribe.pkid).unwrap(), 0, 1]),
            }
        }
        unanswered += usize::from(is_asked_for);
    }
    let told = gatewire.wait_for("AWS IoT Jobs can't be used");
    assert!(told.contains("no SUBACK comes within 2 s") && told.contains("[jobs] is left out"), "{told}");
    let mut peer = broker.connected_5(false, &[]);
    let subscribe = peer.subscribe();
    assert_eq!(subscribe.filters[0].path, "t/#");
    peer.raw(&[0x90, 4, 0, u8::try_from(subscribe.pkid).unwrap(), 0, 1]);
    eventually("the status", || (gatewire.status()["services"]["jobs"]["state"] == "refused").then_some(()));
    assert!(peer.is_silent(std::time::Duration::from_secs(3)), "it is asked for again");
}
