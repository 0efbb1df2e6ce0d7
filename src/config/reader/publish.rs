//! `[[publish]]`: what is published, and when.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;

use super::Reader;
use super::argv::{First, argv};
use super::claims::Use;
use super::paths::path;
use super::payload::payload;
use crate::config::document::{Node, Value};
use crate::config::doubt;
use crate::config::section::Section;
use crate::config::values::{DAY, HOUR, MS, SECOND, boolean, duration, integer, qos, string, strings, word};
use crate::config::{Batch, Encoding, Metric, OnChange, Publish, Source, When};
use crate::count::count;
use crate::cron::Cron;
use crate::filesystem::resolved;
use crate::message::Qos;
use crate::template::Template;

/// How a command is written that needs a shell.
const WITH_SHELL: &str = "[\"sh\", \"-c\", \"...\"] with the whole line in the last pair of quotes";

impl<'a> Reader<'a> {
    pub(in crate::config) fn publish(&self, section: Section<'a>, name: String) -> Option<Publish> {
        let topic = section.require("topic", "\"test/topic\"", |node| self.topic(node));
        self.doubt_topic(&section, &["$aws/"]);
        let when = when(&section);
        let jitter = section.get_or("jitter", Duration::ZERO, duration(Duration::ZERO..=366 * DAY));
        if matches!(when, Some(When::Every(every)) if jitter >= every) {
            section.error("jitter", "must be shorter than `every`");
        }
        let source = self.source(&section);
        let on_change = on_change(&section, &source);
        let payload = self.payload(&section, &source);
        let batch = batch(&section);
        let count = section.get("count", integer(1..=i64::MAX)).map(i64::unsigned_abs);
        // A pattern says exactly when; a start is no time of it.
        let at_start = section.get_or("at_start", !matches!(when, Some(When::Cron(_))), boolean);
        let qos = section.get_or("qos", Qos::AtLeastOnce, qos);
        let retain = section.get_or("retain", false, boolean);
        if retain && topic.as_ref().is_some_and(|topic| topic.as_str().starts_with("$aws/")) {
            section.error("retain", "IoT Core retains nothing under `$aws/`; leave it out");
        }
        let urgent = urgent(&section);
        section.finish();
        let (topic, when, payload, source) = (topic?, when?, payload?, source.read()?);
        Some(Publish {
            name,
            topic,
            when,
            count,
            jitter,
            at_start,
            source,
            payload,
            on_change,
            batch,
            qos,
            retain,
            urgent,
        })
    }

    fn published_file(&self, node: &Node) -> Result<PathBuf, String> {
        let path = path(node, self.environment)?;
        match self.key_file.as_ref() == Some(&resolved(&path)) {
            true => {
                Err("holds the private key of tls.key_file, or the PIN of its token, which must not leave this machine"
                    .to_owned())
            }
            false => Ok(path),
        }
    }

    /// `file`, `command` with `timeout`, or `metrics`.
    fn source(&self, section: &Section<'a>) -> Found {
        let given: Vec<&str> = SOURCES.into_iter().filter(|key| section.node(key).is_some()).collect();
        let timeout = section.get("timeout", duration(100 * MS..=HOUR));
        if section.node("timeout").is_some() && !given.contains(&"command") {
            section.error("timeout", "is for `command`, which isn't there; leave it out");
        }
        if let [first, others @ ..] = &given[..] {
            others
                .iter()
                .for_each(|key| section.error(key, &format!("can't stand beside `{first}`; delete one of the two")));
        }
        let command = |argv| Source::Command { argv, timeout: timeout.unwrap_or(10 * SECOND) };
        let source = match given[..] {
            [] => return Found::None,
            ["file"] => section.get("file", |node| self.published_file(node)).map(Source::File),
            ["command"] => section.get("command", argv(First::NameOrPath)).map(command),
            ["metrics"] => section.get("metrics", metrics).map(Source::Metrics),
            _ => None,
        };
        match &source {
            Some(Source::File(path)) => {
                self.note(section, "file", path);
                self.claim(section, "file", path, Use::Published);
            }
            Some(Source::Command { argv, .. }) => {
                if let Some(doubt) = doubt::shell(argv, WITH_SHELL) {
                    section.warning("command", &doubt);
                }
                argv.iter().for_each(|word| self.note(section, "command", Path::new(word)));
            }
            Some(Source::Metrics(_)) | None => {}
        }
        source.map_or(Found::Wrong, Found::Right)
    }

