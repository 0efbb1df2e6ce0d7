//! What there is to be shown, given what the daemon has answered and when. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use super::rates::Rates;
use super::tallies::Tallies;
use crate::status::document::Document;

/// So many things that were seen are kept.
const MAX_SEEN: usize = 50;

/// When something is: by the clock on the wall, and since boot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) wall: Timestamp,
    pub(super) boot: Duration,
}

/// What is known of the daemon.
#[derive(Debug)]
pub(super) enum Known {
    /// It hasn't answered yet.
    Nothing,
    Document(Box<Document>),
    /// It can't be asked: why, and what to do.
    Unreachable(String),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) known: Known,
    /// When that became known.
    pub(super) at: Moment,
    pub(super) rates: Rates,
    pub(super) tallies: Tallies,
    /// What has happened to the daemon itself since this looks, the newest last.
    pub(super) seen: VecDeque<(Timestamp, String)>,
    /// What is wrong with the configuration, a line each.
    pub(super) notes: Vec<String>,
}

impl Model {
    pub(super) fn new(now: Moment) -> Model {
        Model {
            known: Known::Nothing,
            at: now,
            rates: Rates::default(),
            tallies: Tallies::default(),
            seen: VecDeque::new(),
            notes: Vec::new(),
        }
    }

    /// The daemon has answered, or it is known why it can't be asked.
    pub(super) fn learn(&mut self, answer: Result<Document, String>, now: Moment) {
        match &answer {
            Ok(document) => {
                let started = self.started_since(document);
                if let Some(text) = &started {
                    self.see(now.wall, text.clone());
                }
                self.rates.answered(document, now.boot);
                self.tallies.answered(document, started.is_some(), now.wall);
            }
            Err(_) => {
                if matches!(self.known, Known::Document(_)) {
                    self.see(now.wall, "gatewire stopped answering".to_owned());
                }
                self.rates.unanswered(now.boot);
            }
        }
        self.known = match answer {
            Ok(document) => Known::Document(Box::new(document)),
            Err(reason) => Known::Unreachable(reason),
        };
        self.at = now;
    }

    /// Whether this is another daemon than the last one that has answered.
    fn started_since(&self, document: &Document) -> Option<String> {
        let version = &document.version;
        match &self.known {
            Known::Nothing => None,
            Known::Unreachable(_) => Some(format!("gatewire {version} answers")),
            Known::Document(before) if before.version != *version => {
                Some(format!("gatewire {version} has taken the place of {}", before.version))
            }
            Known::Document(before) => {
                (before.started != document.started).then(|| "gatewire was started again".to_owned())
            }
        }
    }

    fn see(&mut self, at: Timestamp, what: String) {
        self.seen.push_back((at, what));
        self.seen.drain(..self.seen.len().saturating_sub(MAX_SEEN));
    }
}
