//! How topic filters lie to each other: one within another, or with topics in common. A server may send a message once for each
//! subscription that it matches (MQTT 5, 3.3.4).

use std::collections::BTreeMap;

use super::{Qos, TopicFilter};

impl TopicFilter {
    pub(crate) fn is_shared(&self) -> bool {
        self.as_str().starts_with("$share/")
    }

    /// Whether every topic that `other` matches is one of this filter, too, at every server: `a/#` has `a` in MQTT, but not at IoT
    /// Core, so it doesn't cover that. A shared subscription covers nothing, and nothing covers it: its messages are dealt out.
    pub(crate) fn covers(&self, other: &TopicFilter) -> bool {
        if self.is_shared() || other.is_shared() || self.keeps_off(other) {
            return false;
        }
        let mut others = other.as_str().split('/');
        for level in self.as_str().split('/') {
            match (level, others.next()) {
                ("#", Some(_)) => return true,
                ("+", Some(other)) if other != "#" => {}
                (level, Some(other)) if level == other => {}
                _ => return false,
            }
        }
        others.next().is_none()
    }

    /// Whether there is a topic that both match, at some server. Of a shared subscription the filter behind the group counts.
    pub(crate) fn overlaps(&self, other: &TopicFilter) -> bool {
        if self.keeps_off(other) || other.keeps_off(self) {
            return false;
        }
        let (mut ours, mut theirs) = (self.levels().split('/'), other.levels().split('/'));
        loop {
            match (ours.next(), theirs.next()) {
                (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
                (Some(one), Some(other)) if one == other || one == "+" || other == "+" => {}
                _ => return false,
            }
        }
    }

    /// A wildcard at the start doesn't match what begins with `$` (`MQTT-4.7.2-1`).
    fn keeps_off(&self, other: &TopicFilter) -> bool {
        self.levels().starts_with(['+', '#']) && other.levels().starts_with('$')
    }
}

/// The filters of `wanted` that need a subscription: those that no other covers with at least the same QoS, unless the server
/// refuses that one.
pub(crate) fn needed(
    wanted: &BTreeMap<TopicFilter, Qos>,
    is_refused: impl Fn(&TopicFilter) -> bool,
) -> impl Iterator<Item = (&TopicFilter, Qos)> {
    let is_covered = move |filter: &TopicFilter, qos: Qos| {
        let covers = |(other, at): (&TopicFilter, &Qos)| other != filter && *at >= qos && other.covers(filter);
        wanted.iter().any(|(other, at)| covers((other, at)) && !is_refused(other))
    };
    wanted.iter().map(|(filter, qos)| (filter, *qos)).filter(move |(filter, qos)| !is_covered(filter, *qos))
}

/// Pairs of needed filters that have topics in common: a message there may come twice.
pub(crate) fn overlapping(wanted: &BTreeMap<TopicFilter, Qos>) -> Vec<(&TopicFilter, &TopicFilter)> {
    let needed: Vec<&TopicFilter> = needed(wanted, |_| false).map(|(filter, _)| filter).collect();
    let pairs =
        needed.iter().enumerate().flat_map(|(index, one)| needed[index + 1..].iter().map(|other| (*one, *other)));
    pairs.filter(|(one, other)| one.overlaps(other)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::Topic;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::new(text).unwrap()
    }

    #[test]
    fn what_lies_within_another_is_known_at_every_kind_of_server() {
        for (one, other) in [
            ("plant/#", "plant/+/temp"),
            ("plant/#", "plant/a"),
            ("plant/#", "plant/a/#"),
            ("#", "a"),
            ("#", "+/a"),
            ("+/b", "a/b"),
            ("a/+", "a/"),
            ("$aws/things/+/shadow/#", "$aws/things/x/shadow/update/delta"),
        ] {
            assert!(filter(one).covers(&filter(other)), "{one} {other}");
            assert!(!filter(other).covers(&filter(one)), "{other} {one}");
        }
        for (one, other) in [
            ("a/#", "a"),
            ("#", "$aws/things/x"),
            ("+/x", "$SYS/x"),
            ("a/+", "a/#"),
            ("a/+/c", "a/b/#"),
            ("a/#", "$share/g/a/b"),
            ("$share/g/a/#", "a/b"),
            ("$share/g/a/#", "$share/g/a/b"),
        ] {
            assert!(!filter(one).covers(&filter(other)), "{one} {other}");
        }
    }

    #[test]
    fn what_overlaps_is_named_in_pairs() {
        let at = |filters: &[(&str, Qos)]| -> BTreeMap<TopicFilter, Qos> {
            filters.iter().map(|(text, qos)| (filter(text), *qos)).collect()
        };
        let (zero, one) = (Qos::AtMostOnce, Qos::AtLeastOnce);
        let wanted = at(&[("a/#", one), ("a/b", one), ("a/+/c", zero), ("b", one)]);
        assert!(overlapping(&wanted).is_empty(), "one covers the rest");
        let wanted = at(&[("a/#", zero), ("a/b", one), ("a", zero), ("$share/g/b/+", one), ("b/1", one)]);
        let pairs: Vec<_> = overlapping(&wanted).iter().map(|(one, other)| format!("{one} {other}")).collect();
        assert_eq!(pairs, ["$share/g/b/+ b/1", "a a/#", "a/# a/b"]);
        let refused = |other: &TopicFilter| *other == filter("a/#");
        let wanted = at(&[("a/#", one), ("a/b", one)]);
        let needed: Vec<_> = needed(&wanted, refused).map(|(filter, _)| filter.as_str()).collect();
        assert_eq!(needed, ["a/#", "a/b"]);
    }

    fn any_filter() -> impl Strategy<Value = TopicFilter> {
        let level = prop::sample::select(vec!["a", "b", "+", "", "$x"]);
        (prop::collection::vec(level, 1..4), any::<bool>()).prop_filter_map("empty", |(mut levels, many)| {
            if many {
                levels.push("#");
            }
            TopicFilter::new(&levels.join("/")).ok()
        })
    }

    fn any_topic() -> impl Strategy<Value = Topic> {
        let level = prop::sample::select(vec!["a", "b", "c", "", "$x"]);
        prop::collection::vec(level, 1..6).prop_filter_map("empty", |levels| Topic::new(&levels.join("/")).ok())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

        #[test]
        fn both_agree_with_what_filters_match(one in any_filter(), other in any_filter(), topic in any_topic()) {
            let (by_one, by_other) = (one.matches(&topic), other.matches(&topic));
            prop_assert!(!one.covers(&other) || !by_other || by_one, "{one} {other} {topic}");
            prop_assert!(one.overlaps(&other) || !(by_one && by_other), "{one} {other} {topic}");
            prop_assert_eq!(one.overlaps(&other), other.overlaps(&one));
            prop_assert!(!one.covers(&other) || one.overlaps(&other));
        }
    }
}
