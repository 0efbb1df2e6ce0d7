//! What is due, and when.

use std::time::Instant;

use super::{Machine, PATIENCE, State};
use crate::duration::written;
use crate::identity::Which;
use crate::rotation::effect::{Effect, Now, Question};

impl Machine {
    /// When there is something to do without anything happening.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        let of_state = match &self.state {
            State::Asking { until, again_at, .. } => Some(again_at.map_or(*until, |again| again.min(*until))),
            State::Spare { until } | State::Confirming { until } => Some(*until),
            State::Trying { until, note_at, .. } => Some((*until).min(*note_at)),
            State::Swapping { again_at, .. } => *again_at,
            State::GoingBack(way) => Some(way.switch_at()),
            _ => None,
        };
        let renewal = self.may_begin() && self.renewal_is_due && self.connected == Some(Which::Current);
        of_state.into_iter().chain(renewal.then_some(self.renewal_allowed_at)).min()
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        self.next(now);
        let overdue = |until: Instant| until <= now.at;
        match &mut self.state {
            State::Asking { question, until, fault, .. } if overdue(*until) => {
                let why = unanswered(question, fault.as_deref());
                match question {
                    Question::Commit(_) => self.give_up(why),
                    _ => self.fail(why, now),
                }
            }
            State::Asking { question, again_at, .. } if again_at.is_some_and(overdue) => {
                *again_at = None;
                self.effects.push_back(Effect::Ask(question.clone()));
            }
            State::Trying { until, fault, .. } if overdue(*until) => {
                let why = fault.take().map_or_else(String::new, |why| format!(": {why}"));
                self.give_up(format!("the new certificate didn't connect within {}{why}", written(PATIENCE)));
            }
            State::Trying { note_at, .. } if overdue(*note_at) => self.note_the_trial(now),
            State::Confirming { until } if overdue(*until) => {
                let why = format!("AWS didn't say within {} that the job is still IN_PROGRESS", written(PATIENCE));
                self.give_up(why);
            }
            State::Swapping { again_at, .. } if again_at.is_some_and(overdue) => {
                *again_at = None;
                self.put_in_force();
            }
            State::GoingBack(way) if overdue(way.switch_at()) => self.switch(now),
            State::Spare { until } if overdue(*until) => self.discard(),
            _ => {}
        }
    }
}

fn unanswered(question: &Question, fault: Option<&str>) -> String {
    let what = match question {
        Question::Create(_) => "the request for a certificate (awslabs/things/../certificate/create)",
        Question::Commit(_) => "the commit (awslabs/things/../certificate/commit)",
        Question::CreateFromCsr => "CreateCertificateFromCsr",
        Question::Register { .. } => "RegisterThing",
    };
    let time = written(PATIENCE);
    match fault {
        None => format!("{what} had no answer within {time}"),
        Some(fault) => format!("{what} had no answer within {time} that could be used: {fault}"),
    }
}
