//! The binary against a server that says what each test needs: what a real broker won't do on command.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "session/ended.rs"]
mod ended;
mod support;

use std::time::{Duration, Instant};

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{ConnAck, ConnectReturnCode, Packet, SubAck, SubscribeReasonCode};
use serde_json::json;
use support::daemon::{Gatewire, Setup};
use support::eventually;
use support::scripted::{Broker, Peer, text};

const INGEST: &str = "[[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"#\"]\n";
const SHORT_ACKS: &str = "ack_timeout = \"1s\"\nbackoff = { min = \"100ms\", max = \"200ms\" }\n\
    rate_limit = { connects_per_second = 100, messages_per_second = 100000, burst = 1000 }\n";

/// Fails if anything but what was said already is said before `time` passes, once the daemon has heard us: while this test stood still it may
/// have been sent again, and again. How often.
fn said_again(peer: &mut Peer, is_same: impl Fn(&Packet) -> bool, time: Duration) -> u64 {
    let mut times = 0;
    while let Ok(packet) = peer.next_within(Duration::from_millis(100)) {
        assert!(packet.as_ref().is_some_and(&is_same), "{packet:?}");
        times += 1;
    }
    assert!(peer.is_silent(time));
    times
}

fn forward(filters: usize) -> String {
    let filters: Vec<String> = (0..filters).map(|i| format!("\"f/{i:02}\"")).collect();
    format!("[[forward]]\nname = \"f\"\nfilters = [{}]\nsocket = \"DIR/f.sock\"\n", filters.join(","))
}

/// Hands over `n` messages whose payloads are their numbers, from 0.
fn publish(gatewire: &Gatewire, n: usize) -> support::socket::Client {
    let mut client = gatewire.client("publish.sock");
    for i in 0..n {
        client.send(&format!("{{\"topic\":\"t\",\"payload\":{i},\"id\":{i}}}"));
    }
    client
}

/// Payloads, packet identifiers and DUP of the next `n` PUBLISH packets.
fn received(peer: &mut Peer, n: usize) -> Vec<(String, u16, bool)> {
    (0..n).map(|_| peer.publish()).map(|publish| (text(&publish), publish.pkid, publish.dup)).collect()
}

#[test]
fn connect_says_what_is_configured_and_nothing_comes_before_connack() {
    let broker = Broker::start();
    let setup = Setup::with_connection(broker.port, "keep_alive = \"90s\"\n", &format!("{}{INGEST}", forward(1)));
    let gatewire = setup.speaking("3.1.1").start();
    let mut peer = broker.accept();
    let connect = peer.connect();
    assert_eq!((connect.client_id.as_str(), connect.clean_session, connect.keep_alive), ("thing-1", false, 90));
    assert_eq!((connect.last_will, connect.login), (None, None));
    let _client = publish(&gatewire, 3);
    assert!(peer.is_silent(Duration::from_millis(500)));
    peer.connack(false);
    let subscribe = peer.subscribe();
    assert_eq!(subscribe.filters[0].path, "f/00");
    assert_eq!(subscribe.filters[0].qos, QoS::AtLeastOnce);
    peer.grant(&subscribe);
    assert_eq!(
        received(&mut peer, 3).iter().map(|(payload, ..)| payload.as_str()).collect::<Vec<_>>(),
        ["0", "1", "2"]
    );
}

#[test]
fn a_session_expiry_of_zero_asks_for_a_clean_session() {
    let broker = Broker::start();
    let _gatewire = Setup::with_connection(broker.port, "session_expiry = \"0s\"\n", "").speaking("3.1.1").start();
    assert!(broker.accept().connect().clean_session);
}

