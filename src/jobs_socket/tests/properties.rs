//! Clients that do anything, in any order.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::Value;

use super::{identity, offer};
use crate::jobs_socket::Said;
use crate::jobs_socket::desk::{ClientId, Desk};
use crate::services::jobs::Identity;
use crate::socket::Line;

#[derive(Debug, Clone)]
enum Step {
    Connect {
        observer: bool,
    },
    Go(usize),
    SendNoMore(usize),
    /// The client says something of a job: of which execution, if that; a result or progress.
    Say {
        client: usize,
        job: usize,
        execution: Option<i64>,
        ends: bool,
    },
    Nonsense(usize),
    /// An execution that was never offered before.
    Offer,
    /// The one before it again, as after a restart.
    OfferAgain,
    Cancel,
    Take(usize),
    Tell,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop::bool::weighted(0.2).prop_map(|observer| Step::Connect { observer }),
        2 => (0..4usize).prop_map(Step::Go),
        1 => (0..4usize).prop_map(Step::SendNoMore),
        8 => (0..4usize, 0..2usize, prop::option::of(1..4i64), any::<bool>())
            .prop_map(|(client, job, execution, ends)| Step::Say { client, job, execution, ends }),
        1 => (0..4usize).prop_map(Step::Nonsense),
        3 => Just(Step::Offer),
        1 => Just(Step::OfferAgain),
        2 => Just(Step::Cancel),
        6 => (0..4usize).prop_map(Step::Take),
        3 => Just(Step::Tell),
    ]
}

/// A client, and what it knows by the lines that it has read.
struct Client {
    id: ClientId,
    is_observer: bool,
    speaks: bool,
    /// The job that it was given, and that wasn't cancelled.
    has: Option<Identity>,
    errors: usize,
}

#[derive(Default)]
struct World {
    desk: Desk,
    clients: Vec<Client>,
    offered: Option<Identity>,
    offers: i64,
    last: Option<Identity>,
    /// How often each was offered and had a result taken.
    results: BTreeMap<Identity, (usize, usize)>,
    /// A result that isn't told yet.
    untold: Option<Identity>,
}

const JOBS: [&str; 2] = ["a", "b"];

