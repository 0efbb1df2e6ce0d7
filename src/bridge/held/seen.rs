//! What a topic said last, for `on_change`. Pure.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};

use crate::message::Topic;

/// So many topics are remembered. Beyond, the one that was new longest ago is forgotten: what it says next counts as new.
const MAX_TOPICS: usize = 10_000;

/// A digest of the last payload of each topic.
#[derive(Debug, Default)]
pub(super) struct Seen {
    digests: HashMap<Topic, u64>,
    order: VecDeque<Topic>,
    hasher: RandomState,
}

impl Seen {
    /// Whether the topic said something else last, or nothing that is remembered. From now on it has said this.
    pub(super) fn is_new(&mut self, topic: &Topic, payload: &[u8]) -> bool {
        let digest = self.hasher.hash_one(payload);
        match self.digests.insert(topic.clone(), digest) {
            Some(before) => before != digest,
            None => {
                self.order.push_back(topic.clone());
                if self.order.len() > MAX_TOPICS
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.digests.remove(&oldest);
                }
                true
            }
        }
    }

    /// Whatever the topic says next counts as new.
    pub(super) fn forget(&mut self, topic: &Topic) {
        if self.digests.remove(topic).is_some() {
            self.order.retain(|other| other != topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_again_is_not_new_and_memory_is_bounded() {
        let mut seen = Seen::default();
        let topic = |n: usize| Topic::new(&format!("t/{n}")).unwrap();
        assert!(seen.is_new(&topic(0), b"1") && !seen.is_new(&topic(0), b"1") && seen.is_new(&topic(0), b"2"));
        seen.forget(&topic(0));
        seen.forget(&topic(1));
        assert!(seen.order.is_empty() && seen.is_new(&topic(0), b"2"));
        (1..=MAX_TOPICS).for_each(|n| assert!(seen.is_new(&topic(n), b"1")));
        assert!(!seen.is_new(&topic(MAX_TOPICS), b"1") && seen.is_new(&topic(0), b"2"));
        assert_eq!((seen.digests.len(), seen.order.len()), (MAX_TOPICS, MAX_TOPICS));
    }
}
