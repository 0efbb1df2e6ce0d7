//! Messages on their way between the outbox, the quarantine and the disk, with a process that is killed at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::Outbox;
use super::super::ledger::Stored;
use super::*;
use crate::config::{self, WhenFull};
use crate::message::{Sequence, Topic, TopicPattern};
use crate::store::keeper;
use crate::store::{Contents, Failure, Page, QueueId, Row, Totals, Write};

const TOPICS: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    /// Urgent or not.
    Accept(usize, bool),
    /// What the outbox wants written next is, or fails.
    Write(bool),
    Load,
    /// The link takes so many messages.
    Take(usize),
    Deliver(usize),
    Refuse(usize),
    Doubt(usize),
    SetAside(usize),
    SetAsideGroup,
    Release,
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..TOPICS, prop::bool::weighted(0.3)).prop_map(|(n, urgent)| Step::Accept(n, urgent)),
        8 => prop::bool::weighted(0.9).prop_map(Step::Write),
        4 => Just(Step::Load),
        4 => (1..4usize).prop_map(Step::Take),
        2 => any::<usize>().prop_map(Step::Deliver),
        3 => any::<usize>().prop_map(Step::Refuse),
        2 => any::<usize>().prop_map(Step::Doubt),
        1 => (0..TOPICS).prop_map(Step::SetAside),
        1 => Just(Step::SetAsideGroup),
        2 => Just(Step::Release),
        1 => Just(Step::Kill),
    ]
}

struct World {
    outbox: Rc<Outbox>,
    disk: BTreeMap<(QueueId, u64), Row>,
    in_flight: Vec<(Sequence, u64)>,
    accepted: u64,
    delivered: BTreeSet<u64>,
    /// Written once: not to be lost by anything.
    stored: BTreeSet<u64>,
    generation: u64,
}

fn number(payload: &[u8]) -> u64 {
    std::str::from_utf8(payload).unwrap().parse().unwrap()
}

fn topic(n: usize) -> Topic {
    Topic::new(&format!("t/{n}")).unwrap()
}

