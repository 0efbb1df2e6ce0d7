//! What is said of the identity, in the journal, in the status document and to systemd: the same everywhere.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::client::{Before, Say, Telling};
use crate::duration;
use crate::identity::{Identity, IdentityError, IdentityState, Phase};
use crate::journal;
use crate::systemd::Notifier;
use crate::time;

/// See the module.
pub(super) struct Told {
    state: Rc<IdentityState>,
    notifier: Rc<Notifier>,
    failures: RefCell<Telling>,
}

/// Why it doesn't go on.
pub(super) struct Refused<'a> {
    pub(super) phase: Phase,
    pub(super) step: &'static str,
    /// AWS's, or a word of ours.
    pub(super) code: &'a str,
    pub(super) message: String,
    pub(super) advice: &'a str,
    /// Until the next attempt. `None`: it isn't tried again by itself.
    pub(super) wait: Option<Duration>,
}

impl Told {
    pub(super) fn new(state: &Rc<IdentityState>, notifier: &Rc<Notifier>) -> Told {
        Told { state: Rc::clone(state), notifier: Rc::clone(notifier), failures: RefCell::default() }
    }

    /// A step towards the first identity has begun.
    pub(super) fn begun(&self, step: &'static str) {
        self.state.goes_on(Phase::Provisioning, step);
        self.notifier.status(&format!("waiting for an identity: {step}"));
    }

    pub(super) fn in_force(&self, identity: &Identity) {
        let Identity { thing, certificate_id, .. } = identity;
        log::info!(
            GATEWIRE_EVENT = "identity", GATEWIRE_THING = thing.as_str();
            "the identity is in force: the thing {thing}, with the certificate {certificate_id}"
        );
        self.state.found(Some(identity));
    }

    /// What fails for the same reason again is told ever more seldom, as that of the link.
    pub(super) fn refused(&self, refused: Refused<'_>) {
        let Refused { phase, step, code, message, advice, wait } = refused;
        let now = journal::now();
        let next = wait.map_or_else(String::new, |wait| format!("; next attempt in {}", duration::told(wait)));
        let kind = format!("{step} {code} {advice}");
        match self.failures.borrow_mut().failed(&kind, Before::Down, time::now(), now) {
            Say::InFull(row) => log::warn!(
                GATEWIRE_EVENT = "provisioning_refused", GATEWIRE_ERROR = code;
                "identity, {step}: {message}{row}{next}. {advice}"
            ),
            Say::Briefly(row) => log::warn!(
                GATEWIRE_EVENT = "provisioning_refused", GATEWIRE_ERROR = code;
                "identity, {step}: {message}{row}{next}"
            ),
            Say::Nothing => log::debug!("identity, {step}: {message}{next}"),
        }
        if phase != Phase::Ready {
            self.notifier.status(&format!("waiting for an identity: {step}: {message}{next}"));
        }
        let next_attempt = wait.and_then(|wait| now.checked_add(wait).ok());
        let error = IdentityError { code: code.to_owned(), message, advice: advice.to_owned(), at: now.into() };
        self.state.failed(phase, step, error, next_attempt);
    }
}
