//! Regular files, at paths where somebody may have put something else.
//!
//! To open a FIFO waits until somebody writes to it, and to open a device may do anything: a path is looked at first, opened
//! without waiting, and looked at again.

use std::fmt;
use std::fs::{self, File, FileType};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::libc;

/// What isn't a regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Other {
    Directory,
    Link,
    Fifo,
    Socket,
    Device,
}

impl Other {
    /// What a file of this type is; `None`: a regular file.
    pub(crate) fn of(kind: FileType) -> Option<Other> {
        match () {
            () if kind.is_file() => None,
            () if kind.is_dir() => Some(Other::Directory),
            () if kind.is_symlink() => Some(Other::Link),
            () if kind.is_fifo() => Some(Other::Fifo),
            () if kind.is_socket() => Some(Other::Socket),
            () => Some(Other::Device),
        }
    }
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Other::Directory => "a directory",
            Other::Link => "a symbolic link",
            Other::Fifo => "a FIFO",
            Other::Socket => "a socket",
            Other::Device => "a device",
        })
    }
}

/// Why there is nothing to read.
#[derive(Debug)]
pub(crate) enum Unread {
    Io(io::Error),
    Other(Other),
    /// Larger than the reader allows.
    TooLarge,
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Unread {
        Unread::Io(error)
    }
}

impl From<Unread> for io::Error {
    fn from(unread: Unread) -> io::Error {
        match unread {
            Unread::Io(error) => error,
            Unread::Other(Other::Directory) => ErrorKind::IsADirectory.into(),
            Unread::Other(other) => io::Error::other(format!("it is {other}, not a regular file")),
            Unread::TooLarge => ErrorKind::FileTooLarge.into(),
        }
    }
}

/// Opens a regular file for reading. Symbolic links on the way are followed.
///
/// # Errors
/// What the system says, or what is there instead. It never waits for a writer.
pub(crate) fn open(path: &Path) -> Result<File, Unread> {
    let check = |kind: FileType| Other::of(kind).map_or(Ok(()), |other| Err(Unread::Other(other)));
    check(fs::metadata(path)?.file_type())?;
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    check(file.metadata()?.file_type())?;
    Ok(file)
}

/// What a regular file holds, if that is at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Unread> {
    let mut bytes = Vec::new();
    match open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)? {
        len if len as u64 > limit => Err(Unread::TooLarge),
        _ => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;

    use super::*;

    #[test]
    fn what_is_no_regular_file_is_named_and_never_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        nix::unistd::mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink(at("fifo"), at("link-to-fifo")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        assert_eq!(read(&at("file"), 4).unwrap(), b"text");
        assert_eq!(read(&at("link"), 4).unwrap(), b"text");
        assert!(matches!(read(&at("file"), 3), Err(Unread::TooLarge)));
        let other = |path: &Path| match read(path, 10) {
            Err(Unread::Other(other)) => other,
            other => panic!("{path:?}: {other:?}"),
        };
        assert_eq!(other(&at("fifo")), Other::Fifo);
        assert_eq!(other(&at("link-to-fifo")), Other::Fifo);
        assert_eq!(other(&at("socket")), Other::Socket);
        assert_eq!(other(directory.path()), Other::Directory);
        assert_eq!(other(Path::new("/dev/null")), Other::Device);
        assert!(matches!(read(&at("none"), 10), Err(Unread::Io(error)) if error.kind() == io::ErrorKind::NotFound));
    }
}
