//! Between tokio's streams and hyper, which speaks HTTP/1.1 over them: downloads as a client, the metrics as a server.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read from the connection at once: a record of TLS.
const MAX_READ: usize = 16 * 1024;

/// A stream of tokio's for hyper.
pub(crate) struct Adapter<S> {
    stream: S,
    read: Box<[u8]>,
}

impl<S> Adapter<S> {
    pub(crate) fn new(stream: S) -> Adapter<S> {
        Adapter { stream, read: vec![0; MAX_READ].into_boxed_slice() }
    }
}

impl<S: AsyncRead + Unpin> Read for Adapter<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let Adapter { stream, read } = self.get_mut();
        let most = into.remaining().min(read.len());
        let mut filled = ReadBuf::new(&mut read[..most]);
        ready!(Pin::new(stream).poll_read(cx, &mut filled))?;
        into.put_slice(filled.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Write for Adapter<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
