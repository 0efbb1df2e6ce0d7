//! What becomes of a message, and who is told.

use thiserror::Error;

/// What became of an accepted message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MessageOutcome {
    /// QoS 1: IoT Core has acknowledged it.
    Delivered,
    /// QoS 1: it is on the disk, synced, and goes to IoT Core from there.
    Stored,
    /// QoS 0: it was written to the link.
    Sent,
    /// It was given up.
    Refused(Refusal),
}

/// Why a message isn't taken, or was given up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error(
        "the outbox is full: more waits for IoT Core than [outbox] max_size allows, or than fits into memory while the disk \
        can't be written; see `gatewire status`"
    )]
    OutboxFull,
    #[error(
        "the outbox is full for what isn't urgent, which waits because the month's budget is used up: the last eighth of [outbox] \
        max_size, and of memory while the disk can't be written, is kept for what is urgent; see `gatewire status`"
    )]
    ReservedForUrgent,
    #[error("it has expired: it waited for IoT Core for longer than its `expires_in`, or [outbox] max_age")]
    Expired,
    #[error("the link is down, and a QoS 0 message isn't kept; send it with QoS 1 to have it kept")]
    NotConnected,
    #[error(
        "the month's budget is used up, and a QoS 0 message isn't kept: send it as urgent if it has to go now, or with QoS 1 to have it \
        wait for the next month"
    )]
    PastBudget,
    #[error("gatewire is shutting down; send it again when it is back")]
    ShuttingDown,
    #[error("IoT Core refuses it: {reason}")]
    Rejected { reason: String },
}
