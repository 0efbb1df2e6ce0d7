//! What the log has behind a frame at which SQLite ends it.

use std::path::Path;

use super::{Columns, Pages, Salvaged, log};

/// Gives the messages to `take` that the log of the database at `path` has behind a wrong frame, where SQLite ends it: that may be
/// torn, or damaged. Some may be older ones.
pub(in crate::store) fn hidden(path: &Path, mut take: impl FnMut(&Columns<'_>)) {
    let pages = Pages::open(path);
    let mut record = Vec::new();
    for (number, at) in pages.log.as_deref().map(log::hidden).unwrap_or_default() {
        let Ok(()) = pages.take_from_logged((number, at), &mut record, &mut |found| {
            if let Salvaged::Message(columns) = found {
                take(&columns);
            }
            Ok::<(), std::convert::Infallible>(())
        });
    }
}

impl Pages {
    /// Gives what the page at this place of the log holds to `take`; and if one of several words is wrong there, the messages that it
    /// holds with each of them as it should be: of the one that is really wrong their checksums tell.
    pub(super) fn take_from_logged<E>(
        &self,
        (number, at): (u32, u64),
        record: &mut Vec<u8>,
        take: &mut impl FnMut(Salvaged<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(page) = self.read_logged(at) else { return Ok(()) };
        self.take_from((number, &page), record, take)?;
        for (at, word) in self.guesses.get(&at).into_iter().flatten() {
            let mut guessed = page.clone();
            guessed[*at..at + word.len()].copy_from_slice(word);
            self.take_from((number, &guessed), record, &mut |found| match found {
                Salvaged::Message(_) => take(found),
                _ => Ok(()),
            })?;
        }
        Ok(())
    }
}
