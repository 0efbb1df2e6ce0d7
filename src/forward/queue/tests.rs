use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::patience::{HOLD, MAX_WAIT};
use super::*;
use crate::config::{Format, SocketFile, WhenFull};
use crate::message::{Properties, Qos, Topic};
use crate::store::durable::DiskQueue as _;
use crate::store::{Moment, Page, QueueState, Row};

mod bounds;
mod promises;
mod shared;

fn message(payload: &str) -> Inbound {
    Inbound {
        topic: Topic::received("t"),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos: Qos::AtLeastOnce,
        retain: false,
        duplicate: false,
        received_at: jiff::Timestamp::UNIX_EPOCH,
        properties: None,
    }
}

const SPILL_AFTER: Duration = Duration::from_secs(1);

/// A queue, a clock and a disk, all driven by hand. Every message is its own number, padded to a length.
struct Bench {
    queue: Queue,
    disk: BTreeMap<u64, Row>,
    /// How many rows were written.
    writes: usize,
    /// Up to where it was written that messages may have been given.
    notes: Vec<u64>,
    now: Instant,
    next: u64,
    done: Vec<u64>,
    /// What each client was written.
    read: BTreeMap<ClientId, Vec<u8>>,
}

impl Bench {
    fn new(messages: u64, bytes: u64) -> Bench {
        Bench::with(Ack::Written, messages, bytes)
    }

    fn with(ack: Ack, messages: u64, bytes: u64) -> Bench {
        let config = config::Forward {
            name: "messages".into(),
            filters: Vec::new(),
            allow: None,
            qos: Qos::AtLeastOnce,
            socket: SocketFile { path: "unused".into(), mode: 0o660, group: None },
            format: Format::Payload,
            ack,
            keep: config::Keep { messages, bytes, when_full: WhenFull::DropOldest },
        };
        let keep = Keep::new(&config.keep, QueueState { generation: 1, ..QueueState::default() });
        let queue = Queue::new(&config, SPILL_AFTER, keep);
        let disk = BTreeMap::new();
        let (now, done, read) = (Instant::now(), Vec::new(), BTreeMap::new());
        Bench { queue, disk, writes: 0, notes: Vec::new(), now, next: 0, done, read }
    }

    /// The disk does at once what it is asked.
    fn serve_disk(&mut self) {
        let moment = Moment { since_boot: Duration::ZERO, synchronised: None };
        while let Some(write) = self.queue.keep_mut().next_write(self.now) {
            for range in write.delete {
                self.disk.retain(|id, _| !range.contains(id));
            }
            self.writes += write.insert.len();
            self.notes.extend(write.notes.into_iter().map(|(_, given)| given.parse::<u64>().unwrap()));
            for row in write.insert {
                assert!(self.disk.insert(row.seq, row).is_none(), "written once");
            }
            self.queue.keep_mut().write_ended(true, self.now);
            self.queue.kept(self.now);
        }
        while let Some(load) = self.queue.keep_mut().next_load() {
            let first = load.after.map_or(0, |after| after + 1);
            let rows: Vec<Row> = self.disk.range(first..=load.until).map(|(_, row)| row.clone()).collect();
            self.queue.keep_mut().load_ended(Some(Page { rows, complete: true }), self.now, &moment);
            self.queue.kept(self.now);
        }
    }

    fn arrive(&mut self, length: usize) -> u64 {
        self.next += 1;
        let number = self.next.to_string();
        let text = "0".repeat(length - number.len()) + &number;
        self.queue.arrive(self.next, &message(&text), Some(AckToken::new(self.next)), self.now);
        self.collect();
        self.next
    }

    fn connect(&mut self) -> ClientId {
        let id = self.queue.attach(false, self.now);
        self.read.insert(id, Vec::new());
        id
    }

    fn attach(&mut self, role: Role) -> ClientId {
        let id = self.connect();
        self.decide(id, role);
        id
    }

    fn decide(&mut self, id: ClientId, role: Role) {
        match role {
            Role::Undecided => {}
            Role::Reader => self.queue.presume_reader(id, self.now),
            Role::Observer => assert!(self.queue.observe(id, self.now)),
        }
        self.collect();
    }

