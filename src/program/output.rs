//! What a program writes to one of its streams, as far as it is kept.

use std::collections::VecDeque;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The end of what a program writes: what went wrong mostly stands there. It takes any amount and keeps little.
#[derive(Debug)]
pub(crate) struct Ends {
    kept: VecDeque<u8>,
    /// In bytes.
    most: usize,
    newlines: u64,
    /// The last line has something, and no newline yet.
    in_line: bool,
}

impl Ends {
    /// Keeps the last `most` bytes.
    pub(crate) fn of(most: usize) -> Ends {
        Ends { kept: VecDeque::new(), most, newlines: 0, in_line: false }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        self.newlines += memchr::memchr_iter(b'\n', bytes).count() as u64;
        self.in_line = *last != b'\n';
        self.kept.extend(&bytes[bytes.len().saturating_sub(self.most)..]);
        let surplus = self.kept.len().saturating_sub(self.most);
        self.kept.drain(..surplus);
    }

    /// How many lines were written; one that is begun counts.
    pub(crate) fn lines(&self) -> u64 {
        self.newlines + u64::from(self.in_line)
    }

    /// What is kept. What isn't UTF-8 of it is replaced, as is half a character at its beginning.
    pub(crate) fn text(&self) -> String {
        let (first, second) = self.kept.as_slices();
        String::from_utf8_lossy(&[first, second].concat()).into_owned()
    }

    /// Reads `pipe` to its end.
    pub(crate) async fn read_to_end(&mut self, pipe: &mut Option<impl AsyncRead + Unpin>) {
        let mut buffer = [0; 4096];
        while pipe.is_some() {
            let n = read_some(pipe, &mut buffer).await;
            self.push(&buffer[..n]);
        }
    }
}

/// Reads from what is still open; at its end, or when it fails, it is closed and 0 returned. From what is closed there is nothing to
/// read, ever.
pub(crate) async fn read_some(pipe: &mut Option<impl AsyncRead + Unpin>, into: &mut [u8]) -> usize {
    let Some(open) = pipe else { return std::future::pending().await };
    let n = open.read(into).await.unwrap_or(0);
    if n == 0 {
        *pipe = None;
    }
    n
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_end_is_kept_and_the_lines_are_counted(
            text in "[ab\né]{0,60}",
            sizes in proptest::collection::vec(1usize..9, 1..20),
            most in 1usize..20,
        ) {
            let mut ends = Ends::of(most);
            let (mut rest, mut sizes) = (text.as_bytes(), sizes.iter().cycle());
            while !rest.is_empty() {
                let (piece, others) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
                ends.push(piece);
                rest = others;
            }
            prop_assert_eq!(ends.lines(), text.lines().count() as u64);
            let kept = &text.as_bytes()[text.len().saturating_sub(most)..];
            prop_assert_eq!(ends.text(), String::from_utf8_lossy(kept));
        }
    }
}
