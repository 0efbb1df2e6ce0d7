//! From tables to the types of the configuration: the keys, their defaults and their bounds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::{self, Node, Table, Value};
use super::report::Report;
use super::section::Section;
use super::values::{boolean, duration, integer, mode, size, string, strings, word};
use super::*;
use crate::limits::{MAX_CLIENT_ID_BYTES, MAX_KEEP_ALIVE, MAX_PAYLOAD, MAX_SESSION_EXPIRY, MIN_KEEP_ALIVE};
use crate::schedule::template::{Fixed, Template, fill};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// `sun_path` of a Unix socket address, less its final NUL.
const MAX_SOCKET_PATH: usize = 107;

/// What is needed to read a section.
pub(super) struct Reader<'a> {
    pub(super) root: &'a Table,
    pub(super) report: &'a Report,
    pub(super) environment: &'a Environment,
    /// Filled in once the client id is known.
    pub(super) fixed: Fixed,
}

impl<'a> Reader<'a> {
    pub(super) fn connection(&mut self) -> Option<Connection> {
        let section = Section::of(self.root, "connection", self.report);
        let endpoint = section.require("endpoint", "\"xxxxxxxxxxxxxx-ats.iot.eu-west-1.amazonaws.com\"", endpoint);
        let client_id = section.require("client_id", "\"thing-gateway-01\"", |node| self.client_id(node));
        if let Some(client_id) = &client_id {
            self.fixed.client_id.clone_from(client_id);
        }
        self.protocol(&section);
        let keep_alive = section.get_or("keep_alive", MINUTE, duration(5 * SECOND..=MAX_KEEP_ALIVE));
        if keep_alive < MIN_KEEP_ALIVE {
            section.warning("keep_alive", "IoT Core counts less than 30s as 30s");
        }
        section.not_yet("will", "leave it out");
        section.not_yet("proxy", "leave it out; port 443 is what most closed networks let through");
        let connection = Connection {
            endpoint: endpoint.clone().unwrap_or_default(),
            port: section.get_or("port", 8883, integer(1..=65535)) as u16,
            client_id: client_id.clone().unwrap_or_default(),
            session_expiry: section.get_or("session_expiry", HOUR, duration(Duration::ZERO..=MAX_SESSION_EXPIRY)),
            keep_alive,
            connect_timeout: section.get_or("connect_timeout", 20 * SECOND, duration(SECOND..=10 * MINUTE)),
            ack_timeout: section.get_or("ack_timeout", 10 * SECOND, duration(SECOND..=10 * MINUTE)),
            backoff: backoff(section.section("backoff")),
            rate_limit: rate_limit(section.section("rate_limit")),
        };
        section.finish();
        (endpoint.is_some() && client_id.is_some()).then_some(connection)
    }

    /// `protocol = "5"` is what it will be when nothing is said; until then something has to be.
    fn protocol(&self, section: &Section<'_>) {
        match section.get("protocol", word(&[("5", "5"), ("3.1.1", "3.1.1")])) {
            Some("3.1.1") => {}
            Some(_) => section.error("protocol", "\"5\" is not supported yet; write `protocol = \"3.1.1\"`"),
            None if section.node("protocol").is_none() => {
                let text = "is missing, and its default \"5\" is not supported yet; write `protocol = \"3.1.1\"`";
                section.missing("protocol", text);
            }
            None => {}
        }
    }

    fn client_id(&self, node: &Node) -> Result<String, String> {
        let text = string(node)?;
        if text.contains("client_id") && text.contains("{{") {
            return Err("may hold {{hostname}}, but not itself".to_owned());
        }
        let client_id = fill(text, &self.fixed).map_err(|error| error.to_string())?;
        match client_id.as_str() {
            "" => Err("must not be empty".to_owned()),
            id if id.starts_with('$') => Err("must not begin with `$`, which IoT Core keeps for itself".to_owned()),
            id if id.contains('\0') => Err("must not hold a NUL character".to_owned()),
            id if id.len() > MAX_CLIENT_ID_BYTES => {
                Err(format!("is {} bytes long, IoT Core takes at most {MAX_CLIENT_ID_BYTES}", id.len()))
            }
            _ => Ok(client_id),
        }
    }

    pub(super) fn tls(&self) -> Tls {
        let section = Section::of(self.root, "tls", self.report);
        let file = |key, name: &str| {
            let default = PathBuf::from("/etc/gatewire/certs").join(name);
            section.get_or(key, default, |node| self.path(node))
        };
        let tls = Tls {
            ca_file: file("ca_file", "AmazonRootCA1.pem"),
            cert_file: file("cert_file", "certificate.pem.crt"),
            key_file: file("key_file", "private.pem.key"),
        };
        section.finish();
        tls
    }

