//! AWS IoT Jobs: executions are taken one after the other, and what becomes of them is told. Pure: requests go to [`Requests`], what
//! else is to be done is an [`Effect`], and time is told.
//!
//! | phase of an execution | what AWS says | what is on the disk | it ends with |
//! |---|---|---|---|
//! | found | IN_PROGRESS, by start-next | nothing | whether there is an action for it |
//! | announcing | IN_PROGRESS | nothing | AWS accepts the first update: it isn't cancelled |
//! | recording | IN_PROGRESS | it is being written that it is begun | that is on the disk: now the action begins |
//! | running | IN_PROGRESS | it is begun | the action ends |
//! | resuming | perhaps something else | it is begun, by an earlier life of the daemon | AWS says that it is IN_PROGRESS |
//! | stopping | something else | it is begun | the action ends |
//! | result | IN_PROGRESS | its result | AWS accepts the result, or doesn't want one |
//!
//! So an action isn't begun twice: what isn't on the disk wasn't begun, and what is there as begun isn't begun again, but resumed.
//! And no result is lost: it is on the disk before it is told, until it is accepted.
//!
//! A job that is cancelled or deleted isn't announced as such. But whatever changes the first pending execution makes AWS send
//! notify-next, so that one that names another job, or none, is a reason to ask; so is each new connection.
//!
//! Source: "Jobs device MQTT API", "Jobs workflow" in the AWS IoT developer guide.

mod answers;
mod details;
mod effect;
mod execution;
mod journal;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Request, RequestId, Requests, Service};
pub(crate) use details::{CERTIFICATE_ROTATOR, Details, taken_text};
pub(crate) use effect::{Accepted, Effect, Fate, RecordId};
pub(crate) use execution::{Execution, Identity, Outcome, Status};
pub(crate) use journal::{Begun, Journal};

/// Jobs of one thing.
///
/// # What goes in
///
/// | | |
/// |---|---|
/// | [`ready`](Jobs::ready) | Jobs can be asked, on a new connection; [`notified`](Jobs::notified): a message on notify-next |
/// | [`answered`](Jobs::answered) | the end of a request |
/// | [`accept`](Jobs::accept), [`decline`](Jobs::decline), [`recorded`](Jobs::recorded), [`ended`](Jobs::ended) | what [`Effect`]s ask for |
/// | [`progress`](Jobs::progress) | how far the action is |
/// | [`handle_timeout`](Jobs::handle_timeout) | the instant of [`timeout`](Jobs::timeout) is there |
///
/// # What comes out
///
/// After whatever went in: [`next_effect`](Jobs::next_effect), until there is no more; and requests.
#[derive(Debug)]
pub(crate) struct Jobs {
    thing: String,
    journal: Journal,
    current: Option<Current>,
    /// start-next, as long as it has no answer.
    looking: Option<RequestId>,
    /// Something may have come since it was asked.
    look_again: bool,
    /// When to ask it, because AWS has named the same again and again.
    look_at: Option<Instant>,
    /// Why AWS doesn't say what there is, and when it is asked again.
    refused: Option<(String, Instant)>,
    /// Executions in a row of which AWS wanted no result.
    moot: u32,
    last_record: u64,
    effects: VecDeque<Effect>,
}

/// The execution that there is.
#[derive(Debug)]
struct Current {
    execution: Execution,
    phase: Phase,
    /// An update without answer.
    update: Option<RequestId>,
    /// The question where the execution is, without answer; and that the answer may be out of date.
    check: Option<RequestId>,
    check_again: bool,
    /// Progress that is to be told when the update before it is answered.
    progress: Option<Details>,
    /// Updates that were refused for their version since one was accepted.
    refused: u32,
    /// When to try the update again.
    again_at: Option<Instant>,
    /// The wait before that, if it was refused before.
    delay: Duration,
    /// AWS refuses the details: the update goes without, or almost.
    is_bare: bool,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Found,
    Announcing(Accepted),
    Recording(RecordId),
    Running,
    Resuming,
    /// What AWS says instead of IN_PROGRESS.
    Stopping(String),
    /// Told once the journal is on the disk, if it has to be.
    Result(Outcome, Option<RecordId>),
}

impl Jobs {
    /// With what an earlier life of the daemon has left: an execution that it may have begun is resumed, once AWS says that it isn't
    /// cancelled. What it has left running of that must have been ended before.
    pub(crate) fn new(thing: &str, journal: Journal) -> Jobs {
        let current = journal.current.clone().map(|Begun { execution, outcome }| {
            let phase = outcome.map_or(Phase::Resuming, |outcome| Phase::Result(outcome, None));
            Current::new(execution, phase)
        });
        Jobs {
            thing: thing.to_owned(),
            journal,
            current,
            looking: None,
            look_again: false,
            look_at: None,
            refused: None,
            moot: 0,
            last_record: 0,
            effects: VecDeque::new(),
        }
    }

