//! `[connection]`: its keys, defaults and bounds.

use std::time::Duration;

use bytes::Bytes;

use super::Reader;
use super::payload::payload;
use crate::config::document::Node;
use crate::config::doubt;
use crate::config::endpoint::{self, endpoint};
use crate::config::proxy::{is_exposed, proxy};
use crate::config::section::Section;
use crate::config::values::{
    DAY, HOUR, KIB, MIB, MINUTE, MS, SECOND, boolean, duration, integer, qos, size, string, word,
};
use crate::config::{Backoff, Connection, Proxy, RateLimit};
use crate::duration::written;
use crate::exposure;
use crate::limits::{
    BYTES_PER_SECOND, CONNECTS_PER_SECOND, MAX_CLIENT_ID_BYTES, MAX_KEEP_ALIVE, MAX_PAYLOAD, MAX_SESSION_EXPIRY,
    MAX_SUBSCRIPTIONS, MAX_WILL_PAYLOAD, MESSAGES_PER_SECOND, MIN_KEEP_ALIVE, may_be_thing,
};
use crate::message::{Outbound, Qos, check_characters};
use crate::mqtt::{KeepAlive, Protocol, Will};
use crate::template::{Fixed, fill_client_id};

/// The words of `protocol`.
pub(super) const PROTOCOLS: &[(&str, Protocol)] = &[("5", Protocol::Mqtt5), ("3.1.1", Protocol::Mqtt311)];

/// How the topic of a will or a birth is written.
const LINK_TOPIC: &str = "\"gateways/{{client_id}}/link\"";

/// A duration, or `"auto"`.
fn keep_alive(node: &Node) -> Result<KeepAlive, String> {
    let text = string(node).unwrap_or_default();
    match text.trim() {
        "auto" => return Ok(KeepAlive::UpTo(MAX_KEEP_ALIVE)),
        other if other.eq_ignore_ascii_case("auto") => return Err(format!("\"{other}\" is written \"auto\"")),
        _ => {}
    }
    let is_word = !text.is_empty() && text.chars().all(char::is_alphabetic);
    duration(5 * SECOND..=MAX_KEEP_ALIVE)(node)
        .map(KeepAlive::Fixed)
        .map_err(|error| if is_word { format!("{error}, nor \"auto\"") } else { error })
}

