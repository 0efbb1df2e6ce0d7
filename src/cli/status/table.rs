//! The status as a page for people. Pure: it is given the time.

mod bridges;
mod history;
mod identity;
mod services;

use jiff::{SignedDuration, Timestamp};

use super::words::{bytes, causes, clock, relative, span, wrapped};
use crate::cli::output::{Style, StyledText, Tone};
use crate::count::{count, count_that};
use crate::printable::printable;
use crate::status::document::{
    Certificate, Document, Drain, FilterRefusedDocument, ForwardDocument, Held, IngestDocument, LinkDocument,
    LinkPhase, OutboxDocument, Publish, Quarantined, Store,
};
use crate::time::Rfc3339;

/// Where the values of the upper part begin.
const INDENT: usize = 13;

/// The width that long texts are wrapped to.
const WIDTH: usize = 100;

/// A certificate that ends within so many days is worth a colour: time enough to renew it.
const SOON_DAYS: i64 = 30;

/// The page.
pub(super) fn table(document: &Document, now: Timestamp, style: Style) -> StyledText {
    let mut page = Page { text: StyledText::default(), now, style };
    page.head(document);
    page.link(&document.link);
    page.last_error(&document.link);
    page.traffic(document);
    page.outbox(&document.outbox);
    page.inbox(document);
    page.store(&document.store);
    page.identity(document.identity.as_ref());
    page.certificate(&document.certificate);
    page.publishes(&document.publish);
    page.forwards(&document.forward);
    page.ingests(&document.ingest);
    page.bridges(&document.bridge);
    page.services(&document.services);
    page.text
}

struct Page {
    text: StyledText,
    now: Timestamp,
    style: Style,
}

/// A row of a table, and what is to be said below it.
struct TableRow {
    cells: Vec<String>,
    below: Option<(Tone, String)>,
}

impl Page {
    /// A line with a name in front, or one that goes on with what the line before is about.
    fn entry(&mut self, name: &str, tone: Option<Tone>, value: &str) {
        let name = self.style.paint(Tone::Heading, &format!("{name:<INDENT$}"));
        for (i, part) in wrapped(&printable(value), WIDTH - INDENT).iter().enumerate() {
            let part = tone.map_or_else(|| StyledText::plain(part), |tone| self.style.paint(tone, part));
            let before = if i == 0 { name.clone() } else { StyledText::plain(&format!("{:INDENT$}", "")) };
            self.text.line(before.then(part));
        }
    }

    fn more(&mut self, tone: Option<Tone>, value: &str) {
        self.entry("", tone, value);
    }

    /// `for 3m 2s, since 2026-01-31 12:00:00 UTC`
    fn since(&self, at: Rfc3339) -> String {
        format!("for {}, since {}", span(self.now.duration_since(*at)), clock(at))
    }

    fn ago(&self, at: Option<Rfc3339>) -> String {
        at.map_or_else(|| "never".to_owned(), |at| relative(at, self.now))
    }

    fn head(&mut self, document: &Document) {
        let mut head = format!("gatewire {}", document.version);
        if let Some(started) = document.started {
            head.push_str(&format!(", up {}", self.since(started)));
        }
        if let Some(memory) = &document.memory {
            head.push_str(&format!("; memory {}, at most {}", bytes(memory.resident), bytes(memory.peak)));
        }
        self.text.line(StyledText::plain(&head));
        self.text.line(StyledText::default());
    }

