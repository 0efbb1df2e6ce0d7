//! `[[publish]]`: what is published, and when.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::document::Node;
use super::payload::payload;
use super::section::Section;
use super::sections::Reader;
use super::values::{DAY, MS, boolean, duration, integer, qos, string};
use super::{Publish, When};
use crate::message::Qos;
use crate::schedule::clock::Cron;

impl<'a> Reader<'a> {
    pub(super) fn publish(&self, section: Section<'a>, name: String) -> Option<Publish> {
        let instead = "let a program read the value and publish it through an [[ingest]] socket";
        let sourced = ["file", "command", "metrics", "timeout"].map(|key| section.not_yet(key, instead));
        for key in ["on_change", "min_change", "batch"] {
            section.not_yet(key, "leave it out");
        }
        let topic = section.require("topic", "\"test/topic\"", |node| self.topic(node));
        let when = when(&section);
        let jitter = section.get_or("jitter", Duration::ZERO, duration(Duration::ZERO..=366 * DAY));
        if matches!(when, Some(When::Every(every)) if jitter >= every) {
            section.error("jitter", "must be shorter than `every`");
        }
        let payload = match sourced[..3].contains(&true) && section.node("payload").is_none() {
            true => None,
            false => section.require_parts("payload", "{ message = \"Hello\" }", |node, complaints| {
                payload(node, &self.fixed, complaints)
            }),
        };
        let count = section.get("count", integer(1..=i64::MAX)).map(i64::unsigned_abs);
        // A pattern says exactly when; a start is no time of it.
        let at_start = section.get_or("at_start", !matches!(when, Some(When::Cron(_))), boolean);
        let qos = section.get_or("qos", Qos::AtLeastOnce, qos);
        let retain = section.get_or("retain", false, boolean);
        if retain && topic.as_ref().is_some_and(|topic| topic.as_str().starts_with("$aws/")) {
            section.error("retain", "IoT Core retains nothing under `$aws/`; leave it out");
        }
        section.finish();
        Some(Publish { name, topic: topic?, when: when?, count, jitter, at_start, payload: payload?, qos, retain })
    }
}

/// `every`, or `cron` with `timezone`.
fn when(section: &Section<'_>) -> Option<When> {
    let zone = section.get("timezone", zone);
    let Some(pattern) = section.node("cron") else {
        if section.node("timezone").is_some() {
            section.error("timezone", "is for `cron`, which isn't there; leave it out");
        }
        let example = "\"1m\"` or `cron = \"*/5 * * * *\"";
        return section.require("every", example, duration(10 * MS..=366 * DAY)).map(When::Every);
    };
    if section.node("every").is_some() {
        section.error("cron", "excludes `every`; leave one of them out");
        return None;
    }
    // Whether the pattern is right can be told in any zone.
    let zone_is_wrong = zone.is_none() && section.node("timezone").is_some();
    let zone = zone.unwrap_or_else(|| TimeZone::try_system().unwrap_or(TimeZone::UTC));
    let cron = string(pattern).and_then(|text| {
        Cron::new(text, zone)
            .map_err(|error| format!("\"{text}\" isn't a cron pattern such as \"*/5 * * * *\": {error}"))
    });
    let cron = cron.map_err(|text| section.error("cron", &text)).ok()?;
    (!zone_is_wrong).then_some(When::Cron(cron))
}

/// A name of the IANA database such as `Europe/Berlin`.
fn zone(node: &Node) -> Result<TimeZone, String> {
    let name = string(node)?;
    TimeZone::get(name).map_err(|_| {
        let database = jiff::tz::db();
        let names: Vec<String> = database.available().map(|name| name.to_string()).collect();
        match super::report::nearest(name, names.iter().map(String::as_str)) {
            Some(nearest) => format!("there is no time zone \"{name}\"; did you mean \"{nearest}\"?"),
            None if names.is_empty() => {
                format!("this machine knows no time zone \"{name}\"; Debian's package is tzdata")
            }
            None => format!("there is no time zone \"{name}\"; they are written like \"Europe/Berlin\""),
        }
    })
}
