//! The queue of a forward against readers that come, go, read, don't read and only look.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use proptest::prelude::*;

use super::queue::{Dismissal, Queue, ReaderId};
use crate::config::{Keep, WhenFull};
use crate::inbox::{Acks, Receipt};

#[derive(Debug, Clone)]
enum Step {
    Join,
    Decide(usize),
    Observe(usize),
    Leave(usize),
    Arrive,
    /// One reader is written so many bytes.
    Write(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Join),
        3 => any::<usize>().prop_map(Step::Decide),
        1 => any::<usize>().prop_map(Step::Observe),
        1 => any::<usize>().prop_map(Step::Leave),
        6 => Just(Step::Arrive),
        6 => (any::<usize>(), 1..100usize).prop_map(|(reader, bytes)| Step::Write(reader, bytes)),
    ]
}

/// A reader as the test sees it.
#[derive(Debug, Default)]
struct Seen {
    /// Ids of the lines written whole, in order.
    lines: Vec<u64>,
    observes: bool,
    decided: bool,
}

struct World {
    queue: Queue,
    acks: Rc<Acks>,
    now: Instant,
    arrived: u64,
    /// For each message, the readers that were there when it came.
    present: BTreeMap<u64, Vec<ReaderId>>,
    here: Vec<ReaderId>,
    seen: BTreeMap<ReaderId, Seen>,
    acknowledged: BTreeSet<u64>,
}

fn keep(messages: u64) -> Keep {
    Keep { messages, bytes: 8 << 20, when_full: WhenFull::DropOldest }
}

fn line(id: u64) -> Bytes {
    // Lengths differ, so that writes end anywhere.
    Bytes::from(format!("{id}{}\n", "x".repeat(id as usize % 7)))
}

impl World {
    fn new(keep: &Keep) -> World {
        World {
            queue: Queue::new(keep),
            acks: Rc::default(),
            now: Instant::now(),
            arrived: 0,
            present: BTreeMap::new(),
            here: Vec::new(),
            seen: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
        }
    }

