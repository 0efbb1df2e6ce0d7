//! Bridges: devices that speak MQTT to a broker on this gateway. gatewire is a client of that broker, and carries topics both
//! ways.
//!
//! [`rules`] (pure) says what becomes of a topic, [`carry`] (pure) what goes with it; [`local`] keeps the connection to the local
//! broker. [`up`] and [`down`] are the rules: what waits in them is decided in [`held`] (pure) and, as for a forward, in
//! [`Keep`](crate::forward::Keep). [`handing`] hands over to the outbox what comes from the local broker.

mod carry;
pub(crate) mod cause;
mod changes;
mod counters;
mod down;
mod handing;
mod held;
mod legs;
pub(crate) mod local;
pub(crate) mod mosquitto;
mod named;
pub(crate) mod rules;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod up;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::config;
use crate::forward::{Acks, Recipient};
use crate::mapping::Direction;
use crate::message::{AckToken, Condition, Inbound, Topic, TopicFilter};
use crate::mqtt::Protocol;
use crate::notify::LocalNotify;
use crate::outbox::Outbox;
use crate::socket::{Peer, Seldom};
use crate::stop::Stop;
use crate::store::QueueState;
use crate::time::{self, Timer};
use cause::Cause;
pub(crate) use changes::{Changes, Left, queues};
use counters::RuleStatus;
use down::DownRule;
use handing::{Handing, Origin};
use local::LocalStatus;
use named::Named;
use rules::Route;
use up::UpRule;

/// A `[[bridge]]`: its rules, and what is on its way.
#[derive(Debug)]
pub(crate) struct Bridge {
    name: String,
    rules: RefCell<Rc<config::Bridge>>,
    /// MQTT 3.1.1 to IoT Core has no properties.
    has_properties: Cell<bool>,
    up: RefCell<Vec<Rc<UpRule>>>,
    down: RefCell<Vec<Rc<DownRule>>>,
    handing: handing::Queue,
    /// What the local broker may be told of.
    local_acks: Acks,
    /// What IoT Core may be told of.
    acks: Rc<Acks>,
    outbox: Rc<Outbox>,
    /// Something for the local broker.
    something: LocalNotify,
    /// A rule has another time at which something is due.
    timed: LocalNotify,
    /// What the local broker closes the connection for, and what it says or does.
    refused: RefCell<Vec<(Condition, String)>>,
    named: Named,
    early: Seldom,
    unasked: Seldom,
}

/// One of the `bridge` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct BridgeStatus {
    #[serde(flatten)]
    local: LocalStatus,
    /// Where the local broker listens.
    broker: String,
    up: Vec<RuleStatus>,
    down: Vec<RuleStatus>,
}

/// What a bridge is made for, beside its own tables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings {
    /// Of the link to IoT Core.
    pub(crate) protocol: Protocol,
    /// `outbox.spill_after`
    pub(crate) spill_after: Duration,
}

