//! What is done next, and what becomes of it. Pure: time and randomness come from the caller, who does what [`Machine::next`] says
//! and tells it what came of that.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::trouble::{Blame, Stage, Trouble};
use super::waits::Waits;
use super::wire::{Created, Registered};
use crate::identity::{Cause, Identity, KeyPlace, Ownership, Progress, Step};
use crate::secret::Secret;

/// A token is worth an hour; one that is older than this isn't used any more.
const TOKEN_LIFE: Duration = Duration::from_secs(55 * 60);

/// How long a new certificate may be refused before another one is asked for: it takes a while until all of AWS knows it.
const TRIAL: Duration = Duration::from_secs(600);

/// After so many refusals it is over, too, however often this was begun anew meanwhile.
const MAX_REFUSALS: u32 = 40;

/// In this time nobody's answer is so slow that it isn't one.
const MIN_REFUSALS: u32 = 5;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Make a key, unless it is in a token, and begin with this on the disk.
    Begin(Progress),
    /// Connect with the claim and subscribe to the answers.
    Connect,
    /// Ask for a certificate.
    CreateCertificate,
    /// Have a thing made, with this token.
    RegisterThing(Secret<String>),
    /// Write this to the disk, with the certificate (PEM) if it is new.
    Save(Progress, Option<String>),
    /// Leave the claim's connection; connect with the new certificate as the client of this thing, and disconnect.
    Try(String),
    /// Put this in force.
    PutInForce(Identity),
    /// Wait until then, without a connection.
    Wait(Instant),
    /// There is an identity.
    Ready(Identity),
}

/// What came of it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum ActionOutcome {
    /// There is nothing to tell: it is begun, connected, saved, in force; the new certificate was accepted.
    Done,
    Created(Created),
    Registered(Registered),
    Failed(Trouble),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Machine {
    key: KeyPlace,
    /// What is on the disk, or should be; `None`: nothing is begun.
    progress: Option<Progress>,
    /// The disk doesn't have that yet, nor this certificate.
    unsaved: Option<Option<String>>,
    /// The disk didn't take it: it waits as everything else.
    has_save_failed: bool,
    is_connected: bool,
    /// When the token came.
    token_since: Option<Instant>,
    /// Since when the new certificate has been refused.
    refused_since: Option<Instant>,
    /// The new certificate was accepted.
    is_accepted: bool,
    /// It is in force.
    ready: Option<Identity>,
    wait: Option<Instant>,
    waits: Waits,
}

impl Machine {
    /// Goes on where `progress` is, or begins. `progress` is what was found on the disk, whole: with a key if that has a file, and
    /// the certificate as far as it has come.
    pub(crate) fn new(key: KeyPlace, progress: Option<Progress>) -> Machine {
        let is_ours = |progress: &Progress| {
            let has_certificate = progress.certificate_id.is_some() && progress.thing.is_some();
            progress.key == key
                && match progress.step {
                    // Of a rotation of what is gone: with the claim, another is asked for.
                    Step::CreateCertificate => progress.cause == Cause::Claim,
                    Step::RegisterThing => progress.cause == Cause::Claim && progress.ownership.is_some(),
                    Step::Trial | Step::Commit => has_certificate,
                }
        };
        Machine {
            key,
            progress: progress.filter(is_ours),
            unsaved: None,
            has_save_failed: false,
            is_connected: false,
            token_since: None,
            refused_since: None,
            is_accepted: false,
            ready: None,
            wait: None,
            waits: Waits::default(),
        }
    }

    /// What is to be done now. Asked again before anything was told, it says the same.
    pub(crate) fn next(&mut self, now: Instant, wall: Timestamp) -> Action {
        if let Some(identity) = &self.ready {
            return Action::Ready(identity.clone());
        }
        self.forget_old_token(now, wall);
        let wait = self.wait.filter(|until| *until > now);
        if let (Some(progress), Some(certificate)) = (&self.progress, &self.unsaved)
            && (wait.is_none() || !self.has_save_failed)
        {
            return Action::Save(progress.clone(), certificate.clone());
        }
        if let Some(until) = wait {
            return Action::Wait(until);
        }
        (self.wait, self.has_save_failed) = (None, false);
        let Some(progress) = &self.progress else {
            return Action::Begin(Progress::begun(Cause::Claim, self.key, wall));
        };
        let thing = progress.thing.clone().unwrap_or_default();
        match (progress.step, &progress.ownership) {
            (Step::Trial | Step::Commit, _) if self.is_accepted => Action::PutInForce(Identity {
                thing,
                configuration: progress.configuration.clone(),
                certificate_id: progress.certificate_id.clone().unwrap_or_default(),
                key: self.key,
            }),
            (Step::Trial | Step::Commit, _) => Action::Try(thing),
            (Step::CreateCertificate | Step::RegisterThing, _) if !self.is_connected => Action::Connect,
            (Step::RegisterThing, Some(ownership)) => Action::RegisterThing(Secret::new(ownership.token.clone())),
            (Step::CreateCertificate | Step::RegisterThing, _) => Action::CreateCertificate,
        }
    }

