//! The sockets and who serves them: what comes and goes with the configuration.

mod bridges;
mod forwards;
mod in_place;
mod metrics;
mod serving;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::task::{AbortHandle, JoinHandle};

use super::supervisor::Supervisor;
use crate::bridge;
use crate::config::{Config, SocketFile};
use crate::executions::Executions;
use crate::executions::programs::Programs;
use crate::forward::{Acks, Forward, Recipient, Requests};
use crate::inbox::Inbox;
use crate::ingest::Ingest;
use crate::link::state::LinkState;
use crate::outbox::Outbox;
use crate::socket::{Inherited, Listener, Seldom, SharedMemory, SocketError};
use crate::stop::Stop;
use crate::store::{QueueState, Store};
use crate::thing_services::ThingServices;
use bridges::Bridges;
pub(super) use bridges::queues;
use serving::{Server, Serving};

/// Why the sockets can't be as the configuration says.
#[derive(Debug, Error)]
pub(crate) enum ServedError {
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error("{0} was removed a moment ago, and its last messages aren't stored yet; reload again in a moment")]
    StillLeaving(String),
    #[error(
        "{name} is new, and the disk doesn't say within {} s what waits for it: it hangs or is busy; see \
        `dmesg`, and reload again",
        patience.as_secs()
    )]
    DiskSilent { name: String, patience: Duration },
}

impl ServedError {
    /// With the line of the configuration that it is about.
    pub(super) fn at_its_place(&self, config: &Config) -> String {
        match self {
            ServedError::Socket(error) => format!("{}{error}", config.places.of_socket(error.path())),
            ServedError::StillLeaving(_) | ServedError::DiskSilent { .. } => self.to_string(),
        }
    }
}

/// How long the disk may take for what is known of jobs and commands.
const LAST_RECORDS: Duration = Duration::from_secs(2);

type Listeners = BTreeMap<PathBuf, Rc<Listener>>;

/// All of them, and their neighbours.
pub(super) struct Served {
    pub(super) store: Rc<Store>,
    pub(super) outbox: Rc<Outbox>,
    pub(super) inbox: Rc<Inbox>,
    pub(super) acks: Rc<Acks>,
    pub(super) services: Rc<ThingServices>,
    pub(super) executions: Rc<Executions>,
    /// What does jobs and commands, while there are any.
    executing: RefCell<Option<JoinHandle<()>>>,
    pub(super) stop: Rc<Stop>,
    pub(super) supervisor: Rc<Supervisor>,
    forwards: RefCell<Vec<Rc<Forward>>>,
    /// Those that were removed, and go when all of theirs is stored.
    leaving: RefCell<Vec<Weak<Forward>>>,
    keepers: RefCell<BTreeMap<String, AbortHandle>>,
    ingests: RefCell<Vec<Rc<Ingest>>>,
    pub(super) bridges: Bridges,
    /// For those who follow it.
    pub(super) link: Rc<LinkState>,
    /// What serves the metrics at a TCP port.
    metrics: RefCell<Option<metrics::ServedMetrics>>,
    line_memory: Rc<SharedMemory>,
    inherited: Inherited,
    /// What readers ask to be subscribed to.
    pub(super) requests: Rc<Requests>,
    listeners: RefCell<Listeners>,
    serving: RefCell<BTreeMap<Server, Serving>>,
    /// In force.
    config: RefCell<Option<Rc<Config>>>,
    /// When to look whether the sockets are in place.
    retry_at: Cell<Option<Instant>>,
    /// When it was said last that one was made again, or can't be.
    made_again: Seldom,
    not_made: Seldom,
}

/// What a configuration needs and there isn't yet: nothing is changed by it.
pub(super) struct Prepared {
    listeners: Listeners,
    /// Of the forwards that are new.
    places: BTreeMap<String, QueueState>,
}

/// Gives sockets that are open their modes and groups; all of them or, with the reason, none.
fn give_access(kept: &[(&Rc<Listener>, &SocketFile)]) -> Result<(), SocketError> {
    let mut before = Vec::new();
    for (listener, socket) in kept {
        before.push((listener, listener.access()));
        if let Err(error) = listener.give_access(socket) {
            before.iter().for_each(|(listener, access)| listener.restore(access.as_ref()));
            return Err(error);
        }
    }
    Ok(())
}

