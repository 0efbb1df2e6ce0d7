//! What the ledger decides by itself about the disk.

use std::time::Instant;

use super::{Entry, Ledger, LinkState, MEMORY};
use crate::store::durable::{DiskRules, Durable};
use crate::store::{Moment, Row};

impl<W> DiskRules for Ledger<W> {
    type Item = Entry<W>;

    fn durable(&mut self) -> &mut Durable<Entry<W>> {
        &mut self.backlog
    }

    fn at_once(&self) -> fn(&Entry<W>) -> bool {
        match self.link {
            _ if self.backlog.memory() > MEMORY / 2 => |_| true,
            LinkState::Down => |entry| entry.waiter.is_some(),
            LinkState::Coming | LinkState::Up => |_| false,
        }
    }

    fn written(&mut self, _successful: bool, waiters: Vec<W>) {
        self.stored.extend(waiters);
    }

    fn read(&self, row: Row, now: Instant, moment: &Moment) -> Entry<W> {
        Entry::from_row(row, now, moment)
    }

    fn loaded(&mut self) {
        self.expiry_check = None;
        self.evict();
    }
}
