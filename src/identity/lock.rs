//! One process changes the identity: the daemon or `gatewire provision`.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use nix::libc;
use nix::unistd::fchown;

use crate::owner;
use crate::regular::{Other, Unread};

/// Held for as long as this lives.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "closed with it, the lock is gone")] File);

impl Lock {
    /// Whether it could be taken as far as its file tells: there is none, or one that may be opened.
    pub(super) fn probe(path: &Path) -> io::Result<()> {
        match Lock::open(path, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            opened => opened.map(drop),
        }
    }

    fn open(path: &Path, create: bool) -> io::Result<File> {
        let regular = |found: std::fs::Metadata| -> io::Result<()> {
            Other::of(found.file_type()).map_or(Ok(()), |other| Err(Unread::Other(other).into()))
        };
        // To open a device may do anything.
        std::fs::symlink_metadata(path).map_or(Ok(()), regular)?;
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        let mut options = File::options();
        options.read(true).write(true).create(create).truncate(false).mode(0o600).custom_flags(flags);
        let file = options.open(path)?;
        regular(file.metadata()?)?;
        Ok(file)
    }

    /// Takes the lock at `path`, whose file is made if there is none. `None`: another process has it.
    pub(super) fn take(path: &Path) -> io::Result<Option<Lock>> {
        let file = Lock::open(path, true)?;
        let found = file.metadata()?;
        if found.mode() & 0o7777 != 0o600 {
            // Whoever can open it can hold it.
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        }
        let around = path.parent().unwrap_or(Path::new("."));
        if let Some((uid, gid)) = owner::heir(around)?.filter(|(uid, _)| uid.as_raw() != found.uid()) {
            fchown(&file, Some(uid), Some(gid))?;
        }
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
