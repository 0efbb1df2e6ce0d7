use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::message::{Qos, Topic};
use crate::store::durable::DiskQueue as _;

const SECOND: Duration = Duration::from_secs(1);

fn keep(messages: u64, bytes: u64, when_full: WhenFull) -> Keep {
    Keep::new(&config::Keep { messages, bytes, when_full }, QueueState { generation: 1, ..QueueState::default() })
}

fn message(length: usize) -> Inbound {
    Inbound {
        topic: Topic::received("t"),
        payload: Bytes::from(vec![b'x'; length - 1]),
        qos: Qos::AtLeastOnce,
        retain: false,
        duplicate: false,
        received_at: Timestamp::UNIX_EPOCH,
        properties: None,
    }
}

fn insert(keep: &mut Keep, id: u64, length: usize) {
    keep.insert(id, &message(length), Some(AckToken::new(id)), Instant::now());
}

fn ids(keep: &mut Keep) -> Vec<u64> {
    std::iter::from_fn(|| keep.take().map(|(id, ..)| id)).collect()
}

#[test]
fn messages_that_come_back_take_their_old_place() {
    let mut keep = keep(10, 10_000, WhenFull::DropOldest);
    for id in [5, 9, 2, 7, 1] {
        insert(&mut keep, id, 10);
    }
    assert_eq!(ids(&mut keep), [1, 2, 5, 7, 9]);
    for id in [7, 2, 9] {
        keep.put_back(id, Instant::now());
    }
    assert_eq!(ids(&mut keep), [2, 7, 9]);
}

#[test]
fn when_full_the_oldest_or_the_newest_gives_way_is_counted_and_not_asked_for_again() {
    let mut oldest = keep(3, 10_000, WhenFull::DropOldest);
    let mut newest = keep(3, 10_000, WhenFull::RejectNew);
    for id in [1, 2, 3, 5, 4] {
        insert(&mut oldest, id, 10);
        insert(&mut newest, id, 10);
    }
    assert_eq!((ids(&mut oldest), oldest.dropped()), (vec![3, 4, 5], 2));
    assert_eq!((ids(&mut newest), newest.dropped()), (vec![1, 2, 3], 2));
    assert_eq!(oldest.take_done().collect::<Vec<_>>(), [1, 2].map(AckToken::new));
    assert_eq!(newest.take_done().collect::<Vec<_>>(), [5, 4].map(AckToken::new));
}

#[test]
fn bytes_are_bounded_and_one_message_too_large_displaces_nothing() {
    let mut keep = keep(100, 500, WhenFull::DropOldest);
    for id in 1..=10 {
        insert(&mut keep, id, 100);
        assert!(keep.bytes() <= 500);
    }
    insert(&mut keep, 11, 501);
    assert_eq!((ids(&mut keep), keep.dropped()), (vec![6, 7, 8, 9, 10], 6));
}

#[test]
fn what_the_server_sends_again_while_the_disk_takes_nothing_does_not_wait_twice() {
    let mut keep = keep(u64::MAX, u64::MAX, WhenFull::DropOldest);
    (1..=3).for_each(|id| insert(&mut keep, id, 10));
    let mut repeated = message(10);
    let mut token = 3;
    let mut again = |keep: &mut Keep, duplicate| {
        repeated.duplicate = duplicate;
        token += 1;
        keep.adopts(&repeated, Some(AckToken::new(token)))
    };
    assert!(!again(&mut keep, true), "its PUBACK may still go out");
    for _ in 0..5 {
        keep.link_down();
        assert!(!again(&mut keep, false), "another one that says the same");
        assert!((0..3).all(|_| again(&mut keep, true)) && !again(&mut keep, true));
    }
    assert_eq!(keep.waiting(), 3);
    let released: Vec<AckToken> = keep.take_done().collect();
    assert_eq!(released.len(), 15, "nobody waits for those any more");
    while keep.take().is_some() {}
    (1..=3).for_each(|id| keep.finish(id, Instant::now()));
    let last: Vec<AckToken> = keep.take_done().collect();
    assert_eq!(last, [token - 3, token - 2, token - 1].map(AckToken::new));
}

#[test]
fn what_is_on_its_way_to_a_reader_stays() {
    let mut keep = keep(2, 10_000, WhenFull::DropOldest);
    insert(&mut keep, 3, 10);
    keep.take();
    for id in [4, 5, 6] {
        insert(&mut keep, id, 10);
    }
    assert_eq!((ids(&mut keep), keep.dropped()), (vec![5, 6], 1));
    keep.put_back(3, Instant::now());
    assert_eq!(ids(&mut keep), [3]);
}

#[test]
fn what_a_reader_has_had_for_long_is_a_duplicate_on_the_disk_too() {
    let mut keep = keep(10, 10_000, WhenFull::DropOldest);
    let start = Instant::now();
    (1..=3).for_each(|id| insert(&mut keep, id, 10));
    let write = keep.next_write(start + SECOND).unwrap();
    assert!(write.insert.len() == 3 && write.insert.iter().all(|row| !row.duplicate));
    (1..=2).for_each(|id| assert_eq!(keep.take().unwrap().0, id));
    keep.note_given(1, start + SECOND * 2);
    keep.write_ended(true, start + SECOND);
    keep.note_given(2, start + SECOND * 2);
    assert!(keep.next_write(start + SECOND).is_none(), "it may be done soon");
    assert!(keep.acknowledge(2, start + SECOND) && keep.timeout().is_some());
    let write = keep.next_write(start + SECOND * 2).unwrap();
    let rows: Vec<(u64, bool)> = write.insert.iter().map(|row| (row.seq, row.duplicate)).collect();
    assert_eq!((rows, write.delete), (vec![(1, true)], vec![2..=2, 1..=1]));
    keep.write_ended(true, start + SECOND * 2);
    keep.put_back(1, start + SECOND * 2);
    assert!(keep.next_write(start + SECOND * 3).is_none(), "the disk knows");
}

#[test]
fn qos_0_does_not_take_memory_without_bound() {
    let mut keep = keep(u64::MAX, u64::MAX, WhenFull::DropOldest);
    let message = Inbound {
        topic: Topic::received("t"),
        payload: Bytes::from(vec![b'x'; 100_000]),
        qos: Qos::AtMostOnce,
        retain: false,
        duplicate: false,
        received_at: Timestamp::UNIX_EPOCH,
        properties: None,
    };
    (0..100).for_each(|id| keep.insert(id, &message, None, Instant::now()));
    assert!(keep.bytes() <= MEMORY && keep.dropped() == 100 - keep.len());
}

#[test]
fn what_is_counted_for_a_message_is_no_less_than_what_it_takes() {
    // A list that has grown has room for as many again; the topic and the payload are allocations of their own.
    let entry = size_of::<(u64, Kept, u64)>();
    assert!(2 * entry + 32 <= ENTRY_OVERHEAD as usize, "{entry}");
}

#[test]
fn connections_that_end_do_not_add_up_in_memory() {
    let mut keep = keep(1_000_000, 1 << 30, WhenFull::DropOldest);
    for connection in 0..20 {
        for id in 1..=100 {
            insert(&mut keep, connection * 100 + id, 100_000);
        }
        assert!(keep.bytes() <= (4 << 20) + 10_000_000, "one window beyond the bound: {}", keep.bytes());
        keep.link_down();
        assert!(keep.bytes() <= 4 << 20, "{}", keep.bytes());
    }
    assert_eq!(keep.dropped(), 0, "the server has them");
}
