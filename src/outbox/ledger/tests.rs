use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::message::{Properties, Topic};
use crate::store::durable::{DiskQueue as _, FLUSH_AFTER, FLUSH_AT, Lasting as _};
use crate::store::{Page, Row, Write};

const HOUR: Duration = Duration::from_secs(3600);

fn message(size: usize, qos: Qos) -> Outbound {
    let topic = Topic::new("t").unwrap();
    Outbound { topic, payload: Bytes::from(vec![b'x'; size - 1]), qos, retain: false, urgent: false, properties: None }
}

fn qos1(size: usize) -> Outbound {
    message(size, Qos::AtLeastOnce)
}

fn bounds(max_size: u64, when_full: WhenFull) -> Bounds {
    Bounds { max_size, max_age: 7 * 24 * HOUR, when_full, spill_after: Duration::from_secs(1) }
}

/// A ledger with room for exactly `n` messages of 100 bytes.
fn with_room_for(n: u64, when_full: WhenFull) -> Ledger<u32> {
    Ledger::new(bounds(n * 100, when_full), nothing_stored(), 1, 0)
}

fn accept_at(ledger: &mut Ledger<u32>, message: Outbound, waiter: u32, now: Instant) -> Result<(), Full> {
    ledger.accept(message, Some(waiter), now, Timestamp::UNIX_EPOCH, Accepted::ThisBoot(0))
}

fn accept(ledger: &mut Ledger<u32>, waiter: u32) -> Result<(), Full> {
    accept_at(ledger, qos1(100), waiter, Instant::now())
}

fn dropped(ledger: &mut Ledger<u32>) -> Vec<(Cause, Option<u32>)> {
    ledger.take_dropped()
}

fn moment(since_boot: Duration) -> Moment {
    Moment { since_boot, synchronised: None }
}

fn nothing_stored() -> Stored {
    Stored::of(&Contents::default())
}

/// Of what isn't urgent.
fn next_write(ledger: &mut Ledger<u32>, now: Instant) -> Option<Write> {
    ledger.lane(QueueId::OUTBOX).next_write(now)
}

/// Who waited for what is on the disk now.
fn write_ended(ledger: &mut Ledger<u32>, successful: bool, now: Instant) -> Vec<u32> {
    ledger.lane(QueueId::OUTBOX).write_ended(successful, now);
    ledger.take_stored()
}

/// The link takes the next message.
fn take(ledger: &mut Ledger<u32>) -> Option<(Sequence, Outbound)> {
    let (sequence, _) = ledger.find(|_, _| true)?;
    Some((sequence, ledger.take(sequence)?))
}

fn take_all(ledger: &mut Ledger<u32>) -> Vec<Sequence> {
    std::iter::from_fn(|| take(ledger)).map(|(sequence, _)| sequence).collect()
}

#[test]
fn messages_leave_in_the_order_they_came() {
    let mut ledger = with_room_for(10, WhenFull::DropOldest);
    for waiter in 0..5 {
        accept(&mut ledger, waiter).unwrap();
    }
    let taken = take_all(&mut ledger);
    assert!(taken.is_sorted());
    assert_eq!((ledger.waiting(), ledger.in_flight()), (0, 5));
    for (waiter, sequence) in [3, 0, 4, 1, 2].map(|i| (i as u32, taken[i])) {
        assert_eq!(ledger.remove(sequence, Instant::now()).unwrap().waiter, Some(waiter));
        assert!(ledger.remove(sequence, Instant::now()).is_none());
    }
    assert!(ledger.is_empty());
    assert_eq!((ledger.bytes(), ledger.timeout()), (0, None));
}

#[test]
fn a_full_outbox_drops_the_oldest_waiting_and_nothing_in_flight() {
    let mut ledger = with_room_for(3, WhenFull::DropOldest);
    for waiter in 0..3 {
        accept(&mut ledger, waiter).unwrap();
    }
    take(&mut ledger);
    accept(&mut ledger, 3).unwrap();
    assert_eq!(dropped(&mut ledger), [(Cause::Full, Some(1))]);
    take(&mut ledger);
    take(&mut ledger);
    assert_eq!(accept(&mut ledger, 4), Err(Full));
    assert_eq!(ledger.in_flight(), 3);
}

#[test]
fn a_message_that_can_never_fit_drops_nothing() {
    let mut ledger = with_room_for(3, WhenFull::DropOldest);
    accept(&mut ledger, 0).unwrap();
    assert_eq!(accept_at(&mut ledger, qos1(5000), 1, Instant::now()), Err(Full));
    assert_eq!(ledger.waiting(), 1);
}

