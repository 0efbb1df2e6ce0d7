//! Bridges for tests.

use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::select;

use crate::config::{Bridge, Broker, Down, Keep, Up, WhenFull};
use crate::message::{Topic, TopicFilter};
use crate::mqtt::Protocol;

pub(crate) fn bridge(up: Vec<Up>, down: Vec<Down>) -> Bridge {
    Bridge {
        name: "house".to_owned(),
        broker: Broker::Unix(PathBuf::from("/run/mosquitto/mqtt.sock")),
        tls: None,
        login: None,
        client_id: "gatewire-thing".to_owned(),
        protocol: Protocol::Mqtt5,
        status_topic: None,
        up,
        down,
    }
}

pub(crate) fn up_rule(from: &str, strip: &str, to: &str) -> Up {
    Up {
        from: TopicFilter::of_mqtt(from).expect("it is a filter"),
        strip: strip.to_owned(),
        to: to.to_owned(),
        except: Vec::new(),
        retain: false,
        every: None,
        on_change: false,
        batch: None,
    }
}

pub(crate) fn down_rule(from: &str, strip: &str, to: &str) -> Down {
    Down {
        from: TopicFilter::new(from).expect("it is a filter"),
        strip: strip.to_owned(),
        to: to.to_owned(),
        keep: Keep { messages: 10_000, bytes: 16 << 20, when_full: WhenFull::DropOldest },
    }
}

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
fn any_mapping() -> impl Strategy<Value = (TopicFilter, String, String)> {
    let to = select(vec!["", "a/", "g/", "a", "a/b/", "$aws/rules/r/", "$x/", "/"]);
    (any_filter(), any::<prop::sample::Index>(), to).prop_map(|(from, cut, to)| {
        let literal = from.as_str().split(['+', '#']).next().unwrap_or_default().to_owned();
        let strip = literal[..cut.index(literal.len() + 1)].to_owned();
        (from, strip, to.to_owned())
    })
}

pub(crate) fn any_up() -> impl Strategy<Value = Up> {
    (any_mapping(), prop::collection::vec(any_filter(), 0..3)).prop_map(|((from, strip, to), except)| Up {
        from,
        strip,
        to,
        except,
        ..up_rule("a", "", "")
    })
}

pub(crate) fn any_bridge() -> impl Strategy<Value = Bridge> {
    let down = any_mapping().prop_map(|(from, strip, to)| Down { from, strip, to, ..down_rule("a", "", "") });
    (prop::collection::vec(any_up(), 0..4), prop::collection::vec(down, 0..4)).prop_map(|(up, down)| bridge(up, down))
}
