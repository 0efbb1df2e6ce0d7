//! What was written to clients that have said nothing: readers, as far as anybody can know, who may still turn out to be
//! observers.
//!
//! It is done with, like anything that a reader was written. A copy stays here, so that it waits for a reader again should all
//! who were written it turn out to be observers. That is bounded: a client that was written more than [`MAX_PRESUMED`] without a
//! word is a reader for good, and so is one that goes.

use std::collections::BTreeMap;

use super::ClientId;
use crate::message::Inbound;
use crate::store::backlog::ENTRY_OVERHEAD;

/// The most that these messages take, in bytes, each with [`ENTRY_OVERHEAD`].
pub(super) const MAX_PRESUMED: u64 = 1024 * 1024;

#[derive(Debug)]
struct Given {
    /// Marked as a duplicate if it was written as one.
    message: Inbound,
    /// All who were written it; none of them is known to be a reader.
    to: Vec<ClientId>,
}

impl Given {
    fn cost(&self) -> u64 {
        self.message.size() as u64 + ENTRY_OVERHEAD
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Presumed {
    given: BTreeMap<u64, Given>,
    cost: u64,
}

impl Presumed {
    /// A client that may turn out to be an observer was written a message.
    pub(super) fn note(&mut self, id: u64, message: &Inbound, is_duplicate: bool, to: ClientId) {
        let given = self.given.entry(id).or_insert_with(|| {
            let message = Inbound { duplicate: is_duplicate, ..message.clone() };
            let given = Given { message, to: Vec::new() };
            self.cost += given.cost();
            given
        });
        given.to.push(to);
    }

    /// A reader was written a message.
    pub(super) fn forget(&mut self, id: u64) {
        if let Some(given) = self.given.remove(&id) {
            self.cost -= given.cost();
        }
    }

    /// A client is a reader, or was one until it went: the messages that are read by that.
    pub(super) fn settle(&mut self, client: ClientId) -> Vec<u64> {
        let read: Vec<_> = self.given.extract_if(.., |_, given| given.to.contains(&client)).collect();
        self.cost -= read.iter().map(|(_, given)| given.cost()).sum::<u64>();
        read.into_iter().map(|(id, _)| id).collect()
    }

    /// A client is an observer: the messages that nobody else was written.
    pub(super) fn take_back(&mut self, client: ClientId) -> Vec<(u64, Inbound)> {
        self.given.values_mut().for_each(|given| given.to.retain(|to| *to != client));
        let back: Vec<_> = self.given.extract_if(.., |_, given| given.to.is_empty()).collect();
        self.cost -= back.iter().map(|(_, given)| given.cost()).sum::<u64>();
        back.into_iter().map(|(id, given)| (id, given.message)).collect()
    }

    /// Of too much: a client that was written the first of it.
    pub(super) fn too_much(&self) -> Option<ClientId> {
        let (_, first) = self.given.first_key_value().filter(|_| self.cost > MAX_PRESUMED)?;
        first.to.first().copied()
    }
}
