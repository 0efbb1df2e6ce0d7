//! What Jobs answers, and what follows.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::details::Details;
use super::effect::{Effect, Fate};
use super::execution::{self, Execution, Identity, Known, Outcome, Stage, Status};
use super::journal::Begun;
use super::{Current, Jobs, Phase};
use crate::services::{Answer, Rejection, RequestId, Requests, retry};

/// An update whose version is refused is tried again at once so often; then it waits.
const AT_ONCE: u32 = 3;

/// An update that IoT Core doesn't take, or that couldn't be asked, is tried again after so long, doubled each time.
const LATER: Duration = Duration::from_secs(10);
const MUCH_LATER: Duration = Duration::from_secs(600);

impl Jobs {
    /// A request has ended. Returns whether it was one of Jobs.
    pub(crate) fn answered(&mut self, id: RequestId, answer: Answer, requests: &mut Requests, now: Instant) -> bool {
        if self.looking == Some(id) {
            self.looking = None;
            self.looked(answer, requests, now);
            return true;
        }
        let Some(current) = &mut self.current else { return false };
        if current.check == Some(id) {
            current.check = None;
            self.checked(answer, requests, now);
            return true;
        }
        if current.update == Some(id) {
            current.update = None;
            self.updated(answer, requests, now);
            return true;
        }
        false
    }

    fn looked(&mut self, answer: Answer, requests: &mut Requests, now: Instant) {
        self.refused = None;
        let payload = match answer {
            Answer::Accepted(payload) => payload,
            Answer::Rejected(rejection) => return self.not_looked(rejection, now),
            Answer::NotTaken(why) => return self.not_looked(not_taken(why), now),
        };
        match execution::started(&payload) {
            Some(Some(execution)) => self.found(execution, requests, now),
            Some(None) => self.effects.push_back(Effect::Unreadable),
            None => {
                self.moot = 0;
                if self.look_again {
                    self.look(requests);
                }
            }
        }
    }

    /// AWS doesn't say what there is: it is asked again later, as somebody may mend that there.
    fn not_looked(&mut self, rejection: Rejection, now: Instant) {
        let again_at = now + MUCH_LATER;
        self.refused = Some((rejection.to_string(), again_at));
        self.look_at = Some(again_at);
        self.trouble("start-next".to_owned(), rejection);
    }

    fn found(&mut self, execution: Execution, requests: &mut Requests, now: Instant) {
        // What was begun isn't begun again: AWS hasn't taken notice of its end yet, or has forgotten it.
        if let Some(outcome) = self.journal.outcome(&execution.identity).cloned() {
            self.current = Some(Current::new(execution, Phase::Result(outcome, None)));
            return self.update(requests, now);
        }
        self.effects.push_back(Effect::Found(execution.clone()));
        self.current = Some(Current::new(execution, Phase::Found));
    }

    fn checked(&mut self, answer: Answer, requests: &mut Requests, now: Instant) {
        match answer {
            Answer::Accepted(payload) => {
                if let Some(known) = execution::part(&payload, "execution").and_then(Known::read) {
                    self.learned(known, requests, now);
                }
            }
            Answer::Rejected(rejection) if is_final(&rejection) => self.gone(&rejection.code, requests, now),
            Answer::Rejected(rejection) => self.trouble(self.question("get"), rejection),
            Answer::NotTaken(why) => self.trouble(self.question("get"), not_taken(why)),
        }
        let Some(current) = &mut self.current else { return };
        if current.check_again {
            return self.check(requests);
        }
        let waits = current.phase == Phase::Resuming || (current.is_told() && current.update.is_none());
        if waits && current.again_at.is_none() {
            current.try_later(now);
        }
    }

    fn updated(&mut self, answer: Answer, requests: &mut Requests, now: Instant) {
        match answer {
            Answer::Accepted(payload) => self.accepted(&payload, requests, now),
            Answer::Rejected(rejection) if rejection.code == "VersionMismatch" => {
                match execution::part(&rejection.payload, "executionState").and_then(Known::read) {
                    Some(known) => self.learned(known, requests, now),
                    None => self.check(requests),
                }
            }
            Answer::Rejected(rejection) if is_final(&rejection) => self.over_at_aws(&rejection, requests, now),
            Answer::Rejected(rejection) => self.not_as_it_is(rejection, requests, now),
            Answer::NotTaken(why) => self.not_as_it_is(not_taken(why), requests, now),
        }
    }

    /// For AWS it is over. With what, it doesn't say: our own result may have come, and its answer not to us.
    fn over_at_aws(&mut self, rejection: &Rejection, requests: &mut Requests, now: Instant) {
        let has_result = self.current.as_ref().is_some_and(|current| matches!(current.phase, Phase::Result(..)));
        match execution::part(&rejection.payload, "executionState").and_then(Known::read) {
            Some(known) if known.stage == Stage::Terminal => self.learned(known, requests, now),
            _ if has_result && rejection.code != "ResourceNotFound" => self.check(requests),
            _ => self.gone(&rejection.code, requests, now),
        }
    }

    fn accepted(&mut self, payload: &Bytes, requests: &mut Requests, now: Instant) {
        let Some(current) = &mut self.current else { return };
        let known = execution::part(payload, "executionState").and_then(Known::read).and_then(|known| known.version);
        current.execution.version = known.unwrap_or(current.execution.version.saturating_add(1));
        (current.refused, current.is_bare, current.delay) = (0, false, Duration::ZERO);
        match &current.phase {
            Phase::Announcing(_) => {
                self.journal.current = Some(Begun { execution: current.execution.clone(), outcome: None });
                let id = self.record();
                self.set_phase(|_| true, Phase::Recording(id));
            }
            Phase::Running => self.update(requests, now),
            Phase::Result(outcome, _) => {
                let outcome = outcome.clone();
                self.over(Fate::Reported(outcome.clone()), outcome, requests, now);
            }
            Phase::Found | Phase::Recording(_) | Phase::Resuming | Phase::Stopping(_) => {}
        }
    }

