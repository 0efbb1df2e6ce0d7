//! A listening socket in the file system: put there with its permissions, taken away on drop.

use std::fs;
use std::future::poll_fn;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{AccessFlags, Gid, Group, access, getegid, geteuid, getgroups};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::error::{SocketError, explain};
pub(crate) use super::file::Access;
use super::file::OwnFile;
use super::stale::{self, AtPath, Beside, clear_the_way};
use super::stream::register;
use crate::config::SocketFile;
use crate::owner;

/// Connections the kernel holds until they are accepted, or fewer where net.core.somaxconn is less: more than are taken, so that
/// a burst of clients gets our answer and not the kernel's.
const BACKLOG: i32 = 4096;

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
        // The file gets the socket's own mode, less the umask: at first nobody may use it.
        fchmod(&socket, Mode::empty()).map_err(|errno| explain(path, "change the mode of a socket", errno.into()))?;
        socket.bind(&address).map_err(failed("make the socket file"))?;
        let own = OwnFile::of_new(path).map_err(failed("look at the socket file"))?;
        // Until `listen` every connect is refused: there is no moment at which the wrong mode or group lets anybody in.
        give_access(&own, file)?;
        socket.listen(BACKLOG).map_err(failed("listen on the socket"))?;
        Listener::new(path, socket.into(), Some(own))
    }

    /// Whether [`Listener::bind`] would work, as far as can be told without changing anything. With a daemon running the socket
    /// may be served: by that, and by no other.
    pub(crate) fn probe(file: &SocketFile, daemon: Option<Beside>) -> Result<(), SocketError> {
        let path = &file.path;
        let address = SockAddr::unix(path).map_err(|_| SocketError::PathTooLong { path: path.clone() })?;
        match stale::look(path, &address)? {
            AtPath::Served(server) if daemon.is_some_and(|daemon| daemon.may_serve(server)) => {}
            AtPath::Served(_) => return Err(SocketError::Served { path: path.clone() }),
            AtPath::Stale(owner) => stale::may_remove(path, owner)?,
            AtPath::Nothing => {
                let directory = super::file::directory_of(path);
                let writable = access(directory, AccessFlags::W_OK | AccessFlags::X_OK);
                writable.map_err(|errno| explain(path, "make the socket file", errno.into()))?;
            }
        }
        let Some(group) = &file.group else { return Ok(()) };
        let gid = Gid::from_raw(find_group(path, group)?);
        let is_in = geteuid().is_root() || getegid() == gid || getgroups().is_ok_and(|groups| groups.contains(&gid));
        match is_in {
            true => Ok(()),
            false => Err(SocketError::NotInGroup { path: path.clone(), user: owner::own_name(), group: group.clone() }),
        }
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
        self.file.as_ref().map_or(Ok(()), |own| give_access(own, file))
    }

    /// Whether its file is still there, as far as that is ours.
    pub(crate) fn is_in_place(&self) -> bool {
        self.file.as_ref().is_none_or(OwnFile::is_in_place)
    }

    /// Removes its file from `path`, where somebody has moved or linked it: it would pass for a socket that another process serves.
    pub(crate) fn leave(&self, path: &Path) -> Result<(), SocketError> {
        let is_there = self.path != path && self.file.as_ref().is_some_and(|own| own.is_at(path));
        let removed = if is_there { fs::remove_file(path) } else { Ok(()) };
        removed.map_err(|source| explain(path, "remove another socket of gatewire's from there", source))
    }

    /// Its present mode and group, if they are ours to set.
    pub(crate) fn access(&self) -> Option<Access> {
        self.file.as_ref()?.access().ok()
    }

    /// Gives it the mode and group that it had.
    pub(crate) fn restore(&self, access: Option<&Access>) {
        let Some((file, Access { mode, gid })) = self.file.as_ref().zip(access) else { return };
        if let Err(error) = file.set_group(*gid).and_then(|()| file.set_mode(*mode)) {
            log::warn!("the socket {} can't be given its mode and group back: {error}", self.path.display());
        }
    }

    /// Waits for the next client. However many come, the other tasks have their turns.
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            // `readable` of tokio would never yield as long as there are clients.
            let mut ready = poll_fn(|cx| self.fd.poll_read_ready(cx)).await?;
            // The lambda's error WouldBlock only says that somebody gave up before we came.
            if let Ok(accepted) = ready.try_io(|fd| fd.get_ref().accept()) {
                return accepted.map(|(stream, _)| stream);
            }
        }
    }

    /// For log lines: where it listens.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Gives a socket the mode and group of `file`: without one in the configuration our own. Root in another's directory gives it
/// to whom the directory belongs.
fn give_access(own: &OwnFile, file: &SocketFile) -> Result<(), SocketError> {
    let path = &file.path;
    let heir = own.heir().map_err(|source| explain(path, "look at its directory", source))?;
    let gid = match (&file.group, heir) {
        (Some(group), _) => find_group(path, group)?,
        (None, Some((_, gid))) => gid.as_raw(),
        (None, None) => getegid().as_raw(),
    };
    own.set_group(gid).map_err(|source| match (source.kind(), &file.group) {
        // EINVAL: in a user namespace (PrivateUsers=yes) that doesn't know the group.
        (io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput, Some(group)) => {
            SocketError::NotInGroup { path: path.clone(), user: owner::own_name(), group: group.clone() }
        }
        _ => explain(path, "change the group of the socket file", source),
    })?;
    let given = heir.map_or(Ok(()), |(uid, _)| own.set_owner(uid));
    given
        .and_then(|()| own.set_mode(file.mode))
        .map_err(|source| explain(path, "change the mode of the socket file", source))
}

fn find_group(path: &Path, group: &str) -> Result<u32, SocketError> {
    match Group::from_name(group) {
        Ok(Some(found)) => Ok(found.gid.as_raw()),
        Ok(None) => Err(SocketError::UnknownGroup { path: path.to_owned(), group: group.to_owned() }),
        Err(errno) => Err(explain(path, "look up its group", errno.into())),
    }
}

#[cfg(test)]
mod tests;
