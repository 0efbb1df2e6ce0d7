//! `gatewire run`: the daemon.

use std::path::Path;
use std::time::SystemTime;

use log::LevelFilter;

use super::Exit;
use crate::config::{self, Environment};
use crate::daemon::{self, StartError};
use crate::link::credentials;
use crate::observe::journal;

/// Runs the daemon until SIGTERM or SIGINT.
pub(super) fn run(path: &Path) -> Exit {
    journal::init(LevelFilter::Info);
    let loaded = match config::read(path, &Environment::of_process()) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&error.to_string()),
    };
    log::set_max_level(loaded.config.log.level);
    for warning in &loaded.warnings {
        log::warn!(GATEWIRE_EVENT = "config"; "{warning}");
    }
    let credentials = match credentials::load(&loaded.config.tls, SystemTime::now()) {
        Ok(credentials) => credentials,
        Err(problems) => return refuse(&problems.to_string()),
    };
    match daemon::run(&loaded.config, credentials) {
        Ok(()) => Exit::Done,
        Err(error @ StartError::Socket(_)) => refuse(&error.to_string()),
        Err(error @ StartError::Runtime(_)) => {
            log::error!(GATEWIRE_EVENT = "failed"; "{error}");
            Exit::Internal
        }
    }
}

/// A line a problem, so that each can be found and filtered.
fn refuse(problems: &str) -> Exit {
    for problem in problems.lines() {
        log::error!(GATEWIRE_EVENT = "config"; "{problem}");
    }
    log::error!(GATEWIRE_EVENT = "config"; "gatewire can't start like this; `gatewire check` shows the same report");
    Exit::Config
}
