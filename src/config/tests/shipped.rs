//! The configuration that is shipped.

use serde_json::Value;

use super::*;
use crate::policy::context::Context;
use crate::policy::document;
use crate::policy::needs::{self, IngestRetain};
use crate::policy::report::Report;
use crate::policy::scope::Scope;

const SHIPPED: &str = include_str!("../../../config/gatewire.toml");

/// The sections that are commented out as a whole.
fn commented() -> &'static str {
    let (_, rest) = SHIPPED.split_once("\n# [[bridge]]").unwrap();
    rest.split_once("\n[").unwrap().0
}

/// `[provisioning]`, which excludes what stands above it.
fn commented_provisioning() -> &'static str {
    let (_, rest) = SHIPPED.split_once("\n# [provisioning]\n").unwrap();
    rest.split_once("\n[").unwrap().0
}

/// `[metrics]`, which isn't there by default.
fn commented_metrics() -> &'static str {
    let (_, rest) = SHIPPED.split_once("\n# [metrics]\n").unwrap();
    rest.split_once("\n[").unwrap().0
}

/// Of those the bridge, and what is for jobs and commands, without the header that each begins with.
fn commented_bridge() -> &'static str {
    commented().split_once("\n# [jobs]").unwrap().0
}

fn commented_jobs() -> &'static str {
    commented().split_once("\n# [jobs]").unwrap().1
}

/// The headers and those of the keys that are wanted, without their signs.
fn uncommented(text: &str, is_wanted: &dyn Fn(&str) -> bool) -> String {
    let bare = text.lines().filter_map(|line| line.strip_prefix("# "));
    let is_header = |line: &str| line.starts_with('[') && line.ends_with(']');
    let wanted =
        bare.filter(|line| is_header(line) || is_key(line) && is_wanted(line.split_once('=').unwrap().0.trim()));
    wanted.map(|line| format!("{line}\n")).collect()
}

fn real() -> String {
    SHIPPED.replace("xxxxxxxxxxxxxx", "a1b2c3")
}

#[test]
fn the_shipped_configuration_is_right_but_for_its_placeholder() {
    let found = load(SHIPPED, &[]).unwrap_err();
    assert!(found.len() == 1 && found[0].contains("is still the placeholder"), "{found:#?}");
    assert_eq!(load(&real(), &[]).unwrap().1, [""; 0]);
}

#[test]
fn the_shipped_comments_show_the_defaults() {
    let real = real().replace(commented(), "").replace(commented_provisioning(), "").replace(commented_metrics(), "");
    // Except for what is optional, and thus has none.
    let optional = [
        "cron",
        "timezone",
        "file",
        "command",
        "timeout",
        "metrics",
        "on_change",
        "min_change",
        "batch",
        "count",
        "group",
        "proxy",
        "will",
        "birth",
        "allow",
        "budget",
    ];
    let uncommented: String = real
        .lines()
        .map(|line| {
            match line
                .strip_prefix("# ")
                .filter(|rest| is_key(rest) && !optional.iter().any(|key| rest.starts_with(key)))
            {
                Some(key) => format!("{key}\n"),
                None => format!("{line}\n"),
            }
        })
        .collect();
    let values = |text: &str| Config { places: Places::default(), ..load(text, &[]).unwrap().0 };
    assert_eq!(values(&uncommented), values(&real));
}

#[test]
fn the_shipped_bridge_is_right_once_its_signs_are_taken_away_and_shows_the_defaults() {
    let lines = |is_wanted: &dyn Fn(&str) -> bool| uncommented(commented_bridge(), is_wanted);
    let read = |text: &str| load(&format!("{CONNECTION}[[bridge]]\n{text}"), &[]).unwrap();
    let (whole, warnings) = read(&lines(&|_| true));
    assert_eq!(warnings, [""; 0]);
    assert_eq!((whole.bridge.len(), whole.bridge[0].up.len(), whole.bridge[0].down.len()), (1, 1, 1));
    // Except for what is optional, and thus has none.
    let given = [
        "name",
        "broker",
        "tls",
        "username",
        "password_file",
        "status_topic",
        "discovery",
        "from",
        "strip",
        "to",
        "except",
        "every",
        "batch",
    ];
    let without_defaults = read(&lines(&|key| given.contains(&key))).0;
    assert_eq!(whole.bridge, without_defaults.bridge);
}

