//! A connection as the daemon has it: reads and writes take any part of what there is.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use fastrand::Rng;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Ended, Seen, SimulatedNetwork, Way, Weather, Wire};
use crate::net::{Purpose, Transport, Usage};
use crate::simulation::server::{ConnectionId, Server};
use crate::time;

/// What lies in the kernel's queue before a write has to wait.
const SEND_BUFFER: usize = 64 * 1024;

/// Where the daemon is: for documentation (RFC 5737).
const LOCAL: ([u8; 4], u16) = ([198, 51, 100, 1], 40000);

/// The daemon's end of a connection.
pub(crate) struct SimulatedStream<S: Server> {
    network: SimulatedNetwork<S>,
    id: ConnectionId,
    /// What its bytes are counted for, if they are.
    purpose: Option<Purpose>,
}

impl<S: Server> SimulatedStream<S> {
    pub(super) fn new(network: &SimulatedNetwork<S>, id: ConnectionId, purpose: Option<Purpose>) -> SimulatedStream<S> {
        SimulatedStream { network: network.clone(), id, purpose }
    }

    pub(super) fn id(&self) -> ConnectionId {
        self.id
    }

    fn count(&self, count: impl FnOnce(&Usage, Purpose)) {
        if let Some(purpose) = self.purpose {
            count(&self.network.state.borrow().usage, purpose);
        }
    }

    fn with<T>(&self, otherwise: T, work: impl FnOnce(&mut Wire, &mut Rng, &Weather) -> T) -> T {
        let state = &mut *self.network.state.borrow_mut();
        let Some(wire) = state.wires.get_mut(&self.id) else { return otherwise };
        work(wire, &mut state.rng, &state.weather)
    }
}

impl<S: Server> Drop for SimulatedStream<S> {
    fn drop(&mut self) {
        self.with((), |wire, _, _| wire.is_dropped = true);
        self.network.changed.notify_one();
    }
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl<S: Server> AsyncRead for SimulatedStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = self.with(Poll::Ready(Err(reset())), |wire, rng, _| {
            if !wire.readable.is_empty() {
                // A read gives any part of what is there.
                let most = wire.readable.len().min(buffer.remaining());
                let n = if rng.u8(..8) == 0 { rng.usize(1..=most) } else { most };
                buffer.put_slice(&wire.readable.drain(..n).collect::<Vec<u8>>());
                return Poll::Ready(Ok(()));
            }
            match wire.ended {
                Some(Ended::Closed) => Poll::Ready(Ok(())),
                Some(Ended::Reset) => Poll::Ready(Err(reset())),
                None => {
                    wire.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        });
        let read = buffer.filled().len() - before;
        self.count(|usage, purpose| usage.received(purpose, read));
        polled
    }
}

impl<S: Server> AsyncWrite for SimulatedStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let now = time::now();
        let forgets_after = self.network.state.borrow().forgets_after;
        let polled = self.with(Poll::Ready(Err(reset())), |wire, rng, weather| {
            if wire.ended.is_some() {
                return Poll::Ready(Err(reset()));
            }
            let room = SEND_BUFFER.saturating_sub(wire.up.bytes);
            if room == 0 {
                wire.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            wire.moves(now, forgets_after);
            let most = room.min(bytes.len());
            let n = if rng.u8(..8) == 0 { rng.usize(1..=most) } else { most };
            let (least, greatest) = weather.latency;
            let begins = wire.sending_until.map_or(now, |until| until.max(now));
            let sent = begins + Duration::from_secs_f64(n as f64 / weather.bandwidth.max(1) as f64);
            wire.sending_until = Some(sent);
            wire.up.send(bytes[..n].to_vec(), sent + least + (greatest - least).mul_f64(rng.f64()));
            Poll::Ready(Ok(n))
        });
        if let Poll::Ready(Ok(n)) = polled {
            self.count(|usage, purpose| usage.sent(purpose, n));
            self.network.sees(Seen::Written(&bytes[..n]));
        }
        self.network.changed.notify_one();
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl<S: Server> Transport for SimulatedStream<S> {
    fn local_address(&self) -> Option<SocketAddr> {
        Some(SocketAddr::from(LOCAL))
    }

    fn not_arrived(&self, _: bool) -> Option<usize> {
        self.with(None, |wire, _, _| Some(wire.up.bytes))
    }

    fn under_way(&self, is_flushed: bool) -> Option<usize> {
        self.not_arrived(is_flushed)
    }

    fn acknowledge_at_once(&self) {}

    fn abandon(&self) {
        self.with((), |wire, _, _| {
            wire.up = Way::default();
        });
    }
}
