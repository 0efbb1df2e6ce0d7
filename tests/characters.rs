//! Texts with characters for which a server may close the connection: refused where they enter, and what is on the disk already
//! stops nothing.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use rumqttc::v5::mqttbytes::v5::Packet;
use rusqlite::types::Value as Sql;
use support::daemon::Setup;
use support::scripted::Broker;
use support::scripted5::Peer5;
use support::{closed_port, eventually};

const INGEST: &str = "[[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"#\"]\n";

#[test]
fn they_are_refused_where_they_enter() {
    let broker = Broker::start();
    let setup = Setup::new(broker.port, INGEST);
    let gatewire = setup.start();
    let mut client = gatewire.client("publish.sock");
    for (line, error, detail) in [
        (r#"{"topic":"door/a\nb","payload":1}"#, "bad_topic", "a line feed (U+000A) as character 7"),
        (r#"{"topic":"a\u0085","payload":1}"#, "bad_topic", "a control character (U+0085) as character 2"),
        (r#"{"topic":"\ufdd0","payload":1}"#, "bad_topic", "no character (U+FDD0) as character 1"),
        (r#"{"topic":"\ud83f\udffe","payload":1}"#, "bad_topic", "no character (U+1FFFE) as character 1"),
        (r#"{"topic":"a\ud800","payload":1}"#, "bad_line", "surrogate pair (U+D800) as character 2"),
        (r#"{"topic":"a","payload":1,"properties":{"content_type":"x\u0001"}}"#, "bad_line", "(U+0001) as character 2"),
        (r#"{"topic":"a","payload":1,"properties":{"response_topic":"x\r"}}"#, "bad_line", "(U+000D) as character 2"),
        (r#"{"topic":"a","payload":1,"properties":{"user_properties":[["\u007f","v"]]}}"#, "bad_line", "(U+007F)"),
        (
            r#"{"topic":"a","payload":1,"properties":{"user_properties":[["k","\ud800"]]}}"#,
            "bad_line",
            "surrogate pair (U+D800)",
        ),
    ] {
        let answer = client.ask(line);
        assert_eq!(answer["error"], error, "{line}: {answer}");
        assert!(answer["detail"].as_str().unwrap().contains(detail), "{line}: {answer}");
    }
    let (code, _, said) = setup.output_of(&["publish", "door/a\nb", "x"]);
    assert!(code == 1 && said.lines().count() == 1 && said.contains("a line feed (U+000A) as character 7"), "{said}");
    assert_eq!(client.ask(r#"{"topic":"\ufeffa","payload":1,"qos":0}"#)["error"], "not_connected");
}

#[test]
fn what_an_earlier_version_has_stored_is_set_aside_and_the_rest_goes_out() {
    for protocol in ["3.1.1", "5"] {
        let closed = closed_port();
        let setup = Setup::new(closed, INGEST).speaking(protocol);
        let gatewire = setup.start();
        let mut client = gatewire.client("publish.sock");
        for topic in ["first", "door/a?b", "last"] {
            assert_eq!(client.ask(&format!("{{\"topic\":\"{topic}\",\"payload\":1}}"))["result"], "stored");
        }
        gatewire.stop();
        age(&setup, b"door/a?b", b"door/a\nb");
        let broker = Broker::start();
        let setup = setup.edit(&format!("port = {closed}"), &format!("port = {}", broker.port));
        let gatewire = setup.start();
        let topics: Vec<String> = match protocol {
            "5" => {
                let mut peer = broker.connected_5(false, &[]);
                (0..2).map(|_| String::from_utf8(peer.publish().topic.to_vec()).unwrap()).collect()
            }
            _ => {
                let mut peer = broker.connected(false);
                (0..2).map(|_| peer.publish().topic).collect()
            }
        };
        assert_eq!(topics, ["first", "last"]);
        let line = gatewire.wait_for("An earlier version of gatewire has accepted it");
        assert!(line.contains("a line feed (U+000A) as character 7"), "{line}");
        eventually("the quarantine", || (gatewire.status()["outbox"]["quarantined"] == 1).then_some(()));
    }
}

/// Puts another topic of the same length into the database, as version 0.1.0 would have written it.
fn age(setup: &Setup, topic: &[u8], old: &[u8]) {
    let database = rusqlite::Connection::open(setup.directory.path().join("gatewire.db")).unwrap();
    let row = "SELECT key, flags, payload, properties FROM message WHERE topic = ?1";
    let (key, flags, payload, properties): (i64, i64, Vec<u8>, Vec<u8>) = database
        .query_row(row, [Sql::Blob(topic.to_vec())], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .unwrap();
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&key.to_le_bytes());
    checksum.update(&[u8::try_from(flags).unwrap()]);
    for part in [old, &payload, &properties] {
        checksum.update(&u32::try_from(part.len()).unwrap().to_le_bytes());
        checksum.update(part);
    }
    let checksum = i64::from(checksum.finalize());
    let update = "UPDATE message SET topic = ?1, checksum = ?2 WHERE key = ?3";
    assert_eq!(database.execute(update, (Sql::Blob(old.to_vec()), checksum, key)).unwrap(), 1);
}

#[test]
fn a_reason_that_speaks_of_the_form_sets_the_message_aside_and_not_its_topic() {
    for code in [0x81, 0x82, 0x90, 0x95, 0x99] {
        let broker = Broker::start();
        let gatewire = Setup::new(broker.port, INGEST).start();
        let mut client = gatewire.client("publish.sock");
        client.send(r#"{"topic":"t","payload":"bad"}"#);
        client.send(r#"{"topic":"t","payload":"good"}"#);
        let mut peer = broker.connected_5(false, &[]);
        while !is_good_served(&mut peer, code) {
            peer = broker.connected_5(true, &[]);
        }
        let line = gatewire.wait_for("IoT Core refuses a message to `t`");
        assert!(line.contains("others to the same topic are sent") && !line.contains("iot:"), "{line}");
        let listed = eventually("the quarantine", || {
            Some(gatewire.status()["outbox"]["quarantine"][0].clone()).filter(|listed| !listed.is_null())
        });
        assert_eq!((&listed["messages"], &listed["missing"]), (&1.into(), &serde_json::Value::Null));
    }
}

/// Ends the connection with `code` at the message `bad`; returns whether the other one came.
fn is_good_served(peer: &mut Peer5, code: u8) -> bool {
    loop {
        match peer.next() {
            Some(Packet::Publish(publish)) if publish.payload == "bad" => {
                peer.raw(&[0xe0, 1, code]);
                return false;
            }
            Some(Packet::Publish(publish)) => {
                peer.puback(publish.pkid, 0);
                return true;
            }
            Some(Packet::PingReq(_)) => peer.raw(&[0xd0, 0]),
            _ => return false,
        }
    }
}
