//! `gatewire publish`: messages through the running daemon, by one of its ingest sockets.
//!
//! A thread of its own writes the lines and shuts down its side after the last; this one reads the answers meanwhile, because
//! the daemon reads on only as long as its answers are read.

pub(crate) mod answers;
mod patience;

use std::ffi::OsString;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use clap::Args;
use serde::Serialize;

use super::client::{Unreachable, connect};
use super::output::{Failure, tell};
use super::{Exit, inputs};
use crate::config::{self, Config, Ingest};
use crate::limits::MAX_PAYLOAD;
use crate::message::{BASE64, Properties, Topic};
use answers::Answers;
use patience::Patience;

/// How long to wait for an answer, unless --timeout says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) const LONG_ABOUT: &str = "\
Publish a message through the running daemon, or with --lines many. It uses an [[ingest]]
socket whose `topics` allow TOPIC. It returns when IoT Core has acknowledged the message (it
prints `delivered`), or when the message is on this machine's disk, to be sent from there
(`stored`); with QoS 0, when the message is written to the connection (`sent`).

Without PAYLOAD it publishes standard input, as with `-`. An empty message is \"\".

If neither IoT Core nor the disk accepts the message, it says after 5 s what it waits for,
and gives up after --timeout. The message may still be published.";

pub(super) const AFTER_HELP: &str = "\
Examples:
  gatewire publish gateways/thing-gateway-01/door '{\"open\":true}'
  gatewire publish gateways/thing-gateway-01/photo - < photo.jpg
  date | gatewire publish gateways/thing-gateway-01/time
  sensor | gatewire publish gateways/thing-gateway-01/values --lines
  gatewire publish gateways/thing-gateway-01/door \"\" --retain      removes the retained message

Exit codes: 0 all are delivered, stored or sent; 1 one was refused, the reason is on
standard error; 64 usage; 69 the daemon can't be reached, stopped before it had
answered all, or didn't answer within --timeout; 78 configuration unusable.";

/// The command line of `gatewire publish`.
#[derive(Debug, Args)]
pub(super) struct PublishArguments {
    /// The topic to publish to
    topic: String,

    /// The message, sent as it is; `-`, or nothing, reads standard input to its end
    #[arg(allow_negative_numbers = true)]
    payload: Option<OsString>,

    /// Publish each line of standard input as a message, without its newline; empty lines are skipped
    #[arg(long)]
    lines: bool,

    /// 1: until IoT Core has acknowledged it. 0: once, and only while connected
    #[arg(long, default_value_t = 1, value_parser = quality)]
    qos: u8,

    /// Give up when no answer has come for this long, such as 10s or 5m [default: 1m, plus the time a batch may wait]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,

    /// Ask IoT Core to keep it for future subscribers
    #[arg(long)]
    retain: bool,

    /// Send it before everything that isn't urgent and hasn't been sent; takes an [[ingest]] that lets it
    #[arg(long)]
    urgent: bool,

    /// MQTT 5: how long the message is valid, such as 30s or 1h
    #[arg(long, value_name = "DURATION", value_parser = expiry)]
    expires_in: Option<String>,

    /// MQTT 5: the type of the payload, such as application/json
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,

    /// MQTT 5: the topic for responses
    #[arg(long, value_name = "TOPIC")]
    response_topic: Option<String>,

    /// MQTT 5: what identifies the request in a response
    #[arg(long, value_name = "BYTES")]
    correlation_data: Option<OsString>,

    /// MQTT 5: a user property; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    user_property: Vec<(String, String)>,

    // Not a comment for rustdoc, which would look for what is in the brackets.
    #[arg(
        help = "Publish through this [[ingest]] instead of the first whose `topics` allow TOPIC",
        long,
        value_name = "NAME",
        conflicts_with = "socket"
    )]
    ingest: Option<String>,

    /// Publish through this socket; the configuration isn't read
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

