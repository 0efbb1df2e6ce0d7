//! What is urgent, and what isn't.

use super::*;

/// Accepts `waiter`, which is urgent or not.
fn accept_in(ledger: &mut Ledger<u32>, urgent: bool, waiter: u32) -> Result<(), Full> {
    accept_at(ledger, Outbound { urgent, ..qos1(100) }, waiter, Instant::now())
}

/// Who waits for what the link takes next, to the last.
fn taken(ledger: &mut Ledger<u32>) -> Vec<u32> {
    let sequences = take_all(ledger);
    sequences.into_iter().filter_map(|sequence| ledger.waiter(sequence).copied()).collect()
}

#[test]
fn what_is_urgent_leaves_first_and_each_lane_in_its_order() {
    let mut ledger = with_room_for(10, WhenFull::DropOldest);
    for (waiter, urgent) in [(0, false), (1, false), (2, true), (3, false), (4, true)] {
        accept_in(&mut ledger, urgent, waiter).unwrap();
    }
    assert_eq!((ledger.waiting(), ledger.waiting_like(true)), (5, 2));
    let (first, _) = take(&mut ledger).unwrap();
    accept_in(&mut ledger, true, 5).unwrap();
    // Sent before, and to be sent again: at its old place.
    ledger.put_back(first);
    assert_eq!(taken(&mut ledger), [2, 4, 5, 0, 1, 3]);
    assert_eq!((ledger.waiting(), ledger.in_flight()), (0, 6));
}

#[test]
fn a_full_outbox_drops_what_is_urgent_last_and_only_for_what_is() {
    let mut ledger = with_room_for(4, WhenFull::DropOldest);
    for (waiter, urgent) in [(0, true), (1, true), (2, false), (3, false)] {
        accept_in(&mut ledger, urgent, waiter).unwrap();
    }
    accept_in(&mut ledger, true, 4).unwrap();
    accept_in(&mut ledger, false, 5).unwrap();
    accept_in(&mut ledger, true, 6).unwrap();
    let full = |waiter| (Cause::Full, Some(waiter));
    assert_eq!(dropped(&mut ledger), [2, 3, 5].map(full));
    assert_eq!(accept_in(&mut ledger, false, 7), Err(Full), "nothing that isn't urgent is left to give way");
    accept_in(&mut ledger, true, 8).unwrap();
    assert_eq!(dropped(&mut ledger), [full(0)]);
    assert_eq!(taken(&mut ledger), [1, 4, 6, 8]);
}

#[test]
fn reject_new_counts_both_lanes() {
    let mut ledger = with_room_for(2, WhenFull::RejectNew);
    accept_in(&mut ledger, false, 0).unwrap();
    accept_in(&mut ledger, true, 1).unwrap();
    assert_eq!([false, true].map(|urgent| accept_in(&mut ledger, urgent, 2)), [Err(Full), Err(Full)]);
}

#[test]
fn both_lanes_expire_and_a_lost_link_gives_up_qos_0_of_both() {
    let mut ledger = with_room_for(10, WhenFull::DropOldest);
    let start = Instant::now();
    ledger.link_up();
    for (waiter, urgent) in [(0, false), (1, true)] {
        accept_in(&mut ledger, urgent, waiter).unwrap();
        let gone = Outbound { urgent, ..message(100, Qos::AtMostOnce) };
        accept_at(&mut ledger, gone, waiter + 10, start).unwrap();
    }
    ledger.link_down();
    let mut gone = dropped(&mut ledger);
    gone.sort_by_key(|(_, waiter)| *waiter);
    assert_eq!(gone, [10, 11].map(|waiter| (Cause::NotConnected, Some(waiter))));
    let week = HOUR * 24 * 7;
    ledger.expire(start + week, &moment(week));
    assert_eq!(dropped(&mut ledger), [1, 0].map(|waiter| (Cause::Expired, Some(waiter))));
    assert!(ledger.is_empty());
}

#[test]
fn each_lane_has_a_queue_of_its_own_on_the_disk_and_places_never_meet() {
    let mut ledger = with_room_for(10, WhenFull::DropOldest);
    let now = Instant::now();
    ledger.link_down();
    for waiter in 0..4 {
        accept_in(&mut ledger, waiter % 2 == 1, waiter).unwrap();
    }
    let queues = [ledger.urgent_queue(), QueueId::OUTBOX];
    assert_ne!(queues[0], queues[1]);
    let places = queues.map(|queue| {
        let write = ledger.lane(queue).next_write(now).unwrap();
        ledger.lane(queue).write_ended(true, now);
        assert!(write.insert.iter().all(|row| row.urgent == (queue != QueueId::OUTBOX)));
        write.insert.iter().map(|row| row.seq).collect::<Vec<_>>()
    });
    assert_eq!(places, [vec![1, 3], vec![0, 2]]);
    assert_eq!((ledger.take_stored(), ledger.stored()), (vec![1, 3, 0, 2], 4));
    // The next start finds both, and goes on behind them.
    let totals = |last| Totals { messages: 2, bytes: 200, first: Some(0), last: Some(last) };
    let stored = Stored { urgent: (queues[0], totals(3)), others: totals(2) };
    let ledger: Ledger<u32> = Ledger::new(bounds(1000, WhenFull::DropOldest), stored, 1, 0);
    assert_eq!((ledger.waiting(), ledger.waiting_like(true), ledger.next_sequence()), (4, 2, Sequence::new(4)));
}

