//! What one reader of a forward may cost the others and the link.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::{Duration, Instant};

use support::daemon::{Gatewire, Setup};
use support::mosquitto::Mosquitto;
use support::{eventually, takes_less_than};

const FORWARD: &str = "[[forward]]\nname = \"messages\"\nfilters = [\"test/#\"]\nsocket = \"DIR/messages.sock\"\n";

/// The server sends nothing more while too many acknowledgements are missing: a reader that takes nothing mustn't keep them
/// back until it is disconnected, for then every reader of every forward would wait.
#[test]
fn a_reader_that_takes_nothing_does_not_stop_the_link() {
    takes_less_than(Duration::from_secs(5), || {
        let broker = Mosquitto::start();
        let gatewire = Setup::new(broker.port, FORWARD).connect();
        broker.wait_for("Sending SUBACK to thing-1");
        let (_stuck, mut good) = (gatewire.client("messages.sock"), gatewire.client("messages.sock"));
        eventually("both", || (gatewire.status()["forward"][0]["readers"] == 2).then_some(()));
        let mut publisher = broker.publisher("test/topic");
        let feeder = std::thread::spawn(move || {
            // More than the socket of the first takes, less than it is disconnected for.
            (0..900).for_each(|n| publisher.send(&format!("{n} {}", "x".repeat(200))));
            publisher
        });
        let start = Instant::now();
        for n in 0..900 {
            assert!(good.payload().starts_with(&format!("{n} ")));
        }
        let took = start.elapsed();
        assert_eq!(gatewire.status()["forward"][0]["disconnected_slow"], 0);
        feeder.join().unwrap().finish();
        took
    });
}

#[test]
fn ids_grow_across_a_restart() {
    let broker = Mosquitto::start();
    let mut last = 0;
    for _ in 0..3 {
        let gatewire = Setup::new(broker.port, FORWARD).connect();
        broker.wait_for("Sending SUBACK to thing-1");
        let mut reader = gatewire.client("messages.sock");
        for _ in 0..2 {
            broker.publish("test/topic", b"x");
            let id = reader.json()["id"].as_u64().unwrap();
            assert!(id > last && id < 1 << 53, "{id} after {last}");
            last = id;
        }
        assert_eq!(gatewire.stop().0, 0);
    }
}

fn numbers(client: &mut support::socket::Client, range: std::ops::Range<usize>) {
    range.for_each(|n| assert_eq!(client.payload(), n.to_string()));
}

#[test]
fn what_no_reader_has_taken_survives_a_kill_and_comes_first_and_in_order() {
    for protocol in ["3.1.1", "5"] {
        let broker = Mosquitto::start();
        let setup = Setup::new(broker.port, FORWARD).speaking(protocol);
        let gatewire = setup.connect();
        broker.wait_for("Sending SUBACK to thing-1");
        (0..50).for_each(|n| broker.publish("test/topic", n.to_string().as_bytes()));
        // What IoT Core was told to be done is on the disk.
        eventually("every PUBACK", || {
            (broker.log().matches("Received PUBACK from thing-1").count() == 50).then_some(())
        });
        assert_eq!(gatewire.status()["forward"][0]["stored"], 50);
        gatewire.kill();
        let gatewire = setup.again().connect();
        broker.publish("test/topic", b"50");
        let mut reader = gatewire.client("messages.sock");
        numbers(&mut reader, 0..51);
        broker.publish("test/topic", b"51");
        numbers(&mut reader, 51..52);
        assert_eq!(gatewire.stop().0, 0);
        let gatewire = setup.again().connect();
        assert_eq!(gatewire.status()["forward"][0]["waiting"], 0, "what was written doesn't come again");
    }
}

#[test]
fn qos_0_waits_for_a_reader_too_and_survives_a_stop() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, FORWARD);
    let gatewire = setup.connect();
    broker.wait_for("Sending SUBACK to thing-1");
    (0..3).for_each(|n| broker.publish_with("test/topic", n.to_string().as_bytes(), &["-q", "0"]));
    eventually("them", || (gatewire.status()["forward"][0]["waiting"] == 3).then_some(()));
    assert_eq!(gatewire.stop().0, 0);
    let gatewire = setup.again().connect();
    numbers(&mut gatewire.client("messages.sock"), 0..3);
}