impl<'a> Reader<'a> {
    /// `None` if there is no endpoint or client id, which is reported.
    pub(in crate::config) fn connection(&mut self) -> Option<Connection> {
        let section = Section::of(self.root, "connection", self.report);
        let endpoint = section.require("endpoint", "\"xxxxxxxxxxxxxx-ats.iot.eu-west-1.amazonaws.com\"", endpoint);
        let is_given = self.root.get("provisioning").is_some();
        self.not_beside_provisioning(&section, "thing");
        let thing = match is_given {
            true => self.given_thing.map(str::to_owned),
            false => section.get("thing", |node| self.thing(node)),
        };
        let has_thing = is_given || section.node("thing").is_some();
        let example = if has_thing { "\"{{thing}}\"" } else { "\"thing-gateway-01\"" };
        // Stands in for a thing that is wrong, which is reported.
        let named = thing.clone().or_else(|| has_thing.then(|| "thing".to_owned()));
        let client_id = section.require("client_id", example, |node| self.client_id(node, named.as_deref()));
        if let Some(doubt) = endpoint.as_deref().and_then(endpoint::doubt) {
            section.warning("endpoint", &doubt);
        }
        self.is_iot_core = endpoint.as_deref().is_some_and(endpoint::is_of_aws);
        if let Some(client_id) = &client_id {
            self.fixed.client_id.clone_from(client_id);
            self.fixed.thing.clone_from(named.as_ref().unwrap_or(client_id));
            self.client_id_place = Some(section.place("client_id"));
            let written = section.node("client_id").and_then(|node| string(node).ok());
            self.written_client_id = written.unwrap_or_default().to_owned();
            let doubts = [
                doubt::unseen(client_id).or_else(|| doubt::blanks(client_id)),
                doubt::placeholder(client_id).or_else(|| doubt::stand_in(client_id)),
            ];
            doubts.iter().flatten().for_each(|doubt| section.warning("client_id", doubt));
        }
        let port = section.get_or("port", 8883, integer(1..=65535)) as u16;
        if self.is_iot_core && port != 8883 && port != 443 {
            section.warning("port", "IoT Core speaks MQTT with certificates on 8883 and 443 alone");
        }
        let keep_alive = section.get_or("keep_alive", KeepAlive::Fixed(MINUTE), keep_alive);
        if keep_alive.longest() < MIN_KEEP_ALIVE {
            section.warning("keep_alive", "IoT Core counts less than 30s as 30s");
        }
        let subscriptions = integer(1..=i64::from(u32::MAX));
        self.max_subscriptions =
            section.get_or("max_subscriptions", i64::from(MAX_SUBSCRIPTIONS), subscriptions) as usize;
        let connection = Connection {
            endpoint: endpoint.clone().unwrap_or_default(),
            port,
            client_id: client_id.clone().unwrap_or_default(),
            thing: self.fixed.thing.clone(),
            is_named: true,
            protocol: section.get_or("protocol", Protocol::Mqtt5, word(PROTOCOLS)),
            session_expiry: section.get_or("session_expiry", HOUR, duration(Duration::ZERO..=MAX_SESSION_EXPIRY)),
            keep_alive,
            connect_timeout: section.get_or("connect_timeout", 20 * SECOND, duration(100 * MS..=10 * MINUTE)),
            ack_timeout: section.get_or("ack_timeout", 10 * SECOND, duration(100 * MS..=10 * MINUTE)),
            backoff: backoff(section.section("backoff")),
            rate_limit: rate_limit(section.section("rate_limit")),
            proxy: section.get("proxy", proxy),
            will: section.optional_section("will").and_then(|section| self.will(section)),
            birth: section.optional_section("birth").and_then(|section| self.birth(section)),
            topic_alias: section.get_or("topic_alias", false, boolean),
        };
        let will = connection.will.as_ref().filter(|will| will.retain).map(|will| &will.topic);
        let retained = connection.birth.as_ref().filter(|birth| birth.retain);
        if let Some(birth) = retained.filter(|birth| will != Some(&birth.topic)) {
            section.warning(
                "birth",
                &format!(
                    "is retained, and nothing replaces it: whoever asks for {} sees it even when the gateway is long gone. Have \
                     `connection.will` publish to the same topic, with `retain = true`",
                    birth.topic
                ),
            );
        }
        if connection.keep_alive.is_adaptive() && connection.session_expiry.is_zero() {
            section.warning(
                "keep_alive",
                "without a session (session_expiry = \"0s\") what IoT Core sends while a silence is tried that the network doesn't \
                 bear is lost, QoS 1 too: give one of the two another value",
            );
        }
        if connection.topic_alias && connection.protocol == Protocol::Mqtt311 {
            section
                .warning("topic_alias", "MQTT 3.1.1 has no topic aliases: remove this line, or `protocol = \"3.1.1\"`");
        }
        let has_password =
            |proxy: &Proxy| proxy.login.as_ref().is_some_and(|login| !login.password.expose().is_empty());
        let file = section.place("proxy").file;
        if connection.proxy.as_ref().is_some_and(has_password) && is_exposed(&file) {
            let is_drop_in = file.parent().is_some_and(|directory| directory.ends_with("conf.d"));
            let own = if is_drop_in { file.to_path_buf() } else { file.with_file_name("conf.d").join("proxy.toml") };
            let command = exposure::command_to_hide(&own);
            // The main file is read by others than the daemon, such as `gatewire status`.
            let todo = match is_drop_in {
                true => format!("let gatewire alone read this file: `{command}`"),
                false => format!(
                    "move this line to {}, below [connection], and let gatewire alone read that file: `{command}`",
                    own.display()
                ),
            };
            section.warning("proxy", &format!("others than gatewire can read its password here; {todo}"));
        }
        section.finish();
        (endpoint.is_some() && client_id.is_some() && thing.is_some() == has_thing).then_some(connection)
    }

    /// `thing`, if it is there, is what `{{thing}}` stands for.
    fn client_id(&self, node: &Node, thing: Option<&str>) -> Result<String, String> {
        let text = string(node)?;
        if text.contains("client_id") && text.contains("{{") {
            return Err("may hold {{hostname}}, but not itself".to_owned());
        }
        if let Some(fault) = doubt::arn(text) {
            return Err(fault);
        }
        let fill = |thing: &str| {
            fill_client_id(text, &Fixed { thing: thing.to_owned(), ..self.fixed.clone() })
                .map_err(|error| error.to_string())
        };
        let client_id = fill(thing.unwrap_or_default())?;
        if thing.is_none() && fill("t")? != client_id {
            return Err("{{thing}} stands for `thing`, which isn't there: write `thing = \"NAME\"` above this line, or the name itself \
                        here"
                .to_owned());
        }
        match client_id.as_str() {
            "" if text.is_empty() => Err("must not be empty".to_owned()),
            id if id.trim().is_empty() => Err("must not be blank".to_owned()),
            "" => {
                Err("is empty, because this machine has no host name (`hostnamectl hostname NAME` gives it one)"
                    .to_owned())
            }
            id if id.starts_with('$') => Err(doubt::placeholder(text)
                .unwrap_or_else(|| "must not begin with `$`, which IoT Core keeps for itself".to_owned())),
            id if id.len() > MAX_CLIENT_ID_BYTES => {
                Err(format!("is {} bytes long, IoT Core takes at most {MAX_CLIENT_ID_BYTES}", id.len()))
            }
            _ => match check_characters(&client_id) {
                Ok(()) => Ok(client_id),
                Err(forbidden) => Err(format!("{forbidden}{}", doubt::escaped(text))),
            },
        }
    }

