//! What happens to clients that don't read.

use std::time::{Duration, Instant};

use super::{Client, ClientId, Line, MAX_HELD, MAX_UNWRITTEN, Queue, Role};

/// The longest a line may stay unwritten (docs/sockets.md).
pub(in crate::forward) const MAX_WAIT: Duration = Duration::from_secs(10);

/// The longest a reader that doesn't take its line delays the acknowledgement. IoT Core sends nothing more while 100 are
/// missing, so without a bound one slow reader would stop all of them, of all forwards.
pub(super) const HOLD: Duration = Duration::from_millis(100);

/// Why a client was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::forward) enum Cause {
    /// More than [`MAX_UNWRITTEN`] or [`MAX_HELD`].
    TooMuch,
    /// Longer than [`MAX_WAIT`].
    TooSlow,
}

/// A client that was given up because it doesn't read.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::forward) struct Cut {
    pub(in crate::forward) id: ClientId,
    pub(in crate::forward) role: Role,
    pub(in crate::forward) cause: Cause,
    /// Bytes that it wasn't written.
    pub(in crate::forward) unwritten: u64,
}

impl Queue {
    /// When [`Queue::handle_timeout`] is to be called for a client that takes nothing at the moment.
    pub(in crate::forward) fn timeout(&self, id: ClientId) -> Option<Instant> {
        let client = self.client(id)?;
        let holding = self.first_held_back(client).map(|line| line.arrived + self.hold());
        [holding, self.patience_ends(client)].into_iter().flatten().min()
    }

    /// Whether a client that takes nothing keeps lines from being done. If not, [`Queue::timeout`] changes with the next line.
    pub(in crate::forward) fn holds_back(&self, id: ClientId) -> bool {
        self.client(id).is_some_and(|client| self.first_held_back(client).is_some())
    }

    /// [`HOLD`], or nothing once the daemon stops: the acknowledgements that the stop waits for come behind what the server has sent.
    fn hold(&self) -> Duration {
        if self.keep.is_stopping() { Duration::ZERO } else { HOLD }
    }

    fn first_held_back(&self, client: &Client) -> Option<&Line> {
        self.line(client.line.max(self.released))
    }

    /// A client that takes nothing: its old lines are put on the disk; past [`MAX_WAIT`] it is cut.
    pub(in crate::forward) fn handle_timeout(&mut self, id: ClientId, now: Instant) {
        let hold = self.hold();
        while self.line(self.released.max(self.first)).is_some_and(|line| now >= line.arrived + hold) {
            let index = self.released.max(self.first) - self.first;
            self.released = self.first + index + 1;
            let line = &mut self.lines[index as usize];
            if line.due > 0 && line.token.is_some() {
                line.kept = true;
                self.keep.hold(line.id, &line.message, line.token.take(), now);
            }
        }
        self.cut_where(Cause::TooSlow, now, |queue, client| {
            client.id == id && queue.patience_ends(client).is_some_and(|end| now >= end)
        });
    }

    /// Cuts a client that has left answers to its own lines unread for [`MAX_WAIT`], so many bytes of them.
    pub(in crate::forward) fn cut_for_answers(&mut self, id: ClientId, answers: usize, now: Instant) {
        let before = self.cut.len();
        self.cut_where(Cause::TooSlow, now, |_, client| client.id == id);
        self.cut.iter_mut().skip(before).for_each(|cut| cut.unwritten += answers as u64);
    }

    /// When a client that takes nothing is cut: of the lines it waits for the first counts, while it drains the last write.
    fn patience_ends(&self, client: &Client) -> Option<Instant> {
        let waits_since = match self.is_drawing(client) {
            true => client.since,
            false => self.line(client.line)?.arrived.max(client.since),
        };
        Some(waits_since + MAX_WAIT)
    }

    /// Cuts who leaves too much unwritten. What the slowest hasn't been written is in memory.
    pub(super) fn cut_where_too_much(&mut self, now: Instant) {
        let held = self.lines.front().map_or(0, |line| self.held - line.held_before);
        if self.text.len() > MAX_UNWRITTEN / 4 || held > MAX_HELD / 4 {
            // Who hasn't been written anything isn't slow.
            while let Some(client) = self.clients.iter().find(|client| client.role == Role::Undecided) {
                self.presume_reader(client.id, now);
            }
        }
        if self.text.len() > MAX_UNWRITTEN || self.text.len() as u64 + held > MAX_HELD {
            self.cut_where(Cause::TooMuch, now, |queue, client| {
                let text = queue.text.end() - client.at;
                let held = queue.line(client.line).map_or(0, |line| queue.held - line.held_before);
                text > MAX_UNWRITTEN as u64 || text + held > MAX_HELD
            });
        }
    }

    pub(super) fn cut_where(&mut self, cause: Cause, now: Instant, is_slow: impl Fn(&Queue, &Client) -> bool) {
        while let Some(client) = self.clients.iter().find(|client| is_slow(self, client)) {
            let (id, role) = (client.id, client.role);
            let unwritten = self.text.end() - client.at + client.drawn.text().len() as u64;
            let missed = self.lines.range((client.line - self.first) as usize..);
            let missed = missed.filter(|line| line.written || line.due > 1).count() as u64;
            self.counters.missed += if role.counts() { missed } else { 0 };
            self.counters.cut += 1;
            self.cut.push(Cut { id, role, cause, unwritten });
            self.detach(id, now);
        }
    }
}