#[test]
fn ids_of_the_next_start_are_behind_all_that_were_reserved() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, FORWARD);
    let id = |gatewire: &Gatewire| {
        let mut reader = gatewire.client("messages.sock");
        broker.publish("test/topic", b"x");
        reader.json()["id"].as_u64().unwrap()
    };
    let gatewire = setup.connect();
    broker.wait_for("Sending SUBACK to thing-1");
    let first = id(&gatewire);
    assert_eq!(gatewire.stop().0, 0);
    let gatewire = setup.again().connect();
    // By the clock it would be seconds later, 1024 a millisecond; the clock could be back for hours.
    let hours = (id(&gatewire) - first) / 1024 / 3_600_000;
    assert!((24..50).contains(&hours), "{hours}");
}

#[test]
fn what_an_observer_is_given_that_says_so_late_is_given_to_the_next_reader_all_the_same() {
    for ack in ["written", "reader"] {
        let broker = Mosquitto::start();
        let gatewire = Setup::new(broker.port, &format!("{FORWARD}ack = \"{ack}\"\n")).connect();
        broker.wait_for("Sending SUBACK to thing-1");
        broker.publish("test/topic", b"0");
        eventually("it", || (gatewire.status()["forward"][0]["stored"] == 1).then_some(()));
        let mut late = gatewire.client("messages.sock");
        // It is taken for a reader, as nothing needs to be sent to be one.
        numbers(&mut late, 0..1);
        broker.publish("test/topic", b"1");
        numbers(&mut late, 1..2);
        late.send(r#"{"observe":true}"#);
        eventually("an observer", || {
            let forward = &gatewire.status()["forward"][0];
            (forward["observers"] == 1 && forward["readers"] == 0 && forward["waiting"] == 2).then_some(())
        });
        broker.publish("test/topic", b"2");
        numbers(&mut late, 2..3);
        let mut reader = gatewire.client("messages.sock");
        for n in 0..3 {
            let line = reader.json();
            assert_eq!((&line["payload"], &line["duplicate"]), (&n.to_string().into(), &false.into()));
        }
    }
}

#[test]
fn a_reader_need_not_say_anything_and_an_observer_can_say_so_by_its_name() {
    let broker = Mosquitto::start();
    let gatewire = Setup::new(broker.port, FORWARD).connect();
    broker.wait_for("Sending SUBACK to thing-1");
    broker.publish("test/topic", b"0");
    eventually("it", || (gatewire.status()["forward"][0]["stored"] == 1).then_some(()));
    let mut observers = Vec::new();
    for name in ["\0gatewire-observer of a test", gatewire.path("gatewire-observer.1").to_str().unwrap()] {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        socket.bind(&socket2::SockAddr::unix(name).unwrap()).unwrap();
        socket.connect(&socket2::SockAddr::unix(gatewire.path("messages.sock")).unwrap()).unwrap();
        observers.push(socket);
    }
    eventually("them", || (gatewire.status()["forward"][0]["observers"] == 2).then_some(()));
    numbers(&mut gatewire.client("messages.sock"), 0..1);
}

#[test]
fn what_waited_on_the_disk_and_a_reader_had_before_a_restart_is_a_duplicate() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, &format!("{FORWARD}ack = \"reader\"\n"));
    let gatewire = setup.connect();
    broker.wait_for("Sending SUBACK to thing-1");
    (0..2).for_each(|n| broker.publish("test/topic", n.to_string().as_bytes()));
    eventually("them", || (gatewire.status()["forward"][0]["stored"] == 2).then_some(()));
    let mut reader = gatewire.client("messages.sock");
    let given = [reader.json(), reader.json()];
    assert!(given.iter().all(|line| line["duplicate"] == false), "{given:?}");
    reader.send(&format!("{{\"ack\":{}}}", given[0]["id"]));
    eventually("one less", || (gatewire.status()["forward"][0]["waiting"] == 1).then_some(()));
    assert_eq!(gatewire.stop().0, 0);
    let gatewire = setup.again().connect();
    let line = gatewire.client("messages.sock").json();
    assert_eq!((&line["id"], &line["duplicate"]), (&given[1]["id"], &true.into()));
}

