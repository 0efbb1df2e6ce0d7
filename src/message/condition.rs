//! Which messages a server refuses: topics of one form, those with RETAIN, those of a size. Pure.

use std::fmt;

use super::{Outbound, Qos, Topic};
use crate::count::count;

/// What a server may decide by whether it takes a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Traits {
    pub(crate) topic: Topic,
    pub(crate) retain: bool,
    pub(crate) qos: Qos,
    /// Bytes of topic, payload and properties.
    pub(crate) size: usize,
}

impl Outbound {
    pub(crate) fn traits(&self) -> Traits {
        let Outbound { topic, retain, qos, .. } = self;
        Traits { topic: topic.clone(), retain: *retain, qos: *qos, size: self.size() }
    }
}

/// One level of a [`TopicPattern`].
#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Same(Box<str>),
    /// Whatever begins and ends so.
    Varies {
        prefix: Box<str>,
        suffix: Box<str>,
    },
}

impl Level {
    fn matches(&self, level: &str) -> bool {
        match self {
            Level::Same(same) => **same == *level,
            Level::Varies { prefix, suffix } => {
                level.len() >= prefix.len() + suffix.len() && level.starts_with(&**prefix) && level.ends_with(&**suffix)
            }
        }
    }

    /// The narrowest level that two of them match.
    fn between(one: &str, other: &str) -> Level {
        if one == other {
            return Level::Same(one.into());
        }
        let same = |pair: &(char, char)| pair.0 == pair.1;
        let prefix: usize = one.chars().zip(other.chars()).take_while(same).map(|(c, _)| c.len_utf8()).sum();
        let rest = (&one[prefix..], &other[prefix..]);
        let ends = rest.0.chars().rev().zip(rest.1.chars().rev());
        let suffix: usize = ends.take_while(same).map(|(c, _)| c.len_utf8()).sum();
        // An identifier varies as a whole: that two begin or end with the same digits is a coincidence.
        let is_digit = |c: char| c.is_ascii_digit();
        let prefix = one[..prefix].trim_end_matches(is_digit);
        let suffix = one[one.len() - suffix..].trim_start_matches(is_digit);
        Level::Varies { prefix: prefix.into(), suffix: suffix.into() }
    }
}

/// One topic, or all of a form: levels that are the same, that vary, or begin and end in the same way. `ev/*/door` is written as
/// in an IoT policy, where `*` stands for whatever is there; `a/#` is whatever is below `a/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicPattern {
    levels: Vec<Level>,
    /// More levels follow, however many.
    has_rest: bool,
}

impl TopicPattern {
    pub(crate) fn exactly(topic: &Topic) -> TopicPattern {
        let levels = topic.as_str().split('/').map(|level| Level::Same(level.into())).collect();
        TopicPattern { levels, has_rest: false }
    }

    /// The narrowest pattern that both match.
    pub(crate) fn between(one: &Topic, other: &Topic) -> TopicPattern {
        let split = |topic: &Topic| topic.as_str().split('/').map(str::to_owned).collect::<Vec<String>>();
        let (one, other) = (split(one), split(other));
        let pairs = one.iter().zip(&other);
        if one.len() == other.len() {
            let levels = pairs.map(|(one, other)| Level::between(one, other)).collect();
            return TopicPattern { levels, has_rest: false };
        }
        let same = pairs.take_while(|(one, other)| one == other);
        TopicPattern { levels: same.map(|(one, _)| Level::Same(one.as_str().into())).collect(), has_rest: true }
    }

    /// Reads what [`fmt::Display`] has written of one that [varies](TopicPattern::varies).
    pub(crate) fn parse(text: &str) -> TopicPattern {
        let (levels, has_rest) = match text.strip_suffix('#') {
            Some("") => return TopicPattern { levels: Vec::new(), has_rest: true },
            Some(levels) => (levels.trim_end_matches('/'), true),
            None => (text, false),
        };
        let level = |level: &str| match level.split_once('*') {
            None => Level::Same(level.into()),
            Some((prefix, suffix)) => Level::Varies { prefix: prefix.into(), suffix: suffix.into() },
        };
        TopicPattern { levels: levels.split('/').map(level).collect(), has_rest }
    }