    fn pick(&self, index: usize) -> Option<ReaderId> {
        (!self.here.is_empty()).then(|| self.here[index % self.here.len()])
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Join => {
                let id = self.queue.join(self.now);
                self.here.push(id);
                self.seen.insert(id, Seen::default());
            }
            Step::Decide(index) => {
                if let Some(id) = self.pick(index) {
                    self.queue.decide(id, self.now);
                    self.seen.get_mut(&id).unwrap().decided = true;
                }
            }
            Step::Observe(index) => {
                // The first thing a client says.
                if let Some(id) = self.pick(index).filter(|id| !self.seen[id].decided) {
                    self.queue.observe(id, self.now);
                    let seen = self.seen.get_mut(&id).unwrap();
                    (seen.observes, seen.decided) = (true, true);
                }
            }
            Step::Leave(index) => {
                if let Some(id) = self.pick(index) {
                    self.leave(id);
                }
            }
            Step::Arrive => self.arrive(),
            Step::Write(index, bytes) => {
                if let Some(id) = self.pick(index) {
                    self.write(id, bytes);
                }
            }
        }
        self.collect();
    }

    fn leave(&mut self, id: ReaderId) {
        self.queue.leave(id);
        self.here.retain(|here| *here != id);
    }

    fn arrive(&mut self) {
        self.arrived += 1;
        let id = self.arrived;
        self.present.insert(id, self.here.clone());
        let receipt = Receipt::for_test(&self.acks, id);
        self.queue.arrive(id, line(id), Timestamp::UNIX_EPOCH, Some(receipt), self.now);
    }

    fn write(&mut self, id: ReaderId, bytes: usize) {
        let Some((offset, lines)) = self.queue.next(id) else { return };
        let mut left = bytes;
        let mut whole: Vec<u64> = Vec::new();
        for (i, line) in lines.enumerate() {
            let size = line.len() - if i == 0 { offset } else { 0 };
            if left < size {
                break;
            }
            left -= size;
            let text = std::str::from_utf8(line).unwrap();
            whole.push(text.trim_end_matches(['x', '\n']).parse().unwrap());
        }
        let available: usize =
            self.queue.next(id).map_or(0, |(offset, lines)| lines.map(Bytes::len).sum::<usize>() - offset);
        self.seen.get_mut(&id).unwrap().lines.extend(whole);
        self.queue.wrote(id, bytes.min(available), self.now);
    }

    fn collect(&mut self) {
        let mut done = Vec::new();
        self.acks.drain(&mut done);
        for token in done {
            assert!(self.acknowledged.insert(token.number()), "{token:?} is done twice");
        }
    }

    /// All readers go; then one comes and reads everything.
    fn settle(&mut self) -> Vec<u64> {
        for id in self.here.clone() {
            self.leave(id);
        }
        let last = self.queue.join(self.now);
        self.here.push(last);
        self.seen.insert(last, Seen::default());
        self.queue.decide(last, self.now);
        while self.queue.next(last).is_some() {
            self.write(last, usize::MAX / 2);
        }
        self.collect();
        self.seen[&last].lines.clone()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn every_message_reaches_those_who_were_there_or_waits(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new(&keep(1000));
        for step in &steps {
            world.take(step);
        }
        // Whoever is there still gets what it was there for.
        for id in world.here.clone() {
            if !world.seen[&id].decided {
                world.queue.decide(id, world.now);
            }
        }
        for _ in 0..50 {
            for id in world.here.clone() {
                world.write(id, usize::MAX / 2);
            }
        }
        for (message, present) in &world.present {
            for id in present.iter().filter(|id| world.here.contains(id) && !world.seen[id].observes) {
                prop_assert!(world.seen[id].lines.contains(message), "{id:?} was there for {message}");
            }
        }
        world.settle();
        // Each went to some reader, and is acknowledged exactly once.
        for message in 1..=world.arrived {
            let read = world.seen.values().any(|seen| !seen.observes && seen.lines.contains(&message));
            prop_assert!(read, "{message} was lost");
        }
        prop_assert_eq!(world.acknowledged.len() as u64, world.arrived);
        for seen in world.seen.values() {
            let unique: BTreeSet<&u64> = seen.lines.iter().collect();
            prop_assert_eq!(unique.len(), seen.lines.len(), "written twice to one reader: {:?}", seen.lines);
        }
    }

    #[test]
    fn a_single_reader_at_a_time_sees_every_message_in_order(steps in prop::collection::vec((0..4u8, 1..60usize), 1..150)) {
        let mut world = World::new(&keep(1000));
        for (what, bytes) in steps {
            match what {
                0 if world.here.is_empty() => {
                    world.take(&Step::Join);
                    world.take(&Step::Decide(0));
                }
                0 => world.take(&Step::Leave(0)),
                1 | 2 => world.take(&Step::Arrive),
                _ => world.take(&Step::Write(0, bytes)),
            }
        }
        world.settle();
        let read: Vec<u64> = world.seen.values().flat_map(|seen| seen.lines.clone()).collect();
        prop_assert_eq!(read, (1..=world.arrived).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_kept_stays_within_its_bounds(messages in 1..20u64, arrivals in 1..60u64) {
        let mut world = World::new(&keep(messages));
        for _ in 0..arrivals {
            world.take(&Step::Arrive);
        }
        prop_assert_eq!(world.acknowledged.len() as u64, arrivals);
        let first = arrivals.saturating_sub(messages) + 1;
        prop_assert_eq!(world.queue.counters().dropped_oldest, first - 1);
        prop_assert_eq!(world.settle(), (first..=arrivals).collect::<Vec<_>>());
    }
}

#[test]
fn reject_new_keeps_the_oldest() {
    let mut world = World::new(&Keep { when_full: WhenFull::RejectNew, ..keep(2) });
    for _ in 0..5 {
        world.take(&Step::Arrive);
    }
    assert_eq!(world.queue.counters().dropped_newest, 3);
    assert_eq!(world.settle(), [1, 2]);
}

#[test]
fn a_reader_that_takes_nothing_is_dismissed_and_one_that_does_is_not() {
    let mut queue = Queue::new(&keep(10));
    let start = Instant::now();
    let id = queue.join(start);
    queue.decide(id, start);
    assert_eq!(queue.deadline(id), None, "there is nothing to take");
    let later = start + Duration::from_secs(60);
    queue.arrive(1, line(1), Timestamp::UNIX_EPOCH, None, later);
    queue.arrive(2, line(2), Timestamp::UNIX_EPOCH, None, later);
    assert_eq!(queue.dismissal(id, later + Duration::from_secs(9)), None);
    queue.wrote(id, 1, later + Duration::from_secs(9));
    assert_eq!(queue.dismissal(id, later + Duration::from_secs(18)), None);
    assert_eq!(queue.dismissal(id, later + Duration::from_secs(19)), Some(Dismissal::TooSlow));
}

#[test]
fn a_reader_that_leaves_too_much_unread_is_dismissed_and_the_next_gets_it() {
    let mut queue = Queue::new(&keep(1000));
    let now = Instant::now();
    let id = queue.join(now);
    queue.decide(id, now);
    let big = Bytes::from(vec![b'x'; 100 * 1024]);
    for n in 1..=11 {
        assert_eq!(queue.dismissal(id, now), None, "{n}");
        queue.arrive(n, big.clone(), Timestamp::UNIX_EPOCH, None, now);
    }
    assert_eq!(queue.dismissal(id, now), Some(Dismissal::TooMuch));
    queue.leave(id);
    assert_eq!(queue.waiting().0, 11);
}
