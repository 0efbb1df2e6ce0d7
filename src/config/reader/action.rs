//! `[[action]]`: what jobs and commands may ask for.

mod doubts;
mod hosts;
mod rights;
mod run;
mod shape;

use std::cell::Cell;
use std::time::Duration;

use super::Reader;
use super::claims::Use;
use super::paths::path;
use crate::actions::{Action, Actions, Done, Download, MAX_PATTERN, Pattern, PatternError, ROTATE, RunsAs, Word};
use crate::config::document::{Node, Value};
use crate::config::redact::without_secrets;
use crate::config::section::Section;
use crate::config::values::{MIB, MINUTE, MS, boolean, duration, integer, size, string, word};

/// How the names of what is built in begin.
const BUILT_IN: &str = "gatewire:";

/// The most bytes of a name.
const MAX_NAME: usize = 128;

/// The most bytes of a handler, which is the name of a file elsewhere (`NAME_MAX`).
const MAX_HANDLER: usize = 255;

/// The longest that a program may run: as long as a job may be in progress at AWS.
const MAX_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The most bytes that the patterns of all actions may take once they are compiled.
const MAX_PATTERNS: usize = 4 << 20;

impl<'a> Reader<'a> {
    pub(in crate::config) fn actions(&self) -> Actions {
        let tables: Vec<_> = self
            .named("action")
            .into_iter()
            .map(|(section, name)| {
                let handler = section.get("handler", handler);
                (section, name, handler)
            })
            .collect();
        for (number, (section, name, handler)) in tables.iter().enumerate() {
            let Some(handler) = handler else { continue };
            let first = tables[..number].iter().find(|(_, _, other)| other.as_ref() == Some(handler));
            if let Some((first, ..)) = first {
                section.error(
                    "handler",
                    &format!("\"{handler}\" is taken by the [[action]] at {}", first.place("handler")),
                );
            }
            let of_that_name = tables.iter().find(|(_, other, _)| other == handler && other != name);
            if let Some((other, ..)) = of_that_name {
                section.error(
                    "handler",
                    &format!("\"{handler}\" is the name of the [[action]] at {}", other.place("name")),
                );
            }
        }
        let room = Cell::new(MAX_PATTERNS);
        let action = |(section, name, handler)| self.action(section, name, handler, &room);
        let has_own_identity = self.root.get("provisioning").is_some();
        Actions::new(tables.into_iter().filter_map(action).collect()).with_rotation(has_own_identity)
    }

    /// `room`: how many bytes are left for compiled patterns.
    fn action(
        &self,
        section: Section<'a>,
        name: String,
        handler: Option<String>,
        room: &Cell<usize>,
    ) -> Option<Action> {
        let is_handler_wrong = handler.is_none() && section.node("handler").is_some();
        let (has_arguments, has_download) = (section.node("args").is_some(), section.node("download").is_some());
        let arguments = section.get("args", |node| pattern(node, room));
        let split = section.get_or("split", false, boolean);
        let max_arguments = section.get_or("max_args", 8, integer(1..=32));
        for key in ["split", "max_args"] {
            if section.node(key).is_some() && !has_arguments {
                section.error(key, "is for `args`, which isn't there: without that the action takes no arguments");
            }
        }
        let run = run::run(&section, has_arguments, has_download);
        if let Some(run) = &run {
            self.note(&section, "run", run.program.as_ref());
            if has_arguments && !run.words.contains(&Word::Arguments) {
                section.warning("run", "has no \"{{args}}\", so the arguments that `args` allows go nowhere");
            }
            if has_download && !run.words.iter().any(|word| matches!(word, Word::Download { .. })) {
                section.warning("run", "has no \"{{download}}\", so the program doesn't learn where the file is");
            }
        }
        let runs_as = section.get_or("as", RunsAs::Sandbox, user);
        let timeout = section.get_or("timeout", 2 * MINUTE, duration(100 * MS..=MAX_TIMEOUT));
        let done =
            word(&[("exit", Done::Exit), ("after-boot", Done::AfterBoot), ("after-restart", Done::AfterRestart)]);
        let done = section.get_or("done", Done::Exit, done);
        let rerun = section.get_or("rerun", false, boolean);
        let report_output = section.get_or("report_output", false, boolean);
        let download = section.optional_section("download").map(|download| self.download(download));
        let is_wrong = is_handler_wrong || has_arguments != arguments.is_some() || has_download != download.is_some();
        let max_arguments = usize::try_from(max_arguments).unwrap_or(1);
        // `None`: it is wrong.
        let download = download.map_or(Some(None), |download| download.map(Some));
        let action = run.zip(download).filter(|_| !is_wrong && !name.is_empty()).map(|(run, download)| Action {
            name,
            handler,
            split,
            arguments,
            max_arguments,
            run,
            runs_as,
            timeout,
            done,
            rerun,
            report_output,
            download,
        });
        if let Some(action) = &action {
            doubts::doubts(action).iter().for_each(|doubt| section.warning("args", doubt));
            rights::doubts(action).iter().for_each(|doubt| section.warning("run", doubt));
        }
        section.finish();
        action
    }