    /// Jobs can be asked, on a new connection. Much may have happened since the last.
    pub(crate) fn ready(&mut self, requests: &mut Requests, now: Instant) {
        match self.current.as_mut().map(|current| (&current.phase, current.update)) {
            None => self.look(requests),
            Some((Phase::Recording(_) | Phase::Running | Phase::Resuming, _)) => self.check(requests),
            Some((Phase::Announcing(_) | Phase::Result(..), None)) => self.update(requests, now),
            Some(_) => {}
        }
    }

    /// Somebody has changed something: if AWS has refused to say what there is, it is asked again.
    pub(crate) fn reloaded(&mut self, requests: &mut Requests) {
        if self.refused.is_some() && self.current.is_none() {
            self.look(requests);
        }
    }

    /// The first pending execution is another than before: `payload` says which.
    pub(crate) fn notified(&mut self, payload: &Bytes, requests: &mut Requests) {
        let named = execution::named(payload);
        match &self.current {
            None => self.look(requests),
            Some(current) if named.as_ref().is_some_and(|named| current.is_named_by(named)) => {}
            Some(current) if matches!(current.phase, Phase::Recording(_) | Phase::Running | Phase::Resuming) => {
                self.check(requests);
            }
            // The answer to the update that is on its way, or the end of the action, says more.
            Some(_) => {}
        }
    }

    /// There is an action for the execution that was [found](Effect::Found).
    pub(crate) fn accept(&mut self, accepted: Accepted, requests: &mut Requests, now: Instant) {
        if self.set_phase(|phase| *phase == Phase::Found, Phase::Announcing(accepted)) {
            self.update(requests, now);
        }
    }

    /// It isn't begun: there is no action for it, its document has a fault, or it may have been begun before. The details say which.
    pub(crate) fn decline(&mut self, status: Status, details: Details, requests: &mut Requests, now: Instant) {
        let result = Phase::Result(Outcome { status, details }, None);
        if self.set_phase(|phase| *phase == Phase::Found, result) {
            self.update(requests, now);
        }
    }

    /// A journal is on the disk, and with it all before it. Or, with `is_done` false, it can't be written now, and it, or the newest
    /// there is then, is tried again and again: meanwhile nothing begins, but a result is told all the same.
    pub(crate) fn recorded(&mut self, id: RecordId, is_done: bool, requests: &mut Requests, now: Instant) {
        let Some(current) = &mut self.current else { return };
        match &mut current.phase {
            Phase::Recording(awaited) if *awaited == id && is_done => {
                current.phase = Phase::Running;
                self.effects.push_back(Effect::Begin(current.execution.clone()));
            }
            Phase::Recording(awaited) if *awaited == id => {
                let details = Details::default().with("reason", "it can't be noted on the disk that it is begun");
                let outcome = Outcome { status: Status::Failed, details };
                current.phase = Phase::Result(outcome.clone(), None);
                // In the place of that it is begun.
                self.journal.current = Some(Begun { execution: current.execution.clone(), outcome: Some(outcome) });
                self.record();
                self.update(requests, now);
            }
            Phase::Result(_, awaited) if *awaited == Some(id) => {
                *awaited = None;
                self.update(requests, now);
            }
            _ => {}
        }
    }

    /// How far the action is. Of several that come while an update has no answer the last is told.
    pub(crate) fn progress(&mut self, details: Details, requests: &mut Requests, now: Instant) {
        if let Some(current) = self.current.as_mut().filter(|current| current.phase == Phase::Running) {
            current.progress = Some(details);
            if current.update.is_none() {
                self.update(requests, now);
            }
        }
    }

    /// The action has ended, and nothing of it runs any more.
    pub(crate) fn ended(&mut self, outcome: Outcome, requests: &mut Requests, now: Instant) {
        let Some(current) = &mut self.current else { return };
        match &current.phase {
            Phase::Running => {
                current.forget_requests(requests);
                let execution = current.execution.clone();
                self.journal.current = Some(Begun { execution, outcome: Some(outcome.clone()) });
                let id = self.record();
                self.set_phase(|_| true, Phase::Result(outcome, Some(id)));
            }
            Phase::Stopping(why) => {
                let fate = Fate::Moot(why.clone());
                self.over(fate, outcome, requests, now);
            }
            _ => {}
        }
    }

