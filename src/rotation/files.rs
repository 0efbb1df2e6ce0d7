//! The new identity's files. All of this waits for the disk, the processor or the token.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::effect::{Cause, Stage, UnfinishedRotation};
use crate::identity::{self, DiskError, Identity, KeyPlace, Progress, Signer, certificate_of};
use crate::provisioning::{self, Making, Trouble};
use crate::services::jobs::Identity as Job;
use crate::time;

/// A request for a certificate, as PEM, and the key that has signed it.
#[derive(Clone)]
pub(super) struct Csr {
    pub(super) pem: String,
    pub(super) key: Arc<Signer>,
}

/// See the module. What goes wrong is said in words.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) making: Making,
    pub(super) key: KeyPlace,
    /// The name of the thing, and what AWS says of it.
    pub(super) thing: String,
    pub(super) configuration: Map<String, Value>,
}

/// What was found, and how far it says that it is.
pub(super) type Left = (Option<UnfinishedRotation>, Option<Progress>);

impl Files {
    /// What an earlier life of the daemon has left of a rotation. What is of no use is removed.
    pub(super) fn left(&self) -> Result<Left, String> {
        let progress = self.making.progress().map_err(|error| of_disk(&error))?;
        let found = progress.as_ref().and_then(found);
        if found.is_none() {
            self.discard()?;
        }
        Ok((found, progress))
    }

    /// Begins a new identity, with a key and a request for a certificate.
    pub(super) fn begin(&self, cause: &Cause) -> Result<(Progress, Csr), String> {
        let cause = match cause {
            Cause::Job(Job { job, number }) => identity::Cause::Job { id: job.clone(), number: *number },
            Cause::Renewal => identity::Cause::Renewal,
        };
        let mut progress = Progress::begun(cause, self.key, time::wall());
        (progress.thing, progress.configuration) = (Some(self.thing.clone()), self.configuration.clone());
        self.making.begin(&progress).map_err(in_words)?;
        let (pem, key) = self.making.request(&common_name(&self.thing)).map_err(in_words)?;
        Ok((progress, Csr { pem, key }))
    }

    /// Its certificate has come, which belongs to `key`.
    pub(super) fn store_certificate(&self, progress: &mut Progress, pem: &str, key: &Signer) -> Result<(), String> {
        progress.certificate_id = Some(certificate_of(key, pem).map_err(|error| error.to_string())?);
        self.making.save(provisioning::Stage::CreateCertificate, progress, Some(pem)).map_err(in_words)
    }

    pub(super) fn store(&self, progress: &Progress) -> Result<(), String> {
        self.making.save(provisioning::Stage::Trial, progress, None).map_err(in_words)
    }

    /// It takes the place of the one in force; what that is then.
    pub(super) fn put_in_force(&self, progress: &Progress) -> Result<Identity, String> {
        let identity = Identity {
            thing: self.thing.clone(),
            configuration: progress.configuration.clone(),
            certificate_id: progress.certificate_id.clone().unwrap_or_default(),
            key: self.key,
        };
        self.making.put_in_force(&identity).map_err(in_words)?;
        Ok(identity)
    }

    pub(super) fn discard(&self) -> Result<(), String> {
        self.making.directory().discard_next().map_err(|error| of_disk(&error))
    }
}

/// The common name of a request has at most 64 characters (RFC 5280, ub-common-name).
fn common_name(thing: &str) -> String {
    if thing.len() <= 64 { thing.to_owned() } else { "gatewire".to_owned() }
}

/// With what to do: that depends on what it is, the disk or the token.
fn in_words(trouble: Trouble) -> String {
    let Trouble { message, advice, .. } = trouble;
    let words = if advice.is_empty() { message } else { format!("{}. {advice}", message.trim_end_matches('.')) };
    words.trim_end_matches('.').to_owned()
}

fn of_disk(error: &DiskError) -> String {
    in_words(Trouble::of_disk(provisioning::Stage::Key, error))
}

/// How far a rotation is by its notes.
fn found(progress: &Progress) -> Option<UnfinishedRotation> {
    let cause = match &progress.cause {
        identity::Cause::Claim => return None,
        identity::Cause::Renewal => Cause::Renewal,
        identity::Cause::Job { id, number } => Cause::Job(Job { job: id.clone(), number: *number }),
    };
    let stage = match (progress.step, &progress.given_up) {
        (_, Some(why)) => Stage::GivenUp { why: why.clone(), committing: progress.committing },
        (identity::Step::CreateCertificate | identity::Step::RegisterThing, None) => Stage::Unfinished,
        (identity::Step::Trial | identity::Step::Commit, None) if progress.committing => Stage::Committing,
        (identity::Step::Trial | identity::Step::Commit, None) => Stage::Trial,
    };
    Some(UnfinishedRotation { cause, stage })
}

/// Notes how far it is.
pub(super) fn note(progress: &mut Progress, stage: &Stage) {
    match stage {
        Stage::Unfinished => progress.step = identity::Step::RegisterThing,
        Stage::Trial => progress.step = identity::Step::Trial,
        Stage::Committing => (progress.step, progress.committing) = (identity::Step::Commit, true),
        Stage::GivenUp { why, committing } => {
            (progress.given_up, progress.committing) = (Some(why.clone()), *committing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::KeyError;

    #[test]
    fn what_goes_wrong_is_said_with_its_own_advice() {
        let of_key = Trouble::of_key(&KeyError::Unreadable);
        assert!(!in_words(of_key.clone()).ends_with('.'));
        let of_token = Trouble { message: "it refuses the PIN".to_owned(), advice: "Mend it.".to_owned(), ..of_key };
        assert_eq!(in_words(of_token), "it refuses the PIN. Mend it");
    }
}
