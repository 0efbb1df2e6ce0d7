//! Nothing is written while there is nothing to store.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use crate::support::daemon::{Gatewire, Setup};
use crate::support::mosquitto::Mosquitto;
use crate::support::patiently;
use crate::{INGEST, ask_all};

const FORWARD: &str = "[[forward]]\nname = \"down\"\nfilters = [\"down\"]\nsocket = \"DIR/down.sock\"\n";

/// How long; `make bench` looks for two minutes.
const SECONDS: u64 = 20;

const NOTE: &[u8] = b"\"sure\":true";

/// Messages a second, each way.
const RATE: u64 = 20;

/// Bytes that it has had written to the disk.
fn write_bytes(gatewire: &Gatewire) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", gatewire.pid())).unwrap();
    io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap().parse().unwrap()
}

/// When the files of the database were last changed, for file systems whose writes the kernel doesn't count.
fn last_change(directory: &Path) -> Vec<SystemTime> {
    let files = ["gatewire.db", "gatewire.db-wal"].map(|name| directory.join(name));
    files.iter().filter_map(|path| fs::metadata(path).ok()?.modified().ok()).collect()
}

/// Waits until the note that the filters stand is written, which each connection begins with.
fn wait_for_note(directory: &Path) {
    patiently("the note of the filters that stand", || {
        let log = fs::read(directory.join("gatewire.db-wal")).unwrap();
        log.windows(NOTE.len()).any(|bytes| bytes == NOTE).then_some(())
    });
    // Its last page may be on its way still.
    let mut before = last_change(directory);
    patiently("an end of the writing", || {
        std::thread::sleep(Duration::from_millis(100));
        let now = last_change(directory);
        (std::mem::replace(&mut before, now.clone()) == now).then_some(())
    });
}

#[test]
fn a_healthy_link_and_readers_that_keep_up_cause_no_writes() {
    let mut broker = Mosquitto::start();
    // A machine under the load of all these tests may need more than a second for an answer.
    let setup = Setup::new(broker.port, &format!("{INGEST}{FORWARD}"));
    let gatewire = setup.edit("[outbox]\n", "[outbox]\nspill_after = \"20s\"\n").connect();
    wait_for_note(gatewire.directory());
    let (mut client, mut reader) = (gatewire.client("up.sock"), gatewire.client("down.sock"));
    let mut publisher = broker.publisher("down");
    let before = (write_bytes(&gatewire), last_change(gatewire.directory()));
    assert_eq!(before.1.len(), 2);
    let start = Instant::now();
    for number in 0..SECONDS * RATE {
        publisher.send(&number.to_string());
        assert_eq!(ask_all(&mut client, [number as usize], 200)[0].1, "delivered");
        assert_eq!(reader.payload(), number.to_string());
        let next = start + Duration::from_secs(1) * (number as u32 + 1) / RATE as u32;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let after = (write_bytes(&gatewire), last_change(gatewire.directory()));
    assert_eq!(after, before);
    // The same look sees what is written once there is something to store.
    publisher.finish();
    broker.kill();
    gatewire.wait_for("next attempt in");
    assert_eq!(ask_all(&mut client, [0], 200)[0].1, "stored");
    assert_ne!((write_bytes(&gatewire), last_change(gatewire.directory())), before);
}
