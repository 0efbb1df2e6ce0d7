//! How Home Assistant is told of a gateway over a broker (MQTT discovery): topics and payloads. Pure.
//!
//! Home Assistant makes an entity of each retained message on `homeassistant/COMPONENT/NODE/OBJECT/config`, and removes it when an
//! empty one comes there (its documentation of the MQTT integration, "MQTT Discovery"). Only keys are used that its versions have in
//! common; it ignores what it doesn't know of a device, and refuses a `device_class` or an `entity_category` that it doesn't know.

use bytes::Bytes;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::message::{Topic, TopicFilter};

/// Where Home Assistant says that it has started, and what it says (its birth message, by default).
const STATUS: &str = "homeassistant/status";
const ONLINE: &[u8] = b"online";

/// The longest NODE, in bytes.
const MAX_NODE: usize = 64;

/// A device with its entities, as Home Assistant knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    /// The client id at the broker.
    name: String,
    /// What topics and unique ids are made of.
    node: String,
}

/// What there is to see of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entity {
    /// Whether there is a link to IoT Core.
    Link,
    /// How many messages wait for it.
    Waiting,
    /// How many days the certificate is still valid.
    Certificate,
}

impl Entity {
    pub(crate) const ALL: [Entity; 3] = [Entity::Link, Entity::Waiting, Entity::Certificate];

    fn component(self) -> &'static str {
        if self == Entity::Link { "binary_sensor" } else { "sensor" }
    }

    fn object(self) -> &'static str {
        match self {
            Entity::Link => "link",
            Entity::Waiting => "waiting",
            Entity::Certificate => "certificate",
        }
    }
}

