mod examples;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::message::{Qos, Topic};
use crate::store::{Accepted, Load, Page, QueueId};

/// A message of so many bytes.
#[derive(Debug, Clone, PartialEq)]
struct Message(u64);

impl Item for Message {
    fn size(&self) -> u64 {
        self.0
    }
}

fn to_row(seq: u64, message: &Message) -> Row {
    Row {
        seq,
        at: Timestamp::UNIX_EPOCH,
        accepted: Accepted::ThisBoot(0),
        topic: Topic::new("t").unwrap(),
        payload: Bytes::from(vec![0; message.0 as usize - 1]),
        qos: Qos::AtLeastOnce,
        retain: false,
        duplicate: false,
        urgent: false,
        properties: None,
    }
}

/// What a database would hold, and what it is asked.
#[derive(Debug, Default, Clone)]
struct Disk {
    rows: BTreeMap<u64, u64>,
}

impl Disk {
    fn write(&mut self, batch: &Batch) {
        for range in &batch.delete {
            let gone: Vec<u64> = self.rows.range(range.clone()).map(|(seq, _)| *seq).collect();
            self.rows.retain(|seq, _| !gone.contains(seq));
        }
        for row in &batch.insert {
            assert_eq!(self.rows.insert(row.seq, row.size()), None, "{} was there already", row.seq);
        }
    }

    fn load(&self, load: &Load, max_rows: usize) -> (Vec<(u64, Message)>, bool) {
        let first = load.after.map_or(0, |after| after + 1);
        let mut rows = self.rows.range(first..=load.until);
        let page: Vec<_> = rows.by_ref().take(max_rows).map(|(seq, size)| (*seq, Message(*size))).collect();
        (page, rows.next().is_none())
    }

