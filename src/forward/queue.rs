//! Who is owed which line. Pure: no I/O, no clock.
//!
//! With `ack = "written"`, a message that comes while readers are connected is appended once to a text that they all share;
//! each reader has a place in it. What all have passed is forgotten. A message that comes while no reader is there goes to
//! [`Keep`], from which one reader at a time, the **drainer**, is written before it goes on with the shared text.
//!
//! A message is done (its token is given out) once every reader that was connected when it came has been written it, or it
//! is on the disk. A reader that falls behind for longer than [`patience::HOLD`] has what it wasn't written put there.
//!
//! With `ack = "reader"`, every message goes to [`Keep`], and from there to one reader: the one that has the fewest to
//! acknowledge. It is done once that is acknowledged, or on the disk. The shared text is for observers.

mod clients;
mod dispatch;
mod drawn;
mod given;
mod patience;
mod presumed;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::keep::Keep;
use super::line::Encoder;
use super::text::Text;
use crate::config::{self, Ack};
use crate::message::AckToken;
use crate::message::Inbound;
use clients::Client;
pub(super) use clients::{ClientId, Due, Role};
use given::Given;
use patience::HOLD;
pub(super) use patience::{Cause, Cut, MAX_WAIT};
use presumed::Presumed;

/// The most one client may leave unwritten, in bytes (docs/sockets.md).
pub(super) const MAX_UNWRITTEN: usize = 1024 * 1024;

/// The most memory that takes, in bytes: of lines the text, and the messages with all that they carry.
pub(super) const MAX_HELD: u64 = 4 * 1024 * 1024;

/// The most that is written at once, in bytes, give or take a line.
const WRITE: usize = 64 * 1024;

/// The most memory that the messages take which readers of a forward have to acknowledge, in bytes. One each they may have.
const MAX_TAKEN: u64 = 4 * 1024 * 1024;

/// What is kept of the memory for lines while there are none.
const SPARE_LINES: usize = 64;

/// A line of the shared text.
#[derive(Debug)]
struct Line {
    id: u64,
    message: Inbound,
    arrived: Instant,
    /// Where the next line starts.
    end: u64,
    /// What the messages of all lines before it have taken, in bytes.
    held_before: u64,
    /// What to give out once it is done; `None` once it was, or [`Keep`] has it.
    token: Option<AckToken>,
    /// [`Keep`] holds it, so that it is on the disk.
    kept: bool,
    /// Readers that it isn't written to yet.
    due: u32,
    /// Clients, observers included, that aren't past it.
    held: u32,
    /// At least one reader was written it.
    written: bool,
    /// At least one of them is certain to be a reader.
    is_read: bool,
}

impl Line {
    /// Memory that it takes, in bytes, its text aside: a list that has grown has room for as many again, and the message's topic
    /// and payload are allocations of their own.
    fn cost(&self) -> u64 {
        self.message.size() as u64 + 2 * size_of::<Line>() as u64 + 64
    }
}

/// Since the start of the daemon.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ForwardCounters {
    /// Messages written to at least one reader.
    pub(super) written: u64,
    /// Lines that a reader missed because it was cut, and others were written.
    pub(super) missed: u64,
    pub(super) cut: u64,
}

/// The queue of one forward.
#[derive(Debug)]
pub(super) struct Queue {
    ack: Ack,
    /// How long a message waits for a reader's acknowledgement before it goes to the disk.
    spill_after: Duration,
    encoder: Encoder,
    text: Text,
    /// The lines of `text`.
    lines: VecDeque<Line>,
    /// The number of the first of them.
    first: u64,
    /// What the messages of all lines that there ever were have taken, in bytes.
    held: u64,
    /// Tokens of the lines before this number have been given out.
    released: u64,
    /// In the order of their ids.
    clients: Vec<Client>,
    next_client: u64,
    given: Given,
    keep: Keep,
    /// The reader that is written the kept lines. There is one whenever there are kept lines and readers.
    drainer: Option<ClientId>,
    done: Vec<AckToken>,
    cut: Vec<Cut>,
    presumed: Presumed,
    /// Since the last [`Queue::take_assigned`] a reader was assigned a kept message.
    assigned: bool,
    counters: ForwardCounters,
}

