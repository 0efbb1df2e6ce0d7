//! Bytes between the transport and the session's output, and a connection's input.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf as _;
use tokio::io::AsyncWrite as _;
use tokio_util::io::poll_read_buf;

use super::Connection;
use crate::net::{Network, Transport as _};
use crate::time;

/// How much is asked of the transport at once: a TLS record.
const READ_CHUNK: usize = 16 * 1024;

/// How much is read after writing has failed: as much as a kernel keeps of what the server has said last.
const MAX_LAST_WORD: usize = 4 << 20;

/// What [`Connection::poll_io`] has done.
#[derive(Debug)]
pub(super) enum Moved {
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

impl<N: Network> Connection<'_, N> {
    /// Writes what the session has, reads what has come. Ready when there is something to look at.
    pub(super) fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Moved>> {
        let (had_room, had_look) = (self.has_room(), self.next_look().is_some());
        match self.write(cx).and_then(|()| self.flush(cx)) {
            Ok(true) if !self.unwritten.is_empty() => return Poll::Ready(Ok(Moved::Written)),
            Ok(_) => {}
            Err(error) => return Poll::Ready(Ok(Moved::Failed(self.last_word(cx, error)))),
        }
        let read = match self.session.is_congested() {
            true => Poll::Pending,
            false => {
                self.input.reserve(READ_CHUNK);
                poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.input)
            }
        };
        if read.is_pending() && ((!had_room && self.has_room()) || (!had_look && self.next_look().is_some())) {
            return Poll::Ready(Ok(Moved::Room));
        }
        match ready!(read)? {
            0 => Poll::Ready(Ok(Moved::End)),
            n => {
                self.since_turn += n;
                Poll::Ready(Ok(Moved::Read))
            }
        }
    }

    /// Writes as much as the transport takes.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let (mut wrote, mut is_blocked) = (0, false);
        while !self.session.output().is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, self.session.output()) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => {
                    self.session.output().advance(n);
                    self.unflushed = true;
                    wrote += n;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    is_blocked = true;
                    self.is_slow |= self.drain_deadline.is_some();
                    break;
                }
            }
        }
        if wrote > 0 {
            let now = time::now();
            self.session.wrote(wrote, now);
            self.throughput.wrote(wrote, now);
            if self.connected_at.is_none() {
                self.stream.acknowledge_at_once();
            }
        }
        if is_blocked {
            self.throughput.blocked(time::now());
        }
        Ok(())
    }

    /// Whether the transport has let go of all output, which it hadn't before.
    fn flush(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        if !self.unflushed || !self.session.output().is_empty() {
            return Ok(false);
        }
        let is_flushed = match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(flushed) => flushed.map(|()| true)?,
            Poll::Pending => false,
        };
        self.unflushed = !is_flushed;
        Ok(is_flushed)
    }

    /// Why writing failed. A server that has ended the connection may have said why, and what it has said still waits to be
    /// read: MQTT, or a TLS alert if it refuses our certificate.
    fn last_word(&mut self, cx: &mut Context<'_>, error: io::Error) -> io::Error {
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
}
