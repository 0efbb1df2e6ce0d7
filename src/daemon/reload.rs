//! SIGHUP, or a job that asks for the same: another configuration, without letting go of anything that it leaves as it is.

mod told;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Parts;
use super::machine::{Machine, Readings, ReloadAnswer, ReloadRefused};
use crate::blocking::{self, NoThread};
use crate::config::Config;
use crate::journal;
use crate::link::Setup;
use crate::net::Network;
use crate::net::credentials::{Credentials, Fingerprint};
use crate::pkcs11::forget_refused_pin;
use crate::status::ReloadRefusedStatus;
use crate::time;
use told::Told;

/// How long the disk may take to answer: nothing else is heard meanwhile, SIGTERM neither.
const PATIENCE: Duration = Duration::from_secs(2);

/// What asks for a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Cause {
    #[default]
    Signal,
    /// What is built in for jobs and commands.
    Job,
    /// There is an identity now.
    Identity,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Signal => "SIGHUP",
            Cause::Job => "gatewire:reload",
            Cause::Identity => "the identity is there",
        })
    }
}

/// Files that are being read, by a thread of their own: a disk that hangs holds up nothing else, and signals are heard.
#[derive(Default)]
pub(super) struct ReadConfiguration {
    answer: Option<(oneshot::Receiver<ReloadAnswer>, Option<JoinHandle<()>>)>,
    cause: Cause,
    /// They may have changed since it began.
    again: Option<Cause>,
}

impl ReadConfiguration {
    /// # Errors
    /// There is no thread that could read them.
    pub(super) fn begin(&mut self, cause: Cause, machine: &impl Machine) -> Result<(), NoThread> {
        if self.answer.is_some() {
            self.again = Some(cause);
            log::warn!(
                "{cause}: the configuration is still being read for the previous {}; the disk is slow or hangs (`dmesg`)",
                self.cause
            );
            return Ok(());
        }
        self.cause = cause;
        let (tell, answer) = oneshot::channel();
        self.answer = Some((answer, machine.read(tell)?));
        Ok(())
    }

    /// While the daemon works.
    pub(super) fn begin_again(&mut self, cause: Cause, machine: &impl Machine) {
        if let Err(no_thread) = self.begin(cause, machine) {
            log::error!(
                GATEWIRE_EVENT = "reload_refused";
                "{cause}: the configuration isn't read, the old one stays in force: {no_thread}"
            );
        }
    }

    /// What was read, and what for. Never completes if nothing is.
    pub(super) async fn answer(&mut self, machine: &impl Machine) -> (Cause, ReloadAnswer) {
        let Some((answer, thread)) = &mut self.answer else { return std::future::pending().await };
        let told = answer.await;
        // It has nothing left to do. Once it has ended, its heap is the next thread's, which would have one more otherwise.
        let _ = thread.take().map(JoinHandle::join);
        self.answer = None;
        let read_for = self.cause;
        if let Some(cause) = self.again.take() {
            self.begin_again(cause, machine);
        }
        let told = told.unwrap_or_else(|_| {
            let errors = vec!["the configuration can't be read: the thread that reads it has failed".to_owned()];
            Err(ReloadRefused { warnings: Vec::new(), errors })
        });
        (read_for, told)
    }
}

/// So many errors of a reload are kept for the status; the journal has them all.
const SHOWN: usize = 20;

/// What was said of reloads.
#[derive(Debug, Default)]
pub(super) struct Said {
    told: RefCell<Told<Outcome>>,
    /// That the last one was refused.
    refused: RefCell<Option<ReloadRefusedStatus>>,
}

impl Said {
    /// For the status document.
    pub(super) fn refused(&self) -> Option<ReloadRefusedStatus> {
        self.refused.borrow().clone()
    }
}

/// What a reload came to.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// The configuration and the credentials, and the warnings about them.
    InForce(Box<(Config, Option<Fingerprint>)>, Vec<String>),
    /// The errors.
    Refused(Vec<String>),
}

/// Makes everything as it was read anew, or says why not and leaves it as it is.
/// Returns why not.
pub(super) async fn reload(parts: &Rc<Parts<impl Network>>, cause: Cause, answer: ReloadAnswer) -> Result<(), String> {
    let problems = match answer {
        Ok(readings) => match apply(parts, &readings).await {
            Ok(()) => {
                parts.reloads.refused.take();
                say(&parts.reloads, cause, readings);
                return Ok(());
            }
            Err(problem) => vec![problem],
        },
        Err(refused) => refused.errors,
    };
    let errors = problems.iter().take(SHOWN).cloned().collect();
    parts.reloads.refused.replace(Some(ReloadRefusedStatus { at: journal::now().into(), errors }));
    let refused = Err(problems.join("; "));
    let Some(left_out) = parts.reloads.told.borrow_mut().note(Outcome::Refused(problems.clone()), time::now()) else {
        return refused;
    };
    for problem in &problems {
        log::error!(GATEWIRE_EVENT = "reload_refused"; "{problem}");
    }
    log::error!(
        GATEWIRE_EVENT = "reload_refused";
        "{cause}: the new configuration is refused, the old one stays in force{left_out}"
    );
    refused
}

