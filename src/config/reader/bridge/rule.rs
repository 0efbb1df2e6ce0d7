//! `[[bridge.up]]` and `[[bridge.down]]`: what is taken, and what becomes of its topic.

use super::super::publish::{batch, urgent};
use super::super::tables::keep;
use super::Reader;
use crate::config::document::{Node, Value};
use crate::config::doubt;
use crate::config::section::{Complaints, Section};
use crate::config::values::{DAY, MS, boolean, duration, string};
use crate::config::{Down, Up};
use crate::limits::{MAX_TOPIC_BYTES, MAX_TOPIC_SLASHES};
use crate::mapping::image::Pattern;
use crate::mapping::{BASIC_INGEST, Direction, Mapping, Unfit, for_iot_core, for_local_broker};
use crate::message::{MAX_MQTT_TEXT, Qos, TopicError, TopicFilter, check_characters};

impl<'a> Reader<'a> {
    /// `None` if anything is wrong with it, which is reported.
    pub(super) fn up(&self, section: Section<'a>) -> Option<Up> {
        let from = section.require_parts("from", "\"zigbee2mqtt/+\"", |node, complaints| {
            self.local_filter(one(node, "up", complaints)?, complaints)
        });
        let mapped = self.mapped(&section, from, Direction::Up);
        let except = self.except(&section);
        let retain = section.get_or("retain", false, boolean);
        let urgent = urgent(&section);
        let every = section.get("every", duration(100 * MS..=DAY));
        let is_every_wrong = every.is_none() && section.node("every").is_some();
        let on_change = section.get_or("on_change", false, boolean);
        let batch = batch(&section);
        if retain && mapped.as_ref().is_some_and(|(_, _, to)| to.starts_with(BASIC_INGEST)) {
            section.error("retain", "IoT Core retains nothing under `$aws/`; leave it out");
        }
        if let (Some((from, _, _)), Some(except)) = (&mapped, &except) {
            warn_of_except(&section, from, except);
        }
        section.finish();
        let ((from, strip, to), except) = (mapped?, except?);
        (!is_every_wrong).then_some(Up { from, strip, to, except, retain, urgent, every, on_change, batch })
    }

    /// `None` if anything is wrong with it, which is reported. `bridge` is the name of its bridge.
    pub(super) fn down(&self, section: Section<'a>, bridge: &str) -> Option<Down> {
        let from = section.require_parts("from", "\"gateways/{{client_id}}/set/#\"", |node, complaints| {
            self.filter(one(node, "down", complaints)?, &["$aws/", "$share/"], complaints)
        });
        self.count_subscriptions(&section, "from", bridge, from.as_slice(), Qos::AtLeastOnce);
        let mapped = self.mapped(&section, from, Direction::Down);
        let keep = keep(section.section("keep"));
        section.finish();
        let (from, strip, to) = mapped?;
        Some(Down { from, strip, to, keep })
    }

    /// A filter of the local broker, which has MQTT's bounds only.
    fn local_filter(&self, node: &Node, complaints: &Complaints<'_>) -> Option<TopicFilter> {
        let read = || {
            let text = string(node)?;
            if let Some(share) = text.strip_prefix("$share/") {
                let rest = share.split_once('/').map_or("", |(_, rest)| rest);
                return Err(format!(
                    "\"{text}\" is a shared subscription: the broker would distribute its messages among the subscribers, in no order, and \
                     without No Local. Write the filter by itself, \"{rest}\""
                ));
            }
            [doubt::about_topic(text), doubt::placeholder(text), doubt::wildcard(text)]
                .iter()
                .flatten()
                .for_each(|doubt| complaints.warn(node, doubt));
            self.filled(text, TopicFilter::of_mqtt, |filter, error| {
                format!("{filter:?} isn't a topic filter: {error}{}", doubt::escaped(text))
            })
        };
        read().map_err(|text| complaints.at(node, text)).ok()
    }

