//! The files of the database: their names, their directory, whose they are, and who may read them.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::{fchown, geteuid};

use super::failure::{Failure, Fault, OpenError};
use crate::filesystem;
use crate::owner;
use crate::regular::Other;

/// Messages are nobody else's business, and who can open the lock can hold it: each file is for gatewire alone, whatever the umask.
const MODE: u32 = 0o600;

/// Of the directory, where there was none.
const DIRECTORY_MODE: u32 = 0o750;

/// What the names of the files have behind that of the database.
const SUFFIXES: [&str; 5] = ["", LOG, "-shm", "-journal", LOCK];
const LOG: &str = "-wal";
const LOCK: &str = ".lock";

/// What isn't ours is neither followed nor waited for.
const FLAGS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;

pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The fault if `directory` is in a file system in which nothing can be made, for the store at `path`.
pub(super) fn refused_by_filesystem(directory: &Path, path: &Path) -> Option<Fault> {
    let kind = filesystem::takes_no_files(directory)?;
    let said =
        format!("{} is in {kind}, where nobody can create files. Put it into /var/lib/gatewire", directory.display());
    Some(Fault::Broken(Failure::Unusable { said: format!("{}: {said}", path.display()) }))
}

/// Makes the directory of the store, if there is none.
pub(super) fn make_directory(path: &Path) -> Result<(), Fault> {
    let directory = directory_of(path);
    if directory.is_dir() {
        return refused_by_filesystem(directory, path).map_or(Ok(()), Err);
    }
    let make = || {
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
        let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let made = File::options().read(true).custom_flags(flags).open(directory)?;
        made.set_permissions(fs::Permissions::from_mode(DIRECTORY_MODE))
    };
    make().map_err(|error| Fault::of_io(&error, path))
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

/// The files of the database that there are, its log and lock included.
pub(super) fn all_of(path: &Path) -> impl Iterator<Item = PathBuf> {
    SUFFIXES.into_iter().map(|suffix| with_suffix(path, suffix)).filter(|file| fs::symlink_metadata(file).is_ok())
}

/// What is at `file`, which isn't followed if it is a symbolic link. What isn't a regular file is no file of ours.
pub(super) fn look(file: &Path) -> Result<Option<Metadata>, Fault> {
    match fs::symlink_metadata(file) {
        Ok(metadata) => match Other::of(metadata.file_type()) {
            None => Ok(Some(metadata)),
            Some(other) => Err(Fault::Unusable(OpenError::NotAFile { path: file.to_owned(), other })),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fault::of_io(&error, file)),
    }
}

/// Opens a file of the store for reading and writing, which is made if there is none. It is for gatewire alone from the moment
/// at which it is there; one that others could open is closed to them.
pub(super) fn open(file: &Path) -> Result<File, Fault> {
    look(file)?;
    open_own(file).map_err(|error| Fault::of_io(&error, file))
}

/// Whether a file that is there can be opened for reading and writing.
pub(super) fn probe(path: &Path) -> io::Result<()> {
    File::options().read(true).write(true).custom_flags(FLAGS).open(path).map(drop)
}

fn open_own(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).mode(MODE).custom_flags(FLAGS);
    match options.clone().create_new(true).open(path) {
        Ok(file) => {
            file.set_permissions(fs::Permissions::from_mode(MODE))?;
            if let Some((uid, gid)) = owner::heir(directory_of(path))? {
                fchown(&file, Some(uid), Some(gid))?;
            }
            Ok(file)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let file = options.open(path)?;
            close_to_others(&file, path)?;
            Ok(file)
        }
        Err(error) => Err(error),
    }
}

fn close_to_others(file: &File, path: &Path) -> io::Result<()> {
    let metadata = file.metadata()?;
    let mode = metadata.mode() & 0o7777;
    if mode == MODE || metadata.uid() != geteuid().as_raw() {
        return Ok(());
    }
    file.set_permissions(fs::Permissions::from_mode(MODE))?;
    if mode & 0o077 != 0 {
        log::warn!(
            GATEWIRE_EVENT = "tightened";
            "{} had the mode {mode:04o}, which let others open it: it has {MODE:04o} now", path.display()
        );
    }
    Ok(())
}

/// Closes the files of a database to others, before SQLite opens them. Those that SQLite makes get the mode and owner of the
/// database.
pub(super) fn secure(path: &Path) -> Result<(), Fault> {
    open(path)?;
    for file in all_of(path) {
        open(&file)?;
    }
    Ok(())
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
