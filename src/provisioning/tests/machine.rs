use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use jiff::Timestamp;
use proptest::prelude::*;

use super::cloud::{Cloud, trouble};
use crate::identity::simulated::{Cut, Fault, SimulatedDisk};
use crate::identity::{
    Cause, Directory, FoundIdentity, Identity, KeyKind, KeyPlace, Ownership, Progress, Step, Which, certificate_of,
    parse,
};
use crate::provisioning::machine::{Action, ActionOutcome, Machine};
use crate::provisioning::trouble::{Blame, Stage, Trouble};
use crate::provisioning::wire::{created, registered};
use crate::provisioning::{KeySource, Making};
use crate::secret::Secret;

const STATE: &str = "/var/lib/gatewire";
const HOUR: Duration = Duration::from_secs(3600);
const LEAST_WAIT: Duration = Duration::from_secs(30);

/// A machine, its disk, and the cloud.
struct World {
    rng: Rng,
    disk: SimulatedDisk,
    cloud: Cloud,
    now: Instant,
    wall: Timestamp,
    in_force: Option<Identity>,
    lives: usize,
}

/// What has happened in the life of one process.
#[derive(Default)]
struct Life {
    connected: Option<Instant>,
    asked: Option<Instant>,
}

impl World {
    fn new(seed: u64) -> World {
        World {
            rng: Rng::with_seed(seed),
            disk: SimulatedDisk::new(Path::new(STATE)),
            cloud: Cloud::new(seed ^ 1),
            now: Instant::now(),
            wall: Timestamp::from_second(1_800_000_000).unwrap(),
            in_force: None,
            lives: 0,
        }
    }

    fn directory(&self) -> Directory {
        Directory::on(Path::new(STATE), Arc::new(self.disk.clone()))
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.wall += jiff::SignedDuration::try_from(time).unwrap();
        if self.cloud.is_hostile && self.rng.u8(..60) == 0 {
            // Somebody sets the clock, or there was none before the network.
            self.wall = Timestamp::from_second(self.rng.i64(0..1_900_000_000)).unwrap();
        }
    }

    /// One process until it is killed after at most so many actions, or is ready.
    fn live(&mut self, actions: usize) -> Option<Identity> {
        self.lives += 1;
        self.disk.restart();
        let making = Making::new(self.directory(), KeySource::Made(KeyKind::EcP256));
        if self.cloud.is_hostile && self.rng.bool() {
            self.disk.set(Fault::Killed(self.rng.usize(..12), Cut::Middle));
        }
        if making.directory().recover().is_err() {
            return None;
        }
        self.examine();
        if let FoundIdentity::Identity(identity) = making.directory().current().unwrap() {
            return Some(identity);
        }
        let mut machine = Machine::new(KeyPlace::File, making.progress().ok()?);
        let mut life = Life::default();
        for _ in 0..actions {
            let action = machine.next(self.now, self.wall);
            assert_eq!(machine.next(self.now, self.wall), action, "asked twice it says the same");
            if let Action::Ready(identity) = action {
                return Some(identity);
            }
            if self.cloud.is_hostile {
                let cut = [Cut::Before, Cut::Middle, Cut::After][self.rng.usize(..3)];
                match self.rng.u8(..12) {
                    0 => self.disk.set(Fault::Killed(self.rng.usize(..16), cut)),
                    1 => self.disk.set(Fault::Full(self.rng.usize(..8))),
                    _ => self.disk.set(Fault::Nothing),
                }
            }
            let stage = machine.stage();
            let outcome = self.act(&making, &action, stage, &mut life);
            if self.disk.is_dead() {
                return None;
            }
            self.disk.set(Fault::Nothing);
            self.examine();
            let random = self.rng.f64();
            machine.came(action, outcome.unwrap_or_else(ActionOutcome::Failed), self.now, self.wall, random);
        }
        None
    }

