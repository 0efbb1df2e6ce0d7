//! MQTT filters in the language of policies, where `+` and `#` are letters and `*` and `?` wildcards.

use super::pattern::{Pattern, Piece};
use super::resource::escaped;
use crate::mapping::image;

/// What may stand in one level of a topic. No topic holds `+` or `#` (`MQTT-3.3.2-2`), so what a policy names with them as
/// letters meets nothing here.
const LEVEL: Piece = Piece::Run("/+#");
/// What may stand in all levels that follow.
const REST: Piece = Piece::Run("+#");

/// Some of the topics that a filter matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topics {
    /// The narrowest wildcards of a policy that cover them.
    pub(super) resource: String,
    /// The topics themselves: `+` stays within its level, and a wildcard at the start matches no `$` (`MQTT-4.7.2-1`).
    pub(super) strings: Vec<Pattern>,
}

/// Whether `a/#` is about `a`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parent {
    /// It is by MQTT's rules, which gatewire's ingest sockets follow.
    Matches,
    /// It isn't in IoT Core, which sends a subscriber of `a/#` nothing from `a`.
    Apart,
}

/// All topics that `levels`, a filter without `$share`, matches.
pub(super) fn topics_of(levels: &str, parent: Parent) -> Vec<Topics> {
    let parent = match parent {
        Parent::Matches => levels.strip_suffix("/#").map(|parent| Topics { strings: strings(parent), ..wild(parent) }),
        Parent::Apart => None,
    };
    parent.into_iter().chain([Topics { strings: strings(levels), ..wild(levels) }]).collect()
}

/// All topics of `image`, which a bridge publishes to: none begins with `$` but where that is known.
pub(super) fn topics_of_image(image: &image::Pattern) -> Vec<Topics> {
    let resource = |level: &image::Level| format!("{}{}", escaped(&level.text), if level.is_open { "*" } else { "" });
    let resource = image.levels().iter().map(resource).collect::<Vec<String>>().join("/");
    let mut strings = vec![Pattern::default()];
    for (number, level) in image.levels().iter().enumerate() {
        let starts: Vec<Pattern> = match level {
            // An empty first level is one; an empty topic isn't.
            level if number == 0 && level.is_open && level.text.is_empty() => {
                let is_alone = image.levels().len() == 1;
                [named_level()].into_iter().chain((!is_alone).then(Pattern::default)).collect()
            }
            level if level.is_open => vec![Pattern::literal(&level.text).then(&Pattern::from_iter([LEVEL]))],
            level => vec![Pattern::literal(&level.text)],
        };
        let slash = Pattern::literal(if number == 0 { "" } else { "/" });
        let longer =
            |before: &Pattern| starts.iter().map(|next| before.clone().then(&slash).then(next)).collect::<Vec<_>>();
        strings = strings.iter().flat_map(longer).collect();
    }
    let mut topics = vec![Topics { resource: resource.clone(), strings: strings.clone() }];
    if image.is_open() {
        // An empty first level, with more behind it.
        let mut below = strings;
        if matches!(image.levels(), [only] if only.is_open && only.text.is_empty()) {
            below.push(Pattern::default());
        }
        let below = below.into_iter().map(|start| start.then(&level("#"))).collect();
        topics.push(Topics { resource: format!("{resource}/*"), strings: below });
    }
    topics
}

fn wild(levels: &str) -> Topics {
    let levels = levels.split('/').map(|level| match level {
        "+" | "#" => "*".to_owned(),
        literal => escaped(literal),
    });
    Topics { resource: levels.collect::<Vec<String>>().join("/"), strings: Vec::new() }
}

fn strings(levels: &str) -> Vec<Pattern> {
    let (first, rest) = match levels.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (levels, None),
    };
    let rest = rest.map(|rest| rest.split('/').fold(Pattern::default(), |before, next| before.then(&level(next))));
    let starts = match first {
        "#" => vec![Pattern::from_iter([Piece::One("$+#"), REST])],
        // An empty first level is one; an empty topic isn't.
        "+" if rest.is_some() => vec![Pattern::default(), named_level()],
        "+" => vec![named_level()],
        literal => vec![Pattern::literal(literal)],
    };
    starts.into_iter().map(|start| rest.iter().fold(start, |start, rest| start.then(rest))).collect()
}

