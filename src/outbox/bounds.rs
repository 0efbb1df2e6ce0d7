//! What the outbox may hold.

use std::time::Duration;

use crate::config::{self, WhenFull};

/// The most memory that messages take, in bytes, each with [`ENTRY_OVERHEAD`](crate::store::backlog::ENTRY_OVERHEAD); from
/// half of it on they are moved to the disk, from three quarters on clients have to wait.
pub(crate) const MEMORY: u64 = 8 * 1024 * 1024;

/// The most memory of QoS 0 messages that wait, in bytes: nothing but the link makes room for them, and others need it, too.
pub(crate) const MAX_QOS_0_BYTES: u64 = MEMORY / 4;

/// The most memory of messages in flight, in bytes, unless one alone is larger: four seconds of what IoT Core takes.
pub(crate) const MAX_IN_FLIGHT_BYTES: u64 = 2 * 1024 * 1024;

/// What a message counts at least, in bytes: what a row has beside topic and payload, so that the file stays below twice
/// `max_size` however small they are.
const LEAST: u64 = 48;

fn room_of(bytes: u64, messages: u64) -> u64 {
    bytes.max(messages.saturating_mul(LEAST))
}

/// While the month's budget holds back what isn't urgent, that may have seven eighths of the room: the rest is for what is urgent.
pub(super) fn without_reserve(room: u64) -> u64 {
    room - room / 8
}

/// `[outbox]`, without its path.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// Bytes of topics and payloads.
    pub(crate) max_size: u64,
    pub(crate) max_age: Duration,
    pub(crate) when_full: WhenFull,
    pub(crate) spill_after: Duration,
}

impl Bounds {
    pub(crate) fn new(config: &config::Outbox) -> Bounds {
        let config::Outbox { max_size, max_age, when_full, spill_after, .. } = *config;
        Bounds { max_size, max_age, when_full, spill_after }
    }

    /// Whether so many messages with so many bytes are more than there may be.
    pub(crate) fn is_over(&self, bytes: u64, messages: u64) -> bool {
        room_of(bytes, messages) > self.max_size
    }

    /// Likewise, where a part is kept for others.
    pub(super) fn is_in_reserve(&self, bytes: u64, messages: u64) -> bool {
        room_of(bytes, messages) > without_reserve(self.max_size)
    }

    /// Likewise, for what a part is kept for: what the others took of that before it was kept doesn't count.
    pub(super) fn is_reserve_over(&self, urgent: (u64, u64), others: (u64, u64)) -> bool {
        let others = room_of(others.0, others.1).min(without_reserve(self.max_size));
        room_of(urgent.0, urgent.1).saturating_add(others) > self.max_size
    }

    /// Whether some of so much has to be dropped. `reject-new` drops nothing for what found room only in the part kept for it.
    pub(super) fn has_to_drop(&self, urgent: (u64, u64), all: (u64, u64)) -> bool {
        let beside = match self.when_full {
            WhenFull::RejectNew => room_of(urgent.0, urgent.1).min(self.max_size / 8),
            WhenFull::DropOldest => 0,
        };
        room_of(all.0, all.1).saturating_sub(beside) > self.max_size
    }
}
