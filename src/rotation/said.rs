//! What is said of rotations in the journal and the status document.

use super::{Cause, Failed, RotationEnd, Step};
use crate::identity::{IdentityError, IdentityState, Phase};
use crate::journal;
use crate::services::jobs::Identity as Job;

/// Why there is one, for a sentence.
fn why(cause: &Cause) -> String {
    match cause {
        Cause::Job(Job { job, number }) => format!("for job {job}, execution {number}"),
        Cause::Renewal => "because the certificate ends soon (`provisioning.renew_before`)".to_owned(),
    }
}

/// A step begins.
pub(super) fn step(step: Step, cause: Option<&Cause>) {
    match (step, cause) {
        (Step::Key, Some(cause)) => log::info!(
            GATEWIRE_EVENT = "rotation";
            "rotation of the certificate, {}: a new certificate is asked for", why(cause)
        ),
        (Step::Trial, _) => log::info!(
            GATEWIRE_EVENT = "rotation";
            "rotation of the certificate: gatewire connects with the new one; the old one is kept until that has worked"
        ),
        (Step::GoBack, _) => log::warn!(
            GATEWIRE_EVENT = "rotation";
            "rotation of the certificate: gatewire connects with the old one again; should that be refused, both are tried in turn"
        ),
        (step, _) => log::debug!("rotation of the certificate: {}", step.name()),
    }
}

/// It is over.
pub(super) fn over(ended: &RotationEnd, state: &IdentityState) {
    let Some(failed) = &ended.failed else {
        log::info!(
            GATEWIRE_EVENT = "rotated";
            "the certificate was rotated {}: the new one has connected and is in force", why(&ended.cause)
        );
        return;
    };
    log::warn!(
        GATEWIRE_EVENT = "rotation_failed";
        "the certificate wasn't rotated {}: {failed}. The old one stays in force. {}", why(&ended.cause), again(&ended.cause)
    );
    self::failed(Failed { cause: ended.cause.clone(), why: failed.clone(), at: journal::now().into() }, state);
}

/// What becomes of it after a failure.
fn again(cause: &Cause) -> &'static str {
    match cause {
        Cause::Job(_) => "The job fails with this reason",
        Cause::Renewal => "It is tried again in a day",
    }
}

/// Why the last one failed, for the status document: it may have been in an earlier life of the daemon.
pub(super) fn failed(failed: Failed, state: &IdentityState) {
    let Failed { cause, why, at } = failed;
    let error = IdentityError { code: "rotation".to_owned(), message: why, advice: format!("{}.", again(&cause)), at };
    state.failed(Phase::Ready, "rotation", error, None);
    // Nothing is being done any more.
    state.rests();
}

/// Why nothing is rotated without `[provisioning]`.
pub(super) const BY_HAND: &str = "[provisioning] was taken out of the configuration meanwhile, and gatewire only rotates certificates \
                                  that it has got itself";

/// A job waits for a rotation, and the configuration doesn't have gatewire make its identity any more.
pub(super) fn by_hand(job: &Job) {
    let Job { job, number } = job;
    log::warn!(
        GATEWIRE_EVENT = "rotation_failed";
        "the certificate wasn't rotated for job {job}, execution {number}: {BY_HAND}. The job fails with this reason"
    );
}

/// An answer that can't be used; it is asked again.
pub(super) fn unusable(what: &str) {
    log::warn!(
        GATEWIRE_EVENT = "rotation";
        "rotation of the certificate: {what}; it is asked again"
    );
}

/// The disk, or the token, hasn't done what was asked. `what` says what to do, too.
pub(super) fn disk(what: &str) {
    log::error!(
        GATEWIRE_EVENT = "rotation";
        "rotation of the certificate: {what}"
    );
}

/// What the database says, in words for [`disk`].
pub(super) fn of_database(failure: &impl std::fmt::Display) -> String {
    format!(
        "{failure}. No identity is lost by that; look at the space and the owner of the state directory, and at the kernel's log (`dmesg`)"
    )
}

/// The files of an identity can't be used.
pub(super) fn unreadable(what: &str) {
    log::error!(
        GATEWIRE_EVENT = "rotation";
        "rotation of the certificate: {what}; the files are read again in 30 s, and the connection stays as it is"
    );
}
