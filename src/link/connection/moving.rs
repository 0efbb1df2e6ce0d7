//! Bytes between the transport and the session's output, and a connection's input.

use std::io;
use std::task::{Context, Poll, ready};

use super::Connection;
use crate::client::Moved;
use crate::net::{Network, Transport as _};
use crate::time;

impl<N: Network> Connection<'_, N> {
    /// Writes what the session has, reads what has come. Ready when there is something to look at.
    pub(super) fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Moved>> {
        let (had_room, had_look) = (self.has_room(), self.next_look().is_some());
        match self.write(cx).and_then(|()| self.exchange.flush(self.session, cx)) {
            Ok(true) if !self.unwritten.is_empty() => return Poll::Ready(Ok(Moved::Written)),
            Ok(_) => {}
            Err(error) => return Poll::Ready(Ok(Moved::Failed(self.exchange.last_word(cx, error)))),
        }
        let read = self.exchange.read(self.session, cx);
        if read.is_pending() && ((!had_room && self.has_room()) || (!had_look && self.next_look().is_some())) {
            return Poll::Ready(Ok(Moved::Room));
        }
        match ready!(read)? {
            0 => Poll::Ready(Ok(Moved::End)),
            n => {
                self.turns.read(n);
                Poll::Ready(Ok(Moved::Read))
            }
        }
    }

    /// Writes as much as the transport takes.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let wrote = self.exchange.write(self.session, cx)?;
        if wrote.bytes > 0 {
            self.throughput.wrote(wrote.bytes, time::now());
            if self.connected_at.is_none() {
                self.exchange.stream().acknowledge_at_once();
            }
        }
        if wrote.is_blocked {
            self.is_slow |= self.drain_deadline.is_some();
            self.throughput.blocked(time::now());
        }
        Ok(())
    }
}
