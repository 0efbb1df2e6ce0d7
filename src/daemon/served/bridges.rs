//! The bridges: what of them comes and goes with the configuration.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinHandle, spawn_local};
use tokio::time::timeout;

use super::Served;
use crate::bridge::local::{Local, LocalStatus, Upstream};
use crate::bridge::{self, Bridge, BridgeStatus, Changes, Left, Surroundings};
use crate::config::{self, Config};
use crate::net::Brokers;
use crate::stop::Stop;
use crate::store::{QueueState, Store};

/// For a broker to hear that we go.
const GOODBYE: Duration = Duration::from_secs(1);

/// All of them.
#[derive(Default)]
pub(in crate::daemon) struct Bridges {
    all: RefCell<Vec<Running>>,
    connect: OnceCell<Connect>,
    /// Queues that have a keeper.
    keepers: RefCell<BTreeMap<String, AbortHandle>>,
    /// Those whose connections have ended with the daemon: what waits in them goes to the disk.
    ended: RefCell<Vec<Rc<Bridge>>>,
    /// Queues of rules that were removed, and go when all of theirs is stored.
    leaving: Rc<RefCell<BTreeSet<String>>>,
}

/// Makes a bridge's connection to its local broker.
type Connect = Box<dyn Fn(&Rc<Bridge>, &config::Bridge, &Rc<Stop>) -> Rc<dyn LocalConnection>>;

/// Whatever the broker is reached through.
trait LocalConnection {
    fn reconfigure(&self, config: &config::Bridge);

    fn remove(&self);

    fn status(&self) -> LocalStatus;

    fn run(self: Rc<Self>) -> Pin<Box<dyn Future<Output = ()>>>;
}

impl<N: Brokers> LocalConnection for Local<N, Bridge> {
    fn reconfigure(&self, config: &config::Bridge) {
        self.reconfigure(config);
    }

    fn remove(&self) {
        self.remove();
    }

    fn status(&self) -> LocalStatus {
        self.state().status()
    }

    fn run(self: Rc<Self>) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move { (*self).run().await })
    }
}

/// A bridge and its tasks.
struct Running {
    bridge: Rc<Bridge>,
    connection: Rc<dyn LocalConnection>,
    /// Of the connection.
    stop: Rc<Stop>,
    connected: JoinHandle<()>,
    tasks: Vec<AbortHandle>,
}

impl Bridges {
    /// Local brokers are reached through `brokers`, and told of `upstream`. To be called before [`Bridges::apply`].
    pub(in crate::daemon) fn reach<N: Brokers + Clone>(&self, brokers: N, upstream: Upstream, store: &Rc<Store>) {
        let store = Rc::clone(store);
        let connect: Connect = Box::new(move |bridge, config, stop| {
            let (bridge, stop, store) = (Rc::clone(bridge), Rc::clone(stop), Rc::clone(&store));
            Rc::new(Local::new(brokers.clone(), bridge, config, upstream.clone(), stop, store))
        });
        let _ = self.connect.set(connect);
    }

    pub(in crate::daemon) fn status(&self) -> Vec<BridgeStatus> {
        let all = self.all.borrow();
        all.iter().map(|running| running.bridge.status(running.connection.status())).collect()
    }

    /// Has what waits in the rules put on the disk. Their connections are still there, and tell the brokers.
    pub(in crate::daemon) async fn store(&self) {
        let all = self.all();
        all.iter().for_each(|bridge| bridge.stop());
        for bridge in all {
            bridge.stored_or_given_up().await;
        }
    }

    /// Says goodbye to the local brokers, which takes a second at most.
    pub(in crate::daemon) async fn disconnect(&self) {
        let mut connected = Vec::new();
        for running in self.all.take() {
            running.stop.request();
            running.tasks.iter().for_each(AbortHandle::abort);
            connected.push(running.connected);
            self.ended.borrow_mut().push(running.bridge);
        }
        let _ = timeout(GOODBYE, async {
            for connected in connected {
                // It has ended, or failed before.
                let _ = connected.await;
            }
        })
        .await;
    }

    pub(in crate::daemon) fn all(&self) -> Vec<Rc<Bridge>> {
        let (all, ended) = (self.all.borrow(), self.ended.borrow());
        all.iter().map(|running| &running.bridge).chain(ended.iter()).cloned().collect()
    }

