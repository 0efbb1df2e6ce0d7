//! A connection to a local client that costs no needless wake-up.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::observer::is_observer;
use super::peer::Peer;
use super::seats::Seat;

use crate::time;

/// What a client gets whose place another gets.
const LOST: &[u8] = b"{\"error\":\"too_many_clients\",\"detail\":\"256 clients are connected to this socket, more of them by this \
    program or user than by any other, and another one needs a place: this connection has been idle longest and ends; close \
    connections that aren't used\"}\n";

/// A Unix stream socket of which the kernel is asked to report only what somebody waits for.
///
/// tokio's `UnixStream` registers for writability too. Edge-triggered, that wakes the daemon each time the peer has taken
/// something from the socket: once a message, for nothing. Here bytes are written directly, and only once the socket
/// takes no more does [`Stream::watch_writes`] ask for writability, until it is told that this is over.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Gone only if a change of registration failed, which ends the connection.
    fd: Option<AsyncFd<UnixStream>>,
    watches_writes: bool,
    /// The socket may hold input: nothing since has shown that it is empty.
    has_input: Cell<bool>,
    /// What was written last is the end of a line, or nothing was.
    is_at_line_end: Cell<bool>,
    seat: Rc<Seat>,
}

impl Stream {
    /// Takes a connected socket and makes it non-blocking. Must be called inside a tokio runtime.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Stream> {
        stream.set_nonblocking(true)?;
        let fd = register(stream, Interest::READABLE)?;
        let (has_input, is_at_line_end) = (Cell::new(false), Cell::new(true));
        Ok(Stream { fd: Some(fd), watches_writes: false, has_input, is_at_line_end, seat: Seat::new(time::now()) })
    }

    /// Its place among the clients of its socket.
    pub(super) fn seat(&self) -> &Rc<Seat> {
        &self.seat
    }

    /// Whether the client is owed something: another that has nothing to wait for makes room before it.
    pub(crate) fn set_busy(&self, is_busy: bool) {
        self.seat.set_busy(is_busy);
    }

    /// Tells a client whose place another has got why its connection ends; nothing to one that keeps it. Only between two lines.
    pub(crate) fn say_why(&self) {
        if self.seat.is_lost() {
            // One that reads nothing learns nothing.
            let _ = self.try_write(&[IoSlice::new(LOST)]);
        }
    }

    /// Whether what was written so far ends with a line.
    pub(crate) fn is_at_line_end(&self) -> bool {
        self.is_at_line_end.get()
    }

    /// The connection by itself, for who reads and writes it in another way.
    pub(crate) fn into_std(mut self) -> io::Result<UnixStream> {
        self.fd.take().map(AsyncFd::into_inner).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn fd(&self) -> io::Result<&AsyncFd<UnixStream>> {
        self.fd.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// The number of its file descriptor.
    pub(super) fn descriptor(&self) -> Option<i32> {
        self.fd().ok().map(|fd| fd.get_ref().as_raw_fd())
    }

    /// Who has connected.
    pub(crate) fn peer(&self) -> Peer {
        let credentials = self.fd().ok().and_then(|fd| getsockopt(fd.get_ref(), PeerCredentials).ok());
        credentials.map_or_else(Peer::default, |found| Peer { uid: found.uid(), pid: found.pid() })
    }

    /// Writes what the socket takes at once; `None` if that is nothing.
    pub(crate) fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        let written = none_if_not_ready(|| self.fd()?.get_ref().write_vectored(pieces))?;
        if let Some(n @ 1..) = written {
            self.seat.is_active(time::now());
            self.is_at_line_end.set(byte_at(pieces, n - 1) == Some(b'\n'));
        }
        Ok(written)
    }

    /// Nothing more is written: the peer reads the end after what is on its way.
    pub(crate) fn end(&self) -> io::Result<()> {
        self.fd()?.get_ref().shutdown(Shutdown::Write)
    }

    /// Whether the peer was bound to the name of an observer when it connected.
    pub(crate) fn is_observer(&self) -> bool {
        self.fd().and_then(|fd| fd.get_ref().peer_addr()).is_ok_and(|address| is_observer(&address))
    }

    /// Starts or ends the reports that [`Stream::writable`] waits for.
    pub(crate) fn watch_writes(&mut self, watch: bool) -> io::Result<()> {
        if watch != self.watches_writes
            && let Some(fd) = self.fd.take()
        {
            let interest = if watch { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            self.fd = Some(register(fd.into_inner(), interest)?);
            self.watches_writes = watch;
        }
        Ok(())
    }

    /// Waits until the socket may take something again, once [`Stream::watch_writes`] has been called.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        // Cleared before the attempt: what happens from now on is reported anew.
        poll_fn(|cx| self.fd()?.poll_write_ready(cx).map_ok(|mut ready| ready.clear_ready())).await
    }

    /// Waits until there may be something to read.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        if self.has_input.get() {
            // One read a turn, so that a client that never stops doesn't keep the thread for itself.
            tokio::task::yield_now().await;
        } else {
            // `readable` would enter itself in a list of who waits each time, and leave it.
            poll_fn(|cx| self.fd()?.poll_read_ready(cx).map_ok(|mut ready| ready.clear_ready())).await?;
            self.has_input.set(true);
        }
        Ok(())
    }

    /// Reads what is there; `None` if that is nothing, 0 at the end.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let read = none_if_not_ready(|| self.fd()?.get_ref().read(buffer))?;
        if read.is_some_and(|n| n > 0) {
            self.seat.is_active(time::now());
        }
        // Less than was asked for: the socket is empty (epoll(7), question 9). That the peer has closed stays reported.
        self.has_input.set(read == Some(buffer.len()));
        Ok(read)
    }

    /// Waits until the peer has closed the connection. Only while writability isn't watched.
    pub(crate) async fn closed(&self) -> io::Result<()> {
        // What isn't asked for is reported all the same if it is the end.
        poll_fn(|cx| self.fd()?.poll_write_ready(cx).map_ok(drop)).await
    }

    /// Whether the peer can't read any more. After the end of its input: whether it has closed the connection rather than
    /// only its own writing.
    pub(crate) fn is_closed(&self) -> bool {
        self.fd().is_ok_and(|fd| is_closed(fd.get_ref()))
    }
}

