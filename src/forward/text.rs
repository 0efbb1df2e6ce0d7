//! Bytes that are appended at one end and forgotten at the other.

/// What is kept of an empty buffer's memory, in bytes.
const SPARE: usize = 16 * 1024;

/// A stretch of an endless text. Places in it are counted from its beginning, so that they stay what they are.
#[derive(Debug, Default)]
pub(super) struct Text {
    buffer: Vec<u8>,
    /// How much of `buffer` is forgotten.
    forgotten: usize,
    /// The place of the first byte that isn't forgotten.
    start: u64,
}

impl Text {
    pub(super) fn end(&self) -> u64 {
        self.start + self.len() as u64
    }

    pub(super) fn len(&self) -> usize {
        self.buffer.len() - self.forgotten
    }

    /// To append to, and only for that.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// The text from one place to another, as far as it isn't forgotten.
    pub(super) fn slice(&self, from: u64, to: u64) -> &[u8] {
        let index = |place: u64| {
            let offset = usize::try_from(place.saturating_sub(self.start)).unwrap_or(usize::MAX);
            self.forgotten.saturating_add(offset).min(self.buffer.len())
        };
        self.buffer.get(index(from)..index(to)).unwrap_or_default()
    }

    /// Takes back what is after `place`.
    pub(super) fn truncate(&mut self, place: u64) {
        let keep = usize::try_from(place.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.buffer.truncate(self.forgotten.saturating_add(keep));
    }

    /// Forgets what is before `place`. Memory is moved only once half of it is forgotten.
    pub(super) fn forget(&mut self, place: u64) {
        let forget = usize::try_from(place.saturating_sub(self.start)).unwrap_or(usize::MAX).min(self.len());
        self.start += forget as u64;
        self.forgotten += forget;
        if self.len() == 0 {
            self.buffer.clear();
            self.buffer.shrink_to(SPARE);
            self.forgotten = 0;
        } else if self.forgotten > SPARE && self.forgotten > self.len() {
            self.buffer.drain(..self.forgotten);
            self.forgotten = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_stay_while_text_before_them_is_forgotten() {
        let mut text = Text::default();
        let mut whole = Vec::new();
        for round in 0..2000u32 {
            let piece = round.to_string().repeat(20);
            text.buffer().extend_from_slice(piece.as_bytes());
            whole.extend_from_slice(piece.as_bytes());
            assert_eq!(text.end(), whole.len() as u64);
            let from = whole.len().saturating_sub(300);
            text.forget(from as u64);
            assert_eq!(text.slice(from as u64, text.end()), &whole[from..]);
            assert!(text.buffer.len() <= SPARE + 1000, "forgotten text is given back");
        }
        assert_eq!(text.slice(text.end() - 5, text.end()), &whole[whole.len() - 5..]);
    }
}