#[test]
fn filters_go_eight_a_packet_and_only_when_the_session_lost_them() {
    let broker = Broker::start();
    let _gatewire = Setup::new(broker.port, &forward(20)).speaking("3.1.1").start();
    let mut peer = broker.connected(false);
    let requests: Vec<_> = (0..3).map(|_| peer.subscribe()).collect();
    assert_eq!(requests.iter().map(|request| request.filters.len()).collect::<Vec<_>>(), [8, 8, 4]);
    requests.iter().for_each(|request| peer.grant(request));
    assert!(peer.is_silent(Duration::from_millis(200)));
    peer.close();
    let mut peer = broker.connected(true);
    assert!(peer.is_silent(Duration::from_millis(300)), "the session is present");
    peer.close();
    assert_eq!(broker.connected(false).subscribe().filters.len(), 8);
}

#[test]
fn a_refused_filter_is_named_with_the_policy_it_needs_and_the_others_stand() {
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, &forward(2)).speaking("3.1.1").start();
    let mut peer = broker.connected(false);
    let request = peer.subscribe();
    let codes = vec![SubscribeReasonCode::Failure, SubscribeReasonCode::Success(QoS::AtLeastOnce)];
    peer.send(&Packet::SubAck(SubAck::new(request.pkid, codes)));
    let line = gatewire.wait_for("refused to subscribe us to `f/00`");
    assert!(line.contains("iot:Subscribe on topicfilter/f/00"), "{line}");
    assert_eq!(gatewire.status()["link"]["filters_refused"][0]["filter"], "f/00");
    peer.message("f/01", "still comes", 7);
    assert_eq!(gatewire.client("f.sock").payload(), "still comes");
    assert!(matches!(peer.next(), Some(Packet::PubAck(ack)) if ack.pkid == 7));
}

#[test]
fn a_subscribe_without_answer_goes_again_with_its_identifier() {
    let broker = Broker::start();
    let gatewire = Setup::with_connection(broker.port, SHORT_ACKS, &forward(3)).speaking("3.1.1").start();
    let mut peer = broker.connected(false);
    let first = peer.subscribe();
    assert_eq!(peer.subscribe(), first);
    gatewire.wait_for("didn't acknowledge the SUBSCRIBE to `f/00` within 1s; it is sent again");
    let unanswered = || gatewire.status()["link"]["filters_refused"].clone();
    assert_eq!(unanswered()[0]["reason"], "it doesn't answer the SUBSCRIBE");
    peer.grant(&first);
    eventually("all is answered", || (unanswered() == json!([])).then_some(()));
    let is_first = |packet: &Packet| *packet == Packet::Subscribe(first.clone());
    said_again(&mut peer, is_first, Duration::from_millis(1500));
}

#[test]
fn a_publish_without_answer_goes_again_with_its_identifier_and_dup_on_the_same_connection() {
    let broker = Broker::start();
    let setup = Setup::with_connection(broker.port, SHORT_ACKS, INGEST).speaking("3.1.1");
    // Both times are a second otherwise, and which passes first decides whether the outcome is "stored".
    let gatewire = setup.unspilled().start();
    let mut peer = broker.connected(false);
    let mut client = publish(&gatewire, 2);
    let sent = received(&mut peer, 2);
    assert!(!sent[0].2 && !sent[1].2);
    peer.puback(sent[1].1);
    // The answer may have come too late for the second, while this test stood still.
    eventually("the answer counts", || (gatewire.status()["outbox"]["in_flight"] == 1).then_some(()));
    let resent = || gatewire.status()["counters"]["resent"].as_u64().unwrap();
    let before = resent();
    let again = received(&mut peer, usize::try_from(before).unwrap() + 1);
    let is_again = |n: usize, packet: &(String, u16, bool)| *packet == (n.to_string(), sent[n].1, true);
    assert!(again.iter().all(|packet| is_again(0, packet) || is_again(1, packet)), "{again:?}");
    assert!(is_again(0, again.last().unwrap()), "{again:?}");
    eventually("it counts, though the server says nothing", || (resent() > before).then_some(()));
    peer.puback(sent[0].1);
    assert_eq!(client.json(), json!({"id": 0, "result": "delivered"}));
    assert_eq!(client.json(), json!({"id": 1, "result": "delivered"}));
    let is_first =
        |packet: &Packet| matches!(packet, Packet::Publish(publish) if publish.pkid == sent[0].1 && publish.dup);
    let more = said_again(&mut peer, is_first, Duration::from_millis(1500));
    assert_eq!(resent(), again.len() as u64 + more);
}

