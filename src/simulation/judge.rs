//! What has to hold, whatever happens: the promises of docs/durability.md and of the socket lines, as far as they can be told from
//! outside.

mod actions;
mod bridge;
mod fairness;
mod identity;
mod observers;
mod order;
mod readers;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::cloud::Cloud;
use super::cloud::message::Taken;
use super::plan::{HOUR, Plan};
use crate::store::Row;
use crate::time;
pub(super) use actions::Disturbance;
pub(super) use bridge::numbers_in;
pub(super) use fairness::Fairness;
use readers::Received;

/// So many violations are enough.
const ENOUGH: usize = 10;

/// So many lines a log may have in an hour, whatever happens: a page or two.
const LINES_AN_HOUR: u32 = 500;

thread_local! {
    /// Everything is told as it happens.
    static IS_TOLD: bool = std::env::var_os("GATEWIRE_SIMULATION_TELLS").is_some();
}

/// A line that a local program has sent.
#[derive(Debug, Clone)]
pub(super) struct SentLine {
    /// A number of its connection: those of different ones may overtake each other.
    pub(super) connection: u64,
    pub(super) topic: String,
    pub(super) qos: u8,
    pub(super) urgent: bool,
    pub(super) answer: Option<String>,
    /// The number of the last line that had been sent when it was answered.
    pub(super) answered_after: u64,
}

/// Everything that was seen outside the daemon.
#[derive(Default)]
pub(super) struct Judge {
    begun: Option<Instant>,
    lines: RefCell<BTreeMap<u64, SentLine>>,
    /// By forward.
    received: RefCell<BTreeMap<String, Received>>,
    /// The hour of the last line of the log, and how many lines it has had.
    logged: Cell<(u64, u32)>,
    lines_logged: Cell<u32>,
    violations: RefCell<Vec<String>>,
    /// What happened, in order: two runs of one seed must agree.
    history: RefCell<Vec<String>>,
    next_number: Cell<u64>,
    /// What the cloud has, as far as its list was read.
    taken: RefCell<(usize, BTreeSet<u64>)>,
    pub(super) bridge: bridge::OfBridge,
    pub(super) actions: actions::OfActions,
    pub(super) observers: observers::Observers,
    pub(super) identity: identity::OfIdentity,
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
        self.keeps_secrets(text);
        self.lines_logged.update(|lines| lines + 1);
        let hour = self.begun.map_or(0, |begun| time::since(begun).as_secs() / HOUR.as_secs());
        let (before, count) = self.logged.get();
        let count = if hour == before { count + 1 } else { 1 };
        self.logged.set((hour, count));
        if count == LINES_AN_HOUR {
            self.violated(format!("{LINES_AN_HOUR} lines in the log in an hour, the last of them: {text}"));
        }
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

    /// How many lines were logged.
    pub(super) fn lines(&self) -> u32 {
        self.lines_logged.get()
    }

    /// Whether there is no use in going on.
    pub(super) fn has_enough(&self) -> bool {
        self.violations.borrow().len() >= ENOUGH
    }

    /// A program sends a line.
    pub(super) fn sends(&self, number: u64, connection: u64, (topic, qos, urgent): (&str, u8, bool)) {
        let topic = topic.to_owned();
        let line = SentLine { connection, topic, qos, urgent, answer: None, answered_after: 0 };
        self.lines.borrow_mut().insert(number, line);
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
        line.answered_after = self.next_number.get();
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

    /// A reader has got a message for good.
    pub(super) fn received(&self, forward: &str, number: u64) {
        self.received.borrow_mut().entry(forward.to_owned()).or_default().got(number);
    }

    /// A reader was given a message that isn't marked as one that may have come before, on this connection, which was made then.
    pub(super) fn received_as_new(&self, forward: &str, number: u64, connection: (u64, Instant)) {
        self.received.borrow_mut().entry(forward.to_owned()).or_default().got_as_new(number, connection, time::now());
    }

    /// At the end, when everything has drained. In `quarantine` are messages that the cloud has refused.
    pub(super) fn at_the_end(&self, cloud: &Cloud, plan: &Plan, forwards: &[(&str, &str)], quarantine: &[Row]) {
        let taken: BTreeSet<u64> = cloud.taken().iter().filter_map(number_of).collect();
        let kept: BTreeSet<u64> = quarantine.iter().filter_map(|row| number_in(&row.payload)).collect();
        for (number, line) in self.lines.borrow().iter() {
            let is_promised = matches!(line.answer.as_deref(), Some("delivered" | "stored"));
            if is_promised && !taken.contains(number) && !kept.contains(number) {
                self.violated(format!("{number} to {} was answered {:?} and never came", line.topic, line.answer));
            }
            if line.answer.as_deref() == Some("rejected") && !plan.may_reject(&line.topic) {
                self.violated(format!("{number} to {} was rejected, and nothing like it was refused", line.topic));
            }
        }
        let set_aside: BTreeSet<&str> = quarantine.iter().map(|row| row.topic.as_str()).collect();
        for topic in set_aside.into_iter().filter(|topic| !plan.may_refuse(topic)) {
            self.violated(format!("messages to {topic} were set aside, and nothing like them was refused"));
        }
        self.readers(cloud, forwards);
        for fault in cloud.faults() {
            self.violated(format!("MQTT: {fault}"));
        }
    }

    /// What the readers have to have got, and how often.
    fn readers(&self, cloud: &Cloud, forwards: &[(&str, &str)]) {
        let (none, received) = (Received::default(), self.received.borrow());
        for offered in cloud.offered() {
            let Some(number) = number_in(&offered.message.payload) else { continue };
            for (forward, prefix) in forwards {
                let received = received.get(*forward).unwrap_or(&none);
                if !offered.message.topic.starts_with(prefix) {
                    continue;
                }
                let is_missing = offered.is_acknowledged() && !received.has(number);
                if is_missing && !self.observers.excuse(forward, number) {
                    self.violated(format!("{number} was acknowledged, and no reader of {forward} has got it"));
                }
                let as_new = received.as_new(number);
                if as_new > offered.sent {
                    let sent = offered.sent;
                    self.violated(format!(
                        "{number} was given as new {as_new} times to readers of {forward}, and came {sent} times"
                    ));
                }
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
