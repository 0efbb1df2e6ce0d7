//! The sections of which there is one: their keys, defaults and bounds.

mod action;
mod argv;
mod bridge;
mod claims;
mod connection;
mod copies;
mod meter;
mod metrics;
pub(super) mod paths;
mod payload;
mod provisioning;
mod publish;
mod services;
mod tables;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::certificate::Whose;
use crate::config::document::{Node, Table, Value, keys_below};
use crate::config::known::{self, Known, SECTIONS};
use crate::config::places::{Place, Places};
use crate::config::report::Report;
use crate::config::section::Section;
use crate::config::values::{DAY, HOUR, KIB, MIB, SECOND, WHEN_FULL, duration, size, string, word};
use crate::config::{Environment, KeyFile, Log, Outbox, Status, Tls, WhenFull};
use crate::filesystem::resolved;
use crate::limits::MAX_SUBSCRIPTIONS;
use crate::pkcs11::{Uri, is_uri};
use crate::store::names_of;
use crate::template::Fixed;
pub(super) use claims::Claim;
use claims::Use;
use copies::Wanted;
pub(super) use paths::MAX_SOCKET_PATH;
use paths::{path, path_of};
use provisioning::KEY_BESIDE_PROVISIONING;

/// What is needed to read a section.
pub(in crate::config) struct Reader<'a> {
    pub(in crate::config) root: &'a Table,
    pub(in crate::config) report: &'a Report,
    pub(in crate::config) environment: &'a Environment,
    /// The name that AWS has given the thing, or what stands in for it.
    pub(in crate::config) given_thing: Option<&'a str>,
    /// The client id is filled in once it is known.
    pub(in crate::config) fixed: Fixed,
    /// The client id as it is written.
    pub(in crate::config) written_client_id: String,
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
    /// What readers may ask for more.
    pub(in crate::config) allowed: RefCell<Vec<Wanted>>,
    /// How many of them there may be.
    pub(in crate::config) max_subscriptions: usize,
}

impl<'a> Reader<'a> {
    pub(in crate::config) fn new(root: &'a Table, report: &'a Report, environment: &'a Environment) -> Reader<'a> {
        // Stands in for a client id that is wrong or missing, so that topics that hold it aren't called wrong, too.
        let client_id = "client".to_owned();
        let fixed = Fixed { thing: client_id.clone(), client_id, hostname: environment.hostname.clone() };
        let max_subscriptions = MAX_SUBSCRIPTIONS as usize;
        let (claims, wanted, allowed, places) =
            (RefCell::default(), RefCell::default(), RefCell::default(), RefCell::default());
        let (client_id_place, is_iot_core, key_file) = (None, false, None);
        Reader {
            root,
            report,
            environment,
            given_thing: None,
            fixed,
            written_client_id: String::new(),
            client_id_place,
            is_iot_core,
            claims,
            places,
            key_file,
            wanted,
            allowed,
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
            // Nobody is told of bridges who has none, nor of actions or of provisioning.
            let has = |names: &[&str]| names.iter().any(|name| self.root.get(name).is_some());
            let is_meant = |name: &str| match name {
                "provisioning" => has(&["provisioning"]),
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

    /// Notes where the key stands that names `path`.
    pub(super) fn note(&self, section: &Section<'a>, key: &str, path: &Path) {
        self.places.borrow_mut().note(section.full(key), path, &section.place(key));
    }

    /// `None` if anything is wrong with it, which is reported.
    pub(in crate::config) fn tls(&mut self) -> Option<Tls> {
        let errors_before = self.report.error_count();
        let section = Section::of(self.root, "tls", self.report);
        let by_hand = Path::new("/etc/gatewire/certs");
        // Where gatewire puts what it makes, or people what they have.
        let own = self.root.get("provisioning").map_or_else(|| by_hand.to_owned(), |_| self.environment.identity());
        self.not_beside_provisioning(&section, "cert_file");
        let of_own = if self.root.get("provisioning").is_some() { Use::OfIdentity } else { Use::File };
        let file = |key, default, what| {
            let path = section.get_or(key, default, |node| path(node, self.environment));
            self.note(&section, key, &path);
            self.claim(&section, key, &path, what);
            path
        };
        let tls = Tls {
            ca_file: file("ca_file", by_hand.join("AmazonRootCA1.pem"), Use::File),
            cert_file: file("cert_file", own.join("certificate.pem.crt"), of_own),
            key_file: self.key_file(&section, own.join("private.pem.key"), of_own),
            whose: match self.root.get("provisioning") {
                Some(_) => Whose::Identity(self.environment.identity()),
                None => Whose::ByHand,
            },
        };
        section.finish();
        self.key_file = tls.key_file.secret_file().map(resolved);
        // The defaults aren't meant where the keys stand somewhere else.
        let is_meant = !["ca_file", "cert_file", "key_file"].iter().any(|key| self.report.is_misplaced(key));
        (is_meant && self.report.is_complete() && self.report.error_count() == errors_before).then_some(tls)
    }

    /// `tls.key_file`: a path, or the URI of a key in a token.
    fn key_file(&self, section: &Section<'a>, default: PathBuf, of_own: Use) -> KeyFile {
        let key_file = section.get_or("key_file", KeyFile::File(default), |node| match string(node) {
            Ok(text) if is_uri(text) => {
                Uri::parse(text, |text| path_of(text, self.environment)).map(|uri| KeyFile::Token(Arc::new(uri)))
            }
            _ if self.root.get("provisioning").is_some() => Err(KEY_BESIDE_PROVISIONING.to_owned()),
            _ => path(node, self.environment).map(KeyFile::File),
        });
        for file in key_file.files() {
            self.note(section, "key_file", file);
            let what = if key_file.token().is_some() { Use::File } else { of_own };
            self.claim(section, "key_file", file, what);
        }
        key_file
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
        let socket = self.socket(&section, Some(super::STATUS_SOCKET));
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
