mod room;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::config::WhenFull;
use crate::message::{Outbound, Qos, Topic, TopicPattern};
use crate::store::durable::DiskQueue as _;
use crate::store::{Accepted, Page, Row, Write};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const NOON: &str = "2026-01-31T12:00:00.000Z";

fn traits(topic: &str, retain: bool) -> Traits {
    Traits { topic: Topic::new(topic).unwrap(), retain, qos: Qos::AtLeastOnce, size: 100 }
}

/// What messages to a topic meet.
fn on(topic: &str, retained_only: bool) -> Condition {
    Condition { retained_only, ..Condition::topics(TopicPattern::exactly(&Topic::new(topic).unwrap())) }
}

fn refused(topic: &str, payload: &str) -> Refused {
    let topic = Topic::new(topic).unwrap();
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    let message = Outbound { topic, payload, qos: Qos::AtLeastOnce, retain: false, urgent: false, properties: None };
    Refused { message, at: clock(0), accepted: Accepted::ThisBoot(0) }
}

/// So many hours after [`NOON`].
fn clock(hours: i64) -> Timestamp {
    NOON.parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_hours(hours)
}

/// A quarantine, the disk it is on, and a clock.
struct Bench {
    quarantine: Quarantine,
    rows: BTreeMap<u64, Row>,
    note: Option<String>,
    start: Instant,
    now: Instant,
}

impl Bench {
    fn new(max_size: u64) -> Bench {
        let start = Instant::now();
        let quarantine = Quarantine::new(&bounds(max_size), Totals::default(), 1, 0, start);
        Bench { quarantine, rows: BTreeMap::new(), note: None, start, now: start }
    }

    fn clock(&self) -> Timestamp {
        clock(0) + jiff::SignedDuration::try_from(self.now - self.start).unwrap()
    }

    fn set_aside(&mut self, topic: &str) -> bool {
        self.quarantine.set_aside(on(topic, false), "it closes the connection", None, self.now, self.clock())
    }

    fn insert(&mut self, topic: &str, payload: &str, was_stored: bool) {
        let clock = self.clock();
        self.quarantine.insert(refused(topic, payload), was_stored, "it closes the connection", self.now, clock);
    }

    /// Writes and reads whatever is asked for now; returns how many writes that were.
    fn keep(&mut self) -> usize {
        let mut writes = 0;
        loop {
            let write = self.quarantine.next_write(self.now);
            let load = self.quarantine.next_load();
            if write.is_none() && load.is_none() {
                return writes;
            }
            if let Some(Write { delete, insert, notes, .. }) = write {
                delete.into_iter().for_each(|range| self.rows.retain(|seq, _| !range.contains(seq)));
                self.rows.extend(insert.into_iter().map(|row| (row.seq, row)));
                self.note = notes.into_iter().next().map(|(_, text)| text).or(self.note.take());
                self.quarantine.write_ended(true, self.now);
                writes += 1;
            }
            if let Some(load) = load {
                let rows = self.rows.range(load.after.map_or(0, |after| after + 1)..=load.until);
                let page = Page { rows: rows.map(|(_, row)| row.clone()).collect(), complete: true };
                self.quarantine.load_ended(Some(page), self.now, &Moment { since_boot: HOUR, synchronised: None });
            }
        }
    }

    /// A new process finds what is on the disk, when its clock shows so many hours after [`NOON`].
    fn restart(&mut self, hours: i64) {
        let bytes = self.rows.values().map(Row::size).sum();
        let mut ends = self.rows.keys().copied();
        let totals = Totals { messages: self.rows.len() as u64, bytes, first: ends.next(), last: ends.next_back() };
        let totals = Totals { last: totals.last.or(totals.first), ..totals };
        self.quarantine = Quarantine::new(&bounds(1_000_000), totals, 2, 0, self.now);
        if let Some(note) = &self.note {
            self.quarantine.recall(note, self.now, clock(hours));
        }
    }

    /// What goes back to the outbox, if that has all the room.
    fn returning(&mut self) -> Vec<(Place, String)> {
        let mut all = Vec::new();
        loop {
            self.keep();
            let moment = Moment { since_boot: HOUR, synchronised: None };
            let clock = self.clock();
            match self.quarantine.next_returning(self.now, &moment, clock, |_| true) {
                Some(Returning::ToOutbox(place, refused)) => {
                    all.push((place, String::from_utf8(refused.message.payload.to_vec()).unwrap()));
                }
                Some(Returning::Expired) => {}
                None => return all,
            }
        }
    }

    fn payloads(&self) -> Vec<String> {
        self.rows.values().map(|row| String::from_utf8(row.payload.to_vec()).unwrap()).collect()
    }
}