impl Queue {
    pub(super) fn new(config: &config::Forward, spill_after: Duration, keep: Keep) -> Queue {
        Queue {
            ack: config.ack,
            spill_after,
            encoder: Encoder::new(config.format),
            text: Text::default(),
            lines: VecDeque::new(),
            first: 0,
            held: 0,
            released: 0,
            clients: Vec::new(),
            next_client: 0,
            given: Given::default(),
            keep,
            drainer: None,
            done: Vec::new(),
            cut: Vec::new(),
            presumed: Presumed::default(),
            assigned: false,
            counters: ForwardCounters::default(),
        }
    }

    /// Goes on with other settings. Clients whose lines would change in form, or in how they are acknowledged, have to go.
    pub(super) fn reconfigure(&mut self, config: &config::Forward, spill_after: Duration, now: Instant) {
        if config.ack != self.ack || !self.encoder.writes(config.format) {
            while let Some(client) = self.clients.first() {
                self.detach(client.id, now);
            }
            self.ack = config.ack;
            self.encoder = Encoder::new(config.format);
        }
        self.spill_after = spill_after;
        self.keep.set_bounds(&config.keep);
    }

    /// A message has come.
    pub(super) fn arrive(&mut self, id: u64, message: &Inbound, token: Option<AckToken>, now: Instant) {
        let is_draining = self.ack == Ack::Written && self.only_reader_drains();
        let due = if self.ack == Ack::Written && !is_draining { self.readers() } else { 0 };
        let sharing = self.clients.iter().filter(|client| self.shares(client)).count() as u32;
        if sharing > u32::from(is_draining) {
            let (token, held) = (token.filter(|_| due > 0), sharing - u32::from(is_draining));
            let message = message.clone();
            self.append(Line {
                id,
                message,
                arrived: now,
                end: 0,
                held_before: self.held,
                token,
                kept: false,
                due,
                held,
                written: false,
                is_read: false,
            });
        }
        if due == 0 {
            let wait = match self.ack {
                _ if self.readers() == 0 => Duration::ZERO,
                Ack::Written => HOLD,
                Ack::Reader => self.spill_after,
            };
            // What nobody waits for may be written together with more.
            let wait = if token.is_none() { self.spill_after } else { wait };
            if !self.keep.adopts(message, token) {
                self.keep.insert(id, message, token, now + wait);
            }
            self.dispatch(now);
        }
        self.cut_where_too_much(now);
    }

    /// Adds a line to the shared text.
    fn append(&mut self, line: Line) {
        let due = line.due;
        self.held += line.cost();
        self.encoder.append(self.text.buffer(), line.id, &line.message, line.message.duplicate);
        let end = self.text.end();
        self.lines.push_back(Line { end, ..line });
        if due == 0 && self.ack == Ack::Written {
            self.skip_for_drainer(end);
        }
        if self.ack == Ack::Reader {
            // They aren't written it: theirs come from `keep`.
            let next = self.next_line();
            for client in self.clients.iter_mut().filter(|client| client.role == Role::Reader) {
                (client.line, client.at, client.line_start) = (next, end, end);
            }
        }
    }

    /// Whether the lines of the shared text are for this client, too.
    fn shares(&self, client: &Client) -> bool {
        self.ack == Ack::Written || client.role != Role::Reader
    }

    /// The line just appended is for observers: the drainer has it among the kept ones.
    fn skip_for_drainer(&mut self, end: u64) {
        let next = self.next_line();
        if let Some(client) = self.drainer.and_then(|id| self.client_mut(id)) {
            (client.line, client.at, client.line_start) = (next, end, end);
        }
    }

    /// One reader less waits for the lines from number `from` on.
    fn no_longer_due(&mut self, from: u64, now: Instant) {
        for line in self.lines.range_mut((from - self.first) as usize..) {
            // Of a line that is for observers alone the drainer was no reader.
            if line.due == 0 {
                continue;
            }
            line.due -= 1;
            if line.due > 0 {
                continue;
            }
            match (line.written, line.kept) {
                (true, true) => self.keep.finish(line.id, now),
                (true, false) => self.done.extend(line.token.take()),
                (false, true) => self.keep.put_back(line.id, now),
                (false, false) => {
                    let due = if line.token.is_some() { now } else { now + self.spill_after };
                    self.keep.insert(line.id, &line.message, line.token.take(), due);
                }
            }
        }
    }