    /// Writes at most `limit` bytes to a client; returns how many.
    fn write(&mut self, id: ClientId, limit: usize) -> usize {
        let Due::Text(offered) = self.queue.due(id) else { return 0 };
        assert!(!offered.is_empty(), "something is due, so it isn't nothing");
        let n = offered.len().min(limit);
        self.read.entry(id).or_default().extend_from_slice(&offered[..n]);
        self.queue.wrote(id, n, self.now);
        self.collect();
        n
    }

    fn write_all(&mut self, id: ClientId) -> Vec<u64> {
        while self.write(id, usize::MAX) > 0 {}
        self.whole(id)
    }

    /// The messages that a client has got to the end.
    fn whole(&self, id: ClientId) -> Vec<u64> {
        let read = std::str::from_utf8(&self.read[&id]).unwrap();
        let whole = read.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        // A number is in the last digits: to parse all of a long line takes long.
        whole.map(|line| line[line.len().saturating_sub(10)..].trim().parse().unwrap()).collect()
    }

    fn detach(&mut self, id: ClientId) {
        self.queue.detach(id, self.now);
        self.collect();
    }

    fn collect(&mut self) {
        self.serve_disk();
        let next = self.next;
        let number = |token| (1..=next).find(|n| AckToken::new(*n) == token).unwrap();
        self.done.extend(self.queue.take_done().map(number));
    }

    fn kept(&self) -> u64 {
        self.queue.keep().len()
    }
}

#[test]
fn a_message_is_done_when_every_reader_connected_at_its_arrival_has_it() {
    let mut bench = Bench::new(10, 10_000);
    let (one, two) = (bench.attach(Role::Reader), bench.attach(Role::Reader));
    bench.arrive(5);
    assert_eq!(bench.write_all(one), [1]);
    assert_eq!(bench.done, [0; 0]);
    bench.attach(Role::Reader);
    bench.write(two, 4);
    assert_eq!(bench.done, [0; 0], "half a line is none");
    bench.write_all(two);
    assert_eq!(bench.done, [1], "who connects later doesn't count");
}

#[test]
fn without_a_reader_messages_are_done_and_wait_for_the_next() {
    let mut bench = Bench::new(10, 10_000);
    for _ in 0..3 {
        bench.arrive(5);
    }
    assert_eq!((bench.done.as_slice(), bench.kept()), (&[1, 2, 3][..], 3));
    let observer = bench.attach(Role::Observer);
    bench.arrive(5);
    assert_eq!((bench.write_all(observer), bench.kept()), (vec![4], 4), "an observer counts as nobody");
    let reader = bench.attach(Role::Reader);
    bench.arrive(5);
    assert_eq!(bench.write_all(reader), [1, 2, 3, 4, 5]);
    assert_eq!((bench.done.as_slice(), bench.kept()), (&[1, 2, 3, 4, 5][..], 0));
}

#[test]
fn the_backlog_comes_first_for_one_reader_while_others_go_on() {
    let mut bench = Bench::new(10, 10_000);
    bench.arrive(5);
    bench.arrive(5);
    let first = bench.attach(Role::Reader);
    bench.write(first, 3);
    let second = bench.attach(Role::Reader);
    bench.arrive(5);
    assert_eq!(bench.write_all(second), [3]);
    assert_eq!(bench.write_all(first), [1, 2, 3]);
}

#[test]
fn a_backlog_that_its_reader_leaves_goes_to_another_from_the_start_of_the_line() {
    let mut bench = Bench::new(10, 10_000);
    for _ in 0..3 {
        bench.arrive(5);
    }
    let first = bench.attach(Role::Reader);
    let second = bench.attach(Role::Reader);
    bench.write(first, 6 + 3);
    bench.arrive(5);
    bench.write(second, 2);
    bench.detach(first);
    assert_eq!(bench.write_all(second), [4, 2, 3], "a line that is begun is finished first");
    assert_eq!(bench.kept(), 0);
}

