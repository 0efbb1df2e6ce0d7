//! Which messages readers were given, so that an acknowledgement of any other is told from a late one.

use std::collections::VecDeque;

/// The bound on the ids that are remembered. Of those before them nobody can tell any more.
const MAX_REMEMBERED: usize = 1024;

/// The ids that readers were given since the start. Pure.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// In their order.
    ids: VecDeque<u64>,
    /// The lowest and the highest that are no longer remembered.
    forgotten: Option<(u64, u64)>,
}

impl Given {
    pub(super) fn note(&mut self, id: u64) {
        if let Err(place) = self.ids.binary_search(&id) {
            self.ids.insert(place, id);
        }
        if self.ids.len() > MAX_REMEMBERED
            && let Some(oldest) = self.ids.pop_front()
        {
            let (lowest, highest) = self.forgotten.unwrap_or((oldest, oldest));
            self.forgotten = Some((lowest.min(oldest), highest.max(oldest)));
        }
    }

    /// Whether a reader was given the message, as far as is known.
    pub(super) fn may_have(&self, id: u64) -> bool {
        let was_forgotten = self.forgotten.is_some_and(|(lowest, highest)| (lowest..=highest).contains(&id));
        was_forgotten || self.ids.binary_search(&id).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_was_never_given_is_told_from_those_that_were_and_memory_is_bounded() {
        let mut given = Given::default();
        assert!(!given.may_have(5));
        for n in 0..10_000 {
            given.note(1_000_000 + n * 10);
            given.note(1_000_000 + n * 10);
            assert!(given.may_have(1_000_000 + n * 10));
        }
        assert!(given.ids.len() <= MAX_REMEMBERED);
        assert!((0..10_000).all(|n| given.may_have(1_000_000 + n * 10)), "an old one that is acknowledged late");
        let newest = 1_000_000 + 9_999 * 10;
        for never in [0, 5, 999_999, newest - 1, newest - 9_999, newest + 1, u64::MAX] {
            assert!(!given.may_have(never), "{never}");
        }
        // One that comes again, having been given long ago.
        given.note(1_000_000);
        assert!(given.may_have(1_000_000) && given.ids.len() <= MAX_REMEMBERED);
    }
}