    /// What to write to a client now.
    pub(super) fn due(&self, id: ClientId) -> Due<'_> {
        let Some(client) = self.client(id) else { return Due::Close };
        if client.role == Role::Undecided {
            return Due::Nothing;
        }
        let text = match self.is_drawing(client) {
            true => client.drawn.text(),
            false => {
                // A drainer that is in the middle of a line finishes that first.
                let end = match self.drainer == Some(id) {
                    true => self
                        .line(client.line)
                        .filter(|_| client.at > client.line_start)
                        .map_or(client.at, |line| line.end),
                    false => self.text.end().min(client.at + WRITE as u64),
                };
                self.text.slice(client.at, end)
            }
        };
        if text.is_empty() { Due::Nothing } else { Due::Text(text) }
    }

    /// Of what [`Queue::due`] said, `n` bytes were written.
    pub(super) fn wrote(&mut self, id: ClientId, n: usize, now: Instant) {
        let Ok(index) = self.index(id) else { return };
        if self.is_drawing(&self.clients[index]) {
            return self.wrote_drawn(index, n, now);
        }
        let client = &mut self.clients[index];
        client.at += n as u64;
        for line in self.lines.range_mut((client.line - self.first) as usize..) {
            if line.end > client.at {
                break;
            }
            client.line += 1;
            client.line_start = line.end;
            line.held -= 1;
            if client.role.counts() {
                self.counters.written += u64::from(!std::mem::replace(&mut line.written, true));
                if client.is_certain {
                    line.is_read = true;
                    self.presumed.forget(line.id);
                } else if !line.is_read {
                    self.presumed.note(line.id, &line.message, line.message.duplicate, id);
                }
                line.due -= 1;
                if line.due == 0 && line.kept {
                    self.keep.finish(line.id, now);
                } else if line.due == 0 {
                    self.done.extend(line.token.take());
                }
            }
        }
        self.forget_passed();
        self.bound_presumed();
    }

    /// Messages that are done since the last call.
    pub(super) fn take_done(&mut self) -> impl Iterator<Item = AckToken> {
        self.done.drain(..).chain(self.keep.take_done())
    }

    /// Whether a reader was assigned a kept message since the last call.
    pub(super) fn take_assigned(&mut self) -> bool {
        std::mem::take(&mut self.assigned)
    }

    /// Clients that were cut since the last call.
    pub(super) fn take_cut(&mut self) -> Vec<Cut> {
        std::mem::take(&mut self.cut)
    }

    /// Whether a client is between two lines, so that something else may be written to it.
    pub(super) fn is_between_lines(&self, id: ClientId) -> bool {
        let client = self.client(id);
        client.is_none_or(|client| client.at == client.line_start && !client.drawn.is_within_line())
    }

    pub(super) fn keep(&self) -> &Keep {
        &self.keep
    }

    /// To write from it or read into it. After reading, and when it holds something it didn't, [`Queue::kept`] is to be called.
    pub(super) fn keep_mut(&mut self) -> &mut Keep {
        &mut self.keep
    }

    pub(super) fn counters(&self) -> ForwardCounters {
        self.counters
    }

    /// Clients that count.
    pub(super) fn readers(&self) -> u32 {
        self.clients.iter().filter(|client| client.role.counts()).count() as u32
    }

    pub(super) fn has_clients(&self) -> bool {
        !self.clients.is_empty()
    }

    pub(super) fn observers(&self) -> usize {
        self.clients.len() - self.readers() as usize
    }

    /// Whether the next bytes for a client are those of kept messages.
    fn is_drawing(&self, client: &Client) -> bool {
        !client.drawn.is_written() && client.at == client.line_start
    }

    fn forget_passed(&mut self) {
        while let Some(line) = self.lines.front()
            && line.held == 0
        {
            self.text.forget(line.end);
            self.lines.pop_front();
            self.first += 1;
        }
        if self.lines.is_empty() {
            self.lines.shrink_to(SPARE_LINES);
        }
    }

    /// The number of the line that comes next.
    fn next_line(&self) -> u64 {
        self.first + self.lines.len() as u64
    }

    fn line(&self, number: u64) -> Option<&Line> {
        self.lines.get(number.checked_sub(self.first)? as usize)
    }

    fn index(&self, id: ClientId) -> Result<usize, usize> {
        self.clients.binary_search_by_key(&id, |client| client.id)
    }

    fn client(&self, id: ClientId) -> Option<&Client> {
        self.index(id).ok().map(|index| &self.clients[index])
    }

    fn client_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        self.index(id).ok().map(|index| &mut self.clients[index])
    }
}

#[cfg(test)]
mod tests;
