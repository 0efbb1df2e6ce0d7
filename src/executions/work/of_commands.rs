//! What Commands asks for.

use std::time::Instant;

use super::super::decision::{self, Decision};
use super::super::writer::Record;
use super::super::{notes, said};
use super::{Waiting, Who, Work};
use crate::actions::asked_for;
use crate::journal;
use crate::services::Service;
use crate::services::commands::{self, Reason};
use crate::services::history::Subject;
use crate::services::jobs::Details;

impl Work<'_> {
    pub(super) fn command_effect(&mut self, effect: commands::Effect, now: Instant) {
        match effect {
            commands::Effect::Found(execution) => self.command_found(&execution),
            commands::Effect::Record(id, journal) => {
                self.writer.put(notes::COMMANDS, journal.text(), Some(Record::Commands(id)));
            }
            commands::Effect::Release(token) => self.executions.services.is_done(Some(token)),
            commands::Effect::Begin(execution) => self.begin_command(execution, now),
            commands::Effect::PassTurn(_) => self.turn.free(),
            commands::Effect::Resume { execution, is_in_time } => {
                self.turn.wait(Waiting::ResumedCommand(execution, is_in_time));
            }
            commands::Effect::Over(id, fate) => {
                said::command_over(&id, &fate);
                self.forget_position(&id, 1);
                let (status, reason) = said::command_fate(&fate);
                self.history.over(Subject::command(&id), None, &status, reason.as_deref(), journal::now().into());
                self.put_history();
            }
            commands::Effect::Trouble(what, rejection) => self.refused(Service::Commands, &what, &rejection),
            commands::Effect::Dropped(why) => said::command_dropped(why),
        }
    }

    pub(super) fn command_found(&mut self, execution: &commands::Execution) {
        let decision = Decision::of_command(&execution.payload, &self.executions.settings());
        let Some(commands) = &mut self.commands else { return };
        match decision {
            Ok(plan) => {
                let is_its_turn = self.turn.is_free();
                if is_its_turn {
                    self.turn.take();
                } else {
                    self.turn.wait(Waiting::Command(execution.id.clone()));
                }
                let action = decision::action_name(&plan);
                self.history.begun(Subject::command(&execution.id), &action, journal::now().into());
                commands.accept(&execution.id, is_its_turn);
                self.put_history();
            }
            Err(why) => {
                said::command_rejected(&execution.id, &why);
                commands.reject(&execution.id, Reason::new("REJECTED", &why));
                if let Some(action) = asked_for(&execution.payload, &self.executions.settings().actions) {
                    self.history.begun(Subject::command(&execution.id), &action, journal::now().into());
                    self.put_history();
                }
            }
        }
    }

    /// An earlier process may have begun it. If that isn't noted it hasn't, but AWS may have been told so (`it can't be noted ..`): then
    /// it isn't begun any more. Nor is it begun again once its time is over; what goes on alone is waited for.
    pub(super) fn resume_command(&mut self, execution: commands::Execution, is_in_time: bool, now: Instant) {
        let step = self.noted_of(&execution.id, 1).map(|noted| noted.step);
        let plan = Decision::of_command(&execution.payload, &self.executions.settings()).ok();
        let goes_on = |step| is_in_time || plan.as_ref().is_none_or(|plan| decision::goes_on_alone(plan, step));
        if step.is_some_and(goes_on) {
            return self.begin_command(execution, now);
        }
        self.turn.free();
        self.command_ended(&execution.id, commands::Outcome::interrupted("gatewire was ended"), now);
    }

    pub(super) fn begin_command(&mut self, execution: commands::Execution, now: Instant) {
        match Decision::of_command(&execution.payload, &self.executions.settings()) {
            Ok(plan) => {
                said::command_begun(&execution.id, self.noted_of(&execution.id, 1).is_some());
                self.perform(Who::Command(execution.id.clone()), &execution.id, 1, plan, now);
            }
            Err(why) => {
                self.turn.free();
                let outcome = match self.noted_of(&execution.id, 1) {
                    Some(_) => commands::Outcome::interrupted(
                        "gatewire was ended, and the configuration no longer has its action",
                    ),
                    None => {
                        let reason = Reason::new("REJECTED", &format!("the configuration has changed: {why}"));
                        commands::Outcome::failed(reason, Details::default())
                    }
                };
                self.command_ended(&execution.id, outcome, now);
            }
        }
    }

    pub(super) fn command_ended(&mut self, id: &str, outcome: commands::Outcome, now: Instant) {
        if let Some(commands) = &mut self.commands {
            commands.ended(id, outcome, &mut self.executions.services.ask(), now);
        }
    }
}
