//! Kept messages on their way to one reader.

use std::collections::{BTreeMap, VecDeque};

use super::super::line::Encoder;
use super::WRITE;
use crate::message::Inbound;
use crate::store::backlog::ENTRY_OVERHEAD;

/// What one reader may leave unacknowledged, in bytes, each message with [`ENTRY_OVERHEAD`].
pub(super) const MAX_UNACKNOWLEDGED: u64 = 1024 * 1024;

/// The lines that a reader is being written, and what it owes an acknowledgement for.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    text: Vec<u8>,
    /// How much of it is written, and where the line begins that this is in.
    written: usize,
    line_start: usize,
    /// The messages that aren't written whole, and where their lines end.
    ends: VecDeque<(u64, usize)>,
    /// What is written and not acknowledged, or not written whole, with its cost.
    owed: BTreeMap<u64, u64>,
    cost: u64,
}

impl Drawn {
    pub(super) fn append(&mut self, encoder: &mut Encoder, id: u64, message: &Inbound, is_duplicate: bool) {
        encoder.append(&mut self.text, id, message, is_duplicate);
        self.ends.push_back((id, self.text.len()));
        let cost = message.size() as u64 + ENTRY_OVERHEAD;
        self.owed.insert(id, cost);
        self.cost += cost;
    }

    /// What is to be written.
    pub(super) fn text(&self) -> &[u8] {
        self.text.get(self.written..).unwrap_or_default()
    }

    /// Whether more may be appended.
    pub(super) fn has_room(&self) -> bool {
        self.text().len() < WRITE && self.cost < MAX_UNACKNOWLEDGED
    }

    /// Nothing is being written.
    pub(super) fn is_written(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many messages the reader has been given, or is going to be.
    pub(super) fn owed(&self) -> usize {
        self.owed.len()
    }

    /// A line is partly written.
    pub(super) fn is_within_line(&self) -> bool {
        self.written != self.line_start
    }

    /// `n` more bytes are written; returns the messages that this completed.
    pub(super) fn wrote(&mut self, n: usize) -> Vec<u64> {
        self.written += n;
        let mut whole = Vec::new();
        while let Some((id, end)) = self.ends.pop_front_if(|(_, end)| *end <= self.written) {
            self.line_start = end;
            whole.push(id);
        }
        if self.is_written() {
            self.text.clear();
            self.text.shrink_to(WRITE / 4);
            (self.written, self.line_start) = (0, 0);
        }
        whole
    }

    /// A message is no longer owed.
    pub(super) fn settle(&mut self, id: u64) {
        if let Some(cost) = self.owed.remove(&id) {
            self.cost -= cost;
        }
    }

    /// The reader has gone: what it is owed still.
    pub(super) fn into_owed(self) -> impl Iterator<Item = u64> {
        self.owed.into_keys()
    }
}
