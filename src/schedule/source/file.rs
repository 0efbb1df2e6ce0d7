//! `file`: what a file holds at the moment.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::aside::PATIENCE;
use crate::limits::MAX_PAYLOAD;
use crate::regular::{self, Other, Unread};

/// A newline at the end, `\r\n` at most, isn't part of the value.
const MAX_FILE: u64 = MAX_PAYLOAD as u64 + 2;

/// Why a file can't be read.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum FileError {
    #[error("{} {reason}", path.display())]
    Io { path: PathBuf, reason: String },
    #[error("{} is {other}, not a regular file", path.display())]
    NotRegular { path: PathBuf, other: Other },
    #[error("{} is larger than the {MAX_PAYLOAD} bytes that IoT Core takes", .0.display())]
    TooLarge(PathBuf),
    #[error("{} is empty: there is no value to publish", .0.display())]
    Empty(PathBuf),
    #[error("{} can't be read within {}: its device or file system hangs", .0.display(), crate::duration::written(PATIENCE))]
    Slow(PathBuf),
}

/// Reads a regular file, which those of /proc and /sys are, too. It may block.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    regular::read(path, MAX_FILE).map_err(|unread| match unread {
        Unread::Io(error) => FileError::Io { path: path.to_owned(), reason: reason(&error) },
        Unread::Other(other) => FileError::NotRegular { path: path.to_owned(), other },
        Unread::TooLarge => FileError::TooLarge(path.to_owned()),
    })
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "isn't there: there is no such file".to_owned(),
        ErrorKind::PermissionDenied => {
            "may not be read by gatewire: its mode or group, or a sandbox of the systemd unit, forbids it".to_owned()
        }
        // Sensors answer with EIO and the like when they are off.
        _ => format!("can't be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nix::sys::stat::Mode;

    use super::*;

    #[test]
    fn a_file_is_read_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("temp");
        fs::write(&path, "48312\n").unwrap();
        assert_eq!(read(&path).unwrap(), b"48312\n");
        // What /proc has is of length 0 by its metadata.
        assert!(read(Path::new("/proc/self/status")).unwrap().starts_with(b"Name:"));
        fs::write(&path, "x".repeat(MAX_PAYLOAD) + "\n").unwrap();
        assert_eq!(read(&path).unwrap().len(), MAX_PAYLOAD + 1);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        let error = |path: &Path| read(path).unwrap_err().to_string();
        let path = directory.path().join("x");
        assert_eq!(error(&path), format!("{} isn't there: there is no such file", path.display()));
        fs::write(&path, "x".repeat(MAX_PAYLOAD + 3)).unwrap();
        assert!(error(&path).contains("is larger than the 131072 bytes"));
        assert!(error(directory.path()).ends_with("is a directory, not a regular file"));
        assert!(error(Path::new("/dev/zero")).ends_with("is a device, not a regular file"));
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        assert!(error(&fifo).ends_with("is a FIFO, not a regular file"));
    }
}