#[test]
fn what_a_reader_may_have_had_before_a_kill_is_a_duplicate_and_nothing_else_is() {
    for ack in ["written", "reader"] {
        let broker = Mosquitto::start();
        let setup = Setup::new(broker.port, &format!("{FORWARD}ack = \"{ack}\"\n"));
        let publish = |gatewire: &Gatewire, numbers: std::ops::Range<u64>| {
            let stored = numbers.end;
            numbers.for_each(|n| broker.publish("test/topic", n.to_string().as_bytes()));
            eventually("them", || (gatewire.status()["forward"][0]["stored"] == stored).then_some(()));
        };
        let gatewire = setup.connect();
        broker.wait_for("Sending SUBACK to thing-1");
        publish(&gatewire, 0..3);
        gatewire.kill();
        // Nobody can have had them.
        let gatewire = setup.again().connect();
        let mut reader = gatewire.client("messages.sock");
        let first: Vec<_> = (0..3).map(|_| reader.json()).collect();
        assert!(first.iter().all(|line| line["duplicate"] == false), "{first:?}");
        // At once: what was read isn't removed from the disk yet.
        gatewire.kill();
        let gatewire = setup.again().connect();
        publish(&gatewire, 3..5);
        gatewire.kill();
        let gatewire = setup.again().connect();
        let mut reader = gatewire.client("messages.sock");
        let again: Vec<_> = (0..5).map(|_| reader.json()).collect();
        for (n, line) in again.iter().enumerate() {
            assert_eq!((&line["payload"], &line["duplicate"]), (&n.to_string().into(), &(n < 3).into()), "{ack}");
        }
        assert!(again.iter().zip(&first).all(|(again, first)| again["id"] == first["id"]));
    }
}

#[test]
fn a_reader_that_acknowledges_gets_again_what_it_has_not() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, &format!("{FORWARD}ack = \"reader\"\n"));
    let gatewire = setup.connect();
    broker.wait_for("Sending SUBACK to thing-1");
    let mut reader = gatewire.client("messages.sock");
    (0..4).for_each(|n| broker.publish("test/topic", n.to_string().as_bytes()));
    let ids: Vec<u64> = (0..4).map(|_| reader.json()["id"].as_u64().unwrap()).collect();
    reader.send(&format!("{{\"ack\":{}}}", ids[0]));
    eventually("one less", || (gatewire.status()["forward"][0]["waiting"] == 3).then_some(()));
    drop(reader);
    let mut reader = gatewire.client("messages.sock");
    let line = reader.json();
    assert_eq!((&line["id"], &line["duplicate"]), (&ids[1].into(), &true.into()));
    reader.send(&format!("{{\"ack\":{}}}", ids[1]));
    eventually("two less", || (gatewire.status()["forward"][0]["waiting"] == 2).then_some(()));
    eventually("every PUBACK", || (broker.log().matches("Received PUBACK from thing-1").count() == 4).then_some(()));
    gatewire.kill();
    let gatewire = setup.again().connect();
    let mut reader = gatewire.client("messages.sock");
    // What is done leaves the disk a little later, and so may come again.
    let mut again = Vec::new();
    while again.last() != Some(&ids[3]) {
        again.push(reader.json()["id"].as_u64().unwrap());
    }
    assert!(again.ends_with(&ids[2..]) && ids.ends_with(&again), "{again:?} of {ids:?}");
    again.iter().for_each(|id| reader.send(&format!("{{\"ack\":{id}}}")));
    eventually("none", || (gatewire.status()["forward"][0]["waiting"] == 0).then_some(()));
}