impl Served {
    pub(super) fn new(
        config: &Config,
        link: Rc<LinkState>,
        store: Rc<Store>,
        stop: Rc<Stop>,
        inherited: Inherited,
        programs: Rc<dyn Programs>,
    ) -> Served {
        let acks: Rc<Acks> = Rc::default();
        let outbox = Outbox::new(&config.outbox, &config.connection.rate_limit, &store);
        let is_read = store.contents().borrow().generation > 0;
        let inbox = Inbox::new(Vec::new(), Rc::clone(&acks), is_read, fastrand::u64(..));
        let services = Rc::new(ThingServices::new(Rc::clone(&acks), fastrand::u64(..)));
        let executions = Executions::new(&services, &store, programs);
        Served {
            store,
            outbox,
            inbox,
            acks,
            services,
            executions,
            executing: RefCell::default(),
            stop,
            supervisor: Rc::default(),
            forwards: RefCell::default(),
            leaving: RefCell::default(),
            keepers: RefCell::default(),
            ingests: RefCell::default(),
            bridges: Bridges::default(),
            link,
            metrics: RefCell::default(),
            requests: Rc::default(),
            line_memory: Rc::default(),
            inherited,
            listeners: RefCell::default(),
            serving: RefCell::default(),
            config: RefCell::default(),
            retry_at: Cell::default(),
            made_again: Seldom::default(),
            not_made: Seldom::default(),
        }
    }

    pub(super) fn ingests(&self) -> Vec<Rc<Ingest>> {
        self.ingests.borrow().clone()
    }

    /// Opens every socket before any of them is served: a configuration that can't have them all is refused. So is one for which
    /// the disk doesn't answer within `patience`.
    pub(super) async fn prepare(&self, config: &Config, patience: Duration) -> Result<Prepared, ServedError> {
        self.leaving.borrow_mut().retain(|forward| forward.strong_count() > 0);
        let mut places = BTreeMap::new();
        for forward in &config.forward {
            if self.forwards.borrow().iter().any(|known| known.name() == forward.name) {
                continue;
            }
            let leaving =
                self.leaving.borrow().iter().filter_map(Weak::upgrade).any(|known| known.name() == forward.name);
            if leaving {
                return Err(ServedError::StillLeaving(format!("forward {}", forward.name)));
            }
            let place = tokio::time::timeout(patience, self.store.place(&forward.name)).await;
            let place =
                place.map_err(|_| ServedError::DiskSilent { name: format!("forward {}", forward.name), patience })?;
            places.insert(forward.name.clone(), place);
        }
        for name in config.bridges().flat_map(bridge::queues) {
            if self.bridges.has(&name) {
                continue;
            }
            if self.bridges.is_leaving(&name) {
                return Err(ServedError::StillLeaving(name));
            }
            let place = tokio::time::timeout(patience, self.store.place(&name)).await;
            let place = place.map_err(|_| ServedError::DiskSilent { name: name.clone(), patience })?;
            places.insert(name, place);
        }
        Ok(Prepared { listeners: self.open_sockets(config)?, places })
    }

    /// One that is open already gets its mode and group anew, once it is clear that all can be had; one whose file somebody has
    /// removed is made anew.
    fn open_sockets(&self, config: &Config) -> Result<Listeners, SocketError> {
        let present = self.listeners.borrow();
        let (mut listeners, mut kept) = (Listeners::new(), Vec::new());
        for socket in config.sockets() {
            let listener = match present.get(&socket.path) {
                Some(listener) if listener.is_in_place() => {
                    kept.push((listener, socket));
                    Rc::clone(listener)
                }
                _ => match self.inherited.get(&socket.path)? {
                    Some(listener) => listener,
                    None => {
                        present.values().try_for_each(|own| own.leave(&socket.path))?;
                        Rc::new(Listener::bind(socket)?)
                    }
                },
            };
            listeners.insert(socket.path.clone(), listener);
        }
        give_access(&kept)?;
        Ok(listeners)
    }

    /// The configuration in force.
    pub(super) fn in_force(&self) -> Option<Rc<Config>> {
        self.config.borrow().clone()
    }

