//! The task: one turn of it after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Instant;

use super::decision::{self, Decision};
use super::host::Running;
use super::outcome::{details, failed, of_command, of_job};
use super::status::UnderWay;
use super::turn::{Turn, Waiting};
use super::writer::{Record, Writer};
use super::{Executions, Settings, notes, said};
use crate::actions::Plan;
use crate::actions::performing::{Performed, named};
use crate::actions::position::{Position, Positions};
use crate::jobs_socket::{Offer, Said};
use crate::journal;
use crate::services::commands::{self, Commands, Reason};
use crate::services::history::{self, History, Subject};
use crate::services::jobs::{self, Accepted, Details, Identity, Jobs, Status};
use crate::services::{Event, Service};
use crate::time;

/// Who wants the action that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Who {
    Job(Identity),
    Command(String),
}

/// An action that is under way.
struct UnderWayNow {
    who: Who,
    running: Rc<Running>,
    performed: Pin<Box<dyn Future<Output = Performed>>>,
}

/// See the module.
pub(super) struct Work<'a> {
    executions: &'a Rc<Executions>,
    jobs: Option<Jobs>,
    commands: Option<Commands>,
    history: History,
    turn: Turn,
    under_way: Option<UnderWayNow>,
    /// At `jobs.sock`.
    offered: Option<Identity>,
    writer: Writer,
    /// When the connection came of which the services were told.
    connected_at: Option<Instant>,
    said: said::Said,
}

