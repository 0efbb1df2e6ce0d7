//! Publishes what a script says, and looks at what arrives.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::daemon::Gatewire;
use crate::support::judge::{Asked, Judge};
use crate::support::patiently;
use crate::support::socket::Client;

/// A field that makes a line's payload large: the last of a name counts.
pub const LARGE: &str = "LARGE";

/// What is published, and when: a step is a tenth of a second.
pub struct Script {
    pub steps: usize,
    /// Topic and options of the messages of a step that the server takes, and of those that it doesn't.
    pub good: fn(usize) -> Vec<(String, &'static str)>,
    pub bad: fn(usize) -> Vec<(String, &'static str)>,
}

const STEP: Duration = Duration::from_millis(100);

pub fn line(topic: &str, options: &str, n: usize) -> String {
    if options == LARGE {
        return format!("{{\"topic\":\"{topic}\",\"payload\":\"{n:06000}\"}}");
    }
    format!("{{\"topic\":\"{topic}\",\"payload\":\"{n}\"{options}}}")
}

/// Plays it; asserts that what is good arrives in time, in order and whole.
pub fn play(server: &Judge, gatewire: &Gatewire, script: &Script) {
    let (mut good, mut bad) = (gatewire.client("publish.sock"), gatewire.client("events.sock"));
    // A program that doesn't read its answers would be cut off.
    [&good, &bad].into_iter().for_each(Client::read_on);
    let mut sent: BTreeMap<(String, String), Instant> = BTreeMap::new();
    let start = Instant::now();
    for step in 0..script.steps {
        let at = start + STEP * u32::try_from(step).unwrap();
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        for (index, (topic, options)) in (script.bad)(step).into_iter().enumerate() {
            bad.send(&line(&topic, options, step * 1000 + index));
        }
        for (topic, options) in (script.good)(step) {
            good.send(&line(&topic, options, step));
            sent.insert((topic, step.to_string()), Instant::now());
        }
    }
    let arrived = || -> BTreeMap<(String, String), Instant> {
        server.all().into_iter().map(|(asked, at)| ((asked.topic, asked.payload), at)).collect()
    };
    patiently("all that is good", || {
        let arrived = arrived();
        sent.keys().all(|key| arrived.contains_key(key)).then_some(())
    });
    let arrived = arrived();
    let late: Vec<_> = sent.iter().filter(|(key, at)| arrived[*key] > **at + Duration::from_secs(5)).collect();
    assert!(late.len() * 20 <= sent.len(), "{} of {} came late: {late:?}", late.len(), sent.len());
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    for (Asked { topic, payload, .. }, _) in server.all() {
        let n: usize = payload.parse().unwrap();
        if sent.contains_key(&(topic.clone(), payload)) {
            assert!(last.insert(topic.clone(), n).is_none_or(|last| last < n), "{topic}: {n} is out of order");
        }
    }
}

pub fn each(step: usize, every: usize, topic: &str) -> Vec<(String, &'static str)> {
    if step.is_multiple_of(every) { vec![(topic.to_owned(), "")] } else { Vec::new() }
}