    /// Where AWS says that the execution is.
    fn learned(&mut self, known: Known, requests: &mut Requests, now: Instant) {
        let Some(current) = &mut self.current else { return };
        // AWS tries a job again whose execution we haven't ended: that has timed out.
        if known.number.is_some_and(|number| number != current.execution.identity.number) {
            return self.gone("TIMED_OUT", requests, now);
        }
        if known.stage == Stage::Terminal {
            return self.gone(&known.status, requests, now);
        }
        current.execution.version = known.version.unwrap_or(current.execution.version);
        if current.phase == Phase::Resuming {
            current.phase = Phase::Running;
            self.effects.push_back(Effect::Resume(current.execution.clone()));
            return;
        }
        if current.phase == Phase::Running && known.stage == Stage::InProgress {
            self.effects.push_back(Effect::Confirmed(current.execution.identity.clone()));
        }
        if current.is_told() && current.update.is_none() {
            current.refused = current.refused.saturating_add(1);
            match current.refused.checked_sub(AT_ONCE + 1) {
                None => self.update(requests, now),
                Some(times) => current.again_at = Some(now + retry::ceiling(times)),
            }
        }
    }

    /// For AWS it is over, as `status` says, or with this code of a rejection.
    fn gone(&mut self, status: &str, requests: &mut Requests, now: Instant) {
        let Some(current) = &mut self.current else { return };
        match current.phase.clone() {
            Phase::Running => {
                current.forget_requests(requests);
                current.phase = Phase::Stopping(status.to_owned());
                self.effects.push_back(Effect::Stop(current.execution.identity.clone()));
            }
            Phase::Stopping(_) => {}
            Phase::Resuming => {
                let details = Details::default().with("reason", "it was interrupted");
                let outcome = Outcome { status: Status::Failed, details };
                self.over(Fate::Moot(status.to_owned()), outcome, requests, now);
            }
            // A copy of the update has come to AWS, and its answer not to us.
            Phase::Result(outcome, _) if outcome.status.as_str() == status => {
                self.over(Fate::Reported(outcome.clone()), outcome, requests, now);
            }
            Phase::Result(outcome, _) => self.over(Fate::Moot(status.to_owned()), outcome, requests, now),
            Phase::Found | Phase::Announcing(_) | Phase::Recording(_) => self.never_begun(status, requests, now),
        }
    }

    /// AWS doesn't take an update for what is in it: most likely the details.
    fn not_as_it_is(&mut self, rejection: Rejection, requests: &mut Requests, now: Instant) {
        self.trouble(self.question("update"), rejection);
        // Progress is worth nothing without them.
        let Some(current) = self.current.as_mut().filter(|current| current.is_told()) else { return };
        match std::mem::replace(&mut current.is_bare, true) {
            true => current.try_later(now),
            false => self.update(requests, now),
        }
    }

    fn never_begun(&mut self, status: &str, requests: &mut Requests, now: Instant) {
        if self.journal.current.take().is_some() {
            self.record();
        }
        self.forget(Fate::Moot(status.to_owned()), requests, now);
    }

    pub(super) fn over(&mut self, fate: Fate, outcome: Outcome, requests: &mut Requests, now: Instant) {
        let identity = self.current.as_ref().map(|current| current.execution.identity.clone());
        // One that wasn't begun isn't on the disk, and needn't be.
        if let Some(identity) = identity.filter(|_| self.journal.current.is_some()) {
            self.journal.over(identity, outcome);
            self.record();
        }
        self.forget(fate, requests, now);
    }

    /// There is no execution any more: the next may come.
    fn forget(&mut self, fate: Fate, requests: &mut Requests, now: Instant) {
        let Some(mut current) = self.current.take() else { return };
        current.forget_requests(requests);
        self.moot = if matches!(fate, Fate::Moot(_)) { self.moot.saturating_add(1) } else { 0 };
        self.effects.push_back(Effect::Over(current.execution.identity, fate));
        match self.moot.checked_sub(2) {
            None => self.look(requests),
            Some(times) => self.look_at = Some(now + retry::ceiling(times)),
        }
    }

    /// A request of the execution that there is, for a person.
    fn question(&self, what: &str) -> String {
        let Some(current) = &self.current else { return what.to_owned() };
        let Identity { job, number } = &current.execution.identity;
        match &current.phase {
            Phase::Result(outcome, _) if what == "update" => {
                format!("the result of job {job}, execution {number} ({})", outcome.status.as_str())
            }
            _ => format!("{what} of job {job}, execution {number}"),
        }
    }

    fn trouble(&mut self, what: String, rejection: Rejection) {
        self.effects.push_back(Effect::Trouble(what, rejection));
    }
}

impl Current {
    /// Whether its phase lasts until AWS has accepted an update.
    fn is_told(&self) -> bool {
        matches!(self.phase, Phase::Announcing(_) | Phase::Result(_, None))
    }

    pub(super) fn try_later(&mut self, now: Instant) {
        self.delay = (self.delay * 2).clamp(LATER, MUCH_LATER);
        self.again_at = Some(now + self.delay);
    }
}

/// Whether it says that for AWS the execution is over.
fn is_final(rejection: &Rejection) -> bool {
    matches!(&*rejection.code, "ResourceNotFound" | "TerminalStateReached" | "InvalidStateTransition")
}

/// As a rejection.
fn not_taken(why: String) -> Rejection {
    Rejection { code: String::new(), status: None, message: why, payload: Bytes::new() }
}
