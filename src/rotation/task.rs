//! The task that does what the machine says: on the disk in threads, and at AWS over the link.

mod aws;
mod disk;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use super::files::{Csr, Files};
use super::orders::Order;
use super::renewal;
use super::{Cause, Effect, Machine, Now, Orders, Question, RotationEnd, Step, said};
use crate::config::{self, Provisioning};
use crate::identity::{Directory, Identity, IdentityState, Phase, Progress, Which};
use crate::link::state::{Attempt, Came, LinkState};
use crate::net::credentials::Credentials;
use crate::provisioning::{KeySource, Making};
use crate::services::{Asker, RequestId};
use crate::store::Store;
use crate::thing_services::ThingServices;
use crate::time;
use disk::{Reading, Working};

/// How often it is looked whether the certificate is to be renewed.
const LOOK: Duration = Duration::from_secs(24 * 3600);

/// Files that can't be used are read again after so long.
const READ_AGAIN: Duration = Duration::from_secs(30);

/// What a connection is made with.
#[derive(Debug, Clone)]
pub(crate) struct Means {
    pub(crate) tls: config::Tls,
    pub(crate) credentials: Credentials,
}

/// When the link is to connect with other means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// The connection that there is ends.
    AtOnce,
    /// When it makes its next attempt anyway.
    AtNextAttempt,
}

/// What others give: see [`Rotations::run`].
pub(crate) struct Rotations {
    pub(crate) services: Rc<ThingServices>,
    pub(crate) store: Rc<Store>,
    pub(crate) orders: Rc<Orders>,
    pub(crate) link: Rc<LinkState>,
    /// Has the link connect with this from now on.
    pub(crate) switch: Box<dyn Fn(Means, When)>,
    pub(crate) state: Rc<IdentityState>,
    /// What it connects with is the new identity, which isn't in force yet.
    pub(crate) is_trial: Rc<Cell<bool>>,
}

/// What of the configuration it is made for. With another it begins anew, as after a restart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// The CAs, and the certificate and key of the identity in force.
    pub(crate) tls: config::Tls,
    pub(crate) provisioning: Provisioning,
}

/// The task, while it runs.
struct Task<'a> {
    around: &'a Rotations,
    settings: Settings,
    files: Files,
    machine: Machine,
    /// Of the new identity, as it is on the disk or on its way there.
    progress: Option<Progress>,
    csr: Option<Csr>,
    asked: Option<(RequestId, Question)>,
    working: Option<Working>,
    /// The files with which the link is to connect.
    reading: Option<(Which, config::Tls, Reading)>,
    when: When,
    /// When they are read again.
    read_again_at: Option<(Which, Instant)>,
    /// When the certificate in force ends.
    ends: Timestamp,
    /// The ids of the certificates in force and of the new one.
    current: Arc<str>,
    next: Option<Arc<str>>,
    attempts: watch::Receiver<Attempt>,
    look_at: Instant,
    /// What was said last of how far it is.
    step: Option<Step>,
}

impl Rotations {
    /// Rotates the `identity` in force whenever that is wanted, for ever. For who holds the lock of `directory`; `credentials` are
    /// those in force. May be dropped at any point: the next goes on there.
    pub(crate) async fn run(
        &self,
        settings: Settings,
        directory: Directory,
        identity: Identity,
        credentials: &Credentials,
    ) {
        let making = Making::new(directory, KeySource::of(&settings.provisioning, &settings.tls));
        let Identity { thing, configuration, key, .. } = identity.clone();
        let files = Files { making, key, thing, configuration };
        let mut task = Task::begin(self, settings, files, identity, credentials).await;
        task.go_on().await;
    }

    /// Nothing is rotated any more: what is asked is given up. `is_by_hand`: nor will it be, and a job that waits fails.
    pub(crate) fn end(&self, is_by_hand: bool) {
        self.services.ask().withdraw_all(Asker::Rotation);
        self.services.configure(Asker::Rotation, [].into());
        if let Some(job) = is_by_hand.then(|| self.orders.end(said::BY_HAND)).flatten() {
            said::by_hand(&job);
        }
    }

    fn now() -> Now {
        Now { at: time::now(), wall: time::wall() }
    }
}