fn bounds(max_size: u64) -> Bounds {
    Bounds { max_size, max_age: 7 * DAY, when_full: WhenFull::DropOldest, spill_after: Duration::from_secs(1) }
}

#[test]
fn what_may_not_be_published_may_not_be_retained_either_but_not_the_other_way_round() {
    let mut quarantine = Bench::new(1_000_000).quarantine;
    for (topic, retain, missing) in [("plain", false, true), ("kept", true, true), ("too/long", false, false)] {
        let condition = on(topic, retain);
        let missing = missing.then(|| condition.needs());
        quarantine.set_aside(condition, "no", missing, Instant::now(), clock(0));
    }
    let why = |topic, retain| quarantine.why_not(&traits(topic, retain));
    assert_eq!(why("plain", false).unwrap(), "no; the certificate's policy must allow iot:Publish on topic/plain");
    assert!(why("plain", true).is_some());
    assert_eq!(
        why("kept", true).unwrap(),
        "no; the certificate's policy must allow iot:Publish and iot:RetainPublish on topic/kept"
    );
    assert_eq!(why("too/long", false).unwrap(), "no", "a policy wouldn't help");
    assert_eq!((why("kept", false), why("other", false)), (None, None));
}

#[test]
fn all_is_tried_anew_after_a_day_in_the_order_in_which_it_was_refused() {
    let mut bench = Bench::new(1_000_000);
    assert_eq!(bench.quarantine.timeout(), None, "without anything to try there is no reason to wake");
    assert!(bench.set_aside("a") && !bench.set_aside("a"));
    bench.insert("a", "1", true);
    bench.insert("b", "2", true);
    bench.now += DAY - Duration::from_secs(1);
    assert!(!bench.quarantine.is_release_due(bench.now) && bench.returning().is_empty());
    bench.now += Duration::from_secs(1);
    assert_eq!(bench.quarantine.timeout(), Some(bench.now));
    assert!(bench.quarantine.is_release_due(bench.now));
    bench.quarantine.release();
    assert_eq!(bench.quarantine.take_released(), [on("a", false)], "`b` was refused for one message's content");
    assert_eq!(bench.quarantine.why_not(&traits("a", false)), None);
    let returned = bench.returning();
    assert_eq!(returned.iter().map(|(_, payload)| payload.as_str()).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(bench.payloads(), ["1", "2"], "they are here until they are safe elsewhere");
    returned.into_iter().for_each(|(place, _)| bench.quarantine.finish(place, bench.now));
    bench.now += HOUR;
    bench.keep();
    assert!(bench.rows.is_empty() && bench.quarantine.timeout().is_none());
}

#[test]
fn a_start_tries_anew_only_what_has_waited_for_a_day() {
    // A clock that isn't set shows an earlier time: then the day begins again.
    for (hours, left) in [(1, 23), (23, 1), (24, 0), (100, 0), (-100, 24)] {
        let mut bench = Bench::new(1_000_000);
        bench.set_aside("a");
        bench.insert("a", "1", true);
        bench.keep();
        bench.restart(hours);
        assert!(bench.quarantine.why_not(&traits("a", false)).is_some());
        assert_eq!(serde_json::to_value(bench.quarantine.status()).unwrap()[0]["messages"], 1);
        assert_eq!(bench.quarantine.timeout(), Some(bench.now + left * HOUR), "{hours}");
        bench.quarantine.release();
        assert_eq!(bench.returning().len(), 1);
    }
}

#[test]
fn what_is_refused_again_keeps_its_date_and_is_not_returned_a_second_time() {
    let mut bench = Bench::new(1_000_000);
    bench.set_aside("a");
    (0..50).for_each(|i| bench.insert("a", &i.to_string(), true));
    bench.keep();
    bench.now += DAY;
    bench.quarantine.release();
    let first = bench.quarantine.next_returning(
        bench.now,
        &Moment { since_boot: HOUR, synchronised: None },
        bench.clock(),
        |_| true,
    );
    let Some(Returning::ToOutbox(place, again)) = first else { panic!("{first:?}") };
    assert!(bench.set_aside("a"));
    let clock = bench.clock();
    bench.quarantine.insert(again.clone(), true, "still", bench.now, clock);
    bench.quarantine.finish(place, bench.now);
    assert!(bench.returning().is_empty(), "its topic is known to be refused");
    assert_eq!(bench.quarantine.len(), 50);
    bench.now += HOUR;
    bench.keep();
    assert_eq!(bench.payloads(), (0..50).map(|i| i.to_string()).collect::<Vec<_>>());
    let status = serde_json::to_value(bench.quarantine.status()).unwrap();
    assert_eq!((&status[0]["since"], &status[0]["messages"]), (&NOON.into(), &50.into()));
}

#[test]
fn an_old_message_expires_instead_of_being_tried_anew() {
    let mut bench = Bench::new(1_000_000);
    bench.insert("a", "1", true);
    bench.quarantine.release();
    let moment = Moment { since_boot: 8 * DAY, synchronised: None };
    let clock = bench.clock();
    let returning = bench.quarantine.next_returning(bench.now, &moment, clock, |_| true);
    assert!(matches!(returning, Some(Returning::Expired)));
    assert_eq!(bench.quarantine.len(), 0);
}

#[test]
fn a_group_takes_over_what_was_listed_of_it_and_is_known_after_a_restart() {
    let mut bench = Bench::new(1_000_000);
    for n in 0..5 {
        bench.set_aside(&format!("ev/{n}/door"));
        bench.insert(&format!("ev/{n}/door"), "1", true);
    }
    bench.set_aside("ev/1/window");
    let pattern = TopicPattern::between(&Topic::new("ev/1/door").unwrap(), &Topic::new("ev/2/door").unwrap());
    let group = Condition { except: vec![Topic::new("ev/good/door").unwrap()], ..Condition::topics(pattern) };
    let clock = bench.clock();
    assert!(bench.quarantine.set_aside(group.clone(), "no", Some(group.needs()), bench.now, clock));
    assert!(!bench.quarantine.set_aside(group, "no", None, bench.now, clock));
    for n in 5..1000 {
        bench.insert(&format!("ev/{n}/door"), "1", true);
    }
    bench.keep();
    assert!(bench.note.as_ref().unwrap().len() < 2000);
    for _ in 0..2 {
        let status = serde_json::to_value(bench.quarantine.status()).unwrap();
        assert_eq!(status.as_array().unwrap().len(), 2, "{status}");
        assert_eq!((&status[1]["topic"], &status[1]["messages"]), (&"ev/*/door".into(), &1000.into()));
        assert_eq!(status[1]["missing"], "iot:Publish on topic/ev/*/door");
        assert_eq!(status[1]["examples"].as_array().unwrap().len(), 3);
        assert!(bench.quarantine.why_not(&traits("ev/new/door", false)).is_some());
        assert!(bench.quarantine.why_not(&traits("ev/good/door", false)).is_none());
        bench.restart(1);
    }
}

#[test]
fn the_card_is_written_at_once_only_for_what_it_held_already() {
    let mut bench = Bench::new(1_000_000);
    assert_eq!(bench.keep(), 0);
    bench.set_aside("a");
    assert_eq!(bench.keep(), 1, "which topics are set aside isn't to be found out again");
    for i in 0..59 {
        bench.insert("a", &i.to_string(), false);
        bench.now += Duration::from_secs(1);
        assert_eq!(bench.keep(), 0);
    }
    bench.now += Duration::from_secs(1);
    assert_eq!(bench.keep(), 1);
    bench.insert("a", "stored", true);
    assert_eq!(bench.keep(), 1);
    bench.insert("a", "last", false);
    assert_eq!(bench.keep(), 0);
    bench.quarantine.stop();
    bench.keep();
    assert!(bench.quarantine.is_stored() && bench.rows.len() == 61);
}

#[test]
fn what_is_refused_again_leaves_its_old_places_once_all_of_it_has_new_ones() {
    let mut bench = Bench::new(64 << 20);
    for n in 0..12 {
        bench.insert("a", &format!("{n:02}{}", "x".repeat(100_000)), false);
    }
    bench.now += Duration::from_secs(61);
    bench.keep();
    assert_eq!(bench.rows.len(), 12);
    bench.quarantine.release();
    bench.set_aside("a");
    let moment = Moment { since_boot: HOUR, synchronised: None };
    // Loads until there is something to write, which isn't all; then the process is killed.
    let write = loop {
        assert!(bench.quarantine.next_returning(bench.now, &moment, clock(0), |_| true).is_none());
        if let Some(write) = bench.quarantine.next_write(bench.now) {
            break write;
        }
        let load = bench.quarantine.next_load().unwrap();
        let rows = bench.rows.range(load.after.map_or(0, |after| after + 1)..=load.until);
        let page = Page { rows: rows.map(|(_, row)| row.clone()).collect(), complete: true };
        bench.quarantine.load_ended(Some(page), bench.now, &moment);
    };
    assert!(write.insert.len() < 12);
    write.delete.into_iter().for_each(|range| bench.rows.retain(|seq, _| !range.contains(seq)));
    bench.rows.extend(write.insert.into_iter().map(|row| (row.seq, row)));
    let left: std::collections::BTreeSet<String> = bench.payloads().into_iter().map(|p| p[..2].to_owned()).collect();
    assert_eq!(left.len(), 12, "{left:?}");
}
