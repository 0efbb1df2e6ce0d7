//! What the readers of a forward have got.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// See the module.
#[derive(Default)]
pub(super) struct Received {
    for_good: BTreeSet<u64>,
    as_new: BTreeMap<u64, AsNew>,
}

/// A message that readers were given without the mark of one that may have come before.
struct AsNew {
    times: usize,
    last: Instant,
    /// Who has got it this time: those that were there together.
    to: Vec<u64>,
}

impl Received {
    pub(super) fn got(&mut self, number: u64) {
        self.for_good.insert(number);
    }

    pub(super) fn has(&self, number: u64) -> bool {
        self.for_good.contains(&number)
    }

    /// On a connection of this number, which was made `since` then.
    pub(super) fn got_as_new(&mut self, number: u64, (connection, since): (u64, Instant), now: Instant) {
        let as_new = self.as_new.entry(number).or_insert_with(|| AsNew { times: 1, last: now, to: Vec::new() });
        if as_new.to.contains(&connection) || since > as_new.last {
            as_new.times += 1;
            as_new.to.clear();
        }
        as_new.to.push(connection);
        as_new.last = now;
    }

    /// How often a message was given as new, be it to several at once.
    pub(super) fn as_new(&self, number: u64) -> usize {
        self.as_new.get(&number).map_or(0, |as_new| as_new.times)
    }
}
