//! `gatewire bridge`: what becomes of a topic, and a bridge of mosquitto's as one of gatewire's. No daemon is needed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::output::{self, Failure, StyledText, tell};
use super::{Exit, inputs};
use crate::bridge::cause::Cause;
use crate::bridge::mosquitto::{self, Line};
use crate::bridge::rules::{self, Route};
use crate::bridge::why;
use crate::config::{Bridge, Encoding, Environment, Up};
use crate::duration::written;
use crate::mapping::{Mapping, Ways};
use crate::message::{Topic, TopicError};
use crate::regular;

/// The largest file of mosquitto's that is read, in bytes, and how many of them are.
const MAX_FILE: u64 = 4 << 20;
const MAX_FILES: usize = 1000;

/// How the name of the thing is written, and what stands in for it until AWS has given it.
const PLACEHOLDER: &str = "{{thing}}";
const UNNAMED: &str = "gatewire-is-yet-to-be-named";

pub(super) const LONG_ABOUT: &str = "\
Say which rule of the bridges takes a topic and what becomes of it, or why no rule takes it. The
topic is tried both ways: up, as a topic of the local broker, and down, as a topic of IoT Core.
Only the configuration is read, so it also shows what a change will do.

With --from-mosquitto, read the configuration of mosquitto instead, with the files that it
includes, and print its bridges as [[bridge]] tables for gatewire.toml. What can't be
translated is reported on standard error, with its file and line.";

pub(super) const AFTER_HELP: &str = "\
Examples:
  gatewire bridge zigbee2mqtt/kitchen
  gatewire bridge gateways/thing-gateway-01/set/kitchen/set
  gatewire bridge --from-mosquitto /etc/mosquitto/mosquitto.conf > house.toml

Exit codes: 0 a rule takes the topic and it reaches the other side, or everything was translated; 1 no rule takes it, it
can't reach the other side, something wasn't translated, or there is no bridge to translate; 64 usage; 78 configuration
unusable, or FILE can't be read.";

/// The command line of `gatewire bridge`.
#[derive(Debug, Args)]
pub(super) struct BridgeArguments {
    /// A topic of the local broker or of IoT Core; not a filter
    #[arg(required_unless_present = "from_mosquitto", conflicts_with = "from_mosquitto")]
    topic: Option<String>,

    /// Translate the bridges in this configuration of mosquitto, such as /etc/mosquitto/mosquitto.conf
    #[arg(long, value_name = "FILE")]
    from_mosquitto: Option<PathBuf>,
}

/// The answer goes to standard output, all else to standard error.
#[inline(never)]
pub(super) fn run(path: &Path, arguments: &BridgeArguments) -> Exit {
    let answered = match (&arguments.from_mosquitto, &arguments.topic) {
        (Some(file), _) => translated(file),
        (None, Some(topic)) => told(path, topic),
        (None, None) => Err(Failure::new("name a topic, or `--from-mosquitto FILE`", Exit::Usage)),
    };
    let ended = answered.and_then(|(lines, exit)| output::answer(&StyledText::of_lines(lines)).map(|()| exit));
    ended.unwrap_or_else(Failure::end)
}

fn told(path: &Path, name: &str) -> Result<(Vec<String>, Exit), Failure> {
    let topic = Topic::of_mqtt(name).map_err(|error| Failure::new(not_a_topic(name, &error), Exit::Usage))?;
    let (config, warnings) = inputs::configuration(path)?;
    warnings.iter().for_each(|warning| tell(warning));
    if config.bridge.is_empty() {
        return Ok((vec!["there is no [[bridge]] in the configuration".to_owned()], Exit::No));
    }
    if config.connection.is_named {
        return Ok(answer(&config.bridge, &topic));
    }
    // With a name that can be told from all else.
    let environment = Environment { thing: |_| Some(UNNAMED.to_owned()), ..Environment::of_service() };
    let (config, _) = inputs::configuration_in(path, &environment)?;
    let topic = Topic::of_mqtt(&name.replace(PLACEHOLDER, UNNAMED)).unwrap_or(topic);
    let (lines, exit) = answer(&config.bridge, &topic);
    let lines = lines.into_iter().map(|line| line.replace(UNNAMED, PLACEHOLDER));
    let note = format!("{PLACEHOLDER} is the name of the thing, which AWS is yet to give: there is no identity yet");
    Ok((lines.chain([note]).collect(), exit))
}

