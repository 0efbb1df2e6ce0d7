//! The sections of which there may be several: `[[publish]]`, `[[forward]]`, `[[ingest]]`; [`super::bridge`] and
//! [`super::action`] have the others.

use std::collections::BTreeSet;

use super::Reader;
use super::action::action_name;
use super::copies::Wanted;
use super::publish::batch;
use crate::config::document::{Node, Value};
use crate::config::doubt;
use crate::config::section::{Complaints, Section};
use crate::config::values::{MIB, WHEN_FULL, boolean, integer, name, qos, size, string, strings, word};
use crate::config::{Ack, Allow, Format, Forward, Ingest, Keep, Publish, WhenFull};
use crate::count::count;
use crate::message::{Qos, Topic, TopicError, TopicFilter};
use crate::template::{Fixed, fill};

impl<'a> Reader<'a> {
    pub(in crate::config) fn publishes(&self) -> Vec<Publish> {
        self.named("publish").into_iter().filter_map(|(section, name)| self.publish(section, name)).collect()
    }

    pub(in crate::config) fn forwards(&self) -> Vec<Forward> {
        self.named("forward").into_iter().filter_map(|(section, name)| self.forward(section, name)).collect()
    }

    pub(in crate::config) fn ingests(&self) -> Vec<Ingest> {
        self.named("ingest").into_iter().filter_map(|(section, name)| self.ingest(section, name)).collect()
    }

