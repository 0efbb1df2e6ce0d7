//! The status as a page for people. Pure: it is given the time.

mod bridges;
mod identity;
pub(super) mod ingests;
pub(super) mod meter;
mod services;

use jiff::{SignedDuration, Timestamp};

use super::history;
use super::said::{self, Words};
use super::words::{bytes, causes, nothing_waits, relative, span, total, waits, wrapped};
use crate::cli::output::{Style, StyledText, Tone};
use crate::count::{count, count_that};
use crate::printable::printable;
use crate::status::document::{
    Certificate, Document, Drain, ForwardDocument, LinkDocument, LinkPhase, OutboxDocument, Publish, Store,
};
use crate::time::Rfc3339;

/// Where the values of the upper part begin.
const INDENT: usize = 13;

/// The width that long texts are wrapped to.
const WIDTH: usize = 100;

/// The page.
pub(super) fn table(document: &Document, now: Timestamp, style: Style) -> StyledText {
    let mut page = Page { text: StyledText::default(), now, words: Words { now, has_times: true }, style };
    page.head(document);
    page.link(&document.link);
    page.last_error(&document.link);
    page.traffic(document);
    page.meter(document.meter.as_ref());
    page.outbox(&document.outbox);
    page.inbox(document);
    page.store(&document.store);
    page.identity(document.identity.as_ref());
    page.certificate(&document.certificate);
    if let Some(error) = document.metrics.as_ref().and_then(|metrics| metrics.error.as_ref()) {
        page.entry("metrics", Some(Tone::Bad), &format!("not served: {error}"));
    }
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
    words: Words,
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

    fn since(&self, at: Rfc3339) -> String {
        self.words.since(at)
    }

    fn ago(&self, at: Option<Rfc3339>) -> String {
        self.words.ago(at)
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
        if let Some(refused) = &document.reload_refused {
            self.entry("reload", Some(Tone::Bad), &self.words.reload_refused(refused, &[]));
        }
    }

    fn link(&mut self, link: &LinkDocument) {
        let (tone, state) = self.words.link(link);
        self.entry("link", Some(tone), &state);
        let proxy = link.proxy.as_ref().map_or_else(String::new, |proxy| format!(" through the proxy {proxy}"));
        let LinkDocument { endpoint, port, client_id, protocol, .. } = link;
        let client_id = if client_id.is_empty() { String::new() } else { format!(" as {client_id}") };
        self.more(None, &format!("{endpoint}:{port}{proxy}{client_id}, MQTT {protocol}"));
        if let Some(summary) = history::summary(&link.history, self.now) {
            self.more(None, &summary);
        }
        if let Some(found) = &link.keep_alive {
            self.more(None, &said::keep_alive(found));
        }
        if let Some(refused) = &link.birth_refused {
            self.more(Some(Tone::Bad), &self.words.birth_refused(refused));
        }
        for text in self.words.filters_refused(&link.filters_refused) {
            self.more(Some(Tone::Bad), &text);
        }
    }

    fn last_error(&mut self, link: &LinkDocument) {
        let Some(error) = &link.last_error else { return };
        // While it is connected, it is history.
        let tone = if link.state == LinkPhase::Connected { Tone::Aside } else { Tone::Bad };
        self.entry("last error", Some(tone), &format!("{}: {}", self.ago(error.at), said::error(error)));
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
            (0, 0) => nothing_waits(outbox.held.is_some()).to_owned(),
            (waiting, in_flight) => format!(
                "{} for IoT Core{}, {in_flight} in flight: {}, {} on the disk{oldest}",
                waits(waiting),
                if outbox.urgent > 0 { format!(", {} of them urgent", outbox.urgent) } else { String::new() },
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
        if let Some(held) = &outbox.held {
            self.more(Some(Tone::Bad), &self.words.held(held));
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
            self.more(Some(Tone::Bad), &self.words.quarantined(quarantined));
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
        if let Some((tone, text)) = self.words.certificate(certificate) {
            self.entry("certificate", tone, &text);
        }
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
            let asked = (!forward.subscribed.is_empty())
                .then(|| format!("its readers ask for {} too", forward.subscribed.join(", ")));
            let tone = if dropped.is_some() || slow.is_some() { Tone::Bad } else { Tone::Aside };
            let below: Vec<String> = dropped.into_iter().chain(slow).chain(asked).collect();
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
                below: (!below.is_empty()).then(|| (tone, below.join("; "))),
            }
        };
        let heads =
            ["FORWARD", "READERS", "OBSERVERS", "WAITING", "STORED", "UNACKED", "SIZE", "OLDEST", "WRITTEN", "SOCKET"];
        let rows: Vec<TableRow> = forwards.iter().map(row).collect();
        self.rows(&heads, &rows);
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