impl World {
    fn read(&mut self, index: usize, now: Instant) {
        let client = &mut self.clients[index];
        let text = String::from_utf8(self.desk.unwritten(client.id).to_vec()).unwrap();
        self.desk.wrote(client.id, text.len(), now);
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let job = || line["job"].as_str().unwrap().to_owned();
            if line.get("document").is_some() {
                assert!(client.has.is_none(), "it is given nothing before the last is over");
                assert!(client.speaks && !client.is_observer);
                client.has = Some(identity(&job(), line["execution"].as_i64().unwrap()));
            } else if line["cancelled"] == true {
                assert_eq!(client.has.take().unwrap().job, job());
            } else {
                assert!(line["error"] == "not_yours" || line["error"] == "bad_line", "{line}");
                client.errors += 1;
            }
        }
    }

    fn say(&mut self, index: usize, line: &str, now: Instant) -> usize {
        self.read(index, now);
        let before = self.clients[index].errors;
        self.desk.heard(self.clients[index].id, &Line::Text(line), now);
        self.read(index, now);
        self.clients[index].errors - before
    }

    fn begin(&mut self, identity: Identity, now: Instant) {
        if [&self.offered, &self.untold].contains(&&Some(identity.clone())) {
            return self.desk.offer(offer(&identity.job, identity.number), now);
        }
        self.desk.offer(offer(&identity.job, identity.number), now);
        self.results.entry(identity.clone()).or_default().0 += 1;
        (self.offered, self.untold) = (Some(identity.clone()), None);
        self.last = Some(identity);
    }

    fn step(&mut self, step: &Step, now: Instant) {
        let which = |index: usize| index.checked_rem(self.clients.len());
        match *step {
            Step::Connect { observer } => {
                let id = self.desk.connected(observer, now);
                self.clients.push(Client { id, is_observer: observer, speaks: true, has: None, errors: 0 });
            }
            Step::Go(index) => {
                if let Some(index) = which(index) {
                    self.desk.gone(self.clients.remove(index).id, now);
                }
            }
            Step::SendNoMore(index) => {
                if let Some(index) = which(index) {
                    self.read(index, now);
                    let client = &mut self.clients[index];
                    (client.speaks, client.has) = (false, None);
                    self.desk.sends_no_more(client.id, now);
                }
            }
            Step::Say { client, job, execution, ends } => {
                let Some(index) = which(client) else { return };
                self.read(index, now);
                let said = if ends { "\"result\":\"succeeded\"" } else { "\"progress\":{\"a\":\"b\"}" };
                let number = execution.map_or_else(String::new, |number| format!("\"execution\":{number},"));
                let job = JOBS[job];
                let has = self.clients[index].has.clone();
                let is_its = has.filter(|has| has.job == job && execution.is_none_or(|number| number == has.number));
                let errors = self.say(index, &format!("{{\"job\":\"{job}\",{number}{said}}}"), now);
                assert_eq!(errors, usize::from(is_its.is_none()));
                if let Some(has) = is_its.filter(|_| ends) {
                    assert_eq!(self.offered.take(), Some(has.clone()));
                    self.clients[index].has = None;
                    self.results.entry(has.clone()).or_default().1 += 1;
                    self.untold = Some(has);
                }
            }
            Step::Nonsense(index) => {
                if let Some(index) = which(index) {
                    assert_eq!(self.say(index, "nonsense", now), 1);
                }
            }
            Step::Offer => {
                self.offers += 1;
                self.begin(identity(JOBS[self.offers as usize % 2], self.offers / 2 + 1), now);
            }
            Step::OfferAgain => {
                if let Some(last) = self.last.clone() {
                    self.begin(last, now);
                }
            }
            Step::Cancel => {
                let Some(last) = self.last.clone() else { return };
                assert_eq!(self.desk.cancel(&last, now), self.offered.take().is_some());
                self.untold = None;
            }
            Step::Take(index) => {
                if let Some(index) = which(index) {
                    self.read(index, now);
                }
            }
            Step::Tell => match self.desk.next_said(now) {
                Some(Said::Ended(identity, _)) => assert_eq!(self.untold.take(), Some(identity)),
                Some(Said::Progress(identity, _)) => assert_eq!(self.offered, Some(identity)),
                Some(Said::Wanted(_)) => panic!("it was noted when it was offered"),
                None => assert_eq!(self.untold, None),
            },
        }
    }

    fn check(&self) {
        let having: Vec<&Client> = self.clients.iter().filter(|client| self.desk.has_job(client.id)).collect();
        let can_have = self.clients.iter().any(|client| client.speaks && !client.is_observer);
        assert_eq!(having.len(), usize::from(self.offered.is_some() && can_have), "one reader has it, if there is one");
        assert!(having.iter().all(|client| client.speaks && !client.is_observer));
        assert!(self.results.values().all(|(offered, ended)| ended <= offered));
    }

    /// Whatever was before: a reader that does what it should ends the job.
    fn end(&mut self, now: Instant) {
        self.begin(identity("last", 1), now);
        self.step(&Step::Connect { observer: false }, now);
        while self.clients.len() > 1 {
            self.step(&Step::Go(0), now);
        }
        assert_eq!(self.say(0, "{\"job\":\"last\",\"execution\":1,\"result\":\"succeeded\"}", now), 0);
        assert!(matches!(self.desk.next_said(now), Some(Said::Ended(of, _)) if of == identity("last", 1)));
    }
}

proptest! {
    #[test]
    fn a_job_is_at_one_reader_and_only_that_ones_word_counts(steps in prop::collection::vec(step(), 0..80)) {
        let mut world = World::default();
        let mut now = Instant::now();
        for step in &steps {
            world.step(step, now);
            world.check();
            now += Duration::from_millis(300);
        }
        world.end(now);
    }
}