impl<'a> Work<'a> {
    /// What an earlier process has left is read, and what it has left running is ended.
    pub(super) async fn begin(executions: &'a Rc<Executions>) -> Work<'a> {
        let (settings, store) = (executions.settings(), &executions.store);
        let job_journal = jobs::Journal::read(&notes::read(store, notes::JOBS).await);
        let command_journal = commands::Journal::read(&notes::read(store, notes::COMMANDS).await);
        let positions = Positions::read(&notes::read(store, notes::POSITIONS).await);
        let history = History::read(&notes::read(store, history::NOTE).await);
        let now = time::now();
        let mut work = Work {
            executions,
            jobs: None,
            commands: None,
            history,
            turn: Turn::default(),
            under_way: None,
            offered: None,
            writer: Writer::new(store),
            connected_at: None,
            said: said::Said::default(),
        };
        work.executions.positions.replace(positions);
        work.end_leftovers(&job_journal, &command_journal, &settings).await;
        let wall = time::wall().as_second();
        work.executions.history.replace(work.history.executions().cloned().collect());
        work.settle_history(&job_journal, &command_journal);
        // With another configuration what is at a reader may stay there, or not be wanted any more.
        let begun = job_journal.current.as_ref().filter(|begun| begun.outcome.is_none() && settings.jobs.is_some());
        executions.socket.cancel_all_but(begun.map(|begun| &begun.execution.identity));
        work.jobs = settings.jobs.as_ref().map(|_| Jobs::new(&settings.thing, job_journal));
        work.commands = settings
            .commands
            .as_ref()
            .map(|commands| Commands::new(&settings.thing, commands.max_age, command_journal, now, wall));
        work.take_up(now);
        work
    }

    /// What may have been begun and isn't known to have ended is ended now: nothing of it runs on beside what is done next. What goes on
    /// by design (a reboot, an upgrade of gatewire) is left.
    async fn end_leftovers(&self, job: &jobs::Journal, commands: &commands::Journal, settings: &Settings) {
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

    fn settle_history(&mut self, job: &jobs::Journal, commands: &commands::Journal) {
        let job = job.current.as_ref().map(|begun| Subject::job(&begun.execution.identity));
        let commands: Vec<Subject> = commands.entries().map(|entry| Subject::command(&entry.execution)).collect();
        if self.history.settle(|subject| Some(subject) == job.as_ref() || commands.contains(subject)) {
            self.put_history();
        }
    }

    /// Until the daemon stops, and what is known is on the disk.
    pub(super) async fn go_on(&mut self) {
        let mut stops = false;
        loop {
            let now = time::now();
            self.do_what_is_due(now);
            self.pump(now);
            if stops && self.writer.is_idle() {
                return;
            }
            let timeout = self.timeout();
            let Work { under_way, writer, executions, offered, commands, .. } = self;
            tokio::select! {
                biased;
                () = executions.stop.requested(), if !stops => {
                    stops = true;
                    // What goes on by design does so without us; the rest is ended with this.
                    *under_way = None;
                    if let Some(commands) = commands {
                        commands.stopping(time::now());
                    }
                }
                result = writer.written() => self.written(&result),
                performed = performed(under_way) => self.ended(&performed),
                // What is said before it is resumed waits for that.
                said = executions.socket.said(), if offered.is_some() => self.heard(said),
                () = executions.services.news() => {}
                () = sleep_until(timeout) => {}
            }
        }
    }

    fn timeout(&self) -> Option<Instant> {
        let jobs = self.jobs.as_ref().and_then(Jobs::timeout);
        let commands = self.commands.as_ref().and_then(Commands::timeout);
        let requests = self.executions.services.requests().timeout();
        [jobs, commands, requests, self.writer.timeout()].into_iter().flatten().min()
    }

    fn do_what_is_due(&mut self, now: Instant) {
        let mut requests = self.executions.services.ask();
        requests.handle_timeout(now);
        if let Some(jobs) = self.jobs.as_mut().filter(|jobs| jobs.timeout().is_some_and(|at| at <= now)) {
            jobs.handle_timeout(&mut requests, now);
        }
        if let Some(commands) = self.commands.as_mut().filter(|commands| commands.timeout().is_some_and(|at| at <= now))
        {
            commands.handle_timeout(&mut requests, now);
        }
    }

    /// Everything that has happened, and all that follows from it.
    fn pump(&mut self, now: Instant) {
        self.look_at_the_settings(now);
        self.look_at_the_connection();
        self.tell_progress(now);
        loop {
            let event = self.executions.services.ask().next_event();
            if let Some(event) = event {
                self.event(event, now);
                continue;
            }
            if let Some(told) = self.executions.services.next_told() {
                self.told(told, now);
                continue;
            }
            if let Some(effect) = self.jobs.as_mut().and_then(Jobs::next_effect) {
                self.job_effect(effect, now);
                continue;
            }
            if let Some(effect) = self.commands.as_mut().and_then(Commands::next_effect) {
                self.command_effect(effect, now);
                continue;
            }
            if let Some(waiting) = self.turn.next() {
                self.take_turn(waiting, now);
                continue;
            }
            break;
        }
        self.writer.begin(now);
        self.publish_status();
    }

    /// There may be a connection already, after a reload: what was asked before it is of no interest, and services that are ready won't
    /// say so again.
    fn take_up(&mut self, now: Instant) {
        self.look_at_the_connection();
        let mut requests = self.executions.services.ask();
        requests.withdraw_all();
        let ready: Vec<Service> = requests.ready().collect();
        for service in ready {
            match (service, &mut self.jobs, &mut self.commands) {
                (Service::Jobs, Some(jobs), _) => jobs.ready(&mut requests, now),
                (Service::Commands, _, Some(commands)) => commands.ready(&mut requests, now),
                _ => {}
            }
        }
    }

    /// They may be others since a reload.
    fn look_at_the_settings(&mut self, now: Instant) {
        let settings = self.executions.settings();
        if let (Some(commands), Some(config)) = (&mut self.commands, &settings.commands) {
            commands.set_max_age(config.max_age);
        }
        let has_socket = settings.jobs.as_ref().is_some_and(|jobs| jobs.socket.is_some());
        if let Some(identity) = self.offered.take_if(|_| !has_socket) {
            self.executions.socket.cancel(&identity);
            self.job_ended(&failed("the configuration has changed: jobs.socket was removed"), now);
        }
    }

    fn look_at_the_connection(&mut self) {
        let connection = self.executions.services.connection();
        self.executions
            .connected
            .send_if_modified(|connected| std::mem::replace(connected, connection.is_some()) != connection.is_some());
        let Some(connection) = connection.filter(|connection| Some(connection.at) != self.connected_at) else { return };
        self.connected_at = Some(connection.at);
        if let Some(commands) = &mut self.commands {
            commands.connected(connection.session_present.then_some(connection.away), connection.at);
        }
    }

    fn tell_progress(&mut self, now: Instant) {
        let Some(UnderWayNow { who: Who::Job(_), running, .. }) = &self.under_way else { return };
        if let (Some(told), Some(jobs)) = (running.take_told(), &mut self.jobs) {
            jobs.progress(details(&told), &mut self.executions.services.ask(), now);
        }
    }

    fn event(&mut self, event: Event, now: Instant) {
        let mut requests = self.executions.services.ask();
        match event {
            Event::Ready(service) => {
                self.said.ready(service);
                match (service, &mut self.jobs, &mut self.commands) {
                    (Service::Jobs, Some(jobs), _) => jobs.ready(&mut requests, now),
                    (Service::Commands, _, Some(commands)) => commands.ready(&mut requests, now),
                    _ => {}
                }
            }
            // The link has said it.
            Event::Refused(service, _) => self.said.refused(service),
            Event::Answered(id, answer) => {
                let is_of_jobs =
                    self.jobs.as_mut().is_some_and(|jobs| jobs.answered(id, answer.clone(), &mut requests, now));
                if let Some(commands) = self.commands.as_mut().filter(|_| !is_of_jobs) {
                    commands.answered(id, answer, &mut requests, now);
                }
            }
            Event::Delayed(id, rejection, wait) => {
                self.said.delayed(rejection.as_ref(), wait, now);
                if let Some(commands) = &mut self.commands {
                    commands.delayed(id, rejection.is_some(), &mut requests, now);
                }
            }
        }
    }

    /// A service has said something by itself.
    fn told(&mut self, told: crate::thing_services::Told, now: Instant) {
        if let Some(commands) = &mut self.commands
            && commands.received(&told.message, told.token, now)
        {
            return;
        }
        if let Some(jobs) = self.jobs.as_mut().filter(|_| told.message.topic.as_str().ends_with("/jobs/notify-next")) {
            jobs.notified(&told.message.payload, &mut self.executions.services.ask());
        }
        self.executions.services.is_done(told.token);
    }

    fn job_effect(&mut self, effect: jobs::Effect, now: Instant) {
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
            jobs::Effect::Stop(identity) => self.stop_job(&identity, now),
            jobs::Effect::Over(identity, fate) => {
                said::job_over(&identity, &fate);
                self.forget_position(&identity.job, identity.number);
                self.history.job_over(&identity, None, &fate, journal::now().into());
                self.put_history();
            }
            jobs::Effect::Trouble(what, rejection) => said::refused(Service::Jobs, &what, &rejection),
            jobs::Effect::Unreadable => said::unreadable_job(),
        }
    }

    fn job_found(&mut self, execution: &jobs::Execution, now: Instant) {
        let decision = Decision::of_job(&execution.document, &self.executions.settings());
        let decision = if execution.was_announced { decision.of_one_announced() } else { decision };
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
                let details = Details::default().with("reason", &why);
                jobs.decline(Status::Rejected, details, &mut requests, now);
            }
            Decision::Fail(why) => {
                let details = Details::default().with("reason", &why);
                jobs.decline(Status::Failed, details, &mut requests, now);
            }
        }
    }

    fn note_begun_job(&mut self, journal: &jobs::Journal) {
        let Some(begun) = &journal.current else { return };
        let settings = self.executions.settings();
        let action = match Decision::of_job(&begun.execution.document, &settings) {
            Decision::Perform(plan) => decision::action_name(&plan),
            Decision::Offer | Decision::Reject(_) | Decision::Fail(_) => "jobs.sock".to_owned(),
        };
        self.history.begun(Subject::job(&begun.execution.identity), &action, journal::now().into());
        self.put_history();
    }

    fn put_history(&mut self) {
        self.executions.history.replace(self.history.executions().cloned().collect());
        self.writer.put(history::NOTE, self.history.text(), None);
    }

    fn stop_job(&mut self, identity: &Identity, now: Instant) {
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

    fn job_ended(&mut self, performed: &Performed, now: Instant) {
        if let Some(jobs) = &mut self.jobs {
            jobs.ended(of_job(performed), &mut self.executions.services.ask(), now);
        }
    }

    fn command_effect(&mut self, effect: commands::Effect, now: Instant) {
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
            commands::Effect::Trouble(what, rejection) => said::refused(Service::Commands, &what, &rejection),
            commands::Effect::Dropped(why) => said::command_dropped(why),
        }
    }

    fn command_found(&mut self, execution: &commands::Execution) {
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
            }
        }
    }

    fn take_turn(&mut self, waiting: Waiting, now: Instant) {
        match waiting {
            Waiting::Job(execution) => self.begin_job(execution, now),
            Waiting::Command(id) => {
                let takes_it = self.commands.as_mut().is_some_and(|commands| commands.turn(&id, now));
                if !takes_it {
                    self.turn.free();
                }
            }
            Waiting::ResumedCommand(execution, is_in_time) => {
                let noted = self.noted_of(&execution.id, 1);
                match is_in_time || noted.is_some() {
                    true => self.begin_command(execution, now),
                    false => {
                        self.turn.free();
                        self.command_ended(&execution.id, commands::Outcome::interrupted("gatewire was ended"), now);
                    }
                }
            }
        }
    }

    fn begin_job(&mut self, execution: jobs::Execution, now: Instant) {
        match Decision::of_job(&execution.document, &self.executions.settings()) {
            Decision::Perform(plan) => {
                let Identity { job, number } = execution.identity.clone();
                match self.noted_of(&job, number) {
                    None => said::job_begun(&execution.identity),
                    Some(_) => said::job_resumed(&execution.identity),
                }
                self.perform(Who::Job(execution.identity), &job, number, plan, now);
            }
            Decision::Offer => {
                // It holds up no command: nobody knows how long its reader takes.
                self.turn.free();
                self.offered = Some(execution.identity.clone());
                let jobs::Execution { identity, document, .. } = execution;
                self.executions.socket.offer(Offer { identity, document, deadline: None });
            }
            Decision::Reject(why) | Decision::Fail(why) => {
                self.turn.free();
                self.job_ended(&failed(&format!("the configuration has changed: {why}")), now);
            }
        }
    }

    fn begin_command(&mut self, execution: commands::Execution, now: Instant) {
        match Decision::of_command(&execution.payload, &self.executions.settings()) {
            Ok(plan) => {
                said::command_begun(&execution.id, self.noted_of(&execution.id, 1).is_some());
                self.perform(Who::Command(execution.id.clone()), &execution.id, 1, plan, now);
            }
            Err(why) => {
                self.turn.free();
                let reason = Reason::new("REJECTED", &format!("the configuration has changed: {why}"));
                self.command_ended(&execution.id, commands::Outcome::failed(reason, Details::default()), now);
            }
        }
    }

    fn perform(&mut self, who: Who, id: &str, number: i64, plan: Plan, now: Instant) {
        let noted = self.noted_of(id, number);
        match self.executions.execution(id, number) {
            Ok(execution) => {
                let running = Rc::new(Running::new(self.executions, execution));
                let performed = Box::pin(Rc::clone(&running).perform(plan, noted));
                self.under_way = Some(UnderWayNow { who, running, performed });
            }
            // Their ids were checked when they came.
            Err(error) => {
                self.turn.free();
                self.tell_end(&who, &failed(&error.to_string()), now);
            }
        }
    }

    /// It is over, and that is on the disk.
    fn forget_position(&self, id: &str, number: i64) {
        if let Ok(execution) = self.executions.execution(id, number) {
            self.executions.positions.borrow_mut().forget(&execution.to_string());
        }
    }

    /// What an earlier process has noted of it.
    fn noted_of(&self, id: &str, number: i64) -> Option<Position> {
        let execution = self.executions.execution(id, number).ok()?.to_string();
        self.executions.positions.borrow().of(&execution).cloned()
    }

    fn ended(&mut self, performed: &Performed) {
        let Some(UnderWayNow { who, .. }) = self.under_way.take() else { return };
        self.turn.free();
        self.tell_end(&who, performed, time::now());
    }

    fn tell_end(&mut self, who: &Who, performed: &Performed, now: Instant) {
        said::ended(performed);
        match who {
            Who::Job(_) => self.job_ended(performed, now),
            Who::Command(id) => self.command_ended(id, of_command(performed), now),
        }
    }

    fn command_ended(&mut self, id: &str, outcome: commands::Outcome, now: Instant) {
        if let Some(commands) = &mut self.commands {
            commands.ended(id, outcome, &mut self.executions.services.ask(), now);
        }
    }

    /// A program at `jobs.sock` has said something.
    fn heard(&mut self, said: Said) {
        let (now, mut requests) = (time::now(), self.executions.services.ask());
        let Some(jobs) = self.jobs.as_mut().filter(|_| self.offered.as_ref() == Some(said.identity())) else { return };
        match said {
            Said::Progress(_, details) => jobs.progress(details, &mut requests, now),
            Said::Ended(_, outcome) => {
                self.offered = None;
                jobs.ended(outcome, &mut requests, now);
            }
        }
    }

    fn written(&mut self, result: &Result<(), crate::store::Failure>) {
        let now = time::now();
        let written = self.writer.note(result, now);
        let mut requests = self.executions.services.ask();
        for record in written.records {
            match (record, &mut self.jobs, &mut self.commands) {
                (Record::Jobs(id), Some(jobs), _) => jobs.recorded(id, written.is_done, &mut requests, now),
                (Record::Commands(id), _, Some(commands)) => commands.recorded(id, written.is_done, &mut requests, now),
                _ => {}
            }
        }
    }

    fn publish_status(&self) {
        let mut status = BTreeMap::new();
        if let Some(jobs) = &self.jobs {
            let id = jobs.current().map(|execution| execution.identity.job.clone());
            status.insert(Service::Jobs.name(), UnderWay { execution: id, waiting: 0 });
        }
        if let Some(commands) = &self.commands {
            let id = match &self.under_way {
                Some(UnderWayNow { who: Who::Command(id), .. }) => Some(id.clone()),
                _ => None,
            };
            let waiting = commands.open().count().saturating_sub(usize::from(id.is_some()));
            status.insert(Service::Commands.name(), UnderWay { execution: id, waiting });
        }
        *self.executions.under_way.borrow_mut() = status;
    }
}

async fn performed(under_way: &mut Option<UnderWayNow>) -> Performed {
    match under_way {
        Some(under_way) => under_way.performed.as_mut().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
