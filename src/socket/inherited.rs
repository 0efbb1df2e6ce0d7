//! Sockets that systemd has opened before us: socket activation, sd_listen_fds(3).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use listenfd::ListenFd;

use super::{Listener, SocketError};

/// The sockets that we were started with, by their paths. They are systemd's: it has made them with mode and group of its unit,
/// goes on listening while we are away, and removes them. So ours stay open as long as we run, whoever is served at them.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    /// Not taken up by anybody yet.
    waiting: RefCell<BTreeMap<PathBuf, UnixListener>>,
    taken: RefCell<BTreeMap<PathBuf, Rc<Listener>>>,
}

impl Inherited {
    /// Takes over what the environment names (`LISTEN_FDS`, `LISTEN_PID`). To be called once, before there are other threads.
    pub(crate) fn from_environment() -> Inherited {
        let mut given = ListenFd::from_env();
        let mut waiting = BTreeMap::new();
        for index in 0..given.len() {
            match listener(&mut given, index) {
                Ok((path, listener)) => {
                    waiting.insert(path, listener);
                }
                Err(reason) => log::warn!(
                    GATEWIRE_EVENT = "socket_unit";
                    "systemd hands over a socket that can't be used: {reason}. The socket unit may only have ListenStream= \
                    with the paths in the configuration"
                ),
            }
        }
        Inherited { waiting: RefCell::new(waiting), ..Inherited::default() }
    }

    /// The socket of this path, if we were started with it.
    pub(crate) fn get(&self, path: &Path) -> Result<Option<Rc<Listener>>, SocketError> {
        if let Some(listener) = self.taken.borrow().get(path) {
            return Ok(Some(Rc::clone(listener)));
        }
        let Some(listener) = self.waiting.borrow_mut().remove(path) else { return Ok(None) };
        let listener = Rc::new(Listener::inherited(path, listener)?);
        self.taken.borrow_mut().insert(path.to_owned(), Rc::clone(&listener));
        Ok(Some(listener))
    }

    /// Those that nobody has taken up.
    pub(crate) fn unused(&self) -> Vec<PathBuf> {
        self.waiting.borrow().keys().cloned().collect()
    }
}

fn listener(given: &mut ListenFd, index: usize) -> Result<(PathBuf, UnixListener), String> {
    let listener = given.take_unix_listener(index).map_err(|error| error.to_string())?;
    let listener = listener.ok_or("it was taken before")?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let path = address.as_pathname().ok_or("it has no path in the file system")?;
    Ok((path.to_owned(), listener))
}
