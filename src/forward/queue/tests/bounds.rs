//! What is held for readers that are slow, and when one is cut.

use super::*;

#[test]
fn what_is_held_for_silent_readers_is_bounded_and_then_they_are_readers() {
    let mut bench = Bench::new(10_000, 16 << 20);
    let client = bench.attach(Role::Reader);
    for _ in 0..10 {
        bench.arrive(100_000);
    }
    bench.write_all(client);
    assert_eq!(bench.queue.presumed.take_back(client).len(), 10);
    for _ in 0..20 {
        bench.arrive(100_000);
        bench.write_all(client);
    }
    assert!(bench.queue.presumed.take_back(client).is_empty() && !bench.queue.observe(client, bench.now));
}

#[test]
fn a_reader_that_takes_nothing_delays_acknowledgements_for_a_moment_and_is_cut_after_ten_seconds() {
    let mut bench = Bench::new(10, 10_000);
    let (slow, fast) = (bench.attach(Role::Reader), bench.attach(Role::Reader));
    bench.arrive(5);
    bench.write_all(fast);
    let arrived = bench.now;
    assert_eq!(bench.queue.timeout(slow), Some(arrived + HOLD));
    bench.now = arrived + HOLD;
    bench.queue.handle_timeout(slow, bench.now);
    bench.collect();
    assert_eq!(bench.done, [1]);
    assert_eq!(bench.queue.timeout(slow), Some(arrived + MAX_WAIT));
    bench.now = arrived + MAX_WAIT;
    bench.queue.handle_timeout(slow, bench.now);
    assert_eq!(bench.queue.take_cut(), [Cut { id: slow, role: Role::Reader, cause: Cause::TooSlow, unwritten: 6 }]);
    assert_eq!(bench.queue.due(slow), Due::Close);
    assert_eq!((bench.kept(), bench.queue.counters().missed), (0, 1));
    bench.collect();
    assert_eq!(bench.done, [1], "done once");
}

#[test]
fn a_reader_that_takes_nothing_delays_nothing_once_the_daemon_stops() {
    let mut bench = Bench::new(10, 10_000);
    let slow = bench.attach(Role::Reader);
    bench.arrive(5);
    bench.queue.keep_mut().stop();
    assert_eq!(bench.queue.timeout(slow), Some(bench.now));
    bench.queue.handle_timeout(slow, bench.now);
    bench.collect();
    assert_eq!(bench.done, [1]);
}

#[test]
fn a_reader_with_too_much_unwritten_is_cut_and_slows_nobody() {
    let mut bench = Bench::new(10_000, 16 * 1024 * 1024);
    let (slow, fast) = (bench.attach(Role::Reader), bench.attach(Role::Reader));
    let mut count = 0;
    while bench.queue.take_cut().is_empty() {
        count = bench.arrive(10_000);
        bench.write_all(fast);
        assert!(bench.queue.text.len() <= MAX_UNWRITTEN + 10_001);
    }
    assert_eq!(count, MAX_UNWRITTEN as u64 / 10_001 + 1);
    assert_eq!(bench.queue.due(slow), Due::Close);
    assert_eq!(bench.done.len() as u64, count);
    assert_eq!(bench.queue.text.len(), 0);
}

#[test]
fn what_is_on_the_disk_says_that_a_reader_may_have_it() {
    let duplicates = |bench: &Bench| bench.disk.values().map(|row| row.duplicate).collect::<Vec<_>>();
    let mut bench = Bench::new(10, 10_000);
    bench.arrive(5);
    assert_eq!((duplicates(&bench), &bench.notes), (vec![false], &Vec::new()));
    // Before any of what waits there is given.
    let slow = bench.attach(Role::Reader);
    assert_eq!((bench.whole(slow), &bench.notes), (vec![], &vec![1]));
    assert_eq!(bench.write_all(slow), [1]);
    // What it is still to be written goes to the disk: it may have it at any time from then on.
    bench.arrive(5);
    bench.now += HOLD;
    bench.queue.handle_timeout(slow, bench.now);
    bench.collect();
    assert_eq!(duplicates(&bench).last(), Some(&true));
    // When it goes, it has not had it.
    bench.detach(slow);
    assert_eq!(duplicates(&bench), [false]);
    let next = bench.attach(Role::Reader);
    assert_eq!((bench.write_all(next), &bench.notes), (vec![2], &vec![1, 2]));
}

#[test]
fn a_client_is_not_cut_for_what_comes_before_it_is_known_what_it_is() {
    let mut bench = Bench::new(10_000, 16 * 1024 * 1024);
    let client = bench.connect();
    let mut read = Vec::new();
    for _ in 0..200 {
        bench.arrive(10_000);
        read = bench.write_all(client);
    }
    assert_eq!((bench.queue.take_cut(), bench.queue.role(client)), (Vec::new(), Some(Role::Reader)));
    assert_eq!(read, (1..=200).collect::<Vec<_>>());
}

#[test]
fn what_is_held_for_a_reader_that_does_not_read_is_bounded_whatever_its_messages_carry() {
    let mut bench = Bench::new(10_000, 16 * 1024 * 1024);
    let (slow, fast) = (bench.attach(Role::Reader), bench.attach(Role::Reader));
    let property = ("k".repeat(50), "v".repeat(8000));
    let properties = Properties { user_properties: vec![property], ..Properties::default() };
    let message = Inbound { properties: Some(Arc::new(properties)), ..message("1") };
    let mut count = 0;
    while bench.queue.take_cut().is_empty() {
        count += 1;
        bench.queue.arrive(count, &message, None, bench.now);
        let held: u64 = bench.queue.lines.iter().map(|line| line.cost()).sum();
        assert!(held <= MAX_HELD, "{held} bytes for {count} lines of 2 bytes");
        bench.write_all(fast);
    }
    assert_eq!(bench.queue.due(slow), Due::Close);
    assert!((400..520).contains(&count), "{count}");
    assert!(bench.queue.lines.is_empty() && bench.queue.text.len() == 0);
}

#[test]
fn a_reader_that_works_through_a_long_backlog_is_not_cut_for_what_comes_meanwhile() {
    let mut bench = Bench::new(10_000, 16 * 1024 * 1024);
    for _ in 0..10 {
        bench.arrive(50);
    }
    let reader = bench.attach(Role::Reader);
    let observer = bench.attach(Role::Observer);
    for _ in 0..200 {
        bench.arrive(10_000);
        bench.write_all(observer);
        bench.now += Duration::from_secs(1);
        bench.write(reader, 1);
        bench.queue.handle_timeout(reader, bench.now);
    }
    assert_eq!(bench.queue.take_cut(), []);
    assert_eq!(bench.write_all(reader), (1..=210).collect::<Vec<_>>());
    assert_eq!(bench.write_all(observer), (11..=210).collect::<Vec<_>>());
    assert_eq!(bench.done.len(), 210);
}

#[test]
fn a_client_that_leaves_answers_unread_is_cut_and_no_other() {
    let mut bench = Bench::new(10, 10_000);
    let (deaf, other) = (bench.attach(Role::Reader), bench.attach(Role::Reader));
    bench.arrive(5);
    bench.queue.cut_for_answers(deaf, 100, bench.now);
    assert_eq!(bench.queue.take_cut(), [Cut { id: deaf, role: Role::Reader, cause: Cause::TooSlow, unwritten: 106 }]);
    bench.queue.cut_for_answers(deaf, 100, bench.now);
    assert!(bench.queue.take_cut().is_empty(), "it is gone");
    assert_eq!((bench.queue.due(deaf), bench.queue.role(other)), (Due::Close, Some(Role::Reader)));
}
