//! What happens at the local broker.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::sleep;

use super::World;
use super::calm::PROMPT;
use crate::simulation::bridge::{DOWN, FILTERS, WITHOUT_SOME};
use crate::simulation::broker::behaviour::Behaviour;
use crate::simulation::cloud::message::Taken;
use crate::simulation::judge::numbers_in;
use crate::simulation::network::Weather;
use crate::simulation::plan::bridge::{Device, Local};
use crate::simulation::plan::{MINUTE, SECOND};
use crate::simulation::server::Downlink;
use crate::time;

/// What is undone after its time: the broker, and what lies before it.
const BROKER: usize = 3;
const WAY: usize = 4;

impl World {
    pub(super) fn happens_locally(self: &Rc<World>, what: &Local) {
        match what {
            Local::Broker(behaviour, lasts) => {
                let behaviour = Behaviour::clone(behaviour);
                let hears_of_it = !behaviour.hangs;
                self.brokers.with_server(|broker| broker.set_behaviour(behaviour, time::now()));
                if hears_of_it && self.rng.borrow_mut().bool() {
                    // What a CONNACK has said holds for as long as the connection.
                    self.brokers.cut();
                }
                self.undo(BROKER, *lasts, World::mend_the_broker);
            }
            Local::Weather(weather, lasts) => {
                self.brokers.set_weather(weather.clone());
                self.undo(WAY, *lasts, |world| world.brokers.set_weather(Weather::default()));
            }
            Local::Restart { keeps, off } => {
                self.stop_the_broker(*keeps);
                self.undo(WAY, *off, |world| world.brokers.set_weather(Weather::default()));
            }
            Local::Cut => self.brokers.cut(),
            Local::Device(device) => {
                let (world, device) = (Rc::clone(self), device.clone());
                drop(spawn_local(async move { world.device(&device).await }));
            }
            Local::Commands { count, every, rule, qos, size } => {
                let (world, count, every, what) = (Rc::clone(self), *count, *every, (*rule, *qos, *size));
                drop(spawn_local(async move {
                    for _ in 0..count {
                        world.command(what);
                        sleep(every).await;
                    }
                }));
            }
        }
    }

    /// It isn't there until the weather is another.
    pub(super) fn stop_the_broker(&self, keeps: bool) {
        self.brokers.with_server(|broker| broker.restart(keeps));
        self.brokers.set_weather(Weather { connects_fail: Some(true), ..Weather::default() });
    }

    pub(super) fn mend_the_broker(&self) {
        self.brokers.with_server(|broker| broker.set_behaviour(Behaviour::default(), time::now()));
    }

    async fn device(&self, device: &Device) {
        let mut last = None;
        for _ in 0..device.count {
            // Some say again what they have said.
            let again = last.filter(|_| device.topic.starts_with("change/") && self.rng.borrow_mut().bool());
            let number = again.unwrap_or_else(|| self.judge.number());
            last = Some(number);
            self.device_publishes(number, device);
            sleep(device.every).await;
        }
    }

    /// If the broker is there.
    pub(super) fn device_publishes(&self, number: u64, device: &Device) {
        if self.brokers.weather().connects_fail.is_some() {
            return;
        }
        let payload = format!("{{\"n\":{number},\"x\":\"{}\"}}", "y".repeat(device.size)).into();
        let message = Downlink {
            topic: device.topic.clone(),
            payload,
            qos: device.qos,
            retain: device.retain,
            ..Downlink::default()
        };
        self.brokers.with_server(|broker| broker.publish(message, time::now()));
    }

    /// Somebody at IoT Core publishes for the rule of this number.
    pub(super) fn command(&self, (rule, qos, size): (usize, u8, usize)) -> u64 {
        let number = self.judge.number();
        let payload = format!("{{\"n\":{number},\"x\":\"{}\"}}", "z".repeat(size)).into();
        let message = Downlink { topic: DOWN[rule].0.to_owned(), payload, qos, ..Downlink::default() };
        self.network.with_cloud(|cloud| cloud.publish(message, time::now()));
        number
    }

    /// The configuration of this number counts from now on.
    pub(super) fn rules_change(&self, number: usize) {
        self.judge.bridge.has_some(number != WITHOUT_SOME, time::now());
    }

    /// The broker is as it should be, and so are the rules.
    pub(super) fn calm_locally(&self) {
        self.brokers.set_weather(Weather::default());
        self.mend_the_broker();
        // What a CONNACK has said holds for as long as the connection.
        self.brokers.cut();
        self.configure(0);
        self.with_process(|process| process.signal(nix::libc::SIGHUP));
    }

    /// Whether nothing is missing at the local broker.
    pub(super) fn is_bridged(&self) -> bool {
        self.bridge.is_none() || self.brokers.with_server(|broker| broker.has_subscriptions(FILTERS.len()))
    }

