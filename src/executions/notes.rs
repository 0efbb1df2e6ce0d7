//! What is on the disk, and under which names.

use std::cell::Cell;

use super::said;
use crate::store::{Failure, Store};

/// How far each plan is that isn't over.
pub(super) const POSITIONS: &str = "actions";
/// The journal of Jobs.
pub(super) const JOBS: &str = "job";
/// That of Commands.
pub(super) const COMMANDS: &str = "commands";

/// A note, or nothing. Until the database can be read, nobody knows what was begun, and nothing is.
pub(super) async fn read(store: &Store, name: &'static str) -> String {
    let was_told = Cell::new(false);
    let why_not = |failure: &Failure| {
        if !was_told.replace(true) {
            said::unread(failure);
        }
    };
    store.note_in_time(name, why_not).await.unwrap_or_default()
}