/// Whether the peer can't read any more.
pub(super) fn is_closed(stream: &UnixStream) -> bool {
    SockRef::from(stream).send(&[]).is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
}

fn byte_at(pieces: &[IoSlice<'_>], mut index: usize) -> Option<u8> {
    for piece in pieces {
        match piece.get(index) {
            Some(byte) => return Some(*byte),
            None => index -= piece.len(),
        }
    }
    None
}

/// Asks the kernel to report what `interest` says, and only that.
///
/// The function is deprecated because a type may lie about its file descriptor, in favour of one that is `unsafe`, which this
/// crate forbids. The sockets of the standard library, which is what turns into an [`OwnedFd`], don't lie.
#[expect(deprecated, reason = "sound for sockets of the standard library; what replaces it is unsafe")]
pub(super) fn register<T: AsRawFd + Into<OwnedFd>>(socket: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(socket, interest)
}

/// Does something with a non-blocking socket, again if a signal came between.
fn none_if_not_ready<T>(mut action: impl FnMut() -> io::Result<T>) -> io::Result<Option<T>> {
    loop {
        match action() {
            Ok(done) => return Ok(Some(done)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Stream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Stream::new(ours).unwrap(), theirs)
    }

    #[tokio::test]
    async fn a_blocked_write_goes_on_once_the_peer_reads() {
        let (mut stream, mut peer) = pair();
        let (piece, mut written) = ([7; 10_000], 0);
        while let Some(n) = stream.try_write(&[IoSlice::new(&piece)]).unwrap() {
            written += n;
        }
        stream.watch_writes(true).unwrap();
        let reader = std::thread::spawn(move || {
            let mut taken = vec![0; written];
            peer.read_exact(&mut taken).unwrap();
            peer
        });
        stream.writable().await.unwrap();
        let _peer = reader.join().unwrap();
        stream.watch_writes(false).unwrap();
        assert_eq!(stream.try_write(&[IoSlice::new(&piece)]).unwrap(), Some(piece.len()));
    }

    #[tokio::test]
    async fn the_end_of_input_is_seen_even_behind_a_short_read() {
        let (stream, mut peer) = pair();
        peer.write_all(b"abc").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let mut buffer = [0; 16];
        stream.readable().await.unwrap();
        assert_eq!(stream.try_read(&mut buffer).unwrap(), Some(3));
        stream.readable().await.unwrap();
        assert_eq!(stream.try_read(&mut buffer).unwrap(), Some(0));
    }

    #[tokio::test]
    async fn half_closed_and_closed_are_told_apart() {
        let (stream, peer) = pair();
        assert!(!stream.is_closed());
        peer.shutdown(Shutdown::Write).unwrap();
        assert!(!stream.is_closed());
        drop(peer);
        assert!(stream.is_closed());
    }
}
