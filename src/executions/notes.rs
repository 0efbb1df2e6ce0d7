//! What is on the disk, and under which names.

use crate::store::Store;

/// How far each plan is that isn't over.
pub(super) const POSITIONS: &str = "actions";
/// The journal of Jobs.
pub(super) const JOBS: &str = "job";
/// That of Commands.
pub(super) const COMMANDS: &str = "commands";

/// A note, or nothing.
pub(super) async fn read(store: &Store, name: &'static str) -> String {
    store.note(name).await.unwrap_or_default()
}
