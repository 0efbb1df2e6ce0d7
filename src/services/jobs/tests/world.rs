//! A gateway with Jobs, of which anything may happen to: its link, its disk, its daemon, its actions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::cloud::{Cloud, Job, Mood, is_terminal};
use crate::message::TopicFilter;
use crate::services::jobs::{
    Accepted, Begun, Details, Effect, Execution, Fate, Identity, Jobs, Journal, Outcome, RecordId, Status,
};
use crate::services::{Asker, Event, Names, RequestId, Requests, Service};

/// What a document asks for, and whether there is an action for it.
pub(super) const LISTED: &str = "restart";
pub(super) const UNLISTED: &str = "explode";
/// With details that AWS doesn't take.
pub(super) const BAD_DETAILS: &str = "restart badly";

pub(super) struct World {
    pub(super) requests: Requests,
    pub(super) jobs: Jobs,
    pub(super) cloud: Cloud,
    pub(super) now: Instant,
    lives: u64,
    pub(super) is_connected: bool,
    /// What is on the disk; what is to be.
    disk: Journal,
    writes: VecDeque<(RecordId, Journal)>,
    /// The action that runs, or whose end isn't told yet.
    pub(super) action: Option<Execution>,
    pub(super) is_stopped: bool,
    pub(super) begun: BTreeSet<Identity>,
    /// What actions have come to, by themselves.
    outcomes: BTreeMap<Identity, Status>,
    /// Those whose journal couldn't be written at once: what is told of them may be forgotten.
    unrecorded: BTreeSet<Identity>,
    pub(super) over: Vec<(Identity, Fate)>,
    pub(super) troubles: usize,
}

pub(super) fn filters() -> Vec<TopicFilter> {
    Service::Jobs.filters(Names { thing: "t", template: "" }).unwrap()
}

impl World {
    pub(super) fn new() -> World {
        let mut world = World {
            requests: Requests::new(0),
            jobs: Jobs::new("t", Journal::default()),
            cloud: Cloud::default(),
            now: Instant::now(),
            lives: 0,
            is_connected: false,
            disk: Journal::default(),
            writes: VecDeque::new(),
            action: None,
            is_stopped: false,
            begun: BTreeSet::new(),
            outcomes: BTreeMap::new(),
            unrecorded: BTreeSet::new(),
            over: Vec::new(),
            troubles: 0,
        };
        world.requests.configure([(Service::Jobs, filters())].into(), world.now);
        world
    }

    pub(super) fn connect(&mut self) {
        self.is_connected = true;
        self.requests.settled(filters().iter(), self.now);
        self.go_on();
    }

    /// The link is lost, and what was on it with `is_lost`.
    pub(super) fn cut(&mut self, is_lost: bool) {
        self.is_connected = false;
        self.requests.connection_lost(self.now);
        if is_lost {
            self.cloud.heard.clear();
            self.cloud.on_its_way.clear();
        }
        self.go_on();
    }