    fn thing(&self, node: &Node) -> Result<String, String> {
        let text = string(node)?;
        if let Some(fault) = doubt::arn(text) {
            return Err(fault);
        }
        let thing =
            fill_client_id(text, &Fixed { client_id: String::new(), thing: String::new(), ..self.fixed.clone() });
        let with = |text: &str| {
            let named = Fixed { client_id: "c".to_owned(), thing: "t".to_owned(), ..self.fixed.clone() };
            fill_client_id(text, &named).ok()
        };
        match thing.map_err(|error| error.to_string())? {
            thing if with(text).as_ref() != Some(&thing) => {
                Err("may hold {{hostname}}, but neither itself nor {{client_id}}, which it is if this line is left out".to_owned())
            }
            thing if may_be_thing(&thing) => Ok(thing),
            thing => Err(doubt::placeholder(text).unwrap_or_else(|| {
                format!(
                    "\"{thing}\" can't be the name of a thing at AWS IoT: that has 1 to 128 letters, digits, `:`, `_` and `-`"
                )
            })),
        }
    }

    /// `None` if anything is wrong with it, which is reported.
    fn will(&self, section: Section<'a>) -> Option<Will> {
        let topic = section.require("topic", LINK_TOPIC, |node| match self.topic(node)? {
            topic if topic.as_str().starts_with('$') => Err(format!(
                "IoT Core ignores a will under `$`; choose another topic, from which a rule can publish to \"{topic}\""
            )),
            topic => Ok(topic),
        });
        // Under `$` IoT Core takes no will at all, which is said above.
        self.doubt_topic(&section, &[""]);
        let payload = self.fixed_payload(&section, "\"lost\"", "a will", MAX_WILL_PAYLOAD);
        let qos = section.get_or("qos", Qos::AtLeastOnce, qos);
        let retain = section.get_or("retain", false, boolean);
        section.finish();
        Some(Will { topic: topic?, payload: payload?, qos, retain })
    }

    /// Likewise.
    fn birth(&self, section: Section<'a>) -> Option<Outbound> {
        let topic = section.require("topic", LINK_TOPIC, |node| self.topic(node));
        self.doubt_topic(&section, &["$aws/"]);
        let payload = self.fixed_payload(&section, "\"up\"", "a birth", MAX_PAYLOAD);
        let qos = section.get_or("qos", Qos::AtLeastOnce, qos);
        let retain = section.get_or("retain", false, boolean);
        if retain && topic.as_ref().is_some_and(|topic| topic.as_str().starts_with("$aws/")) {
            section.error("retain", "IoT Core retains nothing under `$aws/`; leave it out");
        }
        section.finish();
        Some(Outbound { topic: topic?, payload: payload?, qos, retain, urgent: false, properties: None })
    }

    /// `payload` of what is the same on each connection: a will, which has at most `max` bytes.
    fn fixed_payload(&self, section: &Section<'a>, example: &str, what: &str, max: usize) -> Option<Bytes> {
        section.require_parts("payload", example, |node, complaints| {
            let template = payload(node, &self.fixed, complaints)?;
            match template.constant() {
                None => complaints
                    .at(node, format!("holds a placeholder that changes with each publication, which {what} can't")),
                Some(text) if text.len() > max => {
                    let len = text.len();
                    complaints.at(node, format!("is {len} bytes long, MQTT takes at most {max} in {what}"));
                }
                Some(text) => return Some(Bytes::copy_from_slice(text.as_bytes())),
            }
            None
        })
    }
}

fn backoff(section: Section<'_>) -> Backoff {
    let max = section.get_or("max", 2 * MINUTE, duration(10 * MS..=HOUR));
    let backoff = Backoff {
        first: section.get_or("first", SECOND.min(max), duration(Duration::ZERO..=HOUR)),
        min: section.get_or("min", SECOND, duration(10 * MS..=HOUR)),
        max,
        stable_after: section.get_or("stable_after", MINUTE, duration(Duration::ZERO..=DAY)),
    };
    for (key, wait) in [("first", backoff.first), ("min", backoff.min)] {
        if wait > backoff.max {
            section.error(key, &format!("{} is longer than `max`, {}", written(wait), written(backoff.max)));
        }
    }
    section.finish();
    backoff
}

fn rate_limit(section: Section<'_>) -> RateLimit {
    let number = |key, default: u32| section.get_or(key, i64::from(default), integer(1..=i64::from(u32::MAX))) as u32;
    let rate_limit = RateLimit {
        messages_per_second: number("messages_per_second", MESSAGES_PER_SECOND),
        bytes_per_second: section.get_or("bytes_per_second", BYTES_PER_SECOND, size(KIB..=64 * 1024 * MIB)),
        burst: number("burst", 10),
        connects_per_second: number("connects_per_second", CONNECTS_PER_SECOND),
    };
    section.finish();
    rate_limit
}
