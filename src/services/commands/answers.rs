//! What Commands answers, and what follows.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::effect::{Effect, Fate};
use super::{Commands, Open, Phase, Told};
use crate::services::{Answer, Rejection, RequestId, Requests};

/// A result that IoT Core doesn't take, or that couldn't be told, is told again after so long.
const LATER: Duration = Duration::from_secs(600);

impl Commands {
    /// A request has ended. Returns whether it was one of Commands.
    pub(crate) fn answered(&mut self, id: RequestId, answer: Answer, requests: &mut Requests, now: Instant) -> bool {
        let Some((execution, told)) = self.telling(id) else { return false };
        if let Some(open) = self.open.get_mut(&execution) {
            open.telling = None;
        }
        match told {
            Told::InProgress => {
                match answer {
                    Answer::Rejected(rejection) if !is_over(&rejection) => {
                        self.trouble(format!("IN_PROGRESS of command {execution}"), rejection)
                    }
                    Answer::NotTaken(why) => {
                        self.trouble(format!("IN_PROGRESS of command {execution}"), not_taken(why))
                    }
                    Answer::Accepted(_) | Answer::Rejected(_) => {}
                }
                self.tell(&execution, requests, now);
            }
            Told::Result => self.result_answered(&execution, answer, requests, now),
        }
        true
    }

    /// A request is tried again later: it has been refused for now, or, if not, hasn't been answered in time.
    pub(crate) fn delayed(&mut self, id: RequestId, is_refused: bool, requests: &mut Requests, now: Instant) {
        let Some((execution, told)) = self.telling(id) else { return };
        let Some(open) = self.open.get_mut(&execution) else { return };
        if told == Told::Result {
            self.effects.extend(open.release());
        }
        if is_refused {
            return;
        }
        match told {
            Told::InProgress => open.stray += 1,
            Told::Result => open.is_told = true,
        }
        self.leave_progress(&execution, requests);
        self.tell(&execution, requests, now);
    }

    fn telling(&self, id: RequestId) -> Option<(String, Told)> {
        let mut open = self.open.iter();
        open.find_map(|(execution, open)| {
            open.telling.filter(|(request, _)| *request == id).map(|(_, told)| (execution.clone(), told))
        })
    }

    /// With a result to be told, IN_PROGRESS isn't of interest any more, unless its answer is to be waited for.
    pub(super) fn leave_progress(&mut self, execution: &str, requests: &mut Requests) {
        let Some(open) = self.open.get_mut(execution) else { return };
        let (Phase::Result(..), Some((request, Told::InProgress))) = (&open.phase, open.telling) else { return };
        if requests.is_unsent(request) {
            requests.withdraw(request);
            open.telling = None;
        }
    }

    /// Tells the result, if there is one and nothing is being told.
    pub(super) fn tell(&mut self, execution: &str, requests: &mut Requests, now: Instant) {
        let Some(open) = self.open.get(execution) else { return };
        let (Phase::Result(outcome, None), None, None) = (&open.phase, open.telling, open.again_at) else { return };
        let request = self.ask(execution, outcome.body(open.is_bare), requests);
        if let Some(open) = self.open.get_mut(execution) {
            open.telling = request.map(|request| (request, Told::Result));
            if request.is_none() {
                open.again_at = Some(now + LATER);
                self.effects.extend(open.release());
            }
        }
    }

    fn result_answered(&mut self, execution: &str, answer: Answer, requests: &mut Requests, now: Instant) {
        let Some(open) = self.open.get_mut(execution) else { return };
        let Phase::Result(outcome, _) = &open.phase else { return };
        let outcome = outcome.clone();
        match answer {
            Answer::Rejected(rejection) if is_over(&rejection) => {
                let has_it = open.is_told && rejection.code == "TerminalStateReached";
                let fate = if has_it { Fate::Reported(outcome) } else { Fate::Moot(rejection.code) };
                self.over(execution, fate, requests);
            }
            // This is no answer to IN_PROGRESS, with which nothing goes.
            Answer::Rejected(rejection) if rejection.code != "InvalidStateTransition" => {
                open.not_as_it_is(now);
                self.effects.extend(open.release());
                self.trouble(of_result(execution, outcome.status.as_str()), rejection);
                self.tell(execution, requests, now);
            }
            // It may be that to IN_PROGRESS.
            Answer::Accepted(_) | Answer::Rejected(_) if open.stray > 0 => {
                (open.stray, open.is_told) = (open.stray - 1, true);
                self.tell(execution, requests, now);
            }
            Answer::Accepted(_) => self.over(execution, Fate::Reported(outcome), requests),
            Answer::Rejected(rejection) => self.over(execution, Fate::Moot(rejection.code), requests),
            Answer::NotTaken(why) => {
                open.again_at = Some(now + LATER);
                self.effects.extend(open.release());
                self.trouble(of_result(execution, outcome.status.as_str()), not_taken(why));
            }
        }
    }

    fn trouble(&mut self, what: String, rejection: Rejection) {
        self.effects.push_back(Effect::Trouble(what, rejection));
    }
}

impl Open {
    /// AWS doesn't take the result for what goes with it, most likely.
    fn not_as_it_is(&mut self, now: Instant) {
        if std::mem::replace(&mut self.is_bare, true) {
            self.again_at = Some(now + LATER);
        }
    }
}

/// A request, for a person.
fn of_result(execution: &str, status: &str) -> String {
    format!("the result of command {execution} ({status})")
}

/// Whether it says that nothing more can be told of the execution.
fn is_over(rejection: &Rejection) -> bool {
    matches!(&*rejection.code, "ResourceNotFound" | "TerminalStateReached")
}

/// As a rejection.
fn not_taken(why: String) -> Rejection {
    Rejection { code: String::new(), status: None, message: why, payload: Bytes::new() }
}
