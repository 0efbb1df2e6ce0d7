//! `gatewire check --reloadable`: whether a running daemon would take the configuration. It is what the systemd unit asks before
//! it sends SIGHUP, so that `systemctl reload` fails where the daemon would refuse. It is quick and leaves the network alone.

use std::path::Path;

use super::daemon::{self, Daemon};
use super::preparations;
use crate::cli::output::tell;
use crate::cli::{Exit, inputs};
use crate::config::Environment;

/// Says what is in the way, and nothing if nothing is.
pub(super) fn run(path: &Path) -> Exit {
    let config = match inputs::reloadable(path, &Environment::of_service()) {
        Ok(config) => config,
        Err(problems) => {
            problems.errors.iter().for_each(|problem| tell(problem));
            tell("a running gatewire keeps the configuration that it has");
            return Exit::Config;
        }
    };
    let found = preparations::walk(&config, Some(daemon::process(&config)));
    if !found.refused.is_empty() {
        found.refused.iter().for_each(|problem| tell(problem));
        return Exit::Config;
    }
    let store = config.outbox.path.display().to_string();
    match daemon::find(&config) {
        Daemon::Runs(status) => match status["store"]["path"].as_str() {
            Some(open) if open != store => {
                tell(&format!(
                    "`outbox.path` can't change while gatewire runs: the messages that wait are in {open}. `systemctl restart \
                    gatewire` starts with {store} and leaves the old file as it is"
                ));
                Exit::Config
            }
            _ => Exit::Done,
        },
        Daemon::Absent | Daemon::Unknown(_) => Exit::Done,
    }
}
