//! What an earlier process has left, or an earlier configuration.

use std::collections::BTreeSet;
use std::time::Instant;

use super::super::{Settings, decision, said};
use super::Work;
use crate::services::commands;
use crate::services::history::Subject;
use crate::services::jobs::{self, Identity};
use crate::services::{Asker, Service};

impl Work<'_> {
    /// What may have been begun and isn't known to have ended is ended now: nothing of it runs on beside what is done next. What goes on
    /// by design (a reboot, an upgrade of gatewire) is left.
    pub(super) async fn end_leftovers(&self, job: &jobs::Journal, commands: &commands::Journal, settings: &Settings) {
        let of_job = job.current.iter().filter(|begun| begun.outcome.is_none()).map(|begun| {
            let Identity { job, number } = &begun.execution.identity;
            (self.executions.execution(job, *number), begun.execution.document.as_str())
        });
        let of_commands = commands.entries().filter_map(|entry| match &entry.stage {
            commands::Stage::Begun { payload } => {
                Some((self.executions.execution(&entry.execution, 1), payload.as_str()))
            }
            _ => None,
        });
        let mut open = BTreeSet::new();
        for (execution, document) in of_job.chain(of_commands) {
            let Ok(execution) = execution else { continue };
            let name = execution.to_string();
            let step = self.executions.positions.borrow().of(&name).map(|noted| noted.step);
            open.insert(name);
            // Without a plan nothing more is done for it, but what it has begun may run all the same.
            let plan = crate::actions::plan(document, &settings.actions).ok();
            let Some(step) =
                step.filter(|step| !plan.as_ref().is_some_and(|plan| decision::goes_on_alone(plan, *step)))
            else {
                continue;
            };
            let is_of_root = plan.as_ref().is_none_or(|plan| decision::is_of_root(plan, step));
            if let Err(why) = self.executions.programs.end_leftover(&execution, is_of_root).await {
                said::left_running(&execution, &why);
            }
        }
        self.executions.positions.borrow_mut().retain(|execution| open.contains(execution));
    }

    pub(super) fn settle_history(&mut self, job: &jobs::Journal, commands: &commands::Journal) {
        let job = job.current.as_ref().map(|begun| Subject::job(&begun.execution.identity));
        let commands: Vec<Subject> = commands.entries().map(|entry| Subject::command(&entry.execution)).collect();
        if self.history.settle(|subject| Some(subject) == job.as_ref() || commands.contains(subject)) {
            self.put_history();
        }
    }

    /// There may be a connection already, after a reload: what was asked before it is of no interest, and services that are ready won't
    /// say so again.
    pub(super) fn take_up(&mut self, now: Instant) {
        self.look_at_the_connection();
        let mut requests = self.executions.services.ask();
        requests.withdraw_all(Asker::Executions);
        let ready: Vec<Service> = requests.ready(Asker::Executions).collect();
        for service in ready {
            match (service, &mut self.jobs, &mut self.commands) {
                (Service::Jobs, Some(jobs), _) => jobs.ready(&mut requests, now),
                (Service::Commands, _, Some(commands)) => commands.ready(&mut requests, now),
                _ => {}
            }
        }
    }
}
