//! A gateway with Commands, of which anything may happen to: its link, its disk, its daemon, its actions.

mod calm;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;

use super::cloud::{Cloud, Mood};
use crate::message::{AckToken, Inbound, Properties, Qos, Topic, TopicFilter};
use crate::services::commands::execution::Status;
use crate::services::commands::{
    Commands, Effect, Execution, Fate, Journal, Outcome, Reason, RecordId, Stage, Unanswered,
};
use crate::services::jobs::Details;
use crate::services::{Asker, Event, Names, RequestId, Requests, Service};

/// What a payload asks for, and whether there is an action for it.
pub(super) const LISTED: &str = "restart";
pub(super) const UNLISTED: &str = "explode";
/// With details that AWS doesn't take.
pub(super) const BAD_DETAILS: &str = "restart badly";

pub(super) const MAX_AGE: Duration = Duration::from_secs(300);

pub(super) struct World {
    pub(super) requests: Requests,
    pub(super) commands: Commands,
    pub(super) cloud: Cloud,
    pub(super) start: Instant,
    pub(super) now: Instant,
    lives: u64,
    pub(super) is_connected: bool,
    /// What IoT Core has no PUBACK for: it sends it again.
    pub(super) unacknowledged: Vec<String>,
    tokens: BTreeMap<AckToken, String>,
    last_token: u64,
    /// What is on the disk; what is to be.
    pub(super) disk: Journal,
    writes: VecDeque<(RecordId, Journal)>,
    /// The action that runs.
    pub(super) action: Option<Execution>,
    /// Those that wait for their turn.
    queue: VecDeque<String>,
    pub(super) begun: BTreeSet<String>,
    /// What may be told of those that were begun.
    outcomes: BTreeMap<String, Vec<Status>>,
    pub(super) over: BTreeMap<String, Fate>,
    pub(super) troubles: usize,
    /// Of requests that are tried again later.
    delays: usize,
    pub(super) dropped: Vec<Unanswered>,
    /// The next release is of one that isn't answered.
    is_dropping: bool,
    /// Those whose journal couldn't be written at once.
    is_unwritable: bool,
}

pub(super) fn filters() -> Vec<TopicFilter> {
    Service::Commands.filters(Names { thing: "t", template: "" }).unwrap()
}

pub(super) fn request(topic: &str, payload: &[u8], expires_in: Option<u32>, wall: i64) -> Inbound {
    Inbound {
        topic: Topic::received(topic),
        payload: Bytes::copy_from_slice(payload),
        qos: Qos::AtLeastOnce,
        retain: false,
        duplicate: false,
        received_at: Timestamp::from_second(wall).unwrap(),
        properties: expires_in.map(|_| Arc::new(Properties { expires_in, ..Properties::default() })),
    }
}

impl World {
    pub(super) fn new() -> World {
        let now = Instant::now();
        let mut world = World {
            requests: Requests::new(0),
            commands: Commands::new("t", MAX_AGE, Journal::default(), now, 0),
            cloud: Cloud::default(),
            start: now,
            now,
            lives: 0,
            is_connected: false,
            unacknowledged: Vec::new(),
            tokens: BTreeMap::new(),
            last_token: 0,
            disk: Journal::default(),
            writes: VecDeque::new(),
            action: None,
            queue: VecDeque::new(),
            begun: BTreeSet::new(),
            outcomes: BTreeMap::new(),
            over: BTreeMap::new(),
            troubles: 0,
            delays: 0,
            dropped: Vec::new(),
            is_dropping: false,
            is_unwritable: false,
        };
        world.requests.configure([(Service::Commands, filters())].into(), world.now);
        world
    }

    fn wall(&self) -> i64 {
        1_000_000 + self.now.duration_since(self.start).as_secs().cast_signed()
    }

    /// Somebody sends a command, which has so much time.
    pub(super) fn create(&mut self, payload: &'static str, seconds: Option<u64>) {
        let expires_at = seconds.map(|seconds| self.now + Duration::from_secs(seconds));
        let id = self.cloud.create(payload, expires_at);
        self.unacknowledged.push(id);
    }

    pub(super) fn connect(&mut self, was_down: Option<Duration>) {
        self.is_connected = true;
        // What waited in the session comes before anything is sent.
        for (topic, payload) in std::mem::take(&mut self.cloud.on_its_way) {
            self.requests.received(&topic, &payload, self.now);
        }
        self.commands.connected(was_down, self.now);
        // That a daemon was seen: nothing waits for it.
        let noted = self.commands.next_effect();
        assert!(noted.is_none_or(|effect| matches!(effect, Effect::Record(..))));
        self.requests.settled(filters().iter(), self.now);
        self.go_on();
    }