#[test]
fn the_shipped_action_is_right_once_its_signs_are_taken_away_and_shows_the_defaults() {
    let read = |is_wanted: &dyn Fn(&str) -> bool| {
        load(&format!("{CONNECTION}[jobs]\n{}", uncommented(commented_jobs(), is_wanted)), &[]).unwrap()
    };
    let (whole, warnings) = read(&|key| key != "download");
    assert_eq!(warnings, [""; 0]);
    assert!(whole.jobs.is_some_and(|jobs| jobs.socket.is_some()) && whole.commands.is_some());
    // Except for what is optional, and thus has none.
    let given = ["name", "handler", "args", "run", "as"];
    let without_defaults = read(&|key| given.contains(&key)).0;
    assert_eq!((&whole.actions, whole.commands), (&without_defaults.actions, without_defaults.commands));
    assert_eq!(without_defaults.jobs.unwrap().socket, None);
    assert!(read(&|_| true).0.actions.iter().next().unwrap().download.is_some());
}

#[test]
fn the_shipped_provisioning_is_right_once_its_signs_are_taken_away_and_shows_the_defaults() {
    let read = |is_wanted: &dyn Fn(&str) -> bool| {
        let connection = CONNECTION.replace("thing-1", "{{thing}}");
        load(&format!("{connection}[provisioning]\n{}", uncommented(commented_provisioning(), is_wanted)), &[]).unwrap()
    };
    let (whole, warnings) = read(&|_| true);
    assert_eq!(warnings, [""; 0]);
    let whole = whole.provisioning.unwrap();
    let given = ["template", "claim_cert_file", "claim_key_file", "parameters"];
    let without_defaults = read(&|key| given.contains(&key)).0.provisioning.unwrap();
    let place = |provisioning: Provisioning| provisioning.told.map_err(|lacks| (lacks.placeholder, lacks.key));
    assert_eq!(place(whole.clone()), Err(("serial", "provisioning.parameters".to_owned())));
    assert_eq!(Provisioning { told: without_defaults.told.clone(), ..whole }, without_defaults);
}

#[test]
fn the_shipped_metrics_are_right_once_their_signs_are_taken_away() {
    let read = |text: String| load(&format!("{CONNECTION}[metrics]\n{text}"), &[]).unwrap();
    let (config, warnings) = read(uncommented(commented_metrics(), &|key| key == "listen"));
    assert_eq!(warnings, [""; 0]);
    assert_eq!(config.metrics.unwrap().address(), Some("127.0.0.1:9641".parse().unwrap()));
    let text = uncommented(commented_metrics(), &|_| true).replace("127.0.0.1:9641", "unix:/run/gatewire/metrics.sock");
    let whole = read(text.replace("group = \"gatewire\"", "")).0.metrics.unwrap();
    let default = read("listen = \"unix:/run/gatewire/metrics.sock\"\n".to_owned()).0.metrics.unwrap();
    assert_eq!(whole, default);
}

#[test]
fn every_key_stands_in_the_shipped_configuration() {
    let mut missing = Vec::new();
    // They are the headers of tables below it.
    let is_header = |key: &str| ["up", "down"].contains(&key);
    let shipped = SHIPPED.replace("\n# [", "\n[");
    for (header, key) in keys() {
        let section = shipped.split_once(&format!("\n[{header}]")).map(|(_, rest)| rest.split("\n[").next().unwrap());
        let section = section.unwrap_or_else(|| panic!("no [{header}]"));
        let lines = section.lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
        let stands = match key.split_once('.') {
            None => lines.filter_map(|line| line.split_once('=')).any(|(name, _)| name.trim() == key),
            Some((outer, inner)) => lines
                .filter_map(|line| line.split_once('='))
                .any(|(name, value)| name.trim() == outer && value.contains(&format!(" {inner} = "))),
        };
        if !(stands || header == "[bridge]" && is_header(&key)) {
            missing.push(format!("{header} {key}"));
        }
    }
    assert_eq!(missing, [""; 0]);
}

#[test]
fn the_keys_that_are_known_are_those_that_are_read() {
    let mut read: Vec<(String, String)> = keys().into_iter().filter(|(_, key)| !key.contains('.')).collect();
    let of = |section: &&known::Known| {
        section.keys.iter().map(|key| (known::header(section), (*key).to_owned())).collect::<Vec<_>>()
    };
    let mut known: Vec<(String, String)> = known::SECTIONS.iter().flat_map(of).collect();
    read.iter_mut().for_each(|(header, _)| *header = format!("[{header}]"));
    read.sort();
    known.sort();
    assert_eq!(known, read);
}

