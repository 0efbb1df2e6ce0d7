//! What the server has taken and what it has refused, and which messages that tells about. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::message::{Condition, Qos, Topic, TopicPattern, Traits};

/// So many different topics that were refused, and nothing like them taken, make a group.
const GROUP: usize = 3;

/// So many topics that were found guilty one by one, and that nothing separates from what is taken, are no longer tried each; more
/// where they have nothing in common.
const ONE_BY_ONE: usize = 6;
const UNLIKE: usize = 10;

/// The most that is remembered of what was taken, and of what was refused.
const MAX_TAKEN: usize = 1024;
const MAX_REFUSED: usize = 64;

/// The most topics that a group excepts.
const MAX_EXCEPT: usize = 256;

/// The size, as far as it is told apart: up to 1 KiB, and then each doubling. That a message was taken says that no larger one of
/// its class is refused for its size.
pub(super) fn size_class(bytes: usize) -> u32 {
    bytes.max(1).ilog2().saturating_sub(9)
}

/// What is told apart.
pub(super) type Kind = (Topic, bool, Qos);

pub(super) fn kind(traits: &Traits) -> Kind {
    (traits.topic.clone(), traits.retain, traits.qos)
}

#[derive(Debug)]
struct Taken {
    size: usize,
    at: Instant,
    /// It was acknowledged; else nothing more is known than that the connection wasn't closed for it.
    is_certain: bool,
}

/// A message that was refused, while the server took others.
#[derive(Debug, Clone)]
struct RefusedMessage {
    traits: Traits,
    /// The first time.
    at: Instant,
    times: u32,
    /// What it was found to belong to.
    found: Option<TopicPattern>,
}

impl RefusedMessage {
    /// Whether it may count for a group of this form: what another group is for says nothing of a wider one.
    fn counts_for(&self, pattern: &TopicPattern) -> bool {
        pattern.matches(&self.traits.topic)
            && self.found.as_ref().is_none_or(|found| !found.varies() || found.varying() == pattern.varying())
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    taken: BTreeMap<Kind, Taken>,
    refused: Vec<RefusedMessage>,
}

impl Evidence {
    /// The server has taken a message, or `is_certain` is false and it hasn't closed the connection for it.
    pub(super) fn took(&mut self, traits: &Traits, is_certain: bool, now: Instant) {
        let size = traits.size;
        let taken = self.taken.entry(kind(traits)).or_insert(Taken { size, at: now, is_certain });
        taken.size = taken.size.max(size);
        taken.is_certain |= is_certain;
        taken.at = now;
        let class = size_class(size);
        self.refused.retain(|refused| {
            kind(&refused.traits) != kind(traits) || refused.found.is_some() || size_class(refused.traits.size) > class
        });
        if self.taken.len() > MAX_TAKEN {
            let mut times: Vec<Instant> = self.taken.values().map(|taken| taken.at).collect();
            let middle = *times.select_nth_unstable(MAX_TAKEN / 2).1;
            self.taken.retain(|_, taken| taken.at > middle);
        }
    }

    /// Whether it has taken messages like this one.
    pub(super) fn takes(&self, traits: &Traits) -> bool {
        let is_enough = |taken: &Taken| size_class(taken.size) >= size_class(traits.size);
        self.taken.get(&kind(traits)).is_some_and(is_enough)
    }

    /// The server has refused a message, and has taken another on the same connection.
    pub(super) fn refused(&mut self, traits: &Traits, now: Instant) {
        let is_same = |refused: &&mut RefusedMessage| {
            refused.found.is_none()
                && kind(&refused.traits) == kind(traits)
                && size_class(refused.traits.size) == size_class(traits.size)
        };
        if let Some(known) = self.refused.iter_mut().find(is_same) {
            known.times += 1;
            known.traits.size = known.traits.size.min(traits.size);
            return;
        }
        if self.refused.len() >= MAX_REFUSED {
            self.refused.remove(0);
        }
        self.refused.push(RefusedMessage { traits: traits.clone(), at: now, times: 1, found: None });
    }

    /// How many topics are refused of which it isn't known yet why.
    pub(super) fn open(&self) -> usize {
        self.refused.iter().filter(|refused| refused.found.is_none()).count()
    }

    /// The row of refusals was broken by something else.
    pub(super) fn forget_open(&mut self) {
        self.refused.retain(|refused| refused.found.is_some());
    }

    /// What this was for may be over.
    pub(super) fn forget(&mut self, condition: &Condition) {
        self.refused.retain(|refused| !condition.matches(&refused.traits));
    }

    /// It is found what they are refused for.
    pub(super) fn found(&mut self, condition: &Condition) {
        for refused in self.refused.iter_mut().filter(|refused| condition.matches(&refused.traits)) {
            refused.found = Some(condition.topics.clone());
        }
    }

    /// The narrowest group that this message, which was refused, belongs to with others: [`GROUP`] topics at least, refused
    /// `enough` times, and nothing like them taken since.
    pub(super) fn group(&self, traits: &Traits, enough: u32) -> Option<Condition> {
        self.candidates(traits).into_iter().find_map(|pattern| {
            let members: Vec<&RefusedMessage> =
                self.refused.iter().filter(|refused| refused.counts_for(&pattern)).collect();
            let times: u32 = members.iter().map(|refused| refused.times).sum();
            // Without anything in common they are no group.
            let is_group = pattern.narrowness() > 0 && topics(&members) >= GROUP;
            (is_group && times >= enough).then(|| self.separated(&pattern, &members))?
        })
    }

