//! The topics that IoT Core refuses messages to, as they are shown, and noted on the disk.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::message::{Target, Topic};

/// The name of the note.
pub(crate) const NOTE: &str = "quarantine";

/// The most topics that are remembered. With more the oldest is forgotten, and found again.
const MAX_LISTED: usize = 128;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Listed {
    targets: BTreeMap<Target, About>,
    /// Since when what was released last had been refused.
    before: BTreeMap<Target, Timestamp>,
    /// From when on the first of them waits to be tried anew.
    since: Option<Timestamp>,
    /// The note on the disk says something else.
    is_note_old: bool,
    /// It should be written soon for that.
    is_note_urgent: bool,
}

#[derive(Debug, Clone)]
struct About {
    since: Timestamp,
    /// In the quarantine.
    messages: u64,
    reason: String,
    /// What the certificate's policy has to allow, where that may be why.
    missing: Option<String>,
    /// No message is sent there: it isn't for the content of single ones.
    is_set_aside: bool,
}

/// One of `outbox.quarantine` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct QuarantineStatus {
    topic: String,
    retain: bool,
    /// Since when messages to it are refused.
    since: Timestamp,
    /// How many of them are kept.
    messages: u64,
    /// What IoT Core does, or says.
    reason: String,
    /// What the certificate's policy has to allow; `null` where it is for something else, such as the content of a message.
    missing: Option<String>,
}

/// As it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    since: Option<Timestamp>,
    targets: Vec<Noted>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Noted {
    topic: String,
    retain: bool,
    since: Timestamp,
    messages: u64,
    reason: String,
    missing: Option<String>,
    is_set_aside: bool,
}

impl Listed {
    /// What an earlier process has noted; returns since when that waits to be tried anew. A note in another form is another
    /// version's: as good as none.
    pub(super) fn recall(&mut self, text: &str) -> Option<Timestamp> {
        let note: Note = serde_json::from_str(text).ok()?;
        for Noted { topic, retain, since, messages, reason, missing, is_set_aside } in note.targets {
            let target = Target { topic: Topic::received(&topic), retain };
            self.targets.entry(target).or_insert(About { since, messages, reason, missing, is_set_aside });
        }
        self.since = note.since;
        self.since
    }

    fn about(&mut self, target: Target, reason: &str, clock: Timestamp) -> &mut About {
        self.since.get_or_insert(clock);
        if self.targets.len() >= MAX_LISTED && !self.targets.contains_key(&target) {
            let oldest = self.targets.iter().min_by_key(|(_, about)| (about.messages > 0, about.since));
            if let Some(oldest) = oldest.map(|(target, _)| target.clone()) {
                self.targets.remove(&oldest);
            }
        }
        let since = self.before.get(&target).copied().unwrap_or(clock);
        let about = About { since, messages: 0, reason: reason.to_owned(), missing: None, is_set_aside: false };
        self.is_note_old = true;
        self.targets.entry(target).or_insert(about)
    }

    pub(super) fn set_aside(
        &mut self,
        target: Target,
        reason: &str,
        missing: Option<String>,
        clock: Timestamp,
    ) -> bool {
        let about = self.about(target, reason, clock);
        let is_new = !std::mem::replace(&mut about.is_set_aside, true);
        if is_new {
            (about.reason, about.missing) = (reason.to_owned(), missing);
            self.is_note_urgent = true;
        }
        is_new
    }

    /// A message to `target` is kept.
    pub(super) fn add(&mut self, target: Target, reason: &str, clock: Timestamp) {
        self.about(target, reason, clock).messages += 1;
    }

    /// A message to `target` isn't kept any more.
    pub(super) fn remove(&mut self, target: &Target) {
        if let Some(about) = self.targets.get_mut(target) {
            about.messages = about.messages.saturating_sub(1);
            self.is_note_old = true;
        }
    }

    /// What was set aside and isn't any more: nothing is refused from now on.
    pub(super) fn release(&mut self) -> Vec<Target> {
        self.since = None;
        self.is_note_old = true;
        self.is_note_urgent = true;
        let targets = std::mem::take(&mut self.targets);
        self.before = targets.iter().map(|(target, about)| (target.clone(), about.since)).collect();
        targets.into_iter().filter(|(_, about)| about.is_set_aside).map(|(target, _)| target).collect()
    }

    /// Where the topic is refused, what is retained there is, too.
    fn set_aside_for(&self, target: &Target) -> Option<&About> {
        let plain = Target { topic: target.topic.clone(), retain: false };
        let found = |target| self.targets.get(target).filter(|about| about.is_set_aside);
        [&plain, target].into_iter().find_map(found)
    }

    pub(super) fn why_not(&self, target: &Target) -> Option<String> {
        let About { reason, missing, .. } = self.set_aside_for(target)?;
        Some(match missing {
            Some(missing) => format!("{reason}; the certificate's policy must allow {missing}"),
            None => reason.clone(),
        })
    }

    pub(super) fn reason(&self, target: &Target) -> Option<String> {
        self.set_aside_for(target).map(|about| about.reason.clone())
    }

    pub(super) fn status(&self) -> Vec<QuarantineStatus> {
        let status = |(target, about): (&Target, &About)| QuarantineStatus {
            topic: target.topic.to_string(),
            retain: target.retain,
            since: about.since,
            messages: about.messages,
            reason: about.reason.clone(),
            missing: about.missing.clone(),
        };
        self.targets.iter().map(status).collect()
    }

    pub(super) fn is_note_old(&self) -> bool {
        self.is_note_old
    }

    pub(super) fn is_note_urgent(&self) -> bool {
        self.is_note_urgent
    }

    /// The note, if it isn't on the disk already. It is being written.
    pub(super) fn begin_note(&mut self) -> Option<(&'static str, String)> {
        if !std::mem::take(&mut self.is_note_old) {
            return None;
        }
        self.is_note_urgent = false;
        let noted = |(target, about): (&Target, &About)| Noted {
            topic: target.topic.to_string(),
            retain: target.retain,
            since: about.since,
            messages: about.messages,
            reason: about.reason.clone(),
            missing: about.missing.clone(),
            is_set_aside: about.is_set_aside,
        };
        let note = Note { since: self.since, targets: self.targets.iter().map(noted).collect() };
        // Strings and numbers: nothing in it can fail to be written.
        Some((NOTE, serde_json::to_string(&note).unwrap_or_default()))
    }

    /// It may not have been written.
    pub(super) fn note_failed(&mut self) {
        self.is_note_old = true;
        self.is_note_urgent = true;
    }
}
