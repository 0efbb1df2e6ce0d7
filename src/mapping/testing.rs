//! Filters, topics and rules for tests.

use proptest::prelude::*;
use proptest::sample::select;

use super::{Mapping, Ways};
use crate::message::{Topic, TopicFilter};

/// Few letters, so that they often meet.
pub(crate) fn any_filter() -> impl Strategy<Value = TopicFilter> {
    let level = select(vec!["a", "b", "ab", "+", "", "$x", "$SYS"]);
    (prop::collection::vec(level, 0..4), any::<bool>()).prop_filter_map("no filter", |(mut levels, many)| {
        if many {
            levels.push("#");
        }
        TopicFilter::new(&levels.join("/")).ok()
    })
}

pub(crate) fn any_topic() -> impl Strategy<Value = Topic> {
    let level = select(vec!["a", "b", "ab", "c", "", "$x", "$SYS", "1/2/3/4/5/6", "\u{1}"]);
    prop::collection::vec(level, 1..5).prop_filter_map("empty", |levels| {
        Some(Topic::received(&levels.join("/"))).filter(|topic| !topic.as_str().is_empty())
    })
}

/// `from`, a beginning of it, and what is put in its place.
pub(crate) fn any_mapping() -> impl Strategy<Value = (TopicFilter, String, String)> {
    let to = select(vec!["", "a/", "g/", "a", "a/b/", "$aws/rules/r/", "$x/", "/"]);
    (any_filter(), any::<prop::sample::Index>(), to).prop_map(|(from, cut, to)| {
        let literal = from.as_str().split(['+', '#']).next().unwrap_or_default().to_owned();
        let strip = literal[..cut.index(literal.len() + 1)].to_owned();
        (from, strip, to.to_owned())
    })
}

/// A rule.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) from: TopicFilter,
    pub(crate) except: Vec<TopicFilter>,
    strip: String,
    to: String,
}

pub(crate) fn rule(from: &str, strip: &str, to: &str) -> Rule {
    let from = TopicFilter::of_mqtt(from).expect("it is a filter");
    Rule { from, except: Vec::new(), strip: strip.to_owned(), to: to.to_owned() }
}

impl Rule {
    pub(crate) fn mapping(&self) -> Mapping<'_> {
        Mapping { from: &self.from, except: &self.except, strip: &self.strip, to: &self.to }
    }
}

/// The rules of a bridge.
pub(crate) type Bridge = (Vec<Rule>, Vec<Rule>);

pub(crate) fn ways((up, down): &Bridge) -> Ways<'_> {
    Ways { up: up.iter().map(Rule::mapping).collect(), down: down.iter().map(Rule::mapping).collect() }
}

pub(crate) fn any_bridge() -> impl Strategy<Value = Bridge> {
    let up = (any_mapping(), prop::collection::vec(any_filter(), 0..3));
    let up = up.prop_map(|((from, strip, to), except)| Rule { from, except, strip, to });
    let down = any_mapping().prop_map(|(from, strip, to)| Rule { from, except: Vec::new(), strip, to });
    (prop::collection::vec(up, 0..4), prop::collection::vec(down, 0..4))
}
