//! Lines out of a stream of bytes. Pure.

use bytes::{Buf, Bytes, BytesMut};

/// The longest line taken from a client, in bytes without its newline.
pub(crate) const MAX_LINE: usize = 256 * 1024;

/// Why a line isn't one we can look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadLine {
    TooLong,
    NotUtf8,
}

/// Bytes that came from a client and the lines they make. Takes no memory until bytes come, and no more than a line and a
/// read.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    buffer: BytesMut,
    /// So many bytes of the buffer hold no newline.
    searched: usize,
    /// In a line that is too long: what comes is thrown away up to its end.
    skipping: bool,
}

/// A whole line, without its newline. Checked to be UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line(Bytes);

impl Line {
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Lines {
    /// Adds bytes that were read.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next line that isn't empty.
    pub(crate) fn next(&mut self) -> Option<Result<Line, BadLine>> {
        loop {
            let newline = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
            let Some(end) = newline.map(|position| self.searched + position) else {
                self.searched = self.buffer.len();
                return self.give_up_if_too_long();
            };
            let mut line = self.buffer.split_to(end);
            self.buffer.advance(1);
            self.searched = 0;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if line.last() == Some(&b'\r') {
                line.truncate(line.len() - 1);
            }
            if !line.is_empty() {
                return Some(checked(line));
            }
        }
    }

    fn give_up_if_too_long(&mut self) -> Option<Result<Line, BadLine>> {
        if self.skipping || self.buffer.len() > MAX_LINE {
            self.buffer = BytesMut::new();
            self.searched = 0;
            return (!std::mem::replace(&mut self.skipping, true)).then_some(Err(BadLine::TooLong));
        }
        if self.buffer.is_empty() && self.buffer.capacity() > 0 {
            self.buffer = BytesMut::new();
        }
        None
    }

    /// The end of the stream: what has come of a last line counts as one.
    pub(crate) fn end(&mut self) -> Option<Result<Line, BadLine>> {
        let rest = std::mem::take(&mut self.buffer);
        self.searched = 0;
        (!rest.is_empty() && !std::mem::take(&mut self.skipping)).then(|| checked(rest))
    }
}

fn checked(line: BytesMut) -> Result<Line, BadLine> {
    if line.len() > MAX_LINE {
        return Err(BadLine::TooLong);
    }
    match std::str::from_utf8(&line) {
        Ok(_) => Ok(Line(line.freeze())),
        Err(_) => Err(BadLine::NotUtf8),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drain(lines: &mut Lines) -> Vec<Result<String, BadLine>> {
        std::iter::from_fn(|| lines.next()).map(|line| line.map(|line| line.as_str().to_owned())).collect()
    }

    #[test]
    fn lines_come_whole_and_empty_ones_are_ignored() {
        let mut lines = Lines::default();
        lines.push(b"one\n\n\r\ntwo\r\nthr");
        assert_eq!(drain(&mut lines), [Ok("one".to_owned()), Ok("two".to_owned())]);
        lines.push(b"ee\n\xff\nlast");
        assert_eq!(drain(&mut lines), [Ok("three".to_owned()), Err(BadLine::NotUtf8)]);
        assert_eq!(lines.end().unwrap().unwrap().as_str(), "last");
        assert_eq!(lines.end(), None);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_to_its_end_in_little_memory() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for _ in 0..1000 {
            lines.push(&[b'x'; 4096]);
            found.extend(drain(&mut lines));
            assert!(lines.buffer.capacity() <= 2 * MAX_LINE + 8192);
        }
        lines.push(b"xx\nnext\n");
        found.extend(drain(&mut lines));
        assert_eq!(found, [Err(BadLine::TooLong), Ok("next".to_owned())]);
    }

    #[test]
    fn the_longest_line_is_taken_and_one_byte_more_is_not() {
        let mut lines = Lines::default();
        lines.push(&[b'x'; MAX_LINE]);
        lines.push(b"\n");
        lines.push(&[b'x'; MAX_LINE + 1]);
        lines.push(b"\nnext\n");
        let found = drain(&mut lines);
        assert_eq!(found[0].as_ref().map(String::len), Ok(MAX_LINE));
        assert_eq!(found[1..], [Err(BadLine::TooLong), Ok("next".to_owned())]);
    }

    proptest! {
        #[test]
        fn cutting_the_stream_elsewhere_changes_nothing(text in "[ab\n\r]{0,200}", cuts in prop::collection::vec(1..20usize, 1..50)) {
            let mut whole = Lines::default();
            whole.push(text.as_bytes());
            let mut expected = drain(&mut whole);
            expected.extend(whole.end().map(|line| line.map(|line| line.as_str().to_owned())));
            let (mut pieces, mut found, mut rest) = (Lines::default(), Vec::new(), text.as_bytes());
            for cut in cuts.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                found.extend(drain(&mut pieces));
                rest = after;
            }
            found.extend(pieces.end().map(|line| line.map(|line| line.as_str().to_owned())));
            prop_assert_eq!(found, expected);
        }
    }
}
