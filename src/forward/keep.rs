//! Lines that wait for a reader.

use std::collections::VecDeque;
use std::io::IoSlice;

use jiff::Timestamp;

use crate::config::{self, WhenFull};

/// The most memory the kept lines of one forward may take, whatever `keep.bytes` says, in bytes.
const MEMORY_BOUND: u64 = 16 * 1024 * 1024;

/// Bytes of memory that a kept line takes beside its text, counted against the bound.
pub(super) const ENTRY_OVERHEAD: u64 = 64;

/// A line that nobody has been written.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) id: u64,
    pub(super) received_at: Timestamp,
    /// A copy of its own: it may stay for long, and must not hold on to a larger buffer.
    pub(super) line: Box<[u8]>,
}

impl Kept {
    fn size(&self) -> u64 {
        self.line.len() as u64 + ENTRY_OVERHEAD
    }
}

/// The kept lines of a forward, in the order of their ids, within the bounds of `forward.keep`.
#[derive(Debug)]
pub(super) struct Keep {
    lines: VecDeque<Kept>,
    /// Their sizes.
    bytes: u64,
    max_lines: u64,
    max_bytes: u64,
    when_full: WhenFull,
    /// Bytes of the first line that its reader has got: until it has got the rest, the line stays first.
    written: usize,
    dropped: u64,
}

impl Keep {
    pub(super) fn new(config: &config::Keep) -> Keep {
        Keep {
            lines: VecDeque::new(),
            bytes: 0,
            max_lines: config.messages,
            max_bytes: config.bytes.min(MEMORY_BOUND),
            when_full: config.when_full,
            written: 0,
            dropped: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.lines.front().map(|kept| kept.received_at)
    }

    /// Lines given up because there was no room.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds a line at the place its id gives it. If there is no room, the oldest or the newest give way, as configured.
    pub(super) fn insert(&mut self, kept: Kept) {
        if kept.size() > self.max_bytes {
            self.dropped += 1;
            return;
        }
        self.bytes += kept.size();
        match self.lines.back() {
            Some(last) if last.id > kept.id => {
                let after = self.lines.partition_point(|line| line.id < kept.id).max(self.pinned());
                self.lines.insert(after, kept);
            }
            _ => self.lines.push_back(kept),
        }
        while self.lines.len() as u64 > self.max_lines || self.bytes > self.max_bytes {
            let dropped = match self.when_full {
                WhenFull::DropOldest => self.lines.remove(self.pinned()),
                WhenFull::RejectNew if self.lines.len() > self.pinned() => self.lines.pop_back(),
                WhenFull::RejectNew => None,
            };
            let Some(dropped) = dropped else { return };
            self.bytes -= dropped.size();
            self.dropped += 1;
        }
    }

    /// Whether the first line is partly written.
    pub(super) fn is_begun(&self) -> bool {
        self.written > 0
    }

    /// How many lines at the front must stay: one that is partly written.
    fn pinned(&self) -> usize {
        usize::from(self.is_begun())
    }

    /// Fills `pieces` with the text that comes next, up to `limit` bytes and a line; returns how many it filled.
    pub(super) fn pieces<'a>(&'a self, pieces: &mut [IoSlice<'a>], limit: usize) -> usize {
        let (mut filled, mut bytes, mut skip) = (0, 0, self.written);
        for (piece, kept) in pieces.iter_mut().zip(&self.lines) {
            if bytes >= limit {
                break;
            }
            let text = &kept.line[std::mem::take(&mut skip)..];
            *piece = IoSlice::new(text);
            bytes += text.len();
            filled += 1;
        }
        filled
    }

    /// The reader has got `n` more bytes. Returns how many lines that completed.
    pub(super) fn wrote(&mut self, n: usize) -> u64 {
        self.written += n;
        let mut complete = 0;
        while let Some(first) = self.lines.front()
            && self.written >= first.line.len()
        {
            self.written -= first.line.len();
            self.bytes -= first.size();
            self.lines.pop_front();
            complete += 1;
        }
        if self.lines.is_empty() {
            self.lines = VecDeque::new();
        }
        complete
    }

    /// The reader has gone: the next one gets the first line from its start.
    pub(super) fn reader_gone(&mut self) {
        self.written = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(messages: u64, bytes: u64, when_full: WhenFull) -> Keep {
        Keep::new(&config::Keep { messages, bytes, when_full })
    }

    fn kept(id: u64, length: usize) -> Kept {
        Kept { id, received_at: Timestamp::UNIX_EPOCH, line: vec![b'x'; length].into() }
    }

    fn ids(keep: &Keep) -> Vec<u64> {
        keep.lines.iter().map(|kept| kept.id).collect()
    }

    #[test]
    fn lines_that_come_back_take_their_old_place() {
        let mut keep = keep(10, 10_000, WhenFull::DropOldest);
        for id in [5, 9, 2, 7, 1] {
            keep.insert(kept(id, 10));
        }
        assert_eq!(ids(&keep), [1, 2, 5, 7, 9]);
    }

    #[test]
    fn when_full_the_oldest_or_the_newest_gives_way_and_is_counted() {
        let mut oldest = keep(3, 10_000, WhenFull::DropOldest);
        let mut newest = keep(3, 10_000, WhenFull::RejectNew);
        for id in [1, 2, 3, 5, 4] {
            oldest.insert(kept(id, 10));
            newest.insert(kept(id, 10));
        }
        assert_eq!((ids(&oldest), oldest.dropped()), (vec![3, 4, 5], 2));
        assert_eq!((ids(&newest), newest.dropped()), (vec![1, 2, 3], 2));
    }

    #[test]
    fn bytes_are_bounded_and_one_line_too_large_displaces_nothing() {
        let mut keep = keep(100, 500, WhenFull::DropOldest);
        for id in 1..=10 {
            keep.insert(kept(id, 100));
            assert!(keep.bytes() <= 500);
        }
        keep.insert(kept(11, 500));
        assert_eq!((ids(&keep), keep.dropped()), (vec![8, 9, 10], 8));
    }

    #[test]
    fn a_line_half_written_stays_until_it_is_whole_or_its_reader_is_gone() {
        let mut keep = keep(2, 10_000, WhenFull::DropOldest);
        keep.insert(kept(3, 10));
        assert_eq!(keep.wrote(4), 0);
        for id in [1, 4, 5] {
            keep.insert(kept(id, 10));
        }
        assert_eq!(ids(&keep), [3, 5]);
        assert_eq!(keep.wrote(6 + 9), 1);
        keep.reader_gone();
        let mut pieces = [IoSlice::new(&[]); 4];
        assert_eq!(keep.pieces(&mut pieces, 1000), 1);
        assert_eq!(pieces[0].len(), 10);
    }
}
