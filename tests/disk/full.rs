//! A disk that takes nothing more: full, read-only, failing.

use std::time::Duration;

use serde_json::Value;

use crate::backlog::filled;
use crate::preload::Fault;
use crate::support::daemon::{Gatewire, Setup};
use crate::support::mosquitto::Mosquitto;
use crate::support::{closed_port, patiently};
use crate::volume::Volume;
use crate::{FREELY, INGEST, SLOWLY, arrived, ask_all, cut_off, line, verdict, wait_until_delivered};

const MIB: u64 = 1 << 20;

/// Bytes of payload: a few hundred of them fill the daemon's memory.
const LARGE: usize = 20_000;

/// A client is read no further than 1000 lines without an answer; these together are more than memory holds.
const LINES: usize = 600;

fn store_error(gatewire: &Gatewire) -> Value {
    gatewire.status()["store"]["error"].clone()
}

/// Likewise cut off, with a disk that fails on command.
fn with_faults() -> (Fault, Mosquitto, Gatewire) {
    let mut fault = None;
    let (broker, gatewire) = cut_off(|port| {
        let (made, setup) = Fault::on(Setup::new(port, INGEST));
        fault = Some(made);
        setup
    });
    (fault.unwrap(), broker, gatewire)
}

#[test]
fn a_full_disk_drops_nothing_and_rejects_what_memory_cannot_hold_until_there_is_space_again() {
    let volume = Volume::new("40m");
    volume.fill(36 * MIB);
    let (mut broker, gatewire) = cut_off(|port| volume.setup(port, INGEST));
    let mut client = gatewire.client("up.sock");
    (0..LINES).for_each(|number| client.send(&line(number, LARGE)));
    gatewire.wait_for("nothing can be stored: no space is left on the file system of");
    assert!(store_error(&gatewire).as_str().unwrap().contains("no space is left"));
    patiently("a full memory", || {
        (gatewire.status()["ingest"][0]["refused"]["outbox_full"].as_u64() > Some(10)).then_some(())
    });
    let mut other = gatewire.client("up.sock");
    assert_eq!(verdict(&other.ask(&line(LINES, 100_000))), "outbox_full", "answered at once: nothing is before it");
    volume.free();
    patiently("recovery", || (store_error(&gatewire) == Value::Null).then_some(()));
    let answers: Vec<_> = (0..LINES).map(|_| client.json()).collect();
    let numbered = |word: &str| -> Vec<usize> {
        let found = answers.iter().filter(|answer| verdict(answer) == word);
        found.map(|answer| answer["id"].as_u64().unwrap() as usize).collect()
    };
    let (stored, refused) = (numbered("stored"), numbered("outbox_full"));
    assert_eq!(stored.len() + refused.len(), LINES);
    assert!(stored.len() > 300 && !refused.is_empty(), "{} stored, {} refused", stored.len(), refused.len());
    broker.restart();
    let status = wait_until_delivered(&gatewire);
    assert_eq!(status["outbox"]["dropped"]["full"], 0);
    assert_eq!(arrived(&broker), stored);
    assert_eq!((gatewire.count("nothing can be stored"), gatewire.count("is written again")), (1, 1));
}

/// `LimitFSIZE=` of systemd, whose signal ends a process that doesn't know it.
#[test]
fn a_file_that_may_not_grow_keeps_from_storing_and_ends_nothing() {
    let limit = ["sh", "-c", "ulimit -f 512; exec \"$@\"", "sh"];
    let gatewire = Setup::new(closed_port(), INGEST).under(limit).start();
    let mut client = gatewire.client("up.sock");
    (0..100).for_each(|number| client.send(&line(number, LARGE)));
    gatewire.wait_for("nothing can be stored");
    assert!(store_error(&gatewire).is_string());
}

#[test]
fn a_disk_that_stays_full_gives_what_it_holds_and_is_emptied_once_there_is_space() {
    let volume = Volume::new("8m");
    let (mut broker, gatewire) = cut_off(|port| volume.setup(port, INGEST));
    let mut client = gatewire.client("up.sock");
    let answers = ask_all(&mut client, 0..100, LARGE);
    assert!(answers.iter().all(|(_, verdict)| verdict == "stored"));
    volume.fill_up();
    (100..300).for_each(|number| client.send(&line(number, LARGE)));
    gatewire.wait_for("nothing can be stored");
    broker.restart();
    (100..300).for_each(|number| assert!(["delivered", "stored"].contains(&verdict(&client.json())), "{number}"));
    wait_until_delivered(&gatewire);
    assert_eq!(arrived(&broker), (0..300).collect::<Vec<_>>());
    volume.free();
    patiently("an empty disk", || (gatewire.status()["outbox"]["stored"] == 0).then_some(()));
}