#[test]
fn reject_new_keeps_what_it_has() {
    let mut ledger = with_room_for(2, WhenFull::RejectNew);
    accept(&mut ledger, 0).unwrap();
    accept(&mut ledger, 1).unwrap();
    assert_eq!(accept(&mut ledger, 2), Err(Full));
    assert_eq!(ledger.waiting(), 2);
}

#[test]
fn tiny_messages_are_bounded_by_their_number() {
    let mut ledger = with_room_for(48, WhenFull::RejectNew);
    for waiter in 0..100 {
        accept_at(&mut ledger, qos1(2), waiter, Instant::now()).unwrap();
    }
    assert_eq!(accept_at(&mut ledger, qos1(2), 100, Instant::now()), Err(Full));
}

#[test]
fn a_lost_link_gives_up_qos_0_and_keeps_qos_1() {
    let mut ledger = with_room_for(10, WhenFull::DropOldest);
    ledger.link_up();
    for waiter in 0..6 {
        let qos = if waiter % 2 == 0 { Qos::AtMostOnce } else { Qos::AtLeastOnce };
        accept_at(&mut ledger, message(100, qos), waiter, Instant::now()).unwrap();
    }
    take(&mut ledger);
    take(&mut ledger);
    ledger.link_down();
    let gone = [0, 2, 4].map(|waiter| (Cause::NotConnected, Some(waiter)));
    assert_eq!(dropped(&mut ledger), gone);
    assert_eq!((ledger.in_flight(), ledger.waiting(), ledger.bytes()), (1, 2, 300));
    assert_eq!(ledger.link_for(true), LinkState::Down);
}

#[test]
fn what_is_acknowledged_in_time_never_touches_the_disk() {
    let mut ledger = with_room_for(1000, WhenFull::DropOldest);
    let mut now = Instant::now();
    ledger.link_up();
    for waiter in 0..500 {
        accept_at(&mut ledger, qos1(100), waiter, now).unwrap();
        let (sequence, _) = take(&mut ledger).unwrap();
        now += Duration::from_millis(900);
        assert!(next_write(&mut ledger, now).is_none());
        assert_eq!(ledger.remove(sequence, now).unwrap().waiter, Some(waiter));
    }
    assert_eq!((ledger.stored(), ledger.timeout()), (0, None));
}

#[test]
fn what_waits_longer_than_spill_after_is_written_in_flight_or_not() {
    let mut ledger = with_room_for(10, WhenFull::DropOldest);
    let now = Instant::now();
    ledger.link_up();
    accept_at(&mut ledger, qos1(100), 0, now).unwrap();
    accept_at(&mut ledger, message(100, Qos::AtMostOnce), 1, now).unwrap();
    accept_at(&mut ledger, qos1(100), 2, now + Duration::from_millis(500)).unwrap();
    take(&mut ledger);
    let due = now + Duration::from_secs(1);
    assert_eq!(ledger.timeout(), Some(due));
    let write = next_write(&mut ledger, due).unwrap();
    assert_eq!(write.insert.iter().map(|row| row.seq).collect::<Vec<_>>(), [0]);
    assert_eq!(write_ended(&mut ledger, true, due), [0]);
    assert!(next_write(&mut ledger, due).is_none());
    assert_eq!(ledger.timeout(), Some(due + Duration::from_millis(500)));
    assert_eq!(ledger.stored(), 1);
}

#[test]
fn without_a_link_what_a_client_waits_for_is_written_at_once() {
    let mut ledger = with_room_for(10, WhenFull::DropOldest);
    let now = Instant::now();
    accept_at(&mut ledger, qos1(100), 0, now).unwrap();
    assert!(next_write(&mut ledger, now).is_none(), "the first attempt to connect hasn't ended");
    ledger.link_down();
    ledger.accept(qos1(100), None, now, Timestamp::UNIX_EPOCH, Accepted::ThisBoot(0)).unwrap();
    accept_at(&mut ledger, qos1(100), 2, now).unwrap();
    let rows = |write: Option<Write>| write.unwrap().insert.iter().map(|row| row.seq).collect::<Vec<_>>();
    assert_eq!(rows(next_write(&mut ledger, now)), [0, 2]);
    assert_eq!(write_ended(&mut ledger, true, now), [0, 2]);
    // Nobody waits for the scheduled one: it may join others.
    assert_eq!(rows(next_write(&mut ledger, now + Duration::from_secs(1))), [1]);
}

