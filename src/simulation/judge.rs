//! What has to hold, whatever happens: the promises of docs/durability.md and of the socket lines, as far as they can be told from
//! outside.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::cloud::Cloud;
use super::cloud::message::Taken;
use crate::time;

thread_local! {
    /// Everything is told as it happens.
    static IS_TOLD: bool = std::env::var_os("GATEWIRE_SIMULATION_TELLS").is_some();
}

/// A line that a local program has sent.
#[derive(Debug, Clone)]
pub(super) struct SentLine {
    pub(super) topic: String,
    pub(super) qos: u8,
    pub(super) answer: Option<String>,
}

/// Everything that was seen outside the daemon.
#[derive(Default)]
pub(super) struct Judge {
    begun: Option<Instant>,
    lines: RefCell<BTreeMap<u64, SentLine>>,
    /// By forward: which messages its readers have got, and how often as new.
    received: RefCell<BTreeMap<String, BTreeMap<u64, u64>>>,
    violations: RefCell<Vec<String>>,
    /// What happened, in order: two runs of one seed must agree.
    history: RefCell<Vec<String>>,
    next_number: Cell<u64>,
    /// What the cloud has, as far as its list was read.
    taken: RefCell<(usize, BTreeSet<u64>)>,
}

impl Judge {
    pub(super) fn new() -> Judge {
        Judge { begun: Some(time::now()), ..Judge::default() }
    }

    /// A number that no other message has.
    pub(super) fn number(&self) -> u64 {
        self.next_number.set(self.next_number.get() + 1);
        self.next_number.get()
    }

    pub(super) fn note(&self, what: String) {
        if IS_TOLD.with(|told| *told) {
            eprintln!("{:.3} {what}", self.begun.map_or(0.0, |begun| time::since(begun).as_secs_f64()));
        }
        self.history.borrow_mut().push(what);
    }

    /// The daemon has logged something.
    pub(super) fn logged(&self, event: &str, text: &str) {
        if IS_TOLD.with(|told| *told) {
            eprintln!("  {text}");
        }
        self.note(format!("logged {event}"));
    }

    pub(super) fn history(&self) -> Vec<String> {
        self.history.borrow().clone()
    }

    pub(super) fn violated(&self, what: String) {
        self.note(format!("VIOLATION: {what}"));
        self.violations.borrow_mut().push(what);
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.violations.borrow().clone()
    }

    /// A program sends a line.
    pub(super) fn sends(&self, number: u64, topic: &str, qos: u8) {
        self.lines.borrow_mut().insert(number, SentLine { topic: topic.to_owned(), qos, answer: None });
    }

    /// Whether the cloud has it.
    fn is_taken(&self, number: u64, cloud: &Cloud) -> bool {
        let (read, taken) = &mut *self.taken.borrow_mut();
        taken.extend(cloud.taken()[*read..].iter().filter_map(number_of));
        *read = cloud.taken().len();
        taken.contains(&number)
    }

    /// A line was answered.
    pub(super) fn answered(&self, number: u64, answer: &str, cloud: &Cloud) {
        let mut lines = self.lines.borrow_mut();
        let Some(line) = lines.get_mut(&number) else {
            return self.violated(format!("an answer to {number}, which nobody has sent: {answer}"));
        };
        if let Some(before) = line.answer.replace(answer.to_owned()) {
            self.violated(format!("line {number} was answered twice: {before}, {answer}"));
        }
        let is_possible = match answer {
            "delivered" => line.qos == 1,
            "sent" => line.qos == 0,
            _ => true,
        };
        if !is_possible {
            self.violated(format!("line {number} of QoS {} was answered {answer}", line.qos));
        }
        if answer == "delivered" && !self.is_taken(number, cloud) {
            self.violated(format!("line {number} was answered delivered before the cloud had it"));
        }
    }

    /// A reader has got a message.
    pub(super) fn received(&self, forward: &str, number: u64) {
        *self.received.borrow_mut().entry(forward.to_owned()).or_default().entry(number).or_default() += 1;
    }

    /// At the end, when everything has drained. `is_refused` says of which topics the cloud may have refused messages.
    pub(super) fn at_the_end(&self, cloud: &Cloud, forwards: &[(&str, &str)], is_refused: impl Fn(&str) -> bool) {
        let taken: BTreeSet<u64> = cloud.taken().iter().filter_map(number_of).collect();
        for (number, line) in self.lines.borrow().iter() {
            let is_promised = matches!(line.answer.as_deref(), Some("delivered" | "stored"));
            if is_promised && !taken.contains(number) && !is_refused(&line.topic) {
                self.violated(format!("{number} to {} was answered {:?} and never came", line.topic, line.answer));
            }
        }
        for offered in cloud.offered().iter().filter(|offered| offered.is_acknowledged()) {
            let Some(number) = number_in(&offered.message.payload) else { continue };
            for (forward, prefix) in forwards {
                let is_for_it = offered.message.topic.starts_with(prefix);
                let received = self.received.borrow();
                let has_it = received.get(*forward).is_some_and(|received| received.contains_key(&number));
                if is_for_it && !has_it {
                    self.violated(format!("{number} was acknowledged, and no reader of {forward} has got it"));
                }
            }
        }
        for fault in cloud.faults() {
            self.violated(format!("MQTT: {fault}"));
        }
    }

    /// What was accepted first of a topic has to come first, where nothing was refused.
    pub(super) fn order(&self, cloud: &Cloud) {
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let lines = self.lines.borrow();
        for taken in cloud.taken() {
            let Some(number) = number_of(taken).filter(|number| lines.get(number).is_some_and(|line| line.qos == 1))
            else {
                continue;
            };
            if !seen.insert(number) {
                continue;
            }
            let before = last.insert(&taken.topic, number).unwrap_or(0);
            if before > number {
                self.violated(format!("{number} to {} came after {before}, which was accepted later", taken.topic));
            }
        }
    }
}

fn number_of(taken: &Taken) -> Option<u64> {
    number_in(&taken.payload)
}

/// The number in a payload of ours, such as `{"n":17,..}`.
pub(super) fn number_in(payload: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(payload).ok()?;
    let digits = text.strip_prefix("{\"n\":")?;
    digits[..digits.find([',', '}'])?].parse().ok()
}