    fn act(
        &mut self,
        making: &Making,
        action: &Action,
        stage: Stage,
        life: &mut Life,
    ) -> Result<ActionOutcome, Trouble> {
        let slow = Duration::from_millis(self.rng.u64(1..31_000));
        match action {
            Action::Begin(progress) => making.begin(progress)?,
            Action::Save(progress, certificate) => making.save(stage, progress, certificate.as_deref())?,
            Action::PutInForce(identity) => making.put_in_force(identity)?,
            Action::Connect => {
                assert!(life.connected.is_none_or(|last| self.now - last >= LEAST_WAIT), "too soon");
                life.connected = Some(self.now);
                self.pass(slow);
                self.cloud.connect()?;
            }
            Action::CreateCertificate => {
                assert!(life.asked.is_none_or(|last| self.now - last >= LEAST_WAIT), "too many certificates");
                life.asked = Some(self.now);
                let (csr, key) = making.request("gatewire")?;
                assert!(csr.contains("CERTIFICATE REQUEST"));
                let answer = self.cloud.create(&*key, self.now);
                self.pass(slow);
                return Ok(ActionOutcome::Created(created(&answer?, &*key)?));
            }
            Action::RegisterThing(token) => {
                let answer = self.cloud.register(token.expose(), self.now);
                self.pass(slow);
                return Ok(ActionOutcome::Registered(registered(&answer?)?));
            }
            Action::Try(thing) => {
                self.pass(slow);
                let id = making.directory().next().ok().flatten().and_then(|next| next.certificate_id);
                self.cloud.try_out(&id.unwrap_or_default(), thing)?;
            }
            Action::Wait(until) => {
                let wait = *until - self.now;
                assert!(wait <= HOUR, "{wait:?}");
                self.pass(wait);
            }
            Action::Ready(_) => unreachable!(),
        }
        Ok(ActionOutcome::Done)
    }

    /// What must hold at any moment at which a process is alive.
    fn examine(&mut self) {
        let directory = self.directory();
        let found = match directory.current().unwrap() {
            FoundIdentity::Nothing => None,
            FoundIdentity::Identity(identity) => Some(identity),
            FoundIdentity::Damaged(what) => panic!("{what}"),
        };
        let Some(identity) = found else {
            assert_eq!(self.in_force, None, "an identity is lost");
            return;
        };
        match &self.in_force {
            Some(before) => assert_eq!(*before, identity, "two identities"),
            None => {
                let counted = (identity.certificate_id.clone(), identity.thing.clone());
                assert!(self.cloud.accepted.contains(&counted), "{counted:?} hasn't connected");
                self.in_force = Some(identity);
            }
        }
    }

