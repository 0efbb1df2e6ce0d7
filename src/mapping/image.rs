//! The topics that a rule can make, as patterns: whether they meet what another rule takes can be told before there are any.
//!
//! A filter of MQTT doesn't suffice: of `zigbee2mqtt/+` with `to = "house-"` come topics such as `house-zigbee2mqtt/lamp`, and
//! with `strip = "zigbee2mqtt/"` as well such as `house-lamp`, a level of which only the beginning is known.

use super::{Mapping, Unfit};
use crate::message::{Topic, TopicFilter};

/// Some topics.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pattern {
    /// At least one.
    levels: Vec<Level>,
    /// More levels may follow, or none.
    is_open: bool,
    /// None of them begins with `$` (`MQTT-4.7.2-1`).
    is_without_dollar: bool,
}

/// What may stand between two slashes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Level {
    /// What it is, or begins with.
    pub(crate) text: String,
    /// Anything may follow `text`, or nothing.
    pub(crate) is_open: bool,
}

impl Level {
    fn literal(text: &str) -> Level {
        Level { text: text.to_owned(), is_open: false }
    }

    fn any() -> Level {
        Level { text: String::new(), is_open: true }
    }

    /// What may stand in both.
    fn common(&self, other: &Level) -> Option<Level> {
        let (longer, shorter) = if self.text.len() >= other.text.len() { (self, other) } else { (other, self) };
        let meet = match shorter.is_open {
            true => longer.text.starts_with(&shorter.text),
            false => longer.text == shorter.text,
        };
        meet.then(|| Level { text: longer.text.clone(), is_open: longer.is_open && shorter.is_open })
    }
}

impl Pattern {
    /// What `filter` matches.
    pub(crate) fn of(filter: &TopicFilter) -> Pattern {
        let is_without_dollar = filter.levels().starts_with(['+', '#']);
        let (levels, is_open) = match filter.levels() {
            "#" => ("+", true),
            levels => levels.strip_suffix("/#").map_or((levels, false), |parent| (parent, true)),
        };
        let level = |level: &str| if level == "+" { Level::any() } else { Level::literal(level) };
        Pattern { levels: levels.split('/').map(level).collect(), is_open, is_without_dollar }
    }

    pub(crate) fn levels(&self) -> &[Level] {
        &self.levels
    }

    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// What is in both.
    pub(crate) fn common(&self, other: &Pattern) -> Option<Pattern> {
        let (longer, shorter) = if self.levels.len() >= other.levels.len() { (self, other) } else { (other, self) };
        let (beside, more) = longer.levels.split_at(shorter.levels.len());
        if !more.is_empty() && !shorter.is_open {
            return None;
        }
        let beside = beside.iter().zip(&shorter.levels).map(|(one, other)| one.common(other));
        let levels: Option<Vec<Level>> = beside.chain(more.iter().map(|level| Some(level.clone()))).collect();
        let common = Pattern {
            levels: levels?,
            is_open: longer.is_open && shorter.is_open,
            is_without_dollar: longer.is_without_dollar || shorter.is_without_dollar,
        };
        (!common.is_without_dollar || !common.begins_with_dollar()).then_some(common)
    }

    /// All of them begin with `$`.
    fn begins_with_dollar(&self) -> bool {
        self.levels.first().is_some_and(|level| level.text.starts_with('$'))
    }

    /// Whether `filter` matches all of them.
    pub(crate) fn is_within(&self, filter: &TopicFilter) -> bool {
        let other = Pattern::of(filter);
        let may_begin_with_dollar = self.begins_with_dollar()
            || self
                .levels
                .first()
                .is_some_and(|level| level.text.is_empty() && level.is_open && !self.is_without_dollar);
        if other.is_without_dollar && may_begin_with_dollar {
            return false;
        }
        let fits = match other.is_open {
            true => self.levels.len() >= other.levels.len(),
            false => self.levels.len() == other.levels.len() && !self.is_open,
        };
        fits && self.levels.iter().zip(&other.levels).all(|(level, wanted)| wanted.is_open || level == wanted)
    }

    /// Short ones among them: if none of these is a topic at some server, none is.
    pub(crate) fn shortest(&self) -> [String; 2] {
        ["", "x"].map(|filled| {
            let level =
                |level: &Level| if level.is_open { format!("{}{filled}", level.text) } else { level.text.clone() };
            self.levels.iter().map(level).collect::<Vec<_>>().join("/")
        })
    }

