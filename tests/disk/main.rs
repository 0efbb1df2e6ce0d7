//! The binary and its disk: full, read-only, failing, slow, damaged, not ours; a large backlog, and no writes where there is
//! nothing to store.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod backlog;
mod bounds;
mod defect;
mod full;
mod preload;
mod quiet;
mod slow;
mod start;
#[path = "../support/mod.rs"]
mod support;
mod volume;

use std::collections::BTreeSet;

use serde_json::Value;
use support::daemon::{Gatewire, Setup};
use support::mosquitto::Mosquitto;
use support::patiently;
use support::socket::Client;

const INGEST: &str = "[[ingest]]\nname = \"up\"\nsocket = \"DIR/up.sock\"\ntopics = [\"up/#\"]\n";

/// The rate limits of [`Setup::new`], and others.
const FREELY: &str = "messages_per_second = 1000000, bytes_per_second = \"1 GiB\", burst = 100000";
const SLOWLY: &str = "messages_per_second = 100, bytes_per_second = \"1 GiB\", burst = 1";

/// A line with so many bytes of payload. The number is in the topic, where mosquitto's log shows it.
fn line(number: usize, bytes: usize) -> String {
    format!("{{\"topic\":\"up/{number}\",\"payload\":\"{}\",\"id\":{number}}}", "x".repeat(bytes))
}

/// What an answer says: `stored`, `outbox_full`.
fn verdict(answer: &Value) -> &str {
    answer["result"].as_str().or(answer["error"].as_str()).unwrap()
}

/// A daemon that was connected and isn't any more, and its broker, which is down.
fn cut_off(setup: impl FnOnce(u16) -> Setup) -> (Mosquitto, Gatewire) {
    let mut broker = Mosquitto::start();
    let gatewire = setup(broker.port).connect();
    broker.kill();
    gatewire.wait_for("next attempt in");
    (broker, gatewire)
}

/// Sends lines of these numbers; returns the answers' verdicts.
fn ask_all(client: &mut Client, numbers: impl IntoIterator<Item = usize>, bytes: usize) -> Vec<(usize, String)> {
    let ask = |number| (number, verdict(&client.ask(&line(number, bytes))).to_owned());
    numbers.into_iter().map(ask).collect()
}

/// The numbers that have come to the broker, in the order in which each came first.
fn arrived(broker: &Mosquitto) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    let numbers =
        broker.received("thing-1").into_iter().map(|topic| topic.rsplit('/').next().unwrap().parse().unwrap());
    numbers.filter(|number| seen.insert(*number)).collect()
}

/// Waits until nothing waits or is in flight.
fn wait_until_delivered(gatewire: &Gatewire) -> Value {
    patiently("an empty outbox", || {
        let status = gatewire.status();
        (status["outbox"]["waiting"] == 0 && status["outbox"]["in_flight"] == 0).then_some(status)
    })
}
