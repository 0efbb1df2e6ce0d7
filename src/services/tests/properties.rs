//! Whatever the service and the network do: each request ends once, with its own answer; nothing is sent that can't be answered; and
//! once all is well, nothing is outstanding.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;

use super::model::{Model, Mood};
use super::names;
use crate::message::TopicFilter;
use crate::services::{Answer, Asker, Event, Request, RequestId, Requests, Service, retry};

#[derive(Debug, Clone)]
enum Step {
    Ask {
        topic: u8,
        with_token: bool,
    },
    Withdraw(usize),
    /// CONNACK, and the SUBACKs.
    Settled,
    /// Without all of the filters.
    SettledInPart,
    Cut,
    /// Another life of the daemon: its requests are forgotten, what the service has to say to it isn't.
    Restart,
    Refuse,
    Reload,
    /// So many are sent.
    Send(usize),
    Look(usize, Mood),
    Deliver {
        which: usize,
        again: bool,
    },
    Pass(u64),
}

fn mood() -> impl Strategy<Value = Mood> {
    prop_oneof![
        3 => Just(Mood::Accepts),
        1 => Just(Mood::Rejects),
        1 => Just(Mood::Throttles),
        1 => Just(Mood::Fails),
        1 => Just(Mood::Silent),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3u8, prop::bool::weighted(0.8)).prop_map(|(topic, with_token)| Step::Ask { topic, with_token }),
        1 => any::<usize>().prop_map(Step::Withdraw),
        4 => Just(Step::Settled),
        1 => Just(Step::SettledInPart),
        2 => Just(Step::Cut),
        1 => Just(Step::Restart),
        1 => Just(Step::Refuse),
        1 => Just(Step::Reload),
        8 => (1..4usize).prop_map(Step::Send),
        6 => (any::<usize>(), mood()).prop_map(|(which, mood)| Step::Look(which, mood)),
        6 => (any::<usize>(), prop::bool::weighted(0.3)).prop_map(|(which, again)| Step::Deliver { which, again }),
        4 => (0..40_000u64).prop_map(Step::Pass),
    ]
}

#[derive(Debug, Default)]
struct Known {
    n: u64,
    /// The token of the last copy that was sent.
    token: Option<String>,
    failures: u32,
    /// It mustn't be sent before.
    not_before: Option<Instant>,
}

struct World {
    requests: Requests,
    model: Model,
    now: Instant,
    lives: u64,
    /// All filters stand, on this connection.
    is_subscribed: bool,
    is_refused: bool,
    asked: u64,
    known: BTreeMap<RequestId, Known>,
    ended: BTreeSet<u64>,
    /// All tokens of attempts that were over: none may be seen again.
    used_up: BTreeSet<String>,
}

fn filters() -> Vec<TopicFilter> {
    Service::Jobs.filters(names("t")).unwrap()
}

