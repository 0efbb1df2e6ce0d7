//! The clients of a queue: what each is, how it comes and goes.

use std::time::Instant;

use super::drawn::Drawn;
use super::{Line, Queue};
use crate::config::Ack;

/// A client, never the same twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::forward) struct ClientId(pub(super) u64);

/// What a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::forward) enum Role {
    /// Not known yet: it is owed lines as a reader is, and isn't written any.
    Undecided,
    /// As far as anybody can know: until it has said something it may turn out to be an observer.
    Reader,
    /// Sees new messages and counts as nobody.
    Observer,
}

impl Role {
    /// Whether messages wait for it.
    pub(super) fn counts(self) -> bool {
        self != Role::Observer
    }
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: ClientId,
    pub(super) role: Role,
    /// It can't turn out to be anything else.
    pub(super) is_certain: bool,
    /// The number of the line it is at.
    pub(super) line: u64,
    /// The place in the text it is at: in that line.
    pub(super) at: u64,
    /// Where that line starts.
    pub(super) line_start: u64,
    /// Its wait for a line isn't counted from before this: when it connected, or was last written a kept line.
    pub(super) since: Instant,
    /// Kept messages that it is written, or has to acknowledge.
    pub(super) drawn: Drawn,
    /// With `ack = "reader"`: those of them that it was the first to be written, as long as it isn't certain.
    pub(super) first_given: Vec<u64>,
}

/// What is to be done for a client.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::forward) enum Due<'a> {
    /// Nothing is to be written.
    Nothing,
    /// This, as much of it as the socket takes.
    Text(&'a [u8]),
    /// It was cut: close the connection.
    Close,
}

impl Queue {
    /// A client has connected: an observer, or one of which nothing is known.
    pub(in crate::forward) fn attach(&mut self, is_observer: bool, now: Instant) -> ClientId {
        let id = ClientId(self.next_client);
        self.next_client += 1;
        let (line, at) = (self.next_line(), self.text.end());
        let role = if is_observer { Role::Observer } else { Role::Undecided };
        self.clients.push(Client {
            id,
            role,
            is_certain: is_observer,
            line,
            at,
            line_start: at,
            since: now,
            drawn: Drawn::default(),
            first_given: Vec::new(),
        });
        id
    }

    /// What a client is; `None` once it was cut.
    pub(in crate::forward) fn role(&self, id: ClientId) -> Option<Role> {
        self.client(id).map(|client| client.role)
    }

    /// A client of which nothing is known has said nothing for so long that it is taken for a reader.
    pub(in crate::forward) fn presume_reader(&mut self, id: ClientId, now: Instant) {
        let Some(client) = self.client_mut(id).filter(|client| client.role == Role::Undecided) else { return };
        client.role = Role::Reader;
        client.since = now;
        if self.ack == Ack::Reader {
            self.leave_the_text(id);
        }
        self.appoint_drainer(now);
        self.dispatch(now);
    }

    /// A client has shown that it is a reader, unless it is known to be an observer.
    pub(in crate::forward) fn confirm_reader(&mut self, id: ClientId, now: Instant) {
        self.presume_reader(id, now);
        let Some(client) = self.client_mut(id).filter(|client| !client.is_certain) else { return };
        client.is_certain = true;
        client.first_given = Vec::new();
        self.settle(id);
    }

    /// A client is certain to be a reader, or was until it went.
    fn settle(&mut self, id: ClientId) {
        for read in self.presumed.settle(id) {
            if let Some(line) = self.line_of(read) {
                line.is_read = true;
            }
        }
    }

    fn line_of(&mut self, id: u64) -> Option<&mut Line> {
        let at = self.lines.binary_search_by_key(&id, |line| line.id).ok()?;
        self.lines.get_mut(at)
    }

    /// What clients were written without a word of them is held for as long as there is room for it.
    pub(super) fn bound_presumed(&mut self) {
        while let Some(id) = self.presumed.too_much() {
            self.settle(id);
            if let Some(client) = self.client_mut(id) {
                client.is_certain = true;
            }
        }
    }

    /// A client is an observer, however late it says so: lines that it is owed as a reader go the way they had gone without it,
    /// and what it was given as one, and nobody else was, waits again. `false`: it is certain to be a reader.
    pub(in crate::forward) fn observe(&mut self, id: ClientId, now: Instant) -> bool {
        let Some(client) = self.client_mut(id) else { return true };
        if client.is_certain {
            return client.role == Role::Observer;
        }
        let was = std::mem::replace(&mut client.role, Role::Observer);
        (client.is_certain, client.since) = (true, now);
        let (line, owed) = (client.line, client.drawn.give_up());
        for id in std::mem::take(&mut client.first_given) {
            self.keep.note_not_given(id);
        }
        match self.ack {
            Ack::Written => self.no_longer_due(line, now),
            // As an undecided client it had the lines of observers, too.
            Ack::Reader => {}
        }
        owed.into_iter().for_each(|id| self.keep.put_back(id, now));
        self.take_back(id, now);
        if was == Role::Reader && self.drainer == Some(id) {
            self.drainer = None;
        }
        self.appoint_drainer(now);
        self.dispatch(now);
        self.store_if_unread(now);
        true
    }

    /// What nobody but this observer was written isn't written to anybody: it waits for those who are still to be written it, or
    /// for the next reader.
    fn take_back(&mut self, observer: ClientId, now: Instant) {
        for (id, message) in self.presumed.take_back(observer) {
            self.counters.written = self.counters.written.saturating_sub(1);
            match self.line_of(id).filter(|line| line.due > 0) {
                Some(line) => line.written = false,
                None => self.keep.insert(id, &message, None, now),
            }
        }
    }

    /// A client takes no part in the shared text any more.
    fn leave_the_text(&mut self, id: ClientId) {
        let (next, end, first) = (self.next_line(), self.text.end(), self.first);
        let Some(client) = self.client_mut(id) else { return };
        let skip = (client.line - first) as usize;
        (client.line, client.at, client.line_start) = (next, end, end);
        for line in self.lines.range_mut(skip..) {
            line.held -= 1;
        }
        self.forget_passed();
    }

    /// A client has gone. What it wasn't written is kept if it was due to nobody else; what it didn't acknowledge waits again.
    pub(in crate::forward) fn detach(&mut self, id: ClientId, now: Instant) {
        let Ok(index) = self.index(id) else { return };
        let client = self.clients.remove(index);
        if client.role.counts() && self.ack == Ack::Written {
            self.no_longer_due(client.line, now);
        }
        for line in self.lines.range_mut((client.line - self.first) as usize..) {
            line.held -= 1;
        }
        self.settle(id);
        client.drawn.into_owed().for_each(|id| self.keep.put_back(id, now));
        if self.drainer == Some(id) {
            self.drainer = None;
        }
        self.forget_passed();
        self.appoint_drainer(now);
        self.dispatch(now);
        self.store_if_unread(now);
    }
}
