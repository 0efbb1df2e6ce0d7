//! From IoT Core to local readers: what IoT Core has taken from a publisher reaches a reader, and in order.
//!
//! The broker is mosquitto, which isn't killed: its promise to the publisher is its own. Only gatewire is, and with
//! `ack = "reader"` the reader as well. With `ack = "written"` a reader that dies with unread lines in its socket has lost
//! them, as the sockets' documentation says, so that one reads to the end of the connection.

use std::collections::BTreeSet;
use std::io::{BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::Value;

use crate::producer::{next_line, payload};
use crate::run::{Run, milliseconds};
use crate::support::PATIENCE;
use crate::support::daemon::Setup;
use crate::support::device::Version;
use crate::support::mosquitto::{Mosquitto, Publisher};

const FORWARD: &str = "[[forward]]\nname = \"down\"\nfilters = [\"down/#\"]\nsocket = \"DIR/down.sock\"\n\
    keep = { messages = 1000000, bytes = \"1 GiB\" }\n";

/// Publishes messages, numbered from 0, until it is told that it is enough.
struct Feeder {
    thread: JoinHandle<(Publisher, u64)>,
    enough: Arc<AtomicBool>,
}

impl Feeder {
    fn start(mut publisher: Publisher, mut rng: Rng) -> Feeder {
        let enough = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&enough);
        let thread = std::thread::spawn(move || {
            let mut next = 0;
            while !told.load(Ordering::Relaxed) {
                for _ in 0..rng.u64(..20) {
                    publisher.send(&payload(next));
                    next += 1;
                }
                sleep(milliseconds(&mut rng, 10));
            }
            (publisher, next)
        });
        Feeder { thread, enough }
    }

    /// How many messages the broker has taken: all.
    fn finish(self) -> u64 {
        self.enough.store(true, Ordering::Relaxed);
        let (publisher, published) = self.thread.join().unwrap();
        publisher.finish();
        published
    }
}

/// What the readers of a forward have seen, one after the other.
#[derive(Default)]
struct Seen {
    /// Every message read, in that order.
    read: Vec<u64>,
    /// Those of them that a reader has acknowledged, if it has to.
    done: BTreeSet<u64>,
    /// Readers that died with messages unread or unacknowledged.
    deaths: usize,
}

/// A reader, and its successor whenever it is gone.
struct Reader {
    socket: PathBuf,
    status: PathBuf,
    acknowledges: bool,
    rng: Rng,
    seen: Arc<Mutex<Seen>>,
}

impl Reader {
    /// Reads until there is nobody left who wants to know.
    fn run(mut self) {
        while Arc::strong_count(&self.seen) > 1 {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => self.live(stream),
                Err(_) => sleep(milliseconds(&mut self.rng, 4)),
            }
            while self.is_taken_for_alive() {}
            if self.rng.u8(..4) == 0 {
                // Nobody reads for a while.
                sleep(milliseconds(&mut self.rng, 60));
            }
        }
    }

    /// Whether gatewire hasn't noticed yet that it is gone. Until then its successor would be a second reader that shares the
    /// work with it, and between two there is no order.
    fn is_taken_for_alive(&self) -> bool {
        let Ok(mut status) = UnixStream::connect(&self.status) else { return false };
        let mut text = String::new();
        // Of a daemon that has been killed there is nothing, or not all.
        status.read_to_string(&mut text).is_ok()
            && serde_json::from_str(&text).is_ok_and(|status: Value| status["forward"][0]["readers"] != 0)
    }

    /// One life: to the end of the connection, or shorter if it acknowledges what it has.
    fn live(&mut self, mut stream: UnixStream) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // Saying so spares it the time in which it could say that it is an observer; most do.
        if self.rng.u8(..4) > 0 && stream.write_all(b"{\"observe\":false}\n").is_err() {
            return;
        }
        let mut lines = BufReader::new(stream);
        // Not before it has a line: so it is one that gatewire knows of.
        let dies_after = (self.acknowledges && self.rng.u8(..4) > 0).then(|| self.rng.usize(1..150));
        let mut unacknowledged = Vec::new();
        for count in 0.. {
            if dies_after.is_some_and(|most| count >= most) {
                self.seen.lock().unwrap().deaths += 1;
                return;
            }
            let Some(line) = next_line(&mut lines) else { return };
            let (id, number) = parse(&line);
            let mut seen = self.seen.lock().unwrap();
            seen.read.push(number);
            if !self.acknowledges {
                seen.done.insert(number);
                continue;
            }
            drop(seen);
            unacknowledged.push((id, number));
            // Not each by itself, but none is forgotten.
            if lines.buffer().is_empty() || self.rng.u8(..4) > 0 {
                self.acknowledge(lines.get_mut(), unacknowledged.drain(..));
            }
        }
    }

    /// What can't be said any more wasn't said.
    fn acknowledge(&self, stream: &mut UnixStream, messages: impl Iterator<Item = (u64, u64)>) {
        for (id, number) in messages {
            if stream.write_all(format!("{{\"ack\":{id}}}\n").as_bytes()).is_ok() {
                self.seen.lock().unwrap().done.insert(number);
            }
        }
    }
}