fn not_a_topic(name: &str, error: &TopicError) -> String {
    match error {
        TopicError::WildcardInTopic(_) => {
            let example = name.split('/').map(|level| if ["+", "#"].contains(&level) { "x" } else { level });
            let example = example.collect::<Vec<_>>().join("/").replace(['+', '#'], "x");
            format!(
                "\"{name}\" is a filter, and what becomes of each of its topics may differ: name one topic, such as \"{example}\""
            )
        }
        error => format!("\"{name}\" isn't a topic: {error}"),
    }
}

/// A line for each bridge and way that takes `topic`; if there is none, why.
fn answer(bridges: &[Bridge], topic: &Topic) -> (Vec<String>, Exit) {
    let (mut taken, mut not_taken) = (Vec::new(), Vec::new());
    let mut arrives = false;
    for bridge in bridges {
        let Ways { up, down } = bridge.ways();
        let ways = [("up", rules::up(bridge, topic), up), ("down", rules::down(bridge, topic), down)];
        for (way, route, rules) in ways {
            let name = &bridge.name;
            let by = |index: usize| {
                let from = rules.get(index).map(|rule| rule.from.as_str()).unwrap_or_default();
                format!("{name}: {way}, by rule {} from {from}", index + 1)
            };
            match route {
                Route::To(index, made) => {
                    arrives = true;
                    taken.push(format!("{}: {topic} becomes {made} at {}", by(index), other_side(way)));
                    let also = match way {
                        "up" => bridge.up.get(index).map(what_else).unwrap_or_default(),
                        _ => Vec::new(),
                    };
                    taken.extend(also.into_iter().map(|line| format!("  {line}")));
                }
                Route::Left(index, cause) => {
                    let why = why_left(cause, way);
                    taken.push(format!("{}: {topic} is left out ({cause}): {why}", by(index)));
                }
                Route::Nowhere if way == "up" && bridge.announced.contains(topic) => not_taken.push(format!(
                    "{name}: {way}: {topic} is gatewire's own, by `discovery`; such topics are never carried to IoT Core"
                )),
                Route::Nowhere => not_taken.push(format!("{name}: {way}: {}", why_not(&rules, topic))),
            }
        }
    }
    let exit = if arrives { Exit::Done } else { Exit::No };
    (if taken.is_empty() { not_taken } else { taken }, exit)
}

fn other_side(way: &str) -> &'static str {
    if way == "up" { "IoT Core" } else { "the local broker" }
}

/// What a person can do.
fn why_left(cause: Cause, way: &str) -> &'static str {
    match (cause, way) {
        (Cause::TopicTooLong, "down") => "its topic there would be longer than the 65535 bytes that MQTT allows",
        (cause, _) => why(cause),
    }
}

/// What a rule upwards does beside the topic.
fn what_else(rule: &Up) -> Vec<String> {
    let mut lines = Vec::new();
    if rule.urgent {
        lines.push("urgent: before everything that isn't urgent and hasn't been sent".to_owned());
    }
    if let Some(every) = rule.every {
        lines.push(format!("every: only the newest message of the topic, at most once in {}", written(every)));
    }
    if rule.on_change {
        lines.push("on_change: only if it differs from the topic's last one".to_owned());
    }
    if let Some(batch) = rule.batch {
        lines.push(format!(
            "batch: in JSON arrays of up to {}, the first waits at most {}{}",
            batch.max,
            written(batch.within),
            if batch.encoding == Encoding::Gzip { "; packed by gzip" } else { "" }
        ));
    }
    lines.push(match rule.retain {
        true => "retain: what is retained here is retained at IoT Core, too".to_owned(),
        false => "retain: what is retained here isn't retained at IoT Core".to_owned(),
    });
    lines
}

