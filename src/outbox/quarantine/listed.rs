//! What IoT Core refuses, as it is shown, and noted on the disk.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::message::{Condition, Qos, Topic, TopicPattern, Traits};
use crate::time::Rfc3339;

/// The name of the note.
pub(crate) const NOTE: &str = "quarantine";

/// The most that is remembered. With more the oldest is forgotten, and found again.
const MAX_LISTED: usize = 128;

/// The most topics that are named of a group.
const MAX_EXAMPLES: usize = 3;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// By topic, groups behind the rest.
    entries: Vec<About>,
    /// Since when what was released last had been refused.
    before: Vec<(Condition, Timestamp)>,
    /// From when on the first of them waits to be tried anew.
    since: Option<Timestamp>,
    /// The note on the disk says something else.
    is_note_old: bool,
    /// It should be written soon for that.
    is_note_pressing: bool,
}

#[derive(Debug, Clone)]
struct About {
    condition: Condition,
    since: Timestamp,
    /// In the quarantine.
    messages: u64,
    /// Topics of a group.
    examples: Vec<Topic>,
    reason: String,
    /// What the certificate's policy has to allow, where that may be why.
    missing: Option<String>,
    /// No such message is sent: it isn't for the content of single ones.
    is_set_aside: bool,
}

/// One of `outbox.quarantine` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct QuarantineStatus {
    /// The topic, or what the topics of a group have in common: `*` stands for what varies.
    topic: String,
    retain: bool,
    /// Only messages of this QoS, or of so many bytes at least, are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    qos: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_size: Option<usize>,
    /// Some topics of a group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    examples: Vec<String>,
    /// Since when messages to it are refused.
    since: Rfc3339,
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
    since: Option<Rfc3339>,
    targets: Vec<Noted>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Noted {
    topic: String,
    #[serde(default)]
    is_group: bool,
    retain: bool,
    #[serde(default)]
    qos: Option<u8>,
    #[serde(default)]
    min_size: Option<usize>,
    #[serde(default)]
    except: Vec<String>,
    #[serde(default)]
    examples: Vec<String>,
    since: Rfc3339,
    messages: u64,
    reason: String,
    missing: Option<String>,
    is_set_aside: bool,
}

impl From<Noted> for About {
    fn from(noted: Noted) -> About {
        let topics = match noted.is_group {
            true => TopicPattern::parse(&noted.topic),
            false => TopicPattern::exactly(&Topic::received(&noted.topic)),
        };
        let topics_of = |names: Vec<String>| names.iter().map(|name| Topic::received(name)).collect();
        let condition = Condition {
            topics,
            retained_only: noted.retain,
            qos: noted.qos.and_then(|qos| Qos::try_from(i64::from(qos)).ok()),
            min_size: noted.min_size,
            except: topics_of(noted.except),
        };
        let Noted { since, messages, reason, missing, is_set_aside, examples, .. } = noted;
        About { condition, since: *since, messages, examples: topics_of(examples), reason, missing, is_set_aside }
    }
}

impl From<&About> for Noted {
    fn from(about: &About) -> Noted {
        let About { condition, since, messages, examples, reason, missing, is_set_aside } = about;
        let names = |topics: &[Topic]| topics.iter().map(Topic::to_string).collect();
        Noted {
            topic: condition.topics.to_string(),
            is_group: condition.is_group(),
            retain: condition.retained_only,
            qos: condition.qos.map(Qos::level),
            min_size: condition.min_size,
            except: names(&condition.except),
            examples: names(examples),
            since: Rfc3339(*since),
            messages: *messages,
            reason: reason.clone(),
            missing: missing.clone(),
            is_set_aside: *is_set_aside,
        }
    }
}

impl Listed {
    /// What an earlier process has noted; returns since when that waits to be tried anew. A note in another form is another
    /// version's: as good as none.
    pub(super) fn recall(&mut self, text: &str) -> Option<Timestamp> {
        let note: Note = serde_json::from_str(text).ok()?;
        for about in note.targets.into_iter().map(About::from) {
            if !self.entries.iter().any(|known| known.condition == about.condition) {
                self.entries.push(about);
            }
        }
        self.sort();
        self.since = note.since.as_deref().copied();
        self.since
    }

    fn sort(&mut self) {
        self.entries.sort_by_cached_key(|about| (about.condition.is_group(), about.condition.topics.to_string()));
    }

    fn about(&mut self, condition: Condition, reason: &str, clock: Timestamp) -> &mut About {
        self.since.get_or_insert(clock);
        self.is_note_old = true;
        let index = self.entries.iter().position(|about| about.condition == condition).unwrap_or_else(|| {
            if self.entries.len() >= MAX_LISTED {
                let ages = self.entries.iter().enumerate();
                let oldest = ages.min_by_key(|(_, about)| (about.is_set_aside, about.messages > 0, about.since));
                oldest.map(|(index, _)| index).into_iter().for_each(|index| drop(self.entries.remove(index)));
            }
            let before = self.before.iter().find(|(other, _)| *other == condition);
            let since = before.map_or(clock, |(_, since)| *since);
            let key = (condition.is_group(), condition.topics.to_string());
            let about = About {
                condition,
                since,
                messages: 0,
                examples: Vec::new(),
                reason: reason.to_owned(),
                missing: None,
                is_set_aside: false,
            };
            let place = |about: &About| (about.condition.is_group(), about.condition.topics.to_string()) <= key;
            let index = self.entries.partition_point(place);
            self.entries.insert(index, about);
            index
        });
        &mut self.entries[index]
    }