impl World {
    fn new() -> World {
        let world = World {
            outbox: outbox((Stored::of(&Contents::default()), Totals::default()), 1),
            disk: BTreeMap::new(),
            in_flight: Vec::new(),
            accepted: 0,
            delivered: BTreeSet::new(),
            stored: BTreeSet::new(),
            generation: 1,
        };
        world.outbox.link_up();
        world.check();
        world
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Accept(n, urgent) => {
                self.accepted += 1;
                let payload = Bytes::from(self.accepted.to_string());
                let (topic, qos) = (topic(n), Qos::AtLeastOnce);
                let message = Outbound { topic, payload, qos, retain: false, urgent, properties: None };
                self.outbox.submit(message).unwrap();
            }
            Step::Write(successful) => self.write(successful),
            Step::Load => self.load(),
            Step::Take(n) => self.take(n),
            Step::Deliver(index) => {
                if let Some((sequence, n)) = self.pick(index) {
                    self.delivered.insert(n);
                    self.outbox.delivered(sequence);
                }
            }
            Step::Refuse(index) => {
                if let Some((sequence, _)) = self.pick(index) {
                    self.outbox.refuse(sequence, "PUBACK");
                }
            }
            Step::SetAside(n) => {
                let condition = Condition::topics(TopicPattern::exactly(&topic(n)));
                self.outbox.set_aside(condition, "it closes the connection", None);
            }
            Step::SetAsideGroup => {
                let condition = Condition::topics(TopicPattern::between(&topic(0), &topic(1)));
                self.outbox.set_aside(condition, "it closes the connection", None);
            }
            Step::Doubt(index) => {
                if let Some((sequence, _)) = self.pick(index) {
                    assert!(!self.outbox.doubt(sequence, "PUBACK"));
                }
            }
            Step::Release => self.outbox.release_quarantine(),
            Step::Kill => {
                self.generation += 1;
                let urgent = QueueId::likely_urgent();
                let stored = Stored { urgent: (urgent, self.totals(urgent)), others: self.totals(QueueId::OUTBOX) };
                self.outbox = outbox((stored, self.totals(QueueId::QUARANTINE)), self.generation);
                self.outbox.link_up();
                self.in_flight.clear();
            }
        }
        self.check();
    }

    fn pick(&mut self, index: usize) -> Option<(Sequence, u64)> {
        (!self.in_flight.is_empty()).then(|| self.in_flight.remove(index % self.in_flight.len()))
    }

    fn take(&mut self, n: usize) {
        for _ in 0..n {
            // What lies before it may only be sent alone, now and then.
            let mut passed = if n < 4 { n % 3 } else { 0 };
            let next = self.outbox.next(|_, _| {
                let is_passed = passed > 0;
                passed = passed.saturating_sub(1);
                !is_passed
            });
            let Some((sequence, _)) = next else { return };
            let message = self.outbox.take_at(sequence).unwrap();
            self.in_flight.push((sequence, number(&message.payload)));
        }
    }

    fn write(&mut self, successful: bool) {
        let Some(Write { queue, delete, insert, .. }) = keeper::begin_write(&*self.outbox) else { return };
        if !successful {
            return keeper::end_write(&*self.outbox, queue, &Err(Failure::Gone));
        }
        for range in delete {
            self.disk.retain(|(other, seq), _| *other != queue || !range.contains(seq));
        }
        for row in insert {
            self.stored.insert(number(&row.payload));
            assert!(self.disk.insert((queue, row.seq), row).is_none(), "a place was taken");
        }
        keeper::end_write(&*self.outbox, queue, &Ok(()));
    }

    fn load(&mut self) {
        let Some(load) = keeper::begin_load(&*self.outbox) else { return };
        let first = load.after.map_or(0, |after| after + 1);
        let rows = self.disk.range((load.queue, first)..=(load.queue, load.until)).map(|(_, row)| row.clone());
        keeper::end_load(&*self.outbox, load.queue, Ok(Page { rows: rows.collect(), complete: true }));
    }

    fn totals(&self, queue: QueueId) -> Totals {
        let of_queue = || self.disk.iter().filter(|((other, _), _)| *other == queue);
        Totals {
            messages: of_queue().count() as u64,
            bytes: of_queue().map(|(_, row)| row.size()).sum(),
            first: of_queue().map(|((_, seq), _)| *seq).min(),
            last: of_queue().map(|((_, seq), _)| *seq).max(),
        }
    }

    fn check(&self) {
        let on_disk: BTreeSet<u64> = self.disk.values().map(|row| number(&row.payload)).collect();
        let lost: Vec<&u64> =
            self.stored.iter().filter(|n| !self.delivered.contains(n) && !on_disk.contains(n)).collect();
        assert!(lost.is_empty(), "on no disk any more: {lost:?}");
    }
}

fn outbox(stored: (Stored, Totals), generation: u64) -> Rc<Outbox> {
    let config = config::Outbox {
        path: "unused".into(),
        max_size: 1 << 20,
        max_age: Duration::from_secs(7 * 24 * 3600),
        when_full: WhenFull::DropOldest,
        spill_after: Duration::ZERO,
    };
    let limit = config::RateLimit {
        messages_per_second: 1_000_000,
        bytes_per_second: 1 << 30,
        burst: 1000,
        connects_per_second: 1,
    };
    Outbox::with(&config, &limit, stored, generation, generation * 1_000_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn what_was_stored_lies_on_the_disk_until_it_is_delivered_wherever_it_moves(
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        // A process that finds all that, and a policy that allows it.
        world.step(Step::Kill);
        world.step(Step::Release);
        // One is delivered in each round. Each kill may have left a message twice.
        for _ in 0..world.disk.len() * 2 + 20 {
            for step in [Step::Write(true), Step::Load, Step::Take(10), Step::Deliver(0)] {
                world.step(step);
            }
        }
        prop_assert!(world.stored.is_subset(&world.delivered));
        prop_assert_eq!(world.outbox.status().quarantined, 0);
    }
}