    /// With a source it may be left out.
    fn payload(&self, section: &Section<'a>, source: &Found) -> Option<Template> {
        if *source != Found::None && section.node("payload").is_none() {
            return Some(Template::bare_value());
        }
        let template = section.require_parts("payload", "{ message = \"Hello\" }", |node, complaints| {
            payload(node, &self.fixed, complaints)
        })?;
        if *source == Found::None && template.takes_value() {
            section.error("payload", "`{{value}}` needs something to read it from: `file`, `command` or `metrics`");
        }
        Some(template)
    }
}

/// The keys that say where a value comes from.
const SOURCES: [&str; 3] = ["file", "command", "metrics"];

/// What is said of a source.
#[derive(PartialEq)]
enum Found {
    None,
    /// Something that can't be used, which is reported.
    Wrong,
    Right(Source),
}

impl Found {
    /// The source, if there is one; `None` if it is wrong.
    fn read(self) -> Option<Option<Source>> {
        match self {
            Found::None => Some(None),
            Found::Wrong => None,
            Found::Right(source) => Some(Some(source)),
        }
    }
}

fn metrics(node: &Node) -> Result<Vec<Metric>, String> {
    let words = word(&[
        ("cpu", Metric::Cpu),
        ("memory", Metric::Memory),
        ("disk", Metric::Disk),
        ("temperature", Metric::Temperature),
        ("network", Metric::Network),
        ("uptime", Metric::Uptime),
    ]);
    let mut metrics = Vec::new();
    if let Value::String(text) = &node.value
        && matches!(text.trim().to_lowercase().as_str(), "all" | "*" | "any")
    {
        let all = "[\"cpu\", \"memory\", \"disk\", \"temperature\", \"network\", \"uptime\"]";
        return Err(format!("must be an array of strings; all there are: {all}"));
    }
    for item in strings(node, "[\"cpu\", \"memory\"]")? {
        let metric = words(item)?;
        if metrics.contains(&metric) {
            return Err(format!("\"{}\" is given twice", metric.as_str()));
        }
        metrics.push(metric);
    }
    Ok(metrics)
}

/// `on_change` with `min_change`.
fn on_change(section: &Section<'_>, source: &Found) -> Option<OnChange> {
    let wanted = section.get_or("on_change", false, boolean);
    let min_change = section.get("min_change", positive);
    if wanted && *source == Found::None {
        section.error("on_change", "needs something to read: `file`, `command` or `metrics`");
    }
    if !wanted && section.node("min_change").is_some() {
        section.error("min_change", "is for `on_change = true`, which isn't there");
    }
    wanted.then_some(OnChange { min_change })
}

/// A number above 0.
fn positive(node: &Node) -> Result<f64, String> {
    let number = match node.value {
        Value::Integer(integer) => integer as f64,
        Value::Float(float) => float,
        Value::String(ref text) if text.trim().parse::<f64>().is_ok() => {
            return Err(format!("must be a number without quotes, {}", text.trim()));
        }
        ref other => return Err(format!("must be a number, not {}", other.kind())),
    };
    match number {
        number if number > 0.0 && number.is_finite() => Ok(number),
        number => Err(format!("{number} is out of range, it must be above 0")),
    }
}

/// `urgent`, which has no `batch` beside it.
pub(in crate::config) fn urgent(section: &Section<'_>) -> bool {
    let urgent = section.get_or("urgent", false, boolean);
    if urgent && section.node("batch").is_some() {
        section.error("urgent", "can't stand beside `batch`, which holds messages back; delete one of the two");
    }
    urgent
}