impl World {
    fn new() -> World {
        let mut world = World {
            requests: Requests::new(0),
            model: Model::default(),
            now: Instant::now(),
            lives: 0,
            is_subscribed: false,
            is_refused: false,
            asked: 0,
            known: BTreeMap::new(),
            ended: BTreeSet::new(),
            used_up: BTreeSet::new(),
        };
        world.requests.configure([(Service::Jobs, filters())].into(), world.now);
        world
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Ask { topic, with_token } => self.ask(topic, with_token),
            Step::Withdraw(which) => {
                let id = self.known.keys().nth(which.checked_rem(self.known.len()).unwrap_or(0)).copied();
                if let Some(id) = id {
                    self.requests.withdraw(id);
                    self.known.remove(&id);
                }
            }
            Step::Settled => {
                self.requests.settled(filters().iter(), self.now);
                self.is_subscribed = !self.is_refused;
            }
            Step::SettledInPart => {
                self.requests.settled(filters()[1..].iter(), self.now);
                self.is_subscribed = false;
            }
            Step::Cut => {
                self.requests.connection_lost(self.now);
                self.is_subscribed = false;
            }
            Step::Restart => {
                self.lives += 1;
                self.requests = Requests::new(self.lives);
                self.requests.configure([(Service::Jobs, filters())].into(), self.now);
                self.known.clear();
                (self.is_subscribed, self.is_refused) = (false, false);
            }
            Step::Refuse => {
                self.requests.filter_refused(&filters()[1], "closed", self.now);
                (self.is_subscribed, self.is_refused) = (false, true);
            }
            Step::Reload => {
                self.requests.reload(Asker::Executions, self.now);
                self.is_refused = false;
            }
            Step::Send(count) => (0..count).for_each(|_| self.send()),
            Step::Look(which, mood) => self.model.look(which, mood),
            Step::Deliver { which, again } => self.deliver(which, again),
            Step::Pass(milliseconds) => self.now += Duration::from_millis(milliseconds),
        }
        // As a task would that wakes late.
        if self.requests.timeout().is_some_and(|at| at <= self.now) {
            self.requests.handle_timeout(self.now);
        }
        self.take_events();
        assert!(self.is_subscribed || self.requests.sendable().next().is_none(), "an answer could be lost");
    }

    fn ask(&mut self, topic: u8, with_token: bool) {
        self.asked += 1;
        let body = json!({"n": self.asked}).as_object().unwrap().clone();
        // Those without a token have topics of their own.
        let kind = if with_token { "start-next" } else { "get" };
        let request = Request::new(Service::Jobs, &format!("$aws/things/t/jobs/{topic}/{kind}"), body).unwrap();
        let request = if with_token { request } else { request.without_token() };
        if let Some(id) = self.requests.ask(request) {
            self.known.insert(id, Known { n: self.asked, ..Known::default() });
        }
    }

    fn send(&mut self) {
        let Some((id, _, message)) = self.requests.sendable().next() else { return };
        let message = message.clone();
        let body: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        let known = self.known.get_mut(&id).expect("a request that was asked");
        assert_eq!(body["n"].as_u64(), Some(known.n));
        assert!(known.not_before.is_none_or(|at| at <= self.now), "it was to wait");
        if let Some(token) = body["clientToken"].as_str() {
            assert!(!self.used_up.contains(token), "a token of an attempt that is over");
            known.token = Some(token.to_owned());
        }
        self.requests.sent(id, self.now);
        self.model.heard.push(message);
    }

    fn deliver(&mut self, which: usize, again: bool) {
        let Some(answer) = self.model.take(which, again) else { return };
        let of_attempt = self.known.values().find(|known| known.token.is_some() && known.token == answer.token);
        let is_ours = of_attempt.is_some();
        let is_taken = self.requests.received(&answer.topic, &answer.payload, self.now);
        if answer.token.is_some() {
            assert_eq!(is_taken, is_ours, "{answer:?}");
        }
        let mut ends = 0;
        while let Some(event) = self.requests.next_event(Asker::Executions) {
            if let Event::Answered(id, said) = &event {
                ends += 1;
                let n = self.known[id].n;
                let is_final = matches!(answer.mood, Mood::Accepts | Mood::Rejects);
                // Without a token a late answer to an older request for the same is as good.
                assert!(is_final && (answer.token.is_none() || n == answer.n), "{answer:?} to {n}");
                assert_eq!(matches!(said, Answer::Accepted(_)), answer.mood == Mood::Accepts);
            }
            self.took(event);
        }
        assert!(ends <= 1);
    }

    fn take_events(&mut self) {
        while let Some(event) = self.requests.next_event(Asker::Executions) {
            assert!(!matches!(event, Event::Answered(..)), "nothing was answered");
            self.took(event);
        }
    }

    fn took(&mut self, event: Event) {
        match event {
            Event::Answered(id, _) => {
                let known = self.known.remove(&id).expect("one that was asked, and isn't answered");
                assert!(self.ended.insert(known.n), "{} has ended twice", known.n);
                self.used_up.extend(known.token);
            }
            Event::Delayed(id, _, wait) => {
                let known = self.known.get_mut(&id).expect("one that was asked");
                assert!(wait >= Duration::from_millis(500) && wait <= retry::ceiling(known.failures), "{wait:?}");
                known.failures += 1;
                known.not_before = Some(self.now + wait);
                self.used_up.extend(known.token.take());
            }
            Event::Ready(_) | Event::Refused(..) => {}
        }
    }

    /// Everything works from now on.
    fn calm(&mut self) {
        self.step(&Step::Reload);
        self.step(&Step::Settled);
        let begin = self.now;
        while self.requests.outstanding() > 0 {
            assert!(self.now < begin + Duration::from_secs(3600), "{:?}", self.requests);
            for _ in 0..200 {
                self.step(&Step::Send(1));
                self.step(&Step::Look(0, Mood::Accepts));
                self.step(&Step::Deliver { which: 0, again: false });
            }
            if let Some(at) = self.requests.timeout() {
                self.now = self.now.max(at);
            }
            self.step(&Step::Pass(0));
        }
        assert!(self.known.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_request_ends_once_with_its_own_answer(steps in prop::collection::vec(step(), 1..200)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.calm();
    }
}