    /// The tables of `[[kind]]`, each with its name. Two of one name are reported with both places.
    fn named(&self, kind: &'static str) -> Vec<(Section<'a>, String)> {
        let Some(entry) = self.root.get(kind) else { return Vec::new() };
        let Value::Array(items) = &entry.node.value else {
            self.report.error(&entry.place, format!("`{kind}`: must be an array of tables, [[{kind}]]"));
            return Vec::new();
        };
        let mut named: Vec<(Section<'a>, String)> = Vec::new();
        for item in items {
            let Value::Table(table) = &item.value else {
                self.report.error(&item.place, format!("`{kind}`: must be an array of tables, [[{kind}]]"));
                continue;
            };
            let section = Section::whole(kind, table, self.report);
            let name = section.require("name", "\"hello\"", |node| match string(node)? {
                "" => Err("must not be empty".to_owned()),
                name => Ok(name.to_owned()),
            });
            let name = name.unwrap_or_default();
            if let Some((first, _)) = named.iter().find(|(_, known)| *known == name && !name.is_empty()) {
                section.error("name", &format!("\"{name}\" is taken by the [[{kind}]] at {}", first.place("name")));
            }
            named.push((section, name));
        }
        named
    }

    pub(super) fn publishes(&self) -> Vec<Publish> {
        self.named("publish").into_iter().filter_map(|(section, name)| self.publish(section, name)).collect()
    }

    fn publish(&self, section: Section<'a>, name: String) -> Option<Publish> {
        for key in ["cron", "timezone"] {
            section.not_yet(key, "write `every = \"5m\"`");
        }
        for key in ["file", "command", "timeout", "metrics"] {
            section.not_yet(key, "let a program read the value and publish it through an [[ingest]] socket");
        }
        for key in ["on_change", "min_change", "batch"] {
            section.not_yet(key, "leave it out");
        }
        let topic = section.require("topic", "\"test/topic\"", |node| self.topic(node));
        let every = section.require("every", "\"1m\"", duration(10 * MS..=366 * DAY));
        let jitter = section.get_or("jitter", Duration::ZERO, duration(Duration::ZERO..=366 * DAY));
        if every.is_some_and(|every| jitter >= every) && !jitter.is_zero() {
            section.error("jitter", "must be shorter than `every`");
        }
        let payload = section.require("payload", "{ message = \"Hello\" }", |node| self.payload(node));
        let count = section.get("count", integer(1..=i64::MAX)).map(i64::unsigned_abs);
        let at_start = section.get_or("at_start", true, boolean);
        let qos = section.get_or("qos", Qos::AtLeastOnce, qos);
        let retain = section.get_or("retain", false, boolean);
        section.finish();
        Some(Publish { name, topic: topic?, every: every?, count, jitter, at_start, payload: payload?, qos, retain })
    }

    pub(super) fn forwards(&self) -> Vec<Forward> {
        self.named("forward").into_iter().filter_map(|(section, name)| self.forward(section, name)).collect()
    }

    fn forward(&self, section: Section<'a>, name: String) -> Option<Forward> {
        let filters = section.require("filters", "[\"test/topic\"]", |node| self.filters(node));
        let socket = self.socket(&section, None);
        if section.get("ack", word(&[("written", "written"), ("reader", "reader")])) == Some("reader") {
            section.error("ack", "\"reader\" is not supported yet; leave it out, or write \"written\"");
        }
        let qos = section.get_or("qos", Qos::AtLeastOnce, qos);
        let formats = word(&[("json", Format::Json), ("payload", Format::Payload)]);
        let format = section.get_or("format", Format::Json, formats);
        let keep = keep(section.section("keep"));
        let place = section.place("filters");
        section.finish();
        Some(Forward { name, filters: filters?, qos, socket: socket?, format, keep, place })
    }

    pub(super) fn ingests(&self) -> Vec<Ingest> {
        self.named("ingest").into_iter().filter_map(|(section, name)| self.ingest(section, name)).collect()
    }

    fn ingest(&self, section: Section<'a>, name: String) -> Option<Ingest> {
        section.not_yet("batch", "leave it out");
        let socket = self.socket(&section, None);
        let topics = section.require("topics", "[\"gateways/{{client_id}}/#\"]", |node| self.filters(node));
        section.finish();
        Some(Ingest { name, socket: socket?, topics: topics? })
    }

    pub(super) fn outbox(&self) -> Outbox {
        let section = Section::of(self.root, "outbox", self.report);
        let path = PathBuf::from("/var/lib/gatewire/gatewire.db");
        let outbox = Outbox {
            path: section.get_or("path", path, |node| self.path(node)),
            max_size: section.get_or("max_size", 256 * MIB, size(MIB..=64 * 1024 * MIB)),
            max_age: section.get_or("max_age", 7 * DAY, duration(MINUTE..=3660 * DAY)),
            when_full: section.get_or("when_full", WhenFull::DropOldest, word(WHEN_FULL)),
            spill_after: section.get_or("spill_after", SECOND, duration(10 * MS..=MINUTE)),
        };
        section.finish();
        outbox
    }

    pub(super) fn status(&self) -> Option<Status> {
        let section = Section::of(self.root, "status", self.report);
        let socket = self.socket(&section, Some("/run/gatewire/status.sock"));
        section.finish();
        Some(Status { socket: socket? })
    }

    pub(super) fn log(&self) -> Log {
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

    fn socket(&self, section: &Section<'_>, default: Option<&str>) -> Option<SocketFile> {
        let path = |node: &Node| {
            let path = self.path(node)?;
            match path.as_os_str().len() {
                len if len > MAX_SOCKET_PATH => {
                    Err(format!("is {len} bytes long, a socket's path may have at most {MAX_SOCKET_PATH}"))
                }
                _ if path.file_name().is_none() => Err("must name a file".to_owned()),
                _ => Ok(path),
            }
        };
        let found = match default {
            None => section.require("socket", "\"/run/gatewire/messages.sock\"", path),
            Some(default) => Some(section.get_or("socket", PathBuf::from(default), path)),
        };
        let group = section.get("group", |node| match string(node)? {
            "" => Err("must not be empty; leave it out for the process's own group".to_owned()),
            group => Ok(group.to_owned()),
        });
        let mode = section.get_or("mode", 0o660, mode);
        Some(SocketFile { path: found?, mode, group, place: section.place("socket") })
    }

    fn topic(&self, node: &Node) -> Result<Topic, String> {
        let topic = fill(string(node)?, &self.fixed).map_err(|error| error.to_string())?;
        Topic::new(&topic).map_err(|error| format!("\"{topic}\" can't be published to: {error}"))
    }

    fn filters(&self, node: &Node) -> Result<Vec<TopicFilter>, String> {
        let filter = |(_, text): (&Node, &str)| {
            let filter = fill(text, &self.fixed).map_err(|error| error.to_string())?;
            TopicFilter::new(&filter).map_err(|error| format!("\"{filter}\" isn't a topic filter: {error}"))
        };
        strings(node)?.into_iter().map(filter).collect()
    }

    fn payload(&self, node: &Node) -> Result<Template, String> {
        let template = match &node.value {
            Value::String(text) => Template::text(text, &self.fixed),
            Value::Table(_) | Value::Array(_) => Template::json(&document::json(node)?, &self.fixed),
            other => return Err(format!("must be a string, a table or an array, not {}", other.kind())),
        };
        let template = template.map_err(|error| error.to_string())?;
        match template.max_len() {
            len if len > MAX_PAYLOAD => Err(format!("may get {len} bytes long, IoT Core takes at most {MAX_PAYLOAD}")),
            _ => Ok(template),
        }
    }

    /// An absolute path, or one in a directory that systemd names.
    fn path(&self, node: &Node) -> Result<PathBuf, String> {
        let text = string(node)?;
        let Some(rest) = text.strip_prefix('$') else {
            return match Path::new(text) {
                path if path.is_absolute() => Ok(path.to_owned()),
                _ => Err(format!("\"{text}\" must be an absolute path, one that begins with `/`")),
            };
        };
        let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let (value, directive) = match name {
            "CREDENTIALS_DIRECTORY" => (&self.environment.credentials_directory, "LoadCredential="),
            "RUNTIME_DIRECTORY" => (&self.environment.runtime_directory, "RuntimeDirectory="),
            "STATE_DIRECTORY" => (&self.environment.state_directory, "StateDirectory="),
            _ => {
                return Err(format!(
                    "${name} can't stand in a path; $CREDENTIALS_DIRECTORY, $RUNTIME_DIRECTORY and $STATE_DIRECTORY can"
                ));
            }
        };
        match value {
            // systemd lists several directories with colons: ours is the first.
            Some(value) => Ok(Path::new(value.split(':').next().unwrap_or_default()).join(rest)),
            None => Err(format!("${name} isn't set: systemd sets it for a unit with `{directive}`")),
        }
    }
}

const WHEN_FULL: &[(&str, WhenFull)] = &[("drop-oldest", WhenFull::DropOldest), ("reject-new", WhenFull::RejectNew)];

fn backoff(section: Section<'_>) -> Backoff {
    let backoff = Backoff {
        min: section.get_or("min", SECOND, duration(100 * MS..=HOUR)),
        max: section.get_or("max", 2 * MINUTE, duration(100 * MS..=HOUR)),
        stable_after: section.get_or("stable_after", MINUTE, duration(Duration::ZERO..=DAY)),
    };
    if backoff.min > backoff.max {
        section.error("min", "must not be longer than `max`");
    }
    section.finish();
    backoff
}

fn rate_limit(section: Section<'_>) -> RateLimit {
    let number = |key, default| section.get_or(key, default, integer(1..=i64::from(u32::MAX))) as u32;
    let rate_limit = RateLimit {
        messages_per_second: number("messages_per_second", 100),
        bytes_per_second: section.get_or("bytes_per_second", 512 * KIB, size(KIB..=64 * 1024 * MIB)),
        burst: number("burst", 10),
        connects_per_second: number("connects_per_second", 1),
    };
    section.finish();
    rate_limit
}

fn keep(section: Section<'_>) -> Keep {
    let keep = Keep {
        messages: section.get_or("messages", 10_000, integer(1..=1_000_000_000)).unsigned_abs(),
        bytes: section.get_or("bytes", 16 * MIB, size(KIB..=64 * 1024 * MIB)),
        when_full: section.get_or("when_full", WhenFull::DropOldest, word(WHEN_FULL)),
    };
    section.finish();
    keep
}

fn qos(node: &Node) -> Result<Qos, String> {
    match integer(0..=2)(node).map(Qos::try_from)? {
        Ok(qos) => Ok(qos),
        Err(()) => Err("IoT Core has no QoS 2; use 1".to_owned()),
    }
}

/// A host name or IP address, as people write it who have just copied it from somewhere.
fn endpoint(node: &Node) -> Result<String, String> {
    let text = string(node)?;
    let example = "only the host name, such as a1b2c3d4e5f6g7-ats.iot.eu-west-1.amazonaws.com";
    if text.is_empty() {
        return Err(format!("must not be empty; it is {example}"));
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(format!("must not begin with \"{scheme}://\"; it is {example}"));
    }
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    if let Some((host, port)) = text.rsplit_once(':') {
        return Err(format!("must not hold a port; write `endpoint = \"{host}\"` and `port = {port}`"));
    }
    if let Some(other) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))) {
        return Err(format!("must not hold {other:?}; it is {example}"));
    }
    if text.starts_with("xxxx") {
        return Err("is still the placeholder. Your account's endpoint is shown by `aws iot describe-endpoint \
                    --endpoint-type iot:Data-ATS`, or in the AWS IoT console under Settings"
            .to_owned());
    }
    Ok(text.to_owned())
}

