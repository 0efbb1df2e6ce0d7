//! What a bridge promises (docs/bridge.md), as far as both of its sides can tell.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Judge, number_in};
use crate::simulation::bridge::{Bridge, DOWN, Kind, STATUS_TOPIC, carried};
use crate::simulation::broker::{Broker, Published};
use crate::simulation::cloud::Cloud;
use crate::simulation::cloud::message::{Offered, Taken};
use crate::simulation::plan::Plan;
use crate::store::Row;

/// Another configuration counts after so long at the latest, if the daemon runs.
const TAKES_EFFECT: Duration = Duration::from_secs(60);

/// What was said of the bridge while the run went on.
#[derive(Default)]
pub(in crate::simulation) struct OfBridge {
    /// Since when the configuration has the rules that only some have, or hasn't.
    some: RefCell<Vec<(Instant, bool)>>,
}

impl OfBridge {
    pub(in crate::simulation) fn has_some(&self, has: bool, now: Instant) {
        self.some.borrow_mut().push((now, has));
    }

    /// Whether it certainly had them all the time between these.
    fn had_some(&self, from: Instant, to: Instant) -> bool {
        let some = self.some.borrow();
        let since = some.partition_point(|(at, _)| *at + TAKES_EFFECT <= from).saturating_sub(1);
        some[since.min(some.len())..].iter().take_while(|(at, _)| *at <= to).all(|(_, has)| *has)
    }
}

/// Both sides of a bridge at the end of a run.
struct Sides<'a> {
    judge: &'a Judge,
    cloud: &'a Cloud,
    broker: &'a Broker,
    plan: &'a Plan,
    bridge: Bridge,
    /// What devices have said, by number.
    published: BTreeMap<u64, Vec<&'a Published>>,
    /// What others have said at IoT Core for the rules down.
    commands: BTreeMap<u64, (usize, &'a Offered)>,
    /// What IoT Core has refused, whether or not it was set aside.
    refused: BTreeSet<u64>,
}

impl Judge {
    /// Everything has drained.
    pub(in crate::simulation) fn bridge_at_the_end(
        &self,
        (cloud, broker): (&Cloud, &Broker),
        plan: &Plan,
        bridge: Bridge,
        quarantine: &[Row],
    ) {
        let mut published: BTreeMap<u64, Vec<&Published>> = BTreeMap::new();
        for one in broker.published() {
            published.entry(number_in(&one.message.payload).unwrap_or(0)).or_default().push(one);
        }
        let commands = cloud.offered().iter().enumerate().filter(|(_, offered)| rule_of(offered).is_some());
        let commands =
            commands.map(|(place, offered)| (number_in(&offered.message.payload).unwrap_or(0), (place, offered)));
        let refused = cloud.refused().iter().flat_map(|payload| numbers_in(payload));
        let refused = refused.chain(quarantine.iter().flat_map(|row| numbers_in(&row.payload)));
        let refused = refused.map(|(number, _)| number).collect();
        let sides =
            Sides { judge: self, cloud, broker, plan, bridge, published, commands: commands.collect(), refused };
        let come_up = sides.come_up();
        sides.missing_up(&come_up);
        sides.order_up();
        let come_down = sides.come_down();
        sides.missing_down(&come_down);
        sides.order_down();
        for fault in broker.faults() {
            self.violated(format!("MQTT: {fault}"));
        }
        if broker.retained(STATUS_TOPIC) != Some(b"{\"state\":\"stopped\"}") {
            let state = broker.retained(STATUS_TOPIC).map(String::from_utf8_lossy);
            self.violated(format!("after the end {STATUS_TOPIC} says {state:?}"));
        }
    }
}

