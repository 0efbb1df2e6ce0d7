//! What the end of a connection says of what was sent.

use std::time::Duration;

use super::announcements::Announcements;
use super::error::{LocalError, Phase};
use super::{Lasting, Legs, Local};
use crate::config;
use crate::message::{Sequence, Topic};
use crate::mqtt::Rejection;
use crate::mqtt::isolation::{Ground, Guilty};
use crate::mqtt::reason::ReasonCode;
use crate::mqtt::session::{End, Verdict};
use crate::net::Brokers;
use crate::time;

/// A connection that ends within this after its CONNACK ended soon.
const SOON: Duration = Duration::from_secs(150);

/// So many in a row are no accident: another client has our id.
const TIMES: u32 = 3;

impl<N: Brokers, L: Legs> Local<N, L> {
    /// What a failure means in the light of those before it.
    pub(super) fn weighed(&self, error: LocalError, lasting: &mut Lasting<N::Connector>) -> LocalError {
        if error.broker_is_away() {
            // It was stopped, and whatever it kept may be older than what it said.
            lasting.unjudged = None;
            lasting.closes = 0;
            lasting.session.ended_otherwise();
            lasting.session.doubt_subscriptions();
            return error;
        }
        let is_silent_close =
            matches!(&error, LocalError::Closed(Phase::Connected { last_sent }) if last_sent.is_empty());
        match lasting.lasted {
            Some(lived) if is_silent_close && lived <= SOON => lasting.closes = lasting.closes.saturating_add(1),
            Some(_) => lasting.closes = 0,
            None => {}
        }
        if is_silent_close && lasting.closes >= TIMES {
            lasting.session.ended_otherwise();
            return LocalError::TakenOver { times: lasting.closes };
        }
        match error.may_be_for_a_packet() || lasting.session.was_answer_bad() {
            true => lasting.unjudged = Some(error.clone()),
            false => lasting.session.ended_otherwise(),
        }
        error
    }

    /// The broker listens, and so it has ended the last connection without being stopped: draws the conclusions.
    pub(super) fn judge(&self, lasting: &mut Lasting<N::Connector>) {
        let Some(error) = lasting.unjudged.take() else { return };
        let reason = match &error {
            LocalError::Session(End::Disconnected(reason), _) => Some(reason.clone()),
            _ => None,
        };
        let is_for_form = reason.as_ref().is_some_and(|reason| Ground::of(reason.code) == Ground::Message);
        let verdict = lasting.session.closed_by_server(is_for_form, time::now());
        let Verdict { guilty, refused, returned, of_a_trial, birth_left_out: _, paused: _ } = verdict;
        if guilty.is_some() {
            // What the closes so far were for is known.
            lasting.backoff.restart();
        } else if of_a_trial {
            lasting.backoff.forgive();
        }
        let ends = match &reason {
            None if lasting.session.was_answer_bad() => "its answer to it breaks the rules of MQTT".to_owned(),
            None => "it closes the connection on it".to_owned(),
            Some(reason) => format!("it ends the connection on it with reason code {reason}"),
        };
        if let Some((sequence, message)) = refused {
            let is_too_large = reason.is_some_and(|reason| reason.code == ReasonCode::PACKET_TOO_LARGE);
            match Announcements::is_own(sequence) {
                true if lasting.announcements.give_up(&message.topic) => {
                    self.said.announcement_refused(&lasting.config, &message.topic, &ends);
                }
                true => {}
                false => self.legs.rejected(sequence, &message.topic, is_too_large, &ends),
            }
        }
        for sequence in returned {
            match Announcements::is_own(sequence) {
                true => lasting.announcements.put_back(),
                false => self.legs.returned(sequence),
            }
        }
        match guilty {
            Some(Guilty::Publish(condition)) => {
                if let Some(topic) = lasting.announcements.give_up_those(&condition) {
                    self.said.announcement_refused(&lasting.config, &topic, &ends);
                }
                self.legs.guilty(&condition, &ends);
            }
            Some(Guilty::Subscribe(filter)) => {
                self.state.filter_refused(&filter, ends.clone());
                self.said.filter_left_out(&lasting.config, &filter, &ends);
            }
            None => {}
        }
    }

    /// A message that the broker doesn't take.
    pub(super) fn rejected(
        &self,
        config: &config::Bridge,
        announcements: &mut Announcements,
        (sequence, topic): (Sequence, &Topic),
        refusal: &MessageRefused,
    ) {
        if !Announcements::is_own(sequence) {
            self.legs.rejected(sequence, topic, refusal.is_too_large, &refusal.why);
        } else if announcements.refuse(topic) {
            self.said.announcement_refused(config, topic, &refusal.why);
        }
    }
}

/// Why the broker doesn't take a message.
pub(super) struct MessageRefused {
    is_too_large: bool,
    /// Follows "the local broker doesn't take it: ".
    why: String,
}

impl From<&Rejection> for MessageRefused {
    fn from(rejection: &Rejection) -> MessageRefused {
        MessageRefused { is_too_large: matches!(rejection, Rejection::TooLarge { .. }), why: rejection.to_string() }
    }
}
