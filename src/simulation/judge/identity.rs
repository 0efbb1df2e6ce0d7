//! What is promised of an identity (docs/provisioning.md): none is lost, there are never two, and nothing of it is told.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Instant;

use super::Judge;
use crate::simulation::cloud::Cloud;
use crate::simulation::cloud::services::identities::{Request, Right};
use crate::simulation::identity::SimulatedPlatform;
use crate::simulation::network::Seen;
use crate::simulation::plan::HOUR;
use crate::time;

/// In an hour, so many requests for a certificate with the claim for each time that the daemon was started, and once more.
const ASKS_AN_HOUR: usize = 12;

/// See the module.
#[derive(Default)]
pub(in crate::simulation) struct OfIdentity {
    platform: RefCell<Option<SimulatedPlatform>>,
    /// When there was certainly none.
    gone: RefCell<Vec<Instant>>,
}

impl OfIdentity {
    pub(in crate::simulation) fn is_made_on(&self, platform: &SimulatedPlatform) {
        self.platform.replace(Some(platform.clone()));
    }

    /// Somebody has removed it.
    pub(in crate::simulation) fn is_gone(&self) {
        self.gone.borrow_mut().push(time::now());
    }
}

impl Judge {
    /// The daemon does something that counts: what is needed for it has to be on the disk, whatever happens next.
    pub(in crate::simulation) fn sees(&self, seen: Seen<'_>, platform: &SimulatedPlatform, claim: &str) {
        match seen {
            Seen::Certificate(certificate, fits) => {
                if !fits {
                    self.violated("a handshake with a key that isn't the certificate's".to_owned());
                }
                self.shows(certificate, platform, claim);
            }
            Seen::Written(bytes) => {
                let next = || platform.kept().into_iter().find(|kept| kept.place == "identity.next");
                if is_published(bytes, "awslabs/things/gateway/certificate/commit")
                    && next().is_some_and(|next| !next.committing)
                {
                    self.violated("a commit is sent, and isn't noted".to_owned());
                }
                if is_published(bytes, "$aws/provisioning-templates/gateways/provision/json") && next().is_none() {
                    self.violated("a thing is registered with a certificate that isn't safe".to_owned());
                }
            }
        }
    }

    /// A connection is made with this certificate.
    fn shows(&self, certificate: &str, platform: &SimulatedPlatform, claim: &str) {
        let (current, _) = platform.in_force();
        if certificate == claim {
            self.note("shows the claim".to_owned());
            if current.is_some() {
                self.violated("the claim is used, and there is an identity".to_owned());
            }
            return;
        }
        let kept = platform.kept();
        let Some(place) = kept.iter().find(|kept| kept.certificate == certificate).map(|kept| &kept.place) else {
            let places: Vec<_> = kept.iter().map(|kept| &kept.place).collect();
            return self.violated(format!("a certificate is used that isn't on the disk, where there are {places:?}"));
        };
        self.note(format!("shows what is in {place}"));
        let is_in_force = current.is_some_and(|current| current.certificate_id == certificate);
        if !is_in_force && place != "identity.next" {
            self.violated(format!("what is in {place} is used, and isn't in force"));
        }
    }

    /// What is told to people, and to nobody else.
    pub(super) fn keeps_secrets(&self, text: &str) {
        let platform = self.identity.platform.borrow();
        let Some(platform) = &*platform else { return };
        let is_token =
            text.match_indices("token-").any(|(at, _)| text[at + 6..].starts_with(|c: char| c.is_ascii_digit()));
        let tells =
            is_token || text.contains("-----BEGIN") || platform.secrets().iter().any(|line| text.contains(line));
        if tells {
            self.violated(format!("a secret is told: {text}"));
        }
    }

    /// Everything has drained.
    pub(in crate::simulation) fn identity_at_the_end(&self, cloud: &Cloud) {
        let platform = self.identity.platform.borrow();
        let Some(platform) = &*platform else { return };
        let services = cloud.services();
        match platform.in_force() {
            (Some(current), Some(safe)) if current == safe => {
                if !services.is_active(&current.certificate_id) {
                    self.violated("AWS doesn't let in what is in force".to_owned());
                }
                let is_whole = platform.kept().iter().any(|kept| kept.certificate == current.certificate_id);
                if current.thing != "gateway" || !is_whole {
                    self.violated(format!("what is in force isn't whole, or is {}", current.thing));
                }
            }
            other => self.violated(format!("the identity isn't safe: {other:?}")),
        }
        for ((job, number), facts) in &services.records().jobs {
            let has_succeeded = facts.iter().any(|fact| fact.by_client && fact.status == "SUCCEEDED");
            if has_succeeded && !services.identities.commits.iter().any(|(committed, _)| committed == job) {
                self.violated(format!("{job}, execution {number}, was told as SUCCEEDED, and there was no commit"));
            }
        }
        self.requests(&services.identities.requests);
    }

    /// Certificates aren't asked for without end.
    fn requests(&self, requests: &[Request]) {
        let starts = self.actions.starts();
        let of_claim: Vec<Instant> = requests.iter().filter(|it| it.right == Right::Claim).map(|it| it.at).collect();
        for at in &of_claim {
            let within = |other: &&Instant| **other >= *at && **other < *at + HOUR;
            let (asked, started) = (of_claim.iter().filter(within).count(), starts.iter().filter(within).count());
            if asked > ASKS_AN_HOUR * (2 + started) {
                return self.violated(format!("{asked} certificates asked for with the claim in an hour"));
            }
        }
        let renewals: BTreeSet<&str> =
            requests.iter().filter(|it| it.right == Right::Own && !it.by_job).map(|it| &*it.csr).collect();
        // One a day, but for whom the clock has told otherwise, and each new device.
        let days = time::since(self.begun.unwrap_or_else(time::now)).as_secs() / (24 * HOUR.as_secs());
        let most =
            2 + usize::try_from(days).unwrap() + self.actions.clock_changes() + self.identity.gone.borrow().len();
        if renewals.len() > most {
            self.violated(format!("{} renewals, and {most} would be a lot", renewals.len()));
        }
    }
}

/// Whether a PUBLISH to `topic` is in what was written, and not as one that is sent again.
fn is_published(bytes: &[u8], topic: &str) -> bool {
    let found = bytes.windows(topic.len()).position(|window| window == topic.as_bytes());
    let Some(before) =
        found.and_then(|at| at.checked_sub(2)).filter(|at| bytes[at + 2 + topic.len()..].first() != Some(&b'/'))
    else {
        return false;
    };
    // Of the fixed header, the remaining length has one to three bytes (2.1.1).
    (1..=3).any(|size| {
        let header = before.checked_sub(size + 1).map(|at| &bytes[at..before]);
        header.is_some_and(|header| {
            let (last, more) = header[1..].split_last().unwrap_or((&0x80, &[]));
            header[0] & 0xf8 == 0x30 && *last < 0x80 && more.iter().all(|byte| *byte >= 0x80)
        })
    })
}
