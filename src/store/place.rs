//! Files that are in use, and whether their names still lead to them: what is written to a file that somebody has removed or
//! replaced is gone with the process.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc;

/// A file and the name it had.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// Opened as a place only (`O_PATH`): no other file gets its inode, and closing it gives up no lock of SQLite's.
    _file: File,
    identity: (u64, u64),
}

impl Place {
    /// The file that is at `path` now.
    pub(super) fn of(path: &Path) -> io::Result<Place> {
        let file = File::options().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)?;
        let found = file.metadata()?;
        Ok(Place { path: path.to_owned(), identity: (found.dev(), found.ino()), _file: file })
    }

    pub(super) fn is_kept(&self) -> bool {
        self.is(&self.path)
    }

    /// Whether it is the file at `path`.
    pub(super) fn is(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity)
    }
}
