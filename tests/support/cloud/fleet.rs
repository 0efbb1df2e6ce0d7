//! A cloud that gives certificates: for whom is flashed with a claim.
//!
//! ```text
//! let fleet = Fleet::start();
//! let gatewire = fleet.setup("9000001", "").start();             // [provisioning] with the claim, SerialNumber = "9000001"
//! fleet.wait_for_identity("gateway-9000001");                     // it has connected with its own certificate
//! fleet.cloud.treat(Kind::RegisterThing, &[Mood::Refuses("AccessDenied")]);           // throttled, late, twice, garbage: Mood
//! fleet.cloud.with(|aws| aws.provisioning.template("gateways").thing = "no client id #".into());
//! fleet.cloud.with(|aws| aws.certificates.valid(from, until));    // of those that are signed from now on
//! fleet.age_tokens(Duration::from_secs(3600));
//! fleet.refuse(Who::Devices, Refusal::NotAuthorized, 3);          // TLS alert, closed, CONNACK; the next three
//! fleet.cut(&Who::Claims);                                        // as a network does that is gone
//! fleet.attempts();                                               // who came, with which certificate, and how far
//!
//! let device = fleet.device("gateway-1");                         // an identity to begin with: certificate and key
//! fleet.rotate("job-1", "gateway-1");                             // a job ROTATE_CERTIFICATE
//! fleet.broker.subscribe("#");                                    // mosquitto, which knows all certificates of the other tests
//! ```
//!
//! A policy stands before mosquitto: a claim may do what provisioning needs and has a client id `claim-..`; a device's client id begins
//! with its thing's name. What it forbids is a violation, of which who drops the cloud is told.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::Cloud;
use super::certificates::{Certificate, Issued};
use super::front::{Attempt, Front, Refusal, Stage, Who};
use super::jobs::{Execution, Status};
use crate::support::CERTIFICATES;
use crate::support::daemon::Setup;
use crate::support::mosquitto::Mosquitto;

/// The template that there is.
pub const TEMPLATE: &str = "gateways";

/// See the module.
pub struct Fleet {
    /// Where devices connect.
    pub port: u16,
    _front: Front,
    pub cloud: Cloud,
    pub broker: Mosquitto,
    directory: TempDir,
    /// The claim's certificate.
    pub claim: Issued,
}

