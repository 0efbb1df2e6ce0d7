//! What Jobs asks for.

use std::rc::Rc;
use std::time::Instant;

use super::super::decision::{self, Decision};
use super::super::outcome::{details, failed, of_job};
use super::super::writer::Record;
use super::super::{notes, said};
use super::{UnderWayNow, Who};
use super::{Waiting, Work};
use crate::actions::asked_for;
use crate::actions::performing::{ACTION, INTERRUPTED, Performed, named};
use crate::actions::position::{Life, Position, Stage};
use crate::jobs_socket::Offer;
use crate::journal;
use crate::services::Service;
use crate::services::history::Subject;
use crate::services::jobs::{self, Accepted, Details, Identity, Status};

/// Said of one that was begun with another configuration.
const NO_LONGER: &str = "The configuration no longer has its action as it was";

impl Work<'_> {
    pub(super) fn job_effect(&mut self, effect: jobs::Effect, now: Instant) {
        match effect {
            jobs::Effect::Found(execution) => self.job_found(&execution, now),
            jobs::Effect::Record(id, journal) => {
                if journal.current.as_ref().is_some_and(|begun| begun.outcome.is_none()) {
                    self.note_begun_job(&journal);
                }
                self.writer.put(notes::JOBS, journal.text(), Some(Record::Jobs(id)));
            }
            jobs::Effect::Begin(execution) | jobs::Effect::Resume(execution) => {
                self.turn.wait(Waiting::Job(execution));
            }
            jobs::Effect::Confirmed(identity) => self.executions.rotations.still_wanted(identity),
            jobs::Effect::Stop(identity) => self.stop_job(&identity, now),
            jobs::Effect::Over(identity, fate) => {
                said::job_over(&identity, &fate);
                self.forget_position(&identity.job, identity.number);
                self.history.job_over(&identity, None, &fate, journal::now().into());
                self.put_history();
            }
            jobs::Effect::Trouble(what, rejection) => self.refused(Service::Jobs, &what, &rejection),
            jobs::Effect::Unreadable => said::unreadable_job(),
        }
    }

    pub(super) fn job_found(&mut self, execution: &jobs::Execution, now: Instant) {
        let decision = Decision::of_job(&execution.document, &self.executions.settings());
        let decision = if execution.was_announced { decision.of_one_announced() } else { decision };
        if matches!(decision, Decision::Fail(_)) {
            self.end_what_is_left_of(&execution.identity);
        }
        let Some(jobs) = &mut self.jobs else { return };
        let mut requests = self.executions.services.ask();
        match decision {
            Decision::Perform(plan) => {
                let told = plan.steps.first().map(named).unwrap_or_default();
                let accepted = Accepted { step_minutes: decision::step_minutes(&plan), details: details(&told) };
                jobs.accept(accepted, &mut requests, now);
            }
            Decision::Offer => jobs.accept(Accepted::default(), &mut requests, now),
            Decision::Reject(why) => {
                said::job_rejected(&execution.identity, &why);
                let action = asked_for(&execution.document, &self.executions.settings().actions).unwrap_or_default();
                let details = Details::default().with("reason", &why).with(ACTION, &action);
                jobs.decline(Status::Rejected, details, &mut requests, now);
            }
            Decision::Fail(why) => {
                let details = Details::default().with("reason", &why);
                jobs.decline(Status::Failed, details, &mut requests, now);
            }
        }
    }

    /// An earlier process may have begun it, of which there is no record: what it may have left running is ended.
    fn end_what_is_left_of(&self, Identity { job, number }: &Identity) {
        let Ok(execution) = self.executions.execution(job, *number) else { return };
        let programs = Rc::clone(&self.executions.programs);
        tokio::task::spawn_local(async move {
            if let Err(why) = programs.end_leftover(&execution, true).await {
                said::left_running(&execution, &why);
            }
        });
    }

    pub(super) fn note_begun_job(&mut self, journal: &jobs::Journal) {
        let Some(begun) = &journal.current else { return };
        let settings = self.executions.settings();
        let action = match Decision::of_job(&begun.execution.document, &settings) {
            Decision::Perform(plan) => decision::action_name(&plan),
            Decision::Offer | Decision::Reject(_) | Decision::Fail(_) => "jobs.sock".to_owned(),
        };
        self.history.begun(Subject::job(&begun.execution.identity), &action, journal::now().into());
        self.put_history();
    }

    pub(super) fn stop_job(&mut self, identity: &Identity, now: Instant) {
        if self.offered.as_ref() == Some(identity) {
            self.executions.socket.cancel(identity);
            self.offered = None;
            return self.job_ended(&failed("cancelled"), now);
        }
        match &self.under_way {
            Some(UnderWayNow { who: Who::Job(_), running, .. }) => running.cancel(),
            _ if self.turn.forget_job() => self.job_ended(&failed("cancelled"), now),
            _ => {}
        }
    }

    pub(super) fn job_ended(&mut self, performed: &Performed, now: Instant) {
        if let Some(jobs) = &mut self.jobs {
            jobs.ended(of_job(performed), &mut self.executions.services.ask(), now);
        }
    }

    pub(super) fn begin_job(&mut self, execution: jobs::Execution, now: Instant) {
        let decision = Decision::of_job(&execution.document, &self.executions.settings());
        if decision != Decision::Offer {
            // With another configuration a reader may have had it.
            self.executions.socket.cancel(&execution.identity);
        }
        let Identity { job, number } = execution.identity.clone();
        let noted = self.noted_of(&job, number);
        match decision {
            Decision::Perform(plan) => {
                match noted {
                    None => said::job_begun(&execution.identity),
                    Some(_) => said::job_resumed(&execution.identity),
                }
                self.perform(Who::Job(execution.identity), &job, number, plan, now);
            }
            Decision::Offer if noted.as_ref().is_none_or(|noted| noted.stage == Stage::Offered) => {
                // It holds up no command: nobody knows how long its reader takes.
                self.turn.free();
                self.offered = Some(execution.identity.clone());
                said::job_offered(&execution.identity, self.executions.socket.readers() > 0);
                let jobs::Execution { identity, document, times_out_at, .. } = execution;
                let deadline = times_out_at.and_then(|at| jiff::Timestamp::from_second(at).ok()).map(Into::into);
                self.executions.socket.offer(Offer { identity, document, deadline, is_noted: noted.is_some() });
            }
            Decision::Reject(why) | Decision::Fail(why) if noted.is_none() => {
                self.turn.free();
                self.job_ended(&failed(&format!("the configuration has changed: {why}")), now);
            }
            // With another configuration than now it was begun.
            Decision::Offer | Decision::Reject(_) | Decision::Fail(_) => {
                self.turn.free();
                self.job_ended(&failed(&format!("{INTERRUPTED}. {NO_LONGER}")), now);
            }
        }
    }

    /// A program at `jobs.sock` gets it once this is on the disk: should an action take it after a restart, that isn't begun beside it.
    pub(super) fn note_offered(&mut self, identity: Identity) {
        let Ok(execution) = self.executions.execution(&identity.job, identity.number) else { return };
        let life = Life { boot: self.executions.programs.boot_id(), process: self.executions.process };
        let position = Position { execution: execution.to_string(), step: 0, stage: Stage::Offered, life, begun: 0 };
        self.executions.positions.borrow_mut().note(position);
        let text = self.executions.positions.borrow().text();
        self.writer.put(notes::POSITIONS, text, Some(Record::Offered(identity)));
    }
}