    /// The link is lost, and what was on it with `is_lost`.
    pub(super) fn cut(&mut self, is_lost: bool) {
        self.is_connected = false;
        self.tokens.clear();
        self.requests.connection_lost(self.now);
        if is_lost {
            self.cloud.heard.clear();
            self.cloud.on_its_way.clear();
        }
        self.go_on();
    }

    /// The daemon is killed, and with it the action; so many writes reach the disk all the same. AWS looks at what it was told.
    pub(super) fn kill(&mut self, written: usize) {
        for (_, journal) in self.writes.drain(..).take(written) {
            self.disk = journal;
        }
        while !self.cloud.heard.is_empty() {
            self.cloud.serve(0, Mood::Works);
        }
        self.lives += 1;
        self.requests = Requests::new(self.lives);
        self.requests.configure([(Service::Commands, filters())].into(), self.now);
        self.tokens.clear();
        self.queue.clear();
        (self.is_connected, self.action) = (false, None);
        // As the next life reads it.
        let journal = Journal::read(&self.disk.text());
        assert_eq!(journal, self.disk);
        self.commands = Commands::new("t", MAX_AGE, journal, self.now, self.wall());
        self.go_on();
    }

    /// All that may be sent.
    pub(super) fn send(&mut self) {
        let sendable: Vec<(RequestId, _)> = self.requests.sendable().map(|(id, _, sent)| (id, sent.clone())).collect();
        assert!(self.is_connected || sendable.is_empty());
        for (id, message) in sendable {
            self.requests.sent(id, self.now);
            self.cloud.heard.push(message);
        }
    }

    /// One of the requests that have no PUBACK comes, perhaps not for the first time.
    pub(super) fn bring(&mut self, which: usize) {
        let now = self.now;
        self.unacknowledged.retain(|id| self.cloud.command(id).expires_at.is_none_or(|at| at > now));
        let Some(index) = which.checked_rem(self.unacknowledged.len()).filter(|_| self.is_connected) else { return };
        let command = self.cloud.command(&self.unacknowledged[index]).clone();
        self.last_token += 1;
        let token = AckToken::new(self.last_token);
        self.tokens.insert(token, command.id.clone());
        let left = command.expires_at.map(|at| u32::try_from(at.duration_since(now).as_secs()).unwrap().max(1));
        let topic = format!("$aws/commands/things/t/executions/{}/request/json", command.id);
        let message = request(&topic, command.payload.as_bytes(), left, self.wall());
        let dropped = self.dropped.len();
        assert!(self.commands.received(&message, Some(token), now));
        self.go_on();
        if self.dropped.len() > dropped {
            self.cloud.delete(self.cloud.commands.iter().position(|other| other.id == command.id).unwrap());
        }
    }

    /// One of the answers comes.
    pub(super) fn deliver(&mut self, which: usize) {
        let Some(index) = which.checked_rem(self.cloud.on_its_way.len()).filter(|_| self.is_connected) else { return };
        let (topic, payload) = self.cloud.on_its_way.remove(index);
        self.requests.received(&topic, &payload, self.now);
        // A copy of it, at once: nothing is waited for.
        self.requests.received(&topic, &payload, self.now);
        self.go_on();
    }

    /// The oldest write ends.
    pub(super) fn written(&mut self, is_done: bool) {
        let Some((id, journal)) = self.writes.pop_front() else { return };
        match is_done {
            true => self.disk = journal.clone(),
            false => self.is_unwritable = true,
        }
        self.commands.recorded(id, is_done, &mut self.requests, self.now);
        self.go_on();
        // It is tried again, unless there is a newer one.
        if !is_done && self.writes.is_empty() {
            self.writes.push_back((id, journal));
        }
    }

    pub(super) fn end_action(&mut self, status: Status) {
        // With a payload it was begun; without, it has its turn.
        let Some(Execution { id, payload }) = self.action.take_if(|action| !action.payload.is_empty()) else { return };
        let details = match &*payload {
            BAD_DETAILS => Details::default().with("bad", "yes"),
            _ => Details::default().with("exit_code", "0"),
        };
        let outcome = match status {
            Status::Succeeded => Outcome::succeeded(details),
            _ => Outcome::failed(Reason::new("EXIT_CODE", "it exited with 1"), details),
        };
        self.outcomes.entry(id.clone()).or_default().push(outcome.status);
        self.commands.ended(&id, outcome, &mut self.requests, self.now);
        self.go_on();
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.go_on();
    }

