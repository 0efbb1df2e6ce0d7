//! The trial of a new identity, its way into force, and the way back to the old one.

use std::time::{Duration, Instant};

use super::{ASK_AGAIN, KEPT, Machine, NOTED_AHEAD, PATIENCE, State};
use crate::duration::written;
use crate::identity::Which;
use crate::rotation::effect::{Cause, Effect, Failed, Now, Question, RotationEnd, Stage, Tried};

/// On the way back: one whose files can't be used makes way for the other after so long.
const UNREADABLE: Duration = Duration::from_secs(30);

/// An identity that can't be put in the place of the old one is put there again after so long, doubled each time.
const SWAP_AGAIN: Duration = Duration::from_secs(30);
const MAX_SWAP_AGAIN: Duration = Duration::from_secs(600);

/// Which of the two AWS lets in isn't known: first the old one is tried, then the new one, and so on until one has connected. Each
/// refusal is the other's turn, and the link waits between attempts as ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WayBack {
    why: String,
    using: Which,
    /// When the other is tried, whatever comes of this one.
    switch_at: Instant,
    /// There was a switch, and so what connects is none of before this.
    has_switched: bool,
}

impl WayBack {
    fn new(why: String, now: Instant) -> WayBack {
        WayBack { why, using: Which::Current, switch_at: now + PATIENCE, has_switched: false }
    }

    pub(super) fn switch_at(&self) -> Instant {
        self.switch_at
    }

    fn unreadable(&mut self, which: Which, now: Instant) {
        if which == self.using {
            self.switch_at = self.switch_at.min(now + UNREADABLE);
        }
    }

    /// The other is tried from now on; which that is.
    fn switch(&mut self, now: Instant) -> Which {
        self.using = match self.using {
            Which::Current => Which::Next,
            Which::Next => Which::Current,
        };
        (self.has_switched, self.switch_at) = (true, now + PATIENCE);
        self.using
    }
}

impl Machine {
    pub(super) fn ask(&mut self, question: Question, now: Now) {
        let until = now.at + PATIENCE;
        self.state = State::Asking { question: question.clone(), until, again_at: None, wait: ASK_AGAIN, fault: None };
        self.effects.push_back(Effect::Ask(question));
    }

    /// The new identity has all that it needs. Its time goes on where an earlier life of the daemon has left it, whatever the clock on
    /// the wall has done.
    pub(super) fn try_it(&mut self, now: Now) {
        let left = PATIENCE.saturating_sub(self.tried());
        if left.is_zero() {
            return self.give_up(format!("the new certificate didn't connect within {}", written(PATIENCE)));
        }
        self.connected = None;
        self.state = State::Trying { until: now.at + left, note_at: now.at, fault: None };
        self.note_the_trial(now);
        self.effects.push_back(Effect::Use(Which::Next));
    }

    fn tried(&self) -> Duration {
        let tried = self.note.tried.as_ref().filter(|tried| Some(&tried.cause) == self.cause.as_ref());
        tried.map_or(Duration::ZERO, |tried| Duration::from_secs(tried.seconds))
    }

    /// The time that comes is noted as if it were over.
    pub(super) fn note_the_trial(&mut self, now: Now) {
        let tried = (self.tried() + NOTED_AHEAD).min(PATIENCE);
        let State::Trying { note_at, .. } = &mut self.state else { return };
        *note_at = now.at + NOTED_AHEAD;
        self.note.tried = self.cause.clone().map(|cause| Tried { cause, seconds: tried.as_secs() });
        self.effects.push_back(Effect::Note(self.note.clone()));
    }

    /// It hasn't come as far as the trial: nothing has changed.
    pub(super) fn fail(&mut self, why: String, now: Now) {
        self.withdraw();
        self.end(Some(why), false, now);
    }

    /// What was asked may have no answer yet.
    fn withdraw(&mut self) {
        if matches!(self.state, State::Asking { .. }) {
            self.effects.push_back(Effect::Withdraw);
        }
    }

    /// The new identity counts.
    pub(super) fn swap(&mut self) {
        self.state = State::Swapping { again_at: None, wait: SWAP_AGAIN };
        self.put_in_force();
    }

    pub(super) fn put_in_force(&mut self) {
        let cause = self.cause.clone().unwrap_or(Cause::Renewal);
        self.effects.push_back(Effect::PutInForce(cause));
    }

    pub(super) fn swapped(&mut self, result: Result<(), String>, wait: Duration, now: Now) {
        if result.is_err() {
            let again_at = Some(now.at + wait);
            self.state = State::Swapping { again_at, wait: (wait * 2).min(MAX_SWAP_AGAIN) };
            return;
        }
        // The files have another place, the certificate is the same.
        self.effects.push_back(Effect::Use(Which::Current));
        self.connected = self.connected.map(|_| Which::Current);
        // A certificate that has just been made needs no other.
        self.renewal_is_due = false;
        self.end(None, false, now);
    }