    /// Single messages: each is carried at once, none twice, and the counters say so.
    pub(super) async fn probe_the_bridge(self: &Rc<World>) {
        self.judge.note("the bridge".to_owned());
        sleep(MINUTE).await;
        let before = self.counted().await;
        for _ in 0..3 {
            let topics = ["z/lamp", "keep/1/state", "change/9", "batch/9", "every/9"];
            let mut numbers: Vec<u64> = topics.iter().map(|topic| self.device_says(topic)).collect();
            // Held back, and then a newer one goes instead; unchanged; and what can't go.
            self.device_says("every/9");
            numbers.push(self.device_says("every/9"));
            self.device_publishes(numbers[2], &single("change/9"));
            self.device_says("z/1/2/3/4/5/6/7/8/9");
            self.device_says("other");
            let command = self.command((0, 1, 10));
            sleep(PROMPT).await;
            let come = self.network.with_cloud(|cloud| numbers_of(cloud.taken()));
            for number in numbers.iter().take(3) {
                self.once("IoT Core", *number, &come);
            }
            let down = self.brokers.with_server(|broker| numbers_of(broker.taken()));
            self.once("the local broker", command, &down);
            sleep(20 * SECOND).await;
            let come = self.network.with_cloud(|cloud| numbers_of(cloud.taken()));
            numbers.iter().for_each(|number| self.once("IoT Core", *number, &come));
        }
        let after = self.counted().await;
        let expected = [
            ("every/+", [9, 6, 6], "superseded"),
            ("change/+", [6, 3, 3], "unchanged"),
            ("batch/+", [3, 3, 3], ""),
            ("keep/+/state", [3, 3, 3], ""),
            ("z/#", [6, 3, 3], "too_many_slashes"),
            ("gateways/gateway/set/+/set", [3, 3, 3], ""),
        ];
        for (from, counts, cause) in expected {
            let words = ["received", "accepted", "delivered"];
            let more = |word: &str| after(from, word).saturating_sub(before(from, word));
            if words.map(more) != counts || after(from, "waiting") != 0 || (!cause.is_empty() && more(cause) != 3) {
                self.judge.violated(format!(
                    "the rule from {from} has counted {:?} {words:?}, {} {cause}, {} waiting: it should be {counts:?}",
                    words.map(more),
                    more(cause),
                    after(from, "waiting")
                ));
            }
        }
    }

    fn device_says(&self, topic: &str) -> u64 {
        let number = self.judge.number();
        self.device_publishes(number, &single(topic));
        number
    }

    fn once(&self, place: &str, number: u64, come: &[u64]) {
        let times = come.iter().filter(|other| **other == number).count();
        if times != 1 {
            self.judge.violated(format!("a single message, {number}, has come {times} times to {place}"));
        }
    }

    /// What the status says of each rule.
    async fn counted(&self) -> impl Fn(&str, &str) -> u64 + use<> {
        let status = self.status().await.unwrap_or_default();
        move |from: &str, word: &str| {
            let bridge = &status["bridge"][0];
            let rules = ["up", "down"].into_iter().flat_map(|way| bridge[way].as_array().into_iter().flatten());
            let rule = rules.into_iter().find(|rule| rule["from"] == from);
            rule.and_then(|rule| rule[word].as_u64().or(rule["dropped"][word].as_u64())).unwrap_or(0)
        }
    }

    /// A local broker that hangs for an hour, and then isn't there for one: nobody else notices. It is tried again and again, and
    /// nobody is told of each time.
    pub(super) async fn without_a_broker(self: &Rc<World>) {
        self.judge.note("without a broker".to_owned());
        let hangs = Behaviour { hangs: true, ..Behaviour::default() };
        self.brokers.with_server(|broker| broker.set_behaviour(hangs, time::now()));
        self.others_go_on().await;
        self.mend_the_broker();
        self.stop_the_broker(true);
        sleep(MINUTE).await;
        let (attempts, lines) = (self.brokers.attempts().0, self.judge.lines());
        self.others_go_on().await;
        let (attempts, lines) = (self.brokers.attempts().0 - attempts, self.judge.lines() - lines);
        if !(60..=400).contains(&attempts) {
            self.judge.violated(format!("{attempts} attempts to connect in an hour without a broker"));
        }
        // Each that is twice as many as the last that was told of, and one in the hour.
        if lines > 8 {
            self.judge.violated(format!("{lines} lines in the log in an hour without a broker, which isn't new"));
        }
        self.rules_come_and_go().await;
        self.brokers.set_weather(Weather::default());
        sleep(SOON).await;
        if let Some(open) = self.open() {
            self.judge.violated(format!("with a broker again there is still {open}"));
        }
    }

    /// A rule is removed while messages wait in it, and comes back.
    async fn rules_come_and_go(&self) {
        let numbers: Vec<u64> = (0..5).map(|_| self.command((DOWN.len() - 1, 1, 10))).collect();
        self.judge.note(format!("{numbers:?} wait in a rule that goes"));
        for number in [WITHOUT_SOME, 0] {
            sleep(MINUTE).await;
            self.configure(number);
            self.with_process(|process| process.signal(nix::libc::SIGHUP));
        }
        sleep(MINUTE).await;
    }

    /// An hour of single messages, with more of them for the broker.
    async fn others_go_on(self: &Rc<World>) {
        for n in 0..6 {
            for _ in 0..5 {
                self.command((0, 1, 100));
            }
            self.one_by_one(n).await;
            self.publish(1, 10);
            sleep(PROMPT).await;
            let open = self.network.with_cloud(|cloud| cloud.offered().iter().filter(|it| it.is_open()).count());
            if open > 0 {
                self.judge.violated(format!("without a broker {open} messages of the cloud still wait"));
            }
            sleep(10 * MINUTE).await;
        }
    }
}

fn single(topic: &str) -> Device {
    Device { topic: topic.to_owned(), count: 1, every: Duration::ZERO, qos: 1, size: 10, retain: false }
}

/// The numbers of all messages, in order, those in arrays included.
fn numbers_of(taken: &[Taken]) -> Vec<u64> {
    taken.iter().flat_map(|taken| numbers_in(&taken.payload)).map(|(number, _)| number).collect()
}

/// After so much of it, what was to be carried is.
const SOON: Duration = MINUTE;
