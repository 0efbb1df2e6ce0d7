//! Whatever happens in whatever order, the promises of a forward hold.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Decision {
    Presumed,
    Reader,
    Observer,
}

#[derive(Debug, Clone)]
enum Step {
    Arrive { length: usize },
    Connect,
    Decide { client: usize, role: Decision },
    Write { client: usize, limit: usize },
    Leave { client: usize },
    Wait { client: usize, millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..6usize;
    let length = prop_oneof![4 => 5..300usize, 1 => 50_000..120_000usize];
    let limit = prop_oneof![1..500usize, 1..200_000usize];
    let role = prop_oneof![3 => Just(Decision::Presumed), 1 => Just(Decision::Reader), 2 => Just(Decision::Observer)];
    prop_oneof![
        6 => length.prop_map(|length| Step::Arrive { length }),
        2 => Just(Step::Connect),
        4 => (client(), role).prop_map(|(client, role)| Step::Decide { client, role }),
        8 => (client(), limit).prop_map(|(client, limit)| Step::Write { client, limit }),
        1 => client().prop_map(|client| Step::Leave { client }),
        1 => (client(), 0..6000u64).prop_map(|(client, millis)| Step::Wait { client, millis }),
    ]
}

/// What the queue has to keep track of, written down plainly.
#[derive(Default)]
struct Model {
    connected: Vec<ClientId>,
    observers: BTreeSet<ClientId>,
    /// Those of them that never counted as readers.
    early: BTreeSet<ClientId>,
    /// For each client the messages that came while it was connected.
    came: BTreeMap<ClientId, Vec<u64>>,
}

impl Model {
    fn pick(&self, client: usize) -> Option<ClientId> {
        self.connected.get(client % self.connected.len().max(1)).copied()
    }

    fn take(&mut self, step: Step, bench: &mut Bench) {
        match step {
            Step::Arrive { length } => {
                let id = bench.arrive(length);
                for client in &self.connected {
                    self.came.entry(*client).or_default().push(id);
                }
            }
            Step::Connect => {
                let id = bench.connect();
                self.connected.push(id);
                self.came.insert(id, Vec::new());
            }
            Step::Decide { client, role } => {
                let Some(id) = self.pick(client) else { return };
                let is_early = bench.queue.role(id) == Some(Role::Undecided);
                match role {
                    Decision::Presumed => bench.queue.presume_reader(id, bench.now),
                    Decision::Reader => bench.queue.confirm_reader(id, bench.now),
                    Decision::Observer => {
                        if bench.queue.observe(id, bench.now) {
                            self.observers.insert(id);
                            if is_early {
                                self.early.insert(id);
                            }
                        }
                    }
                }
                bench.collect();
            }
            Step::Write { client, limit } => {
                self.pick(client).map(|id| bench.write(id, limit));
            }
            Step::Leave { client } => {
                if let Some(id) = self.pick(client) {
                    bench.detach(id);
                    self.connected.retain(|other| *other != id);
                }
            }
            Step::Wait { client, millis } => {
                bench.now += Duration::from_millis(millis);
                if let Some(id) = self.pick(client) {
                    bench.queue.handle_timeout(id, bench.now);
                    bench.collect();
                }
            }
        }
        for cut in bench.queue.take_cut() {
            self.connected.retain(|other| *other != cut.id);
        }
    }

    /// Everybody decides and reads to the end.
    fn finish(&self, bench: &mut Bench) {
        for id in &self.connected {
            bench.queue.presume_reader(*id, bench.now);
            bench.collect();
        }
        for _ in 0..2 {
            for id in &self.connected {
                bench.write_all(*id);
            }
        }
        // What nobody took in time is on the disk now.
        bench.now += SPILL_AFTER;
        bench.collect();
    }
}

proptest! {
    #[test]
    fn every_message_is_written_to_each_reader_or_kept_or_counted(steps in proptest::collection::vec(step(), 1..150)) {
        const KEEP_BYTES: u64 = 400_000;
        let (mut bench, mut model) = (Bench::new(20, KEEP_BYTES), Model::default());
        for step in steps {
            model.take(step, &mut bench);
            prop_assert!(bench.queue.text.len() <= MAX_UNWRITTEN + 120_001, "what is unwritten is bounded");
            prop_assert!(bench.queue.text.buffer().capacity() <= 5 * MAX_UNWRITTEN, "and so is its memory");
            prop_assert!(bench.queue.keep().waiting_bytes() <= KEEP_BYTES && bench.queue.keep().waiting() <= 20);
        }
        model.finish(&mut bench);

        let mut done = bench.done.clone();
        done.sort_unstable();
        prop_assert_eq!(done, (1..=bench.next).collect::<Vec<_>>(), "each message is done exactly once");
        let dropped = bench.queue.keep().dropped() as usize;
        for id in &model.connected {
            let read = bench.whole(*id);
            let live: Vec<u64> = read.iter().copied().filter(|message| model.came[id].contains(message)).collect();
            prop_assert!(live.is_sorted(), "what comes while a client is connected comes to it in order");
            prop_assert_eq!(read.iter().collect::<BTreeSet<_>>().len(), read.len(), "and nothing twice");
            if model.early.contains(id) {
                prop_assert_eq!(&read, &model.came[id], "an observer gets all that comes, and only that");
            } else if dropped == 0 && !model.observers.contains(id) {
                // One that drains gets new messages through `keep`, which drops them when it is full.
                prop_assert_eq!(&live, &model.came[id], "a reader that stays gets all that comes");
            }
        }
        let readers = bench.read.keys().filter(|id| !model.observers.contains(id));
        let read: BTreeSet<u64> = readers.flat_map(|id| bench.whole(*id)).collect();
        prop_assert_eq!(bench.queue.counters().written as usize, read.len());
        prop_assert_eq!(bench.next as usize - read.len(), bench.kept() as usize + dropped, "what nobody read is kept or counted");
    }
}
