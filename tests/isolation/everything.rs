//! A server that refuses everything.

use crate::play::line;
use crate::support::daemon::Setup;
use crate::support::judge::{Asked, Does, Judge};
use crate::support::scripted::Broker;
use crate::support::{eventually, patiently};
use crate::{INGEST, setup};

const QUICK: &str = "backoff = { min = \"100ms\", max = \"200ms\" }\n";

/// A server that refuses everything, until it takes it: all waits, in order, and none is lost.
fn everything_is_refused(
    protocol: &'static str,
    terms: &[u8],
    refuses: impl FnMut(&Asked) -> Does + Send + 'static,
    topics: usize,
) {
    const MESSAGES: usize = 1500;
    let server = Judge::start(protocol, refuses);
    server.set_terms(terms);
    let gatewire = setup(&server, protocol, "").start();
    // Programs that don't wait for what becomes of it.
    let mut client = gatewire.client("publish.sock");
    for batch in 0..MESSAGES / 500 {
        for n in batch * 500..(batch + 1) * 500 {
            client.send(&line(&format!("t/{}", n % topics), "", n));
        }
        for _ in 0..500 {
            let answer = client.json();
            assert!(answer["error"].is_null() || answer["error"] == "rejected", "{answer}");
        }
    }
    gatewire.wait_for("IoT Core takes nothing that is sent");
    let status = gatewire.status();
    assert!(status["outbox"]["held"]["reason"].is_string(), "{status}");
    assert_eq!((&status["outbox"]["quarantined"], &status["outbox"]["dropped"]["full"]), (&0.into(), &0.into()));
    let kept = status["outbox"]["waiting"].as_u64().unwrap() + status["outbox"]["in_flight"].as_u64().unwrap();
    let told = status["outbox"]["dropped"]["rejected"].as_u64().unwrap();
    assert_eq!(kept + told, MESSAGES as u64);
    server.set_terms(&[]);
    server.judge_by(|_| Does::Take);
    patiently("all of them", || (server.all().len() as u64 >= kept).then_some(()));
    let arrived: Vec<usize> = server.all().iter().map(|(asked, _)| asked.payload.parse().unwrap()).collect();
    // The trial with which all goes on may be of another topic than that of the oldest.
    let is_of_another_topic = arrived[0] % topics != arrived[1] % topics;
    let in_order = if is_of_another_topic { &arrived[1..] } else { &arrived };
    assert!(in_order.is_sorted(), "{:?}", &arrived[..50]);
    let of_topic = |topic: usize| arrived.iter().filter(move |n| *n % topics == topic);
    assert!((0..topics).all(|topic| of_topic(topic).is_sorted()), "{:?}", &arrived[..50]);
    assert_eq!(gatewire.count("IoT Core takes nothing that is sent"), 1);
    gatewire.wait_for("IoT Core takes messages again");
    assert_eq!(gatewire.count("They are set aside"), 0);
    assert!(gatewire.status()["outbox"]["held"].is_null());
}

pub fn a_server_that_closes_on_everything_costs_nothing_and_recovers() {
    everything_is_refused("3.1.1", &[], |_| Does::Close, 1);
}

pub fn a_server_that_closes_on_everything_with_a_reason_costs_nothing_and_recovers() {
    everything_is_refused("5", &[], |_| Does::Close, 20);
}

pub fn a_server_that_answers_everything_with_a_failure_costs_nothing_and_recovers() {
    everything_is_refused("5", &[], |_| Does::Answer(0x87), 10);
}

pub fn a_server_that_answers_everything_with_an_error_costs_nothing_and_recovers() {
    everything_is_refused("5", &[], |_| Does::Answer(0x80), 1);
}

pub fn what_a_connack_rules_out_is_said_once_and_goes_once_it_is_allowed() {
    const RETAINED: usize = 40;
    let broker = Broker::start();
    let gatewire = Setup::with_connection(broker.port, QUICK, INGEST).speaking("5").start();
    let mut client = gatewire.client("publish.sock");
    client.send(&line("plain", "", 0));
    (0..RETAINED).for_each(|n| client.send(&line(&format!("state/{n}"), ",\"retain\":true", n)));
    (0..=RETAINED).for_each(|_| assert_eq!(client.json()["result"], "stored"));
    let mut peer = broker.connected_5(false, &[0x25, 0]);
    let plain = peer.publish();
    peer.puback(plain.pkid, 0);
    let quarantined = || gatewire.status()["outbox"]["quarantined"].as_u64();
    eventually("what is retained is set aside", || (quarantined() == Some(RETAINED as u64)).then_some(()));
    assert!(gatewire.count("IoT Core refuses a message") <= 6, "of one cause is said less and less");
    peer.close();
    let mut peer = broker.connected_5(true, &[]);
    for n in 0..RETAINED {
        let message = peer.publish();
        assert_eq!((message.retain, &message.payload[..]), (true, n.to_string().as_bytes()));
        peer.puback(message.pkid, 0);
    }
}

pub fn a_server_that_allows_qos_0_alone_costs_nothing_and_recovers() {
    everything_is_refused("5", &[0x24, 0], |_| Does::Take, 3);
}

pub fn a_server_that_allows_no_packet_of_a_size_costs_nothing_and_recovers() {
    everything_is_refused("5", &[0x27, 0, 0, 0, 1], |_| Does::Take, 3);
}
