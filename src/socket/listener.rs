//! A listening socket in the file system: put there with its permissions, taken away on drop.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::unistd::{Group, getegid};
use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::stream::register;
use crate::config::SocketFile;

/// Connections the kernel holds until they are accepted, or fewer where net.core.somaxconn is less: more than are taken, so that
/// a burst of clients gets our answer and not the kernel's.
const BACKLOG: i32 = 4096;

/// Why a socket can't be served.
#[derive(Debug, Error)]
pub(crate) enum SocketError {
    #[error(
        "the socket {path} is served by another process, perhaps another gatewire: stop it (`ss -xlp` shows who it is), or \
         give this one another path"
    )]
    Served { path: PathBuf },
    #[error(
        "the socket {path} can't be made: a file that isn't a socket is there. Move it away, or choose another path"
    )]
    NotASocket { path: PathBuf },
    #[error(
        "the socket {path} can't be made: the directory {directory} doesn't exist. Create it, or let \
         systemd do so with RuntimeDirectory=gatewire"
    )]
    NoDirectory { path: PathBuf, directory: PathBuf },
    #[error(
        "the socket {path} can't be made: this process (uid {uid}) may not {action}: {source}. Give it the right \
         to, or choose another path"
    )]
    Denied { path: PathBuf, uid: u32, action: &'static str, source: io::Error },
    #[error(
        "the socket {path}: there is no group `{group}`. Create it with `groupadd --system {group}` or correct `group`"
    )]
    UnknownGroup { path: PathBuf, group: String },
    #[error(
        "the socket {path} can't be given to the group `{group}`: this process (uid {uid}) isn't in it, or the unit hides it. \
         `systemctl edit gatewire` takes the lines [Service], SupplementaryGroups={group} and PrivateUsers=no; or leave \
         `group` out"
    )]
    NotInGroup { path: PathBuf, uid: u32, group: String },
    #[error("the socket {path} can't be made: a path of a socket has at most 107 bytes. Choose a shorter one")]
    PathTooLong { path: PathBuf },
    #[error("the socket {path}: can't {action}: {source}")]
    Io { path: PathBuf, action: &'static str, source: io::Error },
}

/// A socket that listens. Dropping it closes it, and removes its file if we have made that.
#[derive(Debug)]
pub(crate) struct Listener {
    fd: AsyncFd<UnixListener>,
    path: PathBuf,
    /// Of a socket that we have made.
    file: Option<OwnFile>,
}

impl Listener {
    /// Makes a socket with the mode and group of `file`; one that nobody serves any more is replaced.
    pub(crate) fn bind(file: &SocketFile) -> Result<Listener, SocketError> {
        let path = &file.path;
        let address = SockAddr::unix(path).map_err(|_| SocketError::PathTooLong { path: path.clone() })?;
        clear_the_way(path, &address)?;

        let failed = |action| move |source| explain(path, action, source);
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).map_err(failed("make a socket"))?;
        socket.bind(&address).map_err(failed("make the socket file"))?;
        let own = OwnFile::new(path).map_err(failed("look at the socket file"))?;
        // Until `listen` every connect is refused: there is no moment at which the wrong mode or group lets anybody in.
        give_access(file)?;
        socket.listen(BACKLOG).map_err(failed("listen on the socket"))?;
        Listener::new(path, socket.into(), Some(own))
    }

    /// A socket that another process has made and that listens at `path`. Its file is never removed.
    pub(super) fn inherited(path: &Path, listener: UnixListener) -> Result<Listener, SocketError> {
        Listener::new(path, listener, None)
    }

    fn new(path: &Path, listener: UnixListener, file: Option<OwnFile>) -> Result<Listener, SocketError> {
        let registered = listener.set_nonblocking(true).and_then(|()| register(listener, Interest::READABLE));
        let fd = registered.map_err(|source| explain(path, "wait for clients of the socket", source))?;
        Ok(Listener { fd, path: path.to_owned(), file })
    }

    /// Gives it the mode and group of `file`, unless they are another's to set.
    pub(crate) fn give_access(&self, file: &SocketFile) -> Result<(), SocketError> {
        if self.file.is_some() { give_access(file) } else { Ok(()) }
    }

    /// Whether its file is still there, as far as that is ours.
    pub(crate) fn is_in_place(&self) -> bool {
        self.file.as_ref().is_none_or(|file| identity(&file.path).is_ok_and(|found| found == file.identity))
    }

    /// Its present mode and group, if they are ours to set.
    pub(crate) fn access(&self) -> Option<Access> {
        let found = fs::symlink_metadata(&self.file.as_ref()?.path).ok()?;
        Some(Access { mode: found.mode() & 0o7777, gid: found.gid() })
    }

    /// Gives it the mode and group that it had.
    pub(crate) fn restore(&self, access: Option<&Access>) {
        let Some(Access { mode, gid }) = access else { return };
        let restored = chown(&self.path, None, Some(*gid))
            .and_then(|()| fs::set_permissions(&self.path, fs::Permissions::from_mode(*mode)));
        if let Err(error) = restored {
            log::warn!("the socket {} can't be given its mode and group back: {error}", self.path.display());
        }
    }

    /// Waits for the next client.
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            // The lambda's error WouldBlock only says that somebody gave up before we came.
            if let Ok(accepted) = self.fd.readable().await?.try_io(|fd| fd.get_ref().accept()) {
                return accepted.map(|(stream, _)| stream);
            }
        }
    }

    /// For log lines: where it listens.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Who may use a socket.
