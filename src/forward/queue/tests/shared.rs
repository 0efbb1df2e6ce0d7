//! `ack = "reader"`: the readers share the messages.

use super::*;

fn bench() -> Bench {
    Bench::with(Ack::Reader, 10_000, 16 << 20)
}

impl Bench {
    fn acknowledge(&mut self, id: u64) -> bool {
        let known = self.queue.acknowledge(id, self.now);
        self.collect();
        known
    }
}

#[test]
fn a_message_is_done_when_a_reader_has_acknowledged_it_and_never_touches_the_disk_before_its_time() {
    let mut bench = bench();
    let reader = bench.attach(Role::Reader);
    for _ in 0..3 {
        bench.arrive(5);
    }
    assert_eq!(bench.write_all(reader), [1, 2, 3]);
    assert_eq!(bench.done, [0; 0]);
    assert!(bench.acknowledge(2));
    assert_eq!((bench.done.as_slice(), bench.kept(), bench.queue.unacknowledged()), (&[2][..], 2, 2));
    bench.now += SPILL_AFTER - Duration::from_millis(1);
    bench.collect();
    assert!(bench.acknowledge(1));
    assert_eq!(bench.writes, 0);
    bench.now += Duration::from_millis(1);
    bench.collect();
    assert_eq!((bench.done.as_slice(), bench.writes), (&[2, 1, 3][..], 1), "what waits for longer is on the disk");
    assert!(bench.acknowledge(3));
    assert_eq!(bench.done, [2, 1, 3], "done once");
    assert_eq!(bench.kept(), 0);
}

#[test]
fn each_message_goes_to_one_reader_and_they_share_the_work() {
    let mut bench = bench();
    let (one, two) = (bench.attach(Role::Reader), bench.attach(Role::Reader));
    let observer = bench.attach(Role::Observer);
    for _ in 0..10 {
        bench.arrive(5);
    }
    let (mut read, second) = (bench.write_all(one), bench.write_all(two));
    assert_eq!((read.len(), second.len()), (5, 5));
    read.extend(second);
    read.sort_unstable();
    assert_eq!(read, (1..=10).collect::<Vec<_>>());
    assert_eq!(bench.write_all(observer), (1..=10).collect::<Vec<_>>());
    // One that acknowledges more gets more.
    (1..=10).filter(|id| bench.whole(one).contains(id)).collect::<Vec<_>>().into_iter().for_each(|id| {
        bench.acknowledge(id);
    });
    for _ in 0..5 {
        bench.arrive(5);
    }
    assert_eq!((bench.write_all(one).len(), bench.write_all(two).len()), (10, 5));
}

#[test]
fn what_a_reader_leaves_unacknowledged_comes_again_and_first() {
    let mut bench = bench();
    let reader = bench.attach(Role::Reader);
    for _ in 0..4 {
        bench.arrive(5);
    }
    bench.write(reader, 6 * 3 + 2);
    assert!(bench.acknowledge(1));
    bench.detach(reader);
    assert_eq!((bench.done.as_slice(), bench.writes), (&[1, 2, 3, 4][..], 3), "it is stored, so it is done");
    bench.arrive(5);
    // An acknowledgement that was on its way when the connection ended counts.
    assert!(bench.acknowledge(2));
    assert!(!bench.acknowledge(5), "this one nobody has been given");
    let next = bench.attach(Role::Reader);
    assert_eq!(bench.write_all(next), [3, 4, 5]);
    let marked = |id| bench.disk[&id].duplicate;
    assert_eq!([3, 4, 5].map(marked), [true, false, false], "of 4 the first reader had only a part");
    [3, 4, 5].into_iter().for_each(|id| assert!(bench.acknowledge(id)));
    assert_eq!((bench.kept(), bench.done.len()), (0, 5));
}

