//! The names there are: sections and their keys, and what people call them otherwise.

mod other_words;

use crate::spelling::{self, nearest};
use other_words::{OTHER_NAMES, OTHER_SECTIONS, OTHER_WORDS};

/// A section: its name, whether there may be several, and its keys.
pub(super) struct Known {
    pub(super) name: &'static str,
    /// `[[name]]`
    pub(super) is_array: bool,
    pub(super) keys: &'static [&'static str],
}

/// All of them. A test holds them against what the reader takes.
pub(super) const SECTIONS: [&Known; 17] = [
    &Known {
        name: "connection",
        is_array: false,
        keys: &[
            "endpoint",
            "port",
            "client_id",
            "thing",
            "protocol",
            "session_expiry",
            "keep_alive",
            "connect_timeout",
            "ack_timeout",
            "backoff",
            "rate_limit",
            "max_subscriptions",
            "proxy",
            "will",
            "birth",
            "topic_alias",
        ],
    },
    &Known { name: "tls", is_array: false, keys: &["ca_file", "cert_file", "key_file"] },
    &Known {
        name: "provisioning",
        is_array: false,
        keys: &[
            "template",
            "claim_cert_file",
            "claim_key_file",
            "claim_client_id",
            "parameters",
            "key",
            "claim_after",
            "renew_before",
        ],
    },
    &Known {
        name: "publish",
        is_array: true,
        keys: &[
            "name",
            "topic",
            "every",
            "cron",
            "timezone",
            "count",
            "jitter",
            "at_start",
            "file",
            "command",
            "timeout",
            "metrics",
            "payload",
            "on_change",
            "min_change",
            "batch",
            "qos",
            "retain",
            "urgent",
        ],
    },
    &Known {
        name: "forward",
        is_array: true,
        keys: &["name", "filters", "allow", "qos", "socket", "mode", "group", "format", "ack", "keep"],
    },
    &Known { name: "ingest", is_array: true, keys: &["name", "socket", "topics", "urgent", "mode", "group", "batch"] },
    &BRIDGE,
    &BRIDGE_UP,
    &BRIDGE_DOWN,
    &Known { name: "jobs", is_array: false, keys: &["socket", "mode", "group"] },
    &Known { name: "commands", is_array: false, keys: &["max_age"] },
    &ACTION,
    &Known { name: "outbox", is_array: false, keys: &["path", "max_size", "max_age", "when_full", "spill_after"] },
    &Known { name: "status", is_array: false, keys: &["socket", "mode", "group"] },
    &Known { name: "metrics", is_array: false, keys: &["listen", "mode", "group"] },
    &Known { name: "meter", is_array: false, keys: &["budget"] },
    &Known { name: "log", is_array: false, keys: &["level"] },
];

const ACTION: Known = Known {
    name: "action",
    is_array: true,
    keys: &[
        "name",
        "handler",
        "split",
        "args",
        "max_args",
        "run",
        "as",
        "timeout",
        "done",
        "rerun",
        "report_output",
        "download",
    ],
};

const BRIDGE: Known = Known {
    name: "bridge",
    is_array: true,
    keys: &[
        "name",
        "broker",
        "tls",
        "username",
        "password_file",
        "client_id",
        "protocol",
        "status_topic",
        "discovery",
        "up",
        "down",
    ],
};

const BRIDGE_UP: Known = Known {
    name: "bridge.up",
    is_array: true,
    keys: &["from", "strip", "to", "except", "retain", "urgent", "every", "on_change", "batch"],
};

const BRIDGE_DOWN: Known = Known { name: "bridge.down", is_array: true, keys: &["from", "strip", "to", "keep"] };

/// The section among all that is meant by `name`.
pub(super) fn section_meant(name: &str) -> Option<&'static Known> {
    let others: Vec<(&str, &str)> =
        OTHER_SECTIONS.iter().flat_map(|(section, others)| others.iter().map(|other| (*other, *section))).collect();
    section(spelling::meant(name, &SECTIONS.map(|section| section.name), &others)?)
}

