//! One client of a local socket.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll, ready};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A connected client whose reading doesn't wake us.
///
/// The kernel reports a Unix socket as writable again each time its peer has read from it, and tokio's own `UnixStream` asks
/// for these reports: two wake-ups a line instead of one. This one asks only while a write is blocked.
#[derive(Debug)]
pub(crate) struct Client {
    /// `None` only while the registration is exchanged.
    stream: Option<AsyncFd<UnixStream>>,
    blocked: bool,
}

impl Client {
    pub(super) fn new(stream: UnixStream) -> io::Result<Client> {
        stream.set_nonblocking(true)?;
        let stream = super::watch(stream, Interest::READABLE)?;
        Ok(Client { stream: Some(stream), blocked: false })
    }

    fn stream(&self) -> io::Result<&AsyncFd<UnixStream>> {
        self.stream.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Registers anew, with or without an interest in room to write.
    fn register(&mut self, blocked: bool) -> io::Result<()> {
        let interest = if blocked { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        if let Some(stream) = self.stream.take() {
            self.stream = Some(super::watch(stream.into_inner(), interest)?);
            self.blocked = blocked;
        }
        Ok(())
    }

    /// After the end of what it sent: whether the client has closed the socket, rather than shut down its side.
    pub(crate) fn has_gone(&self) -> bool {
        let Some(stream) = &self.stream else { return true };
        let mut polled = [PollFd::new(stream.get_ref().as_fd(), PollFlags::empty())];
        let hung_up = |polled: &PollFd<'_>| polled.revents().is_some_and(|events| events.contains(PollFlags::POLLHUP));
        poll(&mut polled, PollTimeout::ZERO).is_ok() && hung_up(&polled[0])
    }

    /// Reads into `buffer`, which isn't empty; 0 is the end. Poll it after [`Client::poll_write`], which may exchange the
    /// registration that would wake the task.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.stream()?.poll_read_ready(cx))?;
            if let Ok(result) = guard.try_io(|stream| stream.get_ref().read(buffer)) {
                match result {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    // Less than there was room for: there is no more, the kernel will say when there is.
                    Ok(n) if n > 0 && n < buffer.len() => guard.clear_ready(),
                    _ => {}
                }
                return Poll::Ready(result);
            }
        }
    }

    /// Writes what the kernel takes of `slices`, which aren't empty.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            if self.blocked {
                ready!(self.stream()?.poll_write_ready(cx))?.retain_ready();
            }
            match self.stream()?.get_ref().write_vectored(slices) {
                Ok(n) => {
                    if self.blocked {
                        self.register(false)?;
                    }
                    return Poll::Ready(Ok(n));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match self.blocked {
                    true => ready!(self.stream()?.poll_write_ready(cx))?.clear_ready(),
                    false => self.register(true)?,
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}