    /// Whether a queue is in use.
    pub(super) fn has(&self, queue: &str) -> bool {
        self.keepers.borrow().contains_key(queue)
    }

    /// Whether a queue is about to go.
    pub(super) fn is_leaving(&self, queue: &str) -> bool {
        self.leaving.borrow().contains(queue)
    }

    /// Makes the bridges as the configuration says; `places` are those of queues that are new.
    pub(super) fn apply(&self, config: &Config, places: &mut BTreeMap<String, QueueState>, served: &Served) {
        let around = Surroundings { protocol: config.connection.protocol, spill_after: config.outbox.spill_after };
        let mut old = self.all.take();
        for wanted in config.bridges() {
            let running = old.iter().position(|old| old.bridge.name() == wanted.name);
            let running = running.map(|index| old.swap_remove(index));
            let bridge = running.as_ref().map_or_else(
                || Bridge::new(wanted, &served.outbox, &served.acks),
                |running| Rc::clone(&running.bridge),
            );
            let changes = bridge.reconfigure(wanted, around, places);
            self.carry_out(changes, served);
            let running = match running {
                Some(running) => {
                    running.connection.reconfigure(wanted);
                    Some(running)
                }
                None => self.begin(bridge, wanted, served),
            };
            self.all.borrow_mut().extend(running);
        }
        old.into_iter().for_each(|running| self.let_go(running, served));
    }

    /// `None`: nobody has said how brokers are reached.
    fn begin(&self, bridge: Rc<Bridge>, config: &config::Bridge, served: &Served) -> Option<Running> {
        let (supervisor, stop) = (&served.supervisor, Rc::new(Stop::default()));
        let connection = self.connect.get()?(&bridge, config, &stop);
        let run = Rc::clone(&connection).run();
        let connected = supervisor.spawn_until("a bridge's connection", Rc::clone(&stop), run);
        let hand_over = Rc::clone(&bridge).hand_over_all(Rc::clone(&served.stop));
        let tasks = vec![
            supervisor.spawn("a bridge's way to the outbox", hand_over).abort_handle(),
            supervisor.spawn("a bridge's clock", Rc::clone(&bridge).keep_time()).abort_handle(),
        ];
        Some(Running { bridge, connection, stop, connected, tasks })
    }

    fn carry_out(&self, changes: Changes, served: &Served) {
        for (name, keeper) in changes.keepers {
            let keeper = keeper(Rc::clone(&served.store));
            let keeper = served.supervisor.spawn("what keeps messages on the disk", keeper);
            self.keepers.borrow_mut().insert(name, keeper.abort_handle());
        }
        self.leave(changes.leaving, async {}, &served.store);
    }

    /// A bridge isn't configured any more: what its broker has been given may still be acknowledged, and what waits stays on the disk.
    fn let_go(&self, running: Running, served: &Served) {
        let Running { bridge, connection, stop, connected, tasks } = running;
        connection.remove();
        stop.request();
        tasks.iter().for_each(AbortHandle::abort);
        bridge.stop();
        // It has ended, or failed before.
        let disconnected = async move { drop(connected.await) };
        self.leave(bridge.leave(), disconnected, &served.store);
    }

    /// After `before`, queues go once all that waits in them is on the disk.
    fn leave(&self, queues: Vec<(String, Left)>, before: impl Future<Output = ()> + 'static, store: &Rc<Store>) {
        let mut keepers = Vec::new();
        for (name, _) in &queues {
            keepers.push(self.keepers.borrow_mut().remove(name));
            self.leaving.borrow_mut().insert(name.clone());
        }
        let (leaving, store) = (Rc::clone(&self.leaving), Rc::clone(store));
        spawn_local(async move {
            before.await;
            for ((name, left), keeper) in queues.into_iter().zip(keepers) {
                store.say_unwanted(&name, left.await);
                if let Some(keeper) = keeper {
                    keeper.abort();
                }
                leaving.borrow_mut().remove(&name);
            }
        });
    }
}

/// The names of all queues that there should be in the store.
pub(in crate::daemon) fn queues(config: &Config) -> Vec<String> {
    let forwards = config.forward.iter().map(|forward| forward.name.clone());
    forwards.chain(config.bridge.iter().flat_map(bridge::queues)).collect()
}
