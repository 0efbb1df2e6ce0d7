//! The daemon as a process: started, told, and killed wherever it is.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tokio_stream::Stream;

use super::broker::Broker;
use super::identity::SimulatedPlatform;
use super::network::SimulatedNetwork;
use super::programs::ProgramTable;
use crate::blocking::NoThread;
use crate::cli::run::readings;
use crate::config::{self, Environment};
use crate::daemon::{self, DaemonError, Machine, Readings, ReloadAnswer, ReloadRefused};
use crate::executions::programs::Programs;
use crate::identity::{self, Platform};
use crate::net::credentials;
use crate::socket::Inherited;
use crate::store::simulated::SimulatedDisk;
use crate::systemd::Notifier;
use crate::time;

/// So many turns without any time passing are one that never ends.
const MAX_TURNS_AT_ONCE: u64 = 300_000;

/// What the daemon runs on.
#[derive(Clone)]
struct SimulatedMachine {
    network: SimulatedNetwork,
    brokers: SimulatedNetwork<Broker>,
    disk: SimulatedDisk,
    programs: ProgramTable,
    /// What it makes its identity on, if it does.
    identity: Option<SimulatedPlatform>,
    /// The process is.
    is_killed: Rc<Cell<bool>>,
    config: PathBuf,
}

impl Machine for SimulatedMachine {
    type Network = SimulatedNetwork;
    type Brokers = SimulatedNetwork<Broker>;
    type Disk = SimulatedDisk;

    fn network(&self) -> SimulatedNetwork {
        self.network.clone()
    }

    fn brokers(&self) -> SimulatedNetwork<Broker> {
        self.brokers.clone()
    }

    fn programs(&self) -> Rc<dyn Programs> {
        self.programs.of_process(&self.is_killed)
    }

    fn disk(&self) -> &SimulatedDisk {
        &self.disk
    }

    fn platform(&self) -> Arc<dyn Platform> {
        match &self.identity {
            Some(platform) => Arc::new(platform.clone()),
            None => identity::this_machine(),
        }
    }

    fn read(&self, tell: oneshot::Sender<ReloadAnswer>) -> Result<Option<JoinHandle<()>>, NoThread> {
        let machine = self.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(Duration::from_millis(3)).await;
            let _ = tell.send(read(&machine));
        });
        Ok(None)
    }
}

fn read(machine: &SimulatedMachine) -> ReloadAnswer {
    let path = &machine.config;
    let refused = |errors: Vec<String>| ReloadRefused { errors, ..ReloadRefused::default() };
    let environment = Environment::of_service();
    if let Some(platform) = &machine.identity {
        let state_directory = Some(platform.directory().display().to_string());
        return readings(path, &Environment { state_directory, ..environment }, &machine.platform());
    }
    let loaded = config::read(path, &environment)
        .map_err(|found| refused(found.errors.iter().map(ToString::to_string).collect()))?;
    let credentials = credentials::load(&loaded.config.tls, time::system());
    let credentials = credentials.map_err(|problems| refused(vec![problems.to_string()]))?;
    Ok(Readings { config: loaded.config, credentials: Some(credentials), identity: None, warnings: Vec::new() })
}

/// How a process has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// By itself: `Err` says why.
    Exited(Result<(), String>),
    Killed,
}

/// What is shared with who holds the process.
#[derive(Default)]
struct Control {
    /// So many turns are left to it.
    fuse: Cell<Option<u64>>,
    turns: Cell<u64>,
    waker: RefCell<Option<Waker>>,
    ended: RefCell<Option<Ended>>,
    result: RefCell<Option<Result<(), DaemonError>>>,
}

/// A running daemon.
pub(super) struct Process {
    control: Rc<Control>,
    signals: mpsc::UnboundedSender<i32>,
}

/// Polls the daemon, and nothing else does.
struct Turns {
    set: Option<LocalSet>,
    control: Rc<Control>,
    machine: SimulatedMachine,
    /// Turns since time has passed last.
    at_once: (Instant, u64),
}

