//! The sections of which there is one: their keys, defaults and bounds.

mod action;
mod argv;
mod bridge;
mod claims;
mod copies;
pub(super) mod paths;
mod payload;
mod publish;
mod services;
mod tables;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

use crate::config::document::{Node, Table, Value, keys_below};
use crate::config::doubt;
use crate::config::endpoint::{self, endpoint};
use crate::config::known::{self, Known, SECTIONS};
use crate::config::places::{Place, Places};
use crate::config::proxy::{is_exposed, proxy};
use crate::config::report::Report;
use crate::config::section::Section;
use crate::config::values::{
    DAY, HOUR, KIB, MIB, MINUTE, MS, SECOND, WHEN_FULL, boolean, duration, integer, qos, size, string, word,
};
use crate::config::{Backoff, Connection, Environment, Log, Outbox, Proxy, RateLimit, Status, Tls, WhenFull};
use crate::duration::written;
use crate::exposure;
use crate::filesystem::resolved;
use crate::limits::{
    BYTES_PER_SECOND, CONNECTS_PER_SECOND, MAX_CLIENT_ID_BYTES, MAX_KEEP_ALIVE, MAX_SESSION_EXPIRY, MAX_SUBSCRIPTIONS,
    MAX_WILL_PAYLOAD, MESSAGES_PER_SECOND, MIN_KEEP_ALIVE, may_be_thing,
};
use crate::message::{Qos, check_characters};
use crate::mqtt::{Protocol, Will};
use crate::store::names_of;
use crate::template::{Fixed, fill_client_id};
pub(super) use claims::Claim;
use claims::Use;
use copies::Wanted;
pub(super) use paths::MAX_SOCKET_PATH;
use paths::path;
use payload::payload;

/// The words of `protocol`.
const PROTOCOLS: &[(&str, Protocol)] = &[("5", Protocol::Mqtt5), ("3.1.1", Protocol::Mqtt311)];

/// What is needed to read a section.
pub(in crate::config) struct Reader<'a> {
    pub(in crate::config) root: &'a Table,
    pub(in crate::config) report: &'a Report,
    pub(in crate::config) environment: &'a Environment,
    /// The client id is filled in once it is known.
    pub(in crate::config) fixed: Fixed,
    /// Where the client id stands.
    pub(in crate::config) client_id_place: Option<Place>,
    /// The endpoint is one of IoT Core's.
    pub(in crate::config) is_iot_core: bool,
    /// The paths that have a use.
    pub(in crate::config) claims: RefCell<Vec<Claim>>,
    /// Where the values stand that name files.
    pub(in crate::config) places: RefCell<Places>,
    /// What must never be published.
    pub(in crate::config) key_file: Option<PathBuf>,
    /// The filters of all forwards, bridges and services so far.
    pub(in crate::config) wanted: RefCell<Vec<Wanted>>,
    /// How many of them there may be.
    pub(in crate::config) max_subscriptions: usize,
}

