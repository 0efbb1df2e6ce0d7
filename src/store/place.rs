//! Files that are in use, whether their names still lead to them, and whether somebody else has written to them: what is written
//! to a file that somebody has removed or replaced is gone with the process.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::libc;

/// A file and the name it had.
#[derive(Debug)]
pub(super) struct FileIdentity {
    path: PathBuf,
    /// Open for reading: no other file gets its inode. Whoever closes a file gives up SQLite's locks on it: this one is closed after
    /// SQLite's own.
    file: Arc<File>,
    identity: (u64, u64),
}

/// What of a file changes when somebody writes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Imprint {
    /// In bytes.
    pub(super) size: u64,
    /// Seconds and nanoseconds.
    pub(super) modified: (i64, i64),
}

impl FileIdentity {
    /// The file that is at `path` now.
    pub(super) fn of(path: &Path) -> io::Result<FileIdentity> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        let found = file.metadata()?;
        Ok(FileIdentity { path: path.to_owned(), identity: (found.dev(), found.ino()), file: Arc::new(file) })
    }

    pub(super) fn is_kept(&self) -> bool {
        self.is(&self.path)
    }

    /// Whether it is the file at `path`.
    pub(super) fn is(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity)
    }

    /// The file, whatever its name leads to now.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// What it is like now. One that can't be asked is like none.
    pub(super) fn imprint(&self) -> Option<Imprint> {
        let found = self.file.metadata().ok()?;
        Some(Imprint { size: found.size(), modified: (found.mtime(), found.mtime_nsec()) })
    }

    /// Its first bytes; zeros where there are none.
    pub(super) fn beginning<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        // What can't be read is no header that anybody knows.
        let _ = self.file.read_at(&mut bytes, 0);
        bytes
    }
}
