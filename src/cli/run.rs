//! `gatewire run`: the daemon.

use std::path::Path;
use std::sync::Arc;

use log::LevelFilter;

use super::Exit;
use super::inputs::{self, Inputs, Means, Problems};
use crate::config::Environment;
use crate::daemon::{self, DaemonError, Read, Readings, ReloadAnswer, ReloadRefused};
use crate::identity::{Platform, this_machine};
use crate::journal;
use crate::systemd;

/// Runs the daemon until SIGTERM or SIGINT.
#[inline(never)]
pub(super) fn run(path: &Path) -> Exit {
    let path = path.to_owned();
    let read: Arc<Read> = Arc::new(move || readings(&path, &Environment::of_process(), &this_machine()));
    let ended = daemon::run(&read);
    // If it hasn't come that far.
    journal::init(LevelFilter::Info);
    match ended {
        Ok(()) => Exit::Done,
        Err(DaemonError::Refused(refused)) => refuse(&refused),
        Err(error @ DaemonError::Unprepared(_)) => {
            systemd::tell_status(&format!("not started: {error}"));
            log::error!(GATEWIRE_EVENT = "config"; "{error}");
            Exit::Config
        }
        Err(
            error @ (DaemonError::Runtime(_)
            | DaemonError::Timer(_)
            | DaemonError::NoThread(_)
            | DaemonError::PartFailed(_)),
        ) => {
            log::error!(GATEWIRE_EVENT = "failed"; "{error}");
            Exit::Internal
        }
    }
}

/// What the daemon works with.
pub(crate) fn readings(path: &Path, environment: &Environment, platform: &Arc<dyn Platform>) -> ReloadAnswer {
    match inputs::read_on(path, environment, platform) {
        Ok(Inputs { config, means, mut warnings }) => {
            let (credentials, identity) = match means {
                Means::Own(credentials, identity) => (Some(credentials), identity),
                Means::Claim(claim) => {
                    warnings.extend(claim.warnings().iter().map(|warning| format!("warning: {warning}")));
                    (None, None)
                }
            };
            Ok(Readings { config, credentials, identity, warnings })
        }
        Err(Problems { warnings, errors, .. }) => Err(ReloadRefused { warnings, errors }),
    }
}

/// A record a problem, so that each can be found and filtered.
fn refuse(refused: &ReloadRefused) -> Exit {
    for warning in &refused.warnings {
        log::warn!(GATEWIRE_EVENT = "config"; "{warning}");
    }
    for error in &refused.errors {
        log::error!(GATEWIRE_EVENT = "config"; "{error}");
    }
    if let Some(first) = refused.errors.first() {
        // Who may not read the journal sees this in `systemctl status gatewire`.
        systemd::tell_status(&format!("not started: {first}"));
    }
    log::error!(GATEWIRE_EVENT = "config"; "gatewire can't start like this; `gatewire check` shows the same report");
    Exit::Config
}
