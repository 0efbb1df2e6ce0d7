//! Which rule takes a topic, and what becomes of it. Pure.

use super::cause::Cause;
use crate::config::{self, Down, Up};
use crate::mapping::{Mapping, Unfit, for_iot_core, for_local_broker};
use crate::message::Topic;

/// What a bridge does with a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// The rule of this number takes it, and this is its topic on the other side.
    To(usize, Topic),
    /// The rule of this number takes it, and the other side can't have it.
    Left(usize, Cause),
    /// No rule takes it.
    Nowhere,
}

/// Where a message of the local broker goes: the first rule whose `from` matches and whose `except` doesn't. What gatewire itself
/// announces there stays: a broker with MQTT 3.1.1 sends it back, and any sends what it retains for a new subscription.
pub(crate) fn up(bridge: &config::Bridge, topic: &Topic) -> Route {
    if bridge.announced.contains(topic) {
        return Route::Nowhere;
    }
    routed(bridge.up.iter().map(Up::mapping), topic, |rule, made| for_iot_core(made, rule.to))
}

/// Where a message of IoT Core goes: the first rule whose `from` matches.
pub(crate) fn down(bridge: &config::Bridge, topic: &Topic) -> Route {
    routed(bridge.down.iter().map(Down::mapping), topic, |_, made| for_local_broker(made))
}

fn routed<'a>(
    mut rules: impl Iterator<Item = Mapping<'a>>,
    topic: &Topic,
    check: impl FnOnce(Mapping<'a>, &str) -> Result<Topic, Unfit>,
) -> Route {
    let Some((index, rule)) = rules.by_ref().enumerate().find(|(_, rule)| rule.takes(topic)) else {
        return Route::Nowhere;
    };
    match check(rule, &rule.made(topic.as_str())) {
        Ok(topic) => Route::To(index, topic),
        Err(unfit) => Route::Left(index, cause(unfit)),
    }
}