fn quality(text: &str) -> Result<u8, String> {
    match text {
        "0" => Ok(0),
        "1" => Ok(1),
        "2" => Err("IoT Core has no QoS 2; use 1".to_owned()),
        _ => Err("must be 0 or 1".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("must be a duration such as 10s or 5m".to_owned()),
    }
}

/// As the daemon takes it, which counts in seconds.
fn expiry(text: &str) -> Result<String, String> {
    match duration(text)?.as_secs() {
        0 => Err("must be at least 1s".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A line to the daemon. The answer brings `id` back: the number of the message, from 1.
#[derive(Debug, Serialize)]
struct Request<'a> {
    id: u64,
    topic: &'a str,
    qos: u8,
    retain: bool,
    /// Only where it is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    urgent: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<&'a Properties>,
    #[serde(flatten)]
    payload: Payload<'a>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Payload<'a> {
    Payload(&'a str),
    PayloadBase64(String),
}

impl Payload<'_> {
    /// Text as text, unless so much of it must be escaped that a line wouldn't hold the longest; else Base64.
    fn of(bytes: &[u8]) -> Payload<'_> {
        let is_short =
            |text: &str| serde_json::to_string(text).is_ok_and(|quoted| quoted.len() <= 64 + text.len() * 3 / 2);
        match std::str::from_utf8(bytes) {
            Ok(text) if is_short(text) => Payload::Payload(text),
            _ => Payload::PayloadBase64(BASE64.encode(bytes)),
        }
    }
}

/// Results go to standard output, all else to standard error.
#[inline(never)]
pub(super) fn run(config: &Path, arguments: PublishArguments) -> Exit {
    publish(config, arguments).unwrap_or_else(Failure::end)
}

fn publish(config: &Path, arguments: PublishArguments) -> Result<Exit, Failure> {
    let is_stdin = arguments.payload.as_ref().is_none_or(|payload| payload == "-");
    if arguments.payload.is_none() && !arguments.lines && io::stdin().is_terminal() {
        let text = "PAYLOAD is missing: give the message, `-` to type it (Ctrl-D ends it), or \"\" for an empty one";
        return Err(Failure::new(text, Exit::Usage));
    }
    if arguments.lines && arguments.payload.is_some() && !is_stdin {
        let text = "--lines publishes the lines of standard input: PAYLOAD can only be `-`, or left out";
        return Err(Failure::new(text, Exit::Usage));
    }
    if let Some(doubt) = config::about_topic(&arguments.topic) {
        tell(&format!("warning: TOPIC: {doubt}"));
    }
    let mut patience = Patience::new(PATIENCE);
    let path = match &arguments.socket {
        Some(path) => path.clone(),
        None => {
            let config = inputs::of_daemon(config)?;
            let ingest = ingest(&config, &arguments)?;
            if arguments.urgent && !ingest.urgent {
                tell(&format!(
                    "warning: [[ingest]] {} has `urgent = false`: this goes like the other messages",
                    ingest.name
                ));
            }
            patience = Patience::new(PATIENCE + ingest.batch.map_or(Duration::ZERO, |batch| batch.within));
            patience.status = Some(config.status.socket.path.clone());
            ingest.socket.path.clone()
        }
    };
    if let Some(timeout) = arguments.timeout {
        patience.timeout = timeout;
    }
    let stream = connect(&path)?;
    let broken = |error| Failure::from(Unreachable::new(&path, error));
    let sender = Sender { stream: stream.try_clone().map_err(broken)?, progress: Arc::default(), message: arguments };
    let (progress, lines) = (Arc::clone(&sender.progress), sender.message.lines);
    let mut answers = Answers::new(&path, lines);
    // Not waited for: should the daemon go away, it may sit there waiting for standard input.
    std::thread::spawn(move || sender.run(is_stdin));
    answers.read(stream, &progress, patience)?;
    answers.end(&progress)
}

/// The ingest that takes messages for `topic`, or the one of this name.
fn ingest<'a>(config: &'a Config, arguments: &PublishArguments) -> Result<&'a Ingest, Failure> {
    let topic = &arguments.topic;
    match arguments.ingest.as_deref() {
        Some(name) => config.ingest.iter().find(|ingest| ingest.name == name).ok_or_else(|| {
            let names: Vec<&str> = config.ingest.iter().map(|ingest| ingest.name.as_str()).collect();
            let there_are = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Failure::new(format!("there is no [[ingest]] `{name}`; the configuration has {there_are}"), Exit::Usage)
        }),
        None => {
            let no = |text| Failure::new(text, Exit::No);
            let checked = Topic::new(topic).map_err(|error| no(format!("not published: topic `{topic}`: {error}")))?;
            let accepts = |ingest: &&Ingest| ingest.topics.iter().any(|filter| filter.matches(&checked));
            // Which topics those are the daemon may know, if anybody does.
            let awaits = || config.ingest.iter().find(|ingest| ingest.awaits_name);
            let fits = |ingest: &&Ingest| accepts(ingest) && ingest.urgent;
            let first = config.ingest.iter().find(|ingest| arguments.urgent && fits(ingest));
            first.or_else(|| config.ingest.iter().find(accepts)).or_else(awaits).ok_or_else(|| {
                let all = config.ingest.iter().flat_map(|ingest| &ingest.topics).map(|filter| filter.as_str());
                let allowed = all.collect::<Vec<_>>().join(", ");
                let allowed = if allowed.is_empty() { "there is none".to_owned() } else { allowed };
                no(format!(
                    "not published: no [[ingest]] accepts messages for `{topic}`; see `topics` in the configuration \
                        ({allowed})"
                ))
            })
        }
    }
}

/// How far the sender has come.
#[derive(Debug, Default)]
struct Progress {
    /// Lines that the daemon was sent, or the last in part.
    sent: AtomicU64,
    /// Messages that can't be sent.
    refused: AtomicU64,
    /// Everything is sent.
    done: AtomicBool,
    /// Standard input couldn't be read to its end.
    broken: AtomicBool,
}

/// What writes the lines.
struct Sender {
    stream: UnixStream,
    progress: Arc<Progress>,
    message: PublishArguments,
}

impl Sender {
    fn run(mut self, is_stdin: bool) {
        let sent = if self.message.lines { self.each_line() } else { self.one(is_stdin) };
        if let Err(error) = sent {
            self.progress.broken.store(true, Ordering::SeqCst);
            tell(&format!("standard input can't be read: {error}"));
        }
        self.progress.done.store(true, Ordering::SeqCst);
        // If it fails there is nobody who would read.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    fn one(&mut self, is_stdin: bool) -> io::Result<()> {
        let mut payload = self.message.payload.take().unwrap_or_default().into_vec();
        if is_stdin {
            payload.clear();
            io::stdin().take(MAX_PAYLOAD as u64 + 1).read_to_end(&mut payload)?;
            if payload.is_empty() {
                self.progress.refused.fetch_add(1, Ordering::SeqCst);
                refuse(false, 1, "standard input is empty; an empty message is `gatewire publish TOPIC \"\"`");
                return Ok(());
            }
        }
        self.send(1, &payload);
        Ok(())
    }

    /// Sends each line of standard input, as long as somebody takes them.
    fn each_line(&mut self) -> io::Result<()> {
        let mut input = io::stdin().lock();
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            if input.by_ref().take(MAX_PAYLOAD as u64 + 2).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let is_whole = line.last() == Some(&b'\n');
            line.pop_if(|last| *last == b'\n');
            if !is_whole && line.len() > MAX_PAYLOAD {
                input.skip_until(b'\n')?;
            }
            if !line.is_empty() && !self.send(number, &line) {
                break;
            }
        }
        Ok(())
    }

    /// Sends a message; whether the daemon takes more.
    fn send(&mut self, id: u64, payload: &[u8]) -> bool {
        if payload.len() > MAX_PAYLOAD {
            self.progress.refused.fetch_add(1, Ordering::SeqCst);
            refuse(
                self.message.lines,
                id,
                &format!("too_large: it has more than {MAX_PAYLOAD} bytes, the most that IoT Core accepts"),
            );
            return true;
        }
        let PublishArguments { content_type, response_topic, correlation_data, user_property, .. } = &self.message;
        let properties = Properties {
            content_type: content_type.clone(),
            response_topic: response_topic.clone(),
            correlation_data: correlation_data.clone().map(|data| data.into_vec().into()),
            user_properties: user_property.clone(),
            ..Properties::default()
        };
        let request = Request {
            id,
            topic: &self.message.topic,
            qos: self.message.qos,
            retain: self.message.retain,
            urgent: self.message.urgent.then_some(true),
            expires_in: self.message.expires_in.as_deref(),
            properties: (properties != Properties::default()).then_some(&properties),
            payload: Payload::of(payload),
        };
        // Writing to memory can't fail.
        let mut line = serde_json::to_vec(&request).unwrap_or_default();
        line.push(b'\n');
        self.progress.sent.fetch_add(1, Ordering::SeqCst);
        self.stream.write_all(&line).is_ok()
    }
}

/// Says why a message isn't published.
fn refuse(lines: bool, id: u64, why: &str) {
    match lines {
        true => tell(&format!("line {id} is not published: {why}")),
        false => tell(&format!("not published: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_as_text_and_what_a_line_would_not_hold_as_base64() {
        for text in ["", "\"", "21 °C", "{\"open\":true,\"at\":\"the back\"}\n"] {
            assert_eq!(Payload::of(text.as_bytes()), Payload::Payload(text));
        }
        assert_eq!(Payload::of(b"\xff"), Payload::PayloadBase64("/w==".to_owned()));
        for worst in [vec![0; MAX_PAYLOAD], vec![b'"'; MAX_PAYLOAD], vec![0xff; MAX_PAYLOAD]] {
            let line = serde_json::to_vec(&Payload::of(&worst)).unwrap();
            assert!(line.len() < 200 * 1024, "{}", line.len());
        }
    }
}
