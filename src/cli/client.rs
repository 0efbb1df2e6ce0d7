//! Connections to the sockets of the running daemon, and what to do where there is none.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Gid, Group, Uid, User, geteuid};
use socket2::{SockAddr, Type};
use thiserror::Error;

use super::Exit;
use super::output::Failure;
use crate::socket::unread;

/// How long the daemon may take to let us in: it hangs if it takes longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no connection to the daemon.
#[derive(Debug, Error)]
pub(super) enum Unreachable {
    #[error(
        "gatewire isn't running, or not with this configuration: nothing listens on the socket {}. `systemctl status gatewire` \
        shows its state, `sudo journalctl -u gatewire` why it stopped",
        path.display()
    )]
    Absent { path: PathBuf },
    #[error("the socket {}: {why}", path.display())]
    Denied { path: PathBuf, why: String },
    #[error(
        "gatewire doesn't answer at {} within {} s: it hangs. `sudo journalctl -u gatewire` may show why; `systemctl restart \
         gatewire` helps for now",
        path.display(), PATIENCE.as_secs()
    )]
    Silent { path: PathBuf },
    #[error("{} answers with an error: {detail}", path.display())]
    Refused { path: PathBuf, detail: String },
    #[error("{} isn't answered by gatewire, or by another version of it: {detail}", path.display())]
    Strange { path: PathBuf, detail: String },
    #[error("{} is a socket of gatewire, but not that of {wanted}, whose path is `socket` in the configuration", path.display())]
    Other { path: PathBuf, wanted: &'static str },
    #[error("talking to gatewire at {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl From<Unreachable> for Failure {
    fn from(error: Unreachable) -> Failure {
        Failure::new(error.to_string(), Exit::Unavailable)
    }
}

impl Unreachable {
    /// Why something with the socket at `path` failed.
    pub(super) fn new(path: &Path, source: io::Error) -> Unreachable {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::NotFound
            | ErrorKind::ConnectionRefused
            // It has ended meanwhile.
            | ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe => Unreachable::Absent { path },
            ErrorKind::PermissionDenied => Unreachable::Denied { why: why_denied(&path), path },
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Unreachable::Silent { path },
            _ => Unreachable::Io { path, source },
        }
    }
}

/// Connects to the socket at `path`, whose kind isn't known: if it is a forward's, it takes nothing from its readers.
pub(super) fn connect(path: &Path) -> Result<UnixStream, Unreachable> {
    let connect = || {
        let socket = unread(Type::STREAM)?;
        // A daemon that hangs lets nobody in once its backlog is full; this bounds the wait for it (unix(7), SO_SNDTIMEO).
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.connect(&SockAddr::unix(path)?)?;
        socket.set_write_timeout(None)?;
        Ok(socket.into())
    };
    connect().map_err(|error| Unreachable::new(path, error))
}

/// Who may use the socket, and how to become one of them.
fn why_denied(path: &Path) -> String {
    let uid = geteuid();
    let found = User::from_uid(uid).ok().flatten();
    let user = found.as_ref().map_or_else(|| uid.to_string(), |user| user.name.clone());
    let Ok(socket) = fs::metadata(path) else {
        return format!(
            "the user {user} may not enter its directory; `ls -ld` on the path shows who may, and root always may"
        );
    };
    let (gid, owner) = (Gid::from_raw(socket.gid()), owner(socket.uid()));
    let group = Group::from_gid(gid).ok().flatten();
    let name = group.as_ref().map_or_else(|| gid.to_string(), |group| group.name.clone());
    if socket.mode() & 0o020 == 0 {
        return format!("only the user {owner} may use it: prefix the command with `sudo -u {owner}`");
    }
    let is_member = group.is_some_and(|group| group.mem.contains(&user)) || found.is_some_and(|user| user.gid == gid);
    match is_member {
        true => format!("the user {user} has joined the group {name}, but not in this session: log in again"),
        false => format!(
            "the user {user} isn't in the group {name}, which may use it: `sudo usermod -aG {name} {user}`, then log in again"
        ),
    }
}

fn owner(uid: u32) -> String {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}