/// Why no rule takes it: which leaves it out, or which begins as it does.
fn why_not(rules: &[Mapping<'_>], topic: &Topic) -> String {
    let leaves_out = rules.iter().enumerate().find_map(|(index, rule)| {
        let except = rule.except.iter().find(|except| except.matches(topic)).filter(|_| rule.from.matches(topic))?;
        Some(format!(
            "{topic} is left out by `except`, {except}, of rule {} from {}; no other rule takes it",
            index + 1,
            rule.from
        ))
    });
    leaves_out.unwrap_or_else(|| match rules {
        [] => "there are no rules".to_owned(),
        rules => {
            let from: Vec<&str> = rules.iter().map(|rule| rule.from.as_str()).collect();
            let dollar = topic.as_str().starts_with('$') && from.iter().any(|from| from.starts_with(['+', '#']));
            let dollar = if dollar { "; a wildcard at the start doesn't match topics that begin with `$`" } else { "" };
            format!("no rule takes {topic}; the rules take {}{dollar}", from.join(", "))
        }
    })
}

fn translated(file: &Path) -> Result<(Vec<String>, Exit), Failure> {
    let mut read = Files::default();
    read.file(file, None).map_err(|text| Failure::new(format!("{}: {text}", file.display()), Exit::Config))?;
    let translation = mosquitto::translate(file, &read.lines);
    let mut exit = Exit::Done;
    let problems = translation.problems.iter().map(|problem| match problem.line {
        0 => format!("{}: {}", problem.file.display(), problem.text),
        line => format!("{}:{line}: {}", problem.file.display(), problem.text),
    });
    for problem in read.problems.iter().cloned().chain(problems) {
        tell(&problem);
        exit = Exit::No;
    }
    Ok((translation.toml.lines().map(str::to_owned).collect(), exit))
}

/// The files of a configuration, in the order in which mosquitto reads them.
#[derive(Default)]
struct Files {
    lines: Vec<Line>,
    problems: Vec<String>,
    directories: BTreeSet<PathBuf>,
    files: usize,
}

impl Files {
    /// Reads a file and, where it says so, the files of a directory. `by` names it.
    fn file(&mut self, file: &Path, by: Option<&Line>) -> Result<(), String> {
        self.files += 1;
        if self.files > MAX_FILES {
            return Err(format!("there are more than {MAX_FILES} files"));
        }
        let bytes = regular::read(file, MAX_FILE).map_err(|unread| {
            let error = io::Error::from(unread);
            match error.kind() {
                io::ErrorKind::NotFound => "there is no such file".to_owned(),
                io::ErrorKind::PermissionDenied => {
                    format!(
                        "you may not read it; `sudo gatewire bridge --from-mosquitto {}` may",
                        by.map_or(file, |by| &by.file).display()
                    )
                }
                io::ErrorKind::IsADirectory => {
                    let inside = file.join("mosquitto.conf");
                    let inside = if inside.is_file() { inside } else { "/etc/mosquitto/mosquitto.conf".into() };
                    format!("it is a directory; name a file, such as {}", inside.display())
                }
                io::ErrorKind::FileTooLarge => format!("it is larger than {} MiB", MAX_FILE >> 20),
                _ => format!("it can't be read: {error}"),
            }
        })?;
        for line in mosquitto::lines(file, &bytes) {
            let directory = mosquitto::included(&line);
            self.lines.push(line.clone());
            if let Some(directory) = directory {
                self.directory(&directory, &line);
            }
        }
        Ok(())
    }

    /// `*.conf` by name, each directory once.
    fn directory(&mut self, directory: &Path, by: &Line) {
        let place = || format!("{}:{}", by.file.display(), by.number);
        if !self.directories.insert(directory.to_owned()) {
            return;
        }
        let listed = fs::read_dir(directory)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>());
        let mut paths = match listed {
            Ok(paths) => paths,
            Err(error) => {
                return self.problems.push(format!("{}: {} can't be read: {error}", place(), directory.display()));
            }
        };
        paths.retain(|path| path.extension().is_some_and(|end| end == "conf"));
        paths.sort();
        for path in paths {
            if let Err(text) = self.file(&path, Some(by)) {
                self.problems.push(format!("{}: {text}", path.display()));
            }
        }
    }
}
