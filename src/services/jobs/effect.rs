//! What Jobs has others do.

use super::details::Details;
use super::execution::{Execution, Identity, Outcome};
use super::journal::Journal;
use crate::services::Rejection;

/// Names a journal that is to be written; a later one has a greater number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordId(pub(super) u64);

#[cfg(test)]
impl RecordId {
    /// For whoever is tested with it.
    pub(crate) fn of_test(n: u64) -> RecordId {
        RecordId(n)
    }
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// An execution has come: is there an action for it? Answered by [`Jobs::accept`](super::Jobs::accept) or
    /// [`Jobs::decline`](super::Jobs::decline), at once.
    Found(Execution),
    /// The journal is to be on the disk. Answered by [`Jobs::recorded`](super::Jobs::recorded).
    Record(RecordId, Journal),
    /// The action is to begin, for the first time. Answered by [`Jobs::ended`](super::Jobs::ended).
    Begin(Execution),
    /// An earlier life of the daemon may have begun the action, and AWS still wants it: now it is as the action says (failed, begun
    /// again, or done). Answered by [`Jobs::ended`](super::Jobs::ended).
    Resume(Execution),
    /// AWS has just said of the execution whose action is under way that it is IN_PROGRESS: once on each new connection.
    Confirmed(Identity),
    /// The action that was begun or resumed is to be ended: the job was cancelled, deleted or has timed out. Answered by
    /// [`Jobs::ended`](super::Jobs::ended), whatever that says.
    Stop(Identity),
    /// An execution is over.
    Over(Identity, Fate),
    /// Jobs refuses something that it should have taken; to be told to a person.
    Trouble(String, Rejection),
    /// It names an execution that can't be read, so that it can't be answered.
    Unreadable,
}

/// How an execution is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// AWS has the result.
    Reported(Outcome),
    /// AWS doesn't want one: what it says of the execution instead, such as `CANCELED`.
    Moot(String),
}

/// How an action is to be told of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// For how many minutes AWS may be without news of it before it calls it timed out, 1 to 10080; `None`: for as long as the job says.
    pub(crate) step_minutes: Option<u32>,
    pub(crate) details: Details,
}
