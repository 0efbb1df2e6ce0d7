//! The local sockets: made, protected, listened on, and cleared away.

mod client;
mod lines;

use std::cell::Cell;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::unistd::{Group, chown};
use thiserror::Error;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::config::SocketFile;
pub(crate) use client::Client;
pub(crate) use lines::{BadLine, Line, Lines, MAX_LINE};

/// Clients of one socket at a time.
const MAX_CLIENTS: usize = 256;

/// After an `accept` that failed, for want of file descriptors mostly: for some to become free.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Lines that any client may provoke are logged no more often than this.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Why a socket can't be listened on.
#[derive(Debug, Error)]
pub(crate) enum SocketError {
    #[error(
        "the socket {0} is served by another process, perhaps another gatewire: stop that one, or give this one another \
         path. `ss -xlp` shows who it is"
    )]
    InUse(PathBuf),
    #[error("the socket {0} can't be made: a file that isn't a socket is there. Move it away, or choose another path")]
    NotASocket(PathBuf),
    #[error("the socket {path} can't be made: the directory {} doesn't exist. systemd makes /run/gatewire \
             (RuntimeDirectory=gatewire); elsewhere, `mkdir` it", parent.display())]
    NoDirectory { path: PathBuf, parent: PathBuf },
    #[error(
        "the socket {0} can't be made: permission denied. The user gatewire runs as must be able to write in its directory"
    )]
    Denied(PathBuf),
    #[error("the socket {path}: there is no group `{group}`. `getent group` lists those there are")]
    UnknownGroup { path: PathBuf, group: String },
    #[error(
        "the socket {path} can't be given to the group `{group}`: gatewire's user isn't in it. In the unit, \
         `SupplementaryGroups={group}` (systemctl edit gatewire) puts it there"
    )]
    ForeignGroup { path: PathBuf, group: String },
    #[error("the socket {path}: {doing} failed: {source}")]
    Io { path: PathBuf, doing: &'static str, source: io::Error },
}

/// A socket that is listened on; its file goes when this goes.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: AsyncFd<UnixListener>,
    path: PathBuf,
    /// Device and inode of the socket file.
    file: (u64, u64),
    clients: Rc<Cell<usize>>,
    refused_logged: Option<Instant>,
}

/// Counts a client for as long as it lives.
#[derive(Debug)]
pub(crate) struct Seat(Rc<Cell<usize>>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Listener {
    /// Makes the socket. It gets its mode and group under a name that nobody knows, then takes its place, and with it that of
    /// a socket file left behind by a process that is gone.
    pub(crate) fn bind(socket: &SocketFile) -> Result<Listener, SocketError> {
        let path = &socket.path;
        check_place(path)?;
        let hidden = path.with_file_name(format!(".{}", std::process::id()));
        let listener = UnixListener::bind(&hidden).map_err(|error| bind_error(path, error))?;
        let placed = protect(&hidden, socket).and_then(|()| {
            fs::rename(&hidden, path).map_err(|source| SocketError::Io { path: path.clone(), doing: "rename", source })
        });
        if let Err(error) = placed {
            let _ = fs::remove_file(&hidden);
            return Err(error);
        }
        Listener::listen(listener, path.clone())
    }

    fn listen(listener: UnixListener, path: PathBuf) -> Result<Listener, SocketError> {
        let failed = |doing| {
            let path = path.clone();
            move |source| SocketError::Io { path, doing, source }
        };
        listener.set_nonblocking(true).map_err(failed("listen"))?;
        let metadata = fs::symlink_metadata(&path).map_err(failed("stat"))?;
        let listener = watch(listener, Interest::READABLE).map_err(failed("listen"))?;
        let file = (metadata.dev(), metadata.ino());
        Ok(Listener { listener, path, file, clients: Rc::default(), refused_logged: None })
    }

    /// How many clients there are.
    pub(crate) fn clients(&self) -> Rc<Cell<usize>> {
        Rc::clone(&self.clients)
    }

    /// The next client. One too many is told so and turned away.
    pub(crate) async fn accept(&mut self) -> (Client, Seat) {
        loop {
            match self.listener.async_io(Interest::READABLE, |listener| listener.accept()).await {
                Ok((stream, _)) if self.clients.get() >= MAX_CLIENTS => self.turn_away(&stream),
                Ok((stream, _)) => {
                    if let Ok(client) = Client::new(stream) {
                        self.clients.set(self.clients.get() + 1);
                        return (client, Seat(Rc::clone(&self.clients)));
                    }
                }
                Err(error) => {
                    log::error!(
                        GATEWIRE_EVENT = "accept_failed", GATEWIRE_SOCKET = self.path.display().to_string().as_str();
                        "the socket {}: a client can't be accepted: {error}; trying again in a second", self.path.display()
                    );
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn turn_away(&mut self, mut stream: &UnixStream) {
        let _ = stream.set_nonblocking(true);
        let _ = writeln!(
            stream,
            r#"{{"error":"too_many_clients","detail":"this socket serves {MAX_CLIENTS} clients at a time, try again later"}}"#
        );
        let now = Instant::now();
        if self.refused_logged.is_none_or(|last| now.duration_since(last) >= LOG_INTERVAL) {
            self.refused_logged = Some(now);
            log::warn!(
                GATEWIRE_EVENT = "too_many_clients", GATEWIRE_SOCKET = self.path.display().to_string().as_str();
                "the socket {} has {MAX_CLIENTS} clients, more are turned away", self.path.display()
            );
        }
    }
}

impl Drop for Listener {
    /// Removes the socket file, unless it is another's by now.
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.file);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Registers a socket for just what we want to be woken for.
///
/// tokio deprecates this safe function because a type could give away another file descriptor than its own; the replacement
/// is `unsafe`, which this crate forbids. The sockets of the standard library own theirs and never change it.
#[expect(deprecated, reason = "sound for the types that own their file descriptor, and the replacement is unsafe")]
fn watch<T: AsRawFd + Into<OwnedFd>>(socket: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(socket, interest)
}

/// Whether the place for the socket is free, or holds a socket that nobody serves.
fn check_place(path: &Path) -> Result<(), SocketError> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(bind_error(path, error)),
        Ok(metadata) => metadata,
    };
    if !metadata.file_type().is_socket() {
        return Err(SocketError::NotASocket(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(SocketError::Denied(path.to_owned())),
        // Even a full backlog is somebody's.
        _ => Err(SocketError::InUse(path.to_owned())),
    }
}

fn protect(file: &Path, socket: &SocketFile) -> Result<(), SocketError> {
    let path = || socket.path.clone();
    if let Some(name) = &socket.group {
        let group = Group::from_name(name).ok().flatten();
        let group = group.ok_or_else(|| SocketError::UnknownGroup { path: path(), group: name.clone() })?;
        chown(file, None, Some(group.gid))
            .map_err(|_| SocketError::ForeignGroup { path: path(), group: name.clone() })?;
    }
    fs::set_permissions(file, Permissions::from_mode(socket.mode)).map_err(|source| SocketError::Io {
        path: path(),
        doing: "chmod",
        source,
    })
}

fn bind_error(path: &Path, error: io::Error) -> SocketError {
    let path = path.to_owned();
    match error.kind() {
        ErrorKind::NotFound => {
            let parent = path.parent().unwrap_or(Path::new("/")).to_owned();
            SocketError::NoDirectory { path, parent }
        }
        ErrorKind::PermissionDenied => SocketError::Denied(path),
        _ => SocketError::Io { path, doing: "bind", source: error },
    }
}
