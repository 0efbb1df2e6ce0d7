//! What is on the disk, and under which names.

use super::{Executions, said};
use crate::store::Failure;

/// How far each plan is that isn't over.
pub(super) const POSITIONS: &str = "actions";
/// The journal of Jobs.
pub(super) const JOBS: &str = "job";
/// That of Commands.
pub(super) const COMMANDS: &str = "commands";

/// A note, or nothing. Until the database can be read, nobody knows what was begun, and nothing is.
pub(super) async fn read(executions: &Executions, name: &'static str) -> String {
    let why_not = |failure: &Failure| {
        let is_news = executions.unread.replace(Some(failure.to_string())).is_none();
        if is_news {
            said::unread(failure);
        }
    };
    executions.store.note_in_time(name, why_not).await.unwrap_or_default()
}