impl Turns {
    fn kill(&mut self) -> Poll<()> {
        self.machine.disk.killed();
        self.machine.network.killed();
        self.machine.brokers.killed();
        self.machine.is_killed.set(true);
        drop(self.set.take());
        *self.control.ended.borrow_mut() = Some(Ended::Killed);
        Poll::Ready(())
    }
}

impl Future for Turns {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let now = time::now();
        self.at_once = if self.at_once.0 == now { (now, self.at_once.1 + 1) } else { (now, 1) };
        if self.at_once.1 >= MAX_TURNS_AT_ONCE {
            drop(self.set.take());
            *self.control.ended.borrow_mut() = Some(Ended::Exited(Err("it is busy, and no time passes".to_owned())));
            return Poll::Ready(());
        }
        self.control.turns.set(self.control.turns.get() + 1);
        self.control.waker.replace(Some(cx.waker().clone()));
        if let Some(left) = self.control.fuse.get() {
            if left == 0 {
                return self.kill();
            }
            self.control.fuse.set(Some(left - 1));
        }
        let polled = self.set.as_mut().map(|set| Pin::new(set).poll(cx));
        if self.machine.identity.as_ref().is_some_and(SimulatedPlatform::is_dead) {
            return self.kill();
        }
        if let Some(result) = self.control.result.take() {
            self.machine.disk.killed();
            drop(self.set.take());
            let result = result.map_err(|error| error.to_string());
            *self.control.ended.borrow_mut() = Some(Ended::Exited(result));
            return Poll::Ready(());
        }
        match polled {
            Some(Poll::Pending) => Poll::Pending,
            // Its main task can't end without a result, but by a panic.
            _ => {
                *self.control.ended.borrow_mut() = Some(Ended::Exited(Err("the main task has panicked".to_owned())));
                Poll::Ready(())
            }
        }
    }
}

/// Signals as the daemon hears them.
struct Signals(mpsc::UnboundedReceiver<i32>);

impl Stream for Signals {
    type Item = i32;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<i32>> {
        self.0.poll_recv(cx)
    }
}

impl Process {
    /// Starts it with the configuration at `config`.
    pub(super) fn start(
        network: &SimulatedNetwork,
        brokers: &SimulatedNetwork<Broker>,
        (disk, programs, identity): (&SimulatedDisk, &ProgramTable, Option<&SimulatedPlatform>),
        config: &Path,
    ) -> Process {
        let machine = SimulatedMachine {
            network: network.clone(),
            brokers: brokers.clone(),
            disk: disk.clone(),
            programs: programs.clone(),
            identity: identity.cloned(),
            is_killed: Rc::default(),
            config: config.to_owned(),
        };
        let (signals, heard) = mpsc::unbounded_channel();
        let (control, set): (Rc<Control>, LocalSet) = Default::default();
        let (main, of_main) = (Rc::clone(&control), machine.clone());
        set.spawn_local(async move {
            let result = run(&of_main, Signals(heard)).await;
            *main.result.borrow_mut() = Some(result);
            // The process ends in this turn.
            poll_fn::<(), _>(|_| Poll::Pending).await;
        });
        let turns = Turns { set: Some(set), control: Rc::clone(&control), machine, at_once: (time::now(), 0) };
        tokio::task::spawn_local(turns);
        Process { control, signals }
    }

    pub(super) fn signal(&self, signal: i32) {
        let _ = self.signals.send(signal);
    }

    /// It is killed after so many turns: if it has nothing to do, when it has.
    pub(super) fn kill_after(&self, turns: u64) {
        self.control.fuse.set(Some(turns));
        if turns == 0 {
            self.control.waker.take().into_iter().for_each(Waker::wake);
        }
    }

    pub(super) fn ended(&self) -> Option<Ended> {
        self.control.ended.borrow().clone()
    }

    pub(super) fn turns(&self) -> u64 {
        self.control.turns.get()
    }
}

async fn run(machine: &SimulatedMachine, signals: Signals) -> Result<(), DaemonError> {
    let readings = read(machine).map_err(DaemonError::Refused)?;
    let notifier = Rc::new(Notifier::from_environment(time::now()));
    daemon::serve(&readings, Inherited::default(), (signals, notifier), machine).await
}
