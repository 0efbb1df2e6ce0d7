//! `gatewire run`: the daemon.

use std::path::Path;

use log::LevelFilter;

use super::Exit;
use super::inputs::{self, Inputs, Problems};
use crate::config::{Config, Environment};
use crate::daemon::{self, DaemonError};
use crate::link::credentials::Credentials;
use crate::observe::journal;
use crate::owner;
use crate::systemd;

/// Runs the daemon until SIGTERM or SIGINT.
pub(super) fn run(path: &Path) -> Exit {
    journal::init(LevelFilter::Info);
    let Inputs { config, credentials, warnings } = match inputs::read(path, &Environment::of_process()) {
        Ok(inputs) => inputs,
        Err(problems) => return refuse(&problems),
    };
    log::set_max_level(config.log.level);
    for warning in &warnings {
        log::warn!(GATEWIRE_EVENT = "config"; "{warning}");
    }
    for warning in credentials.warnings() {
        log::warn!(GATEWIRE_EVENT = "credentials"; "{warning}");
    }
    warn_root();
    match daemon::run(&config, credentials, &|| read(path)) {
        Ok(()) => Exit::Done,
        Err(error @ (DaemonError::Services(_) | DaemonError::Store(_))) => {
            systemd::tell_status(&format!("not started: {error}"));
            log::error!(GATEWIRE_EVENT = "config"; "{error}");
            Exit::Config
        }
        Err(error @ (DaemonError::Runtime(_) | DaemonError::Timer(_) | DaemonError::PartFailed(_))) => {
            log::error!(GATEWIRE_EVENT = "failed"; "{error}");
            Exit::Internal
        }
    }
}

/// What root makes, the service may not be able to use.
fn warn_root() {
    if owner::is_root_beside_the_service() {
        log::warn!(
            GATEWIRE_EVENT = "as_root";
            "gatewire runs as root, though this machine has the user gatewire for it: `sudo systemctl start gatewire` starts the \
             service, and `sudo -u gatewire gatewire run` runs it by hand. Files that root makes in a directory of another user \
             are given to that user"
        );
    }
}

/// What is there now, for SIGHUP.
fn read(path: &Path) -> Result<(Config, Credentials, Vec<String>), Vec<String>> {
    match inputs::read(path, &Environment::of_process()) {
        Ok(Inputs { config, credentials, warnings }) => Ok((config, credentials, warnings)),
        Err(problems) => Err(problems.errors),
    }
}

/// A record a problem, so that each can be found and filtered.
fn refuse(problems: &Problems) -> Exit {
    for warning in &problems.warnings {
        log::warn!(GATEWIRE_EVENT = "config"; "{warning}");
    }
    for error in &problems.errors {
        log::error!(GATEWIRE_EVENT = "config"; "{error}");
    }
    if let Some(first) = problems.errors.first() {
        // Who may not read the journal sees this in `systemctl status gatewire`.
        systemd::tell_status(&format!("not started: {first}"));
    }
    log::error!(GATEWIRE_EVENT = "config"; "gatewire can't start like this; `gatewire check` shows the same report");
    Exit::Config
}