    fn link(&mut self, link: &LinkDocument) {
        let since = |at: Option<Rfc3339>| at.map_or_else(String::new, |at| format!(" {}", self.since(at)));
        let (tone, state) = match link.state {
            LinkPhase::Connected => {
                let session = match link.session_present {
                    Some(true) => "; the session was resumed",
                    Some(false) => "; a new session",
                    None => "",
                };
                (Tone::Good, format!("connected {}{session}", since(link.since).trim_start()))
            }
            LinkPhase::Connecting => {
                (Tone::Doubtful, format!("not connected{}; connecting now", since(link.disconnected_since)))
            }
            // Who it is is left out as long as that isn't known.
            LinkPhase::Waiting if link.client_id.is_empty() => {
                (Tone::Bad, format!("not connected{}; it waits for an identity", since(link.disconnected_since)))
            }
            LinkPhase::Waiting => {
                let next = link
                    .next_attempt
                    .map_or_else(String::new, |at| format!("; next attempt {}", relative(at, self.now)));
                (Tone::Bad, format!("not connected{}{next}", since(link.disconnected_since)))
            }
            LinkPhase::Stopped => {
                (Tone::Bad, format!("not connected{}; gatewire is stopping", since(link.disconnected_since)))
            }
            LinkPhase::Unknown => (Tone::Doubtful, "in a state that this version doesn't know".to_owned()),
        };
        self.entry("link", Some(tone), &state);
        let proxy = link.proxy.as_ref().map_or_else(String::new, |proxy| format!(" through the proxy {proxy}"));
        let LinkDocument { endpoint, port, client_id, protocol, .. } = link;
        let client_id = if client_id.is_empty() { String::new() } else { format!(" as {client_id}") };
        self.more(None, &format!("{endpoint}:{port}{proxy}{client_id}, MQTT {protocol}"));
        self.history(&link.history);
        for FilterRefusedDocument { filter, since, reason, missing } in &link.filters_refused {
            let since = since.map_or_else(String::new, |at| format!(" {}", self.since(at)));
            let lacks = lacks(missing.as_deref());
            self.more(Some(Tone::Bad), &format!("not subscribed to {filter}{since}: {reason}{lacks}"));
        }
    }

    fn last_error(&mut self, link: &LinkDocument) {
        let Some(error) = &link.last_error else { return };
        // While it is connected, it is history.
        let tone = if link.state == LinkPhase::Connected { Tone::Aside } else { Tone::Bad };
        self.entry("last error", Some(tone), &format!("{}: {} ({})", self.ago(error.at), error.message, error.code));
        if link.state != LinkPhase::Connected {
            self.more(None, &error.advice);
        }
    }

    fn traffic(&mut self, document: &Document) {
        let counters = &document.counters;
        let reconnects = counters.connections.saturating_sub(1);
        self.entry(
            "traffic",
            None,
            &format!(
                "{} out, {} of them re-sent, {} in; {} in {}, {}",
                counters.published,
                counters.resent,
                counters.received,
                count(counters.connections, "connection"),
                count(counters.attempts, "attempt"),
                count(reconnects, "reconnect"),
            ),
        );
    }

    fn outbox(&mut self, outbox: &OutboxDocument) {
        let oldest = outbox.oldest.map_or_else(String::new, |at| format!(", the oldest {}", self.since(at)));
        let waits = match (outbox.waiting, outbox.in_flight) {
            (0, 0) => "nothing waits for IoT Core".to_owned(),
            (waiting, in_flight) => format!(
                "{} for IoT Core, {in_flight} in flight: {}, {} on the disk{oldest}",
                waits(waiting),
                bytes(outbox.bytes),
                outbox.stored
            ),
        };
        self.entry("outbox", None, &waits);
        if let Some(drain) = &outbox.drain {
            let left = drain.seconds_left.and_then(|seconds| i64::try_from(seconds).ok());
            let left = left.map_or_else(String::new, |seconds| {
                format!(", about {} left", span(SignedDuration::from_secs(seconds)))
            });
            let Drain { messages, delivered, .. } = drain;
            self.more(None, &format!("the backlog goes out: {delivered} of {messages} are delivered{left}"));
        }
        self.more(
            None,
            &format!("{} accepted, {} delivered, {} sent with QoS 0", outbox.accepted, outbox.delivered, outbox.sent),
        );
        if let Some(dropped) = causes(&outbox.dropped) {
            self.more(Some(Tone::Bad), &format!("dropped: {dropped}"));
        }
        if let Some(Held { cause, since, reason, advice, next_attempt }) = &outbox.held {
            let since = since.map_or_else(String::new, |at| format!(" {}", self.since(at)));
            let (what, then) = match cause.as_str() {
                "throttled" => ("IoT Core takes no more messages for now", "They are sent again"),
                "unanswered" => ("IoT Core doesn't acknowledge messages", "They are sent again"),
                "subscribing" => ("messages wait for the answer to a SUBSCRIBE", "They follow"),
                _ => ("IoT Core refuses everything", "One is tried"),
            };
            let then = next_attempt.map_or_else(String::new, |at| format!(" {then} {}.", relative(at, self.now)));
            self.more(Some(Tone::Bad), &format!("{what}{since}: {reason}. Messages wait.{then} {advice}"));
        }
        if outbox.quarantined > 0 {
            let text = format!(
                "{} set aside, because IoT Core refuses {}",
                count(outbox.quarantined, "message"),
                if outbox.quarantined == 1 { "it" } else { "them" }
            );
            self.more(Some(Tone::Bad), &text);
        }
        for quarantined in &outbox.quarantine {
            let Quarantined { topic, retain, qos, min_size, examples, since, messages, reason, missing } = quarantined;
            let since = since.map_or_else(String::new, |at| format!(" {}", self.since(at)));
            let (retained, lacks) = (if *retain { ", retained" } else { "" }, lacks(missing.as_deref()));
            let qos = qos.map_or_else(String::new, |qos| format!(", QoS {qos}"));
            let size = min_size.map_or_else(String::new, |min| format!(", {} or more", count(min, "byte")));
            let examples = if examples.is_empty() { String::new() } else { format!(" (as {})", examples.join(", ")) };
            let which = format!("{topic}{retained}{qos}{size}{examples}");
            self.more(Some(Tone::Bad), &format!("{which}: {messages}{since}: {reason}{lacks}"));
        }
    }