#[test]
fn a_daemon_starts_on_a_read_only_disk_and_takes_up_what_is_on_it_once_it_may_write() {
    let volume = Volume::new("20m");
    let (mut broker, gatewire) = cut_off(|port| volume.setup(port, INGEST));
    let setup = volume.setup(broker.port, INGEST);
    ask_all(&mut gatewire.client("up.sock"), 0..50, 1000);
    gatewire.kill();
    volume.remount("remount,bind,ro");
    broker.restart();
    let gatewire = setup.connect();
    gatewire.wait_for("nothing can be stored");
    assert!(store_error(&gatewire).as_str().unwrap().contains("the file system is read-only"));
    assert_eq!(ask_all(&mut gatewire.client("up.sock"), 100..101, 10), [(100, "delivered".to_owned())]);
    volume.remount("remount,bind,rw");
    gatewire.wait_patiently("is written again");
    wait_until_delivered(&gatewire);
    let mut numbers = arrived(&broker);
    numbers.sort_unstable();
    assert_eq!(numbers, (0..50).chain([100]).collect::<Vec<_>>());
}

#[test]
fn errors_of_the_device_lose_nothing_and_end_when_they_end() {
    for (word, said) in
        [("EIO", "see `dmesg` for errors of the device"), ("EROFS", "gatewire.db"), ("ENOSPC", "no space")]
    {
        let (fault, mut broker, gatewire) = with_faults();
        let mut client = gatewire.client("up.sock");
        assert!(ask_all(&mut client, 0..20, 1000).iter().all(|(_, verdict)| verdict == "stored"));
        fault.begin(word);
        (20..40).for_each(|number| client.send(&line(number, 1000)));
        let line = gatewire.wait_for("nothing can be stored");
        assert!(line.contains(said), "{word}: {line}");
        fault.end();
        (20..40).for_each(|number| assert_eq!(verdict(&client.json()), "stored", "{number}"));
        gatewire.wait_patiently("is written again");
        assert_eq!(gatewire.count("nothing can be stored"), 1, "{:?}", gatewire.log());
        broker.restart();
        wait_until_delivered(&gatewire);
        assert_eq!(arrived(&broker), (0..40).collect::<Vec<_>>());
        assert!(gatewire.status()["store"]["moved_aside"].as_array().unwrap().is_empty());
    }
}

#[test]
fn a_stop_with_a_disk_that_takes_nothing_says_what_is_lost_and_does_not_spin() {
    let (fault, _broker, gatewire) = with_faults();
    fault.begin("EIO");
    let mut client = gatewire.client("up.sock");
    client.send(&line(0, 100));
    gatewire.wait_for("nothing can be stored");
    gatewire.signal("TERM");
    gatewire.wait_for("SIGTERM: stopping");
    let before = gatewire.cpu_seconds();
    gatewire.wait_for("1 message that IoT Core hadn't acknowledged is lost");
    let spent = gatewire.cpu_seconds() - before;
    assert!(spent < 0.5, "{spent} s of CPU");
    assert_eq!(verdict(&client.json()), "shutting_down");
    assert_eq!(gatewire.wait().0, 0);
}

#[test]
fn a_stop_with_a_full_disk_tries_once_says_what_is_lost_and_goes() {
    let volume = Volume::new("8m");
    let mut made = None;
    let (mut broker, gatewire) = cut_off(|port| {
        let setup = volume.setup(port, INGEST);
        made = Some(setup.again());
        setup
    });
    let mut client = gatewire.client("up.sock");
    assert!(ask_all(&mut client, 0..10, LARGE).iter().all(|(_, verdict)| verdict == "stored"));
    volume.fill_up();
    (10..40).for_each(|number| client.send(&line(number, LARGE)));
    gatewire.wait_for("nothing can be stored");
    patiently("them", || (gatewire.status()["outbox"]["waiting"] == 40).then_some(()));
    gatewire.signal("TERM");
    let said = gatewire.wait_for("messages that IoT Core hadn't acknowledged are lost: no space is left");
    gatewire.wait_for("messages wait for IoT Core on the disk");
    let (code, took) = gatewire.wait();
    assert!(code == 0 && took < Duration::from_secs(2), "{code}, {took:?}");
    let answers: Vec<_> = (10..40).map(|number| (number, verdict(&client.json()).to_owned())).collect();
    let lost = answers.iter().filter(|(_, verdict)| verdict == "shutting_down").count();
    assert!(lost > 10 && said.contains(&format!(" {lost} messages")), "{said}: {answers:?}");
    volume.free();
    broker.restart();
    wait_until_delivered(&made.unwrap().connect());
    let stored = answers.iter().filter(|(_, verdict)| verdict == "stored").map(|(number, _)| *number);
    assert_eq!(arrived(&broker), (0..10).chain(stored).collect::<Vec<_>>());
}

