//! See [`Machine`].

mod timing;
mod way_back;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::effect::{
    Answered, Cause, Effect, NoAnswer, Note, Now, Question, RotationEnd, Stage, Step, UnfinishedRotation,
};
use super::renewal;
use crate::identity::Which;
use crate::services::jobs::Identity as Job;
use way_back::WayBack;

/// How long AWS may take for a certificate, the new one to connect, and AWS for the commit.
const PATIENCE: Duration = Duration::from_secs(600);

/// A trial's time is noted so much ahead.
const NOTED_AHEAD: Duration = Duration::from_secs(30);

/// What has come and can't be used is asked for again after so long, then after twice that: each time may be another certificate at
/// AWS, and so there are six at most in the time that there is.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// How long a new identity is kept that was given up after its commit may have been sent: AWS may do it late.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Of who doesn't want it any more.
const CANCELLED: &str = "cancelled";

/// Rotations of one identity, one after the other.
///
/// # What goes in
///
/// | | |
/// |---|---|
/// | [`wanted`](Machine::wanted), [`unwanted`](Machine::unwanted) | a job wants one; it doesn't any more |
/// | [`still_wanted`](Machine::still_wanted) | AWS says of the job that is under way that it is |
/// | [`is_due`](Machine::is_due) | the present certificate is to be renewed |
/// | [`connected`](Machine::connected), [`lost`](Machine::lost), [`refused`](Machine::refused) | CONNACK has come on a connection with this identity; it has ended, or couldn't be made; AWS doesn't let this identity in |
/// | [`unreadable`](Machine::unreadable) | the files of this identity can't be used at the moment |
/// | [`answered`](Machine::answered), [`stored`](Machine::stored) | what [`Effect`]s ask for |
/// | [`handle_timeout`](Machine::handle_timeout) | the instant of [`timeout`](Machine::timeout) is there |
///
/// # What comes out
///
/// After whatever went in: [`next_effect`](Machine::next_effect), until there is no more.
#[derive(Debug)]
pub(crate) struct Machine {
    state: State,
    /// Of the rotation that is under way.
    cause: Option<Cause>,
    /// Whether a commit may have been sent in it.
    committing: bool,
    /// The job of the rotation that is under way doesn't want it any more.
    is_cancelled: bool,
    /// A job that waits for its turn.
    pending: Option<Job>,
    renewal_is_due: bool,
    renewal_allowed_at: Instant,
    /// The identity of the present connection.
    connected: Option<Which>,
    note: Note,
    effects: VecDeque<Effect>,
}

/// Where a rotation is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// There is none.
    Idle,
    /// The last was given up, and the new identity is kept for a while.
    Spare {
        until: Instant,
    },
    /// That it begins is being noted, then what it begins with is made.
    Beginning,
    Preparing,
    Asking {
        question: Question,
        until: Instant,
        again_at: Option<Instant>,
        /// How long it is waited before it is asked again.
        wait: Duration,
        fault: Option<String>,
    },
    /// What was answered is being noted, before this.
    Storing(Next),
    /// The new identity is to connect.
    Trying {
        until: Instant,
        /// When it is to be noted that it is tried on.
        note_at: Instant,
        fault: Option<String>,
    },
    /// It has connected; the job is to be wanted still.
    Confirming {
        until: Instant,
    },
    /// It counts, and is being put in the place of the old one; or that has failed, and is tried again then.
    Swapping {
        again_at: Option<Instant>,
        wait: Duration,
    },
    /// That the way back is taken is being noted.
    GivingUp(String),
    GoingBack(WayBack),
    /// What it has come to is being noted.
    Ending {
        failed: Option<String>,
        keeps: bool,
    },
    /// The new identity is being removed.
    Discarding,
}

/// What comes after something is on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Next {
    Register { token: String },
    Try,
    Commit,
}

impl Machine {
    /// With what an earlier life of the daemon has left: `found` of a new identity, `made_for` of the one in force.
    pub(crate) fn new(found: Option<UnfinishedRotation>, note: Note, made_for: Option<Job>, now: Now) -> Machine {
        let mut machine = Machine {
            state: State::Idle,
            cause: None,
            committing: false,
            is_cancelled: false,
            pending: None,
            renewal_is_due: false,
            renewal_allowed_at: renewal::allowed_at(note.renewed_at.map(|at| at.0), now),
            connected: None,
            note,
            effects: VecDeque::new(),
        };
        if let Some(cause) = made_for.map(Cause::Job) {
            // What was noted of it may not have come to the disk.
            machine.note.ended = Some(RotationEnd { cause, failed: None });
        }
        if let Some(found) = found {
            machine.take_up(found, now);
        }
        machine
    }

