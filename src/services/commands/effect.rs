//! What Commands has others do.

use super::execution::{Execution, Outcome};
use super::journal::Journal;
use crate::message::AckToken;
use crate::services::Rejection;

/// Names a journal that is to be written; a later one has a greater number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordId(pub(super) u64);

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// A command has come: is there an action for it, and is it its turn? Answered by [`Commands::accept`](super::Commands::accept) or
    /// [`Commands::reject`](super::Commands::reject), at once.
    Found(Execution),
    /// The journal is to be on the disk. Answered by [`Commands::recorded`](super::Commands::recorded).
    Record(RecordId, Journal),
    /// The request is on the disk, or needn't be: IoT Core may be told that it has arrived.
    Release(AckToken),
    /// The action is to begin, for the first time. Answered by [`Commands::ended`](super::Commands::ended).
    Begin(Execution),
    /// It doesn't begin, though its turn had come: that is free again.
    PassTurn(String),
    /// An earlier life of the daemon may have begun the action: now it is as the action says (interrupted, begun again if it
    /// `is_in_time`, or done). Answered by [`Commands::ended`](super::Commands::ended).
    Resume {
        execution: Execution,
        /// It might begin now, as old as it is.
        is_in_time: bool,
    },
    /// An execution is over: nothing more is said of it.
    Over(String, Fate),
    /// AWS refuses something that it should have taken; to be told to a person.
    Trouble(String, Rejection),
    /// A command can't be answered, as its topic has no execution id, or as too many have no answer yet; to be told to a person.
    Dropped(Unanswered),
}

/// Why a command isn't answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The execution id isn't one.
    Unreadable,
    /// As many as are kept are under way, or wait for AWS to take their result.
    TooMany,
}

/// How an execution is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// AWS has the result.
    Reported(Outcome),
    /// AWS doesn't want one: its code, such as `ResourceNotFound`.
    Moot(String),
    /// The time in which AWS might have wanted it has passed.
    Late(Outcome),
}