impl Sides<'_> {
    fn come_from_the_bridge(&self) -> impl Iterator<Item = &Taken> {
        self.cloud.taken().iter().filter(|taken| taken.topic.starts_with("gw/"))
    }

    /// Which numbers have come to IoT Core, each of them said by a device, and no more often than there is a reason.
    fn come_up(&self) -> BTreeSet<u64> {
        let mut as_new = BTreeMap::new();
        let mut come = BTreeSet::new();
        for taken in self.come_from_the_bridge() {
            let numbers = numbers_in(&taken.payload);
            if numbers.is_empty() {
                self.judge.violated(format!("at IoT Core {} has something that nobody has said", taken.topic));
            }
            for (number, payload) in numbers {
                let said = self.published.get(&number).map_or(&[][..], Vec::as_slice);
                let origin = said.iter().find(|one| {
                    let made = carried(&one.message.topic, one.message.payload.len());
                    made.is_some_and(|(_, topic)| topic == taken.topic) && one.message.payload == payload
                });
                let is_right = origin.is_some_and(|one| {
                    let is_retained = one.message.retain && one.message.topic.starts_with("keep/");
                    taken.qos == 1 && (!taken.retain || is_retained)
                });
                if !is_right {
                    let (qos, retain) = (taken.qos, taken.retain);
                    self.judge.violated(format!(
                        "{number} to {} (QoS {qos}, retain {retain}) at IoT Core is from no device",
                        taken.topic
                    ));
                }
                come.insert(number);
                if !taken.dup {
                    *as_new.entry((taken.connection, number)).or_insert(0) += 1;
                }
            }
        }
        for ((connection, number), times) in as_new {
            let said = self.published.get(&number).map_or(&[][..], Vec::as_slice);
            let sent: usize = said.iter().map(|one| one.sent).sum();
            if times > sent.max(1) {
                self.judge.violated(format!(
                    "{number} came up {times} times as new on {connection}, and the local broker has sent it {sent} times"
                ));
            }
        }
        come
    }

    /// What gatewire has acknowledged to the local broker has come, unless its rule says otherwise.
    fn missing_up(&self, come: &BTreeSet<u64>) {
        if self.plan.kinds.wild || self.plan.kinds.closes {
            // What a connection ends for, again and again, is given up: nobody can tell.
            return;
        }
        let mut newest: BTreeMap<&str, &Published> = BTreeMap::new();
        let mut in_order: Vec<&Published> = self.broker.published().iter().filter(|one| one.order.is_some()).collect();
        in_order.sort_by_key(|one| one.order);
        for one in in_order {
            let (topic, payload) = (&one.message.topic, &one.message.payload);
            let Some((kind, _)) = carried(topic, payload.len()) else { continue };
            if kind == Kind::Every {
                newest.insert(topic, one);
                continue;
            }
            let Some(at) = one.acknowledged_at else { continue };
            if kind != Kind::Batch || self.judge.bridge.had_some(one.at, at) {
                self.must_have_come(one, come);
            }
        }
        newest.values().filter(|one| one.acknowledged_at.is_some()).for_each(|one| self.must_have_come(one, come));
    }

    fn must_have_come(&self, one: &Published, come: &BTreeSet<u64>) {
        let number = number_in(&one.message.payload).unwrap_or(0);
        if !come.contains(&number) && !self.refused.contains(&number) {
            let topic = &one.message.topic;
            self.judge.violated(format!("{number} to {topic} was acknowledged to the local broker, and never came up"));
        }
    }

    /// Each rule keeps its order, those that hold back messages that of each topic.
    fn order_up(&self) {
        if !self.plan.refuses_nothing() {
            return;
        }
        let (mut last, mut seen): (BTreeMap<(Kind, &str), u64>, _) = (BTreeMap::new(), BTreeSet::new());
        for taken in self.come_from_the_bridge() {
            for (number, _) in numbers_in(&taken.payload) {
                let Some(one) = self.published.get(&number).and_then(|said| said.first()) else { continue };
                // What is retained comes again, in its turn, for a new subscription.
                let is_again = one.message.retain && one.sent > 1;
                if !seen.insert(number) || one.message.qos == 0 || is_again {
                    continue;
                }
                let Some((kind, _)) = carried(&one.message.topic, one.message.payload.len()) else { continue };
                let of = if matches!(kind, Kind::Every | Kind::Batch) { one.message.topic.as_str() } else { "" };
                let order = one.order.unwrap_or(0);
                let before = last.insert((kind, of), order).unwrap_or(0);
                if before > order {
                    let topic = &one.message.topic;
                    self.judge.violated(format!("{number} to {topic} came up after one that was sent later"));
                }
            }
        }
    }

    fn come_from_the_cloud(&self) -> impl Iterator<Item = &Taken> {
        self.broker.taken().iter().filter(|taken| taken.topic != STATUS_TOPIC)
    }

    /// Likewise at the local broker.
    fn come_down(&self) -> BTreeSet<u64> {
        let (mut as_new, mut come) = (BTreeMap::new(), BTreeSet::new());
        for taken in self.come_from_the_cloud() {
            let number = number_in(&taken.payload).unwrap_or(0);
            let is_right = self.commands.get(&number).is_some_and(|(_, offered)| {
                rule_of(offered).is_some_and(|rule| DOWN[rule].1 == taken.topic)
                    && offered.message.payload == taken.payload
                    && taken.qos == 1
                    && !taken.retain
            });
            if !is_right {
                let topic = &taken.topic;
                self.judge.violated(format!("{number} to {topic} at the local broker was never said at IoT Core"));
            }
            come.insert(number);
            if !taken.dup {
                *as_new.entry((taken.connection, number)).or_insert(0) += 1;
            }
        }
        for ((connection, number), times) in as_new {
            let sent = self.commands.get(&number).map_or(0, |(_, offered)| offered.sent);
            if times > sent.max(1) {
                self.judge.violated(format!(
                    "{number} came down {times} times as new on the broker's {connection}, and IoT Core has sent it {sent} times"
                ));
            }
        }
        come
    }

    fn missing_down(&self, come: &BTreeSet<u64>) {
        for (number, (_, offered)) in &self.commands {
            let rule = rule_of(offered).unwrap_or(0);
            let Some(at) = offered.acknowledged_at.filter(|_| offered.is_acknowledged() && !come.contains(number))
            else {
                continue;
            };
            let payload = &offered.message.payload;
            let is_excused = match rule {
                // Its `keep` is soon full.
                1 => true,
                2 => !self.judge.bridge.had_some(offered.at, at),
                _ => false,
            } || self.broker.has_refused(payload)
                // What a connection ends for, again and again, is given up: nobody can tell.
                || self.bridge.closes
                || (self.bridge.limits && payload.len() > 128);
            if !is_excused {
                let topic = &offered.message.topic;
                self.judge.violated(format!("{number} to {topic} was acknowledged to IoT Core, and never came down"));
            }
        }
    }

    fn order_down(&self) {
        if !self.plan.refuses_nothing() || self.bridge.refuses || self.bridge.closes || self.bridge.limits {
            return;
        }
        let (mut last, mut seen) = ([0; DOWN.len()], BTreeSet::new());
        for taken in self.come_from_the_cloud() {
            let number = number_in(&taken.payload).unwrap_or(0);
            let Some((place, offered)) = self.commands.get(&number).filter(|(_, offered)| offered.owed > 0) else {
                continue;
            };
            let Some(rule) = rule_of(offered).filter(|_| seen.insert(number)) else { continue };
            if std::mem::replace(&mut last[rule], *place) > *place {
                let topic = &offered.message.topic;
                self.judge.violated(format!("{number} to {topic} came down after one that was said later"));
            }
        }
    }
}

/// The rule down that takes it.
fn rule_of(offered: &Offered) -> Option<usize> {
    DOWN.iter().position(|(topic, _)| *topic == offered.message.topic)
}

/// The messages that a payload holds: itself, or as an array.
pub(in crate::simulation) fn numbers_in(payload: &[u8]) -> Vec<(u64, Vec<u8>)> {
    if let Some(number) = number_in(payload) {
        return vec![(number, payload.to_vec())];
    }
    let Ok(elements) = serde_json::from_slice::<Vec<Value>>(payload) else { return Vec::new() };
    let one = |element: Value| Some((element["n"].as_u64()?, element.to_string().into_bytes()));
    elements.into_iter().filter_map(one).collect()
}