    /// The daemon is killed, and with it the action; so many writes reach the disk all the same.
    pub(super) fn kill(&mut self, written: usize) {
        for (_, journal) in self.writes.drain(..).take(written) {
            self.disk = journal;
        }
        self.lives += 1;
        self.requests = Requests::new(self.lives);
        self.requests.configure([(Service::Jobs, filters())].into(), self.now);
        (self.is_connected, self.action, self.is_stopped) = (false, None, false);
        // As the next life reads it.
        self.jobs = Jobs::new("t", Journal::read(&self.disk.text()));
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

    /// One of the messages comes; a copy of it may come again.
    pub(super) fn deliver(&mut self, which: usize, again: bool) {
        if !self.is_connected {
            return;
        }
        let Some(index) = which.checked_rem(self.cloud.on_its_way.len()) else { return };
        let (topic, payload) = self.cloud.on_its_way[index].clone();
        if !again {
            self.cloud.on_its_way.remove(index);
        }
        match topic.as_str().ends_with("notify-next") {
            true => self.jobs.notified(&payload, &mut self.requests),
            false => {
                self.requests.received(&topic, &payload, self.now);
            }
        }
        self.go_on();
    }

    /// The oldest write ends.
    pub(super) fn written(&mut self, is_done: bool) {
        let Some((id, journal)) = self.writes.pop_front() else { return };
        if is_done {
            self.disk = journal.clone();
        } else {
            self.unrecorded.extend(self.jobs.current().map(|execution| execution.identity.clone()));
        }
        self.jobs.recorded(id, is_done, &mut self.requests, self.now);
        self.go_on();
        // It is tried again, unless there is a newer one.
        if !is_done && self.writes.is_empty() {
            self.writes.push_back((id, journal));
        }
    }

    pub(super) fn end_action(&mut self, status: Status) {
        let Some(execution) = self.action.take() else { return };
        let status = if self.is_stopped { Status::Failed } else { status };
        if !std::mem::take(&mut self.is_stopped) {
            self.outcomes.insert(execution.identity.clone(), status);
        }
        let details = match execution.document.contains(BAD_DETAILS) {
            true => Details::default().with("bad", "yes"),
            false => Details::default().with("exit_code", "0"),
        };
        self.jobs.ended(Outcome { status, details }, &mut self.requests, self.now);
        self.go_on();
    }

    pub(super) fn progress(&mut self) {
        self.jobs.progress(Details::default().with("step", "2"), &mut self.requests, self.now);
        self.go_on();
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.go_on();
    }

    /// What follows of itself.
    pub(super) fn go_on(&mut self) {
        if self.requests.timeout().is_some_and(|at| at <= self.now) {
            self.requests.handle_timeout(self.now);
        }
        if self.jobs.timeout().is_some_and(|at| at <= self.now) {
            self.jobs.handle_timeout(&mut self.requests, self.now);
        }
        loop {
            if let Some(effect) = self.jobs.next_effect() {
                self.act(effect);
            } else if let Some(event) = self.requests.next_event(Asker::Executions) {
                match event {
                    Event::Ready(_) => self.jobs.ready(&mut self.requests, self.now),
                    Event::Answered(id, answer) => {
                        self.jobs.answered(id, answer, &mut self.requests, self.now);
                    }
                    Event::Delayed(..) | Event::Refused(..) => {}
                }
            } else {
                return;
            }
        }
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Found(execution) => {
                assert!(self.action.is_none(), "one at a time");
                let details = Details::default().with("action", LISTED);
                match execution.document.contains(LISTED) {
                    true => {
                        let accepted = Accepted { step_minutes: Some(3), details };
                        self.jobs.accept(accepted, &mut self.requests, self.now);
                    }
                    false => self.jobs.decline(Status::Rejected, Details::default(), &mut self.requests, self.now),
                }
            }
            Effect::Record(id, journal) => self.writes.push_back((id, journal)),
            Effect::Begin(execution) => {
                assert!(execution.document.contains(LISTED), "{execution:?} isn't listed");
                assert!(self.begun.insert(execution.identity.clone()), "{execution:?} is begun twice");
                let on_disk = Some(Begun { execution: execution.clone(), outcome: None });
                assert_eq!(self.disk.current, on_disk, "it is begun before that is on the disk");
                assert!(self.action.replace(execution).is_none(), "one at a time");
            }
            Effect::Resume(execution) => {
                // Perhaps it wasn't begun, after all: nobody knows.
                self.begun.insert(execution.identity.clone());
                assert!(self.action.replace(execution).is_none(), "one at a time");
            }
            Effect::Stop(identity) => {
                assert_eq!(self.action.as_ref().map(|execution| &execution.identity), Some(&identity));
                self.is_stopped = true;
            }
            Effect::Over(identity, fate) => self.over.push((identity, fate)),
            Effect::Confirmed(identity) => {
                let current = self.jobs.current().map(|execution| &execution.identity);
                assert_eq!((current, self.action.is_some()), (Some(&identity), true), "its action is under way");
            }
            Effect::Trouble(..) => self.troubles += 1,
            Effect::Unreadable => panic!("all of it can be read"),
        }
    }

    /// Everything works from now on: after that nothing is left to be done.
    pub(super) fn calm(&mut self) {
        // A link that stands has to do.
        if !self.is_connected {
            self.connect();
        }
        let begin = self.now;
        while !self.is_done() {
            assert!(
                self.now < begin + Duration::from_secs(24 * 3600),
                "{:?}\n{:?}\n{:?}",
                self.jobs,
                self.requests,
                self.cloud
            );
            for _ in 0..50 {
                self.send();
                self.cloud.serve(0, Mood::Works);
                self.deliver(0, false);
                self.written(true);
                self.end_action(Status::Succeeded);
            }
            let next = [self.requests.timeout(), self.jobs.timeout()].into_iter().flatten().min();
            self.now = next.map_or(self.now, |at| at.max(self.now));
            self.go_on();
        }
        self.judge();
    }

    fn is_done(&self) -> bool {
        let is_quiet = self.cloud.heard.is_empty() && self.cloud.on_its_way.is_empty() && self.writes.is_empty();
        is_quiet
            && self.requests.outstanding() == 0
            && self.jobs.current().is_none()
            && self.cloud.jobs.iter().all(|job| is_terminal(&job.status))
    }

    /// No result was lost, and none made up.
    fn judge(&self) {
        for job in self.cloud.jobs.iter().chain(&self.cloud.gone).filter(|job| !job.by_others) {
            let Job { id, number, status, document, .. } = job;
            let identity = Identity { job: id.clone(), number: *number };
            let outcome = self.outcomes.get(&identity);
            let expected = match document.contains(LISTED) {
                true => outcome.map(|status| status.as_str()),
                false => Some("REJECTED"),
            };
            let is_forgotten = self.unrecorded.contains(&identity) && is_terminal(status);
            assert!(is_forgotten || Some(&**status) == expected, "{identity:?} is {status}, not {expected:?}");
        }
        assert_eq!(self.disk.current, None, "nothing is left on the disk");
    }
}