#[test]
fn held_back_what_is_not_urgent_waits_as_without_a_link() {
    let mut ledger = with_room_for(10, WhenFull::DropOldest);
    let now = Instant::now();
    ledger.link_up();
    accept_in(&mut ledger, false, 0).unwrap();
    accept_at(&mut ledger, message(100, Qos::AtMostOnce), 10, now).unwrap();
    ledger.hold_others(true);
    assert_eq!(dropped(&mut ledger), [(Cause::HeldBack, Some(10))]);
    assert_eq!([false, true].map(|urgent| ledger.why_not_qos_0(urgent)), [Cause::HeldBack, Cause::NotConnected]);
    assert_eq!([false, true].map(|urgent| ledger.link_for(urgent)), [LinkState::Down, LinkState::Up]);
    for (waiter, urgent) in [(1, false), (2, true)] {
        accept_in(&mut ledger, urgent, waiter).unwrap();
    }
    assert_eq!(taken(&mut ledger), [2]);
    assert_eq!(ledger.find_least(|_, place| Some(place)), None, "nor alone");
    // A stop doesn't wait for what can't go.
    assert!(!ledger.has_waiting_unconfirmed());
    // Who waits for an answer gets one from the disk.
    let write = ledger.lane(QueueId::OUTBOX).next_write(now).unwrap();
    assert_eq!(write.insert.iter().map(|row| row.seq).collect::<Vec<_>>(), [0, 2]);
    ledger.lane(QueueId::OUTBOX).write_ended(true, now);
    assert_eq!(ledger.take_stored(), [0, 1]);
    ledger.hold_others(false);
    assert_eq!((take_all(&mut ledger).len(), ledger.link_for(false)), (2, LinkState::Up));
}

#[test]
fn while_others_are_held_back_an_eighth_of_the_room_is_kept_for_what_is_urgent() {
    let fill =
        |ledger: &mut Ledger<u32>, urgent| (0..100).take_while(|n| accept_in(ledger, urgent, *n).is_ok()).count();
    let mut ledger = with_room_for(16, WhenFull::RejectNew);
    ledger.link_up();
    ledger.hold_others(true);
    assert_eq!([false, true].map(|urgent| fill(&mut ledger, urgent)), [14, 2]);
    assert!(ledger.keeps_reserve());
    assert!(!ledger.has_room_by_rule(100, false) && !ledger.has_room_by_rule(100, true));
    // What the others had taken before is not urgent's fault, nor does it give way.
    let mut ledger = with_room_for(16, WhenFull::RejectNew);
    assert_eq!([false, true].map(|urgent| fill(&mut ledger, urgent)), [16, 0]);
    ledger.hold_others(true);
    assert_eq!([false, true].map(|urgent| fill(&mut ledger, urgent)), [0, 2]);
    ledger.hold_others(false);
    ledger.set_bounds(bounds(ledger.bounds.max_size, WhenFull::RejectNew));
    assert_eq!((ledger.count(), dropped(&mut ledger).len()), (18, 0));
    assert_eq!([false, true].map(|urgent| fill(&mut ledger, urgent)), [0, 0]);
    // Small ones are counted, too.
    let mut ledger = Ledger::<u32>::new(bounds(48 * 16, WhenFull::RejectNew), nothing_stored(), 1, 0);
    ledger.hold_others(true);
    let small = |urgent| Outbound { urgent, ..qos1(2) };
    let mut fill_small =
        |urgent| (0..100).take_while(|n| accept_at(&mut ledger, small(urgent), *n, Instant::now()).is_ok()).count();
    assert_eq!([false, true].map(&mut fill_small), [14, 2]);
    // Without, all of it is for everybody, as it is where the oldest gives way.
    let mut ledger = with_room_for(16, WhenFull::RejectNew);
    ledger.hold_others(true);
    ledger.hold_others(false);
    assert_eq!(fill(&mut ledger, false), 16);
    let mut ledger = with_room_for(16, WhenFull::DropOldest);
    ledger.hold_others(true);
    assert_eq!([fill(&mut ledger, false), dropped(&mut ledger).len()], [100, 84]);
    assert_eq!([fill(&mut ledger, true), dropped(&mut ledger).len()], [100, 100]);
}

#[test]
fn an_eighth_of_the_memory_is_kept_for_what_is_urgent_while_the_disk_takes_nothing() {
    for was_full_before in [false, true] {
        let mut ledger: Ledger<u32> = Ledger::new(bounds(1 << 40, WhenFull::DropOldest), nothing_stored(), 1, 0);
        let now = Instant::now();
        ledger.hold_others(true);
        accept_in(&mut ledger, false, 0).unwrap();
        ledger.lane(QueueId::OUTBOX).next_write(now).unwrap();
        assert_eq!(write_ended(&mut ledger, false, now), [0; 0]);
        ledger.hold_others(false);
        let of_32_kib = |urgent| Outbound { urgent, ..qos1(32 * 1024) };
        let fill = |ledger: &mut Ledger<u32>, urgent| {
            (0..1000).take_while(|n| accept_at(ledger, of_32_kib(urgent), *n, now).is_ok()).count()
        };
        let before = if was_full_before { fill(&mut ledger, false) } else { 0 };
        ledger.hold_others(true);
        let (others, urgent) = (before + fill(&mut ledger, false), fill(&mut ledger, true));
        let most = if was_full_before { 251..=256 } else { 220..=224 };
        assert!(most.contains(&others) && (30..=33).contains(&urgent), "{others} {urgent}");
    }
}
