//! Bytes between a transport and a session.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::io::poll_read_buf;

use crate::duration::written;
use crate::mqtt::session::Session;
use crate::net::Transport;
use crate::time;

/// How much is asked of the transport at once: a TLS record.
const READ_CHUNK: usize = 16 * 1024;

/// How much is read after writing has failed: as much as a kernel keeps of what the server has said last.
const MAX_LAST_WORD: usize = 4 << 20;

/// After DISCONNECT: for the server to close. Closing first, with bytes unread, would reset the connection and could take
/// the DISCONNECT with it.
const CLOSE_TIME: Duration = Duration::from_millis(500);

/// A transport, what has come on it, and what was written.
#[derive(Debug)]
pub(crate) struct Exchange<S> {
    stream: S,
    input: BytesMut,
    /// Bytes that were written and may still lie in the transport's own buffers.
    unflushed: bool,
}

/// What [`Exchange::write`] has done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wrote {
    pub(crate) bytes: usize,
    /// The transport takes no more for now.
    pub(crate) is_blocked: bool,
}

/// What has come of moving bytes between a transport and a session.
#[derive(Debug)]
pub(crate) enum Moved {
    Read,
    /// All output, some of it QoS 0 publications.
    Written,
    /// So much output that there is room for more publications, or that it has to be looked how much of it has arrived: nothing
    /// else may happen that would see to that.
    Room,
    /// The server has closed its side.
    End,
    /// It can't be written to any more.
    Failed(io::Error),
}

impl<S: Transport> Exchange<S> {
    pub(crate) fn new(stream: S) -> Exchange<S> {
        Exchange { stream, input: BytesMut::new(), unflushed: false }
    }

    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// Whether the transport has let go of all that was written.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.unflushed
    }

    /// What has come and wasn't looked at.
    pub(crate) fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Writes as much of the session's output as the transport takes.
    pub(crate) fn write(&mut self, session: &mut Session, cx: &mut Context<'_>) -> io::Result<Wrote> {
        let mut wrote = Wrote { bytes: 0, is_blocked: false };
        while !session.output().is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, session.output()) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => {
                    session.output().advance(n);
                    self.unflushed = true;
                    wrote.bytes += n;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    wrote.is_blocked = true;
                    break;
                }
            }
        }
        if wrote.bytes > 0 {
            session.wrote(wrote.bytes, time::now());
        }
        Ok(wrote)
    }

    /// Whether the transport has let go of all output, which it hadn't before.
    pub(crate) fn flush(&mut self, session: &mut Session, cx: &mut Context<'_>) -> io::Result<bool> {
        if !self.unflushed || !session.output().is_empty() {
            return Ok(false);
        }
        let is_flushed = match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(flushed) => flushed.map(|()| true)?,
            Poll::Pending => false,
        };
        self.unflushed = !is_flushed;
        Ok(is_flushed)
    }

    /// Tells a session that waits for an answer how much of what was written hasn't arrived: it may be the uplink that takes its
    /// time.
    pub(crate) fn tell_not_arrived(&self, session: &mut Session, now: Instant) {
        if session.is_waiting()
            && let Some(bytes) = self.stream.not_arrived(self.is_flushed())
        {
            session.not_arrived(bytes, now);
        }
    }

    /// Reads what has come, unless the session looks at nothing more; 0 is the end.
    pub(crate) fn read(&mut self, session: &Session, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if session.is_congested() {
            return Poll::Pending;
        }
        self.input.reserve(READ_CHUNK);
        poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.input)
    }

    /// Why writing failed. A server that has ended the connection may have said why, and what it has said still waits to be
    /// read: MQTT, or a TLS alert if it refuses our certificate.
    pub(crate) fn last_word(&mut self, cx: &mut Context<'_>, error: io::Error) -> io::Error {
        let mut left = MAX_LAST_WORD;
        while left > 0 {
            self.input.reserve(READ_CHUNK);
            match poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.input) {
                Poll::Ready(Ok(n)) if n > 0 => left = left.saturating_sub(n),
                Poll::Ready(Err(alert)) if alert.get_ref().is_some() => return alert,
                _ => break,
            }
        }
        error
    }

    /// Writes what is left to say, lets the server close, and closes. That the other side is quicker is no failure. The session is
    /// told of a server that closes in order.
    pub(crate) async fn hang_up(&mut self, session: &mut Session) {
        match hang_up(&mut self.stream, &session.output().split(), &mut self.input).await {
            Ok(true) => session.has_closed(time::now()),
            Ok(false) => log::debug!("while disconnecting: the server hasn't closed within {}", written(CLOSE_TIME)),
            Err(error) => log::debug!("while disconnecting: {error}"),
        }
    }
}

/// Writes what is left to say and lets the server close; one that doesn't isn't waited for. Whether it has, be it sooner.
///
/// # Errors
/// The transport's: the connection is broken.
pub(crate) async fn hang_up(stream: &mut impl Transport, output: &[u8], input: &mut BytesMut) -> io::Result<bool> {
    let goodbye = async {
        let written = async {
            stream.write_all(output).await?;
            stream.shutdown().await
        };
        // That the server was quicker is no failure, and is heard all the same.
        let written = written.await;
        loop {
            match stream.read_buf(input).await {
                Ok(0) => return Ok(true),
                Ok(_) => input.clear(),
                // Many close without TLS's close_notify. A network that swallows everything doesn't close at all.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(true),
                Err(error) => return written.and(Err(error)),
            }
        }
    };
    tokio::time::timeout(CLOSE_TIME, goodbye).await.unwrap_or(Ok(false))
}