    /// `except`: none are as good as no key.
    fn except(&self, section: &Section<'a>) -> Option<Vec<TopicFilter>> {
        if section.node("except").is_none() {
            return Some(Vec::new());
        }
        section.require_parts("except", "[\"zigbee2mqtt/bridge/#\"]", |node, complaints| {
            let items = match &node.value {
                Value::Array(items) => &items[..],
                Value::String(text) => {
                    complaints.at(node, format!("must be an array of filters, [\"{text}\"]"));
                    return None;
                }
                other => {
                    complaints.at(
                        node,
                        format!("must be an array of filters such as [\"zigbee2mqtt/bridge/#\"], not {}", other.kind()),
                    );
                    return None;
                }
            };
            // All of them, and only then whether one is missing: each complaint is wanted.
            let filters: Vec<_> = items.iter().map(|item| self.local_filter(item, complaints)).collect();
            filters.into_iter().collect()
        })
    }

    /// `from`, `strip` and `to`, if they go together.
    fn mapped(
        &self,
        section: &Section<'a>,
        from: Option<TopicFilter>,
        direction: Direction,
    ) -> Option<(TopicFilter, String, String)> {
        for key in ["strip", "to"] {
            let Some(text) = section.node(key).and_then(|node| string(node).ok()) else { continue };
            let doubts = [doubt::about_topic(text), doubt::placeholder(text).filter(|_| !text.starts_with('$'))];
            doubts.iter().flatten().for_each(|doubt| section.warning(key, doubt));
        }
        let strip = section.get_or("strip", String::new(), |node| self.part_of_topic(node));
        let to = section.get_or("to", String::new(), |node| self.part_of_topic(node));
        let is_wrong = |key, value: &String| value.is_empty() && section.node(key).is_some_and(|node| !is_empty(node));
        let is_any_wrong = is_wrong("strip", &strip) || is_wrong("to", &to);
        let from = from?;
        let literal = from.levels().split(['+', '#']).next().unwrap_or_default();
        if !literal.starts_with(&strip) {
            let text = match literal {
                "" => format!("\"{strip}\" can't be cut off: `from` begins with a wildcard; leave `strip` out"),
                _ => format!(
                    "\"{strip}\" isn't the beginning of `from`, \"{from}\", before its wildcards; write \"{literal}\""
                ),
            };
            section.error("strip", &text);
            return None;
        }
        let mapping = Mapping { from: &from, except: &[], strip: &strip, to: &to };
        (!is_any_wrong && is_possible(section, mapping, direction)).then(|| {
            warn_of_slashes(section, mapping);
            (from.clone(), strip.clone(), to.clone())
        })
    }

    /// `strip` or `to`: a part of a topic, which may be empty.
    fn part_of_topic(&self, node: &Node) -> Result<String, String> {
        let text = string(node)?;
        if text.is_empty() {
            return Ok(String::new());
        }
        if let Some(doubt) = doubt::placeholder(text).filter(|_| text.starts_with('$')) {
            return Err(doubt);
        }
        let check = |part: &str| match part.chars().find(|c| matches!(c, '+' | '#')) {
            Some(wildcard) => Err(TopicError::WildcardInTopic(wildcard)),
            None => check_characters(part).map(|()| part.to_owned()).map_err(TopicError::Character),
        };
        self.filled(text, check, |part, error| match error {
            TopicError::WildcardInTopic(_) => {
                let literal = text.split(['+', '#']).next().unwrap_or_default();
                format!("{part:?} becomes part of topics, so it can't hold a wildcard; write \"{literal}\"")
            }
            error => format!("{part:?} can't be part of a topic: {error}{}", doubt::escaped(text)),
        })
    }
}

/// The one filter that a rule has.
fn one<'n>(node: &'n Node, direction: &str, complaints: &Complaints<'_>) -> Option<&'n Node> {
    match &node.value {
        Value::Array(items) if items.len() > 1 => {
            complaints.at(node, format!("must be one filter in quotes; write a `[[bridge.{direction}]]` for each"));
            None
        }
        _ => Some(node),
    }
}

fn is_empty(node: &Node) -> bool {
    matches!(&node.value, Value::String(text) if text.is_empty())
}