    pub(crate) fn matches(&self, topic: &Topic) -> bool {
        let mut levels = topic.as_str().split('/');
        // What begins with `$` isn't meant by a wildcard, as in a filter (`MQTT-4.7.2-1`).
        if topic.as_str().starts_with('$') && !matches!(self.levels.first(), Some(Level::Same(_))) {
            return false;
        }
        self.levels.iter().all(|level| levels.next().is_some_and(|found| level.matches(found)))
            && (levels.next().is_none() || self.has_rest)
    }

    /// Whether more than one topic can match.
    pub(crate) fn varies(&self) -> bool {
        self.has_rest || self.levels.iter().any(|level| matches!(level, Level::Varies { .. }))
    }

    /// The only topic that matches.
    pub(crate) fn topic(&self) -> Option<Topic> {
        (!self.varies()).then(|| Topic::received(&self.to_string()))
    }

    /// Whether all that match `other` match this one, too.
    pub(crate) fn covers(&self, other: &TopicPattern) -> bool {
        let covers = |(one, other): (&Level, &Level)| match (one, other) {
            (Level::Same(one), Level::Same(other)) => one == other,
            (Level::Varies { .. }, Level::Same(other)) => one.matches(other),
            (Level::Same(_), Level::Varies { .. }) => false,
            (Level::Varies { prefix, suffix }, Level::Varies { prefix: longer, suffix: and_longer }) => {
                longer.starts_with(&**prefix) && and_longer.ends_with(&**suffix)
            }
        };
        let depth = self.levels.len();
        let is_as_deep = if self.has_rest { other.levels.len() >= depth } else { other.levels.len() == depth };
        is_as_deep && (self.has_rest || !other.has_rest) && self.levels.iter().zip(&other.levels).all(covers)
    }

    /// Which levels vary.
    pub(crate) fn varying(&self) -> Vec<bool> {
        let varying = self.levels.iter().map(|level| matches!(level, Level::Varies { .. }));
        varying.chain(self.has_rest.then_some(true)).collect()
    }

    /// Bytes that are the same in all that match: the more, the narrower.
    pub(crate) fn narrowness(&self) -> usize {
        let of_level = |level: &Level| match level {
            Level::Same(same) => same.len() + 1,
            Level::Varies { prefix, suffix } => prefix.len() + suffix.len(),
        };
        self.levels.iter().map(of_level).sum()
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, level) in self.levels.iter().enumerate() {
            if index > 0 {
                f.write_str("/")?;
            }
            match level {
                Level::Same(same) => f.write_str(same)?,
                Level::Varies { prefix, suffix } => write!(f, "{prefix}*{suffix}")?,
            }
        }
        match (self.has_rest, self.levels.is_empty()) {
            (true, true) => f.write_str("#"),
            (true, false) => f.write_str("/#"),
            (false, _) => Ok(()),
        }
    }
}

/// Messages that are refused: those that meet all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) topics: TopicPattern,
    /// Only what is sent with RETAIN.
    pub(crate) retained_only: bool,
    /// Only what is sent with this QoS.
    pub(crate) qos: Option<Qos>,
    /// Only what has at least so many bytes.
    pub(crate) min_size: Option<usize>,
    /// Topics that are known to be taken.
    pub(crate) except: Vec<Topic>,
}

impl Condition {
    /// All messages of these topics.
    pub(crate) fn topics(topics: TopicPattern) -> Condition {
        Condition { topics, retained_only: false, qos: None, min_size: None, except: Vec::new() }
    }

    pub(crate) fn matches(&self, message: &Traits) -> bool {
        (message.retain || !self.retained_only)
            && self.qos.is_none_or(|qos| qos == message.qos)
            && self.min_size.is_none_or(|min| message.size >= min)
            && self.topics.matches(&message.topic)
            && !self.except.contains(&message.topic)
    }

