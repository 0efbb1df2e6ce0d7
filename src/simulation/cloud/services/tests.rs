use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;

const FROM: ConnectionId = ConnectionId(1);

/// What somebody does.
#[derive(Debug, Clone)]
enum Op {
    Create,
    Cancel,
    Delete,
    Send,
    StartNext,
    /// Of the job of this number, with this status and, perhaps, a step timer.
    Update(usize, &'static str, Option<u32>),
    Respond(usize, &'static str),
    /// So many seconds pass.
    Wait(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let status = prop::sample::select(vec!["IN_PROGRESS", "SUCCEEDED", "FAILED", "REJECTED"]);
    let op = prop_oneof![
        Just(Op::Create),
        Just(Op::Cancel),
        Just(Op::Delete),
        Just(Op::Send),
        Just(Op::StartNext),
        (0..6usize, status.clone(), prop::option::of(1..4u32))
            .prop_map(|(job, said, step)| Op::Update(job, said, step)),
        (0..6usize, status).prop_map(|(command, said)| Op::Respond(command, said)),
        (1..200u64).prop_map(Op::Wait),
    ];
    prop::collection::vec(op, 1..60)
}

struct World {
    services: Services,
    now: Instant,
    created: usize,
    sent: usize,
    asked: usize,
    answers: usize,
}

impl World {
    fn ask(&mut self, topic: String, body: &Value) {
        let payload = Bytes::from(body.to_string());
        self.services.hear(FROM, &Downlink { topic, payload, ..Downlink::default() }, self.now);
        self.asked += 1;
    }

    fn act(&mut self, op: &Op) {
        let now = self.now;
        match op {
            Op::Create => {
                self.created += 1;
                let job = Job { document: json!({"operation": "x"}), retries: 1, minutes: Some(2) };
                self.services.create(&format!("job-{}", self.created), &job, now);
            }
            Op::Cancel => self.services.open_jobs().first().into_iter().for_each(|job| self.services.cancel(job, now)),
            Op::Delete => self.services.open_jobs().first().into_iter().for_each(|job| self.services.delete(job, now)),
            Op::Send => {
                self.sent += 1;
                self.services.send(&format!("command-{}", self.sent), &json!({}), (MINUTE, false), now);
            }
            Op::StartNext => self.ask("$aws/things/gateway/jobs/start-next".to_owned(), &json!({})),
            Op::Update(job, status, step) => {
                let mut body = json!({"status": status});
                if let Some(minutes) = step {
                    body["stepTimeoutInMinutes"] = json!(minutes);
                }
                self.ask(format!("$aws/things/gateway/jobs/job-{job}/update"), &body);
            }
            Op::Respond(command, status) => {
                let topic = format!("$aws/commands/things/gateway/executions/command-{command}/response/json");
                self.ask(topic, &json!({"status": status}));
            }
            Op::Wait(seconds) => self.wait(Duration::from_secs(*seconds)),
        }
    }

    /// To the last of what is due within so long.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.services.timeout().filter(|at| *at <= until) {
            assert!(at >= self.now || self.services.due.is_empty(), "time goes on");
            self.now = at.max(self.now);
            self.services.handle_timeout(self.now);
            while let Some(said) = self.services.next_said() {
                assert_eq!(said.to.is_some(), is_answer(&said.message.topic), "{said:?}");
                self.answers += usize::from(said.to.is_some());
            }
        }
        self.now = until;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each request is answered once, an execution that is over stays so, and none is in progress for longer than it may be.
    #[test]
    fn executions_end_once_and_in_time(ops in ops(), seed: u64) {
        let services = Services::new(seed);
        let mut world = World { services, now: Instant::now(), created: 0, sent: 0, asked: 0, answers: 0 };
        for op in &ops {
            world.act(op);
        }
        world.wait(3 * MINUTE);
        prop_assert_eq!(world.asked, world.answers);
        for (identity, facts) in &world.services.records().jobs {
            let end = facts.iter().position(|fact| fact.is_terminal());
            prop_assert!(end.is_none_or(|end| facts[end + 1..].iter().all(|fact| fact.status == records::DELETED)));
            let last = facts.last().unwrap();
            prop_assert!(last.status != "IN_PROGRESS", "{identity:?}: {facts:?}");
        }
        for (id, sent) in &world.services.records().commands {
            prop_assert!(sent.is_over || sent.facts.last().unwrap().status == "TIMED_OUT", "{id}: {sent:?}");
        }
        // One that AWS tries again begins when the one before has failed or timed out.
        let jobs = &world.services.records().jobs;
        let numbers: BTreeMap<&str, i64> = jobs.keys().map(|(job, number)| (&**job, *number)).collect();
        for (job, number) in numbers.into_iter().filter(|(_, number)| *number > 1) {
            let before = &jobs[&(job.to_owned(), number - 1)];
            prop_assert!(before.iter().any(|fact| matches!(&*fact.status, "FAILED" | "TIMED_OUT")), "{before:?}");
        }
    }
}

#[test]
fn what_is_answered_badly_is_done_or_not() {
    let now = Instant::now();
    let manners = |change: fn(&mut Manners)| {
        let mut manners = Manners::default();
        change(&mut manners);
        manners
    };
    let rows = [
        (manners(|_| ()), "IN_PROGRESS", 1),
        (manners(|manners| manners.lost = 1.0), "IN_PROGRESS", 0),
        (manners(|manners| manners.dead = 1.0), "QUEUED", 0),
        (manners(|manners| manners.twice = 1.0), "IN_PROGRESS", 2),
        (manners(|manners| manners.throttles = 1.0), "QUEUED", 1),
        (manners(|manners| manners.refuses = 1.0), "QUEUED", 1),
    ];
    for (manners, status, answers) in rows {
        let mut world = World { services: Services::new(1), now, created: 0, sent: 0, asked: 0, answers: 0 };
        world.services.manners = manners.clone();
        world.act(&Op::Create);
        world.act(&Op::StartNext);
        world.wait(Duration::from_secs(1));
        let facts = &world.services.records().jobs[&("job-1".to_owned(), 1)];
        assert_eq!((&*facts.last().unwrap().status, world.answers), (status, answers), "{manners:?}");
        assert!(world.services.violations().is_empty());
    }
}