impl<'a> Task<'a> {
    async fn begin(
        around: &'a Rotations,
        settings: Settings,
        files: Files,
        identity: Identity,
        credentials: &Credentials,
    ) -> Task<'a> {
        let (found, progress) = disk::left(&files).await;
        let (note, made_for) = disk::notes(&around.store, &identity).await;
        let now = Rotations::now();
        // What an earlier task has said isn't so any more.
        around.state.found(Some(&identity));
        if let Some(failed) = note.failed.clone() {
            said::failed(failed, &around.state);
        }
        let machine = Machine::new(found, note, made_for, now);
        // Of an earlier task, with another configuration.
        around.services.configure(Asker::Rotation, [].into());
        around.orders.begin_again();
        let mut attempts = around.link.attempts();
        attempts.mark_changed();
        Task {
            around,
            settings,
            files,
            machine,
            progress,
            csr: None,
            asked: None,
            working: None,
            reading: None,
            when: When::AtOnce,
            read_again_at: None,
            ends: credentials.validity().not_after,
            current: Arc::clone(credentials.certificate_id()),
            next: None,
            attempts,
            look_at: now.at,
            step: None,
        }
    }

    async fn go_on(&mut self) {
        loop {
            self.look_at_the_certificate();
            self.pump();
            let timeout = self.timeout();
            let Task { working, reading, around, attempts, .. } = self;
            tokio::select! {
                biased;
                done = disk::done(working) => self.done(done),
                credentials = disk::read(reading) => self.have_read(credentials),
                Ok(()) = attempts.changed() => self.look_at_the_link(),
                () = around.orders.came() => self.take_orders(),
                () = around.services.news(Asker::Rotation) => {}
                () = sleep_until(timeout) => {}
            }
            let now = Rotations::now();
            self.machine.handle_timeout(now);
            if self.asked.is_some() {
                self.around.services.ask().handle_timeout(now.at);
            }
        }
    }

    fn timeout(&self) -> Option<Instant> {
        let asked = self.asked.as_ref().and_then(|_| self.around.services.requests().timeout());
        let read_again = self.read_again_at.map(|(_, at)| at);
        [self.machine.timeout(), asked, read_again, Some(self.look_at)].into_iter().flatten().min()
    }

    /// On start, and once a day.
    fn look_at_the_certificate(&mut self) {
        let now = Rotations::now();
        if let Some((which, _)) = self.read_again_at.take_if(|(_, at)| *at <= now.at) {
            self.connect_with(which, self.when);
        }
        if self.look_at > now.at {
            return;
        }
        self.look_at = now.at + LOOK;
        let renew_before = self.settings.provisioning.renew_before;
        if renew_before.is_some_and(|before| renewal::is_due(self.ends, before, now.wall)) {
            self.machine.is_due(now);
        }
    }

    /// The link is to connect with this identity, once its files are read.
    fn connect_with(&mut self, which: Which, when: When) {
        let tls = match which {
            Which::Current => self.settings.tls.clone(),
            Which::Next => self.files.making.tls(&self.settings.tls),
        };
        self.read_again_at = None;
        let platform = Arc::clone(self.files.making.directory().platform());
        self.when = when;
        self.reading = Some((which, tls.clone(), disk::reading(platform, tls)));
    }

    fn have_read(&mut self, read: Result<Credentials, String>) {
        let Some((which, tls, _)) = self.reading.take() else { return };
        let credentials = match read {
            Ok(credentials) => credentials,
            Err(why) => {
                said::unreadable(&why);
                let now = Rotations::now();
                self.read_again_at = Some((which, now.at + READ_AGAIN));
                return self.machine.unreadable(which, &why, now);
            }
        };
        let id = Arc::clone(credentials.certificate_id());
        match which {
            Which::Current => (self.current, self.ends) = (id, credentials.validity().not_after),
            Which::Next => self.next = Some(id),
        }
        self.around.is_trial.set(which == Which::Next);
        (self.around.switch)(Means { tls, credentials }, self.when);
    }

    fn look_at_the_link(&mut self) {
        let Attempt { certificate, came } = self.attempts.borrow_and_update().clone();
        let which = match () {
            () if certificate == self.current => Which::Current,
            () if Some(&certificate) == self.next.as_ref() => Which::Next,
            () => return,
        };
        let now = Rotations::now();
        match came {
            Came::Connected => self.machine.connected(which, now),
            Came::Refused(why) => self.machine.refused(which, &why, now),
            Came::Nothing | Came::Lost => {
                self.unanswered(None, "the connection ended before an answer came");
                self.machine.lost();
            }
        }
    }

    fn take_orders(&mut self) {
        // What they say is of the connection that there is.
        self.look_at_the_link();
        while let Some(order) = self.around.orders.next() {
            match order {
                Order::Wanted(job) => self.machine.wanted(job, Rotations::now()),
                Order::Unwanted(job) => self.machine.unwanted(&job, Rotations::now()),
                Order::StillWanted(job) => self.machine.still_wanted(&job),
            }
        }
    }

    /// Everything that has happened, and all that follows from it.
    fn pump(&mut self) {
        loop {
            let event = self.around.services.ask().next_event(Asker::Rotation);
            if let Some(event) = event {
                self.event(event);
            } else if let Some(effect) = self.machine.next_effect() {
                self.effect(effect);
            } else {
                break;
            }
        }
        self.tell_step();
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Ask(question) => self.ask(question),
            Effect::Withdraw => self.withdraw(),
            Effect::Use(which) => self.connect_with(which, When::AtOnce),
            Effect::UseAtNextAttempt(which) => self.connect_with(which, When::AtNextAttempt),
            Effect::Over(ended) => self.over(ended),
            Effect::Note(note) => self.note(note),
            stores => self.store(stores),
        }
    }

    fn over(&mut self, ended: RotationEnd) {
        self.withdraw();
        self.csr = None;
        said::over(&ended, &self.around.state);
        if let RotationEnd { cause: Cause::Job(job), failed } = ended {
            self.around.orders.over(&job, failed.map_or(Ok(()), Err));
        }
    }

    /// Status and journal.
    fn tell_step(&mut self) {
        let step = self.machine.step();
        if std::mem::replace(&mut self.step, step) == step {
            return;
        }
        match step {
            Some(step) => {
                said::step(step, self.machine.cause());
                self.around.state.goes_on(Phase::Rotating, step.name());
            }
            None => self.around.state.rests(),
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