    fn inbox(&mut self, document: &Document) {
        let waiting = total(document.forward.iter().map(|forward| forward.waiting));
        let oldest = document.forward.iter().filter_map(|forward| forward.oldest).min();
        let oldest = oldest.map_or_else(String::new, |at| format!(", the oldest {}", self.since(at)));
        let text = match waiting {
            0 => "nothing waits for readers".to_owned(),
            n => format!("{} for readers{oldest}", waits(n)),
        };
        let inbox = &document.inbox;
        let owed = match inbox.unacknowledged {
            0 => String::new(),
            n => format!("; {n} not acknowledged to IoT Core yet"),
        };
        self.entry("inbox", None, &format!("{text}{owed}"));
        if inbox.unmatched > 0 {
            let text = format!("{} matched no forward", count(inbox.unmatched, "message"));
            self.more(Some(Tone::Doubtful), &text);
        }
        if inbox.too_large > 0 {
            let text = format!("{} too large, and dropped", count_that(inbox.too_large, "message", "was", "were"));
            self.more(Some(Tone::Doubtful), &text);
        }
        if inbox.unreadable > 0 {
            let broke = count_that(inbox.unreadable, "message", "was", "were");
            self.more(Some(Tone::Doubtful), &format!("{broke} against the rules of MQTT, and dropped"));
        }
    }

    fn store(&mut self, store: &Store) {
        match &store.error {
            None => self.entry("store", None, &store.path),
            Some(error) => {
                let since = store.since.map_or_else(String::new, |at| format!(" {}", self.since(at)));
                self.entry("store", Some(Tone::Bad), &format!("can't be written{since}: {error}"));
            }
        }
        for path in &store.moved_aside {
            self.more(Some(Tone::Bad), &format!("a damaged database was moved to {path}"));
        }
        if store.restored > 0 {
            let times = if store.restored == 1 { "once".to_owned() } else { format!("{} times", store.restored) };
            self.more(Some(Tone::Bad), &format!("removed or replaced while it was in use, and restored {times}"));
        }
    }

    fn certificate(&mut self, certificate: &Certificate) {
        let Some(end) = certificate.not_after else { return };
        let left = end.duration_since(self.now);
        let (tone, text) = if left.is_negative() {
            (Some(Tone::Bad), format!("expired {}, at {}: IoT Core refuses it", relative(end, self.now), clock(end)))
        } else if certificate.not_before.is_some_and(|start| *start > self.now) {
            (Some(Tone::Bad), "not valid yet: is this machine's clock set? (`timedatectl`)".to_owned())
        } else {
            let soon = left.as_hours() < SOON_DAYS * 24;
            (soon.then_some(Tone::Doubtful), format!("expires {}, at {}", relative(end, self.now), clock(end)))
        };
        self.entry("certificate", tone, &text);
    }

    fn publishes(&mut self, publishes: &[Publish]) {
        let row = |publish: &Publish| {
            let below = publish.last_error.as_ref().map(|error| {
                let text = format!("{}: {}", relative(error.at, self.now), error.message);
                match publish.failing {
                    true => (Tone::Bad, text),
                    false => (Tone::Aside, format!("works again; last error {text}")),
                }
            });
            let lost = total([publish.skipped, publish.failed, publish.refused]);
            TableRow {
                cells: vec![
                    publish.name.clone(),
                    self.ago(publish.last_published),
                    self.ago(publish.last_run),
                    publish.next_run.map_or_else(|| "none".to_owned(), |at| relative(at, self.now)),
                    publish.count.to_string(),
                    publish.unchanged.to_string(),
                    lost.to_string(),
                    publish.topic.clone(),
                ],
                below,
            }
        };
        let heads = ["PUBLISH", "PUBLISHED", "LAST RUN", "NEXT RUN", "RUNS", "UNCHANGED", "LOST", "TOPIC"];
        let rows: Vec<TableRow> = publishes.iter().map(row).collect();
        self.rows(&heads, &rows);
    }