    /// `None` if anything is wrong with it, which is reported.
    fn download(&self, section: Section<'a>) -> Option<Download> {
        let hosts = section.require_parts("hosts", hosts::EXAMPLE, hosts::hosts);
        let max_size = section.get_or("max_size", 100 * MIB, size(1..=64 * 1024 * MIB));
        let ca_file = section.get("ca_file", |node| path(node, self.environment));
        let is_ca_wrong = ca_file.is_none() && section.node("ca_file").is_some();
        if let Some(ca_file) = &ca_file {
            self.note(&section, "ca_file", ca_file);
            self.claim(&section, "ca_file", ca_file, Use::File);
        }
        section.finish();
        let hosts = hosts?;
        (!is_ca_wrong).then_some(Download { hosts, max_size, ca_file })
    }
}

/// What documents call an action.
pub(super) fn action_name(node: &Node) -> Result<String, String> {
    let text = string(node)?;
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if is_built_in(text) {
        return Err(format!("\"{text}\" is built in, or may be later: write another name"));
    }
    if text.len() > MAX_NAME {
        return Err(format!("is {} bytes long, at most {MAX_NAME} are allowed", text.len()));
    }
    if text.chars().all(is_part) && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Ok(text.to_owned());
    }
    let allowed = "must begin with a letter or digit, and hold only letters, digits, `.`, `_`, `:` and `-`";
    let meant: String = text.trim().chars().map(|c| if is_part(c) { c } else { '-' }).collect();
    let meant = meant.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    // Written in another way, a secret wouldn't be recognised as one.
    let is_harmless = !meant.is_empty() && text.len() <= MAX_NAME && without_secrets(text) == text;
    let hint = if is_harmless { format!("; write \"{meant}\"") } else { String::new() };
    Err(format!("\"{text}\" {allowed}{hint}"))
}

fn is_built_in(name: &str) -> bool {
    let begins = name.get(..BUILT_IN.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(BUILT_IN));
    begins || name.eq_ignore_ascii_case(ROTATE)
}

/// The name of a file that isn't looked for.
fn handler(node: &Node) -> Result<String, String> {
    let text = string(node)?;
    match text {
        "" => Err("must not be empty; leave it out if no document of AWS's templates is to use this action".to_owned()),
        _ if is_built_in(text) => Err(format!("\"{text}\" is built in, or may be later: write another name")),
        _ if text.contains('/') || matches!(text, "." | "..") => {
            let name = text.rsplit('/').find(|part| !matches!(*part, "" | "." | ".."));
            let name = name.map_or_else(String::new, |name| format!(", \"{name}\""));
            Err(format!(
                "\"{text}\" is a path; write the name alone{name}: what is run stands in `run`, and nothing is looked for"
            ))
        }
        _ if text.len() > MAX_HANDLER => {
            Err(format!("is {} bytes long, at most {MAX_HANDLER} are allowed", text.len()))
        }
        _ if text.contains(char::is_control) => Err("must not hold control characters".to_owned()),
        _ if text.trim() != text => Err(format!("has a blank at one end; write \"{}\"", text.trim())),
        _ => Ok(text.to_owned()),
    }
}

fn pattern(node: &Node, room: &Cell<usize>) -> Result<Pattern, String> {
    if let Value::Array(items) = &node.value {
        let items: Vec<&str> = items.iter().filter_map(|item| string(item).ok()).collect();
        // Among the signs of a pattern a password isn't known as one any more.
        let holds_secrets = items.iter().any(|item| without_secrets(item) != **item);
        return Err(match &items[..] {
            items if items.is_empty() || holds_secrets => {
                "must be one regular expression in quotes, such as \"(nodered|zigbee2mqtt)\"".to_owned()
            }
            items => format!("must be one regular expression in quotes, {}", shape::of_list(items)),
        });
    }
    let text = string(node)?;
    if text.is_empty() {
        return Err("must not be empty; leave it out for an action without arguments".to_owned());
    }
    let pattern = Pattern::within(text, room.get()).map_err(|error| match (error, shape::meant_by(text)) {
        (PatternError::TooLarge, _) if room.get() < MAX_PATTERN => format!(
            "\"{text}\" is too large: with it the patterns of all actions take more than 4 MiB once they are compiled; repeat less, as in \
             `{{1,64}}`"
        ),
        (error @ PatternError::TooLarge, _) => format!("\"{text}\" is too large: {error}"),
        (_, Some(meant)) => format!("\"{text}\" isn't a regular expression; {meant}"),
        (error, None) => format!("\"{text}\" isn't a regular expression: {error}"),
    })?;
    room.set(room.get().saturating_sub(pattern.compiled_size()));
    Ok(pattern)
}

fn user(node: &Node) -> Result<RunsAs, String> {
    let text = match &node.value {
        Value::Boolean(true) | Value::Integer(0) => return Err("must be written `as = \"root\"`".to_owned()),
        _ => string(node)?,
    };
    match text {
        "root" => Ok(RunsAs::Root),
        text => Err(match text.trim().to_lowercase().as_str() {
            "root" | "0" | "sudo" | "su" | "admin" | "administrator" | "superuser" => {
                format!("\"{text}\": write \"root\"; no other user can be chosen")
            }
            _ => format!(
                "\"{text}\": only \"root\" can be chosen; leave it out for gatewire's own user, in the sandbox of its unit"
            ),
        }),
    }
}
