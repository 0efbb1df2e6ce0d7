//! Copies of one message: a server may send one for each subscription that matches (MQTT 5, 3.3.4), and each forward is to get the
//! message once. With subscription identifiers they can be told from messages that are the same.
//!
//! Servers differ: some send one copy with all identifiers, some one for each subscription, some one with the first identifier
//! that they come to. So what counts is how often a content has come for each subscription: it was published as often as it has
//! come for the one for which it came the most. Nothing is lost by that, whichever kind of server it is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::acks::Digest;

/// Of so many contents it is known what has come. More than may be in flight, with a copy for each of several filters.
const MAX_CONTENTS: usize = 512;

/// The copies of one message come together. What comes for one subscription alone for so long was published once more.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// What has come of messages that match more than one subscription.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// What came last is last.
    contents: VecDeque<Content>,
}

#[derive(Debug)]
struct Content {
    digest: Digest,
    last: Instant,
    /// How often it was passed on.
    passed: u32,
    /// For each identifier, how often it came and how often that was passed on.
    came: Vec<(u32, u32, u32)>,
}

impl Copies {
    /// Whether this is a copy of what was passed on already. `identifiers` are those of the subscriptions that it comes for,
    /// at least one; `again` tells that the server sends it once more.
    pub(super) fn is_one(&mut self, digest: Digest, identifiers: &[u32], again: bool, now: Instant) -> bool {
        self.contents.retain(|content| now < content.last + FORGET_AFTER);
        let known = self.contents.iter().position(|content| content.digest == digest);
        let mut content = known.and_then(|index| self.contents.remove(index)).unwrap_or_else(|| Content {
            digest,
            last: now,
            passed: 0,
            came: Vec::new(),
        });
        content.last = now;
        let is_one = content.is_copy(identifiers, again);
        if self.contents.len() >= MAX_CONTENTS {
            self.contents.pop_front();
        }
        self.contents.push_back(content);
        is_one
    }

    /// The server has forgotten its session.
    pub(super) fn clear(&mut self) {
        self.contents.clear();
    }
}

impl Content {
    fn is_copy(&mut self, identifiers: &[u32], again: bool) -> bool {
        let known = self.came.iter().filter(|(identifier, ..)| identifiers.contains(identifier));
        if again && known.clone().next().is_some() {
            // What became of it then becomes of it now.
            return known.clone().all(|(.., passed)| *passed == 0);
        }
        for identifier in identifiers {
            match self.came.iter_mut().find(|(known, ..)| known == identifier) {
                Some((_, came, _)) => *came += 1,
                None => self.came.push((*identifier, 1, 0)),
            }
        }
        let most = self.came.iter().map(|(_, came, _)| *came).max().unwrap_or(0);
        if most <= self.passed {
            return true;
        }
        self.passed = most;
        let those = self.came.iter_mut().filter(|(identifier, ..)| identifiers.contains(identifier));
        those.for_each(|(.., passed)| *passed += 1);
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn passes(copies: &mut Copies, payload: &str, identifiers: &[u32], now: Instant) -> bool {
        !copies.is_one(Digest::of("t", payload.as_bytes()), identifiers, false, now)
    }

    #[test]
    fn each_message_passes_once_whatever_kind_of_server_it_is() {
        let now = Instant::now();
        for copies_of_one in [&[&[1_u32, 2][..]][..], &[&[1], &[2]], &[&[2], &[1]], &[&[2]]] {
            let mut copies = Copies::default();
            for round in 0..5 {
                let passed =
                    copies_of_one.iter().filter(|identifiers| passes(&mut copies, "toggle", identifiers, now)).count();
                assert_eq!(passed, 1, "{copies_of_one:?}, {round}");
            }
        }
        // Two messages before the copies of either.
        let mut copies = Copies::default();
        let passed = [1, 1, 2, 2].map(|identifier| passes(&mut copies, "toggle", &[identifier], now));
        assert_eq!(passed, [true, true, false, false]);
    }

    #[test]
    fn what_is_sent_again_becomes_what_it_was_the_first_time() {
        let (mut copies, now, digest) = (Copies::default(), Instant::now(), Digest::of("t", b"x"));
        assert!(!copies.is_one(digest, &[1], false, now));
        assert!(copies.is_one(digest, &[2], false, now));
        assert!(!copies.is_one(digest, &[1], true, now));
        assert!(copies.is_one(digest, &[2], true, now));
        // The next message.
        assert!(!copies.is_one(digest, &[2], false, now));
        assert!(copies.is_one(digest, &[1], false, now));
    }

    #[test]
    fn what_is_known_is_bounded_and_forgotten() {
        let (mut copies, now) = (Copies::default(), Instant::now());
        for n in 0..MAX_CONTENTS + 10 {
            assert!(passes(&mut copies, &n.to_string(), &[1], now));
        }
        assert_eq!(copies.contents.len(), MAX_CONTENTS);
        assert!(passes(&mut copies, "x", &[2], now + FORGET_AFTER));
        assert_eq!(copies.contents.len(), 1);
    }

    proptest! {
        /// Any messages, each sent once for each of its subscriptions; those of one subscription keep their order.
        #[test]
        fn any_interleaving_passes_each_once(
            payloads in prop::collection::vec(0..3_u8, 1..30),
            choices in prop::collection::vec(0..3_usize, 0..120),
        ) {
            let (mut copies, now) = (Copies::default(), Instant::now());
            let mut queues = [1_u32, 2, 3].map(|identifier| (identifier, payloads.iter()));
            let mut passed: Vec<u8> = Vec::new();
            for index in choices.into_iter().chain([0, 1, 2].repeat(payloads.len())) {
                let (identifier, queue) = &mut queues[index];
                let Some(payload) = queue.next() else { continue };
                if !copies.is_one(Digest::of("t", &[*payload]), &[*identifier], false, now) {
                    passed.push(*payload);
                }
            }
            let mut all = payloads.clone();
            passed.sort_unstable();
            all.sort_unstable();
            prop_assert_eq!(passed, all);
        }
    }
}
