//! From local programs to IoT Core: what was answered `delivered` or `stored` arrives, and in order: what is urgent in its own.

use std::thread::sleep;

use fastrand::Rng;

use crate::cloud::Cloud;
use crate::producer::{Produced, Producer, is_urgent, parse_topic};
use crate::run::{Run, milliseconds};
use crate::support::daemon::{Gatewire, Setup};
use crate::support::device::Version;
use crate::support::mosquitto::Mosquitto;
use crate::support::patiently;
use crate::support::scripted::Broker;

const INGEST: &str = "[[ingest]]\nname = \"up\"\nsocket = \"DIR/up.sock\"\ntopics = [\"up/#\"]\n";
const PRODUCERS: usize = 2;

/// SIGKILL without notice.
fn kill(_: &mut Rng, gatewire: Gatewire) -> bool {
    gatewire.kill_if_alive()
}

/// SIGKILL in the middle of a stop, unless that is quicker.
fn stop_and_kill(rng: &mut Rng, gatewire: Gatewire) -> bool {
    gatewire.signal("TERM");
    let most = if rng.bool() { 15 } else { 200 };
    sleep(milliseconds(rng, most));
    gatewire.kill_if_alive()
}

fn outbound(
    name: &str,
    share: usize,
    cloud: Cloud,
    outbox: &str,
    version: Version,
    end: fn(&mut Rng, Gatewire) -> bool,
) {
    let setup = Setup::new(cloud.port(), INGEST).speaking(version.name());
    let setup = setup.edit("[outbox]\n", &format!("[outbox]\n{outbox}\n"));
    let run = Run::new(format!("{name}, MQTT {}", version.name()), share, setup);
    let cloud = cloud.start(run.rng(1));
    let start = |name: usize| Producer::start(run.path("up.sock"), name, run.rng(2 + name as u64));
    let producers: [Producer; PRODUCERS] = std::array::from_fn(start);
    // Lives are short: it takes many until one meets an outage that is longer than spill_after.
    let gatewire = run.kill_again_and_again(|| producers.iter().any(Producer::has_stored), end);
    cloud.calm_down();
    let produced = producers.map(Producer::finish);
    let outbox = patiently("an empty outbox", || {
        let outbox = gatewire.status()["outbox"].clone();
        (outbox["waiting"] == 0 && outbox["in_flight"] == 0).then_some(outbox)
    });
    // Before gatewire goes: the scripted server has to have a connection.
    let arrived = cloud.finish();
    assert_eq!(gatewire.stop().0, 0);
    conclude(&run, &produced, &arrived);
    assert!(outbox["dropped"].as_object().unwrap().values().all(|count| count == 0), "{outbox}");
}

fn conclude(run: &Run, produced: &[Produced; PRODUCERS], arrived: &[String]) {
    let mut numbers: [Vec<u64>; PRODUCERS] = Default::default();
    for (name, number) in arrived.iter().map(|topic| parse_topic(topic)) {
        numbers[name].push(number);
    }
    let mut duplicates = 0;
    for (name, (produced, arrived)) in produced.iter().zip(&numbers).enumerate() {
        assert!(arrived.iter().all(|number| *number < produced.sent), "what nobody has sent");
        // What is urgent overtakes the rest; each of the two has its order.
        for (lane, urgent) in [("urgent", true), ("others", false)] {
            let of_lane =
                |numbers: &[u64]| numbers.iter().copied().filter(|n| is_urgent(*n) == urgent).collect::<Vec<_>>();
            let (promised, arrived) = (of_lane(&produced.promised), of_lane(arrived));
            duplicates += run.judge(&format!("producer {name}, {lane}"), &promised, &arrived);
        }
    }
    let sum = |count: fn(&Produced) -> usize| produced.iter().map(count).sum::<usize>();
    let (sent, promised) = (sum(|produced| produced.sent as usize), sum(|produced| produced.promised.len()));
    let (stored, shutting_down) = (sum(|produced| produced.stored), sum(|produced| produced.shutting_down));
    run.say(&format!(
        "{sent} lines: {} answered `delivered`, {stored} `stored`, {shutting_down} `shutting_down`, {} not at all; \
         {duplicates} arrived again",
        promised - stored,
        sent - promised - shutting_down
    ));
}

#[test]
fn what_was_answered_arrives_in_order_though_gatewire_and_mosquitto_are_killed() {
    let cloud = Cloud::Mosquitto(Mosquitto::start());
    outbound("mosquitto", 40, cloud, "", Version::Mqtt5, kill);
}

#[test]
fn what_was_answered_arrives_in_order_from_a_disk_that_takes_all_that_waits_for_10_ms() {
    let cloud = Cloud::Mosquitto(Mosquitto::start());
    outbound("mosquitto, spill_after 10 ms", 30, cloud, "spill_after = \"10ms\"", Version::Mqtt311, kill);
}

#[test]
fn what_was_answered_arrives_in_order_at_a_server_that_is_slow_and_hangs_up() {
    for version in [Version::Mqtt311, Version::Mqtt5] {
        let cloud = Cloud::Scripted(Broker::start(), version);
        outbound("slow server", 20, cloud, "", version, kill);
    }
}

#[test]
fn what_was_answered_arrives_in_order_at_a_slow_server_from_a_disk_that_takes_all_that_waits_for_10_ms() {
    for version in [Version::Mqtt311, Version::Mqtt5] {
        let cloud = Cloud::Scripted(Broker::start(), version);
        outbound("slow server, spill_after 10 ms", 20, cloud, "spill_after = \"10ms\"", version, kill);
    }
}

#[test]
fn what_was_answered_arrives_in_order_though_gatewire_is_killed_while_it_stops() {
    for version in [Version::Mqtt311, Version::Mqtt5] {
        let cloud = Cloud::Scripted(Broker::start(), version);
        outbound("while it stops", 15, cloud, "", version, stop_and_kill);
    }
}
