//! Both lanes of the outbox against a model of two lists, with a disk and a process that is killed at any moment.

use std::collections::BTreeSet;
use std::rc::Rc;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::Outbox;
use super::super::simulated::{Disk, number};
use crate::config::WhenFull;
use crate::message::{Outbound, Qos, Sequence, Topic};
use crate::store::QueueId;

#[derive(Debug, Clone)]
enum Step {
    /// So many messages, urgent or not, of which each has so many bytes.
    Accept(usize, bool, usize),
    /// What the outbox wants written next is, or fails.
    Write(bool),
    Load,
    /// The link takes so many messages.
    Take(usize),
    Deliver(usize),
    /// What was taken waits again.
    PutBack(usize),
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    // Large ones leave memory, so that most of a lane is on the disk alone.
    let size = prop_oneof![3 => 10..200usize, 1 => 50_000..100_000usize];
    prop_oneof![
        8 => (1..20usize, prop::bool::weighted(0.3), size).prop_map(|(n, urgent, size)| Step::Accept(n, urgent, size)),
        8 => prop::bool::weighted(0.9).prop_map(Step::Write),
        4 => Just(Step::Load),
        6 => (1..30usize).prop_map(Step::Take),
        6 => any::<usize>().prop_map(Step::Deliver),
        1 => any::<usize>().prop_map(Step::PutBack),
        1 => Just(Step::Kill),
    ]
}

struct World {
    outbox: Rc<Outbox>,
    disk: Disk,
    /// What waits, by its number: what isn't urgent, and what is.
    lanes: [BTreeSet<u64>; 2],
    /// Where a message is found by its number, and which lane it is in.
    in_flight: Vec<(Sequence, u64, bool)>,
    accepted: u64,
    delivered: BTreeSet<u64>,
}

impl World {
    fn new() -> World {
        let mut disk = Disk::new(1 << 30, WhenFull::RejectNew);
        World {
            outbox: disk.start(),
            disk,
            lanes: Default::default(),
            in_flight: Vec::new(),
            accepted: 0,
            delivered: BTreeSet::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Accept(n, urgent, size) => (0..n).for_each(|_| self.accept(urgent, size)),
            Step::Write(successful) => drop(self.write(successful)),
            Step::Load => drop(self.load()),
            Step::Take(n) => (0..n).for_each(|_| self.take()),
            Step::Deliver(index) => {
                if let Some((sequence, n, _)) = self.pick(index) {
                    self.delivered.insert(n);
                    self.outbox.delivered(sequence);
                }
            }
            Step::PutBack(index) => {
                if let Some((sequence, n, urgent)) = self.pick(index) {
                    self.lanes[usize::from(urgent)].insert(n);
                    self.outbox.put_back(sequence);
                }
            }
            Step::Kill => self.kill(),
        }
        let status = self.outbox.status();
        let [others, urgent] = [0, 1].map(|lane: usize| self.lanes[lane].len() as u64);
        assert_eq!((status.waiting, status.urgent), (others + urgent, urgent));
    }

    fn accept(&mut self, urgent: bool, size: usize) {
        let payload = Bytes::from(format!("{} {}", self.accepted, "x".repeat(size)));
        let topic = Topic::new("t").unwrap();
        let message = Outbound { topic, payload, qos: Qos::AtLeastOnce, retain: false, urgent, properties: None };
        // Without room in memory it isn't taken.
        if self.outbox.submit(message).is_ok() {
            self.lanes[usize::from(urgent)].insert(self.accepted);
        }
        self.accepted += 1;
    }

    fn pick(&mut self, index: usize) -> Option<(Sequence, u64, bool)> {
        (!self.in_flight.is_empty()).then(|| self.in_flight.remove(index % self.in_flight.len()))
    }

    /// The first of what is urgent, or else of the rest; what is on the disk alone is read before.
    fn take(&mut self) {
        while self.load() {}
        let urgent = !self.lanes[1].is_empty();
        let Some((sequence, _)) = self.outbox.next(|_, _| true) else { return };
        let message = self.outbox.take_at(sequence).unwrap();
        let n = number(&message.payload);
        assert_eq!((message.urgent, Some(n)), (urgent, self.lanes[usize::from(urgent)].pop_first()));
        self.in_flight.push((sequence, n, urgent));
    }

    fn write(&mut self, successful: bool) -> bool {
        self.disk.write(&self.outbox, successful)
    }

    fn load(&mut self) -> bool {
        self.disk.load(&self.outbox)
    }

    fn kill(&mut self) {
        self.outbox = self.disk.start();
        self.in_flight.clear();
        self.lanes = [QueueId::OUTBOX, QueueId::likely_urgent()].map(|queue| self.disk.numbers_of(queue));
        self.disk.assert_nothing_is_lost(&self.delivered);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn what_is_urgent_goes_first_each_lane_in_order_and_nothing_stored_is_lost(
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        while !world.outbox.is_settled() || world.lanes.iter().any(|lane| !lane.is_empty()) {
            while world.write(true) {}
            world.step(Step::Take(10));
            (0..10).for_each(|_| world.step(Step::Deliver(0)));
        }
        prop_assert!(world.disk.stored.is_subset(&world.delivered));
    }
}

#[test]
fn an_urgent_message_overtakes_a_backlog_that_is_on_the_disk_alone() {
    let mut world = World::new();
    for _ in 0..20_000 {
        world.accept(false, 100);
        while world.write(true) {}
    }
    // What was loaded for the link doesn't have to go first, nor is any more loaded for the alarm.
    world.step(Step::Take(50));
    world.accept(true, 100);
    let waiting = world.outbox.status().waiting;
    let (sequence, _) = world.outbox.next(|_, _| true).unwrap();
    let message = world.outbox.take_at(sequence).unwrap();
    assert!(message.urgent);
    assert_eq!(waiting - 1, 20_000 - 50, "it has overtaken all that wasn't with the link");
}