/// `batch`, if it is there.
pub(in crate::config) fn batch(section: &Section<'_>) -> Option<Batch> {
    section.node("batch")?;
    let section = section.section("batch");
    let max = section.get_or("max", 50, integer(1..=1000));
    let within = section.get_or("within", 10 * SECOND, duration(10 * MS..=DAY));
    let encodings = word(&[("none", Encoding::None), ("gzip", Encoding::Gzip)]);
    let encoding = section.get_or("encoding", Encoding::None, encodings);
    section.finish();
    Some(Batch { max: usize::try_from(max).unwrap_or(usize::MAX), within, encoding })
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
        section.error("cron", "can't stand beside `every`; delete one of the two");
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
    (!zone_is_wrong).then(|| When::Cron(Box::new(cron)))
}

/// A name of the IANA database such as `Europe/Berlin`.
fn zone(node: &Node) -> Result<TimeZone, String> {
    let name = string(node)?;
    TimeZone::get(name).map_err(|_| {
        if let Some(offset) = offset(name) {
            return offset;
        }
        let database = jiff::tz::db();
        let names: Vec<String> = database.available().map(|name| name.to_string()).collect();
        let city = |zone: &&String| zone.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(name));
        // Their sign is the other way round than anybody expects.
        let is_reversed = |name: &&str| name.contains("GMT+") || name.contains("GMT-");
        let of_city = names.iter().find(city).map(String::as_str);
        match of_city.or_else(|| {
            crate::spelling::nearest(name, names.iter().map(String::as_str).filter(|name| !is_reversed(name)))
        }) {
            Some(nearest) => format!("there is no time zone \"{name}\"; did you mean \"{nearest}\"?"),
            None if names.is_empty() => {
                format!("this machine knows no time zone \"{name}\"; Debian's package is tzdata")
            }
            None => format!("there is no time zone \"{name}\"; they are written like \"Europe/Berlin\""),
        }
    })
}

/// What is said of an offset from UTC in the place of a time zone, `GMT+1` or `+01:00`; `None` if it isn't one.
fn offset(name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase().replace(' ', "");
    let lower = lower.strip_prefix("etc/").unwrap_or(&lower);
    let named = ["gmt", "utc", "z"].iter().find_map(|zone| lower.strip_prefix(zone));
    let digits = named.unwrap_or(lower).trim_start_matches(['+', '-']);
    let is_offset = digits.len() <= 6 && digits.starts_with(|c: char| c.is_ascii_digit());
    if !is_offset || !digits.chars().all(|c| c.is_ascii_digit() || matches!(c, ':' | '.')) {
        return None;
    }
    let cities = "they are written like \"Europe/Berlin\", and such a zone knows its summer time";
    let is_behind = named.unwrap_or(lower).starts_with('-');
    let (hours, minutes) = match digits.split_once([':', '.']) {
        Some((hours, minutes)) => (hours, minutes),
        None => digits.split_at(digits.len().min(2)),
    };
    // Who writes that knows of the sign.
    let is_of_etc = name.starts_with("Etc/GMT");
    let farthest = if is_behind { 12 } else { 14 };
    let whole = hours
        .parse::<u8>()
        .ok()
        .filter(|hours| !is_of_etc && *hours <= farthest && minutes.bytes().all(|digit| digit == b'0'));
    Some(match whole {
        Some(0) => format!("there is no time zone \"{name}\"; did you mean \"UTC\"?"),
        Some(hours) => {
            let (sign, side) = if is_behind { ('+', "behind") } else { ('-', "ahead of") };
            format!(
                "there is no time zone \"{name}\"; {cities}. {} {side} UTC all year is \"Etc/GMT{sign}{hours}\", whose sign is the \
                 other way round",
                count(u64::from(hours), "hour")
            )
        }
        None => format!("there is no time zone \"{name}\"; {cities}"),
    })
}
