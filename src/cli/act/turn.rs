//! One action at a time.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::libc;

/// The right to run an action, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    lock: File,
}

impl Turn {
    /// A file that gives it; it isn't had yet.
    pub(super) fn at(lock: &Path) -> io::Result<Turn> {
        let mut options = File::options();
        // Who can open it could keep everybody waiting.
        let options = options.create(true).write(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        Ok(Turn { lock: options.open(lock)? })
    }

    /// Whether it is had now. Else somebody else has it.
    pub(super) fn take(&self) -> io::Result<bool> {
        match self.lock.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