impl Bridge {
    /// A bridge without rules; [`Bridge::reconfigure`] makes them. It reports to `acks` what IoT Core may be told of.
    pub(crate) fn new(config: &config::Bridge, outbox: &Rc<Outbox>, acks: &Rc<Acks>) -> Rc<Bridge> {
        Rc::new(Bridge {
            name: config.name.clone(),
            has_properties: Cell::new(true),
            up: RefCell::default(),
            down: RefCell::default(),
            rules: RefCell::new(Rc::new(config.clone())),
            handing: handing::Queue::default(),
            local_acks: Acks::default(),
            acks: Rc::clone(acks),
            outbox: Rc::clone(outbox),
            something: LocalNotify::default(),
            timed: LocalNotify::default(),
            refused: RefCell::default(),
            named: Named::default(),
            early: Seldom::default(),
            unasked: Seldom::default(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Goes on as another configuration says. What waits in a rule that isn't there any more stays on the disk.
    pub(crate) fn reconfigure(
        self: &Rc<Self>,
        config: &config::Bridge,
        around: Surroundings,
        places: &mut BTreeMap<String, QueueState>,
    ) -> Changes {
        let mut changes = Changes::default();
        self.has_properties.set(around.protocol == Protocol::Mqtt5);
        self.apply_up(config, places, &mut changes);
        self.apply_down(config, around.spill_after, places, &mut changes);
        self.rules.replace(Rc::new(config.clone()));
        self.refused.borrow_mut().clear();
        self.named.forget();
        self.timed.notify();
        self.something.notify();
        changes
    }

    /// Hands over to the outbox what comes from the local broker, until the daemon stops.
    pub(crate) async fn hand_over_all(self: Rc<Self>, stop: Rc<Stop>) {
        let source = self.outbox.source(self.outbox.socket_id(), Peer { uid: 0, pid: 0 });
        self.handing.run(&self.outbox, &source, &stop).await;
        stop.requested().await;
        std::future::pending().await
    }

    /// Does what is due in the rules, for ever.
    pub(crate) async fn keep_time(self: Rc<Self>) {
        let mut timer = Timer::default();
        loop {
            let rules = self.up.borrow().clone();
            rules.iter().for_each(|rule| rule.advance());
            timer.set(rules.iter().filter_map(|rule| rule.timeout()).min(), time::now());
            tokio::select! {
                biased;
                () = self.timed.notified() => {}
                () = timer.fired() => {}
            }
        }
    }

    /// Has everything that waits put on the disk, from now on at once.
    pub(crate) fn stop(&self) {
        self.up.borrow().iter().for_each(|rule| rule.stop());
        self.down.borrow().iter().for_each(|rule| rule.stop());
    }

    /// Completes when that is done, or when there is no use in trying again.
    pub(crate) async fn stored_or_given_up(&self) {
        let (up, down) = (self.up.borrow().clone(), self.down.borrow().clone());
        for rule in up {
            rule.stored_or_given_up().await;
        }
        for rule in down {
            rule.stored_or_given_up().await;
        }
    }

    /// What the status document says, with what the connection to the local broker is doing.
    pub(crate) fn status(&self, local: LocalStatus) -> BridgeStatus {
        self.outbox.count_given_up();
        let up = self.up.borrow();
        let up = up.iter().map(|rule| rule.status(self.handing.of(&(Rc::clone(rule) as Rc<dyn Origin>))));
        BridgeStatus {
            local,
            broker: self.rules.borrow().broker.to_string(),
            up: up.collect(),
            down: self.down.borrow().iter().map(|rule| rule.status()).collect(),
        }
    }

    /// Whether there was room for it.
    fn hand_over(&self, handing: Handing) -> bool {
        self.handing.push(handing).is_ok()
    }

    /// The local broker may be told that it is done.
    fn done(&self, token: AckToken) {
        self.local_acks.done(token);
    }

    fn something_for_the_local_broker(&self) {
        self.something.notify();
    }

    fn look_at_the_time(&self) {
        self.timed.notify();
    }

    fn name_left_out(&self, direction: Direction, cause: Cause, topic: &Topic, why: &str) {
        self.named.left_out(&self.name, direction, cause, topic, why);
    }

    /// The broker sends what no rule asks for (any more).
    fn came_unasked(&self, topic: &Topic) {
        if self.unasked.is_due(time::now()) {
            log::warn!(
                GATEWIRE_EVENT = "bridge_unasked", GATEWIRE_BRIDGE = self.name.as_str(), GATEWIRE_TOPIC = topic.as_str();
                "bridge {}: the broker has sent a message on `{topic}`, which `from` of no rule matches: its session still had a \
                 subscription of an earlier configuration. It goes nowhere. If such messages go on, another `client_id` for the bridge \
                 begins without them. Logged at most once a minute", self.name
            );
        }
    }

    fn went_early(&self, from: &TopicFilter) {
        if self.early.is_due(time::now()) {
            log::warn!(
                GATEWIRE_EVENT = "bridge_early", GATEWIRE_BRIDGE = self.name.as_str();
                "bridge {}: more waits in the rule from `{from}` than the 4 MiB that `every` and `batch` may hold back: what has waited \
                longest goes before its time, and nothing is lost. Logged at most once a minute", self.name
            );
        }
    }
}

impl Recipient for Bridge {
    fn wants(&self, topic: &Topic) -> bool {
        let rules = self.rules.borrow();
        rules.down.iter().any(|rule| rule.from.matches(topic))
    }

    fn deliver(&self, id: u64, message: &Inbound, token: Option<AckToken>) {
        let (index, outcome) = match rules::down(&self.rules.borrow(), &message.topic) {
            Route::To(index, topic) => {
                let properties = carry::properties(
                    message.properties.as_ref(),
                    &message.payload,
                    carry::is_local_topic,
                    time::now(),
                );
                (index, properties.map(|properties| Inbound { topic, properties, ..message.clone() }))
            }
            Route::Left(index, cause) => (index, Err(cause)),
            Route::Nowhere => return token.map_or((), |token| self.acks.done(token)),
        };
        let Some(rule) = self.down.borrow().get(index).cloned() else {
            return token.map_or((), |token| self.acks.done(token));
        };
        rule.counters().received();
        match outcome {
            Ok(message) => rule.take(id, &message.detached(), token),
            Err(cause) => {
                rule.counters().dropped(cause);
                self.name_left_out(Direction::Down, cause, &message.topic, why(cause));
                token.into_iter().for_each(|token| self.acks.done(token));
            }
        }
    }

    fn link_down(&self) {
        self.down.borrow().iter().for_each(|rule| rule.link_down());
    }

    fn hasten(&self, due: Instant) {
        self.down.borrow().iter().for_each(|rule| rule.hasten(due));
    }

    fn last_stored(&self) -> Option<u64> {
        self.down.borrow().iter().filter_map(|rule| rule.last_stored()).max()
    }
}

/// What a person can do.
pub(crate) fn why(cause: Cause) -> &'static str {
    match cause {
        Cause::TooLarge => {
            "it is too large: a payload may have 128 KiB at IoT Core, and properties may have 8 KiB. If nobody needs it there, name its topic in `except`"
        }
        Cause::TopicTooLong => {
            "its topic there would be longer than the 256 bytes that IoT Core allows: use `strip`, or a shorter `to`"
        }
        Cause::TooManySlashes => {
            "its topic there would have more than the 7 slashes that IoT Core allows: use `strip`, or a `to` with fewer"
        }
        Cause::BadTopic => "its topic there would be empty or hold characters that a topic may not have",
        Cause::ReservedTopic => {
            "topics that begin with `$` are the server's own: set `to`, which puts something before it"
        }
        Cause::Hops => {
            "it has come through four bridges already, which looks like a loop: check that no other bridge brings back what this one sends"
        }
        Cause::Refused => "the other side refuses it",
        Cause::KeepFull => {
            "there is no room for it, and its sender doesn't send it again: see `gatewire status` for what waits, and have devices publish with QoS 1"
        }
        Cause::Superseded => "a newer one of its topic went instead",
        Cause::Unchanged => "it says the same as the last one of its topic",
        Cause::Expired => "it has waited longer than its sender allowed (message expiry interval)",
    }
}
