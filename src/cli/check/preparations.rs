//! What `run` prepares before it works, walked through without changing anything: the sockets, the store, what is read and run on a
//! schedule. The looks are those of the start itself.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use super::programs::not_run;
use crate::bridge::local;
use crate::cli::Exit;
use crate::config::{self, Config, Metrics, SocketFile, Source};
use crate::filesystem;
use crate::identity::{Directory, this_machine};
use crate::metrics;
use crate::regular;
use crate::socket::{Beside, Listener, SocketError};
use crate::store::{self, Obstacle};

/// What was found, a line each.
#[derive(Debug, Default)]
pub(super) struct Finding {
    /// `run` would end with 78.
    pub(super) refused: Vec<String>,
    /// It would start, and not be able to do all of its work.
    pub(super) hindered: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Finding {
    pub(super) fn append(&mut self, more: Finding) {
        self.refused.extend(more.refused);
        self.hindered.extend(more.hindered);
        self.warnings.extend(more.warnings);
    }

    /// What it means for the exit code; `None`: nothing.
    pub(super) fn exit_code(&self) -> Option<Exit> {
        match (self.refused.is_empty(), self.hindered.is_empty()) {
            (false, _) => Some(Exit::Config),
            (true, false) => Some(Exit::No),
            (true, true) => None,
        }
    }
}

/// The directories that systemd makes for the unit when it starts it.
const OF_THE_UNIT: [&str; 2] = ["/run/gatewire", "/var/lib/gatewire"];

fn is_made(directory: &Path) -> bool {
    OF_THE_UNIT.iter().any(|made| directory == Path::new(made))
}

/// Walks through them; with a daemon running, its sockets are served and the store is held by that.
pub(super) fn walk(config: &Config, daemon: Option<Beside>) -> Finding {
    let is_held = daemon.is_some();
    let mut found = Finding::default();
    // A directory that isn't there is one fault, however many sockets are to lie in it.
    let mut directories = BTreeSet::new();
    for socket in config.sockets() {
        let fault = probe(socket, daemon).err().filter(|error| match error {
            SocketError::NoDirectory { directory, .. } | SocketError::FileAsDirectory { directory, .. } => {
                directories.insert(directory.clone())
            }
            _ => true,
        });
        found.refused.extend(fault.map(|error| format!("{}{error}", config.places.of_socket(&socket.path))));
    }
    // Of a daemon that runs and isn't heard, the port may be its own.
    let is_own = |address| super::daemon::serves_metrics_at(config, address).unwrap_or(is_held);
    if let Some(address) = config.metrics.as_ref().and_then(Metrics::address)
        && let Err(error) = metrics::probe(address, is_own(address))
    {
        found.hindered.push(format!("`metrics.listen`: {error}"));
    }
    walk_store(config, is_held, &mut found);
    if let Some(Err(lacks)) = config.provisioning.as_ref().map(|provisioning| &provisioning.told) {
        let (place, text) = (&lacks.place, format!("`{}`: {lacks}", lacks.key));
        match config.connection.is_named {
            true => found.warnings.push(format!("{place}: warning: {text}")),
            false => found.hindered.push(format!("{place}: {text}, and nothing is asked for. {}", lacks.advice())),
        }
    }
    for publish in &config.publish {
        let (place, fault) = match &publish.source {
            Some(Source::File(path)) => (config.places.of("publish.file", path), unreadable("file", path)),
            Some(Source::Command { argv, .. }) => {
                let program = argv.first().map_or("", String::as_str);
                (
                    config.places.of("publish.command", Path::new(program)),
                    not_run(program).map(|fault| format!("`command`: {fault}")),
                )
            }
            Some(Source::Metrics(_)) | None => continue,
        };
        // A URL with a login may stand where a file or a program belongs.
        let fault = fault.map(|fault| config::without_secrets(&fault));
        found.warnings.extend(fault.map(|fault| format!("{place}warning: publish {}: {fault}", publish.name)));
    }
    for bridge in &config.bridge {
        for (key, path) in bridge.files() {
            let last = key.rsplit('.').next().unwrap_or(key);
            let fault = unreadable(last, path);
            let place = config.places.of(&format!("bridge.{key}"), path);
            found.warnings.extend(fault.map(|fault| format!("{place}warning: bridge {}: {fault}", bridge.name)));
        }
        // What can be read is looked into as at each attempt to connect.
        for (key, path, fault) in local::unusable_files(bridge) {
            let place = config.places.of(&format!("bridge.{key}"), &path);
            found.warnings.push(format!("{place}warning: bridge {}: {fault}", bridge.name));
        }
    }
    found
}

/// The files of an identity that gatewire makes itself; those that a daemon holds it changes.
pub(super) fn walk_identity(config: &Config, is_held: bool, found: &mut Finding) {
    let Some(provisioning) = config.provisioning.as_ref().filter(|_| !is_held) else { return };
    if let Err(error) = Directory::at(&provisioning.state, &this_machine()).probe() {
        found.hindered.push(format!("no identity can be made or changed: {error}. {}", error.advice()));
    }
}

/// The store: one that a daemon holds is looked at by that.
fn walk_store(config: &Config, is_held: bool, found: &mut Finding) {
    let path = &config.outbox.path;
    let place = config.places.with_key("path", path);
    match (!is_held).then(|| store::probe(path, is_made)).flatten() {
        None => {}
        Some(Obstacle::Start(error)) => found.refused.push(format!("{place}{error}")),
        Some(Obstacle::Storing(why)) => found.hindered.push(format!("{place}nothing could be stored: {why}")),
        Some(Obstacle::Damage(how)) => found.warnings.push(format!(
            "{}warning: {}: it is damaged ({how}); gatewire moves it aside at its start and saves what can be read",
            config.places.of("outbox.path", path),
            path.display()
        )),
        Some(Obstacle::Leftover(file, why)) => found.warnings.push(format!(
            "{}warning: {} isn't a database that gatewire left there for its next start: {why}; gatewire moves it aside at its start",
            config.places.of("outbox.path", path),
            file.display()
        )),
    }
    if let Some(kind) = filesystem::is_in_memory(path) {
        found.warnings.push(format!(
            "{}warning: {} is in {kind}, which is memory: what is stored there doesn't survive a loss of power or a reboot. Put it \
             on a disk, such as /var/lib/gatewire/gatewire.db",
            config.places.of("outbox.path", path),
            path.display()
        ));
    }
}

fn probe(socket: &SocketFile, daemon: Option<Beside>) -> Result<(), SocketError> {
    match Listener::probe(socket, daemon) {
        Err(SocketError::NoDirectory { directory, .. }) if is_made(&directory) => Ok(()),
        outcome => outcome,
    }
}

/// Why the file that `key` names can't be read each time it is due.
pub(super) fn unreadable(key: &str, path: &Path) -> Option<String> {
    let error = std::io::Error::from(regular::open(path).err()?);
    Some(match error.kind() {
        ErrorKind::NotFound => format!("`{key}` {} isn't there", path.display()),
        _ => format!("`{key}` {} can't be read: {error}", path.display()),
    })
}
