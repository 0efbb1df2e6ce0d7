//! Who is owed which line. Pure: no I/O, no clock.
//!
//! A message that comes while readers are connected is appended once to a text that they all share; each reader has a place
//! in it. What all have passed is forgotten. A message that comes while no reader is there goes to [`Keep`], from which one
//! reader at a time, the **drainer**, is written before it goes on with the shared text.
//!
//! A message is done (its token is given out) once every reader that was connected when it came has been written it, or it
//! is queued because there was none. A reader that falls behind holds nothing back for longer than [`patience::HOLD`]: what it
//! hasn't been written by then counts as queued for it.

mod patience;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::Instant;

use jiff::Timestamp;

use super::keep::{Keep, Kept};
use super::line::Encoder;
use super::text::Text;
use crate::config;
use crate::inbox::AckToken;
use crate::message::Inbound;
pub(super) use patience::{Cause, Cut};

/// The most one client may leave unwritten, in bytes (DESIGN 1.4).
pub(super) const MAX_UNWRITTEN: usize = 1024 * 1024;

/// The most that is written at once, in bytes, give or take a line.
const WRITE: usize = 64 * 1024;

/// What is kept of the memory for lines while there are none.
const SPARE_LINES: usize = 64;

/// A client, never the same twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClientId(u64);

/// What a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Not known yet: it is owed lines as a reader is, and isn't written any.
    Undecided,
    Reader,
    /// Sees new messages and counts as nobody.
    Observer,
}

impl Role {
    /// Whether messages wait for it.
    fn counts(self) -> bool {
        self != Role::Observer
    }
}

#[derive(Debug)]
struct Client {
    id: ClientId,
    role: Role,
    /// The number of the line it is at.
    line: u64,
    /// The place in the text it is at: in that line.
    at: u64,
    /// Where that line starts.
    line_start: u64,
    /// Its wait for a line isn't counted from before this: when it connected, or was last written a kept line.
    since: Instant,
}

/// A line of the shared text.
#[derive(Debug)]
struct Line {
    id: u64,
    received_at: Timestamp,
    arrived: Instant,
    /// Where the next line starts.
    end: u64,
    /// What to give out once it is done; `None` once it was.
    token: Option<AckToken>,
    /// Readers that it isn't written to yet.
    due: u32,
    /// Clients, observers included, that aren't past it.
    held: u32,
    /// At least one reader was written it.
    written: bool,
}

/// What is to be done for a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing is to be written.
    Nothing,
    /// So many pieces.
    Pieces(usize),
    /// It was cut: close the connection.
    Close,
}

/// Since the start of the daemon.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counters {
    /// Messages written to at least one reader.
    pub(super) written: u64,
    /// Lines that a reader missed because it was cut, and others were written.
    pub(super) missed: u64,
    pub(super) cut: u64,
}

/// The queue of one forward.
#[derive(Debug)]
pub(super) struct Queue {
    encoder: Encoder,
    text: Text,
    /// The lines of `text`.
    lines: VecDeque<Line>,
    /// The number of the first of them.
    first: u64,
    /// Tokens of the lines before this number have been given out.
    released: u64,
    /// In the order of their ids.
    clients: Vec<Client>,
    next_client: u64,
    keep: Keep,
    /// The reader that is written the kept lines. There is one whenever there are kept lines and readers.
    drainer: Option<ClientId>,
    done: Vec<AckToken>,
    cut: Vec<Cut>,
    counters: Counters,
}