    /// Nothing that meets `condition` is sent from now on. What was listed and meets it, too, becomes a part of it.
    pub(super) fn set_aside(
        &mut self,
        condition: Condition,
        reason: &str,
        missing: Option<String>,
        clock: Timestamp,
    ) -> bool {
        let parts: Vec<About> = self.entries.extract_if(.., |about| is_part(&about.condition, &condition)).collect();
        let is_group = condition.is_group();
        let about = self.about(condition, reason, clock);
        for part in parts {
            about.messages += part.messages;
            about.since = about.since.min(part.since);
            let topics = part.examples.into_iter().chain(part.condition.topics.topic());
            about.examples.extend(topics.filter(|_| is_group));
        }
        about.examples.sort();
        about.examples.dedup();
        about.examples.truncate(MAX_EXAMPLES);
        let is_new = !std::mem::replace(&mut about.is_set_aside, true);
        if is_new {
            (about.reason, about.missing) = (reason.to_owned(), missing);
            self.is_note_pressing = true;
        }
        is_new
    }

    /// A message is kept.
    pub(super) fn add(&mut self, message: &Traits, reason: &str, clock: Timestamp) {
        let of_group = self.entries.iter().position(|about| about.is_set_aside && about.condition.matches(message));
        let about = match of_group {
            Some(index) => &mut self.entries[index],
            None => self.about(single(message), reason, clock),
        };
        about.messages += 1;
        let wants = about.condition.is_group() && about.examples.len() < MAX_EXAMPLES;
        if wants && !about.examples.contains(&message.topic) {
            about.examples.push(message.topic.clone());
        }
        self.is_note_old = true;
    }

    /// A message isn't kept any more.
    pub(super) fn remove(&mut self, message: &Traits) {
        let single = single(message);
        let mut listed = self.entries.iter_mut().filter(|about| about.messages > 0);
        let about = listed.find(|about| about.condition == single || about.condition.matches(message));
        if let Some(about) = about {
            about.messages -= 1;
            self.is_note_old = true;
        }
    }

    /// What was set aside and isn't any more: nothing is refused from now on.
    pub(super) fn release(&mut self) -> Vec<Condition> {
        self.since = None;
        self.is_note_old = true;
        self.is_note_pressing = true;
        let entries = std::mem::take(&mut self.entries);
        self.before = entries.iter().map(|about| (about.condition.clone(), about.since)).collect();
        entries.into_iter().filter(|about| about.is_set_aside).map(|about| about.condition).collect()
    }

    fn set_aside_for(&self, message: &Traits) -> Option<&About> {
        self.entries.iter().find(|about| about.is_set_aside && about.condition.matches(message))
    }

    /// Nothing is set aside.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn why_not(&self, message: &Traits) -> Option<String> {
        let About { condition, reason, missing, .. } = self.set_aside_for(message)?;
        let of_group = match condition.is_group() {
            true => format!("{reason}, as on all messages to {condition}"),
            false => reason.clone(),
        };
        Some(match missing {
            Some(missing) => format!("{of_group}; the certificate's policy must allow {missing}"),
            None => of_group,
        })
    }

    pub(super) fn reason(&self, message: &Traits) -> Option<String> {
        self.set_aside_for(message).map(|about| about.reason.clone())
    }

    pub(super) fn status(&self) -> Vec<QuarantineStatus> {
        let status = |about: &About| QuarantineStatus {
            topic: about.condition.topics.to_string(),
            retain: about.condition.retained_only,
            qos: about.condition.qos.map(Qos::level),
            min_size: about.condition.min_size,
            examples: about.examples.iter().map(Topic::to_string).collect(),
            since: about.since.into(),
            messages: about.messages,
            reason: about.reason.clone(),
            missing: about.missing.clone(),
        };
        self.entries.iter().map(status).collect()
    }

    pub(super) fn is_note_old(&self) -> bool {
        self.is_note_old
    }

    pub(super) fn is_note_pressing(&self) -> bool {
        self.is_note_pressing
    }

    /// The note, if it isn't on the disk already. It is being written.
    pub(super) fn begin_note(&mut self) -> Option<(&'static str, String)> {
        if !std::mem::take(&mut self.is_note_old) {
            return None;
        }
        self.is_note_pressing = false;
        let note = Note { since: self.since.map(Rfc3339), targets: self.entries.iter().map(Noted::from).collect() };
        // Strings and numbers: nothing in it can fail to be written.
        Some((NOTE, serde_json::to_string(&note).unwrap_or_default()))
    }

    /// It may not have been written.
    pub(super) fn note_failed(&mut self) {
        self.is_note_old = true;
        self.is_note_pressing = true;
    }
}

/// Where a message is listed that is refused by itself.
fn single(message: &Traits) -> Condition {
    Condition { retained_only: message.retain, ..Condition::topics(TopicPattern::exactly(&message.topic)) }
}

/// Whether all that meets one condition meets the other as well, which isn't the same.
fn is_part(one: &Condition, of: &Condition) -> bool {
    one != of
        && of.topics.covers(&one.topics)
        && (one.retained_only || !of.retained_only)
        && (of.qos.is_none() || one.qos == of.qos)
        && of.min_size.is_none_or(|min| one.min_size.is_some_and(|other| other >= min))
        && !one.topics.topic().is_some_and(|topic| of.except.contains(&topic))
}