    fn take_up(&mut self, UnfinishedRotation { cause, stage }: UnfinishedRotation, now: Now) {
        self.cause = Some(cause);
        self.committing = matches!(&stage, Stage::Committing | Stage::GivenUp { committing: true, .. });
        match stage {
            // That the way back was taken may not have come to the disk.
            _ if self.was_told() => self.keep_or_discard(now),
            Stage::Unfinished => self.discard(),
            Stage::Trial | Stage::Committing => self.try_it(now),
            Stage::GivenUp { why, .. } => self.go_back(why, now),
        }
    }

    /// A job wants another certificate. It is told of by [`Effect::Over`], also if that was over before.
    pub(crate) fn wanted(&mut self, job: Job, now: Now) {
        let cause = Cause::Job(job.clone());
        if let Some(ended) = self.note.ended.clone().filter(|ended| ended.cause == cause) {
            self.effects.push_back(Effect::Over(ended));
            return;
        }
        // What an earlier life has begun and is being removed is begun anew.
        if self.cause.as_ref() == Some(&cause) && self.state != State::Discarding {
            self.is_cancelled = false;
            return self.still_wanted(&job);
        }
        self.pending = Some(job);
        self.next(now);
    }

    /// The job doesn't want it any more. Once a commit may have been sent it goes on all the same.
    pub(crate) fn unwanted(&mut self, job: &Job, now: Now) {
        self.pending.take_if(|pending| pending == job);
        if !matches!(&self.cause, Some(Cause::Job(own)) if own == job) {
            return;
        }
        // What waits for the disk looks at this once that has answered.
        self.is_cancelled = true;
        match &self.state {
            State::Asking { question, .. } if !matches!(question, Question::Commit(_)) => {
                self.fail(CANCELLED.to_owned(), now)
            }
            State::Trying { .. } | State::Confirming { .. } if !self.committing => self.give_up(CANCELLED.to_owned()),
            _ => {}
        }
    }

    /// AWS has just said of this job that it is IN_PROGRESS.
    pub(crate) fn still_wanted(&mut self, job: &Job) {
        if matches!(&self.cause, Some(Cause::Job(own)) if own == job) && matches!(self.state, State::Confirming { .. })
        {
            self.committing = true;
            self.state = State::Storing(Next::Commit);
            self.effects.push_back(Effect::Store(Stage::Committing));
        }
    }

    /// The present certificate is to be renewed, as soon as there is a connection and nothing else is under way.
    pub(crate) fn is_due(&mut self, now: Now) {
        self.renewal_is_due = true;
        self.next(now);
    }

    pub(crate) fn connected(&mut self, which: Which, now: Now) {
        self.connected = Some(which);
        match (&mut self.state, which) {
            (State::Trying { .. }, Which::Next) => match self.cause.clone() {
                Some(Cause::Job(job)) if self.committing => self.ask(Question::Commit(job), now),
                Some(Cause::Job(_)) => self.state = State::Confirming { until: now.at + PATIENCE },
                Some(Cause::Renewal) | None => self.swap(),
            },
            (State::GoingBack(_), which) => self.came_back(which, now),
            _ => self.next(now),
        }
    }

    /// There is no connection any more, or there couldn't be one; that says nothing of the identity.
    pub(crate) fn lost(&mut self) {
        self.connected = None;
    }

    /// AWS, or what stands for it, doesn't let this identity in.
    pub(crate) fn refused(&mut self, which: Which, why: &str, now: Now) {
        self.connected = None;
        match (&mut self.state, which) {
            (State::Trying { fault, .. }, Which::Next) => *fault = Some(why.to_owned()),
            _ => self.refused_on_the_way_back(which, why, now),
        }
    }

    /// The end of what was [asked](Effect::Ask) last.
    pub(crate) fn answered(&mut self, answer: Result<Answered, NoAnswer>, now: Now) {
        let State::Asking { question, again_at, wait, fault, .. } = &mut self.state else { return };
        match (answer, &question) {
            (Ok(Answered::Certificate { pem, token }), Question::CreateFromCsr | Question::Create(_)) => {
                let (stage, next) = match token {
                    Some(token) => (Stage::Unfinished, Next::Register { token }),
                    None => (Stage::Trial, Next::Try),
                };
                self.state = State::Storing(next);
                self.effects.push_back(Effect::StoreCertificate { pem, stage });
            }
            (Ok(Answered::Registered { configuration }), Question::Register { .. }) => {
                self.state = State::Storing(Next::Try);
                self.effects.push_back(Effect::StoreConfiguration { configuration, stage: Stage::Trial });
            }
            (Ok(Answered::Committed), Question::Commit(_)) => self.swap(),
            // It answers another question.
            (Ok(_), _) => {}
            // Each answer to CreateCertificateFromCsr is another certificate.
            (Err(found), Question::Create(_) | Question::Commit(_)) if !found.is_final => {
                (*fault, *again_at, *wait) = (Some(found.text), Some(now.at + *wait), *wait * 2);
            }
            (Err(found), Question::Commit(_)) => self.give_up(found.text),
            (Err(found), _) => self.fail(found.text, now),
        }
    }