    /// Whether it is about more than one topic.
    pub(crate) fn is_group(&self) -> bool {
        self.topics.varies()
    }

    /// What a policy must allow for them.
    pub(crate) fn needs(&self) -> String {
        let also = if self.retained_only { " and iot:RetainPublish" } else { "" };
        format!("iot:Publish{also} on topic/{}", self.topics)
    }
}

impl fmt::Display for Condition {
    /// Follows "messages to".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.topics)?;
        if self.retained_only {
            f.write_str(" with RETAIN")?;
        }
        if let Some(qos) = self.qos {
            write!(f, " with QoS {}", qos.level())?;
        }
        if let Some(min) = self.min_size {
            write!(f, " of {} or more", count(min, "byte"))?;
        }
        if !self.except.is_empty() {
            write!(f, " except {} that it has accepted before", count(self.except.len(), "topic"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> Topic {
        Topic::new(name).unwrap()
    }

    fn between(one: &str, other: &str) -> String {
        TopicPattern::between(&topic(one), &topic(other)).to_string()
    }

    #[test]
    fn the_narrowest_pattern_keeps_what_two_topics_share() {
        for (one, other, pattern) in [
            ("ev/17/door", "ev/18/door", "ev/*/door"),
            ("17/door", "238/door", "*/door"),
            ("ev/bad-17", "ev/bad-233", "ev/bad-*"),
            ("ev/a17b", "ev/a33b", "ev/a*b"),
            ("ev/door/17", "ev/window/3", "ev/*/*"),
            ("ev/1", "ev/1/deep", "ev/1/#"),
            ("a", "b/c", "#"),
            ("a/é1", "a/è1", "a/*"),
            ("a", "a", "a"),
        ] {
            assert_eq!(between(one, other), pattern);
            let found = TopicPattern::between(&topic(one), &topic(other));
            assert!(found.matches(&topic(one)) && found.matches(&topic(other)), "{pattern}");
            assert_eq!(found.varies(), one != other);
            assert_eq!(TopicPattern::parse(pattern), found);
        }
    }

    #[test]
    fn a_pattern_matches_what_has_its_form_and_nothing_else() {
        let pattern = TopicPattern::parse("ev/bad-*x/door");
        for (name, does) in [
            ("ev/bad-1x/door", true),
            ("ev/bad-x/door", true),
            ("ev/bad-/door", false),
            ("ev/good-1x/door", false),
            ("ev/bad-1x/door/more", false),
            ("ev/bad-1x", false),
        ] {
            assert_eq!(pattern.matches(&topic(name)), does, "{name}");
        }
        assert!(TopicPattern::parse("ev/#").matches(&topic("ev/1/2")));
        assert!(!TopicPattern::parse("*/1").matches(&topic("$aws/1")));
        assert!(!TopicPattern::parse("#").matches(&topic("$aws/1")));
    }

    #[test]
    fn a_condition_is_met_by_what_meets_all_of_it() {
        let plain = Traits { topic: topic("t/1"), retain: false, qos: Qos::AtLeastOnce, size: 100 };
        let all = Condition::topics(TopicPattern::parse("t/*"));
        assert!(all.matches(&plain));
        assert!(!Condition { retained_only: true, ..all.clone() }.matches(&plain));
        assert!(!Condition { qos: Some(Qos::AtMostOnce), ..all.clone() }.matches(&plain));
        assert!(!Condition { min_size: Some(101), ..all.clone() }.matches(&plain));
        assert!(!Condition { except: vec![topic("t/1")], ..all.clone() }.matches(&plain));
        let narrow = Condition { retained_only: true, min_size: Some(101), ..all };
        assert_eq!(narrow.to_string(), "`t/*` with RETAIN of 101 bytes or more");
        assert_eq!(narrow.needs(), "iot:Publish and iot:RetainPublish on topic/t/*");
    }
}