    /// What is in force belongs together.
    fn examine_files(&self) {
        let directory = self.directory();
        directory.recover().unwrap();
        let FoundIdentity::Identity(identity) = directory.current().unwrap() else { panic!("no identity") };
        let paths = directory.paths(Which::Current);
        let text = |path: &Path| String::from_utf8(directory.read(path).unwrap().unwrap()).unwrap();
        let key = parse(&Secret::new(text(&paths.key))).unwrap();
        assert_eq!(certificate_of(&key, &text(&paths.certificate)), Ok(identity.certificate_id));
        assert_eq!(directory.next().unwrap(), None, "nothing is left of the way there");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn whatever_cloud_disk_and_power_do_a_gateway_gets_one_identity_and_keeps_it(seed: u64) {
        let mut world = World::new(seed);
        for _ in 0..world.rng.usize(1..12) {
            let actions = world.rng.usize(1..60);
            world.live(actions);
            if world.rng.bool() {
                let mut rng = world.rng.fork();
                world.disk.power_loss(Some(&mut rng));
            }
            let off = Duration::from_secs(world.rng.u64(..4000));
            world.pass(off);
        }
        world.cloud.is_hostile = false;
        let begin = world.now;
        let mut identity = None;
        while identity.is_none() {
            prop_assert!(world.now - begin < 4 * HOUR, "it doesn't go on");
            identity = world.live(100);
        }
        let identity = identity.unwrap();
        prop_assert_eq!(world.in_force.as_ref(), Some(&identity));
        world.disk.power_loss(None);
        world.examine_files();
        prop_assert_eq!(world.live(10), Some(identity), "with an identity nothing more is done");
    }
}

/// A machine, and what it does as long as everything works.
fn at(step: Step) -> (Machine, Instant, Timestamp) {
    let (now, wall) = (Instant::now(), Timestamp::from_second(1_800_000_000).unwrap());
    let progress = Progress {
        step,
        ownership: Some(Ownership { token: "token".to_owned(), since: wall }),
        certificate_id: Some("id".to_owned()),
        thing: Some("gw-7".to_owned()),
        ..Progress::begun(Cause::Claim, KeyPlace::File, wall)
    };
    (Machine::new(KeyPlace::File, Some(progress)), now, wall)
}

fn fail(machine: &mut Machine, stage: Stage, blame: Blame, now: Instant, wall: Timestamp) -> Duration {
    let action = machine.next(now, wall);
    machine.came(action, ActionOutcome::Failed(trouble(stage, blame)), now, wall, 1.0);
    loop {
        match machine.next(now, wall) {
            action @ Action::Save(..) => machine.came(action, ActionOutcome::Done, now, wall, 1.0),
            Action::Wait(until) => return until - now,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_token_that_is_too_old_is_not_used() {
    for (later, jump, is_used) in [(54 * 60, 0, true), (56 * 60, 0, false), (0, -60, false), (60, 1_000_000, false)] {
        let (mut machine, now, wall) = at(Step::RegisterThing);
        let (now, wall) =
            (now + Duration::from_secs(later), wall + jiff::SignedDuration::from_secs(later as i64 + jump));
        let first = machine.next(now, wall);
        assert_eq!(first == Action::Connect, is_used, "{later} {jump}: {first:?}");
        assert!(
            is_used
                || matches!(&first, Action::Save(Progress { step: Step::CreateCertificate, ownership: None, .. }, _))
        );
    }
}

#[test]
fn a_certificate_that_is_refused_is_tried_for_ten_minutes() {
    let (mut machine, mut now, wall) = at(Step::Trial);
    let begin = now;
    while machine.next(now, wall) == Action::Try("gw-7".to_owned()) {
        assert!(now - begin < Duration::from_secs(720));
        now += fail(&mut machine, Stage::Trial, Blame::Server, now, wall);
    }
    assert!(now - begin >= Duration::from_secs(600), "{:?}", now - begin);
    assert!(matches!(machine.next(now, wall), Action::Begin(_)), "then it begins anew");
}

#[test]
fn without_a_network_a_certificate_is_tried_for_ever() {
    let (mut machine, mut now, wall) = at(Step::Trial);
    for _ in 0..1000 {
        assert_eq!(machine.next(now, wall), Action::Try("gw-7".to_owned()));
        now += fail(&mut machine, Stage::Trial, Blame::Network, now, wall);
    }
}

#[test]
fn whoever_kills_it_between_two_refusals_does_not_keep_it_from_beginning_anew() {
    let (mut progress, now, wall) = (None::<Progress>, Instant::now(), Timestamp::UNIX_EPOCH);
    for life in 0.. {
        assert!(life < 50, "for ever");
        let mut machine = match progress.take() {
            None => at(Step::Trial).0,
            Some(progress) => Machine::new(KeyPlace::File, Some(progress)),
        };
        let action = machine.next(now, wall);
        machine.came(action, ActionOutcome::Failed(trouble(Stage::Trial, Blame::Server)), now, wall, 0.0);
        match machine.next(now + 2 * LEAST_WAIT, wall) {
            Action::Save(saved, None) => progress = Some(saved),
            Action::Begin(_) if life == 40 => break,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn after_a_refused_thing_another_certificate_is_asked_for() {
    let (mut machine, now, wall) = at(Step::RegisterThing);
    machine.came(Action::Connect, ActionOutcome::Done, now, wall, 1.0);
    assert!(matches!(machine.next(now, wall), Action::RegisterThing(_)));
    let wait = fail(&mut machine, Stage::RegisterThing, Blame::Answer, now, wall);
    assert_eq!((wait.as_secs(), machine.stage()), (60, Stage::Connect));
    // But not after one that wasn't answered.
    let (mut machine, now, wall) = at(Step::RegisterThing);
    machine.came(Action::Connect, ActionOutcome::Done, now, wall, 1.0);
    let wait = fail(&mut machine, Stage::RegisterThing, Blame::Server, now, wall);
    machine.came(Action::Connect, ActionOutcome::Done, now + wait, wall, 1.0);
    assert!(matches!(machine.next(now + wait, wall), Action::RegisterThing(_)));
}

#[test]
fn what_was_begun_for_another_key_or_a_rotation_is_begun_anew() {
    let begins = |progress: Progress, key: KeyPlace| {
        let (now, wall) = (Instant::now(), Timestamp::UNIX_EPOCH);
        matches!(Machine::new(key, Some(progress)).next(now, wall), Action::Begin(_))
    };
    let begun = |cause: Cause| Progress::begun(cause, KeyPlace::File, Timestamp::UNIX_EPOCH);
    assert!(!begins(begun(Cause::Claim), KeyPlace::File));
    assert!(begins(begun(Cause::Claim), KeyPlace::Token));
    assert!(begins(begun(Cause::Renewal), KeyPlace::File));
    let job = || begun(Cause::Job { id: "j".to_owned(), number: 1 });
    assert!(begins(job(), KeyPlace::File));
    // Its certificate may be the only one that AWS knows.
    let committing = Progress {
        step: Step::Commit,
        committing: true,
        thing: Some("t".to_owned()),
        certificate_id: Some("id".to_owned()),
        ..job()
    };
    assert!(!begins(committing, KeyPlace::File));
}
