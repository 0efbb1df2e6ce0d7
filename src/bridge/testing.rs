//! Bridges for tests.

use std::path::PathBuf;

use proptest::prelude::*;

use crate::config::{Bridge, Broker, Down, Keep, Up, WhenFull};
use crate::mapping::testing::{any_filter, any_mapping};
use crate::message::TopicFilter;
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
        discovery: None,
        announced: Vec::new(),
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
        urgent: false,
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

fn any_up() -> impl Strategy<Value = Up> {
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
