//! The lock of the store: one daemon has it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::failure::Fault;
use super::files;
use super::names::lock_of;
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