/// All keys, each with the header of its section: those that the reader says there are when it meets one that isn't.
fn keys() -> Vec<(String, String)> {
    let text = "connection.zzzz = 1\nconnection.backoff.zzzz = 1\nconnection.rate_limit.zzzz = 1\nconnection.will.zzzz = 1\nconnection.birth.zzzz = 1\ntls.zzzz = 1\nprovisioning.zzzz = 1\n\
                publish = [{ zzzz = 1, batch = { zzzz = 1 } }]\nforward = [{ zzzz = 1, keep = { zzzz = 1 } }]\ningest = [{ zzzz = 1, batch = { zzzz = 1 } }]\n\
                bridge = [{ zzzz = 1, tls = { zzzz = 1 }, up = [{ zzzz = 1, batch = { zzzz = 1 } }], down = [{ zzzz = 1, keep = { zzzz = 1 } }] }]\n\
                jobs.zzzz = 1\ncommands.zzzz = 1\naction = [{ zzzz = 1, download = { zzzz = 1 } }]\noutbox.zzzz = 1\nstatus.zzzz = 1\nmetrics.zzzz = 1\nmeter.zzzz = 1\nmeter.budget.zzzz = 1\nlog.zzzz = 1\n";
    let mut keys = Vec::new();
    for error in load(text, &[]).unwrap_err() {
        let Some((place, names)) = error.split_once(".zzzz`: unknown key; there ") else { continue };
        let names = names.trim_start_matches("are ").trim_start_matches("is only ");
        let section = place.rsplit_once('`').unwrap().1;
        let of = |known: &&&known::Known| {
            section.strip_prefix(known.name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let known = known::SECTIONS.iter().filter(of).max_by_key(|known| known.name.len()).unwrap();
        let prefix = match section[known.name.len()..].strip_prefix('.') {
            Some(table) => format!("{table}."),
            None => String::new(),
        };
        let header = if known.is_array { format!("[{}]", known.name) } else { known.name.to_owned() };
        keys.extend(names.split(", ").map(|name| (header.clone(), format!("{prefix}{name}"))));
    }
    assert!(keys.len() > 50, "{keys:?}");
    keys
}

#[test]
fn the_shipped_policy_is_one_that_can_be_pasted() {
    let from = SHIPPED.find("#   { \"Version\"").unwrap();
    let policy: String =
        SHIPPED[from..].lines().take_while(|line| line.starts_with("#   ")).map(|line| &line[1..]).collect();
    let policy: Value = serde_json::from_str(&policy).unwrap();
    let config = load(&real(), &[]).unwrap().0;
    let policy = policy.to_string().replace("REGION", "eu-west-1").replace("ACCOUNT", "123456789012");
    let document = document::parse(policy.as_bytes()).unwrap();
    let context = Context { client_id: config.connection.client_id.clone(), ..Context::unknown() };
    let scope = Scope::new("eu-west-1", "123456789012");
    let report = Report::new(&document, needs::of(&config, IngestRetain::Unused), scope, &context, Vec::new());
    let report = report.to_string();
    assert!(report.lines().rev().skip(1).all(|line| line.starts_with("allowed ")), "{report}");
}

/// Each message would be written to the disk while nobody reads it.
#[test]
fn the_shipped_configuration_subscribes_to_nothing_that_it_publishes() {
    let config = load(&real(), &[]).unwrap().0;
    let filters: Vec<_> = config.forward.iter().flat_map(|forward| &forward.filters).collect();
    assert!(!filters.is_empty());
    for filter in filters {
        for publish in &config.publish {
            assert!(!filter.matches(&publish.topic), "{} matches {}", filter.as_str(), publish.topic.as_str());
        }
        let first = |text: &str| text.split('/').next().unwrap().to_owned();
        for topics in config.ingest.iter().flat_map(|ingest| &ingest.topics) {
            assert_ne!(first(filter.as_str()), first(topics.as_str()));
        }
    }
}

fn is_key(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, _)| {
        !key.trim().is_empty() && key.trim().chars().all(|c| c.is_ascii_lowercase() || c == '_')
    })
}
