//! How long the server may take to answer what was sent: on a slow uplink most of that time passes before it can.

use std::time::{Duration, Instant};

/// With so many bytes on the wire it may be the uplink that takes its time, and not the server.
pub(super) const BURDEN: usize = 16 * 1024;

/// How often the patience is doubled at most: to over ten minutes, from the default of 10 s.
const MAX_DOUBLINGS: u32 = 6;

/// How far the output has come, of all connections.
#[derive(Debug, Default)]
pub(super) struct Progress {
    written: u64,
    arrived: u64,
    /// When to look next how much has arrived.
    pub(super) look_at: Option<Instant>,
}

impl Progress {
    /// Bytes of the output that were ever written.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn wrote(&mut self, bytes: usize) {
        self.written += bytes as u64;
    }

    /// What ends at `place` has arrived at the server, or is lost with an earlier connection. Returns whether that is news.
    pub(super) fn arrived(&mut self, place: u64) -> bool {
        let is_more = place > self.arrived;
        self.arrived = self.arrived.max(place);
        is_more
    }
}

/// A packet that the server has to answer, from when it was put into the output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Awaited {
    /// Where it ends in all that has ever been put there.
    end: u64,
    /// Since when nothing that came before it has moved on.
    since: Instant,
}

impl Awaited {
    /// It is the last in the output, of which `end` bytes have been put there so far.
    pub(super) fn new(end: u64, now: Instant) -> Awaited {
        Awaited { end, since: now }
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// What ends at `place` has been written, has arrived or was answered. What comes behind it waits from now on: it wasn't its
    /// turn yet.
    pub(super) fn moved(&mut self, place: u64, now: Instant) {
        if self.end > place {
            self.since = now;
        }
    }
}

/// The time for an acknowledgement. What a proxy on the way, or a modem that answers for TCP, has taken and not sent can't be
/// seen: where that may be the reason for one that hasn't come, the next has twice the time, until they come in time again.
#[derive(Debug, Default)]
pub(super) struct Patience {
    doublings: u32,
}

impl Patience {
    pub(super) fn of(&self, ack_timeout: Duration) -> Duration {
        ack_timeout * 2_u32.pow(self.doublings)
    }

    /// An acknowledgement hasn't come, with so many bytes on the wire.
    pub(super) fn was_too_short(&mut self, on_the_wire: usize) {
        if on_the_wire >= BURDEN {
            self.doublings = (self.doublings + 1).min(MAX_DOUBLINGS);
        }
    }

    /// One has come, after so long.
    pub(super) fn was_enough(&mut self, waited: Duration, ack_timeout: Duration) {
        if waited <= ack_timeout {
            self.doublings = 0;
        }
    }
}
