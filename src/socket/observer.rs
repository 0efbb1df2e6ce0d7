//! An observer that says so before it is connected.
//!
//! Whoever connects to a forward socket from a socket that is itself bound to a name that begins with [`OBSERVER`] is an observer
//! from the first moment: the kernel hands that name over with the connection, so that no delay on either side can make a reader
//! of it.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

/// How the name of such a socket begins (docs/sockets.md): an abstract one, or the file name of a path.
const OBSERVER: &str = "gatewire-observer";

/// A socket from which gatewire itself connects to one of its sockets, whichever it turns out to be: no forward takes it for a
/// reader and gives it what waits.
pub(crate) fn unread(kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    let name = format!("\0{OBSERVER}/{}/{:x}", std::process::id(), fastrand::u64(..));
    socket.bind(&SockAddr::unix(name)?)?;
    Ok(socket)
}

/// Connects to the socket at `path` as [`unread`] says.
pub(crate) fn connect_unread(path: &Path) -> io::Result<UnixStream> {
    let socket = unread(Type::STREAM)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

/// Whether a client that is bound to `address` is an observer.
pub(crate) fn is_observer(address: &SocketAddr) -> bool {
    let path = address.as_pathname().and_then(|path| path.file_name());
    let name = address.as_abstract_name().or_else(|| path.map(|name| name.as_bytes()));
    name.is_some_and(|name| name.starts_with(OBSERVER.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_a_client_is_bound_to_makes_it_an_observer() {
        let named = |name: &str| SocketAddr::from_abstract_name(name).unwrap();
        let at = |path: &str| SocketAddr::from_pathname(path).unwrap();
        assert!(is_observer(&named("gatewire-observer")) && is_observer(&named("gatewire-observer/17")));
        assert!(is_observer(&at("/tmp/gatewire-observer.17")));
        assert!(!is_observer(&named("observer")) && !is_observer(&named("")));
        assert!(!is_observer(&at("/tmp/gatewire-observer/reader")) && !is_observer(&at("/tmp/x-gatewire-observer")));
    }
}
