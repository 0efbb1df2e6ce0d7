//! Kept messages on their way to one reader.

use std::collections::{BTreeMap, VecDeque};

use super::super::line::Encoder;
use super::super::text::Text;
use super::WRITE;
use crate::message::Inbound;
use crate::store::backlog::ENTRY_OVERHEAD;

/// What one reader may leave unacknowledged, in bytes, each message with [`ENTRY_OVERHEAD`].
pub(super) const MAX_UNACKNOWLEDGED: u64 = 1024 * 1024;

/// The lines that a reader is being written, and what it owes an acknowledgement for.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    text: Text,
    /// How much of it is written, and where the line begins that this is in.
    written: u64,
    line_start: u64,
    /// The messages that aren't written whole, and where their lines end.
    ends: VecDeque<(u64, u64)>,
    /// What is written and not acknowledged, or not written whole, with its cost.
    owed: BTreeMap<u64, u64>,
    cost: u64,
}

impl Drawn {
    pub(super) fn append(&mut self, encoder: &mut Encoder, id: u64, message: &Inbound, is_duplicate: bool) {
        encoder.append(self.text.buffer(), id, message, is_duplicate);
        self.ends.push_back((id, self.text.end()));
        let cost = message.size() as u64 + ENTRY_OVERHEAD;
        self.owed.insert(id, cost);
        self.cost += cost;
    }

    /// What is to be written.
    pub(super) fn text(&self) -> &[u8] {
        self.text.slice(self.written, self.text.end())
    }

    /// Whether more may be appended.
    pub(super) fn has_room(&self) -> bool {
        self.text.len() < WRITE && self.cost < MAX_UNACKNOWLEDGED
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
        self.written += n as u64;
        self.text.forget(self.written);
        let mut whole = Vec::new();
        while let Some((id, end)) = self.ends.pop_front_if(|(_, end)| *end <= self.written) {
            self.line_start = end;
            whole.push(id);
        }
        whole
    }

    /// The client isn't to be given any of these: all that is owed, and the text behind the line that it is in.
    pub(super) fn give_up(&mut self) -> Vec<u64> {
        let within = self.ends.front().filter(|_| self.is_within_line());
        let end = within.map_or(self.written, |(_, end)| *end);
        self.text.truncate(end);
        self.ends.retain(|(_, line_end)| *line_end <= end);
        self.cost = 0;
        std::mem::take(&mut self.owed).into_keys().collect()
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::config::Format;
    use crate::message::{Qos, Topic};

    #[test]
    fn what_a_reader_was_written_takes_no_memory_though_the_next_line_has_begun() {
        // What a socket takes at once, and a line that is a little longer: something is left of each when the next is appended.
        const TAKES: usize = 200_000;
        const LINE: usize = TAKES + 2000;
        let (mut encoder, mut drawn, mut read) = (Encoder::new(Format::Payload), Drawn::default(), Vec::new());
        let message = |id: u64| Inbound {
            topic: Topic::received("t"),
            payload: Bytes::from(vec![b'a' + (id % 26) as u8; LINE - 1]),
            qos: Qos::AtLeastOnce,
            retain: false,
            duplicate: false,
            received_at: jiff::Timestamp::UNIX_EPOCH,
            properties: None,
        };
        let (mut appended, mut whole) = (0, Vec::new());
        while whole.len() < 60 {
            if drawn.has_room() && appended < 60 {
                drawn.append(&mut encoder, appended, &message(appended), false);
                appended += 1;
            }
            let n = drawn.text().len().min(TAKES);
            read.extend_from_slice(&drawn.text()[..n]);
            for id in drawn.wrote(n) {
                drawn.settle(id);
                whole.push(id);
            }
            assert_eq!(drawn.is_within_line(), read.len() % LINE != 0);
            assert!(drawn.text.buffer().capacity() <= 2 * (LINE + 2 * WRITE), "{}", drawn.text.buffer().capacity());
        }
        assert_eq!(whole, (0..60).collect::<Vec<_>>());
        assert!(drawn.is_written() && drawn.text.buffer().capacity() <= WRITE);
        let lines = read.chunks(LINE).zip(0..).all(|(line, id)| line[..LINE - 1] == message(id).payload);
        assert!(lines && read.len() == 60 * LINE);
    }
}
