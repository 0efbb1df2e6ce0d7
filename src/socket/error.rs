//! What keeps a socket from being made.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::owner;

/// Why a socket can't be served.
#[derive(Debug, Error)]
pub(crate) enum SocketError {
    #[error(
        "the socket {path} is served by another process, perhaps another gatewire: stop it (`ss -xlp` shows who it is), or \
         give this one another path"
    )]
    Served { path: PathBuf },
    #[error(
        "the socket {path} can't be made: {what} is there, which is left as it is. Give this socket a path of its own, such as one \
         in /run/gatewire"
    )]
    NotASocket { path: PathBuf, what: String },
    #[error(
        "the socket {path} can't be made: the directory {directory} doesn't exist. Create it, or let \
         systemd do so with RuntimeDirectory=gatewire"
    )]
    NoDirectory { path: PathBuf, directory: PathBuf },
    #[error(
        "the socket {path} can't be made: {directory} or a part of it is a file, not a directory. Correct the path"
    )]
    FileAsDirectory { path: PathBuf, directory: PathBuf },
    #[error(
        "the socket {path} can't be made: the user {user} may not {action}: {source}. `ls -ld {directory}` shows who may; systemd \
         makes /run/gatewire for gatewire (RuntimeDirectory=gatewire)"
    )]
    Denied { path: PathBuf, user: String, action: &'static str, source: io::Error, directory: String },
    #[error(
        "the socket {path} can't be made: a socket of the user {owner} is there that nobody serves, and the user {user} may not \
         remove it: {source}. {remedy}"
    )]
    Stale { path: PathBuf, owner: String, user: String, source: io::Error, remedy: String },
    #[error(
        "the socket {path}: there is no group `{group}`. Create it with `groupadd --system {group}` or correct `group`"
    )]
    UnknownGroup { path: PathBuf, group: String },
    #[error(
        "the socket {path} can't be given to the group `{group}`: the user {user} isn't in it: \
         `sudo usermod -aG {group} {user}`, then `sudo systemctl restart gatewire`. A unit of your own must not have PrivateUsers=yes"
    )]
    NotInGroup { path: PathBuf, user: String, group: String },
    #[error(
        "the socket {path} can't be made: {directory} is in {kind}, where nobody can create sockets. Put it into /run/gatewire"
    )]
    NoSockets { path: PathBuf, directory: PathBuf, kind: &'static str },
    #[error("the socket {path} can't be made: the path of a socket may have at most 107 bytes. Choose a shorter one")]
    PathTooLong { path: PathBuf },
    #[error("the socket {path}: can't {action}: {source}")]
    Io { path: PathBuf, action: &'static str, source: io::Error },
}

impl SocketError {
    /// Where the socket was to be.
    pub(crate) fn path(&self) -> &Path {
        match self {
            SocketError::Served { path }
            | SocketError::NotASocket { path, .. }
            | SocketError::NoDirectory { path, .. }
            | SocketError::FileAsDirectory { path, .. }
            | SocketError::Denied { path, .. }
            | SocketError::Stale { path, .. }
            | SocketError::UnknownGroup { path, .. }
            | SocketError::NotInGroup { path, .. }
            | SocketError::PathTooLong { path }
            | SocketError::NoSockets { path, .. }
            | SocketError::Io { path, .. } => path,
        }
    }
}

pub(super) fn explain(path: &Path, action: &'static str, source: io::Error) -> SocketError {
    let (path, directory) = (path.to_owned(), super::file::directory_of(path).to_owned());
    match source.kind() {
        // procfs and the like say so of every file that one wants to make there.
        io::ErrorKind::NotFound if directory.is_dir() => SocketError::Io {
            path,
            action,
            source: io::Error::other("this directory takes no sockets; choose another"),
        },
        io::ErrorKind::NotFound => SocketError::NoDirectory { path, directory },
        io::ErrorKind::NotADirectory => SocketError::FileAsDirectory { path, directory },
        io::ErrorKind::PermissionDenied => {
            let (user, directory) = (owner::own_name(), owner::quoted(&directory));
            SocketError::Denied { path, user, action, source, directory }
        }
        io::ErrorKind::AddrInUse => SocketError::Served { path },
        _ => SocketError::Io { path, action, source },
    }
}