/// The key among those of the sections that are meant, by their names, that is meant by `name`; not where that may be several.
pub(super) fn key_meant(name: &str, is_meant: impl Fn(&str) -> bool) -> Option<&'static str> {
    let meant = |keys| spelling::meant(name, keys, OTHER_NAMES);
    let mut found = SECTIONS.iter().filter(|known| is_meant(known.name)).filter_map(|known| meant(known.keys));
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

/// The word among `known` that is meant by `word`.
pub(super) fn word_meant<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let other = OTHER_WORDS.iter().find(|(other, _)| other.eq_ignore_ascii_case(word));
    let other = other.and_then(|(_, meant)| known.iter().find(|known| *known == meant).copied());
    other.or_else(|| nearest(word, known.iter().copied()))
}

pub(super) fn section(name: &str) -> Option<&'static Known> {
    SECTIONS.into_iter().find(|known| known.name == name)
}

/// How the header of a section is written.
pub(super) fn header(known: &Known) -> String {
    if known.is_array { format!("[[{}]]", known.name) } else { format!("[{}]", known.name) }
}

pub(super) fn is_key(name: &str) -> bool {
    SECTIONS.iter().any(|known| known.keys.contains(&name))
}

/// The header of a table that is the value of `key`: `[connection.backoff]`, or several. `None` for what is no table.
pub(super) fn header_below(key: &str) -> Option<String> {
    const TABLES: [&str; 10] =
        ["backoff", "rate_limit", "will", "birth", "parameters", "payload", "keep", "batch", "download", "budget"];
    let homes = SECTIONS.iter().filter(|known| TABLES.contains(&key) && known.keys.contains(&key));
    let headers: Vec<String> = homes.map(|known| format!("`[{}.{key}]`", known.name)).collect();
    (!headers.is_empty()).then(|| headers.join(" or "))
}

/// The only section that has all these keys, of which there are several.
pub(super) fn only_home(keys: &[&str]) -> Option<&'static Known> {
    let mut homes = SECTIONS.into_iter().filter(|known| keys.iter().all(|key| known.keys.contains(key)));
    homes.next().filter(|_| keys.len() > 1 && homes.next().is_none())
}

/// The headers of the sections that have this key, as in "`[status]` or `[[forward]]`".
pub(super) fn homes(key: &str) -> Option<String> {
    homes_among(key, |_| true)
}

/// Likewise of those that are meant, by their names.
pub(super) fn homes_among(key: &str, is_meant: impl Fn(&str) -> bool) -> Option<String> {
    let has_it = |known: &&&Known| known.keys.contains(&key) && is_meant(known.name);
    let homes: Vec<String> = SECTIONS.iter().filter(has_it).map(|known| format!("`{}`", header(known))).collect();
    match &homes[..] {
        [] => None,
        [only] => Some(only.clone()),
        [others @ .., last] => Some(format!("{} or {last}", others.join(", "))),
    }
}

/// The key among `known` that is meant by `name`, if that can be told.
pub(crate) fn meant<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    spelling::meant(name, known, OTHER_NAMES)
}

/// What is said of a key in `[[bridge]]` that is one of its rules, or of one that rules don't need.
pub(super) fn about_bridge_rule(section: &str, key: &str) -> Option<String> {
    match section {
        "bridge.up" | "bridge.down" if key == "qos" => {
            Some("leave it out: a bridge carries everything with QoS 1".to_owned())
        }
        "bridge" if !BRIDGE.keys.contains(&key) && spelling::meant(key, BRIDGE.keys, OTHER_NAMES).is_none() => {
            let rule = BRIDGE_UP.keys.iter().chain(BRIDGE_DOWN.keys).copied().collect::<Vec<_>>();
            let meant = spelling::meant(key, &rule, OTHER_NAMES)?;
            let ways = match (BRIDGE_UP.keys.contains(&meant), BRIDGE_DOWN.keys.contains(&meant)) {
                (true, true) => "`[[bridge.up]]` or `[[bridge.down]]`",
                (true, false) => "`[[bridge.up]]`",
                _ => "`[[bridge.down]]`",
            };
            Some(match meant == key {
                true => format!("it belongs to a rule: write it below {ways}"),
                false => format!("a rule has it, as `{meant}`: write that below {ways}"),
            })
        }
        _ => None,
    }
}

