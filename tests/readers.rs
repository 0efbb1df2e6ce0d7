//! What one reader of a forward may cost the others and the link.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::{Duration, Instant};

use support::daemon::Setup;
use support::eventually;
use support::mosquitto::Mosquitto;

const FORWARD: &str = "[[forward]]\nname = \"messages\"\nfilters = [\"test/#\"]\nsocket = \"DIR/messages.sock\"\n";

/// The server sends nothing more while too many acknowledgements are missing: a reader that takes nothing mustn't keep them
/// back until it is disconnected, for then every reader of every forward would wait.
#[test]
fn a_reader_that_takes_nothing_does_not_stop_the_link() {
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
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(gatewire.status()["forward"][0]["disconnected_slow"], 0);
    feeder.join().unwrap().finish();
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
