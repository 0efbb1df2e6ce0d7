//! Whether a daemon runs with this configuration, and what it says.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::cli::DEFAULT_CONFIG;
use crate::config::Config;
use crate::socket::{Beside, connect_unread, server_of};
use crate::store::{self, OpenError};

/// How long a daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest status document that is read, in bytes: many times what a daemon writes.
const MAX_STATUS: u64 = 4 << 20;

/// What is known of the daemon.
pub(super) enum Daemon {
    Absent,
    /// It runs, and this is its status.
    Runs(Value),
    /// It runs, or may run: why it can't be asked.
    Unknown(String),
}

/// Looks for a daemon: its status socket answers, or it holds the store.
pub(super) fn find(config: &Config) -> Daemon {
    let path = &config.status.socket.path;
    match status(path) {
        Ok(Some(status)) => return Daemon::Runs(status),
        Ok(None) => {}
        Err(error) => return Daemon::Unknown(format!("asking its status socket {}: {error}", path.display())),
    }
    let store = &config.outbox.path;
    match store::is_held(store) {
        Ok(false) => Daemon::Absent,
        Ok(true) => Daemon::Unknown(format!(
            "it holds the store {}, but nothing answers at {} (has the [status] socket changed since it started?)",
            store.display(),
            path.display()
        )),
        Err(error) => Daemon::Unknown(format!("finding out who holds the store {}: {error}", store.display())),
    }
}

/// One that runs, as far as this process can tell.
pub(super) fn beside(config: &Config) -> Option<Beside> {
    let runs = matches!(status(&config.status.socket.path), Ok(Some(_)))
        || matches!(store::is_held(&config.outbox.path), Ok(true));
    runs.then(|| process(config))
}

/// Whether the daemon that runs serves its metrics at `address`; `None` if it can't be asked.
pub(super) fn serves_metrics_at(config: &Config, address: SocketAddr) -> Option<bool> {
    let status = status(&config.status.socket.path).ok().flatten()?;
    let metrics = &status["metrics"];
    Some(metrics["listen"] == address.to_string() && metrics["error"].is_null())
}

/// Why `run` with this configuration, which is in `file`, wouldn't get the store: a gatewire with another one holds it. That of this
/// one does so as long as it runs.
pub(super) fn another_holds_the_store(config: &Config, file: &Path) -> Option<String> {
    let store = &config.outbox.path;
    let holder = store::holder(store)?;
    let at_status = connect_unread(&config.status.socket.path).ok();
    let is_ours = at_status.and_then(|stream| server_of(&stream)) == Some(holder) || reads(holder, file);
    (!is_ours).then(|| format!("{} (process {holder})", OpenError::Locked { path: store.clone() }))
}

/// Whether a process was started with this configuration, as far as it can be seen.
fn reads(process: i32, file: &Path) -> bool {
    let Ok(words) = fs::read(format!("/proc/{process}/cmdline")) else { return false };
    let words: Vec<&OsStr> = words.split(|byte| *byte == 0).map(OsStr::from_bytes).collect();
    let option = words.iter().enumerate().find_map(|(index, word)| match word.as_bytes().strip_prefix(b"--config") {
        Some([]) => words.get(index + 1).copied(),
        Some([b'=', value @ ..]) => Some(OsStr::from_bytes(value)),
        _ => None,
    });
    // A relative path counts from where that process is.
    let given = Path::new(&format!("/proc/{process}/cwd")).join(option.unwrap_or(OsStr::new(DEFAULT_CONFIG)));
    fs::canonicalize(given).is_ok_and(|given| fs::canonicalize(file).is_ok_and(|file| file == given))
}

/// Why the running one can store nothing now, as it says itself.
pub(super) fn store_error(config: &Config) -> Option<String> {
    let status = status(&config.status.socket.path).ok()??;
    status["store"]["error"].as_str().map(str::to_owned)
}

/// The process of one that may run: it holds the store, or else serves the status socket.
pub(super) fn process(config: &Config) -> Beside {
    let at_status = || server_of(&connect_unread(&config.status.socket.path).ok()?).filter(|pid| *pid > 0);
    Beside(store::holder(&config.outbox.path).or_else(at_status))
}

/// The status document; `None` if nobody listens.
fn status(path: &Path) -> io::Result<Option<Value>> {
    let stream = match connect_unread(path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = Vec::new();
    match stream.take(MAX_STATUS).read_to_end(&mut text) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(io::Error::other("it doesn't answer")),
        Err(error) => Err(error),
        Ok(_) => Ok(Some(serde_json::from_slice(&text)?)),
    }
}
