//! What the log has behind a frame at which SQLite ends it.

use std::path::Path;

use super::{Columns, Pages, Salvaged, log};

/// Gives the messages to `take` that the log of the database at `path` has behind a wrong frame, where SQLite ends it: that may be
/// torn, or damaged. Some may be older ones.
pub(in crate::store) fn hidden(path: &Path, mut take: impl FnMut(&Columns<'_>)) {
    let pages = Pages::open(path);
    let mut record = Vec::new();
    for (number, at) in pages.log.as_deref().map(log::hidden).unwrap_or_default() {
        let Some(page) = pages.read_logged(at) else { continue };
        let Ok(()) = pages.take_from((number, &page), &mut record, &mut |found| {
            if let Salvaged::Message(columns) = found {
                take(&columns);
            }
            Ok::<(), std::convert::Infallible>(())
        });
    }
}
