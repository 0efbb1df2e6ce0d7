//! Dispatch: which reader is given which kept message.

use std::time::Instant;

use super::{Client, MAX_TAKEN, Queue, Role};
use crate::config::Ack;

impl Queue {
    /// The only reader is still being written kept lines, and nothing after them is due to it: a new message joins the kept
    /// ones, so that a reader with a long way to go isn't cut for what comes meanwhile.
    pub(super) fn only_reader_drains(&self) -> bool {
        let end = self.next_line();
        let mut readers = self.clients.iter().filter(|client| client.role.counts());
        self.drainer.is_some() && readers.all(|client| Some(client.id) == self.drainer && client.line == end)
    }

    /// Finds a reader for the kept messages: the one that is connected longest.
    pub(super) fn appoint_drainer(&mut self, now: Instant) {
        if self.ack == Ack::Written && self.drainer.is_none() && self.keep.waiting() > 0 {
            let reader = self.clients.iter_mut().find(|client| client.role == Role::Reader);
            self.drainer = reader.map(|reader| {
                reader.since = now;
                reader.id
            });
        }
    }

    /// Gives kept messages to those who can take them.
    pub(in crate::forward) fn dispatch(&mut self, now: Instant) {
        while let Some(index) = self.next_to_draw()
            && self.keep.is_ready(now)
            && let Some((id, message, is_duplicate)) = self.keep.take()
        {
            let client = &mut self.clients[index];
            if client.drawn.is_written() {
                client.since = now;
            }
            client.drawn.append(&mut self.encoder, id, message, is_duplicate);
            self.assigned = true;
        }
    }

    /// What comes while no reader is there is put on the disk at once. What waits already must be there before it: after a crash
    /// it would else come from the server again, behind what the disk has.
    pub(super) fn store_if_unread(&mut self, now: Instant) {
        if self.readers() == 0 {
            self.keep.hasten(now);
        }
    }

    fn next_to_draw(&self) -> Option<usize> {
        if self.ack == Ack::Written {
            let index = self.index(self.drainer?).ok()?;
            return self.clients[index].drawn.has_room().then_some(index);
        }
        let is_full = self.keep.taken_memory() >= MAX_TAKEN;
        let has_room = |client: &Client| client.drawn.has_room() && (!is_full || client.drawn.owed() == 0);
        let readers =
            self.clients.iter().enumerate().filter(|(_, client)| client.role == Role::Reader && has_room(client));
        readers.min_by_key(|(_, client)| client.drawn.owed()).map(|(index, _)| index)
    }

    /// A reader has acknowledged a message. Returns whether one of this id can have been given to a reader.
    pub(in crate::forward) fn acknowledge(&mut self, id: u64, now: Instant) -> bool {
        if self.keep.acknowledge(id, now) {
            self.clients.iter_mut().for_each(|client| client.drawn.settle(id));
            self.dispatch(now);
            return true;
        }
        self.given.may_have(id)
    }

    pub(super) fn wrote_drawn(&mut self, index: usize, n: usize, now: Instant) {
        let client = &mut self.clients[index];
        client.since = now;
        for id in client.drawn.wrote(n) {
            if !client.role.counts() {
                // The rest of a line that it was being written when it turned out to be an observer.
                continue;
            }
            self.counters.written += 1;
            match self.ack {
                Ack::Reader => {
                    self.given.note(id);
                    let is_first = self.keep.note_given(id, now + self.spill_after);
                    if is_first && !client.is_certain {
                        client.first_given.push(id);
                    }
                }
                Ack::Written => {
                    client.drawn.settle(id);
                    if let Some((message, is_duplicate)) = self.keep.taken(id).filter(|_| !client.is_certain) {
                        self.presumed.note(id, message, is_duplicate, client.id);
                    }
                    self.keep.finish(id, now);
                }
            }
        }
        self.bound_presumed();
        self.dispatch(now);
        if self.clients[index].drawn.is_written() && self.keep.waiting() == 0 {
            self.drainer = None;
        }
    }

    /// There may be messages to give out that the disk held.
    pub(in crate::forward) fn kept(&mut self, now: Instant) {
        self.appoint_drainer(now);
        self.dispatch(now);
    }

    /// Messages that readers were given and haven't acknowledged.
    pub(in crate::forward) fn unacknowledged(&self) -> usize {
        self.clients.iter().map(|client| client.drawn.owed()).sum()
    }
}