#[test]
fn delivered_rows_are_removed_together() {
    let mut ledger = with_room_for(1000, WhenFull::DropOldest);
    let now = Instant::now();
    ledger.link_down();
    (0..300).for_each(|waiter| accept(&mut ledger, waiter).unwrap());
    while next_write(&mut ledger, now).is_some() {
        ledger.lane(QueueId::OUTBOX).write_ended(true, now);
    }
    ledger.link_up();
    let taken = take_all(&mut ledger);
    for (n, sequence) in taken.iter().enumerate() {
        ledger.remove(*sequence, now);
        let write = next_write(&mut ledger, now);
        assert_eq!(write.is_some(), n as u64 + 1 == FLUSH_AT, "after {n}");
        if let Some(write) = write {
            assert_eq!(write.delete, [0..=255]);
            ledger.lane(QueueId::OUTBOX).write_ended(true, now);
        }
    }
    assert!(next_write(&mut ledger, now + FLUSH_AFTER / 2).is_none());
    let write = next_write(&mut ledger, now + FLUSH_AFTER).unwrap();
    assert_eq!((write.delete, write.insert.len()), (vec![256..=299], 0));
}

#[test]
fn a_disk_that_fails_drops_nothing_and_is_tried_again() {
    let mut ledger = with_room_for(3, WhenFull::DropOldest);
    let now = Instant::now();
    ledger.link_down();
    (0..3).for_each(|waiter| accept(&mut ledger, waiter).unwrap());
    next_write(&mut ledger, now).unwrap();
    assert_eq!(write_ended(&mut ledger, false, now), [0u32; 0]);
    assert_eq!(accept(&mut ledger, 3), Err(Full), "nothing gives way while the disk fails");
    assert!(ledger.has_room(false), "who asks is told so, and needn't wait");
    let write = next_write(&mut ledger, now).unwrap();
    assert_eq!((write.insert.len(), write.delete.len()), (3, 3), "a row that is there after all is replaced");
    assert_eq!(write_ended(&mut ledger, true, now), [0, 1, 2]);
    accept(&mut ledger, 3).unwrap();
    assert_eq!(dropped(&mut ledger), [(Cause::Full, None)]);
}

#[test]
fn memory_is_bounded_when_nothing_can_be_written() {
    let mut ledger: Ledger<u32> = Ledger::new(bounds(1 << 40, WhenFull::DropOldest), nothing_stored(), 1, 0);
    let accepted =
        (0..).take_while(|waiter| accept_at(&mut ledger, qos1(1000), *waiter, Instant::now()).is_ok()).count();
    assert_eq!(accepted as u64, MEMORY / (1000 + ENTRY_OVERHEAD));
    assert!(!ledger.has_room(false));
}

#[test]
fn large_messages_in_flight_are_bounded_by_their_size() {
    let mut ledger: Ledger<u32> = Ledger::new(bounds(1 << 40, WhenFull::DropOldest), nothing_stored(), 1, 0);
    (0..40).for_each(|waiter| accept_at(&mut ledger, qos1(128 * 1024), waiter, Instant::now()).unwrap());
    let in_flight = std::iter::from_fn(|| take(&mut ledger)).count();
    assert_eq!(in_flight as u64, MAX_IN_FLIGHT_BYTES / (128 * 1024 + ENTRY_OVERHEAD));
}

#[test]
fn what_is_too_old_is_given_up_by_the_time_since_boot() {
    let mut ledger = with_room_for(10, WhenFull::DropOldest);
    let start = Instant::now();
    for (waiter, hours) in [(0, 0), (1, 24), (2, 24 * 7)] {
        let accepted = Accepted::ThisBoot((HOUR * hours).as_millis() as u64);
        ledger.accept(qos1(100), Some(waiter), start, Timestamp::UNIX_EPOCH, accepted).unwrap();
    }
    assert!(ledger.expiry_is_due(start));
    ledger.expire(start, &moment(HOUR * 24));
    assert_eq!(dropped(&mut ledger), []);
    let due = start + HOUR * 24 * 6;
    assert!(!ledger.expiry_is_due(due - Duration::from_secs(1)) && ledger.expiry_is_due(due));
    ledger.expire(due, &moment(HOUR * 24 * 7));
    assert_eq!(dropped(&mut ledger), [(Cause::Expired, Some(0))]);
    // A clock that jumps by 50 years changes nothing within a boot.
    let jumped = Moment { since_boot: HOUR * 24 * 8, synchronised: Some("2076-01-01T00:00:00Z".parse().unwrap()) };
    ledger.expire(due, &jumped);
    assert_eq!(dropped(&mut ledger), [(Cause::Expired, Some(1))]);
    assert_eq!(ledger.waiting(), 1);
}

