//! SIGHUP: another configuration, without letting go of anything that it leaves as it is.

mod told;

use std::cell::RefCell;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Parts;
use super::machine::{Machine, ReloadAnswer, ReloadRefused};
use crate::blocking::NoThread;
use crate::config::Config;
use crate::link::Setup;
use crate::net::Network;
use crate::net::credentials::{Credentials, Fingerprint};
use crate::time;
use told::Told;

/// How long the disk may take to answer: nothing else is heard meanwhile, SIGTERM neither.
const PATIENCE: Duration = Duration::from_secs(2);

/// Files that are being read, by a thread of their own: a disk that hangs holds up nothing else, and signals are heard.
#[derive(Default)]
pub(super) struct ReadConfiguration {
    answer: Option<(oneshot::Receiver<ReloadAnswer>, Option<JoinHandle<()>>)>,
    /// They may have changed since it began.
    again: bool,
}

impl ReadConfiguration {
    /// # Errors
    /// There is no thread that could read them.
    pub(super) fn begin(&mut self, machine: &impl Machine) -> Result<(), NoThread> {
        if self.answer.is_some() {
            self.again = true;
            log::warn!(
                "SIGHUP: the configuration is still being read for the previous SIGHUP; the disk is slow or hangs (`dmesg`)"
            );
            return Ok(());
        }
        let (tell, answer) = oneshot::channel();
        self.answer = Some((answer, machine.read(tell)?));
        Ok(())
    }

    /// For SIGHUP.
    pub(super) fn begin_again(&mut self, machine: &impl Machine) {
        if let Err(no_thread) = self.begin(machine) {
            log::error!(
                GATEWIRE_EVENT = "reload_refused";
                "SIGHUP: the configuration isn't read, the old one stays in force: {no_thread}"
            );
        }
    }

    /// What was read. Never completes if nothing is.
    pub(super) async fn answer(&mut self, machine: &impl Machine) -> ReloadAnswer {
        let Some((answer, thread)) = &mut self.answer else { return std::future::pending().await };
        let told = answer.await;
        // It has nothing left to do. Once it has ended, its heap is the next thread's, which would have one more otherwise.
        let _ = thread.take().map(JoinHandle::join);
        self.answer = None;
        if std::mem::take(&mut self.again) {
            self.begin_again(machine);
        }
        told.unwrap_or_else(|_| {
            let errors = vec!["the configuration can't be read: the thread that reads it has failed".to_owned()];
            Err(ReloadRefused { warnings: Vec::new(), errors })
        })
    }
}

/// What was said of reloads.
#[derive(Debug, Default)]
pub(super) struct Said(RefCell<Told<Outcome>>);

/// What a reload came to.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// The configuration and the credentials, and the warnings about them.
    InForce(Box<(Config, Fingerprint)>, Vec<String>),
    /// The errors.
    Refused(Vec<String>),
}

/// Makes everything as it was read anew, or says why not and leaves it as it is.
/// Returns why not.
pub(super) async fn reload(parts: &Rc<Parts<impl Network>>, answer: ReloadAnswer) -> Result<(), String> {
    let problems = match answer {
        Ok((config, credentials, warnings)) => match apply(parts, &config, &credentials).await {
            Ok(()) => {
                say(&parts.reloads, config, &credentials, &warnings);
                return Ok(());
            }
            Err(problem) => vec![problem],
        },
        Err(refused) => refused.errors,
    };
    let refused = Err(problems.join("; "));
    let Some(left_out) = parts.reloads.0.borrow_mut().note(Outcome::Refused(problems.clone()), time::now()) else {
        return refused;
    };
    for problem in &problems {
        log::error!(GATEWIRE_EVENT = "reload_refused"; "{problem}");
    }
    log::error!(
        GATEWIRE_EVENT = "reload_refused";
        "SIGHUP: the new configuration is refused, the old one stays in force{left_out}"
    );
    refused
}

async fn apply(parts: &Rc<Parts<impl Network>>, config: &Config, credentials: &Credentials) -> Result<(), String> {
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
    parts.schedule.reconfigure(&config.publish);
    parts.link.reconfigure(Setup {
        connection: config.connection.clone(),
        tls: config.tls.clone(),
        credentials: credentials.clone(),
        filters: config.filters(),
    });
    log::set_max_level(config.log.level);
    Ok(())
}

/// What is to be said about files that can be used.
pub(super) fn warn(credentials: &Credentials, warnings: &[String]) {
    for warning in warnings {
        log::warn!(GATEWIRE_EVENT = "config"; "{warning}");
    }
    for warning in credentials.warnings() {
        log::warn!(GATEWIRE_EVENT = "credentials"; "{warning}");
    }
}

fn say(said: &Said, config: Config, credentials: &Credentials, warnings: &[String]) {
    let doubts = credentials.warnings().iter().map(ToString::to_string);
    let all = warnings.iter().cloned().chain(doubts).collect();
    let counts = (config.publish.len(), config.forward.len(), config.ingest.len(), bridges(&config));
    let outcome = Outcome::InForce(Box::new((config, credentials.fingerprint().clone())), all);
    let Some(left_out) = said.0.borrow_mut().note(outcome, time::now()) else { return };
    warn(credentials, warnings);
    let (publish, forward, ingest, bridges) = counts;
    log::info!(
        GATEWIRE_EVENT = "reloaded";
        "SIGHUP: the configuration is read again: {publish} publish, {forward} forward, {ingest} ingest{bridges}{left_out}"
    );
}

/// Nothing is said of what isn't used.
fn bridges(config: &Config) -> String {
    if config.bridge.is_empty() { String::new() } else { format!(", {} bridge", config.bridge.len()) }
}
