//! What the limits of `[outbox]` drop, and what they don't.

use std::time::Instant;

use serde_json::{Value, json};

use crate::backlog::filled;
use crate::preload::preload;
use crate::support::daemon::Setup;
use crate::support::eventually;
use crate::support::mosquitto::Mosquitto;
use crate::{INGEST, arrived, ask_all, cut_off, wait_until_delivered};

const DAY: i64 = 24 * 3600;

fn outbox(port: u16, keys: &str) -> Setup {
    Setup::new(port, INGEST).edit("[outbox]\n", &format!("[outbox]\n{keys}\n"))
}

#[test]
fn past_max_size_the_oldest_give_way_and_are_counted_and_said_once() {
    let (mut broker, gatewire) = cut_off(|port| outbox(port, "max_size = \"1 MiB\""));
    let began = Instant::now();
    let answers = ask_all(&mut gatewire.client("up.sock"), 0..1000, 2000);
    assert!(answers.iter().all(|(_, verdict)| verdict == "stored"), "{answers:?}");
    let outbox = gatewire.status()["outbox"].clone();
    let dropped = outbox["dropped"]["full"].as_u64().unwrap() as usize;
    assert!((400..600).contains(&dropped), "{outbox}");
    assert!(outbox["bytes"].as_u64().unwrap() <= 1 << 20, "{outbox}");
    let size = std::fs::metadata(gatewire.path("gatewire.db")).unwrap().len();
    assert!(size < 9 << 18, "{size}: one of 2000 bytes takes a page of 4096");
    let (said, most) = (gatewire.count("messages dropped: "), 1 + began.elapsed().as_secs() as usize / 60);
    assert!((1..=most).contains(&said), "{said} times, and at most once a minute");
    broker.restart();
    wait_until_delivered(&gatewire);
    assert_eq!(arrived(&broker), (dropped..1000).collect::<Vec<_>>());
}

#[test]
fn with_reject_new_what_is_stored_stays_and_what_comes_is_refused_until_there_is_room() {
    let (mut broker, gatewire) =
        cut_off(|port| outbox(port, "max_size = \"1 MiB\"\nwhen_full = \"reject-new\"").unspilled());
    let mut client = gatewire.client("up.sock");
    let answers = ask_all(&mut client, 0..1000, 2000);
    let stored = answers.partition_point(|(_, verdict)| verdict == "stored");
    assert!((400..600).contains(&stored), "{stored}");
    assert!(answers[stored..].iter().all(|(_, verdict)| verdict == "outbox_full"), "{answers:?}");
    assert_eq!(gatewire.status()["outbox"]["dropped"]["full"], 0);
    broker.restart();
    wait_until_delivered(&gatewire);
    assert_eq!(arrived(&broker), (0..stored).collect::<Vec<_>>());
    assert_eq!(ask_all(&mut client, [1000], 2000), [(1000, "delivered".to_owned())]);
}

#[test]
fn past_max_age_a_message_is_given_up_and_counted() {
    // A machine that has just booted has no message of a minute ago yet.
    eventually("a minute since boot", || {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        (seconds > 65.0).then_some(())
    });
    let broker = Mosquitto::start();
    let setup = filled(broker.port, "max_age = \"1m\"", &[(10, &["--age", "61"]), (20, &["--age", "1"])]);
    let gatewire = setup.connect();
    let status = wait_until_delivered(&gatewire);
    assert_eq!(broker.received("thing-1").len(), 20);
    assert_eq!(
        status["outbox"]["dropped"],
        json!({"full": 0, "expired": 10, "not_connected": 0, "rejected": 0, "quarantine_full": 0, "damaged": 0})
    );
    gatewire.wait_for("10 that had waited for [outbox] max_age");
}

#[test]
fn a_clock_that_jumps_expires_nothing_unless_the_kernel_vouches_for_it() {
    let week = 7 * DAY;
    // How old the messages of an earlier boot are, how far ahead the clock is now, what the kernel says of it.
    for (age, ahead, synchronised, expired) in [
        (3600, 300 * DAY, "no", 0),
        (3600, 300 * DAY, "yes", 10),
        (3600, 0, "yes", 0),
        (2 * week, 0, "yes", 10),
        (2 * week, 0, "no", 0),
        (2 * week, 0, "denied", 0),
    ] {
        let broker = Mosquitto::start();
        let accepted = ["--boot", "7", "--offset", "1000000", "--age", &age.to_string()];
        let setup = filled(broker.port, "max_age = \"7d\"", &[(10, &accepted)]);
        let setup =
            preload(setup, "clock").env("CLOCK_AHEAD", ahead.to_string()).env("CLOCK_SYNCHRONISED", synchronised);
        let gatewire = setup.connect();
        let status = wait_until_delivered(&gatewire);
        let warnings = gatewire.count("the kernel doesn't tell whether its clock is synchronised");
        assert_eq!(warnings, usize::from(synchronised == "denied"));
        let dropped = &status["outbox"]["dropped"]["expired"];
        assert_eq!(*dropped, Value::from(expired), "{age} s old, clock {ahead} s ahead, synchronised: {synchronised}");
        assert_eq!(broker.received("thing-1").len(), 10 - expired);
    }
}
