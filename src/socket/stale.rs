//! What is at the path of a socket before we make it.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

use super::listener::{SocketError, explain};
use crate::owner;

/// The kernel's list of the Unix sockets there are, with the paths that they were made with.
const SOCKETS: &str = "/proc/self/net/unix";

/// Removes a socket that nobody serves; anything else at `path` is an error and stays.
pub(super) fn clear_the_way(path: &Path, address: &SockAddr) -> Result<(), SocketError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(explain(path, "look at what is there", error)),
    };
    if !found.file_type().is_socket() {
        return Err(SocketError::NotASocket { path: path.to_owned() });
    }
    // Not blocking: a server whose backlog is full answers EAGAIN, and is a server.
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).and_then(|probe| probe.connect(address));
    match probe.map_err(|error| error.kind()) {
        Err(ErrorKind::NotFound) => Ok(()),
        Err(ErrorKind::ConnectionRefused) => remove(path, found.uid()),
        // Of another user, as a daemon that was once started as root leaves it.
        Err(ErrorKind::PermissionDenied) if is_listed(path).is_ok_and(|listed| !listed) => remove(path, found.uid()),
        _ => Err(SocketError::Served { path: path.to_owned() }),
    }
}

fn remove(path: &Path, owner: u32) -> Result<(), SocketError> {
    fs::remove_file(path).map_err(|source| match source.kind() {
        ErrorKind::PermissionDenied => SocketError::Stale {
            path: path.to_owned(),
            owner: owner::name_of(owner),
            user: owner::own_name(),
            source,
            words: owner::quoted(path),
        },
        _ => explain(path, "remove the stale socket", source),
    })
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
