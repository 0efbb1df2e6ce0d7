//! What a client sends, cut into lines, with bounded memory.

/// The longest line a client may send, in bytes without its newline (docs/sockets.md).
pub(crate) const MAX_LINE: usize = 256 * 1024;

/// Buffers grow by this much: a client that sends byte by byte doesn't have its line copied as often.
const GRAIN: usize = 4 * 1024;

/// A line from a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// Not empty, without its newline.
    Text(&'a str),
    /// Longer than it may be; reported as soon as that is known, the rest of it is skipped.
    TooLong,
    NotUtf8,
}

/// Bytes of a client that aren't used up. Holds at most a line of the longest kind and one push; nothing while nothing waits.
#[derive(Debug)]
pub(crate) struct Lines {
    /// The longest line, in bytes without its newline.
    max: usize,
    buffer: Vec<u8>,
    /// Where the next line starts in `buffer`.
    start: usize,
    /// Where the line began that was given last.
    last: usize,
    /// Up to here there is no newline.
    scanned: usize,
    /// Inside a line that was too long.
    skipping: bool,
    ended: bool,
}

impl Default for Lines {
    fn default() -> Lines {
        Lines::up_to(MAX_LINE)
    }
}

impl Lines {
    /// Lines of at most `max` bytes.
    pub(crate) fn up_to(max: usize) -> Lines {
        Lines { max, buffer: Vec::new(), start: 0, last: 0, scanned: 0, skipping: false, ended: false }
    }

    /// Takes what was read. To be called once [`Lines::next`] has given all it can, else memory grows.
    pub(crate) fn push(&mut self, input: &[u8]) {
        self.compact();
        let wanted = (self.buffer.len() + input.len()).next_multiple_of(GRAIN);
        self.buffer.reserve_exact(wanted - self.buffer.len());
        self.buffer.extend_from_slice(input);
    }

    fn compact(&mut self) {
        self.buffer.drain(..self.start);
        self.scanned -= self.start;
        (self.start, self.last) = (0, 0);
    }

    /// Gives back the memory of what is used up.
    pub(crate) fn shrink(&mut self) {
        self.compact();
        self.buffer.shrink_to_fit();
    }

    /// Nothing more will come: a last line needs no newline.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// Bytes that aren't used up.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Bytes of memory that they take.
    pub(crate) fn held(&self) -> usize {
        self.buffer.capacity()
    }

    /// The line that was given last is given again, by the next call of [`Lines::next`]. Only straight after that one, and not
    /// for a line that was too long.
    pub(crate) fn put_back(&mut self) {
        (self.start, self.scanned) = (self.last, self.last);
    }

    /// What has come of a line that isn't complete is forgotten, and the rest of it skipped.
    pub(crate) fn give_up(&mut self) {
        self.skipping = true;
        self.without_newline();
    }

    /// The next complete line, empty ones left out.
    pub(crate) fn next(&mut self) -> Option<Line<'_>> {
        loop {
            let newline = memchr::memchr(b'\n', &self.buffer[self.scanned..]).map(|at| self.scanned + at);
            let Some(end) = newline.or_else(|| self.rest()) else {
                self.scanned = self.buffer.len();
                return self.without_newline();
            };
            let start = std::mem::replace(&mut self.start, (end + 1).min(self.buffer.len()));
            (self.last, self.scanned) = (start, self.start);
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if end - start > self.max {
                return Some(Line::TooLong);
            }
            let line = self.buffer[start..end].strip_suffix(b"\r").map_or(start..end, |line| start..start + line.len());
            if line.is_empty() {
                continue;
            }
            return Some(std::str::from_utf8(&self.buffer[line]).map_or(Line::NotUtf8, Line::Text));
        }
    }

    /// The end of a last line that has no newline.
    fn rest(&self) -> Option<usize> {
        (self.ended && self.start < self.buffer.len()).then_some(self.buffer.len())
    }

    /// The line isn't complete: skips it if it is too long already, and gives memory back that isn't needed for it.
    fn without_newline(&mut self) -> Option<Line<'static>> {
        let too_long = !self.skipping && self.len() > self.max;
        self.skipping |= too_long;
        if self.skipping || self.len() == 0 {
            self.buffer = Vec::new();
            (self.start, self.last, self.scanned) = (0, 0, 0);
        } else if self.start > 0 {
            self.shrink();
        }
        too_long.then_some(Line::TooLong)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes out, feeding `input` in pieces of the given sizes.
    fn lines(input: &[u8], mut sizes: impl Iterator<Item = usize>) -> Vec<String> {
        let (mut lines, mut out, mut rest) = (Lines::default(), Vec::new(), input);
        loop {
            while let Some(line) = lines.next() {
                out.push(match line {
                    Line::Text(text) => text.to_owned(),
                    Line::TooLong => "TOO LONG".to_owned(),
                    Line::NotUtf8 => "NOT UTF-8".to_owned(),
                });
            }
            assert!(lines.buffer.capacity() <= MAX_LINE + GRAIN, "an unfinished line is bounded");
            if rest.is_empty() {
                if lines.ended {
                    assert_eq!(lines.buffer.capacity(), 0, "a client without an unfinished line costs nothing");
                    return out;
                }
                lines.end();
                continue;
            }
            let (piece, others) = rest.split_at(sizes.next().unwrap_or(1).clamp(1, rest.len()));
            lines.push(piece);
            rest = others;
        }
    }

    #[test]
    fn empty_lines_are_ignored_and_the_last_needs_no_newline() {
        let all = || std::iter::repeat(1000);
        assert_eq!(lines(b"\n\r\na\n\nb\r\nc", all()), ["a", "b", "c"]);
        assert_eq!(lines(b"", all()), [""; 0]);
        assert_eq!(lines(b"\r", all()), [""; 0]);
        assert_eq!(lines(b"a\xff\nb\n", all()), ["NOT UTF-8", "b"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_reported_once_and_skipped() {
        let longest = "x".repeat(MAX_LINE);
        let input = format!("before\n{longest}\n{longest}y\nafter\n{}\nlast", "z".repeat(3 * MAX_LINE));
        for size in [1000, 16 * 1024, 1024 * 1024] {
            assert_eq!(
                lines(input.as_bytes(), std::iter::repeat(size)),
                ["before", longest.as_str(), "TOO LONG", "after", "TOO LONG", "last"]
            );
        }
    }

    #[test]
    fn a_line_can_be_put_back_or_given_up() {
        let mut lines = Lines::up_to(10);
        lines.push(b"one\ntwo\nth");
        for _ in 0..2 {
            assert_eq!(lines.next(), Some(Line::Text("one")));
            lines.put_back();
        }
        assert_eq!(lines.next(), Some(Line::Text("one")));
        assert_eq!(lines.next(), Some(Line::Text("two")));
        assert_eq!(lines.next(), None);
        assert_eq!((lines.len(), lines.buffer.capacity()), (2, 2), "it holds no more than the unfinished line");
        lines.give_up();
        assert_eq!(lines.next(), None);
        assert_eq!(lines.buffer.capacity(), 0);
        lines.push(b"ree\nfour\n0123456789a\n");
        assert_eq!(lines.next(), Some(Line::Text("four")));
        assert_eq!(lines.next(), Some(Line::TooLong));
        assert_eq!(lines.next(), None);
    }

    proptest! {
        #[test]
        fn where_reads_end_makes_no_difference(
            input in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a'), Just(0xffu8)], 0..200),
            sizes in proptest::collection::vec(1usize..20, 0..200),
        ) {
            prop_assert_eq!(lines(&input, sizes.into_iter()), lines(&input, std::iter::repeat(1000)));
        }
    }
}
