//! What random histories come upon too seldom.

use super::*;

#[test]
fn a_long_backlog_leaves_memory_and_comes_back_in_order() {
    let mut world = World::default();
    for _ in 0..200 {
        world.step(&Step::Insert(10, 9_900));
        world.step(&Step::BeginWrite { all: true, flush: false });
        world.step(&Step::EndWrite { done: true, said: true });
        let memory = world.backlog().memory();
        assert!(memory <= HEAD + 10 * (9_900 + ENTRY_OVERHEAD), "{memory}");
    }
    assert_eq!(world.backlog().waiting(), 2000);
    world.drain();
}

#[test]
fn an_answer_of_the_disk_that_was_before_changes_nothing() {
    let stored = Totals { messages: 3, bytes: 30, first: Some(1), last: Some(3) };
    let mut backlog: Backlog<Message> = Backlog::new(stored);
    backlog.begin_load(QueueId::OUTBOX).unwrap();
    // It had to be opened anew for the load.
    backlog.reattach(stored, false);
    assert_eq!(backlog.end_load([(1, Message(10))], true), 0);
    assert_eq!((backlog.waiting(), backlog.bytes()), (3, 30));
    let load = backlog.begin_load(QueueId::OUTBOX).unwrap();
    assert_eq!((load.after, load.until), (None, 3));
    assert_eq!(backlog.end_load((1..=3).map(|seq| (seq, Message(10))), true), 0);
    assert_eq!((backlog.waiting(), backlog.bytes()), (3, 30));
}

#[test]
fn a_disk_that_could_not_be_opened_at_first_comes_first_afterwards() {
    let mut backlog: Backlog<Message> = Backlog::new(Totals::default());
    for seq in 100..103 {
        backlog.insert(seq, Message(10));
    }
    assert_eq!(backlog.take().unwrap().0, 100);
    let disk = Disk { rows: (5..8).map(|seq| (seq, 10)).collect() };
    backlog.reattach(disk.totals(), true);
    assert_eq!((backlog.waiting(), backlog.front()), (5, None));
    let load = backlog.begin_load(QueueId::OUTBOX).unwrap();
    let (rows, complete) = disk.load(&load, 10);
    assert_eq!(backlog.end_load(rows, complete), 0);
    let order: Vec<u64> = std::iter::from_fn(|| backlog.take().map(|(seq, _)| seq)).collect();
    assert_eq!(order, [5, 6, 7, 101, 102]);
}

#[test]
fn one_that_comes_back_late_takes_its_old_place() {
    let mut backlog = Backlog::new(Totals { messages: 2, bytes: 20, first: Some(10), last: Some(20) });
    backlog.insert(15, Message(10));
    backlog.insert(30, Message(10));
    let load = backlog.begin_load(QueueId::OUTBOX).unwrap();
    assert_eq!((load.after, load.until), (None, 20));
    let page = Page { rows: Vec::new(), complete: true };
    assert_eq!(backlog.end_load([(10, Message(10)), (20, Message(10))], page.complete), 0);
    let order: Vec<u64> = std::iter::from_fn(|| backlog.take().map(|(seq, _)| seq)).collect();
    assert_eq!(order, [10, 15, 20, 30]);
    assert_eq!(backlog.bytes(), 40);
}
