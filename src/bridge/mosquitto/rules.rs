//! `topic PATTERN [out|in|both] [QOS] [LOCAL-PREFIX] [REMOTE-PREFIX]` as rules.

use std::collections::BTreeSet;

use super::Problems;
use super::connection::Connection;
use super::line::Line;
use crate::config::{Down, Keep, Up, WhenFull};
use crate::limits::MAX_SUBSCRIPTIONS;
use crate::mapping::image::Pattern;
use crate::mapping::loops::{Rule as Number, loops};
use crate::mapping::{BASIC_INGEST, Mapping, Ways, for_iot_core, for_local_broker};
use crate::message::TopicFilter;

/// A rule, and the line that it comes from.
#[derive(Debug, Clone)]
pub(super) struct Made<T> {
    pub(super) rule: T,
    pub(super) line: Line,
    /// What of it had to be left out, so that nothing goes round.
    pub(super) is_mended: bool,
}

/// The rules of a connection.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) up: Vec<Made<Up>>,
    pub(super) down: Vec<Made<Down>>,
}

impl Rules {
    /// Nothing would be carried.
    pub(super) fn are_none(&self) -> bool {
        self.up.is_empty() && self.down.is_empty()
    }
}

/// A topic line, taken apart.
struct Topic<'a> {
    pattern: &'a str,
    direction: &'a str,
    local: &'a str,
    remote: &'a str,
}

pub(super) fn of(connection: &Connection, problems: &mut Problems) -> Rules {
    let mut rules = Rules::default();
    for line in &connection.topics {
        let Some(topic) = taken_apart(line, problems) else { continue };
        let is_up = matches!(topic.direction, "out" | "both");
        if is_up && let Some(rule) = up(&topic, line, connection.carries_retain, problems) {
            let earlier: Vec<_> = rules.up.iter().map(|made| (made.rule.mapping(), &made.line)).collect();
            if is_new(rule.mapping(), &earlier, line, problems) {
                rules.up.push(Made { rule, line: line.clone(), is_mended: false });
            }
        }
        if topic.direction != "out"
            && let Some(rule) = down(&topic, line, problems)
        {
            let earlier: Vec<_> = rules.down.iter().map(|made| (made.rule.mapping(), &made.line)).collect();
            if is_new(rule.mapping(), &earlier, line, problems) {
                rules.down.push(Made { rule, line: line.clone(), is_mended: false });
            }
        }
    }
    rules
}

/// A prefix or pattern of `""` is none.
fn taken_apart<'a>(line: &'a Line, problems: &mut Problems) -> Option<Topic<'a>> {
    let mut words = line.words().map(|word| match word.len() >= 2 {
        true => word.strip_prefix('"').and_then(|word| word.strip_suffix('"')).unwrap_or(word),
        false => word,
    });
    let Some(pattern) = words.next() else {
        problems.at(line, "`topic` has no pattern");
        return None;
    };
    let direction = words.next().unwrap_or("out");
    if !["out", "in", "both"].contains(&direction) {
        problems.at(line, format!("\"{direction}\" isn't a direction: write `out`, `in` or `both`"));
        return None;
    }
    if words.next().is_some_and(|qos| !["0", "1", "2"].contains(&qos)) {
        problems.at(line, "the QoS after the direction must be 0, 1 or 2");
        return None;
    }
    let (local, remote) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if words.next().is_some() {
        problems.at(line, "there is something after the two prefixes");
        return None;
    }
    if [local, remote].iter().any(|prefix| prefix.contains(['+', '#'])) {
        problems.at(line, "a prefix can't hold a wildcard");
        return None;
    }
    Some(Topic { pattern, direction, local, remote })
}

fn up(topic: &Topic<'_>, line: &Line, retain: bool, problems: &mut Problems) -> Option<Up> {
    let from = filter(&format!("{}{}", topic.local, topic.pattern), TopicFilter::of_mqtt, line, problems)?;
    // IoT Core retains nothing there.
    let retain = retain && !topic.remote.starts_with("$aws/");
    let (strip, to) = (topic.local.to_owned(), topic.remote.to_owned());
    let (urgent, every, on_change, batch) = (false, None, false, None);
    let rule = Up { from, strip, to, except: Vec::new(), retain, urgent, every, on_change, batch };
    let is_possible = rule.mapping().images().iter().any(|image| image.is_ever(|topic| for_iot_core(topic, &rule.to)));
    if !is_possible {
        let shown = rule.mapping().images().last().map(Pattern::shown).unwrap_or_default();
        problems.at(
            line,
            format!(
                "IoT Core accepts none of the topics that this makes, \"{shown}\": they may have at most 256 bytes and 7 slashes, and \
                 below `$` only `{BASIC_INGEST}` is allowed"
            ),
        );
    }
    is_possible.then_some(rule)
}

