//! The names of the database's files, and what lets this process use them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::geteuid;

use crate::owner;

/// What the names of the files have behind that of the database.
const SUFFIXES: [&str; 5] = ["", LOG, "-shm", "-journal", LOCK];
const LOG: &str = "-wal";
const LOCK: &str = ".lock";

/// What isn't ours is neither followed nor waited for.
pub(super) const FLAGS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;

pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The name of the write-ahead log.
pub(super) fn log_of(path: &Path) -> PathBuf {
    with_suffix(path, LOG)
}

/// The name of the lock.
pub(super) fn lock_of(path: &Path) -> PathBuf {
    with_suffix(path, LOCK)
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The names that the files of a database may have, its log and lock included.
pub(crate) fn names_of(path: &Path) -> impl Iterator<Item = PathBuf> {
    SUFFIXES.into_iter().map(|suffix| with_suffix(path, suffix))
}

/// The files of the database that there are, its log and lock included.
pub(super) fn all_of(path: &Path) -> impl Iterator<Item = PathBuf> {
    SUFFIXES.into_iter().map(|suffix| with_suffix(path, suffix)).filter(|file| fs::symlink_metadata(file).is_ok())
}

/// Whether a file that is there can be opened for reading and writing.
pub(super) fn may_open(path: &Path) -> io::Result<()> {
    File::options().read(true).write(true).custom_flags(FLAGS).open(path).map(drop)
}

/// What lets this process's user use the files of a database, all of them at once: a command that works as it stands.
pub(super) fn mend(path: &Path) -> String {
    let user = owner::own_name();
    let is_own = |file: &Path| fs::symlink_metadata(file).is_ok_and(|found| found.uid() == geteuid().as_raw());
    let (own, others): (Vec<PathBuf>, Vec<PathBuf>) = all_of(&base_of(path)).partition(|file| is_own(file));
    let words = |files: Vec<PathBuf>| files.iter().map(|file| owner::quoted(file)).collect::<Vec<_>>().join(" ");
    let directory = directory_of(path);
    match (others.is_empty(), own.is_empty()) {
        (false, _) => {
            format!("give the user {user} what others own: `sudo chown {} {}`", owner::own_words(), words(others))
        }
        (true, false) if is_own(directory) => format!("let the user {user} write it: `sudo chmod 0600 {}`", words(own)),
        _ => format!(
            "the user {user} must be able to make files in {}, and `ls -ld {}` shows who can. A directory for gatewire alone is best, \
             such as /var/lib/gatewire, which the systemd unit makes",
            directory.display(),
            owner::quoted(directory)
        ),
    }
}

/// The database to which a file belongs.
fn base_of(path: &Path) -> PathBuf {
    let Some(name) = path.to_str() else { return path.to_owned() };
    let of = |suffix: &&str| !suffix.is_empty() && name.ends_with(*suffix);
    SUFFIXES
        .iter()
        .find(|suffix| of(suffix))
        .map_or_else(|| path.to_owned(), |suffix| name[..name.len() - suffix.len()].into())
}
