//! Nothing is written while there is nothing to store.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use crate::support::daemon::{Gatewire, Setup};
use crate::support::mosquitto::Mosquitto;
use crate::support::{CERTIFICATES, patiently, settled};
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
    settled("the files of the database", || last_change(directory));
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
        // No more than so many a second: that is what is looked at.
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

#[test]
fn the_shipped_configuration_writes_nothing_while_nobody_reads() {
    let broker = Mosquitto::start();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/gatewire.toml");
    let setup = Setup::with_text(&fs::read_to_string(shipped).unwrap().replace("/run/gatewire", "DIR"));
    let uncommented = |setup: Setup, key: &str, value: &str| {
        let text = fs::read_to_string(setup.directory.path().join("gatewire.toml")).unwrap();
        let line = text.lines().find(|line| line.starts_with(&format!("# {key} "))).unwrap();
        setup.edit(&format!("\n{line}\n"), &format!("\n{key} = {value}\n"))
    };
    let quoted = |path: &Path| format!("\"{}\"", path.display());
    let database = quoted(&setup.directory.path().join("gatewire.db"));
    let status = quoted(&setup.directory.path().join("status.sock"));
    let setup = setup
        .edit("xxxxxxxxxxxxxx-ats.iot.eu-west-1.amazonaws.com", "localhost")
        .edit("client_id = \"thing-gateway-01\"", "client_id = \"thing-1\"")
        // Its minute would be a long one to wait for.
        .edit("every = \"1m\"", "every = \"100ms\"")
        .edit("[status]\n", &format!("[status]\nsocket = {status}\n"));
    let setup = [
        ("port", broker.port.to_string()),
        ("ca_file  ", quoted(&CERTIFICATES.path("AmazonRootCA1.pem"))),
        ("cert_file", quoted(&CERTIFICATES.path("certificate.pem.crt"))),
        ("key_file ", quoted(&CERTIFICATES.path("private.pem.key"))),
        ("path", database),
        // A machine under the load of all these tests may need more than a second for an answer.
        ("spill_after", "\"20s\"".to_owned()),
    ]
    .iter()
    .fold(setup, |setup, (key, value)| uncommented(setup, key, value));
    let gatewire = setup.connect();
    let published = |count: u64| {
        patiently("publications", || {
            (gatewire.status()["outbox"]["delivered"].as_u64().unwrap() >= count).then_some(())
        });
    };
    wait_for_note(gatewire.directory());
    published(3);
    let before = (write_bytes(&gatewire), last_change(gatewire.directory()));
    assert_eq!(before.1.len(), 2);
    published(20);
    assert_eq!((write_bytes(&gatewire), last_change(gatewire.directory())), before);
    // What comes from elsewhere while nobody reads does wait on the disk.
    broker.publish("test/topic", b"from the cloud");
    patiently("a stored message", || (gatewire.status()["forward"][0]["stored"] == 1).then_some(()));
}
