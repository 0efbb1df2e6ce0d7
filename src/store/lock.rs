//! The lock of the store: one daemon has it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sys::stat::{major, minor};

use super::failure::Fault;
use super::files;
use super::names::{directory_of, lock_of};
use super::place::FileIdentity;
use crate::regular::{self, Unread};

/// Whether a daemon holds the store at `path`. Nothing is written for that.
pub(crate) fn is_held(path: &Path) -> io::Result<bool> {
    match regular::open(&lock_of(path)) {
        Ok(file) => match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        },
        Err(Unread::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(Unread::Io(error)) => Err(error),
        // No daemon can hold that.
        Err(Unread::Other(_) | Unread::TooLarge) => Ok(false),
    }
}

/// The process that holds the store at `path`, as far as the kernel's list of locks tells: not from another container.
pub(crate) fn holder(path: &Path) -> Option<i32> {
    let found = fs::symlink_metadata(lock_of(path)).ok()?;
    let file = format!("{:02x}:{:02x}:{}", major(found.dev()), minor(found.dev()), found.ino());
    holder_in(&fs::read_to_string(LOCKS).ok()?, &file)
}

/// Of `file` in such a list: `1: FLOCK  ADVISORY  WRITE 812 b3:02:131 0 EOF` (`proc_locks(5)`).
fn holder_in(locks: &str, file: &str) -> Option<i32> {
    locks.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [_, "FLOCK", _, "WRITE", pid, locked, ..] if locked == file => pid.parse().ok().filter(|pid| *pid > 0),
        _ => None,
    })
}

/// What the lock's file holds while the database is made for the first time.
const MAKING: &[u8] = b"the database is being made\n";

/// Says in the lock's file that the database is being made, until [`note_made`]. A loss of power may leave anything in the place of
/// what isn't synced yet, and that mustn't be taken for another program's file. The caller holds the lock.
pub(super) fn note_making(path: &Path) -> io::Result<()> {
    let name = lock_of(path);
    let file = match File::options().write(true).open(&name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    file.write_all_at(MAKING, 0)?;
    file.sync_all()?;
    File::open(directory_of(path))?.sync_all()
}

/// The database is there. That this isn't noted, if the disk fails now, is no reason not to use it.
pub(super) fn note_made(path: &Path) {
    if is_being_made(path) {
        let _ = File::options().write(true).open(lock_of(path)).and_then(|file| file.set_len(0));
    }
}

/// Whether the database was being made when gatewire ended.
pub(super) fn is_being_made(path: &Path) -> bool {
    regular::open(&lock_of(path)).is_ok_and(|file| {
        let mut found = [0; MAKING.len()];
        file.read_exact_at(&mut found, 0).is_ok() && found == MAKING
    })
}

/// The kernel's list of the locks that are held.
const LOCKS: &str = "/proc/locks";

/// How often, and how far apart, it is tried to take the lock: [`is_held`] takes it for a moment, and that must not keep a
/// daemon from starting.
const LOCK_ATTEMPTS: u32 = 10;
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

/// Holds the store for this process, for as long as it lives.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    place: FileIdentity,
}

impl Lock {
    /// `Ok(None)`: another process holds it.
    pub(super) fn take(path: &Path) -> Result<Option<Lock>, Fault> {
        let name = lock_of(path);
        for _ in 0..LOCK_ATTEMPTS {
            let file = files::open(&name)?;
            let place = FileIdentity::of(&name).map_err(|error| Fault::of_io(&error, &name))?;
            match file.try_lock() {
                // Not one that somebody has removed meanwhile.
                Ok(()) if place.is_kept() => return Ok(Some(Lock { _file: file, place })),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => thread::sleep(LOCK_INTERVAL),
                Err(TryLockError::Error(error)) => return Err(Fault::of_io(&error, &name)),
            }
        }
        Ok(None)
    }

    pub(super) fn is_in_place(&self) -> bool {
        self.place.is_kept()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_holds_a_store_is_told_of_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gatewire.db");
        assert_eq!(holder(&path), None);
        let lock = Lock::take(&path).unwrap().unwrap();
        assert_eq!(holder(&path), i32::try_from(std::process::id()).ok());
        drop(lock);
        assert_eq!(holder(&path), None);
        let locks = "1: POSIX  ADVISORY  WRITE 7 08:01:5 0 EOF\n2: -> FLOCK  ADVISORY  WRITE 8 08:01:5 0 EOF\n\
                     3: FLOCK  ADVISORY  READ 9 08:01:5 0 EOF\n4: FLOCK  ADVISORY  WRITE 10 08:01:5 0 EOF\n\
                     5: FLOCK  ADVISORY  WRITE 0 08:01:6 0 EOF\n";
        assert_eq!(["08:01:5", "08:01:6", "08:01:7"].map(|file| holder_in(locks, file)), [Some(10), None, None]);
    }
}