    /// Until when it waits after something has failed.
    pub(super) fn waits_until(&self) -> Option<Instant> {
        self.wait
    }

    /// The stage in which it is.
    pub(crate) fn stage(&self) -> Stage {
        match self.progress.as_ref().map(|progress| progress.step) {
            None => Stage::Key,
            Some(Step::Trial | Step::Commit) => Stage::Trial,
            Some(_) if !self.is_connected => Stage::Connect,
            Some(Step::CreateCertificate) => Stage::CreateCertificate,
            Some(Step::RegisterThing) => Stage::RegisterThing,
        }
    }

    /// What came of `action`. `random` is uniform in `[0, 1)`.
    pub(crate) fn came(&mut self, action: Action, outcome: ActionOutcome, now: Instant, wall: Timestamp, random: f64) {
        match (action, outcome) {
            (action, ActionOutcome::Failed(trouble)) => {
                self.has_save_failed = matches!(action, Action::Save(..));
                self.failed(&trouble, now, random);
            }
            (Action::Begin(progress), ActionOutcome::Done) => {
                (self.unsaved, self.token_since, self.refused_since, self.is_accepted) = (None, None, None, false);
                self.progress = Some(progress);
            }
            (Action::Connect, ActionOutcome::Done) => self.is_connected = true,
            (Action::CreateCertificate, ActionOutcome::Created(created)) => {
                self.token_since = Some(now);
                self.advance(Some(created.certificate), |progress| {
                    progress.step = Step::RegisterThing;
                    progress.ownership = Some(Ownership { token: created.ownership.expose().clone(), since: wall });
                    progress.certificate_id = Some(created.certificate_id);
                });
            }
            (Action::RegisterThing(_), ActionOutcome::Registered(registered)) => self.advance(None, |progress| {
                progress.step = Step::Trial;
                progress.ownership = None;
                progress.thing = Some(registered.thing);
                progress.configuration = registered.configuration;
            }),
            (Action::Save(progress, _), ActionOutcome::Done) if self.progress.as_ref() == Some(&progress) => {
                self.unsaved = None
            }
            (Action::Try(_), ActionOutcome::Done) => self.is_accepted = true,
            (Action::PutInForce(identity), ActionOutcome::Done) => self.ready = Some(identity),
            // To wait, to be ready and to have saved what has changed since say nothing.
            _ => {}
        }
        if matches!(self.progress, Some(Progress { step: Step::Trial | Step::Commit, .. })) {
            self.is_connected = false;
        }
    }

    fn failed(&mut self, trouble: &Trouble, now: Instant, random: f64) {
        self.is_connected = false;
        let is_refused = matches!(trouble.blame, Blame::Server | Blame::Answer);
        if trouble.stage == Stage::Trial && trouble.blame != Blame::Here {
            if is_refused && self.is_trial_over(now) {
                // Another one, and not at once: whoever refuses one certificate after the other is asked ever more seldom.
                (self.progress, self.unsaved) = (None, None);
                self.wait = Some(now + self.waits.next(trouble.blame, random));
                return;
            }
            if is_refused {
                self.advance(None, |progress| progress.refusals += 1);
            }
            self.wait = Some(now + Waits::again(random));
            return;
        }
        if trouble.stage == Stage::RegisterThing && trouble.blame == Blame::Answer {
            self.go_back();
        }
        self.wait = Some(now + self.waits.next(trouble.blame, random));
    }

    /// Whether the certificate, which is refused now, has been refused for long enough.
    fn is_trial_over(&mut self, now: Instant) -> bool {
        let since = *self.refused_since.get_or_insert(now);
        let refusals = self.progress.as_ref().map_or(0, |progress| progress.refusals);
        refusals >= MAX_REFUSALS || (refusals >= MIN_REFUSALS && now.duration_since(since) >= TRIAL)
    }

    fn advance(&mut self, certificate: Option<String>, change: impl FnOnce(&mut Progress)) {
        if let Some(progress) = &mut self.progress {
            change(progress);
            // One that isn't saved yet stays to be saved.
            let certificate = certificate.or_else(|| self.unsaved.take().flatten());
            self.unsaved = Some(certificate);
        }
    }

    /// Another certificate is to be asked for, of the same key.
    fn go_back(&mut self) {
        self.token_since = None;
        self.unsaved = None;
        self.advance(None, |progress| {
            progress.step = Step::CreateCertificate;
            progress.ownership = None;
            progress.certificate_id = None;
        });
    }

    /// AWS has forgotten the certificate of a token that is too old. So is one from the future: the clock has been set.
    fn forget_old_token(&mut self, now: Instant, wall: Timestamp) {
        let Some(Progress { step: Step::RegisterThing, ownership, .. }) = &self.progress else { return };
        let age = ownership.as_ref().map(|ownership| wall.duration_since(ownership.since));
        let life = SignedDuration::try_from(TOKEN_LIFE).unwrap_or(SignedDuration::MAX);
        let is_fresh = match self.token_since {
            Some(since) => now.duration_since(since) <= TOKEN_LIFE,
            None => age.is_some_and(|age| (SignedDuration::ZERO..=life).contains(&age)),
        };
        if !is_fresh {
            self.go_back();
        }
    }
}
