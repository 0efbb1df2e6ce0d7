//! The closes of the server, and whether it is known what they were for.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::{CAREFUL_FOR, Guilty, Isolation, Key, Shown, Suspect};
use crate::message::TopicFilter;

/// A close for another reason is forgotten after so long.
pub(super) const DOUBT_FOR: Duration = Duration::from_secs(3600);

/// The most closes for other reasons that count.
pub(super) const MAX_DOUBT: u32 = 5;

/// The most closes that are remembered to be explained.
const MAX_CLOSES: usize = 16;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Closes {
    /// Those for which nobody was found guilty yet, with those who may be.
    unexplained: VecDeque<(Instant, Vec<Suspect>)>,
    /// The last for which nobody can be, at most [`MAX_DOUBT`], the last first.
    doubts: VecDeque<Instant>,
}

impl Closes {
    fn closed(&mut self, suspects: Vec<Suspect>, now: Instant) {
        self.unexplained.truncate(MAX_CLOSES - 1);
        self.unexplained.push_front((now, suspects));
    }

    /// The server closed for something else than what we sent.
    fn doubt(&mut self, at: Instant) {
        self.doubts.truncate(MAX_DOUBT as usize - 1);
        self.doubts.push_front(at);
    }

    pub(super) fn doubts(&self) -> u32 {
        u32::try_from(self.doubts.len()).unwrap_or(MAX_DOUBT)
    }

    pub(super) fn is_explained(&self) -> bool {
        self.unexplained.is_empty()
    }

    /// Who `is_cleared` can't be guilty. A close for which nobody is left was for another reason, or for none.
    pub(super) fn clear(&mut self, is_cleared: impl Fn(&Suspect) -> bool) {
        for (_, suspects) in &mut self.unexplained {
            suspects.retain(|suspect| !is_cleared(suspect));
        }
        while let Some(index) = self.unexplained.iter().position(|(_, suspects)| suspects.is_empty()) {
            self.unexplained.remove(index).into_iter().for_each(|(at, _)| self.doubt(at));
        }
    }

    /// Who `is_guilty` explains the closes that it was there at.
    pub(super) fn explain(&mut self, is_guilty: impl Fn(&Suspect) -> bool) {
        self.unexplained.retain(|(_, suspects)| !suspects.iter().any(&is_guilty));
    }

    /// All of them were for the same: the server refused everything.
    pub(super) fn explain_all(&mut self) {
        self.unexplained.clear();
    }

    pub(super) fn forget(&mut self, now: Instant) {
        self.doubts.retain(|at| now < *at + DOUBT_FOR);
        self.unexplained.retain(|(at, _)| now < *at + DOUBT_FOR);
    }
}

impl Isolation {
    /// The server has closed the connection while it hadn't answered these, beside the QoS 0 messages.
    ///
    /// `is_for_form`: it has said that the form of a message is the reason, which is reason enough where one was alone. So is any
    /// reason for a filter that `is_requested` by readers: they may ask for the next bad one as soon as this is found.
    pub(crate) fn closed(
        &mut self,
        unanswered: impl Iterator<Item = Suspect>,
        is_for_form: bool,
        is_requested: impl Fn(&TopicFilter) -> bool,
        now: Instant,
    ) -> Shown {
        self.forget(now);
        let written = self.take_written(now).into_iter().map(Suspect::Publish);
        let mut keys = BTreeSet::new();
        let suspects: Vec<Suspect> = unanswered.chain(written).filter(|suspect| keys.insert(suspect.key())).collect();
        let mut shown = Shown::default();
        if suspects.is_empty() {
            // It closes for reasons of its own.
            self.end_rows();
            self.closes.doubt(now);
            return shown;
        }
        let trial = suspects.first().filter(|suspect| suspects.len() == 1 && self.is_alone(suspect)).cloned();
        for (key, record) in self.recovery.closed(now) {
            self.records.entry(key).or_insert(record);
        }
        self.closes.closed(suspects.clone(), now);
        for suspect in &suspects {
            self.record(suspect, now).closes += 1;
        }
        let is_suspicious = self.closes.unexplained.len() > 1
            || self.recovery.is_selective(now)
            || self.found_at.is_some_and(|at| now < at + DOUBT_FOR);
        if is_suspicious && keys.iter().any(|key| matches!(key, Key::Publish(..))) {
            self.careful_until = Some(now + CAREFUL_FOR);
        }
        if let Some(trial) = trial {
            shown.of_a_trial = true;
            let enough = match &trial {
                Suspect::Subscribe(filter) if is_requested(filter) => 1 + self.closes.doubts(),
                _ => self.enough(),
            };
            shown.guilty = self.trial_failed(&trial, is_for_form, enough, now);
        }
        self.forget(now);
        shown
    }

    /// What was tried alone has closed the connection. It is guilty after enough of that in a row; at once if it was before, or
    /// with others.
    fn trial_failed(&mut self, trial: &Suspect, is_for_form: bool, enough: u32, now: Instant) -> Option<Guilty> {
        let is_sound = self.has_taken || is_for_form;
        let record = self.record(trial, now);
        record.tries += 1;
        record.alone += u32::from(is_sound || matches!(trial, Suspect::Subscribe(_)));
        let alone = record.alone;
        let traits = match trial {
            Suspect::Subscribe(filter) if alone >= enough => {
                // Once is enough the next time.
                record.alone = enough - 1;
                self.closes.explain(|suspect| suspect == trial);
                return Some(Guilty::Subscribe(filter.clone()));
            }
            Suspect::Subscribe(_) => return None,
            Suspect::Publish(traits) => traits,
        };
        self.note_failed(&traits.topic);
        if !is_sound {
            self.pace.failed_in_vain(now);
            return None;
        }
        self.pace.failed(now);
        self.evidence.refused(traits, now);
        let again = self.tried_again.iter().find(|(condition, _)| condition.matches(traits));
        let again = again.map(|(condition, _)| condition.clone());
        let group = again.or_else(|| self.evidence.group(traits, enough));
        let condition = match group {
            Some(group) => group,
            None if alone >= enough => self.single(traits),
            None => return None,
        };
        self.found(&condition, now);
        Some(Guilty::Publish(condition))
    }
}
