//! One run: everything that a [`Plan`] says happens, then calm, in which everything has to come to its end.

mod bridge;
mod calm;
mod faults;
mod identity;
mod orders;
mod rush;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::task::spawn_local;
use tokio::time::{sleep, sleep_until, timeout};

use super::bridge::Bridge;
use super::broker::Broker;
use super::clients::{self, Local, MENDED, Outstanding};
use super::cloud::Cloud;
use super::cloud::message::Downlink;
use super::configuration::configuration;
use super::identity::SimulatedPlatform;
use super::journal;
use super::judge::{Disturbance, Judge, number_in};
use super::network::{SimulatedNetwork, Weather};
use super::plan::{HOUR, Plan, What, ideal, refuses_everything};
use super::process::{Ended, Process};
use super::programs::ProgramTable;
use crate::net::tests::pki::{Authority, Files};
use crate::store::simulated::{self, SimulatedDisk};
use crate::time;
use crate::time::simulated::Clocks;

/// How the forwards are called, and what each gets.
const FORWARDS: [(&str, &str); 2] = [("written", "down/"), ("acknowledged", "down/a/")];

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) violations: Vec<String>,
    /// What happened, in order.
    pub(super) history: Vec<String>,
    /// In virtual time.
    pub(super) lasted: Duration,
}

/// Runs it.
pub(super) fn run(plan: &Plan) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let outcome = runtime.block_on(tokio::task::LocalSet::new().run_until(async {
        let begun = time::now();
        let world = Rc::new(World::new(plan));
        // Names of directories were drawn before.
        fastrand::seed(plan.seed);
        world.live(plan).await;
        Outcome { violations: world.judge.violations(), history: world.judge.history(), lasted: time::now() - begun }
    }));
    Clocks::put_away();
    journal::end();
    outcome
}

thread_local! {
    /// They cost more than many a run.
    static FILES: Rc<Files> = Rc::new(Files::of(&Authority::new("simulated")));
}

struct World {
    directory: tempfile::TempDir,
    files: Rc<Files>,
    network: SimulatedNetwork,
    brokers: SimulatedNetwork<Broker>,
    disk: SimulatedDisk,
    programs: ProgramTable,
    clocks: Rc<Clocks>,
    /// When all of this began, and what a right clock showed then.
    began: (Instant, Timestamp),
    /// How often the machine has booted: what was to happen in an earlier boot doesn't.
    boots: Rc<Cell<u32>>,
    judge: Rc<Judge>,
    local: Local,
    rng: RefCell<Rng>,
    process: RefCell<Option<Process>>,
    /// How long it is away when it ends.
    off: Cell<Duration>,
    /// It isn't to come back.
    is_over: Cell<bool>,
    /// It has to end, because its store's thread has.
    store_has_ended: Cell<bool>,
    is_mqtt5: bool,
    bridge: Option<Bridge>,
    /// What it makes its identity on, if it does; that is to be removed.
    platform: Option<SimulatedPlatform>,
    is_to_be_wiped: Cell<bool>,
    /// There are jobs and commands.
    has_orders: bool,
    /// How often something was done to the network, the cloud, the disk, the broker or the way there, or Jobs and Commands,
    /// or to who is let in: what came later isn't undone.
    changes: [Cell<u32>; 7],
}

/// In half of the runs there is a NAT on the way. What it forgets matters to a keep alive that is found by trying.
fn forgets_after(seed: u64) -> Option<Duration> {
    // Its own numbers: the others are as they were without.
    let mut rng = Rng::with_seed(!seed.rotate_left(32));
    rng.bool().then(|| Duration::from_secs(rng.u64(90..1500)))
}