    fn totals(&self) -> Totals {
        Totals {
            messages: self.rows.len() as u64,
            bytes: self.rows.values().sum(),
            first: self.rows.keys().next().copied(),
            last: self.rows.keys().last().copied(),
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// So many messages of so many bytes come.
    Insert(u8, u64),
    /// So many that count as taken from the start.
    Hold(u8, u64),
    Take(u8),
    /// One that is visible, out of turn.
    TakeAt(u8),
    /// The last one waiting, or another, is given up.
    DropBack,
    Remove(u8),
    /// One of those taken is finished.
    Finish(u8),
    PutBack(u8),
    DropFront,
    /// Everything, or only every other message, is to be on the disk.
    BeginWrite {
        all: bool,
        flush: bool,
    },
    /// Whether the disk has it, and whether it says so.
    EndWrite {
        done: bool,
        said: bool,
    },
    BeginLoad,
    /// If it `sees` a write that hasn't been answered, the disk did that before.
    EndLoad {
        successful: bool,
        sees: bool,
    },
    /// The daemon is killed and started again.
    Crash,
    /// The database is made anew without this part of its messages.
    Damage(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (1..20u8, prop_oneof![1..300u64, Just(100_000)]).prop_map(|(n, size)| Step::Insert(n, size)),
        2 => (1..20u8, 1..300u64).prop_map(|(n, size)| Step::Hold(n, size)),
        6 => (1..30u8).prop_map(Step::Take),
        2 => any::<u8>().prop_map(Step::TakeAt),
        1 => Just(Step::DropBack),
        1 => any::<u8>().prop_map(Step::Remove),
        6 => any::<u8>().prop_map(Step::Finish),
        1 => any::<u8>().prop_map(Step::PutBack),
        1 => Just(Step::DropFront),
        6 => (any::<bool>(), any::<bool>()).prop_map(|(all, flush)| Step::BeginWrite { all, flush }),
        6 => (prop::bool::weighted(0.9), prop::bool::weighted(0.9)).prop_map(|(done, said)| Step::EndWrite { done, said }),
        6 => Just(Step::BeginLoad),
        6 => (prop::bool::weighted(0.9), any::<bool>()).prop_map(|(successful, sees)| Step::EndLoad { successful, sees }),
        1 => Just(Step::Crash),
        1 => (0..4u8).prop_map(Step::Damage),
    ];
    prop::collection::vec(step, 1..200)
}

/// A queue, its disk, and what must be true of both.
#[derive(Default)]
struct World {
    backlog: Option<Backlog<Message>>,
    disk: Disk,
    next: u64,
    /// Sizes of what isn't finished.
    alive: BTreeMap<u64, u64>,
    /// Of these it was said that they are on the disk.
    stored: BTreeSet<u64>,
    taken: Vec<u64>,
    writing: Option<Batch>,
    /// The disk has done that.
    is_written: bool,
    loading: Option<Load>,
    /// Damage took some: what waits need not be exact.
    damaged: bool,
}

impl World {
    fn backlog(&mut self) -> &mut Backlog<Message> {
        self.backlog.get_or_insert_with(|| Backlog::new(Totals::default()))
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Insert(count, size) => {
                for _ in 0..count {
                    let seq = self.next;
                    // Places may be left out.
                    self.next += 1 + u64::from(size % 7 == 0);
                    self.alive.insert(seq, size);
                    self.backlog().insert(seq, Message(size));
                }
            }
            Step::Hold(count, size) => {
                for _ in 0..count {
                    let seq = self.next;
                    self.next += 1;
                    self.alive.insert(seq, size);
                    self.taken.push(seq);
                    self.backlog().insert_taken(seq, Message(size));
                }
            }
            Step::DropBack => {
                if self.backlog().drop_back_if(|_| true).is_some() {
                    let last = self.waiting().last().unwrap();
                    self.forget(last);
                }
            }
            Step::Remove(which) => {
                let waiting: Vec<u64> = self.waiting().collect();
                let seq = waiting[..].get(which as usize).copied();
                if seq.is_some_and(|seq| self.backlog().remove_if(seq, |_| true).is_some()) {
                    seq.into_iter().for_each(|seq| self.forget(seq));
                }
            }
            Step::Take(count) => (0..count).for_each(|_| self.take()),
            Step::TakeAt(which) => {
                let visible: Vec<u64> = self.backlog().visible().map(|(seq, ..)| seq).collect();
                if let Some(index) = (which as usize).checked_rem(visible.len()) {
                    let seq = visible[index];
                    assert_eq!(self.backlog().take_at(seq).map(|(taken, _)| taken), Some(seq));
                    self.taken.push(seq);
                }
            }
            Step::Finish(which) => {
                if let Some(index) = (which as usize).checked_rem(self.taken.len()) {
                    let seq = self.taken.remove(index);
                    assert_eq!(self.backlog().finish(seq).map(|message| message.0), self.alive.remove(&seq));
                    self.stored.remove(&seq);
                    assert_eq!(self.backlog().finish(seq), None);
                }
            }
            Step::PutBack(which) => {
                if let Some(index) = (which as usize).checked_rem(self.taken.len()) {
                    let seq = self.taken.remove(index);
                    self.backlog().put_back(seq);
                }
            }
            Step::DropFront => {
                if let Some((seq, _)) = self.backlog().front() {
                    self.backlog().drop_front().unwrap();
                    self.alive.remove(&seq);
                    self.stored.remove(&seq);
                }
            }
            Step::BeginWrite { all, flush } => {
                let batch = self.backlog().begin_write(flush, |message| all || message.0 % 2 == 0, to_row);
                assert!(batch.is_none() || self.writing.is_none());
                self.writing = batch.or(self.writing.take());
            }
            Step::EndWrite { done, said } => self.end_write(done, done && said),
            Step::BeginLoad => {
                let load = self.backlog().begin_load(QueueId::OUTBOX);
                assert!(load.is_none() || self.loading.is_none());
                self.loading = load.or(self.loading);
            }
            Step::EndLoad { successful, sees } => self.end_load(successful, sees),
            Step::Crash => self.crash(),
            Step::Damage(part) => self.damage(part),
        }
        self.check();
    }

    fn waiting(&self) -> impl Iterator<Item = u64> {
        self.alive.keys().copied().filter(|seq| !self.taken.contains(seq))
    }

    fn forget(&mut self, seq: u64) {
        self.alive.remove(&seq);
        self.stored.remove(&seq);
    }

    fn take(&mut self) {
        let Some((seq, message)) = self.backlog().take() else { return };
        let message = message.clone();
        assert_eq!(self.alive.get(&seq), Some(&message.0), "{seq} was finished before");
        assert!(!self.taken.contains(&seq));
        let before = self.alive.keys().take_while(|other| **other < seq);
        if !self.damaged {
            assert!(before.clone().all(|other| self.taken.contains(other)), "{seq} comes too early");
        }
        self.taken.push(seq);
    }

    fn end_write(&mut self, done: bool, said: bool) {
        let is_written = std::mem::take(&mut self.is_written);
        let Some(batch) = self.writing.take() else { return };
        let said = said || is_written;
        if done && !is_written {
            self.disk.write(&batch);
        }
        let mut count = 0;
        self.backlog().end_write(said, |_| count += 1);
        if said {
            let still = batch.insert.iter().map(|row| row.seq).filter(|seq| self.alive.contains_key(seq));
            self.stored.extend(still.clone());
            assert!(count <= batch.insert.len());
        }
    }

    /// Of two answers that have come, that to the load is looked at first.
    fn end_load(&mut self, successful: bool, sees: bool) {
        let Some(load) = self.loading.take() else { return };
        if let Some(batch) = self.writing.as_ref().filter(|_| sees && !self.is_written) {
            self.disk.write(batch);
            self.is_written = true;
        }
        if successful {
            let (rows, complete) = self.disk.load(&load, 10);
            let missing = self.backlog().end_load(rows, complete);
            assert!(missing == 0 || self.damaged);
        } else {
            self.backlog().load_failed();
        }
    }

    /// What was stored comes again, whether taken or not.
    fn crash(&mut self) {
        let is_written = std::mem::take(&mut self.is_written);
        if let Some(batch) = self.writing.take() {
            if !is_written {
                self.disk.write(&batch);
            }
            self.stored.extend(batch.insert.iter().map(|row| row.seq).filter(|seq| self.alive.contains_key(seq)));
        }
        self.loading = None;
        self.taken.clear();
        self.alive.retain(|seq, _| self.disk.rows.contains_key(seq));
        assert!(self.stored.iter().all(|seq| self.alive.contains_key(seq)), "something that was stored is lost");
        // What was finished and not yet removed comes a second time.
        self.alive = self.disk.rows.clone();
        self.damaged = false;
        self.backlog = Some(Backlog::new(self.disk.totals()));
    }

    fn damage(&mut self, part: u8) {
        // The thread tells of it only between two jobs.
        self.end_write(true, true);
        self.loading = None;
        self.disk.rows.retain(|seq, _| part == 0 || seq % 4 != u64::from(part));
        let totals = self.disk.totals();
        self.backlog().reattach(totals, false);
        let in_memory: BTreeSet<u64> = self.backlog().entries().map(|entry| entry.seq).collect();
        self.alive.retain(|seq, _| in_memory.contains(seq) || self.disk.rows.contains_key(seq));
        self.stored.clear();
        self.damaged = true;
    }

    fn check(&mut self) {
        let (alive, taken, damaged) = (self.alive.clone(), self.taken.len(), self.damaged);
        let backlog = self.backlog();
        if !damaged {
            assert_eq!(backlog.waiting() + taken as u64, alive.len() as u64);
            assert_eq!(backlog.bytes(), alive.values().sum::<u64>());
        }
        assert_eq!(backlog.taken(), taken);
        let memory = backlog.entries().map(Entry::cost).sum::<u64>();
        assert_eq!(backlog.memory(), memory);
        assert_eq!(backlog.head_memory, backlog.head.iter().map(Entry::cost).sum::<u64>());
        assert!(backlog.gap.is_some() || backlog.tail.is_empty());
        assert!(backlog.head.iter().is_sorted_by_key(|entry| entry.seq));
    }

    /// Everything is taken and finished, and nothing is left.
    fn drain(&mut self) {
        for _ in 0..10_000 {
            self.end_write(true, true);
            self.end_load(true, false);
            self.step(&Step::BeginLoad);
            self.step(&Step::Take(u8::MAX));
            self.step(&Step::Finish(0));
            while !self.taken.is_empty() {
                self.step(&Step::Finish(0));
            }
            self.step(&Step::BeginWrite { all: true, flush: true });
            if self.alive.is_empty() && self.writing.is_none() && self.loading.is_none() {
                break;
            }
        }
        assert!(self.alive.is_empty(), "never taken: {:?}", self.alive.keys());
        assert!(self.backlog().is_empty() && self.backlog().bytes() == 0);
        assert!(self.disk.rows.is_empty(), "left on the disk: {:?}", self.disk.rows.keys());
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_doubled_or_out_of_order(steps in steps()) {
        let mut world = World::default();
        steps.iter().for_each(|step| world.step(step));
        world.drain();
    }
}