    /// The new identity has had its trial, and isn't to count.
    pub(super) fn give_up(&mut self, why: String) {
        self.withdraw();
        let stage = Stage::GivenUp { why: why.clone(), committing: self.committing };
        self.state = State::GivingUp(why);
        self.effects.push_back(Effect::Store(stage));
    }

    pub(super) fn go_back(&mut self, why: String, now: Now) {
        self.connected = None;
        self.state = State::GoingBack(WayBack::new(why, now.at));
        self.effects.push_back(Effect::Use(Which::Current));
    }

    /// AWS lets none in of the two, or what is tried gets nowhere: it is the other's turn.
    pub(super) fn switch(&mut self, now: Now) {
        if let State::GoingBack(way) = &mut self.state {
            let which = way.switch(now.at);
            self.effects.push_back(Effect::UseAtNextAttempt(which));
        }
    }

    /// One is refused on the way back, or the old one though it had connected.
    pub(super) fn refused_on_the_way_back(&mut self, which: Which, why: &str, now: Now) {
        if matches!(self.state, State::Spare { .. }) && which == Which::Current {
            self.state = State::GoingBack(WayBack::new(why.to_owned(), now.at));
        }
        if matches!(&self.state, State::GoingBack(way) if way.using == which) {
            self.switch(now);
        }
    }

    /// The files of one can't be used at the moment. That isn't AWS's word, and comes without an attempt.
    pub(crate) fn unreadable(&mut self, which: Which, why: &str, now: Now) {
        match (&mut self.state, which) {
            (State::Trying { fault, .. }, Which::Next) => *fault = Some(why.to_owned()),
            (State::GoingBack(way), which) => way.unreadable(which, now.at),
            _ => {}
        }
    }

    /// One of the two has connected: that one counts.
    pub(super) fn came_back(&mut self, which: Which, now: Now) {
        let State::GoingBack(way) = &self.state else { return };
        let was_tried_late = which != way.using;
        match which {
            // The connection of before the way back.
            _ if was_tried_late && !way.has_switched => return,
            // An attempt was under way when it was the other's turn.
            Which::Current if was_tried_late => self.effects.push_back(Effect::Use(Which::Current)),
            _ => {}
        }
        let State::GoingBack(way) = &self.state else { return };
        match which {
            Which::Next => self.swap(),
            Which::Current if self.was_told() => self.keep_or_discard(now),
            Which::Current => {
                let why = way.why.clone();
                self.end(Some(why), self.committing, now);
            }
        }
    }

    /// Whether the end of this rotation is noted, and so was told.
    pub(super) fn was_told(&self) -> bool {
        let ended = self.note.ended.as_ref();
        ended.is_some_and(|ended| Some(&ended.cause) == self.cause.as_ref() && ended.failed.is_some())
    }

    /// It is over. A job may ask for that once more, and people.
    fn end(&mut self, failed: Option<String>, keeps: bool, now: Now) {
        let of_this = |why| Some(Failed { cause: self.cause.clone()?, why, at: now.wall.into() });
        self.note.failed = failed.clone().and_then(of_this);
        self.state = State::Ending { failed: failed.clone(), keeps };
        if let Some(cause @ Cause::Job(_)) = self.cause.clone() {
            self.note.ended = Some(RotationEnd { cause, failed });
        }
        self.effects.push_back(Effect::Record(self.note.clone()));
    }

    /// If that couldn't be noted, it is told all the same.
    pub(super) fn ended(&mut self, failed: Option<String>, keeps: bool, now: Now) {
        let has_failed = failed.is_some();
        if let Some(cause) = self.cause.clone() {
            self.effects.push_back(Effect::Over(RotationEnd { cause, failed }));
        }
        match has_failed {
            true if keeps => self.keep_or_discard(now),
            true => self.discard(),
            false => {
                self.forget();
                self.next(now);
            }
        }
    }

    /// AWS may do a commit late: until that isn't likely any more the new identity stays at hand.
    pub(super) fn keep_or_discard(&mut self, now: Now) {
        match self.committing {
            true => {
                self.state = State::Spare { until: now.at + KEPT };
                self.next(now);
            }
            false => self.discard(),
        }
    }

    pub(super) fn discard(&mut self) {
        self.state = State::Discarding;
        self.effects.push_back(Effect::Discard);
    }

    /// There is no rotation any more.
    pub(super) fn forget(&mut self) {
        self.state = State::Idle;
        (self.cause, self.committing, self.is_cancelled) = (None, false, false);
    }
}