    /// Whether the other side can have any of them, as far as `check` says so.
    pub(crate) fn is_ever(&self, check: impl Fn(&str) -> Result<Topic, Unfit>) -> bool {
        self.shortest().iter().any(|topic| check(topic).is_ok())
    }

    /// Without `strip`, a literal beginning of all of them but for the parent of a filter's `#`, and with `to` in front.
    fn mapped(&self, strip: &str, to: &str) -> Vec<Pattern> {
        let stripped: Vec<&str> = strip.split('/').collect();
        let (whole, begun) = (stripped.len() - 1, stripped.last().copied().unwrap_or_default());
        let mut made = Vec::new();
        let rest = match self.levels.get(whole) {
            Some(level) => {
                let text = level.text.strip_prefix(begun).unwrap_or(&level.text).to_owned();
                let first = Level { text, is_open: level.is_open };
                Some([&[first], &self.levels[whole + 1..]].concat())
            }
            // `a/#` with `strip = "a/"`: `a`, which stays whole, and all below it.
            None => {
                made.push(Pattern { is_open: false, ..self.clone() }.with_before(to, false));
                self.is_open.then(|| vec![Level::any()])
            }
        };
        made.extend(rest.map(|levels| Pattern { levels, ..self.clone() }.with_before(to, !strip.is_empty())));
        made
    }

    /// With `to` before them, and their beginning cut off before.
    fn with_before(mut self, to: &str, is_cut: bool) -> Pattern {
        if let Some(first) = self.levels.first_mut() {
            let (above, beside) = to.rsplit_once('/').map_or((None, to), |(above, beside)| (Some(above), beside));
            first.text.insert_str(0, beside);
            let above = above.into_iter().flat_map(|above| above.split('/').map(Level::literal));
            self.levels.splice(0..0, above.collect::<Vec<_>>());
        }
        self.is_without_dollar &= to.is_empty() && !is_cut;
        self
    }

    /// As a filter is written, with `+` behind a level's beginning.
    pub(crate) fn shown(&self) -> String {
        let level = |level: &Level| format!("{}{}", level.text, if level.is_open { "+" } else { "" });
        let levels: Vec<String> = self.levels.iter().map(level).collect();
        match (&levels[..], self.is_open) {
            ([only], true) if only == "+" => "#".to_owned(),
            ([above @ .., last], true) if last == "+" => format!("{}/#", above.join("/")),
            (levels, true) => format!("{}/#", levels.join("/")),
            (levels, false) => levels.join("/"),
        }
    }

    /// Whether `topic` is one of them.
    pub(crate) fn matches(&self, topic: &Topic) -> bool {
        let mut names = topic.as_str().split('/');
        let mut is = |level: &Level| match (names.next(), level.is_open) {
            (Some(name), true) => name.starts_with(&level.text),
            (Some(name), false) => name == level.text,
            (None, _) => false,
        };
        let fits = self.levels.iter().all(&mut is) && (self.is_open || names.next().is_none());
        fits && !(self.is_without_dollar && topic.as_str().starts_with('$'))
    }
}