/// What does what is meant by a key that there isn't, where that is no other key of its section.
pub(super) fn about_another_way(section: &str, header: &str, key: &str) -> Option<String> {
    let plain = key.to_lowercase().replace(['-', ' '], "_");
    let is_switch = ["enabled", "enable", "active", "disabled", "disable"].contains(&plain.as_str());
    Some(match (section, plain.as_str()) {
        (_, _) if is_switch && !header.is_empty() => {
            format!("a section that is there is in use; to turn it off, delete `{header}` and its keys, or put a # before each line")
        }
        ("jobs" | "commands", "thing" | "thing_name" | "thingname" | "client_id") => {
            "it is that of [connection]: write `thing = \"NAME\"` there, unless the client id is the thing's name".to_owned()
        }
        ("jobs", "max_age") => "it is for [commands]; a job has no age, and its time-outs are set at AWS".to_owned(),
        ("jobs" | "commands", key) if meant(key, ACTION.keys).is_some_and(|meant| meant != "as" && key != "socket") => {
            let meant = meant(key, ACTION.keys).unwrap_or_default();
            format!("an action has it, as `{meant}`: write that below its [[action]]")
        }
        ("action", "path") => "leave it out: the full path of the program stands in `run`".to_owned(),
        ("action", "cwd" | "directory" | "working_directory" | "env" | "environment" | "stdin" | "shell") => {
            "a program is started in /, with an environment of a few variables and nothing on standard input; what needs more belongs \
             into a script that `run` names"
                .to_owned()
        }
        ("action" | "action.download", "url" | "urls" | "sha256" | "checksum") => {
            "a document says that; `download = { hosts = [\"my-bucket.s3.eu-west-1.amazonaws.com\"] }` says from where".to_owned()
        }
        ("action.download", "path" | "file" | "target" | "to") => {
            "leave it out: the file is where `{{download}}` in `run` says".to_owned()
        }
        (section, key) if !is_key_in(section, key) => return in_table(section, key),
        _ => return None,
    })
}

fn is_key_in(section: &str, key: &str) -> bool {
    self::section(section).is_none_or(|known| known.keys.contains(&key))
}

/// What is said of a key that is one of a table in this section: `max_size` in `[[action]]`.
fn in_table(section: &str, key: &str) -> Option<String> {
    let own = self::section(section)?;
    let mut tables = BELOW.iter().filter(|(table, keys)| own.keys.contains(table) && keys.contains(&key));
    let (table, _) = tables.next().filter(|_| tables.next().is_none())?;
    Some(match ["up", "down"].contains(table) {
        true => return None,
        false => format!("it belongs to `{table}`: write `{table} = {{ {key} = ... }}`"),
    })
}

/// The keys of tables that are the value of a key.
const BELOW: [(&str, &[&str]); 11] = [
    ("budget", &["month", "warn_at", "then"]),
    ("backoff", &["first", "min", "max", "stable_after"]),
    ("rate_limit", &["messages_per_second", "bytes_per_second", "burst", "connects_per_second"]),
    ("will", &["topic", "payload", "qos", "retain"]),
    ("birth", &["topic", "payload", "qos", "retain"]),
    ("keep", &["messages", "bytes", "when_full"]),
    ("batch", &["encoding", "max", "within"]),
    ("download", &["hosts", "max_size", "ca_file"]),
    ("tls", &["ca_file", "cert_file", "key_file"]),
    ("up", &["from", "strip", "to", "except", "retain", "urgent", "every", "on_change", "batch"]),
    ("down", &["from", "strip", "to", "keep"]),
];

/// Whether it is a key of a section, or of a table that is the value of one.
pub(super) fn is_key_anywhere(name: &str) -> bool {
    is_key(name) || BELOW.iter().any(|(_, keys)| keys.contains(&name))
}

/// Whether the section has this key, which may be one of a table in it: `backoff.min`.
#[cfg(test)]
pub(crate) fn is_key_of(name: &str, key: &str) -> bool {
    let (first, below) = key.split_once('.').map_or((key, None), |(first, below)| (first, Some(below)));
    let has = section(name).is_some_and(|known| known.keys.contains(&first));
    has && below.is_none_or(|below| BELOW.iter().any(|(table, keys)| *table == first && keys.contains(&below)))
}
