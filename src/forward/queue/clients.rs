//! The clients of a queue: what each is, how it comes and goes.

use std::time::Instant;

use super::Queue;
use super::drawn::Drawn;
use crate::config::Ack;

/// A client, never the same twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::forward) struct ClientId(pub(super) u64);

/// What a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::forward) enum Role {
    /// Not known yet: it is owed lines as a reader is, and isn't written any.
    Undecided,
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
    /// A client has connected.
    pub(in crate::forward) fn attach(&mut self, now: Instant) -> ClientId {
        let id = ClientId(self.next_client);
        self.next_client += 1;
        let (line, at) = (self.next_line(), self.text.end());
        let drawn = Drawn::default();
        self.clients.push(Client { id, role: Role::Undecided, line, at, line_start: at, since: now, drawn });
        id
    }

    /// It is known what a client is, which was undecided. Lines owed to an observer as to a reader go the way they had gone
    /// without it.
    pub(in crate::forward) fn decide(&mut self, id: ClientId, role: Role, now: Instant) {
        let Some(client) = self.client_mut(id).filter(|client| client.role == Role::Undecided) else { return };
        client.role = role;
        client.since = now;
        let line = client.line;
        match self.ack {
            Ack::Written if role == Role::Observer => self.no_longer_due(line, now),
            Ack::Reader if role == Role::Reader => self.leave_the_text(id),
            _ => {}
        }
        self.appoint_drainer(now);
        self.distribute(now);
        self.store_if_unread(now);
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
        client.drawn.into_owed().for_each(|id| self.keep.put_back(id, now));
        if self.drainer == Some(id) {
            self.drainer = None;
        }
        self.forget_passed();
        self.appoint_drainer(now);
        self.distribute(now);
        self.store_if_unread(now);
    }
}