#[test]
fn what_is_in_flight_for_longer_than_it_may_wait_keeps_nobody_awake() {
    let mut ledger = with_room_for(10, WhenFull::DropOldest);
    let start = Instant::now();
    accept_at(&mut ledger, qos1(100), 0, start).unwrap();
    ledger.expire(start, &moment(Duration::ZERO));
    assert!(next_write(&mut ledger, start + HOUR).is_some());
    ledger.lane(QueueId::OUTBOX).write_ended(true, start + HOUR);
    assert!(next_write(&mut ledger, start + HOUR).is_none());
    assert_eq!(ledger.timeout(), Some(start + 7 * 24 * HOUR));
    take(&mut ledger);
    assert_eq!(ledger.timeout(), None);
    // One that waits behind it is looked at.
    accept_at(&mut ledger, qos1(100), 1, start + 8 * 24 * HOUR).unwrap();
    assert!(ledger.expiry_is_due(start + 8 * 24 * HOUR));
}

/// A day without a link at a message a second, the disk being a model of one: memory stays within its bound, and
/// everything goes out in order afterwards.
#[test]
fn a_day_of_outage_stays_in_bounds_and_goes_out_in_order() {
    const SECONDS: u64 = 24 * 3600;
    let mut ledger: Ledger<u32> = Ledger::new(bounds(1 << 40, WhenFull::DropOldest), nothing_stored(), 1, 0);
    let mut rows: std::collections::BTreeMap<u64, Row> = std::collections::BTreeMap::new();
    let start = Instant::now();
    ledger.link_down();
    let write = |ledger: &mut Ledger<u32>, rows: &mut std::collections::BTreeMap<u64, Row>, now| {
        if let Some(write) = next_write(ledger, now) {
            write.delete.into_iter().flatten().for_each(|seq| assert!(rows.remove(&seq).is_some()));
            rows.extend(write.insert.into_iter().map(|row| (row.seq, row)));
            ledger.lane(QueueId::OUTBOX).write_ended(true, now);
        }
    };
    for second in 0..SECONDS {
        let now = start + Duration::from_secs(second);
        let accepted = Accepted::ThisBoot(second * 1000);
        ledger.accept(qos1(200), None, now, Timestamp::UNIX_EPOCH, accepted).unwrap();
        write(&mut ledger, &mut rows, now);
        assert!(ledger.lanes.memory() < 2 << 20);
    }
    assert_eq!(ledger.waiting(), SECONDS);
    ledger.link_up();
    let (mut next, now) = (0, start + Duration::from_secs(SECONDS));
    while !ledger.is_empty() {
        if let Some(load) = ledger.lane(QueueId::OUTBOX).next_load() {
            let first = load.after.map_or(0, |after| after + 1);
            let page: Vec<Row> =
                rows.range(first..=load.until).take(load.max_rows).map(|(_, row)| row.clone()).collect();
            let complete = page.last().is_none_or(|last| last.seq == load.until);
            ledger.lane(QueueId::OUTBOX).load_ended(Some(Page { rows: page, complete }), now, &moment(Duration::ZERO));
        }
        for sequence in take_all(&mut ledger) {
            assert_eq!(sequence, Sequence::new(next));
            next += 1;
            ledger.remove(sequence, now);
        }
        write(&mut ledger, &mut rows, now);
        assert!(ledger.lanes.memory() < MEMORY / 2);
    }
    assert_eq!((next, ledger.missing()), (SECONDS, 0));
    write(&mut ledger, &mut rows, now + FLUSH_AFTER);
    assert!(rows.is_empty(), "{} are left", rows.len());
}

#[test]
fn the_time_of_a_message_goes_on_counting_on_the_disk() {
    let properties = Properties { expires_in: Some(3600), ..Properties::default() };
    let message = Outbound { properties: Some(Arc::new(properties)), ..qos1(100) };
    let start = Instant::now();
    let entry =
        Entry { message, at: Timestamp::UNIX_EPOCH, accepted: Accepted::ThisBoot(0), due: start, waiter: Some(1) };
    let loaded = |age| Entry::<u32>::from_row(entry.to_row(7), start, &moment(age)).message;
    assert_eq!(loaded(HOUR / 2).properties.unwrap().expiry_left(start), Some(1800));
    assert!(!loaded(HOUR / 2).has_expired(start));
    assert!(loaded(HOUR).has_expired(start));
    assert!(loaded(HOUR * 2).has_expired(start));
}

mod lanes;
