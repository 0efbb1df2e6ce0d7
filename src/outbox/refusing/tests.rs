//! Messages on their way between the outbox, the quarantine and the disk, with a process that is killed at any moment.

use std::collections::BTreeSet;
use std::rc::Rc;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::Outbox;
use super::super::simulated::{Disk, number};
use super::*;
use crate::config::WhenFull;
use crate::message::{Sequence, Topic, TopicPattern};

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
    disk: Disk,
    in_flight: Vec<(Sequence, u64)>,
    accepted: u64,
    delivered: BTreeSet<u64>,
}

fn topic(n: usize) -> Topic {
    Topic::new(&format!("t/{n}")).unwrap()
}

impl World {
    fn new() -> World {
        let mut disk = Disk::new(1 << 20, WhenFull::DropOldest);
        World { outbox: disk.start(), disk, in_flight: Vec::new(), accepted: 0, delivered: BTreeSet::new() }
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
            Step::Write(successful) => drop(self.disk.write(&self.outbox, successful)),
            Step::Load => drop(self.disk.load(&self.outbox)),
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
                self.outbox = self.disk.start();
                self.in_flight.clear();
            }
        }
        self.disk.assert_nothing_is_lost(&self.delivered);
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
        prop_assert!(world.disk.stored.is_subset(&world.delivered));
        prop_assert_eq!(world.outbox.status().quarantined, 0);
    }
}