    /// Makes everything as the configuration says. `document` is what the status socket answers.
    pub(super) async fn apply(&self, config: &Config, prepared: Prepared, document: Rc<dyn Fn() -> Vec<u8>>) {
        let Prepared { listeners, mut places } = prepared;
        // Before the forwards, which then have their readers told.
        self.requests.configure(config.spare_subscriptions, &config.forward);
        self.apply_forwards(config, &mut places);
        self.bridges.apply(config, &mut places, self);
        self.apply_executions(config, &document).await;
        self.tell_inbox(config);
        self.apply_ingests(config);
        let wanted = self.wanted(config, &document);
        let ended = self.end_others(&wanted, &listeners);
        for (service, (path, serve)) in wanted {
            let is_served = self.serving.borrow().contains_key(&service);
            if let Some(listener) = listeners.get(&path).filter(|_| !is_served) {
                let task = self.supervisor.spawn("what serves a socket", serve(Rc::clone(listener)));
                self.serving.borrow_mut().insert(service, Serving { path, task });
            }
        }
        for task in ended {
            // It was aborted, or had ended before.
            let _ = task.await;
        }
        self.apply_metrics(config, &document).await;
        *self.config.borrow_mut() = Some(Rc::new(config.clone()));
        // The sockets that nobody serves any more go, unless they are systemd's.
        *self.listeners.borrow_mut() = listeners;
        for path in self.inherited.unused() {
            log::warn!(
                GATEWIRE_EVENT = "socket_unit";
                "systemd listens at {} for gatewire, and nothing in the configuration has this path: programs that connect \
                there wait for ever. Remove it from the socket unit, or use it in a [[forward]] or an [[ingest]]",
                path.display()
            );
        }
    }

    /// What jobs and commands may have done.
    async fn apply_executions(&self, config: &Config, document: &Rc<dyn Fn() -> Vec<u8>>) {
        let begins_anew = self.executions.configure(config, Rc::clone(document));
        if begins_anew {
            self.executions.stop();
            self.executions_stored().await;
        }
        if !config.services().is_empty() && self.executing.borrow().is_none() {
            let stop = Rc::new(Stop::default());
            let run = Rc::clone(&self.executions).run(Rc::clone(&stop));
            let task = self.supervisor.spawn_until("what does jobs and commands", stop, run);
            *self.executing.borrow_mut() = Some(task);
        }
    }

    /// Completes when what is known of jobs and commands is on the disk, or, if the disk takes its time, after a while. They were told to
    /// end.
    pub(super) async fn executions_stored(&self) {
        let ended = self.executing.take();
        if let Some(mut ended) = ended {
            let patience = tokio::time::timeout(LAST_RECORDS, &mut ended);
            if patience.await.is_err() {
                ended.abort();
            }
        }
    }

    /// Who gets what IoT Core sends.
    fn tell_inbox(&self, config: &Config) {
        let forwards = self.forwards();
        let forwards = forwards.into_iter().map(|forward| forward as Rc<dyn Recipient>);
        let bridges = self.bridges.all().into_iter().map(|bridge| bridge as Rc<dyn Recipient>);
        let has_some = !(self.services.is_idle() && config.services_at_times().is_empty());
        let services = Some(&self.services).filter(|_| has_some);
        let services = services.map(|services| Rc::clone(services) as Rc<dyn Recipient>);
        self.inbox.set_recipients(forwards.chain(bridges).chain(services).collect());
    }

    fn apply_ingests(&self, config: &Config) {
        let protocol = config.connection.protocol;
        let old = self.ingests.take();
        let ingests = config.ingest.iter().map(|config| match old.iter().find(|old| old.can_become(config)) {
            Some(ingest) => {
                ingest.reconfigure(config.clone(), protocol);
                Rc::clone(ingest)
            }
            None => {
                // Its clients have to connect anew: what they are owed is said to them before.
                self.end(&Server::Ingest(config.name.clone()));
                let (outbox, stop) = (Rc::clone(&self.outbox), Rc::clone(&self.stop));
                Ingest::new(config.clone(), protocol, outbox, stop, Rc::clone(&self.line_memory))
            }
        });
        let ingests: Vec<Rc<Ingest>> = ingests.collect();
        for gone in old.iter().filter(|old| !ingests.iter().any(|ingest| Rc::ptr_eq(old, ingest))) {
            // What it has taken over goes out, though it isn't a whole batch.
            gone.flush();
        }
        *self.ingests.borrow_mut() = ingests;
    }

    fn end(&self, service: &Server) {
        if let Some(serving) = self.serving.borrow_mut().remove(service) {
            serving.task.abort();
        }
    }

    /// Ends the sockets, and what they hold of their clients.
    pub(super) async fn close(&self) {
        for (_, serving) in self.serving.take() {
            serving.task.abort();
            // It was aborted, or had ended before.
            let _ = serving.task.await;
        }
        self.end_metrics().await;
        self.listeners.take();
    }

    /// Completes when everything that waits for a reader is on the disk, or what isn't won't be.
    pub(super) async fn stored(&self) {
        let leaving: Vec<Rc<Forward>> = self.leaving.borrow().iter().filter_map(Weak::upgrade).collect();
        for forward in self.forwards().iter().chain(&leaving) {
            forward.stored_or_given_up().await;
        }
        for bridge in self.bridges.all() {
            bridge.stored_or_given_up().await;
        }
    }
}
