//! What is at the path of a socket before we make it.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::unistd::{AccessFlags, access, geteuid};
use socket2::{SockAddr, Type};

use super::error::{SocketError, explain};
use super::observer::unread;
use crate::regular::Other;
use crate::{filesystem, owner};

/// The kernel's list of the Unix sockets there are, with the paths that they were made with.
const SOCKETS: &str = "/proc/self/net/unix";

/// What is at the path of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtPath {
    Nothing,
    /// A socket that nobody serves, and whose it is.
    Stale(u32),
    /// By this process, if that can be told.
    Served(Option<i32>),
}

/// A running daemon beside which it is looked: its process, if that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Beside(pub(crate) Option<i32>);

impl Beside {
    /// Whether a socket that `server` serves may be this daemon's. systemd listens for those that it hands over.
    pub(super) fn may_serve(self, server: Option<i32>) -> bool {
        let is_systemd = |pid| fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name == b"systemd\n");
        match (self.0, server) {
            (Some(own), Some(server)) => own == server || is_systemd(server),
            _ => true,
        }
    }
}

/// The process that listens where `stream` is connected to; 0 where it is in another container.
pub(crate) fn server_of(stream: &impl AsFd) -> Option<i32> {
    getsockopt(stream, PeerCredentials).ok().map(|found| found.pid())
}

/// Whether the directory can hold sockets at all, whoever asks.
fn look_at_directory(path: &Path) -> Result<(), SocketError> {
    let directory = super::file::directory_of(path);
    filesystem::takes_no_sockets(directory).map_or(Ok(()), |kind| {
        Err(SocketError::NoSockets { path: path.to_owned(), directory: directory.to_owned(), kind })
    })
}

/// Removes a socket that nobody serves; anything else at `path` is an error and stays.
pub(super) fn clear_the_way(path: &Path, address: &SockAddr) -> Result<(), SocketError> {
    match look(path, address)? {
        AtPath::Nothing => Ok(()),
        AtPath::Stale(owner) => remove(path, owner),
        AtPath::Served(_) => Err(SocketError::Served { path: path.to_owned() }),
    }
}

/// What is there, which isn't changed.
pub(super) fn look(path: &Path, address: &SockAddr) -> Result<AtPath, SocketError> {
    look_at_directory(path)?;
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(AtPath::Nothing),
        Err(error) => return Err(explain(path, "look at what is there", error)),
    };
    if !found.file_type().is_socket() {
        let what = Other::of(found.file_type())
            .map_or_else(|| "a file that isn't a socket".to_owned(), |other| other.to_string());
        return Err(SocketError::NotASocket { path: path.to_owned(), what });
    }
    // Not blocking: a server whose backlog is full answers EAGAIN, and is a server.
    let probe = unread(Type::STREAM.nonblocking()).and_then(|socket| socket.connect(address).map(|()| socket));
    Ok(match probe.map_err(|error| error.kind()) {
        Err(ErrorKind::NotFound) => AtPath::Nothing,
        Err(ErrorKind::ConnectionRefused) => AtPath::Stale(found.uid()),
        // Of another user, as a daemon that was once started as root leaves it.
        Err(ErrorKind::PermissionDenied) if is_listed(path).is_ok_and(|listed| !listed) => AtPath::Stale(found.uid()),
        Ok(socket) => AtPath::Served(server_of(&socket)),
        Err(_) => AtPath::Served(None),
    })
}

/// What keeps this process from removing the socket of another, without trying.
pub(super) fn may_remove(path: &Path, owner: u32) -> Result<(), SocketError> {
    const STICKY: u32 = 0o1000;
    let (directory, user) = (super::file::directory_of(path), geteuid());
    let metadata = fs::metadata(directory).map_err(|error| explain(path, "look at its directory", error))?;
    let is_kept = metadata.mode() & STICKY != 0 && metadata.uid() != user.as_raw() && owner != user.as_raw();
    match access(directory, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) if !is_kept || user.is_root() => Ok(()),
        outcome => {
            let source = outcome.err().unwrap_or(Errno::EPERM).into();
            Err(not_removed(path, owner, source))
        }
    }
}

fn remove(path: &Path, owner: u32) -> Result<(), SocketError> {
    fs::remove_file(path).map_err(|source| not_removed(path, owner, source))
}

fn not_removed(path: &Path, owner: u32, source: io::Error) -> SocketError {
    match source.kind() {
        ErrorKind::PermissionDenied => SocketError::Stale {
            path: path.to_owned(),
            owner: owner::name_of(owner),
            user: owner::own_name(),
            source,
            remedy: remedy(path),
        },
        _ => explain(path, "remove the stale socket", source),
    }
}

/// Only where nobody but gatewire has sockets it is plain that this one was left there by it.
fn remedy(path: &Path) -> String {
    match path.starts_with("/run/gatewire") {
        true => format!("An earlier start as that user left it there. Remove it: `sudo rm {}`", owner::quoted(path)),
        false => {
            "It may be another program's: change `socket` to a path of its own, such as one in /run/gatewire".to_owned()
        }
    }
}

/// Whether there is a socket that was made with this path, which is the last column.
fn is_listed(path: &Path) -> io::Result<bool> {
    let end = [b" ", path.as_os_str().as_encoded_bytes()].concat();
    Ok(fs::read(SOCKETS)?.split(|byte| *byte == b'\n').any(|line| line.ends_with(&end)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_kernel_lists_the_sockets_that_are_served() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a b.sock");
        let listener = UnixListener::bind(&path).unwrap();
        assert!(is_listed(&path).unwrap());
        assert!(!is_listed(&directory.path().join("a")).unwrap());
        drop(listener);
        assert!(!is_listed(&path).unwrap());
    }
}