#[test]
fn what_was_in_flight_goes_first_and_in_order_after_a_reconnect() {
    for session_present in [true, false] {
        let broker = Broker::start();
        let gatewire = Setup::new(broker.port, INGEST).speaking("3.1.1").unspilled().start();
        let mut peer = broker.connected(false);
        let mut client = publish(&gatewire, 5);
        let sent = received(&mut peer, 5);
        peer.puback(sent[2].1);
        eventually("the PUBACK", || (gatewire.status()["outbox"]["in_flight"] == 4).then_some(()));
        peer.close();
        // They are on the disk now; the client knows of the one that was delivered before only after the first two.
        let outcomes = ["stored", "stored", "delivered", "stored", "stored"];
        outcomes
            .iter()
            .enumerate()
            .for_each(|(n, outcome)| assert_eq!(client.json(), json!({"id": n, "result": outcome})));
        let mut peer = broker.connected(session_present);
        let _more = publish(&gatewire, 1);
        let again = received(&mut peer, 5);
        let payloads: Vec<&str> = again.iter().map(|(payload, ..)| payload.as_str()).collect();
        assert_eq!(payloads, ["0", "1", "3", "4", "0"]);
        assert!(again[..4].iter().all(|(_, _, dup)| *dup == session_present) && !again[4].2, "{again:?}");
        if session_present {
            assert_eq!((again[0].1, again[1].1, again[2].1), (sent[0].1, sent[1].1, sent[3].1));
        }
        again.iter().rev().for_each(|(_, id, _)| peer.puback(*id));
        eventually("the rest", || (gatewire.status()["outbox"]["delivered"] == 6).then_some(()));
    }
}

#[test]
fn a_server_that_hangs_up_forgets_and_discards_gets_every_message_in_order() {
    const MESSAGES: usize = 1500;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let broker = Broker::start();
    let gatewire = Setup::with_connection(broker.port, SHORT_ACKS, INGEST).speaking("3.1.1").start();
    let path = gatewire.path("publish.sock");
    let client = std::thread::spawn(move || {
        let mut client = support::socket::Client::connect(&path);
        for n in 0..MESSAGES {
            client.send(&format!("{{\"topic\":\"t\",\"payload\":{n},\"id\":{n}}}"));
        }
        for n in 0..MESSAGES {
            let answer = client.json();
            assert!(
                answer["id"] == n && ["delivered", "stored"].contains(&answer["result"].as_str().unwrap()),
                "{answer}"
            );
        }
    });
    let is_done = |client: &std::thread::JoinHandle<()>| {
        client.is_finished() && gatewire.status()["outbox"]["delivered"] == MESSAGES
    };
    let mut arrived: Vec<usize> = Vec::new();
    for connection in 0..=25 {
        let calm = connection == 25;
        let mut peer = broker.connected(connection > 0 && random.bool());
        let mut packets = if calm { usize::MAX } else { random.usize(1..200) };
        while packets > 0 && !is_done(&client) {
            let publish = match peer.next_within(Duration::from_millis(100)) {
                Ok(Some(Packet::Publish(publish))) => publish,
                // After two closes without a PUBACK the topic is tried alone, once the server has shown that it answers.
                Ok(Some(Packet::PingReq)) => {
                    peer.send(&Packet::PingResp);
                    continue;
                }
                Ok(packet) => panic!("{packet:?}"),
                Err(_) => continue,
            };
            packets -= 1;
            let n: usize = text(&publish).parse().unwrap();
            if !arrived.contains(&n) {
                arrived.push(n);
            }
            // IoT Core discards what it doesn't want to take now, and says nothing.
            if calm || random.u8(..) > 20 {
                peer.puback(publish.pkid);
            }
        }
        if is_done(&client) {
            break;
        }
        peer.close();
    }
    client.join().unwrap();
    assert_eq!(arrived, (0..MESSAGES).collect::<Vec<_>>(), "seed {seed}");
}