/// Where the union of all filters gets too long, and which sockets want the same path.
pub(super) fn check_together(config: &Config, report: &Report) {
    let mut filters: Vec<&TopicFilter> = Vec::new();
    for forward in &config.forward {
        filters.extend(&forward.filters);
        filters.sort_unstable();
        filters.dedup();
        if filters.len() > MAX_SUBSCRIPTIONS {
            let text = format!(
                "`forward.filters`: with \"{}\" there are {} filters, IoT Core takes at most {MAX_SUBSCRIPTIONS} a \
                 connection; wildcards cover several",
                forward.name,
                filters.len()
            );
            report.error(&forward.place, text);
            break;
        }
    }
    let sockets = config.forward.iter().map(|forward| &forward.socket);
    let sockets = sockets.chain(config.ingest.iter().map(|ingest| &ingest.socket)).chain([&config.status.socket]);
    let mut seen: Vec<&SocketFile> = Vec::new();
    for socket in sockets {
        if let Some(first) = seen.iter().find(|first| first.path == socket.path) {
            let text = format!("`socket`: {} is taken by the one at {}", socket.path.display(), first.place);
            report.error(&socket.place, text);
        }
        seen.push(socket);
    }
}

/// The sections there are, for the complaint about one that isn't.
pub(super) const SECTIONS: [&str; 8] = ["connection", "tls", "publish", "forward", "ingest", "outbox", "status", "log"];

/// Keys at the top that no section takes.
pub(super) fn check_root(root: &Table, report: &Report) {
    for entry in root.entries.iter().filter(|entry| !SECTIONS.contains(&entry.key.as_str())) {
        let hint = match report::nearest(&entry.key, SECTIONS) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("there are {}", SECTIONS.join(", ")),
        };
        report.error(&entry.place, format!("`{}`: unknown section; {hint}", entry.key));
    }
}