/// The id and the number of a message.
fn parse(line: &str) -> (u64, u64) {
    let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let text = line["payload"].as_str().unwrap();
    let number = text.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(text, payload(number));
    (line["id"].as_u64().unwrap(), number)
}

fn inbound(share: usize, acknowledges: bool, version: Version) {
    let ack = if acknowledges { "reader" } else { "written" };
    let mosquitto = Mosquitto::start();
    let setup = Setup::new(mosquitto.port, &format!("{FORWARD}ack = \"{ack}\"\n")).speaking(version.name());
    // The session and its filter are there before the first message.
    let gatewire = setup.connect();
    mosquitto.wait_for("Sending SUBACK to thing-1");
    gatewire.kill();
    let run = Run::new(format!("inbound, ack = {ack}, MQTT {}", version.name()), share, setup);
    let seen = Arc::new(Mutex::new(Seen::default()));
    let (socket, status, rng) = (run.path("down.sock"), run.path("status.sock"), run.rng(1));
    let reader = Reader { socket, status, acknowledges, rng, seen: Arc::clone(&seen) };
    let reader = std::thread::spawn(move || reader.run());
    let feeder = Feeder::start(mosquitto.publisher("down/x"), run.rng(2));
    let is_at_stake = || !acknowledges || seen.lock().unwrap().deaths > 0;
    let gatewire = run.kill_again_and_again(is_at_stake, |_, gatewire| gatewire.kill_if_alive());
    let published = feeder.finish();
    // A loss shows when nothing comes any more.
    let (mut done, mut last) = (0, Instant::now());
    while done < published as usize && last.elapsed() < PATIENCE {
        sleep(Duration::from_millis(5));
        let before = std::mem::replace(&mut done, seen.lock().unwrap().done.len());
        if done > before {
            last = Instant::now();
        }
    }
    let Seen { read, done, deaths } = std::mem::take(&mut *seen.lock().unwrap());
    drop(seen);
    assert_eq!(gatewire.stop().0, 0);
    reader.join().unwrap();
    let promised: Vec<u64> = (0..published).collect();
    let duplicates = run.judge("read", &promised, &read);
    run.judge("done", &promised, &done.into_iter().collect::<Vec<_>>());
    run.say(&format!("{published} messages: {deaths} deaths of readers, {duplicates} read again"));
    assert_eq!(deaths > 0, acknowledges);
}

#[test]
fn what_was_published_is_read_in_order_though_gatewire_is_killed() {
    for version in [Version::Mqtt311, Version::Mqtt5] {
        inbound(20, false, version);
    }
}

#[test]
fn what_was_published_is_read_and_acknowledged_in_order_though_gatewire_and_readers_are_killed() {
    for version in [Version::Mqtt311, Version::Mqtt5] {
        inbound(20, true, version);
    }
}
