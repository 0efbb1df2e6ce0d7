//! A server that takes something after it has refused everything: either it refuses nothing any more, or it never refused all. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::suspect::{Key, Record, Suspect};

/// A close so soon after it means the latter, and is remembered for so long.
const FOR: Duration = Duration::from_secs(3600);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// When the server took something again, and what was suspected until then.
    acquitted: Option<(Instant, BTreeMap<Key, Record>)>,
    /// Until then it is one that takes some messages, though it may seem to refuse everything.
    selective_until: Option<Instant>,
}

impl Recovery {
    /// The server takes messages again: what was suspected is no worse than the rest, unless it closes once more.
    pub(super) fn recovered(&mut self, suspected: BTreeMap<Key, Record>, now: Instant) {
        self.acquitted = Some((now, suspected));
    }

    /// The server closes. Returns what is to be suspected as before, if it has recovered lately.
    pub(super) fn closed(&mut self, now: Instant) -> BTreeMap<Key, Record> {
        self.forget(now);
        let Some((_, suspected)) = self.acquitted.take() else { return BTreeMap::new() };
        self.selective_until = Some(now + FOR);
        suspected
    }

    /// Whether it is known that the server takes some messages: what is suspected stays so when it takes something.
    pub(super) fn is_selective(&self, now: Instant) -> bool {
        self.selective_until.is_some_and(|until| now < until)
    }

    /// Who `is_cleared`, or is found guilty, won't be suspected again.
    pub(super) fn clear(&mut self, is_cleared: impl Fn(&Suspect) -> bool) {
        if let Some((_, suspected)) = &mut self.acquitted {
            suspected.retain(|_, record| !is_cleared(&record.suspect));
        }
    }

    /// A close alone was perhaps for another reason.
    pub(super) fn end_rows(&mut self) {
        let suspected = self.acquitted.iter_mut().flat_map(|(_, suspected)| suspected.values_mut());
        suspected.for_each(|record| record.alone = 0);
    }

    pub(super) fn forget(&mut self, now: Instant) {
        self.acquitted.take_if(|(at, _)| *at + FOR <= now);
    }
}
