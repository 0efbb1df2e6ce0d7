//! The task: one turn of it after the other.

mod of_commands;
mod of_jobs;
mod taking_up;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Instant;

use super::host::Running;
use super::outcome::{details, failed, of_command};
use super::status::{Refused, UnderWay};
use super::turn::{Turn, Waiting};
use super::writer::{Record, Writer};
use super::{Executions, notes, said};
use crate::actions::Plan;
use crate::actions::performing::Performed;
use crate::actions::position::{Position, Positions};
use crate::jobs_socket::Said;
use crate::services::commands::{self, Commands};
use crate::services::history::{self, History};
use crate::services::jobs::{self, Identity, Jobs};
use crate::services::{Asker, Event, Rejection, Service};
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
    /// Nothing is taken or begun any more.
    is_stopping: bool,
    said: said::Said,
}

impl<'a> Work<'a> {
    /// What an earlier process has left is read, and what it has left running is ended.
    pub(super) async fn begin(executions: &'a Rc<Executions>) -> Work<'a> {
        let settings = executions.settings();
        let job_journal = jobs::Journal::read(&notes::read(executions, notes::JOBS).await);
        let command_journal = commands::Journal::read(&notes::read(executions, notes::COMMANDS).await);
        let positions = Positions::read(&notes::read(executions, notes::POSITIONS).await);
        let history = History::read(&notes::read(executions, history::NOTE).await);
        let now = time::now();
        let mut work = Work {
            executions,
            jobs: None,
            commands: None,
            history,
            turn: Turn::default(),
            under_way: None,
            offered: None,
            writer: Writer::new(executions),
            connected_at: None,
            is_stopping: false,
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

    /// Until the daemon stops, and what is known is on the disk.
    pub(super) async fn go_on(&mut self) {
        let (stop, mut is_noted) = (Rc::clone(&self.executions.stop.borrow()), false);
        loop {
            let now = time::now();
            self.do_what_is_due(now);
            if self.is_stopping && !is_noted && self.executions.needs_no_link() {
                is_noted = true;
                if let (Some(commands), Some(at)) = (&mut self.commands, self.executions.services.heard_at()) {
                    commands.stopping(at);
                }
            }
            self.pump(now);
            if is_noted && self.writer.is_idle() {
                return;
            }
            let timeout = self.timeout();
            let Work { under_way, writer, executions, offered, is_stopping, .. } = self;
            tokio::select! {
                biased;
                // What has just ended counts.
                performed = performed(under_way) => self.ended(&performed),
                () = stop.requested(), if !*is_stopping => {
                    *is_stopping = true;
                    // What goes on by design does so without us; the rest is ended with this.
                    *under_way = None;
                }
                result = writer.written() => self.written(&result),
                // What is said before it is resumed waits for that.
                said = executions.socket.said(), if offered.is_some() => self.heard(said),
                () = executions.services.news(Asker::Executions) => {}
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
            let event = self.executions.services.ask().next_event(Asker::Executions);
            if let Some(event) = event {
                self.event(event, now);
                continue;
            }
            // What comes while the daemon stops isn't acknowledged: the next one gets it.
            let told = if self.is_stopping { None } else { self.executions.services.next_told() };
            if let Some(told) = told {
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
            let waiting = if self.is_stopping { None } else { self.turn.next() };
            if let Some(waiting) = waiting {
                self.take_turn(waiting, now);
                continue;
            }
            break;
        }
        self.writer.begin(now);
        self.publish_status();
    }

    /// They may be others since a reload.
    fn look_at_the_settings(&mut self, now: Instant) {
        let settings = self.executions.settings();
        if let Some(jobs) = self.jobs.as_mut().filter(|_| self.executions.was_reloaded.take()) {
            jobs.reloaded(&mut self.executions.services.ask());
        }
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
            commands.connected(connection.session_present.then_some(connection.unheard), connection.at);
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

    fn take_turn(&mut self, waiting: Waiting, now: Instant) {
        match waiting {
            Waiting::Job(execution) => self.begin_job(execution, now),
            Waiting::Command(id) => {
                let takes_it = self.commands.as_mut().is_some_and(|commands| commands.turn(&id, now));
                if !takes_it {
                    self.turn.free();
                }
            }
            Waiting::ResumedCommand(execution, is_in_time) => self.resume_command(execution, is_in_time, now),
        }
    }

    fn perform(&mut self, who: Who, id: &str, number: i64, plan: Plan, now: Instant) {
        if self.is_stopping {
            // It was noted as begun before the stop came: the next life resumes it, or says that it was interrupted.
            return;
        }
        let noted = self.noted_of(id, number);
        match self.executions.execution(id, number) {
            Ok(execution) => {
                let job = if let Who::Job(identity) = &who { Some(identity.clone()) } else { None };
                let running = Rc::new(Running::new(self.executions, execution, job));
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
        if self.executions.services.connection().is_none() {
            let (Who::Job(Identity { job: id, .. }) | Who::Command(id)) = who;
            said::result_waits(id, performed);
        }
        match who {
            Who::Job(_) => self.job_ended(performed, now),
            Who::Command(id) => self.command_ended(id, of_command(performed), now),
        }
    }

    /// AWS refuses what it should have taken.
    fn refused(&self, service: Service, what: &str, rejection: &Rejection) {
        said::refused(service, &self.executions.settings().thing, what, rejection);
    }

    fn put_history(&mut self) {
        self.executions.history.replace(self.history.executions().cloned().collect());
        self.writer.put(history::NOTE, self.history.text(), None);
    }

    /// A program at `jobs.sock` has said something.
    fn heard(&mut self, said: Said) {
        let (now, mut requests) = (time::now(), self.executions.services.ask());
        let Some(jobs) = self.jobs.as_mut().filter(|_| self.offered.as_ref() == Some(said.identity())) else { return };
        match said {
            Said::Wanted(identity) => self.note_offered(identity),
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
                (Record::Offered(identity), ..) if written.is_done => self.executions.socket.noted(&identity),
                _ => {}
            }
        }
    }

    fn publish_status(&self) {
        let mut status = BTreeMap::new();
        if let Some(jobs) = &self.jobs {
            let id = jobs.current().map(|execution| execution.identity.job.clone());
            let refused = jobs.refused().map(|(why, again_at)| Refused { why: format!("start-next: {why}"), again_at });
            status.insert(Service::Jobs.name(), UnderWay { execution: id, waiting: 0, refused });
        }
        if let Some(commands) = &self.commands {
            let id = match &self.under_way {
                Some(UnderWayNow { who: Who::Command(id), .. }) => Some(id.clone()),
                _ => None,
            };
            let waiting = commands.open().count().saturating_sub(usize::from(id.is_some()));
            status.insert(Service::Commands.name(), UnderWay { execution: id, waiting, refused: None });
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
