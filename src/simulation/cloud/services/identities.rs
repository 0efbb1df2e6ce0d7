//! Certificates: who is let in, what a claim may do, and what was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::aws::certificates::{Issued, State};
use super::aws::service::Kind;
use super::{Message, Services, THING};
use crate::simulation::cloud::ConnectionId;

/// How those with a certificate are let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// A certificate counts so long after it became active: not all of AWS knows it at once. `None`: not as long as it is like this.
    pub(crate) counts_after: Option<Duration>,
    pub(crate) refuses_claims: bool,
    /// Who isn't let in is told so by CONNACK. Otherwise the connection is closed.
    pub(crate) says_why: bool,
}

impl Default for Entry {
    fn default() -> Entry {
        Entry { counts_after: Some(Duration::ZERO), refuses_claims: false, says_why: false }
    }
}

/// With which right something was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Right {
    Claim,
    /// The thing's own certificate.
    Own,
}

/// A certificate that was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) at: Instant,
    pub(crate) right: Right,
    /// By a job that rotates.
    pub(crate) by_job: bool,
    pub(crate) csr: String,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    pub(crate) entry: Entry,
    /// The id of the claim's certificate, if there is one.
    pub(crate) claim: String,
    /// By connection.
    shown: BTreeMap<ConnectionId, String>,
    /// The client ids of those that were let in.
    clients: BTreeMap<ConnectionId, String>,
    active_since: BTreeMap<String, Instant>,
    /// Those that were let in once.
    known: BTreeSet<String>,
    pub(crate) requests: Vec<Request>,
    /// The job, and the certificate, of each commit.
    pub(crate) commits: Vec<(String, String)>,
    /// When the tokens were looked at.
    looked_at: Option<Instant>,
}

/// Whether a request is of fleet provisioning or of the rotator.
pub(super) fn is_of_identities(kind: Kind) -> bool {
    matches!(kind, Kind::CreateCertificate | Kind::RegisterThing | Kind::RotatorCreate | Kind::RotatorCommit)
}

impl Services {
    /// The client is to get its identity by a claim from now on, which is returned.
    pub(crate) fn provision(&mut self) -> Issued {
        self.aws.provisioning.template("gateways").thing = THING.to_owned();
        let claim = self.aws.certificates.issue(None);
        self.identities.claim = claim.id.clone();
        claim
    }

    /// Certificates that are signed from now on are valid for so long.
    pub(crate) fn valid_until(&mut self, until: jiff::Timestamp) {
        let from: jiff::Timestamp = "2025-01-01T00:00:00Z".parse().unwrap();
        self.aws.certificates.valid(from.into(), until.into());
    }

    fn is_provisioned(&self) -> bool {
        !self.identities.claim.is_empty()
    }

    /// Who has connected so.
    pub(crate) fn certificate_of(&self, id: ConnectionId) -> Option<&str> {
        self.identities.shown.get(&id).map(String::as_str)
    }

    /// Whether the thing may use it.
    pub(crate) fn is_active(&self, certificate: &str) -> bool {
        let found = self.aws.certificates.get(certificate);
        found.is_some_and(|found| found.state == State::Active && found.thing.as_deref() == Some(THING))
    }

    /// The handshake of a connection has shown this certificate.
    pub(in crate::simulation::cloud) fn shows(&mut self, id: ConnectionId, certificate: &str) {
        self.identities.shown.insert(id, certificate.to_owned());
    }

    /// Whether a client is let in: otherwise whether it is told why not. An error: AWS's policy would forbid what it does.
    pub(in crate::simulation::cloud) fn admits(
        &mut self,
        id: ConnectionId,
        client: &str,
        now: Instant,
    ) -> Result<Option<bool>, String> {
        if !self.is_provisioned() {
            return Ok(None);
        }
        let Entry { counts_after, refuses_claims, says_why } = self.identities.entry;
        let certificate = self.identities.shown.get(&id).cloned().unwrap_or_default();
        let is_claim = certificate == self.identities.claim;
        if is_claim != client.starts_with("claim-") || (!is_claim && client != THING) {
            return Err(format!("CONNECT as {client:?} with a certificate that isn't for it"));
        }
        let is_let_in = match is_claim {
            true => !refuses_claims,
            false => {
                let since = self.identities.active_since.get(&certificate);
                let is_known = self.identities.known.contains(&certificate);
                let counts = since.zip(counts_after).is_some_and(|(since, after)| *since + after <= now);
                self.is_active(&certificate) && (is_known || counts)
            }
        };
        if is_let_in {
            self.identities.known.insert(certificate);
            self.identities.clients.insert(id, client.to_owned());
        }
        Ok((!is_let_in).then_some(says_why))
    }

    /// What a client may not publish.
    pub(in crate::simulation::cloud) fn forbids(&self, id: ConnectionId, topic: &str) -> bool {
        let is_claim = self.is_provisioned() && self.certificate_of(id) == Some(&self.identities.claim);
        let asks = topic == "$aws/certificates/create-from-csr/json"
            || topic == "$aws/provisioning-templates/gateways/provision/json";
        is_claim && !asks
    }

    /// A request of fleet provisioning or of the rotator, of which AWS knows by whom it is.
    pub(super) fn hear_of_identities(
        &mut self,
        from: ConnectionId,
        (kind, topic): (Kind, &str),
        payload: &[u8],
        now: Instant,
    ) -> Vec<Message> {
        let certificate = self.certificate_of(from).unwrap_or_default().to_owned();
        let age = self.identities.looked_at.replace(now).map_or(Duration::ZERO, |before| now - before);
        self.aws.provisioning.pass(age, &mut self.aws.certificates);
        let body: serde_json::Value = serde_json::from_slice(payload).unwrap_or_default();
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let right = if certificate == self.identities.claim { Right::Claim } else { Right::Own };
        match kind {
            Kind::CreateCertificate => self.identities.requests.push(Request {
                at: now,
                right,
                by_job: false,
                csr: text("certificateSigningRequest"),
            }),
            Kind::RotatorCreate => {
                self.identities.requests.push(Request { at: now, right, by_job: true, csr: text("csr") });
            }
            _ => {}
        }
        let said = self.aws.hears(&format!("front/from/it/{certificate}/{topic}"), payload, false);
        for known in self.aws.certificates.all().iter().filter(|known| known.state == State::Active) {
            self.identities.active_since.entry(known.id.clone()).or_insert(now);
        }
        let mut active = self.aws.certificates.of_thing(THING).into_iter().filter(|it| it.state == State::Active);
        if kind == Kind::RotatorCommit
            && active.next().is_some_and(|it| it.id == certificate)
            && active.next().is_none()
        {
            self.identities.commits.push((text("jobId"), certificate));
        }
        let plain = |message: Message| match message.topic.strip_prefix("front/to/it/") {
            Some(topic) => Message { topic: topic.to_owned(), ..message },
            None => message,
        };
        said.into_iter().map(plain).collect()
    }
}
