//! The forwards that are served: what comes and goes with the configuration.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;

use super::Served;
use crate::config::{self, Config};
use crate::forward::Forward;
use crate::store::QueueState;

impl Served {
    /// Everything that waits for a reader is put on the disk from now on.
    pub(in crate::daemon) fn stop_forwards(&self) {
        self.forwards.borrow().iter().for_each(|forward| forward.stop());
        self.bridges.all().iter().for_each(|bridge| bridge.stop());
    }

    pub(in crate::daemon) fn forwards(&self) -> Vec<Rc<Forward>> {
        self.forwards.borrow().clone()
    }

    pub(super) fn apply_forwards(&self, config: &Config, places: &mut BTreeMap<String, QueueState>) {
        let spill_after = config.outbox.spill_after;
        let mut old = self.forwards.take();
        let forwards = config.forward.iter().map(|config| match old.iter().position(|old| old.name() == config.name) {
            Some(index) => {
                let forward = old.swap_remove(index);
                forward.reconfigure(config.clone(), spill_after);
                forward
            }
            None => {
                let place = places.remove(&config.name).unwrap_or_default();
                self.new_forward(config, spill_after, place)
            }
        });
        let forwards: Vec<Rc<Forward>> = forwards.collect();
        *self.forwards.borrow_mut() = forwards;
        old.into_iter().for_each(|forward| self.let_go(forward));
    }

    fn new_forward(&self, config: &config::Forward, spill_after: Duration, place: QueueState) -> Rc<Forward> {
        let forward =
            Forward::new(config.clone(), spill_after, Rc::clone(&self.acks), place, Rc::clone(&self.requests));
        let keeper = Rc::clone(&forward).keep(Rc::clone(&self.store));
        let keeper = self.supervisor.spawn("what keeps messages on the disk", keeper);
        self.keepers.borrow_mut().insert(config.name.clone(), keeper.abort_handle());
        forward
    }

    /// A forward isn't configured any more: what waits for its readers stays on the disk.
    fn let_go(&self, forward: Rc<Forward>) {
        self.leaving.borrow_mut().push(Rc::downgrade(&forward));
        let keeper = self.keepers.borrow_mut().remove(forward.name());
        let store = Rc::clone(&self.store);
        spawn_local(async move {
            // What its readers weren't written waits once they are gone: then it is stored.
            forward.deserted().await;
            forward.stop();
            forward.stored().await;
            store.say_unwanted(forward.name(), forward.status().waiting);
            if let Some(keeper) = keeper {
                keeper.abort();
            }
        });
    }
}
