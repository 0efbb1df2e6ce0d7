//! What is said of executions in the log.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::actions::ExecutionId;
use crate::actions::performing::Performed;
use crate::duration::written;
use crate::services::commands::{self, Unanswered};
use crate::services::jobs::{Fate, Identity};
use crate::services::{Rejection, Service};
use crate::socket::Seldom;
use crate::store::Failure;

/// What was said and needn't be said again.
#[derive(Debug, Default)]
pub(super) struct Said {
    ready: BTreeSet<Service>,
    delayed: Seldom,
}

impl Said {
    /// A service can be used: once, and again after it was refused.
    pub(super) fn ready(&mut self, service: Service) {
        let (name, table) = (service.full_name(), service.name());
        let level = if self.ready.insert(service) { log::Level::Info } else { log::Level::Debug };
        log::log!(level, GATEWIRE_EVENT = "service_ready", GATEWIRE_SERVICE = table; "{name} can be used: its filters are subscribed to");
    }

    pub(super) fn refused(&mut self, service: Service) {
        self.ready.remove(&service);
    }

    pub(super) fn delayed(&self, rejection: Option<&Rejection>, wait: Duration, now: Instant) {
        if !self.delayed.is_due(now) {
            return;
        }
        let wait = written(Duration::from_secs(wait.as_secs_f64().ceil() as u64));
        match rejection {
            Some(Rejection { code, message, .. }) => log::warn!(
                GATEWIRE_EVENT = "request_delayed";
                "AWS doesn't take a request now ({code}: {message}): it is sent again in {wait}, and nothing is lost"
            ),
            None => log::warn!(
                GATEWIRE_EVENT = "request_delayed";
                "AWS doesn't answer a request: it is sent again in {wait}, and nothing is lost. If no answer ever comes, check that the \
                 certificate's policy allows iot:Receive on the answers' topics (`gatewire policy`)"
            ),
        }
    }
}

/// AWS refuses what it should have taken.
pub(super) fn refused(service: Service, thing: &str, what: &str, rejection: &Rejection) {
    let name = service.full_name();
    let remedy = match rejection.code.as_str() {
        "ResourceNotFound" => format!(
            "It knows no thing `{thing}`, most likely: set connection.thing to the name that the thing has at AWS (`aws iot list-things`). "
        ),
        // The PUBLISH was refused.
        "" => "`gatewire policy` prints what the certificate's policy has to allow. ".to_owned(),
        _ => String::new(),
    };
    log::error!(
        GATEWIRE_EVENT = "request_rejected", GATEWIRE_SERVICE = service.name();
        "{name} refuses {what}: {rejection}. {remedy}It is asked again in a while, and nothing is lost"
    );
}

pub(super) fn job_begun(identity: &Identity) {
    let Identity { job, number } = identity;
    log::info!(GATEWIRE_EVENT = "job_begun", GATEWIRE_JOB = job.as_str(); "job {job}, execution {number}: begun");
}

pub(super) fn job_resumed(identity: &Identity) {
    let Identity { job, number } = identity;
    log::info!(
        GATEWIRE_EVENT = "job_begun", GATEWIRE_JOB = job.as_str();
        "job {job}, execution {number}: was under way when gatewire stopped"
    );
}

pub(super) fn job_rejected(identity: &Identity, why: &str) {
    let Identity { job, number } = identity;
    log::warn!(
        GATEWIRE_EVENT = "job_rejected", GATEWIRE_JOB = job.as_str();
        "job {job}, execution {number}: rejected: {why}. Only what an [[action]] allows is done; `gatewire jobs` lists what was asked for"
    );
}

pub(super) fn job_over(identity: &Identity, fate: &Fate) {
    let Identity { job, number } = identity;
    let (level, what) = match fate {
        Fate::Reported(outcome) => {
            let level = match outcome.status.as_str() {
                "SUCCEEDED" => log::Level::Info,
                // That has been said.
                "REJECTED" => log::Level::Debug,
                _ => log::Level::Warn,
            };
            let reason = outcome.why().map(|why| format!(": {why}")).unwrap_or_default();
            (level, format!("{}{reason}; AWS has been told", outcome.status.as_str()))
        }
        Fate::Moot(said) => {
            let said = match said.as_str() {
                "ResourceNotFound" => "it was deleted at AWS",
                "CANCELED" => "it was cancelled at AWS",
                "TerminalStateReached" | "InvalidStateTransition" => "it was cancelled at AWS, or has timed out there",
                "TIMED_OUT" => "it has timed out at AWS",
                other => other,
            };
            (log::Level::Info, format!("ended without a result: {said}"))
        }
    };
    log::log!(level, GATEWIRE_EVENT = "job_ended", GATEWIRE_JOB = job.as_str(); "job {job}, execution {number}: {what}");
}