impl World {
    fn new(plan: &Plan) -> World {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let clocks = Clocks::put_in_force(start, HOUR);
        let directory = tempfile::tempdir().unwrap();
        let network = SimulatedNetwork::new(Cloud::new(ideal(), plan.seed, time::now()), plan.seed);
        network.forgets_after(forgets_after(plan.seed));
        let disk = SimulatedDisk::new(plan.seed);
        let judge = Rc::new(Judge::new());
        journal::begin(&judge);
        let local = Local {
            directory: directory.path().to_owned(),
            judge: Rc::clone(&judge),
            network: network.clone(),
            disk: disk.clone(),
            outstanding: Rc::new(Outstanding::default()),
        };
        let platform =
            plan.claimed.map(|claimed| identity::begin((plan.seed, claimed), directory.path(), &network, &judge));
        World {
            platform,
            is_to_be_wiped: Cell::new(false),
            files: FILES.with(Rc::clone),
            disk,
            programs: ProgramTable::new(&judge),
            rng: RefCell::new(Rng::with_seed(plan.seed)),
            process: RefCell::default(),
            off: Cell::new(Duration::from_secs(1)),
            is_over: Cell::new(false),
            store_has_ended: Cell::new(false),
            is_mqtt5: plan.is_mqtt5,
            bridge: plan.bridge,
            has_orders: plan.orders.is_some(),
            changes: Default::default(),
            directory,
            network,
            brokers: SimulatedNetwork::new(Broker::new(!plan.seed, time::now()), !plan.seed),
            clocks,
            began: (time::now(), start),
            boots: Rc::default(),
            judge,
            local,
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("gatewire.toml")
    }

    /// Writes the configuration of a number.
    fn configure(&self, number: usize) {
        let kind = (self.is_mqtt5, self.bridge, self.has_orders, self.platform.is_some());
        fs::write(self.path(), configuration(self.directory.path(), &self.files, kind, number)).unwrap();
        self.rules_change(number);
        self.actions_change(number);
    }

    fn start(&self) {
        self.judge.note("start".to_owned());
        self.store_has_ended.set(false);
        self.judge.actions.started();
        *self.process.borrow_mut() = Some(self.begin_process());
    }

    /// Starts it again whenever it has ended, as systemd does.
    async fn keep_running(self: Rc<World>) {
        loop {
            let ended = self.process.borrow().as_ref().and_then(Process::ended);
            match ended {
                None => sleep(Duration::from_millis(50)).await,
                Some(ended) => {
                    self.judge.note(format!("{ended:?}"));
                    self.judge.actions.disturbed(Disturbance::ProcessEnds, Duration::ZERO);
                    if ended == Ended::Killed {
                        let in_order = self.disk.is_in_order_for(MENDED);
                        self.judge.observers.killed(time::now(), in_order, self.stored_for_readers());
                    }
                    self.local.outstanding.ends.update(|ends| ends + 1);
                    if let Ended::Exited(Err(error)) = &ended
                        && !self.store_has_ended.take()
                    {
                        self.judge.violated(format!("the daemon has ended: {error}"));
                    }
                    self.network.killed();
                    self.brokers.killed();
                    *self.process.borrow_mut() = None;
                    self.has_ended();
                    if self.is_over.get() {
                        return;
                    }
                    sleep(self.off.replace(Duration::from_secs(1))).await;
                    self.start();
                }
            }
        }
    }

    /// What waits for readers on the disk, by forward.
    fn stored_for_readers(&self) -> BTreeSet<(String, u64)> {
        let of = |name: &str| {
            let rows = self.disk.rows_of(name).into_iter();
            let name = name.to_owned();
            rows.filter_map(|row| number_in(&row.payload)).map(move |number| (name.clone(), number))
        };
        FORWARDS.iter().flat_map(|(name, _)| of(name)).collect()
    }

    async fn live(self: &Rc<World>, plan: &Plan) {
        self.configure(0);
        self.start();
        let network = self.network.clone();
        spawn_local(async move { network.run().await });
        if self.bridge.is_some() {
            let brokers = self.brokers.clone();
            spawn_local(async move { brokers.run().await });
        }
        let keeping = spawn_local(Rc::clone(self).keep_running());
        drop(spawn_local(Rc::clone(self).grant_wishes()));
        let begun = time::now();
        for event in &plan.events {
            sleep_until((begun + event.at).into()).await;
            if self.judge.has_enough() {
                return;
            }
            self.judge.note(format!("{:?}", event.what));
            self.happens(&event.what);
        }
        sleep_until((begun + plan.lasts).into()).await;
        self.calm(plan).await;
        self.rush(plan.seed).await;
        self.probe().await;
        if self.bridge.is_some() {
            self.probe_the_bridge().await;
            self.without_a_broker().await;
        }
        if self.has_orders {
            self.probe_the_actions().await;
        }
        self.probe_the_identity().await;
        self.darkness().await;
        self.rest().await;
        self.end(keeping).await;
        let quarantine = self.disk.rows_of("quarantine");
        self.network.with_cloud(|cloud| {
            self.judge.at_the_end(cloud, plan, &FORWARDS, &quarantine);
            if plan.refuses_nothing() {
                self.judge.order(cloud);
                // Of a disk that can't be read or is slow what is urgent may come late.
                if plan.keeps_the_disk() {
                    self.judge.urgent_first(cloud);
                }
            }
            self.judge.identity_at_the_end(cloud);
            self.judge.actions_at_the_end(cloud, &self.programs.runs(), plan.is_mqtt5);
            if let Some(bridge) = plan.bridge {
                self.brokers.with_server(|broker| {
                    self.judge.bridge_at_the_end((cloud, broker), plan, bridge, &quarantine);
                });
            }
        });
    }

    fn happens(self: &Rc<World>, what: &What) {
        self.is_disturbed_by(what);
        match what {
            What::Weather(weather, lasts) => {
                self.network.set_weather(weather.clone());
                self.undo(0, *lasts, |world| world.network.set_weather(Weather::default()));
            }
            What::Cloud(behaviour, lasts) => {
                if refuses_everything(behaviour) {
                    // On a connection that has taken something it would be each message's own refusal.
                    self.network.cut();
                }
                self.network.with_cloud(|cloud| cloud.set_behaviour((**behaviour).clone(), time::now()));
                self.undo(1, *lasts, World::mend_the_cloud);
            }
            What::Disk(behaviour, lasts) => {
                self.disk_behaves(behaviour);
                self.undo(2, *lasts, |world| world.disk_behaves(&simulated::Behaviour::default()));
            }
            What::StoreEnds => self.with_process(|_| {
                self.disk.end();
                self.store_has_ended.set(true);
            }),
            What::Cut => self.network.cut(),
            What::AddressChanges => self.network.change_address(),
            What::Kill(turns, off) => {
                self.off.set(*off);
                self.with_process(|process| process.kill_after(*turns));
            }
            What::PowerCut { off, in_1970 } => self.cut_power(*off, *in_1970),
            What::Stop(off) => {
                self.off.set(*off);
                self.with_process(|process| process.signal(nix::libc::SIGTERM));
            }
            What::Reload(number) => {
                self.configure(*number);
                self.with_process(|process| process.signal(nix::libc::SIGHUP));
            }
            What::SetClock(by) => {
                let wall = time::wall().saturating_add(SignedDuration::from_secs(*by)).unwrap_or(Timestamp::MAX);
                self.clocks.set_wall(wall);
            }
            What::Suspend(lasts) => self.clocks.suspend(*lasts),
            What::Publish(publishes) => {
                let seed = self.rng.borrow_mut().u64(..);
                drop(spawn_local(clients::publish(self.local.clone(), publishes.clone(), seed)));
            }
            What::Read(reads) => drop(spawn_local(clients::read(self.local.clone(), reads.clone()))),
            What::Downlink { count, every, qos, size } => {
                drop(spawn_local(Rc::clone(self).publish_each(*count, *every, (*qos, *size))));
            }
            What::Local(what) => self.happens_locally(what),
            What::Order(order) => self.is_ordered(order),
            What::Identity(what) => self.is_identified(what),
            What::AskStatus => drop(spawn_local(Rc::clone(self).ask_status())),
        }
    }

    fn with_process(&self, work: impl FnOnce(&Process)) {
        if let Some(process) = &*self.process.borrow() {
            work(process);
        }
    }

    async fn publish_each(self: Rc<World>, count: u32, every: Duration, (qos, size): (u8, usize)) {
        for _ in 0..count {
            self.publish(qos, size);
            sleep(every).await;
        }
    }

    /// Another device publishes something for the daemon.
    fn publish(&self, qos: u8, size: usize) {
        let number = self.judge.number();
        let branch = ["down/a/x", "down/b", "down/c/d/e"][self.rng.borrow_mut().usize(..3)];
        let payload = format!("{{\"n\":{number},\"x\":\"{}\"}}", "y".repeat(size)).into();
        let message = Downlink { topic: branch.to_owned(), payload, qos, ..Downlink::default() };
        self.network.with_cloud(|cloud| cloud.publish(message, time::now()));
    }

    fn mend_the_cloud(&self) {
        self.network.with_cloud(|cloud| cloud.set_behaviour(ideal(), time::now()));
    }

    async fn ask_status(self: Rc<World>) {
        let _ = self.status().await;
    }

    /// The status document, if there is a daemon.
    async fn status(&self) -> Option<serde_json::Value> {
        let asked = async {
            let mut stream = UnixStream::connect(self.directory.path().join("status.sock")).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        // Where there is no daemon, or it is killed meanwhile, there is no answer.
        let answer = timeout(Duration::from_secs(60), asked).await.ok()?.ok().filter(|answer| !answer.is_empty())?;
        let status = serde_json::from_slice(&answer).ok();
        if status.is_none() {
            self.judge.violated(format!("a status that isn't JSON: {}", String::from_utf8_lossy(&answer)));
        }
        status
    }
}
