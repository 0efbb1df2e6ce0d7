//! Requests, as they come.

use std::time::{Duration, Instant};

use super::effect::{Effect, Unanswered};
use super::execution::{self, Execution, MAX_TIME, Outcome, Reason, Requested, TOO_MANY, UNSUPPORTED_FORMAT};
use super::journal::{Entry, Stage};
use super::{Commands, Open, Phase};
use crate::message::{AckToken, Inbound};

/// So many executions may be under way, or wait for their turn or for AWS to take their result; further ones are rejected.
pub(super) const MAX_OPEN: usize = 16;

/// So many, with those that were rejected for it. What comes beyond isn't answered.
pub(super) const MAX_ANSWERED: usize = 32;

impl Commands {
    /// A message has come. Returns whether it is a request to this thing: then `token`, if it has one, comes back by
    /// [`Effect::Release`].
    pub(crate) fn received(&mut self, message: &Inbound, token: Option<AckToken>, now: Instant) -> bool {
        self.see(now);
        let (id, format) = match execution::requested(&message.topic, &self.thing) {
            None => return false,
            Some(Requested::Unreadable) => {
                self.unanswered(Unanswered::Unreadable, token);
                return true;
            }
            Some(Requested::Execution(id, format)) => (id.to_owned(), format),
        };
        let is_full = self.open.len() >= MAX_ANSWERED;
        match self.open.get_mut(&id) {
            Some(open) if open.awaited.is_some() => open.tokens.extend(token),
            Some(_) => self.release(token),
            None if self.journal.has(&id) => self.release(token),
            None if is_full => self.unanswered(Unanswered::TooMany, token),
            None => self.take(id, format, message, token, now),
        }
        true
    }

    /// It is one that hasn't come before.
    fn take(&mut self, id: String, format: Option<&str>, message: &Inbound, token: Option<AckToken>, now: Instant) {
        let time = message.properties.as_ref().and_then(|properties| properties.expires_in);
        let ends_at = now + time.map_or(MAX_TIME, |seconds| Duration::from_secs(seconds.into())).min(MAX_TIME);
        let age = self.backlog.filter(|backlog| now <= backlog.until).map_or(Duration::ZERO, |backlog| backlog.age);
        let is_full = self.open.len() >= MAX_OPEN;
        let payload = String::from_utf8(message.payload.to_vec());
        let text = payload.as_deref().unwrap_or_default().to_owned();
        let mut open = Open::new(Phase::Found(text.clone()), now, ends_at, now + MAX_TIME);
        open.begin_by = ends_at.min(now + self.max_age.saturating_sub(age));
        open.tokens.extend(token);
        self.open.insert(id.clone(), open);
        let wall = message.received_at.as_second();
        self.journal.add(Entry { execution: id.clone(), came: wall, time, stage: Stage::Came }, wall);
        let outcome = match () {
            () if age > self.max_age => Outcome::too_old(),
            () if is_full => Outcome::rejected(Reason::new(TOO_MANY, "too many commands are under way or wait")),
            () if !matches!(format, None | Some("json")) || payload.is_err() => {
                Outcome::rejected(Reason::new(UNSUPPORTED_FORMAT, "only JSON is understood"))
            }
            () => return self.effects.push_back(Effect::Found(Execution { id, payload: text })),
        };
        self.end(&id, outcome);
    }

    fn release(&mut self, token: Option<AckToken>) {
        self.effects.extend(token.map(Effect::Release));
    }

    fn unanswered(&mut self, why: Unanswered, token: Option<AckToken>) {
        self.effects.push_back(Effect::Dropped(why));
        self.release(token);
    }
}
