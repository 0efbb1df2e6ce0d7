//! A device that begins with a claim, and whose certificate is rotated.

use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::time::sleep;

use super::World;
use crate::net::tests::pki::set_mode;
use crate::simulation::cloud::services::Job;
use crate::simulation::cloud::services::identities::Entry;
use crate::simulation::identity::{Condition, SimulatedPlatform};
use crate::simulation::judge::Judge;
use crate::simulation::network::SimulatedNetwork;
use crate::simulation::plan::MINUTE;
use crate::simulation::plan::identity::{Claimed, Identity};
use crate::simulation::process::Process;
use crate::store::simulated;
use crate::time;

/// What is undone after its time: who is let in.
const ENTRY: usize = 6;

/// How long a rotation takes if nothing comes in between.
const ROTATED_WITHIN: Duration = Duration::from_secs(60);

/// Those of an image.
pub(super) const CLAIM: [&str; 2] = ["claim.crt", "claim.key"];

/// The device's disk, and AWS's certificates.
pub(super) fn begin(
    (seed, claimed): (u64, Claimed),
    directory: &Path,
    network: &SimulatedNetwork,
    judge: &Rc<Judge>,
) -> SimulatedPlatform {
    let platform = SimulatedPlatform::new(&directory.join("state"), seed);
    let claim = network.with_cloud(|cloud| {
        let mut claim = None;
        cloud.operate(
            |services| {
                claim = Some(services.provision());
                let days = if claimed.are_short { 20 } else { 3650 };
                services.valid_until(time::wall() + SignedDuration::from_hours(24 * days));
            },
            time::now(),
        );
        claim.unwrap()
    });
    for (name, contents) in CLAIM.iter().zip([&claim.certificate, &claim.key]) {
        let path = directory.join(name);
        fs::write(&path, contents).unwrap();
        set_mode(&path, 0o600);
    }
    let (looking, of_device) = (Rc::clone(judge), platform.clone());
    network.watch(Rc::new(move |seen| looking.sees(seen, &of_device, &claim.id)));
    judge.identity.is_made_on(&platform);
    platform
}

impl World {
    pub(super) fn is_identified(self: &Rc<World>, what: &Identity) {
        let Some(platform) = &self.platform else { return };
        match what {
            Identity::Rotate => drop(self.rotate()),
            Identity::Entry(entry, lasts) => {
                self.let_in(*entry);
                self.undo(ENTRY, *lasts, |world| world.let_in(Entry::default()));
            }
            Identity::CutOff(cut_off) => platform.cut_off(Some(*cut_off)),
            Identity::Wipe => {
                self.is_to_be_wiped.set(true);
                self.with_process(|process| process.kill_after(0));
            }
        }
    }

    /// A process has ended: what that means for the identity's files.
    pub(super) fn has_ended(&self) {
        let Some(platform) = &self.platform else { return };
        if let Some(cut_off) = platform.restart() {
            self.off.set(cut_off.off);
            if cut_off.with_power {
                self.cut_power(cut_off.off, false);
            }
        }
        if self.is_to_be_wiped.take() {
            platform.wipe();
            self.judge.identity.is_gone();
        }
    }

    /// That of the database, and of the identity's files.
    pub(super) fn disk_behaves(&self, behaviour: &simulated::Behaviour) {
        self.disk.behave(behaviour.clone());
        let condition = Condition { is_full: behaviour.writes_fail.is_some(), hangs: behaviour.hangs };
        self.platform.iter().for_each(|platform| platform.behave(condition));
    }

    fn let_in(&self, entry: Entry) {
        self.network.with_cloud(|cloud| cloud.operate(|services| services.identities.entry = entry, time::now()));
    }

    fn rotate(&self) -> String {
        let id = format!("rotation-{}", self.judge.number());
        let job = Job { document: json!({"operation": "ROTATE_CERTIFICATE"}), retries: 0, minutes: None };
        self.network.with_cloud(|cloud| cloud.operate(|services| services.create(&id, &job, time::now()), time::now()));
        id
    }

    /// Nothing is wrong any more.
    pub(super) fn calm_identity(&self) {
        let Some(platform) = &self.platform else { return };
        platform.behave(Condition::default());
        platform.cut_off(None);
        self.let_in(Entry::default());
        self.have_manners(Default::default());
        self.configure(0);
        self.with_process(|process| process.signal(nix::libc::SIGHUP));
        // From now on none is to be renewed, once it is another.
        let end: Timestamp = "2200-01-01T00:00:00Z".parse().unwrap();
        self.network.with_cloud(|cloud| cloud.operate(|services| services.valid_until(end), time::now()));
        self.rotate();
    }

    /// Whether the device is there with what is in force on its disk.
    pub(super) fn is_identified_at_aws(&self) -> bool {
        let Some(platform) = &self.platform else { return true };
        let Some(current) = platform.in_force().1 else { return false };
        self.network.with_cloud(|cloud| {
            cloud.certificates_in_use() == [&*current.certificate_id]
                && cloud.services().is_active(&current.certificate_id)
        })
    }

    /// Single rotations: each is done soon, and what was in force before isn't any more.
    pub(super) async fn probe_the_identity(self: &Rc<World>) {
        let Some(platform) = &self.platform else { return };
        self.judge.note("the identity".to_owned());
        for _ in 0..2 {
            sleep(MINUTE).await;
            let before = platform.in_force().0.map(|identity| identity.certificate_id).unwrap_or_default();
            let job = self.rotate();
            sleep(ROTATED_WITHIN).await;
            self.has_come_to(&job, "SUCCEEDED");
            let after = platform.in_force().0.map(|identity| identity.certificate_id).unwrap_or_default();
            let is_active = |id: &str| self.network.with_cloud(|cloud| cloud.services().is_active(id));
            if before == after || is_active(&before) || !is_active(&after) {
                self.judge
                    .violated(format!("{ROTATED_WITHIN:?} after {job} was created the certificate isn't rotated"));
            }
        }
    }

    /// Starts a process of the daemon.
    pub(super) fn begin_process(&self) -> Process {
        let machine = (&self.disk, &self.programs, self.platform.as_ref());
        Process::start(&self.network, &self.brokers, machine, &self.path())
    }
}