#[test]
fn what_the_only_reader_wasnt_written_is_kept() {
    let mut bench = Bench::new(10, 10_000);
    let reader = bench.attach(Role::Reader);
    for _ in 0..3 {
        bench.arrive(5);
    }
    bench.write(reader, 6 + 5);
    assert_eq!(bench.done, [1]);
    bench.detach(reader);
    assert_eq!((bench.done.as_slice(), bench.kept()), (&[1, 2, 3][..], 2));
    bench.arrive(5);
    let next = bench.attach(Role::Reader);
    assert_eq!(bench.write_all(next), [2, 3, 4]);
}

#[test]
fn when_the_last_reader_leaves_what_it_was_not_given_yet_is_stored_before_what_comes_next() {
    for decides in [false, true] {
        let mut bench = Bench::with(Ack::Reader, 10, 10 * WRITE as u64);
        let client = if decides { bench.attach(Role::Reader) } else { bench.connect() };
        // More than is given at once.
        for _ in 0..3 {
            bench.arrive(WRITE);
        }
        assert!(bench.disk.is_empty() && bench.done.is_empty(), "its acknowledgement may come in time");
        match decides {
            true => bench.detach(client),
            false => bench.decide(client, Role::Observer),
        }
        bench.collect();
        assert_eq!((bench.disk.keys().copied().collect(), &bench.done), (vec![1, 2, 3], &vec![1, 2, 3]));
    }
}

#[test]
fn what_another_reader_gets_is_not_kept() {
    let mut bench = Bench::new(10, 10_000);
    let (one, two) = (bench.attach(Role::Reader), bench.attach(Role::Reader));
    bench.arrive(5);
    bench.arrive(5);
    bench.write(one, 6);
    bench.detach(two);
    assert_eq!((bench.done.as_slice(), bench.kept()), (&[1][..], 0));
    bench.detach(one);
    assert_eq!((bench.done.as_slice(), bench.kept()), (&[1, 2][..], 1));
}

#[test]
fn an_observer_gives_back_what_it_was_owed_as_a_reader() {
    let mut bench = Bench::new(10, 10_000);
    let client = bench.connect();
    bench.arrive(5);
    assert_eq!(
        (bench.write(client, 100), bench.done.len()),
        (0, 0),
        "nothing is written to a client that is undecided"
    );
    bench.decide(client, Role::Observer);
    assert_eq!((bench.done.as_slice(), bench.kept()), (&[1][..], 1));
    assert_eq!(bench.write_all(client), [1]);
    let reader = bench.attach(Role::Reader);
    assert_eq!(bench.write_all(reader), [1]);
}

#[test]
fn what_only_a_late_observer_was_given_waits_for_a_reader_as_if_it_had_never_been_given() {
    let mut bench = Bench::new(10, 10_000);
    bench.arrive(5);
    bench.arrive(5);
    let late = bench.attach(Role::Reader);
    // One line and the begin of the next, whose rest it must get, too.
    bench.write(late, 8);
    bench.arrive(5);
    assert_eq!(bench.kept(), 2);
    bench.decide(late, Role::Observer);
    assert_eq!((bench.kept(), bench.queue.readers(), bench.queue.counters().written), (3, 0, 0));
    bench.arrive(5);
    assert_eq!(bench.write_all(late), [1, 2, 4]);
    let reader = bench.attach(Role::Reader);
    assert_eq!(bench.write_all(reader), [1, 2, 3, 4]);
    assert_eq!(bench.done, [1, 2, 3, 4]);
}

#[test]
fn what_a_reader_gets_too_a_late_observer_does_not_give_back() {
    let mut bench = Bench::new(10, 10_000);
    let [late, other, gone] = [(); 3].map(|()| bench.attach(Role::Reader));
    bench.arrive(5);
    bench.write_all(late);
    bench.write_all(gone);
    bench.detach(gone);
    bench.arrive(5);
    bench.write_all(late);
    bench.decide(late, Role::Observer);
    assert_eq!(bench.kept(), 0, "the other is still to be written both");
    assert_eq!((bench.write_all(other), bench.kept()), (vec![1, 2], 0));
    // Who has said something is what it is.
    bench.queue.confirm_reader(other, bench.now);
    assert!(!bench.queue.observe(other, bench.now));
}