    /// What is refused with this message where nothing separates it from what is taken: [`ONE_BY_ONE`] of them were found
    /// guilty. All that is like them, but for the topics that are taken.
    pub(super) fn remainder(&self, traits: &Traits) -> Option<Condition> {
        self.candidates(traits).into_iter().find_map(|pattern| {
            let one_by_one = |refused: &&RefusedMessage| {
                pattern.matches(&refused.traits.topic) && refused.found.as_ref().is_some_and(|found| !found.varies())
            };
            let members: Vec<&RefusedMessage> = self.refused.iter().filter(one_by_one).collect();
            let enough = if pattern.narrowness() > 0 { ONE_BY_ONE } else { UNLIKE };
            (topics(&members) >= enough).then(|| {
                let mut condition = Condition::topics(pattern.clone());
                condition.retained_only = members.iter().all(|refused| refused.traits.retain);
                condition.except = self.taken_of(&pattern);
                condition
            })
        })
    }

    /// What to refuse for one message: all to its topic, as far as such haven't been taken since.
    pub(super) fn single(&self, traits: &Traits) -> Condition {
        let pattern = TopicPattern::exactly(&traits.topic);
        let is_same = |refused: &&RefusedMessage| refused.found.is_none() && kind(&refused.traits) == kind(traits);
        let members: Vec<&RefusedMessage> = self.refused.iter().filter(is_same).collect();
        self.separated(&pattern, &members).unwrap_or_else(|| Condition {
            retained_only: traits.retain,
            qos: Some(traits.qos),
            min_size: Some(traits.size),
            ..Condition::topics(pattern)
        })
    }

    /// Patterns that this message shares with others that were refused, the narrowest first.
    fn candidates(&self, traits: &Traits) -> Vec<TopicPattern> {
        let mut patterns: Vec<TopicPattern> = Vec::new();
        for refused in &self.refused {
            let pattern = TopicPattern::between(&traits.topic, &refused.traits.topic);
            if pattern.varies() && !patterns.contains(&pattern) {
                patterns.push(pattern);
            }
        }
        patterns.sort_by_key(|pattern| std::cmp::Reverse(pattern.narrowness()));
        patterns
    }

    /// The condition with as little beside `pattern` as it takes to leave out all that was ever taken. If nothing does, it leaves out
    /// what was taken since the first of the `members` was refused, and excepts the topics that were taken before; but if the
    /// members were taken before, too, the server has changed its mind, and may have for the other topics.
    fn separated(&self, pattern: &TopicPattern, members: &[&RefusedMessage]) -> Option<Condition> {
        let since = members.iter().map(|refused| refused.at).min()?;
        let first = members.first()?;
        let base = Condition {
            retained_only: members.iter().all(|refused| refused.traits.retain),
            ..Condition::topics(pattern.clone())
        };
        let is_one_qos = members.iter().all(|refused| refused.traits.qos == first.traits.qos);
        let qos = is_one_qos.then_some(first.traits.qos);
        let min_size = members.iter().map(|refused| refused.traits.size).min();
        let narrower = [(None, None), (qos, None), (None, min_size), (qos, min_size)];
        let narrower = narrower.map(|(qos, min_size)| Condition { qos, min_size, ..base.clone() });
        let leaves_out = |condition: &&Condition, since: Option<Instant>| {
            let taken =
                self.taken.iter().filter(|(_, taken)| taken.is_certain && since.is_none_or(|at| taken.at >= at));
            !taken.into_iter().any(|(kind, taken)| is_met(condition, kind, taken.size))
        };
        if let Some(condition) = narrower.iter().find(|condition| leaves_out(condition, None)) {
            return Some(condition.clone());
        }
        let mut condition = narrower.iter().find(|condition| leaves_out(condition, Some(since)))?.clone();
        let has_changed = members.iter().any(|refused| self.takes(&refused.traits));
        if pattern.varies() && !has_changed {
            condition.except = self.taken_of(pattern);
        }
        Some(condition)
    }

    /// Topics that meet a pattern and are known to be taken, the last if there are too many.
    fn taken_of(&self, pattern: &TopicPattern) -> Vec<Topic> {
        let taken = self.taken.iter().filter(|((topic, ..), taken)| taken.is_certain && pattern.matches(topic));
        let mut taken: Vec<(Instant, &Topic)> = taken.map(|((topic, ..), taken)| (taken.at, topic)).collect();
        taken.sort_by(|one, other| other.cmp(one));
        let mut topics: Vec<Topic> = taken.into_iter().map(|(_, topic)| topic.clone()).take(MAX_EXCEPT).collect();
        topics.sort();
        topics.dedup();
        topics
    }

    /// How often in a row such messages were refused.
    pub(super) fn times(&self, traits: &Traits) -> u32 {
        let is_same = |refused: &&RefusedMessage| refused.found.is_none() && kind(&refused.traits) == kind(traits);
        self.refused.iter().filter(is_same).map(|refused| refused.times).sum()
    }

    /// What was refused so long ago says nothing any more.
    pub(super) fn expire(&mut self, now: Instant, after: Duration) {
        self.refused.retain(|refused| now < refused.at + after);
    }
}

/// Whether a message of this kind and about this size meets a condition: sizes of one class aren't told apart.
fn is_met(condition: &Condition, (topic, retain, qos): &Kind, size: usize) -> bool {
    let is_as_large = condition.min_size.is_some_and(|min| size_class(size) >= size_class(min));
    let size = if is_as_large { usize::MAX } else { size };
    condition.matches(&Traits { topic: topic.clone(), retain: *retain, qos: *qos, size })
}

fn topics(members: &[&RefusedMessage]) -> usize {
    let mut topics: Vec<&Topic> = members.iter().map(|refused| &refused.traits.topic).collect();
    topics.sort();
    topics.dedup();
    topics.len()
}
