//! Rules that come and go with the configuration, and their queues in the store.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use super::Bridge;
use super::down::DownRule;
use super::up::{self, UpRule};
use crate::config;
use crate::message::TopicFilter;
use crate::store::{QueueState, Store, keeper};

/// The names of the queues that a bridge has in the store. In a rule that holds nothing back something may be left of the time when
/// it did.
pub(crate) fn queues(bridge: &config::Bridge) -> Vec<String> {
    let up = (0..bridge.up.len()).map(|index| up_queue(bridge, index));
    up.chain((0..bridge.down.len()).map(|index| down_queue(bridge, index))).collect()
}

/// The queue of a rule, by its filter: the order of rules may change. No forward has such a name.
fn up_queue(bridge: &config::Bridge, index: usize) -> String {
    named(&bridge.name, "up", bridge.up.iter().map(|rule| &rule.from), index)
}

fn down_queue(bridge: &config::Bridge, index: usize) -> String {
    named(&bridge.name, "down", bridge.down.iter().map(|rule| &rule.from), index)
}

/// Several rules may have the same filter.
fn named<'a>(bridge: &str, way: &str, filters: impl Iterator<Item = &'a TopicFilter>, index: usize) -> String {
    let filters: Vec<&TopicFilter> = filters.take(index + 1).collect();
    let filter = filters[index];
    match filters.iter().filter(|other| **other == filter).count() {
        1 => format!("bridge {bridge} {way} {filter}"),
        nth => format!("bridge {bridge} {way} {filter} ({nth})"),
    }
}

/// Keeps on the disk what waits in a rule, for ever.
type Keeper = Box<dyn FnOnce(Rc<Store>) -> Pin<Box<dyn Future<Output = ()>>>>;

/// Completes when all that waits in a rule is on the disk, and says how much that is.
pub(crate) type Left = Pin<Box<dyn Future<Output = u64>>>;

/// What comes and goes with another configuration.
#[derive(Default)]
pub(crate) struct Changes {
    /// Of rules that are new, by the names of their queues.
    pub(crate) keepers: Vec<(String, Keeper)>,
    /// Likewise of rules that aren't there any more.
    pub(crate) leaving: Vec<(String, Left)>,
}

impl Bridge {
    pub(super) fn apply_up(
        self: &Rc<Self>,
        config: &config::Bridge,
        places: &mut BTreeMap<String, QueueState>,
        changes: &mut Changes,
    ) {
        let (me, mut old) = (Rc::downgrade(self), self.up.take());
        for (index, rule) in config.up.iter().enumerate() {
            let name = up_queue(config, index);
            let rule = match old.iter().position(|old| old.can_become(&name, rule)) {
                Some(index) => {
                    old[index].reconfigure(rule);
                    old.remove(index)
                }
                None => {
                    let place = places.remove(&name).unwrap_or_default();
                    let place = Some(place).filter(|place| up::holds(rule) || place.stored.messages > 0);
                    let rule = UpRule::new(&me, &name, rule, place);
                    if rule.has_disk() {
                        let kept = Rc::clone(&rule);
                        changes.keepers.push((name, Box::new(|store| Box::pin(keeper::keep(kept, store)))));
                    }
                    rule
                }
            };
            self.up.borrow_mut().push(rule);
        }
        changes.leaving.extend(old.into_iter().filter(|rule| rule.has_disk()).map(leave_up));
    }

    pub(super) fn apply_down(
        self: &Rc<Self>,
        config: &config::Bridge,
        spill_after: Duration,
        places: &mut BTreeMap<String, QueueState>,
        changes: &mut Changes,
    ) {
        let (me, mut old) = (Rc::downgrade(self), self.down.take());
        for (index, rule) in config.down.iter().enumerate() {
            let name = down_queue(config, index);
            let rule = match old.iter().position(|old| old.can_become(&name)) {
                Some(index) => {
                    old[index].reconfigure(rule, spill_after);
                    old.remove(index)
                }
                None => {
                    let place = places.remove(&name).unwrap_or_default();
                    let rule = DownRule::new(&me, &name, &self.acks, rule, spill_after, place);
                    let kept = Rc::clone(&rule);
                    changes.keepers.push((name, Box::new(|store| Box::pin(keeper::keep(kept, store)))));
                    rule
                }
            };
            self.down.borrow_mut().push(rule);
        }
        changes.leaving.extend(old.into_iter().map(leave_down));
    }

    /// All of its rules go.
    pub(crate) fn leave(&self) -> Vec<(String, Left)> {
        let up = self.up.borrow().iter().filter(|rule| rule.has_disk()).cloned().map(leave_up).collect::<Vec<_>>();
        up.into_iter().chain(self.down.borrow().iter().cloned().map(leave_down)).collect()
    }
}

fn leave_up(rule: Rc<UpRule>) -> (String, Left) {
    rule.stop();
    let name = rule.name().to_owned();
    let left = async move {
        rule.stored().await;
        rule.waiting()
    };
    (name, Box::pin(left))
}

fn leave_down(rule: Rc<DownRule>) -> (String, Left) {
    rule.stop();
    let name = rule.name().to_owned();
    let left = async move {
        rule.stored().await;
        rule.waiting()
    };
    (name, Box::pin(left))
}