impl<'a> Reader<'a> {
    pub(in crate::config) fn new(root: &'a Table, report: &'a Report, environment: &'a Environment) -> Reader<'a> {
        // Stands in for a client id that is wrong or missing, so that topics that hold it aren't called wrong, too.
        let client_id = "client".to_owned();
        let fixed = Fixed { thing: client_id.clone(), client_id, hostname: environment.hostname.clone() };
        let max_subscriptions = MAX_SUBSCRIPTIONS as usize;
        let (claims, wanted, places) = (RefCell::default(), RefCell::default(), RefCell::default());
        let (client_id_place, is_iot_core, key_file) = (None, false, None);
        Reader {
            root,
            report,
            environment,
            fixed,
            client_id_place,
            is_iot_core,
            claims,
            places,
            key_file,
            wanted,
            max_subscriptions,
        }
    }

    /// Keys at the top that are no section.
    pub(in crate::config) fn check_root(&self) {
        let names = SECTIONS.map(|section| section.name);
        for entry in self.root.entries.iter().filter(|entry| !names.contains(&entry.key.as_str())) {
            let key = &entry.key;
            let is_table = matches!(&entry.node.value, Value::Table(_) | Value::Array(_));
            if is_table && ["up", "down"].contains(&key.as_str()) {
                let text = format!("`{key}`: its header is `[[bridge.{key}]]`, below that of its `[[bridge]]`");
                self.report.misplaced(&entry.place, key, &text);
                self.report.meant_elsewhere(keys_below(&entry.node));
                continue;
            }
            // Nobody is told of bridges who has none, nor of actions.
            let has = |names: &[&str]| names.iter().any(|name| self.root.get(name).is_some());
            let is_meant = |name: &str| match name {
                "jobs" | "commands" | "action" => has(&["jobs", "commands", "action"]),
                name => !name.starts_with("bridge") || has(&["bridge"]),
            };
            let homes = |key: &str| known::homes_among(key, is_meant).or_else(|| known::homes(key));
            let section = known::section_meant(key).or_else(|| section_within(&entry.node));
            let meant = known::key_meant(key, is_meant).filter(|_| !is_table || section.is_none());
            // `[command]` is none of the keys with that name, which are no tables.
            let is_meant = is_table && section.is_some() && known::header_below(key).is_none();
            let own =
                homes(key).filter(|_| !is_meant && (!is_table || known::section(key).is_none())).map(|_| key.as_str());
            let other = meant.filter(|meant| !is_table || known::header_below(meant).is_some());
            if let Some(name) = own.or(other) {
                let homes = homes(name).unwrap_or_default();
                let text = match (is_table.then(|| known::header_below(name)).flatten(), own) {
                    (Some(header), Some(_)) => {
                        format!("`{key}`: belongs to {homes}; write its header as {header}, below that section")
                    }
                    (Some(header), None) => {
                        format!(
                            "`{key}`: unknown section; did you mean `{name}` of {homes}? Its header is {header}, below that section"
                        )
                    }
                    (None, Some(_)) if is_table => {
                        format!("`{key}`: is a key, not a section; write it as `{key} = ...` below {homes}")
                    }
                    (None, Some(_)) => format!("`{key}`: is above the first section; put it below {homes}"),
                    (None, None) => {
                        format!(
                            "`{key}`: is above the first section, and unknown; did you mean `{name}`? Put that below {homes}"
                        )
                    }
                };
                self.report.misplaced(&entry.place, name, &text);
                continue;
            }
            self.report.meant_elsewhere(keys_below(&entry.node));
            let hint = match section.filter(|_| is_table) {
                Some(section) => format!("did you mean `{}`?", known::header(section)),
                None => format!("there are {}", SECTIONS.map(known::header).join(", ")),
            };
            let what = if is_table { "section" } else { "key, above the first section" };
            self.report.error(&entry.place, &format!("`{key}`: unknown {what}; {hint}"));
        }
    }

    /// `None` if there is no endpoint or client id, which is reported.
    pub(in crate::config) fn connection(&mut self) -> Option<Connection> {
        let section = Section::of(self.root, "connection", self.report);
        let endpoint = section.require("endpoint", "\"xxxxxxxxxxxxxx-ats.iot.eu-west-1.amazonaws.com\"", endpoint);
        let thing = section.get("thing", |node| self.thing(node));
        let has_thing = section.node("thing").is_some();
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
        let keep_alive = section.get_or("keep_alive", MINUTE, duration(5 * SECOND..=MAX_KEEP_ALIVE));
        if keep_alive < MIN_KEEP_ALIVE {
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
            protocol: section.get_or("protocol", Protocol::Mqtt5, word(PROTOCOLS)),
            session_expiry: section.get_or("session_expiry", HOUR, duration(Duration::ZERO..=MAX_SESSION_EXPIRY)),
            keep_alive,
            connect_timeout: section.get_or("connect_timeout", 20 * SECOND, duration(100 * MS..=10 * MINUTE)),
            ack_timeout: section.get_or("ack_timeout", 10 * SECOND, duration(100 * MS..=10 * MINUTE)),
            backoff: backoff(section.section("backoff")),
            rate_limit: rate_limit(section.section("rate_limit")),
            proxy: section.get("proxy", proxy),
            will: section.optional_section("will").and_then(|section| self.will(section)),
        };
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
        let topic = section.require("topic", "\"gateways/{{client_id}}/link\"", |node| match self.topic(node)? {
            topic if topic.as_str().starts_with('$') => Err(format!(
                "IoT Core ignores a will under `$`; choose another topic, from which a rule can publish to \"{topic}\""
            )),
            topic => Ok(topic),
        });
        // Under `$` IoT Core takes no will at all, which is said above.
        self.doubt_topic(&section, &[""]);
        let payload = section.require_parts("payload", "\"lost\"", |node, complaints| {
            let template = payload(node, &self.fixed, complaints)?;
            match template.constant() {
                None => complaints
                    .at(node, "holds a placeholder that changes with each publication, which a will can't".to_owned()),
                Some(text) if text.len() > MAX_WILL_PAYLOAD => {
                    let len = text.len();
                    complaints
                        .at(node, format!("is {len} bytes long, MQTT takes at most {MAX_WILL_PAYLOAD} in a will"));
                }
                Some(text) => return Some(Bytes::copy_from_slice(text.as_bytes())),
            }
            None
        });
        let qos = section.get_or("qos", Qos::AtLeastOnce, qos);
        let retain = section.get_or("retain", false, boolean);
        section.finish();
        Some(Will { topic: topic?, payload: payload?, qos, retain })
    }

    /// Notes where the key stands that names `path`.
    pub(super) fn note(&self, section: &Section<'a>, key: &str, path: &Path) {
        self.places.borrow_mut().note(section.full(key), path, &section.place(key));
    }

    /// `None` if anything is wrong with it, which is reported.
    pub(in crate::config) fn tls(&mut self) -> Option<Tls> {
        let errors_before = self.report.error_count();
        let section = Section::of(self.root, "tls", self.report);
        let file = |key, name: &str| {
            let default = PathBuf::from("/etc/gatewire/certs").join(name);
            let path = section.get_or(key, default, |node| path(node, self.environment));
            self.note(&section, key, &path);
            self.claim(&section, key, &path, Use::File);
            path
        };
        let tls = Tls {
            ca_file: file("ca_file", "AmazonRootCA1.pem"),
            cert_file: file("cert_file", "certificate.pem.crt"),
            key_file: file("key_file", "private.pem.key"),
        };
        section.finish();
        self.key_file = Some(resolved(&tls.key_file));
        // The defaults aren't meant where the keys stand somewhere else.
        let is_meant = !["ca_file", "cert_file", "key_file"].iter().any(|key| self.report.is_misplaced(key));
        (is_meant && self.report.is_complete() && self.report.error_count() == errors_before).then_some(tls)
    }

    pub(in crate::config) fn outbox(&self) -> Outbox {
        let section = Section::of(self.root, "outbox", self.report);
        let default = PathBuf::from("/var/lib/gatewire/gatewire.db");
        let outbox = Outbox {
            path: section.get_or("path", default, |node| path(node, self.environment)),
            max_size: section.get_or("max_size", 256 * MIB, size(64 * KIB..=64 * 1024 * MIB)),
            max_age: section.get_or("max_age", 7 * DAY, duration(SECOND..=3660 * DAY)),
            when_full: section.get_or("when_full", WhenFull::DropOldest, word(WHEN_FULL)),
            spill_after: section.get_or("spill_after", SECOND, duration(Duration::ZERO..=HOUR)),
        };
        // SQLite's own files and the lock lie beside it.
        for name in names_of(&outbox.path) {
            if !self.claim(&section, "path", &name, Use::Database) {
                break;
            }
        }
        self.note(&section, "path", &outbox.path);
        section.finish();
        outbox
    }

    pub(in crate::config) fn status(&self) -> Option<Status> {
        let section = Section::of(self.root, "status", self.report);
        let socket = self.socket(&section, Some("/run/gatewire/status.sock"));
        section.finish();
        Some(Status { socket: socket? })
    }

    pub(in crate::config) fn log(&self) -> Log {
        use log::LevelFilter;
        let section = Section::of(self.root, "log", self.report);
        let levels = word(&[
            ("error", LevelFilter::Error),
            ("warn", LevelFilter::Warn),
            ("info", LevelFilter::Info),
            ("debug", LevelFilter::Debug),
        ]);
        let level = section.get_or("level", LevelFilter::Info, levels);
        section.finish();
        Log { level }
    }
}

/// As in `[gatewire.connection]`.
fn section_within(node: &Node) -> Option<&'static Known> {
    let Value::Table(table) = &node.value else { return None };
    table.entries.iter().find_map(|entry| known::section(&entry.key))
}

fn backoff(section: Section<'_>) -> Backoff {
    let backoff = Backoff {
        min: section.get_or("min", SECOND, duration(10 * MS..=HOUR)),
        max: section.get_or("max", 2 * MINUTE, duration(10 * MS..=HOUR)),
        stable_after: section.get_or("stable_after", MINUTE, duration(Duration::ZERO..=DAY)),
    };
    if backoff.min > backoff.max {
        let text = format!("{} is longer than `max`, {}", written(backoff.min), written(backoff.max));
        section.error("min", &text);
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
