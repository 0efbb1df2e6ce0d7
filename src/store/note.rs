//! A note in a store that no daemon holds: for commands.

use std::path::Path;

use thiserror::Error;

use super::database;
use super::failure::{Failure, Fault};

/// Why it can't be read.
#[derive(Debug, Error)]
pub(crate) enum NoteError {
    /// It is there, or may be, and is somebody else's.
    #[error("the user may not read it")]
    Denied,
    #[error("{0}")]
    Unreadable(String),
}

/// A note in the store at `path`. `None`: there is no such note, or no store.
///
/// # Errors
/// Why it can't be read, and what to do.
pub(crate) fn note_at(path: &Path, name: &str) -> Result<Option<String>, NoteError> {
    database::note_at(path, name).map_err(|fault| match fault {
        Fault::Refused(Failure::Denied { .. }) | Fault::Broken(Failure::Denied { .. }) => NoteError::Denied,
        Fault::Refused(failure) | Fault::Broken(failure) => NoteError::Unreadable(failure.to_string()),
        Fault::Unusable(error) => NoteError::Unreadable(error.to_string()),
        Fault::Damage(how) => NoteError::Unreadable(format!(
            "{} is damaged ({how}); the daemon saves what can be read of it when it starts: `sudo systemctl start gatewire`",
            path.display()
        )),
    })
}