pub(super) fn unreadable_job() {
    log::error!(
        GATEWIRE_EVENT = "job_unreadable";
        "AWS IoT Jobs names a job execution that can't be read, so that it can't be answered: cancel it there (`aws iot \
         list-job-executions-for-thing`)"
    );
}

pub(super) fn command_begun(id: &str, is_resumed: bool) {
    let what = if is_resumed { "was under way when gatewire stopped" } else { "begun" };
    log::info!(GATEWIRE_EVENT = "command_begun", GATEWIRE_COMMAND = id; "command {id}: {what}");
}

pub(super) fn command_rejected(id: &str, why: &str) {
    log::warn!(
        GATEWIRE_EVENT = "command_rejected", GATEWIRE_COMMAND = id;
        "command {id}: rejected: {why}. Only what an [[action]] allows is done"
    );
}

/// As `gatewire jobs` lists it.
pub(super) fn command_fate(fate: &commands::Fate) -> (String, Option<String>) {
    let (commands::Fate::Reported(outcome) | commands::Fate::Late(outcome)) = fate else {
        let commands::Fate::Moot(code) = fate else { return (String::new(), None) };
        return (String::new(), Some(format!("AWS says {code}")));
    };
    let reason = outcome.reason.as_ref().map(|reason| reason.description().to_owned());
    (outcome.status.as_str().to_owned(), reason)
}

pub(super) fn command_over(id: &str, fate: &commands::Fate) {
    let (status, reason) = command_fate(fate);
    let reason = reason.filter(|reason| !reason.is_empty()).map(|reason| format!(": {reason}")).unwrap_or_default();
    let (level, what) = match fate {
        commands::Fate::Reported(_) if status == "SUCCEEDED" => (log::Level::Info, "; AWS has been told"),
        commands::Fate::Reported(_) => (log::Level::Warn, "; AWS has been told"),
        commands::Fate::Moot(_) => (log::Level::Info, ", and wants no result"),
        commands::Fate::Late(_) => (log::Level::Warn, "; its time had passed before AWS could be told"),
    };
    let status = if status.is_empty() { "over".to_owned() } else { status };
    log::log!(level, GATEWIRE_EVENT = "command_ended", GATEWIRE_COMMAND = id; "command {id}: {status}{reason}{what}");
}

pub(super) fn command_dropped(why: Unanswered) {
    let why = match why {
        Unanswered::Unreadable => "its topic has no execution id",
        Unanswered::TooMany => "too many wait already",
    };
    log::warn!(GATEWIRE_EVENT = "command_dropped"; "a command is dropped without an answer: {why}");
}

/// A job goes to a program of the user.
pub(super) fn job_offered(identity: &Identity, has_reader: bool) {
    let Identity { job, number } = identity;
    let waits = if has_reader { "" } else { ", and waits, as none reads there" };
    log::info!(
        GATEWIRE_EVENT = "job_begun", GATEWIRE_JOB = job.as_str();
        "job {job}, execution {number}: no action takes it; it is for a program at jobs.sock{waits}"
    );
}

/// What a plan has come to, and AWS can't be told now.
pub(super) fn result_waits(id: &str, performed: &Performed) {
    let what = if performed.has_succeeded { "has succeeded" } else { "has failed" };
    log::info!("{id}: its action {what}; AWS is told once there is a connection");
}

/// What an earlier process has noted can't be read.
pub(super) fn unread(failure: &Failure) {
    log::warn!(
        GATEWIRE_EVENT = "actions_wait";
        "no job or command is begun until the database can be read, which says what an earlier gatewire has begun: {failure}"
    );
}

pub(super) fn left_running(execution: &ExecutionId, why: &str) {
    log::error!(
        GATEWIRE_EVENT = "action_left_running";
        "what an earlier gatewire has left running of execution {execution} can't be ended: {why}. It may still be at work beside what is \
         done next; `ps` shows it, by GATEWIRE_EXECUTION={execution} in its environment"
    );
}
