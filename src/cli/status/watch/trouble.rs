//! What is wrong, and what was: what an operator looks for first. Pure.

use std::cmp::Reverse;

use jiff::Timestamp;

use super::model::Model;
use super::tallies;
use crate::cli::output::Tone;
use crate::cli::status::history::written;
use crate::cli::status::said::{self, Words};
use crate::status::document::{Document, ExecutionDocument, LinkPhase, SpanDocument};
use crate::time::Rfc3339;

/// How an execution ends, or goes on, without trouble.
const FINE: [&str; 4] = ["SUCCEEDED", "IN_PROGRESS", "QUEUED", "CANCELED"];

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) when: When,
    pub(super) tone: Tone,
    pub(super) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum When {
    /// Some time since the daemon's start.
    Earlier,
    At(Timestamp),
    /// It is still so.
    Now,
}

/// All there is, the newest first.
pub(super) fn of(model: &Model, document: &Document, words: Words) -> Vec<Trouble> {
    let mut found = Found { troubles: Vec::new(), words };
    model.notes.iter().for_each(|note| found.now(note.clone()));
    if let Some(refused) = &document.reload_refused {
        found.now(words.reload_refused(refused, &model.notes));
    }
    found.link(document);
    found.messages(document);
    found.parts(document);
    for execution in document.executions.iter().flatten() {
        found.execution(execution);
    }
    for (at, what) in &model.seen {
        found.add(When::At(*at), Tone::Doubtful, what.clone());
    }
    for tally in tallies::of(document) {
        let when = model.tallies.grown(&tally).map_or(When::Earlier, When::At);
        found.add(when, tally.tone, tally.text);
    }
    // Those of the same time stay in the order of the document.
    found.troubles.sort_by_key(|trouble| Reverse(trouble.when));
    found.troubles
}

struct Found {
    troubles: Vec<Trouble>,
    words: Words,
}

impl Found {
    fn add(&mut self, when: When, tone: Tone, text: String) {
        self.troubles.push(Trouble { when, tone, text });
    }

    fn now(&mut self, text: String) {
        self.add(When::Now, Tone::Bad, text);
    }

    fn at(&mut self, at: Option<Rfc3339>, text: String) {
        self.add(at.map_or(When::Earlier, |at| When::At(*at)), Tone::Aside, text);
    }

    fn link(&mut self, document: &Document) {
        let link = &document.link;
        let is_up = link.state == LinkPhase::Connected;
        match &link.last_error {
            Some(error) if is_up => self.at(error.at, format!("link: {}", said::error(error))),
            Some(error) => self.now(format!("link: {}. {}", said::error(error), error.advice)),
            None => {}
        }
        if let Some(refused) = &link.birth_refused {
            self.now(self.words.birth_refused(refused));
        }
        self.words.filters_refused(&link.filters_refused).into_iter().for_each(|text| self.now(text));
        // What is now is told above.
        let over = if is_up { link.history.len() } else { link.history.len().saturating_sub(1) };
        for span in &link.history[..over] {
            let SpanDocument { since, state, longest_gap_seconds, cause, .. } = span;
            if let ("disconnected", Some(cause)) = (state.as_str(), cause) {
                self.at(*since, format!("link: no connection for {} ({cause})", written(*longest_gap_seconds)));
            }
        }
    }

    fn messages(&mut self, document: &Document) {
        if let Some(held) = &document.outbox.held {
            self.now(format!("outbox: {}", self.words.held(held)));
        }
        for quarantined in &document.outbox.quarantine {
            self.now(format!("set aside: {}", self.words.quarantined(quarantined)));
        }
        let store = &document.store;
        if let Some(error) = &store.error {
            self.now(format!("store: {}: {error}", store.path));
        }
        for path in &store.moved_aside {
            self.at(None, format!("store: a damaged database was moved to {path}"));
        }
    }

    fn parts(&mut self, document: &Document) {
        if let Some(identity) = &document.identity
            && let Some(error) = &identity.last_error
        {
            match identity.state.as_str() {
                "ready" => self.at(error.at, format!("identity: {}", said::error(error))),
                _ => self.now(format!("identity: {}. {}", said::error(error), error.advice)),
            }
        }
        if let Some((Some(tone), text)) = self.words.certificate(&document.certificate) {
            self.add(When::Now, tone, format!("certificate: {text}"));
        }
        for publish in &document.publish {
            match &publish.last_error {
                Some(error) if publish.failing => self.now(format!("publish {}: {}", publish.name, error.message)),
                Some(error) => self.at(Some(error.at), format!("publish {}: {}", publish.name, error.message)),
                None => {}
            }
        }
        for bridge in &document.bridge {
            let name = &bridge.name;
            match &bridge.last_error {
                Some(error) if bridge.state == LinkPhase::Connected => {
                    self.at(error.at, format!("bridge {name}: {}", said::error(error)));
                }
                Some(error) => self.now(format!("bridge {name}: {}. {}", said::error(error), error.advice)),
                None => {}
            }
            for text in self.words.filters_refused(&bridge.filters_refused) {
                self.now(format!("bridge {name}: {text}"));
            }
        }
        for (name, service) in &document.services {
            if let Some(reason) = &service.reason {
                self.now(format!("{name}: {reason}"));
            }
        }
        if let Some(error) = document.metrics.as_ref().and_then(|metrics| metrics.error.as_ref()) {
            self.now(format!("metrics: {error}"));
        }
        if document.clock.synchronised == Some(false) {
            let text = "clock: no time service keeps it right (`timedatectl`)";
            self.add(When::Now, Tone::Doubtful, text.to_owned());
        }
    }

    fn execution(&mut self, execution: &ExecutionDocument) {
        let ExecutionDocument { at, kind, id, status, reason, .. } = execution;
        if !FINE.contains(&status.as_str()) {
            let reason = reason.as_ref().map_or_else(String::new, |reason| format!(", {reason}"));
            self.at(*at, format!("{kind} {id}: {status}{reason}"));
        }
    }
}
