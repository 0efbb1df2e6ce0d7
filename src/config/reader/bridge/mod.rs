//! `[[bridge]]`: a broker on this gateway, and what is carried between it and IoT Core.

mod across;
mod rule;

use super::{Reader, claims::Use, connection::PROTOCOLS, paths::path};
use crate::config::broker::broker;
use crate::config::document::{Node, Value};
use crate::config::places::Place;
use crate::config::proxy::is_exposed;
use crate::config::section::Section;
use crate::config::values::{string, word};
use crate::config::{Bridge, Broker, BrokerLogin, BrokerTls, Down, Up, doubt};
use crate::exposure;
use crate::home_assistant::{Device, Entity};
use crate::message::{MAX_MQTT_TEXT, Topic, check_characters};
use crate::mqtt::Protocol;
use crate::template::fill;

/// Who may be told of gatewire over the local broker.
const DISCOVERY: &[(&str, ())] = &[("homeassistant", ())];

/// What MQTT over TLS listens on, by IANA's list.
const TLS_PORT: u16 = 8883;

/// A bridge, and where its parts stand.
struct Placed {
    bridge: Bridge,
    client_id: Place,
    up: Vec<Place>,
    down: Vec<Place>,
}

impl<'a> Reader<'a> {
    pub(in crate::config) fn bridges(&self) -> Vec<Bridge> {
        let mut bridges: Vec<Placed> =
            self.named("bridge").into_iter().filter_map(|(section, name)| self.bridge(section, name)).collect();
        across::share_what_is_announced(&mut bridges);
        self.check_bridges(&bridges);
        bridges.into_iter().map(|placed| placed.bridge).collect()
    }

    fn bridge(&self, section: Section<'a>, name: String) -> Option<Placed> {
        let has_tls = section.node("tls").is_some();
        let broker = section
            .require("broker", "\"127.0.0.1:1883\"", |node| broker(node, has_tls, |socket| self.socket_path(socket)));
        if matches!(broker, Some(Broker::Tcp { port: TLS_PORT, .. })) && !has_tls {
            section.warning(
                "broker",
                "8883 is the port of MQTT over TLS, and without `tls` gatewire doesn't speak TLS there; write `tls = { ca_file = \
                 \"FILE\" }` with the CA of that broker, or its port without TLS, usually 1883",
            );
        }
        if let Some(Broker::Unix(socket)) = &broker {
            self.note(&section, "broker", socket);
            self.claim(&section, "broker", socket, Use::Broker);
        }
        if matches!(broker, Some(Broker::Unix(_))) && has_tls {
            section.error("tls", "is for a broker at HOST:PORT; a Unix socket doesn't leave this machine: remove it");
        }
        let tls = section.optional_section("tls").map(|tls| self.broker_tls(tls));
        let login = self.login(&section);
        let client_id = self.broker_client_id(&section);
        let protocol = section.get_or("protocol", Protocol::Mqtt5, word(PROTOCOLS));
        let status_topic = section.get("status_topic", |node| self.status_topic(node));
        let is_status_wrong = status_topic.is_none() && section.node("status_topic").is_some();
        let discovery = section.get("discovery", discovery);
        let is_discovery_wrong = discovery.is_none() && section.node("discovery").is_some();
        let (ups, downs) = (section.tables("up"), section.tables("down"));
        let is_without = |key| section.node(key).is_none();
        if is_without("up") && is_without("down") && !section.has_key_of_rule() {
            section.missing(
                "up",
                "is missing, and `down`, too, so nothing is carried. Below the other keys of this bridge write `[[bridge.up]]` \
                 and `from = \"FILTER\"` for what goes to IoT Core, or `[[bridge.down]]` for what comes from there",
            );
        }
        let place_of = |section: &Section<'a>| section.place("from");
        let (up_places, down_places) = (ups.iter().map(place_of).collect(), downs.iter().map(place_of).collect());
        let up: Vec<Option<Up>> = ups.into_iter().map(|rule| self.up(rule)).collect();
        let down: Vec<Option<Down>> = downs.into_iter().map(|rule| self.down(rule, &name)).collect();
        let id_place = section.place("client_id");
        section.finish();
        let (up, down) =
            (up.into_iter().collect::<Option<Vec<Up>>>()?, down.into_iter().collect::<Option<Vec<Down>>>()?);
        let client_id = client_id?;
        let discovery = discovery.map(|()| Device::new(&client_id));
        let own_topic = discovery.as_ref().map(|device| device.state_topic(Entity::Link));
        let bridge = Bridge {
            name,
            broker: broker?,
            tls: match tls {
                Some(tls) => Some(tls?),
                None => None,
            },
            login: login?,
            client_id,
            protocol,
            status_topic: status_topic.or(own_topic),
            discovery,
            announced: Vec::new(),
            up,
            down,
        };
        (!is_status_wrong && !is_discovery_wrong).then_some(Placed {
            bridge,
            client_id: id_place,
            up: up_places,
            down: down_places,
        })
    }

