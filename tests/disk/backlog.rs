//! A large backlog: how soon it goes out, how much memory it takes, in which order and how fast it drains.

use std::process::Command;
use std::time::{Duration, Instant};

use rumqttc::mqttbytes::v4::Packet;
use serde_json::Value;

use crate::support::closed_port;
use crate::support::daemon::Setup;
use crate::support::mosquitto::Mosquitto;
use crate::support::scripted::Broker;
use crate::{FREELY, INGEST, SLOWLY, arrived, cut_off, line, verdict, wait_until_delivered};

/// A setup for the broker at `port`, with other keys in `[outbox]`, in whose database so many messages wait.
pub(crate) fn filled(port: u16, keys: &str, messages: &[(usize, &[&str])]) -> Setup {
    // Made by a daemon that doesn't connect yet.
    let closed = closed_port();
    let setup = Setup::new(closed, INGEST).edit("[outbox]\n", &format!("[outbox]\n{keys}\n"));
    let gatewire = setup.start();
    gatewire.status();
    assert_eq!(gatewire.stop().0, 0);
    messages.iter().for_each(|(count, options)| fill(&setup, *count, options));
    setup.edit(&format!("port = {closed}\n"), &format!("port = {port}\n"))
}

/// `options` of `tests/python/backlog.py`.
fn fill(setup: &Setup, count: usize, options: &[&str]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/backlog.py");
    let database = setup.directory.path().join("gatewire.db");
    let mut command = Command::new("python3");
    let filled = command.arg(script).arg(database).arg(count.to_string()).args(options).output().unwrap();
    assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
}

#[test]
fn a_million_waiting_messages_delay_the_start_by_less_than_two_seconds_and_take_little_memory() {
    const MESSAGES: usize = 1_000_000;
    let broker = Broker::start();
    let setup = filled(broker.port, "max_size = \"1 GiB\"", &[(MESSAGES, &[])]).speaking("3.1.1");
    let started = || {
        let start = Instant::now();
        let gatewire = setup.start();
        let mut peer = broker.connected(false);
        let first = peer.publish();
        (start.elapsed(), gatewire, peer, first)
    };
    let (mut took, mut gatewire, mut peer, mut first) = started();
    // Other load may hold up a start, but not each.
    for _ in 0..2 {
        if took >= Duration::from_secs(2) {
            eprintln!("measured again: {took:?}");
            gatewire.kill();
            drop(peer);
            (took, gatewire, peer, first) = started();
        }
    }
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(first.topic, "up/0");
    peer.puback(first.pkid);
    for number in 1..30_000 {
        let publish = peer.publish();
        assert_eq!(publish.topic, format!("up/{number}"));
        peer.puback(publish.pkid);
    }
    let waiting = gatewire.status()["outbox"]["waiting"].as_u64().unwrap();
    assert!(waiting > 900_000, "{waiting}");
    let peak = gatewire.own_memory_peak();
    assert!(peak < 8 * 1024, "{peak} KiB");
}