#[derive(Debug)]
pub(crate) struct Access {
    mode: u32,
    gid: u32,
}

/// A file that we have made, known by its inode: what another process has put there since isn't ours to remove.
#[derive(Debug)]
struct OwnFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl OwnFile {
    fn new(path: &Path) -> io::Result<OwnFile> {
        Ok(OwnFile { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!("the socket {} can't be removed: {error}", self.path.display());
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Removes a socket that nobody serves; anything else at `path` is an error and stays.
fn clear_the_way(path: &Path, address: &SockAddr) -> Result<(), SocketError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(explain(path, "look at what is there", error)),
    };
    if !found.file_type().is_socket() {
        return Err(SocketError::NotASocket { path: path.to_owned() });
    }
    // Not blocking: a server whose backlog is full answers EAGAIN, and is a server.
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).and_then(|probe| probe.connect(address));
    match probe {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| explain(path, "remove the stale socket", error))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(explain(path, "find out whether the socket that is there is in use", error))
        }
        _ => Err(SocketError::Served { path: path.to_owned() }),
    }
}

/// Gives the socket at the path of `file` its mode and group: without one in the configuration our own.
fn give_access(file: &SocketFile) -> Result<(), SocketError> {
    let path = &file.path;
    let gid = file.group.as_ref().map_or_else(|| Ok(getegid().as_raw()), |group| find_group(path, group))?;
    chown(path, None, Some(gid)).map_err(|source| match (source.kind(), &file.group) {
        // EINVAL: in a user namespace (PrivateUsers=yes) that doesn't know the group.
        (io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput, Some(group)) => {
            SocketError::NotInGroup { path: path.clone(), uid: uid(), group: group.clone() }
        }
        _ => explain(path, "change the group of the socket file", source),
    })?;
    fs::set_permissions(path, fs::Permissions::from_mode(file.mode))
        .map_err(|source| explain(path, "change the mode of the socket file", source))
}

fn find_group(path: &Path, group: &str) -> Result<u32, SocketError> {
    match Group::from_name(group) {
        Ok(Some(found)) => Ok(found.gid.as_raw()),
        Ok(None) => Err(SocketError::UnknownGroup { path: path.to_owned(), group: group.to_owned() }),
        Err(errno) => Err(explain(path, "look up its group", errno.into())),
    }
}

fn explain(path: &Path, action: &'static str, source: io::Error) -> SocketError {
    let (path, directory) = (path.to_owned(), path.parent().unwrap_or(Path::new("/")).to_owned());
    match source.kind() {
        io::ErrorKind::NotFound => SocketError::NoDirectory { path, directory },
        io::ErrorKind::PermissionDenied => SocketError::Denied { path, uid: uid(), action, source },
        io::ErrorKind::AddrInUse => SocketError::Served { path },
        _ => SocketError::Io { path, action, source },
    }
}

fn uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

#[cfg(test)]
mod tests;