    /// `None` if anything is wrong with it, which is reported.
    fn broker_tls(&self, section: Section<'a>) -> Option<BrokerTls> {
        let file = |key| {
            let file = section.get(key, |node| path(node, self.environment));
            file.inspect(|file| {
                self.note(&section, key, file);
                self.claim(&section, key, file, Use::File);
            })
        };
        if section.node("ca_file").is_none() {
            section.missing("ca_file", "is missing; it is written like `ca_file = \"/etc/gatewire/house-ca.pem\"`, the CA that signed the broker's certificate");
        }
        let (ca_file, cert_file, key_file) = (file("ca_file"), file("cert_file"), file("key_file"));
        let is_there = |key| section.node(key).is_some();
        let client = match (is_there("cert_file"), is_there("key_file")) {
            (false, false) => Some(None),
            (true, true) => cert_file.zip(key_file).map(Some),
            (true, false) => {
                section.error("cert_file", "needs the private key beside it, `key_file`; or leave both out");
                None
            }
            (false, true) => {
                section.error("key_file", "needs the certificate beside it, `cert_file`; or leave both out");
                None
            }
        };
        section.finish();
        Some(BrokerTls { ca_file: ca_file?, client: client? })
    }

    /// `None` if anything is wrong with it, which is reported.
    fn login(&self, section: &Section<'a>) -> Option<Option<BrokerLogin>> {
        let (has_name, has_file) = (section.node("username").is_some(), section.node("password_file").is_some());
        let username = section.get("username", |node| match string(node)? {
            "" => Err("must not be empty; leave it out if the broker requires none".to_owned()),
            name if name.len() > MAX_MQTT_TEXT => {
                Err(format!("is {} bytes long, MQTT takes at most {MAX_MQTT_TEXT}", name.len()))
            }
            name => match check_characters(name) {
                Ok(()) => Ok(name.to_owned()),
                Err(forbidden) => Err(format!("{forbidden}{}", doubt::escaped(name))),
            },
        });
        let password_file = section.get("password_file", |node| self.password_file(node));
        if has_file && !has_name {
            section.error("password_file", "needs the name that the password is for, `username`");
            return None;
        }
        if let Some(file) = &password_file {
            self.note(section, "password_file", file);
            self.claim(section, "password_file", file, Use::File);
            if is_exposed(file) && !exposure::is_credential(file) {
                let todo = exposure::command_to_hide(file);
                section.warning(
                    "password_file",
                    &format!("others than gatewire can read the password; let gatewire alone read the file: `{todo}`"),
                );
            }
        }
        match (username, has_file == password_file.is_some()) {
            (Some(username), true) => Some(Some(BrokerLogin { username, password_file })),
            (None, true) if !has_name => Some(None),
            _ => None,
        }
    }

    /// It may be the password itself that stands there: nothing of it is shown.
    fn password_file(&self, node: &Node) -> Result<std::path::PathBuf, String> {
        match &node.value {
            Value::String(text) if !text.starts_with(['/', '$']) => {
                Err("must name a file that holds the password, with its full path, such as \
                 \"/etc/gatewire/house.password\"; write the password into that file, which only gatewire may read"
                    .to_owned())
            }
            _ => path(node, self.environment),
        }
    }

    /// `None` if it is wrong, which is reported.
    fn broker_client_id(&self, section: &Section<'a>) -> Option<String> {
        let read = |text: &str| {
            let client_id = fill(text, &self.fixed).map_err(|error| error.to_string())?;
            match client_id.as_str() {
                "" => Err("must not be empty: the broker keeps what waits for gatewire by this name".to_owned()),
                id if id.len() > MAX_MQTT_TEXT => {
                    Err(format!("is {} bytes long, MQTT takes at most {MAX_MQTT_TEXT}", id.len()))
                }
                id => match check_characters(id) {
                    Ok(()) => Ok(client_id),
                    Err(forbidden) => Err(format!("{forbidden}{}", doubt::escaped(text))),
                },
            }
        };
        match section.node("client_id") {
            None => read("gatewire-{{client_id}}").ok(),
            Some(_) => {
                let text = section.get("client_id", |node| string(node))?;
                let doubts = [doubt::unseen(text).or_else(|| doubt::blanks(text)), doubt::placeholder(text)];
                doubts.iter().flatten().for_each(|doubt| section.warning("client_id", doubt));
                read(text).map_err(|text| section.error("client_id", &text)).ok()
            }
        }
    }

    fn status_topic(&self, node: &Node) -> Result<Topic, String> {
        let text = string(node)?;
        let topic = self.filled(text, Topic::of_mqtt, |topic, error| {
            format!("{topic:?} can't be published to: {error}{}", doubt::escaped(text))
        })?;
        match topic.as_str().starts_with('$') {
            true => Err(format!(
                "\"{topic}\" begins with `$`, which is for the broker itself; write another topic, such as \"gatewire/link\""
            )),
            false => Ok(topic),
        }
    }
}

fn discovery(node: &Node) -> Result<(), String> {
    match &node.value {
        Value::String(_) => word(DISCOVERY)(node),
        _ => {
            Err("must be \"homeassistant\", with the quotes; leave it out if gatewire isn't to be announced".to_owned())
        }
    }
}
