//! What a client of an ingest socket and the daemon say to each other. Pure: the time, the socket and what becomes of a line
//! come from the caller.
//!
//! A turn is [`read`](Conversation::read) if something has come, [`take_lines`](Conversation::take_lines),
//! [`write`](Conversation::write), and then [`next`](Conversation::next), which alone says what to wait for: after everything
//! that may change it.

use std::io;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::answers::Answers;
use super::line::{IngestRequest, Reject, parse};
use crate::outbox::MessageOutcome;
use crate::socket::{Line, Lines, READ_CHUNK, SMALL};

/// A client that takes no answer for so long, though some wait for it, is disconnected.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// So long the lines of a client that has closed its connection may wait for their turn.
pub(super) const LINGER: Duration = Duration::from_secs(30);

/// While others wait for its memory, a line over [`SMALL`] may stay unfinished for so long, and for so long without a byte more.
pub(super) const UNFINISHED: Duration = Duration::from_secs(5);
pub(super) const STALLED: Duration = Duration::from_secs(1);

/// The connection, without the waiting.
pub(super) trait Socket {
    /// Reads what is there; `None` if that is nothing, 0 at the end.
    fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>>;
    /// Writes what the socket takes at once; `None` if that is nothing.
    fn write(&self, bytes: &[u8]) -> io::Result<Option<usize>>;
    /// Whether the client can't read any more.
    fn is_closed(&self) -> bool;
}

/// What has become of a line.
pub(super) enum Handed {
    Accepted(oneshot::Receiver<MessageOutcome>),
    Refused(Reject),
    /// It isn't its turn: it is to be offered again.
    NotYet,
}

/// The memory that the lines of the client may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// More than [`SMALL`].
    pub(super) has_room: bool,
    /// Others wait for such room.
    pub(super) is_contended: bool,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another turn.
    Again,
    Wait(Wants),
    End(ConversationEnd),
}

/// What to wait for, besides answers that become known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wants {
    /// Until there is something to read; at most so many bytes.
    pub(super) read: Option<usize>,
    /// Until the socket takes something again.
    pub(super) write: bool,
    /// Until the client has closed the connection.
    pub(super) hang_up: bool,
    /// Until the line that was [`Handed::NotYet`] may be offered again.
    pub(super) turn: bool,
    /// Until it has memory for a long line.
    pub(super) room: bool,
    /// Until somebody else waits for such memory.
    pub(super) contention: bool,
    /// Until then at the latest.
    pub(super) until: Option<Instant>,
}

/// Why a conversation is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConversationEnd {
    /// All that was to be said is said, or nobody hears it.
    Done,
    /// The client doesn't read its answers.
    Unread,
    /// The client has gone, and lines of it haven't had their turn.
    Late,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    lines: Lines,
    answers: Answers,
    /// The client sends nothing more.
    has_ended: bool,
    /// Since when it has closed the connection.
    closed: Option<Instant>,
    /// All complete lines are taken.
    is_drained: bool,
    /// The next line waits for its turn.
    is_held_back: bool,
    /// The socket takes no more answers at the moment.
    is_blocked: bool,
    /// Since when it takes none.
    blocked_since: Option<Instant>,
    /// A line that takes more memory than [`SMALL`] isn't complete.
    long: Option<Long>,
}

/// An unfinished line.
#[derive(Debug, Clone, Copy)]
struct Long {
    since: Instant,
    /// Its bytes, and when the last of them came.
    len: usize,
    grown: Instant,
}

impl Long {
    /// When it is given up if others wait.
    fn deadline(self) -> Instant {
        (self.since + UNFINISHED).min(self.grown + STALLED)
    }
}

impl Conversation {
    /// Reads what is there, through `scratch`. A client that has closed the connection gets no answers, but all it sent before
    /// is taken.
    pub(super) fn read(&mut self, socket: &impl Socket, scratch: &mut [u8], now: Instant) {
        match socket.read(scratch) {
            Ok(Some(n)) if n > 0 => self.lines.push(&scratch[..n]),
            Ok(None) => return,
            Ok(_) => {
                self.end_input();
                if socket.is_closed() {
                    self.hung_up(now);
                }
            }
            Err(_) => {
                self.end_input();
                self.hung_up(now);
            }
        }
        self.is_drained = false;
    }

    fn end_input(&mut self) {
        self.has_ended = true;
        self.lines.end();
    }

    /// The client has closed the connection. What it has sent may still be read.
    pub(super) fn hung_up(&mut self, now: Instant) {
        self.closed.get_or_insert(now);
        self.forget_answers();
    }

    fn forget_answers(&mut self) {
        self.answers.forget();
        self.is_blocked = false;
        self.blocked_since = None;
    }