fn cause(unfit: Unfit) -> Cause {
    match unfit {
        Unfit::TooLong => Cause::TopicTooLong,
        Unfit::TooManySlashes => Cause::TooManySlashes,
        Unfit::Bad => Cause::BadTopic,
        Unfit::Reserved => Cause::ReservedTopic,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bridge::testing::{bridge, down_rule, up_rule};
    use crate::mapping::BASIC_INGEST;
    use crate::message::TopicFilter;

    fn topic(name: &str) -> Topic {
        Topic::received(name)
    }

    fn to(index: usize, name: &str) -> Route {
        Route::To(index, topic(name))
    }

    #[test]
    fn the_first_rule_that_matches_takes_a_topic_whole_or_stripped() {
        let mut first = up_rule("zigbee2mqtt/#", "zigbee2mqtt/", "g/z2m/");
        first.except = vec![TopicFilter::of_mqtt("zigbee2mqtt/bridge/#").unwrap()];
        let bridge =
            bridge(vec![first, up_rule("zigbee2mqtt/bridge/+", "", "g/"), up_rule("+/status", "", "")], vec![]);
        assert_eq!(up(&bridge, &topic("zigbee2mqtt/lamp")), to(0, "g/z2m/lamp"));
        assert_eq!(up(&bridge, &topic("zigbee2mqtt/")), to(0, "g/z2m/"));
        // `a/#` has `a`, which doesn't begin with `a/`.
        assert_eq!(up(&bridge, &topic("zigbee2mqtt")), to(0, "g/z2m/zigbee2mqtt"));
        assert_eq!(up(&bridge, &topic("zigbee2mqtt/bridge/state")), to(1, "g/zigbee2mqtt/bridge/state"));
        // `a/#` in `except` has `a`, too.
        assert_eq!(up(&bridge, &topic("zigbee2mqtt/bridge")), Route::Nowhere);
        assert_eq!(up(&bridge, &topic("zigbee2mqtt/bridge/devices/1")), Route::Nowhere);
        assert_eq!(up(&bridge, &topic("door/status")), to(2, "door/status"));
        assert_eq!(up(&bridge, &topic("$SYS/status")), Route::Nowhere);
    }

    #[test]
    fn what_gatewire_itself_announces_stays_here_whatever_a_rule_says() {
        let mut bridge = bridge(vec![up_rule("homeassistant/#", "", "g/"), up_rule("#", "", "")], vec![]);
        bridge.announced = vec![topic("homeassistant/sensor/gatewire/waiting/config")];
        assert_eq!(up(&bridge, &topic("homeassistant/sensor/gatewire/waiting/config")), Route::Nowhere);
        assert_eq!(
            up(&bridge, &topic("homeassistant/sensor/lamp/config")),
            to(0, "g/homeassistant/sensor/lamp/config")
        );
    }

    #[test]
    fn what_the_other_side_cannot_have_is_left_with_its_cause() {
        let all = bridge(vec![up_rule("$SYS/#", "", ""), up_rule("$aws/#", "", ""), up_rule("#", "", "")], vec![]);
        let left = |name: &str| match up(&all, &topic(name)) {
            Route::Left(_, cause) => cause.as_str(),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(left("$SYS/broker/uptime"), "reserved_topic");
        assert_eq!(left("$aws/rules/r/x"), "reserved_topic");
        assert_eq!(left("1/2/3/4/5/6/7/8/9"), "too_many_slashes");
        assert_eq!(left(&"x".repeat(257)), "topic_too_long");
        assert_eq!(left("a\u{7}"), "bad_topic");
        assert_eq!(left("a+"), "bad_topic");
        assert_eq!(up(&all, &topic("1/2/3/4/5/6/7/8")), to(2, "1/2/3/4/5/6/7/8"));
        let basic = bridge(vec![up_rule("s/#", "s/", "$aws/rules/store/")], vec![]);
        assert_eq!(up(&basic, &topic("s/1/2/3/4/5/6/7/8")), to(0, "$aws/rules/store/1/2/3/4/5/6/7/8"));
        assert_eq!(up(&basic, &topic("s/1/2/3/4/5/6/7/8/9")), Route::Left(0, Cause::TooManySlashes));
        let empty = bridge(vec![up_rule("s/#", "s/", "")], vec![]);
        assert_eq!(up(&empty, &topic("s/")), Route::Left(0, Cause::BadTopic));
        assert_eq!(up(&empty, &topic("s/$x")), Route::Left(0, Cause::ReservedTopic));
    }

    #[test]
    fn what_goes_down_has_the_bounds_of_mqtt_only() {
        let bridge =
            bridge(vec![], vec![down_rule("g/set/#", "g/set/", "z/1/2/3/4/5/6/7/8/"), down_rule("h/#", "h/", "")]);
        assert_eq!(down(&bridge, &topic("g/set/a/b")), to(0, "z/1/2/3/4/5/6/7/8/a/b"));
        assert_eq!(down(&bridge, &topic("h/$SYS/x")), Route::Left(1, Cause::ReservedTopic));
        assert_eq!(down(&bridge, &topic("h/$aws/x")), to(1, "$aws/x"));
        assert_eq!(down(&bridge, &topic("h/a\u{1}")), Route::Left(1, Cause::BadTopic));
        assert_eq!(down(&bridge, &topic("other")), Route::Nowhere);
    }

    /// MQTT's rules once more, by other means: level by level, from the end of the specification's text (4.7).
    fn matches_by_the_book(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) => true,
            (["+", filter @ ..], [_, topic @ ..]) => matches_by_the_book(filter, topic),
            ([level, filter @ ..], [other, topic @ ..]) => level == other && matches_by_the_book(filter, topic),
            ([], []) => true,
            _ => false,
        }
    }

    fn matches(filter: &TopicFilter, topic: &Topic) -> bool {
        let (filter, topic) = (filter.as_str(), topic.as_str());
        let (levels, names): (Vec<&str>, Vec<&str>) = (filter.split('/').collect(), topic.split('/').collect());
        !(topic.starts_with('$') && filter.starts_with(['+', '#'])) && matches_by_the_book(&levels, &names)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

        #[test]
        fn a_topic_goes_where_the_first_rule_that_has_it_sends_it(
            bridge in crate::bridge::testing::any_bridge(),
            topic in crate::mapping::testing::any_topic(),
        ) {
            let has = |rule: &Up| matches(&rule.from, &topic) && !rule.except.iter().any(|except| matches(except, &topic));
            let expected = bridge.up.iter().position(has);
            match up(&bridge, &topic) {
                Route::Nowhere => prop_assert_eq!(expected, None),
                Route::Left(index, _) => prop_assert_eq!(expected, Some(index)),
                Route::To(index, made) => {
                    prop_assert_eq!(expected, Some(index));
                    let rule = &bridge.up[index];
                    let rest = made.as_str().strip_prefix(rule.to.as_str()).unwrap();
                    let stripped = format!("{}{}", rule.strip, rest);
                    prop_assert!(rest == topic.as_str() || stripped == topic.as_str());
                    prop_assert!(rest != topic.as_str() || rule.strip.is_empty() || !topic.as_str().starts_with(&rule.strip));
                    // Nothing that IoT Core closes the connection for.
                    prop_assert_eq!(Topic::new(made.as_str()), Ok(made.clone()));
                    prop_assert!(!made.as_str().starts_with('$') || made.as_str().starts_with(BASIC_INGEST));
                }
            }
            if let Route::To(index, made) = down(&bridge, &topic) {
                prop_assert!(matches(&bridge.down[index].from, &topic));
                prop_assert_eq!(Topic::of_mqtt(made.as_str()), Ok(made));
            }
        }
    }
}