impl Fleet {
    pub fn start() -> Fleet {
        let (broker, cloud) = Cloud::with_options("");
        let front = Front::start(cloud.shared.clone(), broker.path("cloud.sock"));
        let claim = cloud.with(|aws| aws.certificates.issue(None));
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("claim.pem.crt"), &claim.certificate).unwrap();
        let key = directory.path().join("claim.pem.key");
        std::fs::write(&key, &claim.key).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        Fleet { port: front.port, _front: front, cloud, broker, directory, claim }
    }

    /// The claim's files: certificate and key.
    pub fn claim_files(&self) -> (PathBuf, PathBuf) {
        (self.directory.path().join("claim.pem.crt"), self.directory.path().join("claim.pem.key"))
    }

    /// A daemon's configuration without an identity, with this serial number; `rest` is behind it. Its state directory is DIR/state.
    pub fn setup(&self, serial: &str, rest: &str) -> Setup {
        self.setup_with("", &format!("parameters = {{ SerialNumber = \"{serial}\" }}\n"), rest)
    }

    /// Likewise, with more lines in `[connection]` and other ones in `[provisioning]`.
    pub fn setup_with(&self, connection: &str, provisioning: &str, rest: &str) -> Setup {
        let (certificate, key) = self.claim_files();
        let text = format!(
            "[connection]\nendpoint = \"localhost\"\nport = {}\nclient_id = \"{{{{thing}}}}\"\n\
             backoff = {{ min = \"100ms\", max = \"300ms\", stable_after = \"1m\" }}\n\
             rate_limit = {{ messages_per_second = 1000000, bytes_per_second = \"1 GiB\", burst = 100000, connects_per_second = 100 }}\n\
             {connection}\n[tls]\nca_file = \"{}\"\n\
             [provisioning]\ntemplate = \"{TEMPLATE}\"\nclaim_cert_file = \"{}\"\nclaim_key_file = \"{}\"\n{provisioning}\n\
             [status]\nsocket = \"DIR/status.sock\"\n[outbox]\npath = \"DIR/gatewire.db\"\n{rest}",
            self.port,
            CERTIFICATES.path("AmazonRootCA1.pem").display(),
            certificate.display(),
            key.display(),
        );
        let setup = Setup::with_text(&text);
        let state = setup.directory.path().join("state");
        std::fs::create_dir(&state).unwrap();
        setup.env("STATE_DIRECTORY", state)
    }

    /// A certificate that is active for a thing: what a device has that was provisioned.
    pub fn device(&self, thing: &str) -> Issued {
        self.cloud.with(|aws| aws.certificates.issue(Some(thing)))
    }

    /// A job that rotates a thing's certificate.
    pub fn rotate(&self, job: &str, thing: &str) {
        self.cloud.with(|aws| aws.jobs.create(thing, job, json!({"operation": "ROTATE_CERTIFICATE"}), 0));
    }

    /// Waits until the job of [`Fleet::rotate`] is so.
    pub fn wait_for(&self, job: &str, status: Status) -> Execution {
        self.cloud.wait_for(job, status)
    }

    /// Waits until a device is connected with the only certificate of its thing that counts, and returns that.
    pub fn wait_for_identity(&self, thing: &str) -> Certificate {
        self.cloud.until(&format!("{thing} is connected with its own certificate"), |state| {
            let active = state.service.certificates.active(thing)?;
            let is_there = |attempt: &Attempt| attempt.stage == Stage::Connected && attempt.certificate == active.id;
            state.desk.attempts.iter().any(is_there).then(|| active.clone())
        })
    }

    /// The connections that were made, the oldest first.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.cloud.state().desk.attempts.clone()
    }

    /// Likewise, those of some.
    pub fn attempts_of(&self, who: &Who) -> Vec<Attempt> {
        let meant = |attempt: &Attempt| self.cloud.shared.is_meant(who, &attempt.certificate);
        self.attempts().into_iter().filter(meant).collect()
    }

    /// Waits until the connections are so that `find` finds something.
    pub fn wait_for_attempts<T>(&self, what: &str, mut find: impl FnMut(&[Attempt]) -> Option<T>) -> T {
        self.cloud.until(what, |state| find(&state.desk.attempts))
    }

    /// These are refused, so often from now on (`usize::MAX`: until [`Fleet::admit`]).
    pub fn refuse(&self, who: Who, how: Refusal, times: usize) {
        self.cloud.state().desk.refusals.push((who, how, times));
    }

    /// Nobody is refused any more.
    pub fn admit(&self) {
        self.cloud.state().desk.refusals.clear();
    }

    /// A policy without this topic or filter: the connection of who uses it is closed.
    pub fn forbid(&self, name: &str) {
        self.cloud.state().desk.forbidden.push(name.to_owned());
    }

    /// A policy that allows everything again.
    pub fn allow(&self) {
        self.cloud.state().desk.forbidden.clear();
    }

    /// How a claim's client id must begin.
    pub fn claims_begin_with(&self, prefix: &str) {
        prefix.clone_into(&mut self.cloud.state().desk.claim_prefix);
    }

    /// Ends the connections of these, as a network does that is gone; how many there were.
    pub fn cut(&self, who: &Who) -> usize {
        self.cloud.shared.cut(who)
    }

    /// The ownership tokens get older; after an hour they are worth nothing.
    pub fn age_tokens(&self, time: Duration) {
        self.cloud.with(|aws| aws.provisioning.pass(time, &mut aws.certificates));
    }
}