    pub(crate) fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When there is something to do without anything happening.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        let again_at = self.current.as_ref().and_then(|current| current.again_at);
        again_at.into_iter().chain(self.look_at).min()
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, requests: &mut Requests, now: Instant) {
        if self.look_at.is_some_and(|at| at <= now) && self.current.is_none() {
            self.look(requests);
        }
        let Some(current) = self.current.as_mut().filter(|current| current.again_at.is_some_and(|at| at <= now)) else {
            return;
        };
        current.again_at = None;
        match current.phase {
            Phase::Resuming => self.check(requests),
            _ => self.update(requests, now),
        }
    }

    /// The execution that there is, if there is one.
    pub(crate) fn current(&self) -> Option<&Execution> {
        self.current.as_ref().map(|current| &current.execution)
    }

    /// Why AWS refuses to say what there is, and when it is asked again.
    pub(crate) fn refused(&self) -> Option<(&str, Instant)> {
        self.refused.as_ref().map(|(why, again_at)| (why.as_str(), *again_at))
    }

    /// Whether the phase was one that `fits`, and so is another now.
    fn set_phase(&mut self, fits: impl Fn(&Phase) -> bool, phase: Phase) -> bool {
        let Some(current) = self.current.as_mut().filter(|current| fits(&current.phase)) else { return false };
        current.phase = phase;
        true
    }

    fn record(&mut self) -> RecordId {
        self.last_record += 1;
        let id = RecordId(self.last_record);
        self.effects.push_back(Effect::Record(id, self.journal.clone()));
        id
    }

    /// Asks for the next execution; an IN_PROGRESS one comes first.
    fn look(&mut self, requests: &mut Requests) {
        self.look_at = None;
        if self.looking.is_some() {
            self.look_again = true;
            return;
        }
        self.look_again = false;
        self.looking = self.ask("start-next", Map::new(), requests);
    }

    /// Asks where the execution is.
    fn check(&mut self, requests: &mut Requests) {
        let Some(current) = &mut self.current else { return };
        if current.check.is_some() {
            current.check_again = true;
            return;
        }
        current.check_again = false;
        let Identity { job, number } = current.execution.identity.clone();
        let body = members(json!({"executionNumber": number, "includeJobDocument": false}));
        let check = self.ask(&format!("{job}/get"), body, requests);
        if let Some(current) = &mut self.current {
            current.check = check;
        }
    }

    /// Tells AWS what its phase says of the execution.
    fn update(&mut self, requests: &mut Requests, now: Instant) {
        let Some(current) = &mut self.current else { return };
        current.again_at = None;
        let Some(body) = current.news() else { return };
        let job = current.execution.identity.job.clone();
        let update = self.ask(&format!("{job}/update"), body, requests);
        if let Some(current) = &mut self.current {
            current.update = update;
            if update.is_none() {
                current.try_later(now);
            }
        }
    }

    fn ask(&self, what: &str, body: Map<String, Value>, requests: &mut Requests) -> Option<RequestId> {
        let request = Request::new(Service::Jobs, &format!("$aws/things/{}/jobs/{what}", self.thing), body);
        requests.ask(request.ok()?)
    }
}

/// Of a JSON object.
fn members(value: Value) -> Map<String, Value> {
    if let Value::Object(members) = value { members } else { Map::new() }
}

impl Current {
    fn new(execution: Execution, phase: Phase) -> Current {
        Current {
            execution,
            phase,
            update: None,
            check: None,
            check_again: false,
            progress: None,
            refused: 0,
            again_at: None,
            delay: Duration::ZERO,
            is_bare: false,
        }
    }

    /// Whether a notify-next that says this means the same execution: a job that was tried again has another number.
    fn is_named_by(&self, (job, number): &(Cow<'_, str>, Option<i64>)) -> bool {
        let Identity { job: own, number: own_number } = &self.execution.identity;
        **job == **own && number.is_none_or(|number| number == *own_number)
    }

    /// The update that its phase calls for, if any.
    fn news(&mut self) -> Option<Map<String, Value>> {
        let (status, details, step_minutes) = match &self.phase {
            Phase::Announcing(Accepted { details, step_minutes }) => ("IN_PROGRESS", details.clone(), *step_minutes),
            Phase::Running => ("IN_PROGRESS", self.progress.take()?, None),
            Phase::Result(outcome, None) => (outcome.status.as_str(), outcome.details.clone(), None),
            Phase::Found | Phase::Recording(_) | Phase::Resuming | Phase::Stopping(_) | Phase::Result(_, Some(_)) => {
                return None;
            }
        };
        let mut body = members(json!({
            "status": status,
            "expectedVersion": self.execution.version,
            "executionNumber": self.execution.identity.number,
            "includeJobExecutionState": true,
        }));
        let details = if self.is_bare { details.bare() } else { details };
        if !details.is_empty() {
            body.insert("statusDetails".to_owned(), json!(details));
        }
        if let Some(minutes) = step_minutes {
            body.insert("stepTimeoutInMinutes".to_owned(), json!(minutes));
        }
        Some(body)
    }

    /// Answers to what was asked aren't of interest any more.
    fn forget_requests(&mut self, requests: &mut Requests) {
        let asked = self.update.take().into_iter().chain(self.check.take());
        asked.for_each(|id| requests.withdraw(id));
        (self.progress, self.again_at, self.refused, self.is_bare) = (None, None, 0, false);
    }
}