/// Whether the other side can have any topic that the rule makes; if not, that is reported.
fn is_possible(section: &Section<'_>, mapping: Mapping<'_>, direction: Direction) -> bool {
    let images = mapping.images();
    let check = |topic: &str| match direction {
        Direction::Up => for_iot_core(topic, mapping.to),
        Direction::Down => for_local_broker(topic),
    };
    let (key, shortest) =
        (if mapping.to.is_empty() { "from" } else { "to" }, images.iter().flat_map(Pattern::shortest));
    let mut cause = None;
    for topic in shortest {
        match check(&topic) {
            Ok(_) => return true,
            Err(found) => cause = Some(found),
        }
    }
    let shown = images.last().map(Pattern::shown).unwrap_or_default();
    let first = mapping.from.levels().split('/').next().unwrap_or_default();
    let text = match (cause, direction) {
        (Some(Unfit::Reserved), Direction::Up) if mapping.to.is_empty() => format!(
            "what goes up would begin with `$`, as in \"{shown}\", which is AWS's own; put something before it, such as `to = \
             \"gateways/{{{{client_id}}}}/\"`"
        ),
        (Some(Unfit::Reserved), Direction::Up) => {
            format!(
                "\"{shown}\" begins with `$`; of such topics a bridge carries up only those that `to` puts below the name of a rule, such as `to = \"{BASIC_INGEST}NAME/\"` (Basic Ingest)"
            )
        }
        (Some(Unfit::Reserved), Direction::Down) => {
            format!(
                "\"{shown}\" begins with `{first}`, which is for the broker itself; write another `to`",
                first = shown.split('/').next().unwrap_or(first)
            )
        }
        (Some(Unfit::TooLong), Direction::Up) => {
            format!(
                "every topic that this makes is longer than the {MAX_TOPIC_BYTES} bytes that IoT Core allows; write a shorter `to`, or a longer `strip`"
            )
        }
        (Some(Unfit::TooLong), Direction::Down) => {
            format!(
                "every topic that this makes is longer than the {MAX_MQTT_TEXT} bytes that MQTT allows; write a shorter `to`"
            )
        }
        (Some(Unfit::TooManySlashes), _) => format!(
            "every topic that this makes, such as \"{shown}\", has more than the {MAX_TOPIC_SLASHES} slashes that IoT Core allows; write a \
             `to` with fewer levels, or a longer `strip`"
        ),
        _ if mapping.to.is_empty() => {
            format!("nothing is left of \"{}\" once `strip` is cut off; write its new topic in `to`", mapping.from)
        }
        _ => format!("\"{shown}\" isn't a topic"),
    };
    section.error(key, &text);
    false
}

/// What is most likely not meant: levels that grow together, and empty ones.
fn warn_of_slashes(section: &Section<'_>, mapping: Mapping<'_>) {
    let Mapping { from, strip, to, .. } = mapping;
    let left: Vec<Pattern> = Mapping { to: "", ..mapping }.images();
    let Some(left) = left.last().filter(|_| from.levels() != strip) else { return };
    let goes_on = left.levels().len() > 1 || left.is_open();
    let begins_with_slash =
        goes_on && left.levels().first().is_some_and(|first| first.text.is_empty() && !first.is_open);
    let example = |image: &Pattern| match begins_with_slash && image.is_open() {
        true => format!("{}/x", image.shortest()[1]),
        false => image.shortest()[1].clone(),
    };
    let example = mapping.images().last().map(example).unwrap_or_default();
    if begins_with_slash && !strip.is_empty() && (to.is_empty() || to.ends_with('/')) {
        let text = format!("topics become \"{example}\" and the like, with an empty level; write \"{strip}/\"");
        section.warning("strip", &text);
    } else if !begins_with_slash && !to.is_empty() && !to.ends_with('/') {
        let text = format!(
            "has no slash at its end, so topics become \"{example}\" and the like; write \"{to}/\" unless that is meant"
        );
        section.warning("to", &text);
    }
}

fn warn_of_except(section: &Section<'_>, from: &TopicFilter, except: &[TopicFilter]) {
    for filter in except.iter().filter(|filter| !filter.overlaps(from)) {
        section.warning(
            "except",
            &format!("\"{filter}\" has no topic in common with `from`, \"{from}\"; it leaves out nothing"),
        );
    }
    let whole = Pattern::of(from);
    if let Some(all) = except.iter().find(|filter| whole.is_within(filter)) {
        section
            .warning("except", &format!("\"{all}\" leaves out all of `from`, \"{from}\"; the rule takes no message"));
    }
}
