//! A bridge's connection against a broker that says what each test needs.

use crate::config::{self, Broker};
use crate::message::Topic;
use crate::mqtt::Protocol;

/// A bridge without rules.
pub(super) fn bridge() -> config::Bridge {
    config::Bridge {
        name: "house".to_owned(),
        broker: Broker::Tcp { host: "127.0.0.1".to_owned(), port: 1883 },
        tls: None,
        login: None,
        client_id: "gatewire-thing-1".to_owned(),
        protocol: Protocol::Mqtt5,
        status_topic: Topic::new("gatewire/link").ok(),
        up: Vec::new(),
        down: Vec::new(),
    }
}
