//! The bridges: what of them comes and goes with the configuration.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tokio::task::{AbortHandle, spawn_local};

use super::Services;
use crate::bridge::{self, Bridge, Changes, Surroundings};
use crate::config::Config;
use crate::store::QueueState;

/// All of them.
#[derive(Default)]
pub(in crate::daemon) struct Bridges {
    all: RefCell<Vec<Running>>,
    /// Queues that have a keeper.
    keepers: RefCell<BTreeMap<String, AbortHandle>>,
    /// Queues of rules that were removed, and go when all of theirs is stored.
    leaving: Rc<RefCell<BTreeSet<String>>>,
}

/// A bridge and its tasks.
struct Running {
    bridge: Rc<Bridge>,
    tasks: Vec<AbortHandle>,
}

impl Bridges {
    pub(in crate::daemon) fn all(&self) -> Vec<Rc<Bridge>> {
        self.all.borrow().iter().map(|running| Rc::clone(&running.bridge)).collect()
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
    pub(super) fn apply(&self, config: &Config, places: &mut BTreeMap<String, QueueState>, services: &Services) {
        let around = Surroundings { protocol: config.connection.protocol, spill_after: config.outbox.spill_after };
        let mut old = self.all.take();
        for wanted in &config.bridge {
            let running = match old.iter().position(|old| old.bridge.name() == wanted.name) {
                Some(index) => old.swap_remove(index),
                None => self.begin(wanted, services),
            };
            let changes = running.bridge.reconfigure(wanted, around, places, &services.store);
            self.carry_out(changes, services);
            self.all.borrow_mut().push(running);
        }
        for Running { bridge, tasks } in old {
            tasks.iter().for_each(AbortHandle::abort);
            let nothing = crate::config::Bridge { up: Vec::new(), down: Vec::new(), ..(*bridge.rules()).clone() };
            let changes = bridge.reconfigure(&nothing, around, places, &services.store);
            self.carry_out(changes, services);
        }
    }

    fn begin(&self, config: &crate::config::Bridge, services: &Services) -> Running {
        let bridge = Bridge::new(config, &services.outbox, &services.acks);
        let supervisor = &services.supervisor;
        let hand_over = Rc::clone(&bridge).hand_over_all(Rc::clone(&services.stop));
        let tasks = [
            supervisor.spawn("a bridge's way to the outbox", hand_over).abort_handle(),
            supervisor.spawn("a bridge's clock", Rc::clone(&bridge).keep_time()).abort_handle(),
        ];
        Running { bridge, tasks: tasks.into() }
    }

    fn carry_out(&self, changes: Changes, services: &Services) {
        for (name, keeper) in changes.keepers {
            let keeper = services.supervisor.spawn("what keeps messages on the disk", keeper);
            self.keepers.borrow_mut().insert(name, keeper.abort_handle());
        }
        for (name, stored) in changes.leaving {
            let keeper = self.keepers.borrow_mut().remove(&name);
            let leaving = Rc::clone(&self.leaving);
            leaving.borrow_mut().insert(name.clone());
            spawn_local(async move {
                stored.await;
                if let Some(keeper) = keeper {
                    keeper.abort();
                }
                leaving.borrow_mut().remove(&name);
            });
        }
    }
}

/// The names of all queues that there should be in the store.
pub(in crate::daemon) fn queues(config: &Config) -> Vec<String> {
    let forwards = config.forward.iter().map(|forward| forward.name.clone());
    forwards.chain(config.bridge.iter().flat_map(bridge::queues)).collect()
}