/// A first level that isn't empty, for a wildcard.
fn named_level() -> Pattern {
    Pattern::from_iter([Piece::One("/$+#"), LEVEL])
}

/// A level behind the first, with the slash before it.
fn level(level: &str) -> Pattern {
    Pattern::literal("/").then(&match level {
        "+" => Pattern::from_iter([LEVEL]),
        "#" => Pattern::from_iter([REST]),
        literal => Pattern::literal(literal),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::{Topic, TopicFilter};

    fn resources(levels: &str, parent: Parent) -> Vec<String> {
        topics_of(levels, parent).into_iter().map(|topics| topics.resource).collect()
    }

    #[test]
    fn filters_become_the_narrowest_wildcards() {
        assert_eq!(resources("a/+/b", Parent::Matches), ["a/*/b"]);
        assert_eq!(resources("a/#", Parent::Matches), ["a", "a/*"]);
        assert_eq!(resources("a/#", Parent::Apart), ["a/*"]);
        assert_eq!(resources("#", Parent::Matches), ["*"]);
        assert_eq!(resources("+/#", Parent::Matches), ["*", "*/*"]);
        assert_eq!(resources("a*/b?/${c}/$d", Parent::Apart), ["a${*}/b${?}/${$}{c}/$d"]);
    }

    #[test]
    fn images_become_the_narrowest_wildcards() {
        let resources = |from: &str, strip: &str, to: &str| -> Vec<String> {
            let rule = crate::mapping::testing::rule(from, strip, to);
            let topics = rule.mapping().images().iter().flat_map(topics_of_image).collect::<Vec<_>>();
            topics.into_iter().map(|topics| topics.resource).collect()
        };
        assert_eq!(resources("z/+", "z/", "g/z2m/"), ["g/z2m/*"]);
        assert_eq!(resources("z/+", "z/", "g/z2m-"), ["g/z2m-*"]);
        assert_eq!(resources("z/+/s", "", "g*/"), ["g${*}/z/*/s"]);
        assert_eq!(resources("z/#", "z/", "g/"), ["g/z", "g/*", "g/*/*"]);
        assert_eq!(resources("z/#", "", ""), ["z", "z/*"]);
        assert_eq!(resources("z/a", "z/a", "$aws/rules/r/x"), ["$aws/rules/r/x"]);
    }

    proptest! {
        #[test]
        fn what_a_bridge_publishes_is_in_the_resources_of_its_rule(
            bridge in crate::bridge::testing::any_bridge(),
            topic in crate::mapping::testing::any_topic(),
        ) {
            use crate::bridge::rules::{Route, up};
            if let Route::To(index, made) = up(&bridge, &topic) {
                let images = bridge.up[index].mapping().images();
                let topics: Vec<Topics> = images.iter().flat_map(topics_of_image).collect();
                let has_it = |topics: &Topics| topics.strings.iter().any(|strings| strings.matches(made.as_str()));
                prop_assert!(topics.iter().any(has_it), "{made} {topics:?}");
                for Topics { resource, strings } in topics {
                    let wild = Pattern::glob(&resource);
                    prop_assert!(strings.iter().all(|strings| strings.outside(&[&wild]) == Ok(None)), "{resource}");
                }
            }
        }

        #[test]
        fn they_cover_what_the_filter_matches_and_nothing_else(
            filter in "(\\+|#|[ab$]{0,2}(/(\\+|[ab$]{0,1})){0,3}(/#)?)",
            topic in "[ab$]{0,2}(/[ab$]{0,2}){0,3}"
        ) {
            let (Ok(filter), Ok(topic)) = (TopicFilter::new(&filter), Topic::new(&topic)) else { return Ok(()) };
            let topics = topics_of(filter.levels(), Parent::Matches);
            let found = topics.iter().any(|topics| topics.strings.iter().any(|strings| strings.matches(topic.as_str())));
            prop_assert_eq!(found, filter.matches(&topic));
            for Topics { resource, strings } in topics {
                let wild = Pattern::glob(&resource);
                prop_assert!(strings.iter().all(|strings| strings.outside(&[&wild]) == Ok(None)));
                // The letters `+` and `#` of a policy meet no topic.
                let letters = Pattern::literal(filter.as_str());
                let holds_letters = filter.as_str().contains(['+', '#']);
                prop_assert!(!holds_letters || strings.iter().all(|strings| strings.overlap(&letters).is_none()));
            }
        }
    }
}