    /// The tables of `[[kind]]`, each with its name. Two of one name are reported with both places.
    pub(super) fn named(&self, kind: &'static str) -> Vec<(Section<'a>, String)> {
        let Some(entry) = self.root.get(kind) else { return Vec::new() };
        let mut text =
            format!("`{kind}`: there may be several; write its header `[[{kind}]]`, with two brackets on each side");
        if let (Value::Table(table), "bridge") = (&entry.node.value, kind)
            && table.entries.iter().all(|entry| ["up", "down"].contains(&entry.key.as_str()))
        {
            text = "`bridge`: `[[bridge.up]]` and `[[bridge.down]]` stand below the `[[bridge]]` that they are of, with its `name` and \
                    `broker`, in the same file"
                .to_owned();
        }
        let (items, is_in_doubt) = match &entry.node.value {
            Value::Array(items) => (&items[..], false),
            value => {
                self.report.error(&entry.place, &text);
                // What it holds is looked at as it is meant.
                (if matches!(value, Value::Table(_)) { std::slice::from_ref(&entry.node) } else { &[] }, true)
            }
        };
        let mut named: Vec<(Section<'a>, String)> = Vec::new();
        for item in items {
            let Value::Table(table) = &item.value else {
                self.report.error(&item.place, &text);
                continue;
            };
            let section = Section::whole(kind, table, self.report).in_doubt(is_in_doubt);
            let name = match kind {
                "action" => section.require("name", "\"restart\"", action_name),
                _ => section.require("name", "\"hello\"", name),
            };
            let name = name.unwrap_or_default();
            if let Some((first, _)) = named.iter().find(|(_, known)| *known == name && !name.is_empty()) {
                section.error("name", &format!("\"{name}\" is taken by the [[{kind}]] at {}", first.place("name")));
            }
            named.push((section, name));
        }
        named
    }

    fn forward(&self, section: Section<'a>, name: String) -> Option<Forward> {
        let read = |node: &Node, complaints: &Complaints<'_>| self.filters(node, &["$aws/", "$share/"], complaints);
        let allow = section.get_parts("allow", |node, complaints| {
            let filters = read(node, complaints)?;
            let shared = filters.iter().find(|filter| filter.as_str().starts_with("$share/"));
            shared.inspect(|filter| complaints.at(node, shared_in_allow(filter.as_str())));
            shared.is_none().then_some(filters)
        });
        let filters = match (section.node("filters"), section.node("allow")) {
            // Readers say what they want.
            (None, Some(_)) => Some(Vec::new()),
            _ => section.require_parts("filters", "[\"test/topic\"]", read),
        };
        let allow = allow.map(|filters| Allow { filters, fixed: self.fixed.clone() });
        let socket = self.socket(&section, None);
        let ack = section.get_or("ack", Ack::Written, word(&[("written", Ack::Written), ("reader", Ack::Reader)]));
        let qos = section.get_or("qos", Qos::AtLeastOnce, qos);
        self.count_subscriptions(&section, "filters", &name, filters.as_deref().unwrap_or_default(), qos);
        self.allowed.borrow_mut().extend(allow.iter().flat_map(|allow| &allow.filters).map(|filter| Wanted {
            key: section.full("allow"),
            name: name.clone(),
            filter: filter.clone(),
            qos,
            place: section.place("allow"),
        }));
        let formats = word(&[("json", Format::Json), ("payload", Format::Payload), ("netstring", Format::Netstring)]);
        let format = section.get_or("format", Format::Json, formats);
        if ack == Ack::Reader && format != Format::Json {
            section.error("ack", "\"reader\" needs `format = \"json\"`: a bare payload has no id to acknowledge");
        }
        if format == Format::Payload {
            section.warning(
                "format",
                "with \"payload\" a newline in a payload ends a line like the newline behind it, so readers can't tell the two \
                 apart. Where payloads may hold newlines, use \"json\" or \"netstring\"",
            );
        }
        let keep = keep(section.section("keep"));
        section.finish();
        Some(Forward { name, filters: filters?, allow, qos, socket: socket?, format, ack, keep })
    }

    /// Names the forward or bridge with which all filters together get too many; `key` holds its own.
    pub(super) fn count_subscriptions(
        &self,
        section: &Section<'a>,
        key: &'static str,
        name: &str,
        filters: &[TopicFilter],
        qos: Qos,
    ) {
        let all = self.count_filters(filters.iter().map(|filter| Wanted {
            key: section.full(key),
            name: name.to_owned(),
            filter: filter.clone(),
            qos,
            place: section.place(key),
        }));
        if let Some(all) = all {
            let most = self.max_subscriptions;
            let text = format!(
                "with those of \"{name}\" there are {}, connection.max_subscriptions allows {most}; a wildcard covers \
                 several topics",
                count(all, "filter")
            );
            section.error(key, &text);
        }
    }

    /// How many filters there are with these; `None`: not too many, or there were too many before.
    pub(super) fn count_filters(&self, more: impl Iterator<Item = Wanted>) -> Option<usize> {
        let mut wanted = self.wanted.borrow_mut();
        // One that another covers counts, too: if IoT Core refuses that, it is subscribed to in its place.
        let all = |wanted: &[Wanted]| wanted.iter().map(|wanted| &wanted.filter).collect::<BTreeSet<_>>().len();
        let before = all(&wanted);
        wanted.extend(more);
        let after = all(&wanted);
        (before <= self.max_subscriptions && after > self.max_subscriptions).then_some(after)
    }

    /// How many more filters there may be than all forwards, bridges and services have.
    pub(in crate::config) fn spare_subscriptions(&self) -> usize {
        let wanted = self.wanted.borrow();
        let used = wanted.iter().map(|wanted| &wanted.filter).collect::<BTreeSet<_>>().len();
        self.max_subscriptions.saturating_sub(used)
    }

    /// Where readers may ask for filters and `connection.max_subscriptions` leaves no room for any.
    pub(in crate::config) fn warn_of_room_for_readers(&self) {
        let allowed = self.allowed.borrow();
        let Some(reader) = allowed.first().filter(|_| self.spare_subscriptions() == 0) else { return };
        self.report.warning(
            &reader.place,
            &format!(
                "`{}`: readers of \"{}\" can have no filter of their own: connection.max_subscriptions allows {}, and this \
                 configuration has as many; raise it, or have a wildcard cover several of them",
                reader.key, reader.name, self.max_subscriptions
            ),
        );
    }

    fn ingest(&self, section: Section<'a>, name: String) -> Option<Ingest> {
        let batch = batch(&section);
        let socket = self.socket(&section, None);
        let topics = section.require_parts("topics", "[\"gateways/{{client_id}}/#\"]", |node, complaints| {
            let topics = self.filters(node, &["$aws/"], complaints)?;
            let shared = topics.iter().find(|topic| topic.as_str().starts_with("$share/"));
            shared.inspect(|topic| complaints.at(node, format!("\"{topic}\" can be subscribed to, not published to")));
            shared.is_none().then_some(topics)
        });
        let urgent = section.get_or("urgent", true, boolean);
        section.finish();
        Some(Ingest { name, socket: socket?, topics: topics?, awaits_name: false, urgent, batch })
    }

    pub(in crate::config) fn topic(&self, node: &Node) -> Result<Topic, String> {
        let text = string(node)?;
        if text.starts_with("$share/") {
            return Err(format!("\"{text}\" can be subscribed to, not published to"));
        }
        self.filled(text, Topic::new, |topic, error| {
            format!("{topic:?} can't be published to: {error}{}", doubt::escaped(text))
        })
    }

    /// A topic or filter of `text` with its placeholders filled in. If it is the client id that spoils it, that is what is
    /// complained about, once, and the error is empty.
    pub(super) fn filled<T>(
        &self,
        text: &str,
        make: impl Fn(&str) -> Result<T, TopicError>,
        say: impl Fn(&str, &TopicError) -> String,
    ) -> Result<T, String> {
        let filled = fill(text, &self.fixed).map_err(|error| error.to_string())?;
        let Fixed { client_id: id, thing, hostname } = &self.fixed;
        let with = |client_id: &str, hostname: &str| {
            // Where it is left out it is the client id.
            let thing = if thing == id { client_id } else { thing };
            let fixed =
                Fixed { client_id: client_id.to_owned(), thing: thing.to_owned(), hostname: hostname.to_owned() };
            fill(text, &fixed).unwrap_or_default()
        };
        // One that fits is as bad: a filter would be for the topics of all clients.
        let wildcard = |value: &str| value.chars().find(|c| matches!(c, '+' | '#'));
        let id_wildcard = wildcard(id).filter(|_| with("c", hostname) != filled);
        if let Some(c) = wildcard(hostname).filter(|_| with(id, "h") != filled) {
            return Err(format!(
                "{{{{hostname}}}} is \"{hostname}\" on this machine and holds `{c}`, a wildcard: write a name in its place"
            ));
        }
        let error = match make(&filled) {
            Ok(made) if id_wildcard.is_none() || self.client_id_place.is_none() => return Ok(made),
            Ok(_) => None,
            Err(error) => Some(error),
        };
        let is_the_id = id_wildcard.is_some() || make(&with("c", hostname)).is_ok();
        let (place, text) = match (self.client_id_place.as_ref().filter(|_| is_the_id), id_wildcard, error) {
            (Some(place), Some(c), _) => (
                place,
                format!(
                    "\"{id}\" holds `{c}`, a wildcard, which spoils the topics that have {{{{client_id}}}} in them"
                ),
            ),
            (Some(place), None, Some(error)) => {
                (place, format!("\"{id}\" makes \"{filled}\" of \"{text}\", which can't be used: {error}"))
            }
            (_, _, Some(error)) => return Err(say(&filled, &error)),
            (_, _, None) => return Err(String::new()),
        };
        self.report.error(place, &format!("`connection.client_id`: {text}"));
        Err(String::new())
    }

    /// What is doubtful in the `topic` of a section; `taken` is what may stand under `$`.
    pub(in crate::config) fn doubt_topic(&self, section: &Section<'a>, taken: &[&str]) {
        let Some(text) = section.node("topic").and_then(|node| string(node).ok()) else { return };
        self.doubts(text, taken, |is_error, doubt| {
            if is_error { section.error("topic", doubt) } else { section.warning("topic", doubt) }
        });
    }

    /// Tells each doubt about a topic or filter, and whether it is an error.
    fn doubts(&self, text: &str, taken: &[&str], tell: impl Fn(bool, &str)) {
        if let Some(arn) = doubt::arn(text) {
            tell(true, &arn);
        }
        // A shared subscription in the place of a topic is told of by itself.
        if let Some(reserved) = doubt::reserved(text, taken).filter(|_| !text.starts_with("$share/")) {
            tell(self.is_iot_core, &reserved);
        }
        [doubt::about_topic(text), doubt::placeholder(text)].iter().flatten().for_each(|doubt| tell(false, doubt));
    }

    /// Those of `node`; `taken` is what may stand under `$`.
    fn filters(&self, node: &Node, taken: &[&str], complaints: &Complaints<'_>) -> Option<Vec<TopicFilter>> {
        let items = strings(node, "[\"test/topic\"]").map_err(|text| complaints.at(node, text)).ok()?;
        // All of them, and only then whether one is missing: each complaint is wanted.
        let filters: Vec<_> = items.iter().map(|item| self.filter(item, taken, complaints)).collect();
        filters.into_iter().collect()
    }

    /// One of IoT Core's; `taken` is what may stand under `$`.
    pub(super) fn filter(&self, item: &Node, taken: &[&str], complaints: &Complaints<'_>) -> Option<TopicFilter> {
        let read = || {
            let text = string(item)?;
            self.doubts(text, taken, |is_error, doubt| {
                if is_error { complaints.at(item, doubt.to_owned()) } else { complaints.warn(item, doubt) }
            });
            if let Some(doubt) = doubt::wildcard(text) {
                complaints.warn(item, &doubt);
            }
            self.filled(text, TopicFilter::new, |filter, error| {
                format!("{filter:?} isn't a topic filter: {error}{}", doubt::escaped(text))
            })
        };
        read().map_err(|text| complaints.at(item, text)).ok()
    }
}

/// Why `allow` takes no shared subscription.
fn shared_in_allow(text: &str) -> String {
    let own = text.splitn(3, '/').nth(2).unwrap_or_default();
    format!(
        "\"{text}\" is a shared subscription, for which a reader can't ask. Write the filter by itself, \"{own}\"; with \
         `ack = \"reader\"` the readers of a forward share its messages"
    )
}

pub(super) fn keep(section: Section<'_>) -> Keep {
    let keep = Keep {
        messages: section.get_or("messages", 10_000, integer(1..=1_000_000_000)).unsigned_abs(),
        bytes: section.get_or("bytes", 16 * MIB, size(1..=64 * 1024 * MIB)),
        when_full: section.get_or("when_full", WhenFull::DropOldest, word(WHEN_FULL)),
    };
    section.finish();
    keep
}
