//! Which topics are sent as numbers (MQTT 5, 3.3.2.3.4). Pure.

use std::collections::VecDeque;

use crate::message::Topic;

/// The most that are used, however many the server takes: each costs memory on both sides.
const MAX: u16 = 32;

/// So many topics that got none are remembered: only one that comes again takes the alias of another.
const SEEN: usize = 32;

/// A packet with a topic and its alias is longer by so many bytes than one without alias; one with the alias alone is shorter than it
/// by the topic.
pub(crate) const ALIAS_BYTES: usize = 3;

/// How a topic is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// As it is.
    Plain,
    /// As it is, and from now on this number stands for it.
    Named(u16),
    /// As this number alone.
    Alias(u16),
}

/// Those of one connection: they end with it (`MQTT-3.3.2-7`).
#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// Greater than 0, and at most what the server takes (`MQTT-3.3.2-8`, `MQTT-3.3.2-9`); 0: none.
    most: u16,
    /// Each with its number, the one that was used last at the end.
    named: Vec<(Topic, u16)>,
    /// Topics without, the latest at the end.
    seen: VecDeque<Topic>,
}

impl Aliases {
    /// A connection begins to a server that takes so many.
    pub(super) fn begin(&mut self, most: u16) {
        *self = Aliases { most: most.min(MAX), ..Aliases::default() };
    }

    pub(super) fn are_used(&self) -> bool {
        self.most > 0
    }

    /// How a message to `topic` is sent, which is sent now.
    pub(super) fn send(&mut self, topic: &Topic) -> Sent {
        if self.most == 0 {
            return Sent::Plain;
        }
        if let Some(index) = self.named.iter().position(|(named, _)| named == topic) {
            let used = self.named.remove(index);
            let alias = used.1;
            self.named.push(used);
            return Sent::Alias(alias);
        }
        let alias = match u16::try_from(self.named.len()) {
            Ok(len) if len < self.most => len + 1,
            _ => match self.seen.iter().position(|seen| seen == topic) {
                Some(index) => {
                    self.seen.remove(index);
                    self.named.remove(0).1
                }
                None => {
                    if self.seen.len() == SEEN {
                        self.seen.pop_front();
                    }
                    self.seen.push_back(topic.clone());
                    return Sent::Plain;
                }
            },
        };
        self.named.push((topic.clone(), alias));
        Sent::Named(alias)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn topic(n: usize) -> Topic {
        Topic::new(&format!("gateways/gw/{n}")).unwrap()
    }

    #[test]
    fn a_topic_that_comes_again_is_a_number_and_one_that_doesnt_takes_none_away() {
        let mut aliases = Aliases::default();
        assert_eq!(aliases.send(&topic(0)), Sent::Plain, "the server takes none");
        aliases.begin(2);
        assert_eq!([0, 1, 0].map(|n| aliases.send(&topic(n))), [Sent::Named(1), Sent::Named(2), Sent::Alias(1)]);
        for n in 10..60 {
            assert_eq!(aliases.send(&topic(n)), Sent::Plain);
        }
        assert_eq!(aliases.send(&topic(1)), Sent::Alias(2));
        // The one that was used longest ago gives way.
        assert_eq!(aliases.send(&topic(59)), Sent::Named(1));
        assert_eq!([1, 59, 0].map(|n| aliases.send(&topic(n))), [Sent::Alias(2), Sent::Alias(1), Sent::Plain]);
        aliases.begin(2);
        assert_eq!(aliases.send(&topic(1)), Sent::Named(1), "another connection knows nothing of it");
    }

    proptest! {
        #[test]
        fn the_server_finds_the_topic_of_each_message(most in 0..40u16, sent in prop::collection::vec(0..50usize, 0..400), again in 0..400usize) {
            let (mut aliases, mut known) = (Aliases::default(), HashMap::new());
            aliases.begin(most);
            for (index, n) in sent.into_iter().enumerate() {
                if index == again {
                    aliases.begin(most);
                    known.clear();
                }
                let found = match aliases.send(&topic(n)) {
                    Sent::Plain => topic(n),
                    Sent::Named(alias) => {
                        prop_assert!((1..=most).contains(&alias));
                        known.insert(alias, topic(n));
                        topic(n)
                    }
                    Sent::Alias(alias) => known[&alias].clone(),
                };
                prop_assert_eq!(found, topic(n));
            }
        }
    }
}