    /// The disk has done what was asked of it last, or says why not.
    pub(crate) fn stored(&mut self, result: Result<(), String>, now: Now) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Beginning => match result {
                Ok(()) => self.prepare(),
                // Nobody would know after a restart that it has begun.
                Err(why) => self.ended(Some(why), false, now),
            },
            State::Preparing | State::Storing(Next::Register { .. } | Next::Try) if self.is_cancelled => {
                self.fail(CANCELLED.to_owned(), now);
            }
            State::Preparing => match (result, self.cause.clone()) {
                (Err(why), _) => self.fail(why, now),
                (Ok(()), Some(Cause::Job(job))) => self.ask(Question::Create(job), now),
                (Ok(()), _) => {
                    self.renewal_allowed_at = now.at + renewal::PERIOD;
                    self.ask(Question::CreateFromCsr, now);
                }
            },
            State::Storing(Next::Commit) => match (result, self.cause.clone()) {
                (Ok(()), Some(Cause::Job(job))) => self.ask(Question::Commit(job), now),
                (result, _) => {
                    // Nothing was sent.
                    self.committing = false;
                    self.give_up(result.err().unwrap_or_default());
                }
            },
            State::Storing(next) => match (result, next) {
                (Err(why), _) => self.fail(why, now),
                (Ok(()), Next::Register { token }) => self.ask(Question::Register { token }, now),
                (Ok(()), _) => self.try_it(now),
            },
            State::Swapping { wait, .. } => self.swapped(result, wait, now),
            // If it isn't noted, it is taken again after a restart, from the trial on.
            State::GivingUp(why) => self.go_back(why, now),
            State::Ending { failed, keeps } => self.ended(failed, keeps, now),
            // What is left is removed before the next begins.
            State::Discarding => {
                self.forget();
                self.next(now);
            }
            other => self.state = other,
        }
    }

    pub(crate) fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// How far the rotation is that is under way.
    pub(crate) fn step(&self) -> Option<Step> {
        Some(match &self.state {
            State::Idle | State::Spare { .. } | State::Ending { .. } | State::Discarding => return None,
            State::Beginning | State::Preparing => Step::Key,
            State::Asking { question: Question::Register { .. }, .. } | State::Storing(Next::Register { .. }) => {
                Step::RegisterThing
            }
            State::Asking { question: Question::Commit(_), .. } | State::Storing(Next::Commit) => Step::Commit,
            State::Confirming { .. } => Step::Commit,
            State::Asking { .. } => Step::CreateCertificate,
            State::Storing(Next::Try) | State::Trying { .. } => Step::Trial,
            State::Swapping { .. } => Step::PutInForce,
            State::GivingUp(_) | State::GoingBack(_) => Step::GoBack,
        })
    }

    /// Why there is the rotation that is under way.
    pub(crate) fn cause(&self) -> Option<&Cause> {
        self.cause.as_ref()
    }

    fn may_begin(&self) -> bool {
        matches!(self.state, State::Idle | State::Spare { .. })
    }

    /// Begins what waits, if nothing is under way.
    fn next(&mut self, now: Now) {
        if !self.may_begin() {
            return;
        }
        if let Some(job) = self.pending.take() {
            self.cause = Some(Cause::Job(job));
            return self.prepare();
        }
        let is_allowed = self.renewal_allowed_at <= now.at && self.connected == Some(Which::Current);
        if self.renewal_is_due && is_allowed {
            self.renewal_is_due = false;
            self.cause = Some(Cause::Renewal);
            (self.note.renewed_at, self.note.tried) = (Some(now.wall.into()), None);
            self.state = State::Beginning;
            self.effects.push_back(Effect::Record(self.note.clone()));
        }
    }

    fn prepare(&mut self) {
        (self.committing, self.is_cancelled) = (false, false);
        self.state = State::Preparing;
        let cause = self.cause.clone().unwrap_or(Cause::Renewal);
        self.effects.push_back(Effect::Prepare(cause));
    }
}
