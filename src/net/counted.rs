//! Bytes that go over the network, as the payload of TCP: what a meter between here and the server counts, but for the headers.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Link,
    /// To get a certificate, or to try one out.
    Identity,
    /// A file that a job names.
    Download,
}

impl Purpose {
    const ALL: usize = 3;
}

/// Bytes to and from the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

/// What was carried since the start, by its purpose.
#[derive(Debug, Default)]
pub(crate) struct Usage([Cell<Carried>; Purpose::ALL]);

impl Usage {
    /// Of all connections for this, also of those that there are no more.
    pub(crate) fn of(&self, purpose: Purpose) -> Carried {
        self.0[purpose as usize].get()
    }

    pub(crate) fn sent(&self, purpose: Purpose, bytes: usize) {
        let carried = self.of(purpose);
        self.0[purpose as usize].set(Carried { sent: carried.sent + bytes as u64, ..carried });
    }

    pub(crate) fn received(&self, purpose: Purpose, bytes: usize) {
        let carried = self.of(purpose);
        self.0[purpose as usize].set(Carried { received: carried.received + bytes as u64, ..carried });
    }
}

/// A TCP connection whose bytes are counted, below TLS: its handshake, its records and what a proxy is told are among them.
#[derive(Debug)]
pub(crate) struct Counted {
    tcp: TcpStream,
    /// `None`: it is to a neighbour, and costs nothing.
    usage: Option<(Rc<Usage>, Purpose)>,
}

impl Counted {
    pub(super) fn new(tcp: TcpStream, usage: Option<(Rc<Usage>, Purpose)>) -> Counted {
        Counted { tcp, usage }
    }

    /// For the options of the socket, and to wait until it is ready.
    pub(super) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Reads what is there.
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.try_read(buffer).inspect(|len| self.received(*len))
    }

    /// Writes what the kernel takes.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.try_write(bytes).inspect(|len| self.sent(*len))
    }

    fn sent(&self, bytes: usize) {
        if let Some((usage, purpose)) = &self.usage {
            usage.sent(*purpose, bytes);
        }
    }

    fn received(&self, bytes: usize) {
        if let Some((usage, purpose)) = &self.usage {
            usage.received(*purpose, bytes);
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, into))?;
        self.received(into.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let len = ready!(Pin::new(&mut self.tcp).poll_write(cx, bytes))?;
        self.sent(len);
        Poll::Ready(Ok(len))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = ready!(Pin::new(&mut self.tcp).poll_write_vectored(cx, slices))?;
        self.sent(len);
        Poll::Ready(Ok(len))
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
