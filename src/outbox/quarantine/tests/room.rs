//! What it holds at the most, on the disk and in memory.

use super::*;

#[test]
fn over_max_size_the_oldest_go_and_are_counted() {
    let mut bench = Bench::new(1000);
    (0..20).for_each(|i| bench.insert("a", &format!("{i:099}"), true));
    assert_eq!((bench.quarantine.len(), bench.quarantine.dropped()), (10, 10));
    assert_eq!(serde_json::to_value(bench.quarantine.status()).unwrap()[0]["messages"], 10);
    bench.keep();
    assert!(bench.payloads()[0].ends_with("10"));
    bench.insert("a", &"x".repeat(2000), true);
    assert_eq!(bench.quarantine.len(), 0, "not even one of this size");
}

#[test]
fn it_gives_way_to_the_rest_of_the_outbox_with_which_it_shares_its_room() {
    let mut bench = Bench::new(1000);
    (0..10).for_each(|i| bench.insert("a", &format!("{i:099}"), true));
    assert_eq!((bench.quarantine.len(), bench.quarantine.dropped()), (10, 0));
    bench.quarantine.set_beside(250, 2);
    assert_eq!((bench.quarantine.len(), bench.quarantine.dropped()), (7, 3));
    bench.quarantine.set_beside(5000, 5);
    assert_eq!((bench.quarantine.len(), bench.quarantine.dropped()), (0, 10));
}

#[test]
fn a_disk_that_hangs_does_not_fill_the_memory() {
    let mut bench = Bench::new(1 << 30);
    for i in 0..100 {
        bench.insert("a", &"x".repeat(100_000), i % 2 == 0);
        bench.quarantine.next_write(bench.now);
        assert!(bench.quarantine.backlog.memory() <= MEMORY);
    }
    assert!(bench.quarantine.dropped() > 35);
}

#[test]
fn a_disk_that_neither_gives_its_oldest_nor_takes_anything_does_not_fill_the_memory() {
    let mut bench = Bench::new(1 << 30);
    (0..20).for_each(|_| bench.insert("a", &"x".repeat(100_000), true));
    bench.keep();
    // It holds more than its share now, and none of it is in memory.
    bench.restart(1);
    let moment = Moment { since_boot: HOUR, synchronised: None };
    for _ in 0..200 {
        bench.insert("a", &"x".repeat(100_000), false);
        if bench.quarantine.next_write(bench.now).is_some() {
            bench.quarantine.write_ended(false, bench.now);
        }
        if bench.quarantine.next_load().is_some() {
            bench.quarantine.load_ended(None, bench.now, &moment);
        }
        assert!(bench.quarantine.backlog.memory() <= MEMORY);
    }
    let dropped = bench.quarantine.dropped();
    assert_eq!((bench.quarantine.len(), bench.rows.len()), (220 - dropped, 20), "what is stored stays");
    bench.keep();
    assert_eq!((bench.quarantine.len(), bench.quarantine.dropped()), (9, 211), "then the oldest go, as ever");
}

#[test]
fn no_more_topics_are_remembered_than_there_is_room_for() {
    let mut bench = Bench::new(1_000_000);
    for i in 0..300 {
        bench.now += Duration::from_secs(1);
        bench.set_aside(&format!("t/{i}"));
    }
    assert_eq!(bench.quarantine.status().len(), 128);
    assert_eq!(bench.quarantine.why_not(&traits("t/100", false)), None);
    assert!(bench.quarantine.why_not(&traits("t/299", false)).is_some());
}

#[test]
fn a_full_disk_costs_nothing_that_is_stored() {
    let mut bench = Bench::new(256 << 20);
    for n in 0..300 {
        bench.insert("a", &format!("{n:03}{}", "x".repeat(100_000)), false);
        bench.now += Duration::from_secs(61);
        bench.keep();
    }
    bench.quarantine.release();
    bench.set_aside("a");
    let moment = Moment { since_boot: HOUR, synchronised: None };
    for _ in 0..1000 {
        // It can be read, but not written.
        let _ = bench.quarantine.next_returning(bench.now, &moment, clock(0), |_| true);
        if bench.quarantine.next_write(bench.now).is_some() {
            bench.quarantine.write_ended(false, bench.now);
        }
        if let Some(load) = bench.quarantine.next_load() {
            let mut rows = bench.rows.range(load.after.map_or(0, |after| after + 1)..=load.until);
            let page: Vec<Row> = rows.by_ref().take(6).map(|(_, row)| row.clone()).collect();
            let page = Page { rows: page, complete: rows.next().is_none() };
            bench.quarantine.load_ended(Some(page), bench.now, &moment);
        }
    }
    bench.keep();
    assert_eq!((bench.quarantine.dropped(), bench.rows.len()), (0, 300));
}