impl Mapping<'_> {
    /// What the rule can make, but for what its `except` leaves out.
    pub(crate) fn images(self) -> Vec<Pattern> {
        self.images_of(&Pattern::of(self.from))
    }

    /// What it makes of those, all of which its `from` matches.
    pub(crate) fn images_of(self, taken: &Pattern) -> Vec<Pattern> {
        taken.mapped(self.strip, self.to)
    }

    /// Which of those it takes; one `except` may leave out them all.
    pub(crate) fn taken_of(self, topics: &Pattern) -> Option<Pattern> {
        let common = topics.common(&Pattern::of(self.from))?;
        (!self.except.iter().any(|except| common.is_within(except))).then_some(common)
    }

    /// What its `except` would have to hold so that it takes none of `images`; `None` if that can't be written, or if nothing would
    /// be left of its `from`.
    pub(crate) fn except_for(self, images: &[Pattern]) -> Option<Vec<TopicFilter>> {
        let whole = Pattern::of(self.from);
        let filter = |image: &Pattern| {
            let filter = TopicFilter::of_mqtt(&image.shown()).ok();
            filter.filter(|filter| image.is_within(filter) && !whole.is_within(filter))
        };
        images.iter().filter(|image| image.common(&whole).is_some()).map(filter).collect()
    }

    /// Whether it takes them all, so that no rule behind it does.
    pub(crate) fn takes_all_of(self, topics: &Pattern) -> bool {
        let is_left_out = |except: &TopicFilter| topics.common(&Pattern::of(except)).is_some();
        topics.is_within(self.from) && !self.except.iter().any(is_left_out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mapping::testing::{any_bridge, any_filter, any_topic, rule, ways};

    fn images(from: &str, strip: &str, to: &str) -> Vec<String> {
        rule(from, strip, to).mapping().images().iter().map(Pattern::shown).collect()
    }

    #[test]
    fn images_are_as_narrow_as_can_be() {
        assert_eq!(images("z/+", "z/", "g/z2m/"), ["g/z2m/+"]);
        assert_eq!(images("z/+", "z/", "g/z2m-"), ["g/z2m-+"]);
        assert_eq!(images("z/#", "z/", "g/"), ["g/z", "g/#"]);
        assert_eq!(images("z/#", "", "g/"), ["g/z/#"]);
        assert_eq!(images("zigbee/+/x", "zig", "g/"), ["g/bee/+/x"]);
        assert_eq!(images("#", "", ""), ["#"]);
        assert_eq!(images("z/a", "z/a", "g"), ["g"]);
        assert_eq!(images("z/#", "z", "g/"), ["g//#"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

        #[test]
        fn what_a_rule_makes_is_in_its_images(bridge in any_bridge(), topic in any_topic()) {
            let ways = ways(&bridge);
            for rules in [&ways.up, &ways.down] {
                let Some(rule) = rules.iter().find(|rule| rule.takes(&topic)) else { continue };
                let (made, images) = (Topic::received(&rule.made(topic.as_str())), rule.images());
                if made.as_str().is_empty() || Topic::of_mqtt(topic.as_str()).is_err() {
                    continue;
                }
                prop_assert!(images.iter().any(|image| image.matches(&made)), "{rule:?} {made} {images:?}");
                // A narrower pattern of it makes the same of the same.
                let narrow = Pattern::of(&TopicFilter::of_mqtt(topic.as_str()).unwrap());
                let taken = rule.taken_of(&narrow).unwrap();
                prop_assert!(rule.images_of(&taken).iter().any(|image| image.matches(&made)), "{rule:?} {made}");
                // Of a rule that has a topic at this server, a short one is none of those that are too long.
                prop_assert!(images.iter().flat_map(Pattern::shortest).any(|short| short.len() <= made.as_str().len()));
            }
        }

        #[test]
        fn what_is_left_out_is_not_taken(bridge in any_bridge()) {
            for up in &bridge.0 {
                let images: Vec<Pattern> = bridge.1.iter().flat_map(|down| down.mapping().images()).collect();
                let Some(except) = up.mapping().except_for(&images) else { continue };
                let mended = Mapping { except: &except, ..up.mapping() };
                prop_assert!(images.iter().all(|image| mended.taken_of(image).is_none()), "{up:?} {except:?}");
                prop_assert!(mended.taken_of(&Pattern::of(mended.from)).is_some(), "{up:?} {except:?}");
            }
        }

        #[test]
        fn patterns_agree_with_filters(one in any_filter(), other in any_filter(), topic in any_topic()) {
            let (pattern, beside) = (Pattern::of(&one), Pattern::of(&other));
            prop_assert_eq!(pattern.matches(&topic), one.matches(&topic));
            let common = pattern.common(&beside);
            prop_assert_eq!(common.as_ref().is_some_and(|common| common.matches(&topic)), one.matches(&topic) && other.matches(&topic));
            prop_assert_eq!(common.is_some(), one.overlaps(&other));
            prop_assert!(!pattern.is_within(&other) || !one.matches(&topic) || other.matches(&topic), "{one} {other} {topic}");
            prop_assert!(!one.is_shared() && (!other.covers(&one) || pattern.is_within(&other)), "{one} {other}");
            let shown = TopicFilter::new(&pattern.shown()).unwrap();
            prop_assert!(shown == one || one.as_str().ends_with("+/#") && shown.matches(&topic) >= one.matches(&topic));
        }
    }
}