#[test]
fn a_backlog_goes_out_first_in_order_at_the_configured_rate_and_says_how_far_it_is() {
    const MESSAGES: usize = 1500;
    const RATE: usize = 500;
    let limits = format!(
        "backoff = {{ min = \"100ms\", max = \"300ms\", stable_after = \"1m\" }}\n\
         rate_limit = {{ messages_per_second = {RATE}, burst = 10, connects_per_second = 100 }}\n"
    );
    let ticks = "[[publish]]\nname = \"tick\"\ntopic = \"up/1000000\"\nevery = \"50ms\"\npayload = \"{{count}}\"\n";
    let (mut broker, gatewire) = cut_off(|port| Setup::with_connection(port, &limits, &format!("{INGEST}{ticks}")));
    let mut client = gatewire.client("up.sock");
    for first in (0..MESSAGES).step_by(500) {
        (first..first + 500).for_each(|number| client.send(&line(number, 100)));
        (0..500).for_each(|_| assert_eq!(verdict(&client.json()), "stored"));
    }
    let start = Instant::now();
    broker.restart();
    gatewire.wait_for_nth("connected to", 2);
    let earlier = gatewire.status()["publish"][0]["count"].as_u64().unwrap() as usize;
    let drain = crate::support::eventually("a drain under way", || {
        let drain = gatewire.status()["outbox"]["drain"].clone();
        (drain["delivered"].as_u64() > Some(10)).then_some(drain)
    });
    let messages = drain["messages"].as_u64().unwrap() as usize;
    assert!(messages >= MESSAGES && messages <= MESSAGES + earlier, "{drain}");
    // At the configured rate, or at the one that this machine manages under its load.
    let delivered = drain["delivered"].as_u64().unwrap() as usize;
    let at_this_pace = start.elapsed().as_secs_f64() * (messages as f64 / delivered as f64 - 1.0);
    let most = 2.0 * at_this_pace.max(messages as f64 / RATE as f64) + 2.0;
    assert!(drain["seconds_left"].as_u64().unwrap() as f64 <= most, "{drain}, {most} s");
    let said = gatewire.wait_for("messages wait for IoT Core, the oldest from ");
    assert!(said.contains(&format!(" {messages} messages wait")), "{said}");
    gatewire.wait_for(&format!("the backlog is out: {messages} messages in "));
    let took = start.elapsed().as_secs_f64();
    assert!(took > (messages - 20) as f64 / RATE as f64 * 0.9, "{took} s");
    assert_eq!(gatewire.status()["outbox"]["drain"], Value::Null);
    // Whatever was accepted during the drain went behind it.
    let received = broker.received("thing-1");
    let last = received.iter().position(|topic| *topic == format!("up/{}", MESSAGES - 1)).unwrap();
    let ticks = received[..last].iter().filter(|topic| *topic == "up/1000000").count();
    assert!(ticks <= earlier, "{ticks} of {earlier}");
    let numbers: Vec<usize> = arrived(&broker).into_iter().filter(|number| *number < MESSAGES).collect();
    assert_eq!(numbers, (0..MESSAGES).collect::<Vec<_>>());
    assert_eq!((gatewire.count("messages wait for IoT Core"), gatewire.count("the backlog is out")), (1, 1));
}

#[test]
fn a_rest_of_the_backlog_is_still_there_after_a_stop_in_the_middle() {
    let broker = Broker::start();
    let setup = filled(broker.port, "", &[(5000, &[])]).speaking("3.1.1");
    let mut next = 0;
    while next < 5000 {
        let gatewire = setup.start();
        let mut peer = broker.connected(false);
        let until = next + 1700;
        while next < until.min(5000) {
            let publish = peer.publish();
            assert_eq!(publish.topic, format!("up/{next}"));
            peer.puback(publish.pkid);
            next += 1;
        }
        gatewire.signal("TERM");
        // What was in flight is still delivered.
        while let Some(packet) = peer.next() {
            match packet {
                Packet::Publish(publish) => {
                    assert_eq!(publish.topic, format!("up/{next}"));
                    peer.puback(publish.pkid);
                    next += 1;
                }
                Packet::Disconnect => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(gatewire.wait().0, 0);
    }
    assert_eq!(next, 5000);
    let setup = setup.edit(&format!("port = {}\n", broker.port), &format!("port = {}\n", closed_port()));
    assert_eq!(wait_until_delivered(&setup.start())["outbox"]["stored"], 0);
}

#[test]
fn a_stop_leaves_a_backlog_on_the_disk_and_waits_for_what_is_in_flight_alone() {
    const MESSAGES: usize = 3000;
    let broker = Mosquitto::start();
    let setup = filled(broker.port, "", &[(MESSAGES, &[])]).edit(FREELY, SLOWLY);
    let gatewire = setup.connect();
    // What comes behind it goes to the disk, too.
    let mut client = gatewire.client("up.sock");
    let lines = MESSAGES..MESSAGES + 20;
    lines.clone().for_each(|number| client.send(&line(number, 100)));
    crate::support::eventually("them", || (gatewire.status()["outbox"]["accepted"] == 20).then_some(()));
    gatewire.signal("TERM");
    let (code, took) = gatewire.wait();
    // All of it would take half a minute.
    assert!(code == 0 && took < Duration::from_secs(10), "{code}, {took:?}");
    lines.for_each(|number| assert_eq!(verdict(&client.json()), "stored", "{number}"));
    let sent = arrived(&broker).len();
    assert!(sent < MESSAGES, "{sent}");
    let setup = setup.edit(SLOWLY, FREELY);
    wait_until_delivered(&setup.connect());
    assert_eq!(arrived(&broker), (0..MESSAGES + 20).collect::<Vec<_>>());
}
