//! The `id`s of messages: that they grow, whatever the clock does, from one start of the daemon to the next, too.

use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;

use super::Inbox;
use crate::store::{QueueId, Retry, Store, Write};
use crate::time;

/// The note with the highest id that may have been given out.
const NOTE: &str = "ids";

/// A disk that takes longer than this isn't waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Gives out the ids.
///
/// An id is the time of arrival in milliseconds since 2020, times 1024, plus a part that is random for each start of the
/// daemon; or one more than the id before it, if that is greater. They stay below 2^53. Those of two days ahead
/// are reserved by a note on the disk, and the next start goes on behind what is reserved if its clock is behind that: so they
/// grow across restarts and are unique, for one small write at a start and each day. A process that can't read the note
/// when it starts adds 2^52. Without any database two messages have the same id only if they come in the same millisecond of a
/// time that the clock shows twice and the random parts (1 in 1024) agree.
#[derive(Debug)]
pub(super) struct Ids {
    last: u64,
    /// The last one given out by this process; 0: none was.
    given: u64,
    random: u64,
    /// What is added to the time: 0, or [`QueueId::UNREAD`].
    base: u64,
    /// None above this was given out, or will be if the disk works.
    reserved: u64,
}

impl Ids {
    const EPOCH: i64 = 1_577_836_800_000;
    const RANDOM_BITS: u32 = 10;
    /// Of the time: leaves room for 2^30 more, should the clock be far in the future.
    const MAX: u64 = QueueId::UNREAD - (1 << 30);
    /// Of ids that don't go by the clock any more.
    const RESERVE_AT_LAST: u64 = 1 << 24;
    /// Two days.
    const RESERVE: u64 = (48 * 3600 * 1000) << Ids::RANDOM_BITS;

    /// Ids greater than `last`; if the database hasn't been read, than all that processes that had read it gave out.
    pub(super) fn new(last: u64, is_read: bool, random: u64) -> Ids {
        let base = if is_read { 0 } else { QueueId::UNREAD };
        Ids { last, given: 0, random: random % (1 << Ids::RANDOM_BITS), base, reserved: 0 }
    }

    /// Ids after this are greater than `last`.
    pub(super) fn skip(&mut self, last: u64) {
        self.last = self.last.max(last);
    }

    pub(super) fn next(&mut self, received_at: Timestamp) -> u64 {
        self.last = self.by_clock(received_at).max(self.last + 1);
        self.given = self.last;
        self.given
    }

    fn by_clock(&self, now: Timestamp) -> u64 {
        let elapsed = u64::try_from(now.as_millisecond() - Ids::EPOCH).unwrap_or(0);
        self.base + ((elapsed << Ids::RANDOM_BITS) | self.random).min(Ids::MAX)
    }

    /// An earlier process has reserved ids up to this one. Of those that the clock hasn't come to, it may have given out any.
    fn recall(&mut self, reserved: u64) {
        self.reserved = reserved.min((1 << 53) - 1);
        self.skip(self.reserved);
    }

    /// Whether more is to be reserved now, and up to which. A start that gives out none doesn't use up what the one before has
    /// reserved.
    fn wants(&self, now: Timestamp) -> Option<u64> {
        let newest = self.given.max(self.by_clock(now));
        let goes_by_clock = newest + Ids::RESERVE <= self.base + Ids::MAX;
        let reserve = if goes_by_clock { Ids::RESERVE } else { Ids::RESERVE_AT_LAST };
        (newest + reserve / 2 > self.reserved).then_some(newest + reserve)
    }
}

impl Inbox {
    pub(super) fn next_id(&self, received_at: Timestamp) -> u64 {
        let mut ids = self.ids.borrow_mut();
        let id = ids.next(received_at);
        if ids.wants(received_at).is_some() {
            self.ids_news.notify_waiters();
        }
        id
    }

    /// Keeps ids from going back at the next start, for ever.
    pub(crate) async fn keep_ids(self: Rc<Self>, store: Rc<Store>) {
        let _ = tokio::time::timeout(PATIENCE, self.recall_ids(&store)).await;
        self.recalled.set(true);
        self.ids_news.notify_waiters();
        // A database that can be opened only later holds a note, too.
        let is_open = store.contents().wait_for(|contents| contents.generation > 0).await.is_ok();
        if !is_open {
            // The store's thread has ended, and the daemon does.
            return std::future::pending().await;
        }
        self.recall_ids(&store).await;
        let mut retry = Retry::default();
        loop {
            let news = self.ids_news.notified();
            let wanted = self.ids.borrow().wants(time::wall());
            let Some(wanted) = wanted else {
                news.await;
                continue;
            };
            let outcome = store.write(Write::of_notes(vec![(NOTE.into(), wanted.to_string())])).await;
            retry.note(outcome.is_err());
            match outcome {
                Ok(()) => self.ids.borrow_mut().reserved = wanted,
                Err(_) => retry.over().await,
            }
        }
    }

    async fn recall_ids(&self, store: &Store) {
        let reserved = store.note(NOTE).await.ok().flatten().and_then(|note| note.parse().ok());
        if let Some(reserved) = reserved {
            self.ids.borrow_mut().recall(reserved);
        }
    }

    /// Completes when the ids are known that an earlier process may have given out.
    pub(crate) async fn ids_recalled(&self) {
        while !self.recalled.get() {
            self.ids_news.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    #[test]
    fn ids_grow_whatever_the_clock_does_and_stay_below_2_to_the_53() {
        let mut ids = Ids::new(0, true, 0x1_0007);
        let mut last = 0;
        for time in [
            "1970-01-01T00:00:00Z",
            "2026-01-31T12:00:00.123Z",
            "2026-01-31T12:00:00.123Z",
            "2025-01-01T00:00:00Z",
            "2026-01-31T12:00:00.124Z",
            "9999-12-30T00:00:00Z",
            "9999-12-30T00:00:00Z",
        ] {
            let id = ids.next(at(time));
            assert!(id > last && id < 1 << 53, "{time}: {id} after {last}");
            last = id;
        }
    }

    #[test]
    fn ids_of_the_next_start_are_greater_whatever_the_clock_does() {
        let (mut last, mut reserved) = (0, 0);
        for (start, gives, is_read) in [
            ("2026-01-31T12:00:00Z", true, true),
            ("2026-01-31T17:00:00Z", true, true),
            ("2026-01-31T16:00:00Z", false, true),
            ("2026-01-31T16:00:00Z", true, true),
            ("1970-01-01T00:00:00Z", true, true),
            ("9999-12-30T00:00:00Z", true, true),
            ("2026-01-31T12:00:00Z", true, true),
            ("2025-01-31T12:00:00Z", true, false),
            ("2026-01-31T12:00:00Z", true, true),
        ] {
            let mut ids = Ids::new(0, is_read, last);
            if is_read {
                ids.recall(reserved);
            }
            let before = reserved;
            let mut writes = 0;
            for minute in 0..12 * 60 {
                let now = at(start) + SignedDuration::from_mins(minute);
                if let Some(wanted) = ids.wants(now) {
                    (ids.reserved, reserved) = (wanted, wanted);
                    writes += 1;
                }
                if gives {
                    let id = ids.next(now);
                    assert!(id > last && id < 1 << 53, "{start}: {id} after {last}");
                    last = id;
                }
            }
            assert!(writes <= 3 && (gives || reserved == before), "{start}: {writes}");
        }
    }
}