    /// Offers the lines that are complete to `hand_over`, as far as there is room for their answers.
    pub(super) fn take_lines(
        &mut self,
        memory: Memory,
        now: Instant,
        mut hand_over: impl FnMut(Result<IngestRequest<'_>, Reject>) -> Handed,
    ) {
        self.is_held_back = false;
        while self.answers.have_room() {
            let (id, request) = match self.lines.next() {
                Some(Line::Text(line)) => parse(line),
                Some(Line::TooLong) => (None, Err(Reject::LineTooLong)),
                Some(Line::NotUtf8) => (None, Err(Reject::NotUtf8)),
                None => {
                    self.is_drained = true;
                    break;
                }
            };
            match hand_over(request) {
                Handed::Accepted(outcome) => self.answers.wait_for(id, outcome),
                Handed::Refused(reject) => self.answers.reject(id, &reject),
                Handed::NotYet => {
                    self.lines.put_back();
                    self.is_held_back = true;
                    break;
                }
            }
            self.long = None;
        }
        if self.lines.held() > SMALL && self.lines.len() < SMALL {
            self.lines.shrink();
        }
        self.look_at_memory(memory, now, hand_over);
    }

    /// A long line that isn't completed is given up where others need its memory.
    fn look_at_memory(
        &mut self,
        memory: Memory,
        now: Instant,
        mut hand_over: impl FnMut(Result<IngestRequest<'_>, Reject>) -> Handed,
    ) {
        if !self.is_drained || !memory.has_room || !self.needs_room() {
            self.long = None;
            return;
        }
        let len = self.lines.len();
        let long = self.long.get_or_insert(Long { since: now, len, grown: now });
        if len > std::mem::replace(&mut long.len, len) {
            long.grown = now;
        }
        if memory.is_contended
            && now >= long.deadline()
            && let Handed::Refused(reject) = hand_over(Err(Reject::Unfinished))
        {
            self.lines.give_up();
            self.answers.reject(None, &reject);
            self.long = None;
        }
    }

    /// Whether the next line waits for its turn.
    pub(super) fn is_held_back(&self) -> bool {
        self.is_held_back
    }

    /// Whether its lines take as much memory as they may without room for more.
    pub(super) fn needs_room(&self) -> bool {
        self.lines.held() > SMALL || self.lines.len() == SMALL
    }

    /// Bytes of memory that its lines take.
    #[cfg(any(test, fuzzing))]
    pub(super) fn held(&self) -> usize {
        self.lines.held()
    }

    /// Makes answers ready. Ready when there are any that weren't before.
    pub(super) fn poll_answers(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.answers.poll_ready(cx)
    }

    /// Writes the answers that are ready. To a client that reads none it isn't an error: it may still be sending.
    pub(super) fn write(&mut self, socket: &impl Socket, now: Instant) {
        // A socket says that it takes something again only when half of what it holds is read; it may take a little before.
        if self.blocked_since.is_some_and(|since| now >= since + PATIENCE) {
            self.is_blocked = false;
        }
        while !self.answers.ready().is_empty() && !self.is_blocked {
            match socket.write(self.answers.ready()) {
                Ok(Some(n)) => {
                    self.answers.wrote(n);
                    self.blocked_since = None;
                }
                Ok(None) => {
                    self.is_blocked = true;
                    self.blocked_since.get_or_insert(now);
                }
                Err(_) => self.forget_answers(),
            }
        }
    }

    /// The socket may take something again.
    pub(super) fn unblock(&mut self) {
        self.is_blocked = false;
    }

    /// Whether answers are owed to the client.
    pub(super) fn is_owing(&self) -> bool {
        !self.answers.are_empty()
    }

    /// What to do next. Only after [`take_lines`](Self::take_lines) and [`write`](Self::write).
    pub(super) fn next(&self, memory: Memory, now: Instant) -> Next {
        if self.has_ended && self.is_drained && !self.is_owing() {
            return Next::End(ConversationEnd::Done);
        }
        let ends = [
            (ConversationEnd::Unread, self.blocked_since.map(|since| since + PATIENCE)),
            (ConversationEnd::Late, self.closed.map(|since| since + LINGER)),
        ];
        if let Some((end, _)) = ends.iter().find(|(_, at)| at.is_some_and(|at| now >= at)) {
            return Next::End(*end);
        }
        let has_room = self.answers.have_room();
        if !self.is_drained && has_room && !self.is_held_back {
            return Next::Again;
        }
        // Else its lines stay in the socket: a client that doesn't wait for answers waits here.
        let may_read = !self.has_ended && self.is_drained && has_room;
        let most = if memory.has_room { READ_CHUNK } else { SMALL.saturating_sub(self.lines.len()) };
        let read = (may_read && most > 0).then_some(most.min(READ_CHUNK));
        let is_long = self.long.is_some();
        let give_up = self.long.filter(|_| memory.is_contended).map(Long::deadline);
        Next::Wait(Wants {
            read,
            write: self.is_blocked,
            hang_up: read.is_none() && !self.is_blocked && self.closed.is_none(),
            turn: self.is_held_back,
            room: may_read && most == 0,
            contention: is_long && !memory.is_contended,
            until: ends.into_iter().map(|(_, at)| at).chain([give_up]).flatten().min(),
        })
    }
}

#[cfg(test)]
mod tests;