#[test]
fn a_stop_with_a_full_disk_still_delivers_what_only_the_link_can_save() {
    let volume = Volume::new("8m");
    let (mut broker, gatewire) = cut_off(|port| volume.setup(port, INGEST).edit(FREELY, SLOWLY));
    let mut client = gatewire.client("up.sock");
    // These go first, for a second.
    assert!(ask_all(&mut client, 0..100, 1000).iter().all(|(_, verdict)| verdict == "stored"));
    volume.fill_up();
    (100..110).for_each(|number| client.send(&line(number, LARGE)));
    gatewire.wait_for("nothing can be stored");
    patiently("them", || (gatewire.status()["outbox"]["waiting"] == 110).then_some(()));
    broker.restart();
    gatewire.wait_for_nth("connected to", 2);
    gatewire.signal("TERM");
    (100..110).for_each(|number| assert_eq!(verdict(&client.json()), "delivered", "{number}"));
    let (code, took) = gatewire.wait();
    assert!(code == 0 && took < Duration::from_secs(6), "{code}, {took:?}");
    assert_eq!(arrived(&broker), (0..110).collect::<Vec<_>>());
}

#[test]
fn what_cannot_be_read_for_a_moment_is_read_later() {
    // At the start: nobody knows yet what waits, and a message goes out at once. Later: it waits behind the others.
    for word in ["read", "sector"] {
        let broker = Mosquitto::start();
        let (fault, setup) = Fault::on(filled(broker.port, "", &[(5000, &[])]));
        fault.begin(word);
        let gatewire = setup.connect();
        gatewire.wait_for("nothing can be stored");
        let mut client = gatewire.client("up.sock");
        client.send(&line(9999, 100));
        fault.end();
        gatewire.wait_patiently("is written again");
        assert!(["delivered", "stored"].contains(&verdict(&client.json())));
        let status = wait_until_delivered(&gatewire);
        assert!(status["store"]["moved_aside"].as_array().unwrap().is_empty());
        let mut arrived = arrived(&broker);
        arrived.retain(|number| *number < 5000);
        assert_eq!(arrived, (0..5000).collect::<Vec<_>>(), "{word}");
    }
}

#[test]
fn a_read_that_fails_once_is_tried_again_and_nothing_moved_aside() {
    let broker = Mosquitto::start();
    let (fault, setup) = Fault::on(filled(broker.port, "", &[(5000, &[])]));
    fault.begin("once");
    let gatewire = setup.connect();
    let status = wait_until_delivered(&gatewire);
    assert!(status["store"]["moved_aside"].as_array().unwrap().is_empty(), "{status}");
    assert_eq!((gatewire.count("was damaged"), gatewire.count("nothing can be stored")), (0, 0));
    assert_eq!(arrived(&broker), (0..5000).collect::<Vec<_>>());
}

#[test]
fn a_sector_that_stays_unreadable_costs_what_was_on_it() {
    let broker = Mosquitto::start();
    let (fault, setup) = Fault::on(filled(broker.port, "", &[(5000, &[])]));
    fault.begin("sector");
    let gatewire = setup.connect();
    gatewire.wait_patiently("gatewire.db was damaged");
    // The new one lies elsewhere on the card.
    fault.end();
    let status = wait_until_delivered(&gatewire);
    let missing = status["outbox"]["dropped"]["damaged"].as_u64().unwrap() as usize;
    assert!((1..20).contains(&missing), "{status}");
    gatewire.wait_for(&format!("{missing} that were in damaged parts of the database"));
    gatewire.wait_for(&format!("the backlog is out: {} messages", 5000 - missing));
    assert_eq!((gatewire.count("nothing can be stored"), &status["outbox"]["drain"]), (1, &Value::Null));
    let arrived = arrived(&broker);
    assert_eq!(arrived.len() + missing, 5000);
    assert!(arrived.is_sorted());
}

#[test]
fn who_publishes_while_nothing_takes_the_message_is_told_why_and_waits_no_longer_than_it_wants() {
    let volume = Volume::new("8m");
    volume.fill(8 * MIB);
    let mut made = None;
    let (_broker, gatewire) = cut_off(|port| {
        let setup = volume.setup(port, INGEST);
        made = Some(setup.again());
        setup
    });
    let setup = made.unwrap();
    let mut client = gatewire.client("up.sock");
    client.send(&line(0, LARGE));
    gatewire.wait_for("nothing can be stored: no space is left on the file system of");
    let topic = serde_json::from_str::<Value>(&line(0, 1)).unwrap()["topic"].as_str().unwrap().to_owned();
    let (code, out, err) = setup.output_of(&["publish", &topic, "x", "--timeout", "6s"]);
    assert_eq!((code, out.as_str()), (69, ""), "{err}");
    let lines: Vec<&str> = err.lines().collect();
    assert!(
        lines[0].starts_with("waiting for the answer to 1 message, for up to 6s (--timeout). Why: there is no link"),
        "{err}"
    );
    assert!(lines[0].contains("; nothing can be stored (no space is left"), "{err}");
    assert!(
        lines[1].starts_with("no answer within 6s for 1 message, which may be published all the same. Why: "),
        "{err}"
    );
}