impl Queue {
    pub(super) fn new(format: config::Format, keep: &config::Keep) -> Queue {
        Queue {
            encoder: Encoder::new(format),
            text: Text::default(),
            lines: VecDeque::new(),
            first: 0,
            released: 0,
            clients: Vec::new(),
            next_client: 0,
            keep: Keep::new(keep),
            drainer: None,
            done: Vec::new(),
            cut: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// A message has come.
    pub(super) fn arrive(&mut self, id: u64, message: &Inbound, token: Option<AckToken>, now: Instant) {
        let start = self.text.end();
        self.encoder.append(self.text.buffer(), id, message);
        let end = self.text.end();
        let due = self.readers();
        let queued = due == 0 || self.only_reader_drains();
        if queued {
            self.keep.insert(Kept { id, received_at: message.received_at, line: self.text.slice(start, end).into() });
            self.done.extend(token);
        }
        let held = if queued { self.clients.len() as u32 - due } else { self.clients.len() as u32 };
        if held == 0 {
            self.text.truncate(start);
            self.text.forget(start);
            return;
        }
        let (due, token) = if queued { (0, None) } else { (due, token) };
        let received_at = message.received_at;
        self.lines.push_back(Line { id, received_at, arrived: now, end, token, due, held, written: false });
        if queued {
            self.skip_for_drainer(end);
        }
        if self.text.len() > MAX_UNWRITTEN {
            self.cut_where(Cause::TooMuch, now, |queue, client| queue.text.end() - client.at > MAX_UNWRITTEN as u64);
        }
    }

    /// The only reader is still being written kept lines, and nothing after them is due to it: a new message joins the kept
    /// ones, so that a reader with a long way to go isn't cut for what comes meanwhile.
    fn only_reader_drains(&self) -> bool {
        let end = self.next_line();
        let mut readers = self.clients.iter().filter(|client| client.role.counts());
        self.drainer.is_some() && readers.all(|client| Some(client.id) == self.drainer && client.line == end)
    }

    /// The line just appended is for observers: the drainer has it among the kept ones.
    fn skip_for_drainer(&mut self, end: u64) {
        let next = self.next_line();
        if let Some(client) = self.drainer.and_then(|id| self.client_mut(id)) {
            (client.line, client.at, client.line_start) = (next, end, end);
        }
    }

    /// A client has connected.
    pub(super) fn attach(&mut self, now: Instant) -> ClientId {
        let id = ClientId(self.next_client);
        self.next_client += 1;
        let (line, at) = (self.next_line(), self.text.end());
        self.clients.push(Client { id, role: Role::Undecided, line, at, line_start: at, since: now });
        id
    }

    /// It is known what a client is, which was undecided. Lines owed to an observer as to a reader go the way they had gone
    /// without it.
    pub(super) fn decide(&mut self, id: ClientId, role: Role, now: Instant) {
        let Some(client) = self.client_mut(id).filter(|client| client.role == Role::Undecided) else { return };
        client.role = role;
        client.since = now;
        if role == Role::Observer {
            let line = client.line;
            self.no_longer_due(line);
        }
        self.appoint_drainer(now);
    }

    /// A client has gone. What it wasn't written is kept if it was due to nobody else.
    pub(super) fn detach(&mut self, id: ClientId, now: Instant) {
        let Ok(index) = self.index(id) else { return };
        let client = self.clients.remove(index);
        if client.role.counts() {
            self.no_longer_due(client.line);
        }
        for line in self.lines.range_mut((client.line - self.first) as usize..) {
            line.held -= 1;
        }
        if self.drainer == Some(id) {
            self.drainer = None;
            self.keep.reader_gone();
        }
        self.forget_passed();
        self.appoint_drainer(now);
    }

    /// One reader less waits for the lines from number `from` on.
    fn no_longer_due(&mut self, from: u64) {
        let skip = (from - self.first) as usize;
        let mut start = match skip.checked_sub(1) {
            Some(before) => self.lines[before].end,
            None => self.text.end() - self.text.len() as u64,
        };
        for line in self.lines.range_mut(skip..) {
            line.due -= 1;
            if line.due == 0 {
                self.done.extend(line.token.take());
                if !line.written {
                    let text = self.text.slice(start, line.end).into();
                    self.keep.insert(Kept { id: line.id, received_at: line.received_at, line: text });
                }
            }
            start = line.end;
        }
    }

    /// Finds a reader for the kept lines: the one that is connected longest.
    fn appoint_drainer(&mut self, now: Instant) {
        if self.drainer.is_none() && !self.keep.is_empty() {
            let reader = self.clients.iter_mut().find(|client| client.role == Role::Reader);
            self.drainer = reader.map(|reader| {
                reader.since = now;
                reader.id
            });
        }
    }

    /// What to write to a client now.
    pub(super) fn due<'a>(&'a self, id: ClientId, pieces: &mut [IoSlice<'a>]) -> Due {
        let Some(client) = self.client(id) else { return Due::Close };
        if client.role == Role::Undecided {
            return Due::Nothing;
        }
        if self.is_draining(client) {
            return Due::Pieces(self.keep.pieces(pieces, WRITE));
        }
        // A drainer that was in the middle of a line finishes that first.
        let end = match self.drainer == Some(id) {
            true => self.line(client.line).map_or(client.at, |line| line.end),
            false => self.text.end().min(client.at + WRITE as u64),
        };
        let text = self.text.slice(client.at, end);
        match pieces.first_mut() {
            Some(piece) if !text.is_empty() => {
                *piece = IoSlice::new(text);
                Due::Pieces(1)
            }
            _ => Due::Nothing,
        }
    }

    /// Of what [`Queue::due`] said, `n` bytes were written.
    pub(super) fn wrote(&mut self, id: ClientId, n: usize, now: Instant) {
        let Ok(index) = self.index(id) else { return };
        if self.is_draining(&self.clients[index]) {
            self.clients[index].since = now;
            self.counters.written += self.keep.wrote(n);
            if self.keep.is_empty() {
                self.drainer = None;
            }
            return;
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
                line.due -= 1;
                if line.due == 0 {
                    self.done.extend(line.token.take());
                }
            }
        }
        self.forget_passed();
    }

    /// Messages that are done since the last call.
    pub(super) fn take_done(&mut self) -> impl Iterator<Item = AckToken> {
        self.done.drain(..)
    }

    /// Clients that were cut since the last call.
    pub(super) fn take_cut(&mut self) -> Vec<Cut> {
        std::mem::take(&mut self.cut)
    }

    /// Whether a client is between two lines, so that something else may be written to it.
    pub(super) fn is_between_lines(&self, id: ClientId) -> bool {
        let client = self.client(id);
        client
            .is_none_or(|client| client.at == client.line_start && !(self.is_draining(client) && self.keep.is_begun()))
    }

    pub(super) fn keep(&self) -> &Keep {
        &self.keep
    }

    pub(super) fn counters(&self) -> Counters {
        self.counters
    }

    /// Clients that count.
    pub(super) fn readers(&self) -> u32 {
        self.clients.iter().filter(|client| client.role.counts()).count() as u32
    }

    pub(super) fn observers(&self) -> usize {
        self.clients.len() - self.readers() as usize
    }

    /// Whether the next bytes for a client are kept ones.
    fn is_draining(&self, client: &Client) -> bool {
        self.drainer == Some(client.id) && client.at == client.line_start
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