#[test]
fn a_message_that_comes_again_is_marked_as_a_duplicate() {
    let mut bench = bench();
    bench.queue.encoder = Encoder::new(Format::Json);
    let reader = bench.attach(Role::Reader);
    bench.arrive(5);
    bench.arrive(5);
    let Due::Text(text) = bench.queue.due(reader) else { panic!() };
    let first = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    bench.queue.wrote(reader, first, bench.now);
    bench.detach(reader);
    let next = bench.attach(Role::Reader);
    let Due::Text(text) = bench.queue.due(next) else { panic!() };
    let duplicates: Vec<bool> =
        std::str::from_utf8(text).unwrap().lines().map(|line| line.contains(r#""duplicate":true"#)).collect();
    assert_eq!(duplicates, [true, false], "only what the first reader can have had");
}

#[test]
fn without_a_reader_messages_are_stored_at_once() {
    let mut bench = bench();
    bench.arrive(5);
    assert_eq!((bench.done.as_slice(), bench.writes), (&[1][..], 1));
    let observer = bench.attach(Role::Observer);
    bench.arrive(5);
    assert_eq!((bench.write_all(observer), bench.done.len()), (vec![2], 2));
}

#[test]
fn a_client_that_turns_out_to_be_a_reader_gets_what_came_meanwhile_once() {
    let mut bench = bench();
    let client = bench.connect();
    bench.arrive(5);
    assert_eq!(bench.write(client, 100), 0);
    bench.decide(client, Role::Reader);
    assert_eq!(bench.write_all(client), [1]);
    assert_eq!(bench.queue.text.len(), 0);
}

#[test]
fn what_readers_leave_unacknowledged_is_bounded_and_the_rest_goes_to_the_disk() {
    let mut bench = bench();
    let reader = bench.attach(Role::Reader);
    for _ in 0..120 {
        bench.arrive(100_000);
        bench.now += Duration::from_millis(10);
    }
    let given = bench.write_all(reader);
    assert!((10..20).contains(&given.len()), "{}", given.len());
    bench.now += SPILL_AFTER;
    bench.collect();
    // That the reader has had these for so long is to be known after a restart.
    assert_eq!((bench.writes, bench.done.len()), (120 + given.len(), 120));
    let mut next = 1;
    while next <= 120 {
        assert!(bench.acknowledge(next));
        next += 1;
        bench.write_all(reader);
    }
    assert_eq!(bench.whole(reader), (1..=120).collect::<Vec<_>>());
    assert_eq!(bench.queue.take_cut(), []);
}

#[test]
fn a_reader_that_takes_nothing_is_cut_and_another_gets_its_share() {
    let mut bench = bench();
    let (stuck, good) = (bench.attach(Role::Reader), bench.attach(Role::Reader));
    for _ in 0..4 {
        bench.arrive(5);
    }
    assert_eq!(bench.write_all(good).len(), 2);
    bench.now += MAX_WAIT;
    bench.queue.handle_timeout(stuck, bench.now);
    assert_eq!(bench.queue.take_cut().len(), 1);
    let mut read = bench.write_all(good);
    read.sort_unstable();
    assert_eq!(read, [1, 2, 3, 4]);
}

#[test]
fn what_a_late_observer_was_given_to_acknowledge_waits_again_and_is_no_duplicate() {
    let mut bench = bench();
    bench.arrive(5);
    let late = bench.attach(Role::Reader);
    bench.arrive(5);
    assert_eq!(bench.write_all(late), [1, 2]);
    bench.now += SPILL_AFTER;
    bench.collect();
    assert!(bench.disk.values().all(|row| row.duplicate), "a reader has had them, for all one knows");
    bench.decide(late, Role::Observer);
    assert!(bench.disk.values().all(|row| !row.duplicate) && bench.queue.readers() == 0);
    bench.arrive(5);
    assert_eq!(bench.write_all(late), [1, 2, 3]);
    let reader = bench.attach(Role::Reader);
    assert_eq!((bench.write_all(reader), bench.queue.keep().taken(1).unwrap().1), (vec![1, 2, 3], true));
    // Since it has been given to this one.
    assert!(bench.queue.acknowledge(1, bench.now));
}