    /// What follows of itself.
    pub(super) fn go_on(&mut self) {
        self.cloud.expire(self.now);
        if self.requests.timeout().is_some_and(|at| at <= self.now) {
            self.requests.handle_timeout(self.now);
        }
        if self.commands.timeout().is_some_and(|at| at <= self.now) {
            self.commands.handle_timeout(&mut self.requests, self.now);
        }
        loop {
            if let Some(effect) = self.commands.next_effect() {
                self.act(effect);
            } else if let Some(event) = self.requests.next_event(Asker::Executions) {
                match event {
                    Event::Ready(_) => self.commands.ready(&mut self.requests, self.now),
                    Event::Answered(id, answer) => {
                        assert!(self.commands.answered(id, answer, &mut self.requests, self.now));
                    }
                    Event::Delayed(id, rejection, _) => {
                        self.delays += 1;
                        self.commands.delayed(id, rejection.is_some(), &mut self.requests, self.now);
                    }
                    Event::Refused(..) => {}
                }
            } else if self.action.is_none()
                && let Some(id) = self.queue.pop_front()
            {
                // Its turn is taken by `Begin`, later.
                if self.commands.turn(&id, self.now) {
                    self.action = Some(Execution { id, payload: String::new() });
                }
            } else {
                return;
            }
        }
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Found(Execution { id, payload }) => match &*payload {
                UNLISTED => self.commands.reject(&id, Reason::new("NO_ACTION", "no action is called so")),
                _ => {
                    let is_its_turn = self.action.is_none() && self.queue.is_empty();
                    self.commands.accept(&id, is_its_turn);
                    match is_its_turn {
                        true => self.action = Some(Execution { id, payload: String::new() }),
                        false => self.queue.push_back(id),
                    }
                }
            },
            Effect::Record(id, journal) => self.writes.push_back((id, journal)),
            Effect::Release(token) => {
                let Some(id) = self.tokens.remove(&token) else { return };
                let is_on_disk = self.disk.entries().any(|entry| entry.execution == id);
                let is_dropped = std::mem::take(&mut self.is_dropping);
                let is_answered = || {
                    let command = self.cloud.command(&id);
                    let is_late = command.expires_at.is_some_and(|at| at <= self.now);
                    command.is_over || command.is_deleted || is_late || self.delays + self.troubles > 0
                };
                assert!(is_on_disk || (self.is_unwritable && is_answered()) || is_dropped, "{id} isn't on the disk");
                self.unacknowledged.retain(|other| *other != id);
            }
            Effect::Begin(execution) => {
                assert_ne!(execution.payload, UNLISTED);
                assert!(self.begun.insert(execution.id.clone()), "{execution:?} is begun twice");
                let stage = self.disk.entries().find(|entry| entry.execution == execution.id).map(|entry| &entry.stage);
                assert_eq!(stage, Some(&Stage::Begun { payload: execution.payload.clone() }), "not on the disk");
                let turn = self.action.replace(execution);
                assert_eq!(turn.map(|turn| turn.id), self.action.as_ref().map(|execution| execution.id.clone()));
            }
            Effect::Resume { execution: Execution { id, .. }, .. } => {
                // Perhaps it wasn't begun, after all: nobody knows.
                self.begun.insert(id.clone());
                self.outcomes.entry(id.clone()).or_default().push(Status::Failed);
                let outcome = Outcome::interrupted("gatewire was restarted");
                self.commands.ended(&id, outcome, &mut self.requests, self.now);
            }
            Effect::PassTurn(id) => {
                let turn = self.action.take();
                assert_eq!(turn.map(|turn| (turn.id, turn.payload)), Some((id, String::new())));
            }
            Effect::Over(id, fate) => {
                self.over.insert(id, fate);
            }
            Effect::Trouble(..) => self.troubles += 1,
            Effect::Dropped(why) => {
                self.dropped.push(why);
                self.is_dropping = true;
            }
        }
    }

    /// A bit of what there is to be done works.
    pub(super) fn go_well(&mut self) {
        self.bring(0);
        self.send();
        self.cloud.serve(0, Mood::Works);
        self.deliver(0);
        self.written(true);
        self.end_action(Status::Succeeded);
    }
}