async fn apply(parts: &Rc<Parts<impl Network>>, readings: &Readings) -> Result<(), String> {
    let Readings { config, credentials, .. } = readings;
    if *parts.path.as_path() != config.outbox.path {
        return Err(format!(
            "`outbox.path` can't change while gatewire runs: the messages that wait are in {}. `systemctl restart gatewire` \
            starts with {} and leaves the old file as it is",
            parts.path.display(),
            config.outbox.path.display()
        ));
    }
    let prepared = parts.served.prepare(config, PATIENCE).await.map_err(|error| error.at_its_place(config))?;
    parts.served.apply(config, prepared, parts.document()).await;
    parts.served.outbox.reconfigure(&config.outbox, &config.connection.rate_limit);
    parts.served.outbox.release_quarantine();
    parts.schedule.reconfigure(&config.publications());
    if config.meter.is_none() {
        // What was counted isn't lost, should it be configured again.
        parts.link.meter.save(&parts.served.store, &*parts.link.network).await;
    }
    parts.link.meter.configure(config, &*parts.link.network);
    let (tls, credentials) = match parts.rotation.goes_on_with_trial(readings) {
        true => parts.link.means(),
        false => (config.tls.clone(), credentials.clone()),
    };
    parts.link.reconfigure(Setup {
        connection: config.connection.clone(),
        tls,
        credentials,
        filters: config.filters(),
    });
    parts.link.subscribe_to(parts.served.filters(config));
    // Who has mended the token, and not the file of its PIN, asks for this. Aside, as the disk may hang.
    if config.tls.key_file.token().is_some() {
        let (forgotten, done) = oneshot::channel();
        let forget = move || {
            forget_refused_pin();
            let _ = forgotten.send(());
        };
        if blocking::begin("pin", forget).is_ok() {
            // What is tried at once below is to find it forgotten.
            let _ = tokio::time::timeout(PATIENCE, done).await;
        }
    }
    parts.is_provisioned.set(config.provisioning.is_some());
    parts.identity.apply(readings, &parts.link.network, &parts.served.supervisor);
    parts.rotation.apply(readings, &parts.identity, &parts.served);
    log::set_max_level(config.log.level);
    Ok(())
}

/// What is to be said about files that can be used.
pub(super) fn warn(credentials: Option<&Credentials>, warnings: &[String]) {
    for warning in warnings {
        // The log says itself that it is one.
        let warning = warning.strip_prefix("warning: ").unwrap_or(warning);
        log::warn!(GATEWIRE_EVENT = "config"; "{warning}");
    }
    for warning in credentials.into_iter().flat_map(Credentials::warnings) {
        log::warn!(GATEWIRE_EVENT = "credentials"; "{warning}");
    }
}

fn say(said: &Said, cause: Cause, readings: Readings) {
    let Readings { config, credentials, warnings, .. } = readings;
    let credentials = credentials.as_ref();
    let doubts = credentials.into_iter().flat_map(Credentials::warnings).map(ToString::to_string);
    let all = warnings.iter().cloned().chain(doubts).collect();
    let counts = counts(&config);
    let outcome =
        Outcome::InForce(Box::new((config, credentials.map(|credentials| credentials.fingerprint().clone()))), all);
    let Some(left_out) = said.told.borrow_mut().note(outcome, time::now()) else { return };
    warn(credentials, &warnings);
    log::info!(
        GATEWIRE_EVENT = "reloaded";
        "{cause}: the configuration is read again: {counts}{left_out}"
    );
}

/// How many tables there are of each kind. Of bridges and actions nothing is said where there are none.
fn counts(config: &Config) -> String {
    let always =
        [(config.publish.len(), "publish"), (config.forward.len(), "forward"), (config.ingest.len(), "ingest")];
    let if_used = [(config.bridge.len(), "bridge"), (config.actions.iter().count(), "action")];
    let used = if_used.into_iter().filter(|(number, _)| *number > 0);
    let counts: Vec<String> = always.into_iter().chain(used).map(|(number, kind)| format!("{number} {kind}")).collect();
    counts.join(", ")
}