#[test]
fn never_more_than_a_hundred_are_in_flight() {
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, INGEST).speaking("3.1.1").start();
    let mut peer = broker.connected(false);
    let _client = publish(&gatewire, 150);
    let mut sent = received(&mut peer, 100);
    assert!(peer.is_silent(Duration::from_millis(300)));
    sent.sort_by_key(|(_, id, _)| *id);
    sent.dedup_by_key(|(_, id, _)| *id);
    assert_eq!(sent.len(), 100, "packet identifiers are unique");
    (50..75).for_each(|i| peer.puback(sent[i].1));
    assert_eq!(received(&mut peer, 25).last().unwrap().0, "124");
    assert!(peer.is_silent(Duration::from_millis(300)));
}

#[test]
fn a_window_of_large_messages_goes_out_without_waiting_for_an_acknowledgement() {
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, INGEST).speaking("3.1.1").start();
    let mut client = gatewire.client("publish.sock");
    let payload = "x".repeat(8000);
    (0..100).for_each(|i| client.send(&format!("{{\"topic\":\"t\",\"payload\":\"{payload}\",\"id\":{i}}}")));
    // Together they are far more than is written at once.
    eventually("all of them", || (gatewire.status()["outbox"]["waiting"] == 100).then_some(()));
    let mut peer = broker.connected(false);
    (0..100).for_each(|i| assert_eq!(peer.publish().pkid, i + 1));
}

#[test]
fn the_rate_limit_holds_back_what_comes_too_fast() {
    let broker = Broker::start();
    let limit = "rate_limit = { messages_per_second = 20, burst = 5 }\n";
    let gatewire = Setup::with_connection(broker.port, limit, INGEST).speaking("3.1.1").start();
    let mut peer = broker.connected(false);
    let start = Instant::now();
    let _client = publish(&gatewire, 25);
    received(&mut peer, 25);
    // 5 at once, 20 more at 20 a second.
    assert!(start.elapsed() > Duration::from_millis(900), "{:?}", start.elapsed());
}

#[test]
fn a_message_from_the_server_is_acknowledged_once_and_only_when_it_is_taken_care_of() {
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, &forward(1)).speaking("3.1.1").start();
    let mut peer = broker.connected(false);
    let request = peer.subscribe();
    peer.grant(&request);
    let mut reader = gatewire.client("f.sock");
    peer.message("f/00", "one", 11);
    peer.message("other", "a filter that was removed", 12);
    peer.message("f/00", "two", 13);
    for id in [11, 12, 13] {
        assert!(matches!(peer.next(), Some(Packet::PubAck(ack)) if ack.pkid == id));
    }
    assert_eq!((reader.payload(), reader.payload()), ("one".to_owned(), "two".to_owned()));
    assert_eq!(gatewire.status()["inbox"]["unmatched"], 1);
}

#[test]
fn silence_is_met_with_a_ping_and_a_missing_answer_with_a_new_connection() {
    let broker = Broker::start();
    let gatewire = Setup::with_connection(broker.port, "keep_alive = \"5s\"\n", "").speaking("3.1.1").start();
    let mut peer = broker.connected(false);
    assert_eq!(peer.next_within(Duration::from_secs(8)), Ok(Some(Packet::PingReq)));
    peer.send(&Packet::PingResp);
    assert_eq!(peer.next_within(Duration::from_secs(8)), Ok(Some(Packet::PingReq)));
    let line = gatewire.wait_for("didn't answer PINGREQ");
    assert!(line.contains("next attempt in"), "{line}");
    assert_eq!(gatewire.status()["link"]["last_error"]["code"], "keep_alive_lost");
    broker.connected(true);
}