fn down(topic: &Topic<'_>, line: &Line, problems: &mut Problems) -> Option<Down> {
    let from = filter(&format!("{}{}", topic.remote, topic.pattern), TopicFilter::new, line, problems)?;
    if from.as_str().starts_with("arn:") {
        problems.at(line, "an ARN isn't a topic");
        return None;
    }
    if from.as_str().starts_with('$') && !from.as_str().starts_with("$aws/") {
        problems.at(line, format!("IoT Core has no topics like \"{from}\": below `$` there is only `$aws/`"));
        return None;
    }
    let keep = Keep { messages: 10_000, bytes: 16 << 20, when_full: WhenFull::DropOldest };
    let rule = Down { from, strip: topic.remote.to_owned(), to: topic.local.to_owned(), keep };
    let is_possible = rule.mapping().images().iter().any(|image| image.is_ever(for_local_broker));
    if !is_possible {
        problems.at(line, "what this makes isn't a topic at the local broker");
    }
    is_possible.then_some(rule)
}

fn filter(
    text: &str,
    make: impl Fn(&str) -> Result<TopicFilter, crate::message::TopicError>,
    line: &Line,
    problems: &mut Problems,
) -> Option<TopicFilter> {
    if text.starts_with("$share/") {
        problems.at(line, "a shared subscription isn't translated: it would get only part of the messages");
        return None;
    }
    match make(text) {
        Ok(filter) => Some(filter),
        Err(error) => {
            problems.at(line, format!("\"{text}\" isn't a topic filter: {error}"));
            None
        }
    }
}

/// Whether there is anything that no rule before it takes. mosquitto sends a message once for each of its lines.
fn is_new(rule: Mapping<'_>, earlier: &[(Mapping<'_>, &Line)], line: &Line, problems: &mut Problems) -> bool {
    let whole = Pattern::of(rule.from);
    let Some((first, at)) = earlier.iter().find(|(earlier, _)| earlier.takes_all_of(&whole)) else { return true };
    let is_same = (first.strip, first.to) == (rule.strip, rule.to) || first.images() == rule.images();
    if !is_same {
        problems.at(
            line,
            format!(
                "\"{}\" is already taken by line {}: a message goes once, by the first rule that takes it",
                rule.from, at.number
            ),
        );
    }
    false
}

/// Leaves out of what goes up what comes down, or where that would be all, what comes down.
pub(super) fn without_loops(all: &mut [Rules], problems: &mut Problems) {
    let mut filters: BTreeSet<TopicFilter> = BTreeSet::new();
    for rules in all.iter_mut() {
        rules.down.retain(|made| {
            let fits = filters.len() < MAX_SUBSCRIPTIONS as usize || filters.contains(&made.rule.from);
            match fits {
                true => drop(filters.insert(made.rule.from.clone())),
                false => problems.at(
                    &made.line,
                    format!(
                        "IoT Core accepts at most {MAX_SUBSCRIPTIONS} filters from a client; one with a wildcard covers several topics"
                    ),
                ),
            }
            fits
        });
    }
    while let Some(steps) = loops(&all.iter().map(ways).collect::<Vec<_>>()).into_iter().next() {
        // A loop is told from an up rule on, and the step before that one again is a down rule.
        let (Some(Number::Up(of, up)), Some(Number::Down(other, down))) =
            (steps.first().map(|step| step.rule), steps.last().map(|step| step.rule))
        else {
            return;
        };
        let Some(below) = all.get(other).and_then(|rules| rules.down.get(down)) else { return };
        let images = below.rule.mapping().images();
        let Some(above) = all.get_mut(of).and_then(|rules| rules.up.get_mut(up)) else { return };
        match is_mended(above, &images) {
            true => above.is_mended = true,
            false => drop_down(all, (other, down), problems),
        }
    }
}

/// Leaves out `images`, if that can be written and there is something else left.
fn is_mended(above: &mut Made<Up>, images: &[Pattern]) -> bool {
    let Some(mut except) = above.rule.mapping().except_for(images) else { return false };
    except.retain(|filter| !above.rule.except.contains(filter));
    // With nothing new it would go round as before.
    let is_new = !except.is_empty();
    above.rule.except.extend(except);
    is_new
}

fn drop_down(all: &mut [Rules], (of, down): (usize, usize), problems: &mut Problems) {
    let Some(rules) = all.get_mut(of) else { return };
    let made = rules.down.remove(down);
    let direction = made.line.words().nth(1).unwrap_or_default();
    problems.at(
        &made.line,
        format!(
            "`{direction}`: what comes from IoT Core on \"{}\" would go up again, round for ever, so it becomes a [[bridge.up]] only. Give \
             what comes down topics of its own, such as `from = \"gateways/{{{{client_id}}}}/set/#\"` with `strip = \
             \"gateways/{{{{client_id}}}}/set/\"` in a [[bridge.down]]",
            made.rule.from
        ),
    );
}

fn ways(rules: &Rules) -> Ways<'_> {
    Ways {
        up: rules.up.iter().map(|made| made.rule.mapping()).collect(),
        down: rules.down.iter().map(|made| made.rule.mapping()).collect(),
    }
}
