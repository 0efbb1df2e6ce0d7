//! What `run` prepares before it works, walked through without changing anything: the sockets, the store, what is read and run on a
//! schedule. The looks are those of the start itself.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::cli::Exit;
use crate::config::{Config, SocketFile, Source};
use crate::owner::quoted;
use crate::regular;
use crate::socket::{Listener, SocketError};
use crate::store::{self, Obstacle};

/// What was found, a line each.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// `run` would end with 78.
    pub(super) refused: Vec<String>,
    /// It would start, and not be able to do all of its work.
    pub(super) hindered: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Found {
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

/// Walks through them; with a daemon running, sockets are served and the store is held by that.
pub(super) fn walk(config: &Config, is_running: bool) -> Found {
    let mut found = Found::default();
    let forwards = config.forward.iter().map(|forward| &forward.socket);
    let ingests = config.ingest.iter().map(|ingest| &ingest.socket);
    // A directory that isn't there is one fault, however many sockets are to lie in it.
    let mut directories = BTreeSet::new();
    for socket in forwards.chain(ingests).chain([&config.status.socket]) {
        let fault = probe(socket, is_running).err().filter(|error| match error {
            SocketError::NoDirectory { directory, .. } | SocketError::FileAsDirectory { directory, .. } => {
                directories.insert(directory.clone())
            }
            _ => true,
        });
        found.refused.extend(fault.map(|error| error.to_string()));
    }
    let path = &config.outbox.path;
    match (!is_running).then(|| store::probe(path, is_made)).flatten() {
        None => {}
        Some(Obstacle::Start(error)) => found.refused.push(error.to_string()),
        Some(Obstacle::Storing(why)) => found.hindered.push(format!("nothing could be stored: {why}")),
        Some(Obstacle::Damage(how)) => found.warnings.push(format!(
            "warning: {}: it is damaged ({how}); gatewire moves it aside at its start and saves what can be read",
            path.display()
        )),
    }
    for publish in &config.publish {
        let fault = match &publish.source {
            Some(Source::File(path)) => unreadable(path),
            Some(Source::Command { argv, .. }) => argv.first().and_then(|program| not_run(program)),
            Some(Source::Metrics(_)) | None => None,
        };
        found.warnings.extend(fault.map(|fault| format!("warning: publish {}: {fault}", publish.name)));
    }
    found
}

fn probe(socket: &SocketFile, is_running: bool) -> Result<(), SocketError> {
    match Listener::probe(socket, is_running) {
        Err(SocketError::NoDirectory { directory, .. }) if is_made(&directory) => Ok(()),
        outcome => outcome,
    }
}

/// Why a file can't be read each time it is due.
fn unreadable(path: &Path) -> Option<String> {
    let error = std::io::Error::from(regular::open(path).err()?);
    Some(match error.kind() {
        ErrorKind::NotFound => format!("`file` {} isn't there", path.display()),
        _ => format!("`file` {} can't be read: {error}", path.display()),
    })
}

/// Why a script can't be run: what its first line names, as the kernel reads it.
fn without_interpreter(script: &Path) -> Option<String> {
    const LONGEST: u64 = 256;
    let mut start = Vec::new();
    File::open(script).ok()?.take(LONGEST).read_to_end(&mut start).ok()?;
    let shown = script.display();
    if start.starts_with(b"\xef\xbb\xbf#!") {
        return Some(format!(
            "`command`: {shown} begins with a byte order mark, so that the system doesn't see its `#!`: save it as UTF-8 without one"
        ));
    }
    if start.starts_with(b"\x7fELF") {
        return None;
    }
    let first = String::from_utf8_lossy(start.split(|byte| *byte == b'\n').next().unwrap_or_default()).into_owned();
    let Some(line) = first.strip_prefix("#!") else {
        return Some(format!(
            "`command`: {shown} is no program and has no line such as `#!/bin/sh` at its start: add it, or name the program that reads it, [\"sh\", \"{shown}\"]"
        ));
    };
    if line.ends_with('\r') {
        return Some(format!(
            "`command`: {shown} has the line ends of Windows (CRLF), so that its `#!` names no program: `sed -i 's/\\r$//' {}`",
            quoted(script)
        ));
    }
    let interpreter = line.split_whitespace().next().unwrap_or_default();
    let is_there = fs::metadata(interpreter).is_ok_and(|found| found.is_file());
    (!is_there)
        .then(|| format!("`command`: {shown} is to be run by `{interpreter}`, which isn't there (its first line)"))
}

/// Why a program can't be run; it is looked for as `execvp(3)` does.
fn not_run(program: &str) -> Option<String> {
    if program.contains('/') && Path::new(program).is_dir() {
        return Some(format!("`command`: {program} is a directory, not a program"));
    }
    if let Some((first, _)) = program.split_once(char::is_whitespace).filter(|_| !Path::new(program).exists()) {
        return Some(format!(
            "`command`: there is no program whose name has blanks as this one's: write the program and each argument in quotes of \
             its own, as in [\"{first}\", \"...\"]"
        ));
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let candidates: Vec<PathBuf> = match program.contains('/') {
        true => vec![program.into()],
        false => std::env::split_paths(&path).map(|directory| directory.join(program)).collect(),
    };
    let present: Vec<&PathBuf> =
        candidates.iter().filter(|candidate| fs::metadata(candidate).is_ok_and(|found| found.is_file())).collect();
    match &present[..] {
        [] if program.contains('/') && !program.starts_with('/') => Some(format!(
            "`command`: there is no program {program} in the directory that gatewire is started in, / under systemd; write its full path"
        )),
        [] if program.contains('/') => Some(format!("`command`: there is no program {program}")),
        [] => Some(format!("`command`: there is no program {program} in the directories of PATH; write its full path")),
        present if present.iter().any(|candidate| access(candidate.as_path(), AccessFlags::X_OK).is_ok()) => {
            let runs = |candidate: &&&PathBuf| access(candidate.as_path(), AccessFlags::X_OK).is_ok();
            present.iter().find(runs).and_then(|script| without_interpreter(script))
        }
        [first, ..] => {
            Some(format!("`command`: {0} can't be run: it isn't executable (`chmod +x {0}`)", first.display()))
        }
    }
}