    fn forwards(&mut self, forwards: &[ForwardDocument]) {
        let row = |forward: &ForwardDocument| {
            let dropped = causes(&forward.dropped).map(|dropped| format!("dropped: {dropped}"));
            let slow = (forward.disconnected_slow > 0)
                .then(|| format!("{} disconnected for not reading", count(forward.disconnected_slow, "reader")));
            let below: Vec<String> = dropped.into_iter().chain(slow).collect();
            TableRow {
                cells: vec![
                    forward.name.clone(),
                    forward.readers.to_string(),
                    forward.observers.to_string(),
                    forward.waiting.to_string(),
                    forward.stored.to_string(),
                    forward.unacknowledged.to_string(),
                    bytes(forward.waiting_bytes),
                    forward.oldest.map_or_else(|| "-".to_owned(), |at| relative(at, self.now)),
                    forward.written.to_string(),
                    forward.socket.clone(),
                ],
                below: (!below.is_empty()).then(|| (Tone::Bad, below.join("; "))),
            }
        };
        let heads =
            ["FORWARD", "READERS", "OBSERVERS", "WAITING", "STORED", "UNACKED", "SIZE", "OLDEST", "WRITTEN", "SOCKET"];
        let rows: Vec<TableRow> = forwards.iter().map(row).collect();
        self.rows(&heads, &rows);
    }

    fn ingests(&mut self, ingests: &[IngestDocument]) {
        let row = |ingest: &IngestDocument| TableRow {
            cells: vec![
                ingest.name.clone(),
                ingest.clients.to_string(),
                ingest.accepted.to_string(),
                total(ingest.refused.values().copied()).to_string(),
                ingest.socket.clone(),
            ],
            below: causes(&ingest.refused).map(|refused| (Tone::Bad, format!("refused: {refused}"))),
        };
        let rows: Vec<TableRow> = ingests.iter().map(row).collect();
        self.rows(&["INGEST", "CLIENTS", "ACCEPTED", "REFUSED", "SOCKET"], &rows);
    }

    /// A table with its heads, columns as wide as they need to be; nothing if there are no rows.
    fn rows(&mut self, heads: &[&str], rows: &[TableRow]) {
        if rows.is_empty() {
            return;
        }
        let cells: Vec<Vec<String>> =
            rows.iter().map(|row| row.cells.iter().map(|cell| printable(cell).into_owned()).collect()).collect();
        let width = |column: usize| {
            let longest = cells.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
            longest.unwrap_or(0).max(heads[column].len())
        };
        let widths: Vec<usize> = (0..heads.len()).map(width).collect();
        let pad =
            |(cell, width): (&str, &usize)| format!("{cell}{:1$}", "", width.saturating_sub(cell.chars().count()));
        let heads = heads.iter().copied().zip(&widths).map(pad).collect::<Vec<_>>().join("  ");
        self.text.line(StyledText::default());
        self.text.line(self.style.paint(Tone::Heading, heads.trim_end()));
        for (row, cells) in rows.iter().zip(&cells) {
            let padded: Vec<String> = cells.iter().map(String::as_str).zip(&widths).map(pad).collect();
            self.text.line(StyledText::plain(&padded.join("  ")));
            let Some((tone, below)) = &row.below else { continue };
            for part in wrapped(&printable(below), WIDTH - 2) {
                self.text.line(StyledText::plain("  ").then(self.style.paint(*tone, &part)));
            }
        }
    }
}

/// All of them: whatever a document says, there is a number to show.
fn total(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

/// `1 message waits`, `2 messages wait`
fn waits(n: u64) -> String {
    count_that(n, "message", "waits", "wait")
}

/// What the certificate's policy has to allow, to be put behind a reason.
fn lacks(missing: Option<&str>) -> String {
    missing.map_or_else(String::new, |missing| format!("; the policy lacks {missing}"))
}