impl Device {
    /// That of the gateway with this client id, which no other client of the broker has.
    pub(crate) fn new(client_id: &str) -> Device {
        let is_legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let node: String = client_id.chars().map(|c| if is_legal(c) { c } else { '_' }).collect();
        let node = match node == client_id && node.len() <= MAX_NODE {
            true => node,
            // What two ids have in common then, their digests don't.
            false => {
                let digest: String =
                    digest(&SHA256, client_id.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                let kept: String = node.chars().take(MAX_NODE - 9).collect();
                format!("{kept}-{}", &digest[..8])
            }
        };
        Device { name: client_id.to_owned(), node }
    }

    /// Where an entity is announced.
    pub(crate) fn config_topic(&self, entity: Entity) -> Topic {
        topic(&format!("homeassistant/{}/{}/{}/config", entity.component(), self.node, entity.object()))
    }

    /// Where the state of an entity is published. That of [`Entity::Link`] is also that of the whole device, and `status_topic` of the
    /// bridge takes its place.
    pub(crate) fn state_topic(&self, entity: Entity) -> Topic {
        topic(&format!("gatewire/{}/{}", self.node, entity.object()))
    }

    /// What is announced of an entity. On `status` is the state of the link, `{"state":"connected"}` and the like.
    pub(crate) fn config(&self, entity: Entity, status: &Topic) -> Bytes {
        let mut config = match entity {
            Entity::Link => json!({
                "name": "IoT Core link",
                "device_class": "connectivity",
                "state_topic": status.as_str(),
                "value_template": "{{ 'ON' if value_json is defined and value_json.state == 'connected' else 'OFF' }}",
            }),
            Entity::Waiting => json!({
                "name": "IoT Core waiting",
                "icon": "mdi:tray-full",
                "state_topic": self.state_topic(entity).as_str(),
                "unit_of_measurement": "messages",
            }),
            Entity::Certificate => json!({
                "name": "IoT Core certificate",
                "icon": "mdi:certificate",
                "state_topic": self.state_topic(entity).as_str(),
                "unit_of_measurement": "d",
            }),
        };
        config["unique_id"] = Value::from(format!("{}_{}", self.node, entity.object()));
        config["availability_topic"] = Value::from(status.as_str());
        // There is no JSON when the topic is cleared.
        config["availability_template"] = Value::from(
            "{{ 'online' if value_json is defined and value_json.state not in ['gone', 'stopped'] else 'offline' }}",
        );
        config["device"] = json!({
            "identifiers": [self.node],
            "name": self.name,
            "manufacturer": "gatewire",
            "sw_version": env!("CARGO_PKG_VERSION"),
        });
        Bytes::from(config.to_string())
    }

    /// Topics that the same access rules are about, and nothing is published on otherwise.
    pub(crate) fn trials(&self) -> [Topic; 2] {
        [format!("homeassistant/sensor/{}/check/config", self.node), format!("gatewire/{}/check", self.node)]
            .map(|name| topic(&name))
    }

    /// What the access rules of the broker must let gatewire publish, beside `status_topic`, as filters of MQTT.
    pub(crate) fn published(&self) -> [String; 2] {
        [format!("homeassistant/+/{}/+/config", self.node), format!("gatewire/{}/#", self.node)]
    }
}

/// What to subscribe to, to hear that Home Assistant has started.
pub(crate) fn status_filter() -> TopicFilter {
    TopicFilter::of_mqtt(STATUS).expect("it is a topic")
}

/// Whether a message says that Home Assistant has started.
pub(crate) fn has_started(topic: &Topic, payload: &[u8]) -> bool {
    topic.as_str() == STATUS && payload == ONLINE
}

fn topic(name: &str) -> Topic {
    Topic::of_mqtt(name).expect("its parts have letters, digits, `_` and `-` only, and few of them")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(config: &Bytes) -> Value {
        serde_json::from_slice(config).unwrap()
    }

    #[test]
    fn a_gateway_is_announced_with_its_entities() {
        let device = Device::new("gatewire-gw_1");
        let status = device.state_topic(Entity::Link);
        assert_eq!(status.as_str(), "gatewire/gatewire-gw_1/link");
        let [link, waiting, certificate] = Entity::ALL.map(|entity| read(&device.config(entity, &status)));
        let topics = Entity::ALL.map(|entity| device.config_topic(entity).as_str().to_owned());
        assert_eq!(
            topics,
            [
                "homeassistant/binary_sensor/gatewire-gw_1/link/config",
                "homeassistant/sensor/gatewire-gw_1/waiting/config",
                "homeassistant/sensor/gatewire-gw_1/certificate/config",
            ]
        );
        assert_eq!((&link["device_class"], &link["state_topic"]), (&json!("connectivity"), &json!(status.as_str())));
        assert_eq!(waiting["state_topic"], "gatewire/gatewire-gw_1/waiting");
        assert_eq!(
            (&certificate["unit_of_measurement"], &certificate["unique_id"]),
            (&json!("d"), &json!("gatewire-gw_1_certificate"))
        );
        for config in [&link, &waiting, &certificate] {
            assert_eq!(config["availability_topic"], status.as_str());
            assert_eq!(config["device"], link["device"]);
            assert_eq!(config["device"]["identifiers"], json!(["gatewire-gw_1"]));
        }
    }

    #[test]
    fn a_status_topic_takes_the_place_of_the_own_one() {
        let (device, status) = (Device::new("a"), Topic::of_mqtt("house/cloud").unwrap());
        let link = read(&device.config(Entity::Link, &status));
        assert_eq!((&link["state_topic"], &link["availability_topic"]), (&json!("house/cloud"), &json!("house/cloud")));
        assert_eq!(read(&device.config(Entity::Waiting, &status))["availability_topic"], "house/cloud");
    }

    #[test]
    fn home_assistant_has_started_when_it_says_so() {
        let topic = |name| Topic::of_mqtt(name).unwrap();
        assert!(has_started(&topic("homeassistant/status"), b"online"));
        assert!(!has_started(&topic("homeassistant/status"), b"offline") && !has_started(&topic("x"), b"online"));
        assert!(status_filter().matches(&topic("homeassistant/status")));
    }

    proptest! {
        #[test]
        fn any_client_id_makes_legal_topics_that_no_other_has(one in "[a-z./:ä#+ ]{1,90}", other in "[a-z./:ä#+ ]{1,90}") {
            let (first, second) = (Device::new(&one), Device::new(&other));
            prop_assert!(first.node.len() <= MAX_NODE);
            prop_assert!(first.node.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)));
            prop_assert_eq!(first.node == second.node, one == other);
            let [configs, states] = first.published().map(|filter| TopicFilter::of_mqtt(&filter).unwrap());
            let [config, state] = first.trials();
            prop_assert!(configs.matches(&config) && states.matches(&state));
            for entity in Entity::ALL {
                prop_assert!(configs.matches(&first.config_topic(entity)) && states.matches(&first.state_topic(entity)));
            }
        }
    }
}
