use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::message::Qos;
use crate::store::durable::DiskQueue as _;
use crate::store::{Moment, Page, Row, accepted_now};

const SECOND: Duration = Duration::from_secs(1);

fn rule(every: Option<u64>, on_change: bool, batch: Option<(usize, u64)>) -> config::Up {
    config::Up {
        from: crate::message::TopicFilter::new("#").unwrap(),
        strip: String::new(),
        to: String::new(),
        except: Vec::new(),
        retain: false,
        urgent: false,
        every: every.map(Duration::from_secs),
        on_change,
        batch: batch.map(|(max, within)| config::Batch {
            max,
            within: Duration::from_secs(within),
            encoding: config::Encoding::None,
        }),
    }
}

fn message(topic: &str, payload: &str) -> Outbound {
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    Outbound {
        topic: Topic::new(topic).unwrap(),
        payload,
        qos: Qos::AtLeastOnce,
        retain: false,
        urgent: false,
        properties: None,
    }
}

/// A rule, its disk, and a clock.
struct Bench {
    held: Held,
    rows: BTreeMap<u64, Row>,
    now: Instant,
    tokens: u64,
}

impl Bench {
    fn new(rule: &config::Up) -> Bench {
        let place = QueueState { generation: 1, ..QueueState::default() };
        Bench { held: Held::new(rule, place, 1), rows: BTreeMap::new(), now: Instant::now(), tokens: 0 }
    }

    fn arrive(&mut self, topic: &str, payload: &str) -> AckToken {
        self.tokens += 1;
        let token = AckToken::new(self.tokens);
        self.held.arrive(message(topic, payload), Some(token), Timestamp::UNIX_EPOCH, accepted_now(), self.now);
        token
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.held.advance(self.now);
    }

    fn store(&mut self) {
        while let Some(write) = self.held.next_write(self.now) {
            for range in write.delete {
                self.rows.retain(|place, _| !range.contains(place));
            }
            self.rows.extend(write.insert.into_iter().map(|row| (row.seq, row)));
            self.held.write_ended(true, self.now);
        }
    }

    /// Everything that goes is safe at once.
    fn sent(&mut self) -> Vec<(String, String)> {
        let ready = self.held.take_ready();
        ready.iter().for_each(|ready| self.held.settled(&ready.places, self.now));
        let text = |ready: Ready| String::from_utf8(ready.message.payload.to_vec()).unwrap();
        ready.into_iter().map(|ready| (ready.message.topic.to_string(), text(ready))).collect()
    }

    /// A new process, with what is on the disk.
    fn restart(&mut self, rule: &config::Up) {
        let stored = crate::store::Totals {
            messages: self.rows.len() as u64,
            bytes: 0,
            first: self.rows.keys().next().copied(),
            last: self.rows.keys().last().copied(),
        };
        self.held = Held::new(rule, QueueState { generation: 1, stored, ..QueueState::default() }, 1);
        while let Some(load) = self.held.next_load() {
            let rows = self.rows.values().filter(|row| load.after.is_none_or(|after| row.seq > after)).take(2).cloned();
            let rows: Vec<Row> = rows.collect();
            let complete = rows.last().is_none_or(|row| row.seq == load.until);
            self.held.load_ended(Some(Page { rows, complete }), self.now, &Moment::now());
        }
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(topic, payload)| ((*topic).to_owned(), (*payload).to_owned())).collect()
}

#[test]
fn of_each_topic_the_newest_goes_at_most_once_in_that_time() {
    let mut bench = Bench::new(&rule(Some(30), false, None));
    bench.arrive("a", "1");
    assert_eq!(bench.sent(), pairs(&[("a", "1")]), "the first goes at once");
    let superseded = bench.arrive("a", "2");
    bench.arrive("b", "1");
    assert_eq!(bench.sent(), pairs(&[("b", "1")]), "another topic has a time of its own");
    bench.held.take_done();
    bench.arrive("a", "3");
    assert_eq!((bench.held.take_done(), bench.held.take_dropped()), (vec![superseded], vec![Cause::Superseded]));
    bench.wait(29);
    assert_eq!(bench.sent(), []);
    bench.wait(1);
    assert_eq!(bench.sent(), pairs(&[("a", "3")]));
    bench.wait(60);
    assert_eq!((bench.held.len(), bench.held.topics.len(), bench.held.times.len()), (0, 0, 0), "nothing is remembered");
    bench.arrive("a", "4");
    assert_eq!(bench.sent(), pairs(&[("a", "4")]));
}

#[test]
fn what_did_not_arrive_is_news_when_it_comes_again() {
    let mut bench = Bench::new(&rule(None, true, None));
    bench.arrive("a", "1");
    assert_eq!(bench.sent(), pairs(&[("a", "1")]));
    bench.held.did_not_arrive(&Topic::new("a").unwrap());
    bench.arrive("a", "1");
    assert_eq!(bench.sent(), pairs(&[("a", "1")]));
}

#[test]
fn the_removal_of_a_retained_message_is_in_no_array() {
    let mut bench = Bench::new(&rule(None, false, Some((10, 5))));
    bench.arrive("a", "1");
    let removal = Outbound { retain: true, ..message("a", "") };
    bench.held.arrive(removal, None, Timestamp::UNIX_EPOCH, accepted_now(), bench.now);
    bench.arrive("a", "2");
    bench.wait(5);
    assert_eq!(bench.sent(), pairs(&[("a", "[1]"), ("a", ""), ("a", "[2]")]));
}

#[test]
fn what_says_nothing_new_is_not_sent() {
    let mut bench = Bench::new(&rule(Some(10), true, None));
    bench.arrive("a", "1");
    bench.arrive("a", "2");
    bench.arrive("a", "1");
    assert_eq!(bench.sent(), pairs(&[("a", "1")]));
    bench.wait(10);
    assert_eq!((bench.sent(), bench.held.take_dropped()), (vec![], vec![Cause::Superseded, Cause::Unchanged]));
    bench.arrive("a", "3");
    assert_eq!(bench.sent(), pairs(&[("a", "3")]), "what wasn't sent doesn't make the next wait");
}

#[test]
fn an_array_gathers_what_comes_for_a_topic() {
    let mut bench = Bench::new(&rule(None, false, Some((3, 10))));
    ["1", "x", "3", "4"].into_iter().for_each(|payload| {
        bench.arrive("a", payload);
    });
    bench.arrive("b", "5");
    assert_eq!(bench.sent(), pairs(&[("a", "[1,\"x\",3]")]));
    assert_eq!(bench.held.take_done().len(), 3);
    bench.wait(10);
    assert_eq!(bench.sent(), pairs(&[("a", "[4]"), ("b", "[5]")]));
    assert_eq!((bench.held.take_done().len(), bench.held.len()), (2, 0));
}

#[test]
fn what_waits_is_acknowledged_once_it_is_on_the_disk_and_outlives_a_restart() {
    let rule = rule(Some(60), false, None);
    let mut bench = Bench::new(&rule);
    for topic in ["a", "b", "c"] {
        bench.arrive(topic, "0");
        bench.arrive(topic, "1");
    }
    assert_eq!(bench.sent().len(), 3);
    bench.held.take_done();
    bench.store();
    assert!(bench.rows.is_empty() && bench.held.take_done().is_empty(), "for a moment it waits in the broker");
    bench.now += disk::HELD;
    bench.store();
    assert_eq!((bench.rows.len(), bench.held.take_done().len()), (3, 3));
    bench.restart(&rule);
    assert_eq!(bench.sent(), pairs(&[("a", "1"), ("b", "1"), ("c", "1")]));
    bench.now += Duration::from_secs(60);
    bench.store();
    assert!(bench.rows.is_empty(), "what has gone isn't kept: {:?}", bench.rows);
}

#[test]
fn when_many_wait_the_broker_is_told_soon() {
    let mut bench = Bench::new(&rule(None, false, Some((1000, 60))));
    (0..7).for_each(|n| {
        bench.arrive(&format!("t/{n}"), "1");
    });
    bench.store();
    assert!(bench.held.take_done().is_empty());
    bench.arrive("t/7", "1");
    bench.store();
    assert_eq!(bench.held.take_done().len(), 8);
}

#[test]
fn too_much_that_waits_goes_before_its_time() {
    let mut bench = Bench::new(&rule(None, false, Some((1000, 60))));
    let payload = format!("\"{}\"", "x".repeat(100_000));
    let mut sent = 0;
    for n in 0..60 {
        bench.arrive(&format!("t/{n}"), &payload);
        bench.store();
        sent += bench.sent().len();
        assert!(bench.held.memory <= MEMORY);
    }
    assert!(sent > 10 && bench.held.take_early() == sent as u64, "{sent}");
}

#[test]
fn after_a_new_connection_the_broker_sends_what_it_wasnt_told_of_and_nothing_is_twice() {
    let mut bench = Bench::new(&rule(Some(60), false, None));
    bench.arrive("a", "0");
    bench.sent();
    bench.arrive("a", "1");
    bench.held.link_down(bench.now);
    assert_eq!(bench.held.len(), 0);
    bench.arrive("a", "1");
    bench.wait(60);
    assert_eq!(bench.sent(), pairs(&[("a", "1")]));
}

#[derive(Debug, Clone)]
enum Step {
    Arrive(u8, u8),
    Wait(u64),
    Store,
    StoreFails,
    LinkDown,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..4u8, 0..3u8).prop_map(|(topic, payload)| Step::Arrive(topic, payload)),
        4 => (0..20u64).prop_map(Step::Wait),
        2 => Just(Step::Store),
        1 => Just(Step::StoreFails),
        1 => Just(Step::LinkDown),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    /// What the broker was told of has gone, or was given up by the rule's own word, or is on the disk.
    #[test]
    fn nothing_that_is_acknowledged_is_lost(
        every in prop::option::of(1..30u64),
        on_change in any::<bool>(),
        batch in prop::option::of((1..4usize, 1..30u64)),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let rule = rule(every, on_change, batch);
        let mut bench = Bench::new(&rule);
        let (mut n, mut told) = (0u64, Vec::new());
        let mut by_token = BTreeMap::new();
        let (mut gone, mut given_up) = (Vec::new(), 0);
        for step in steps {
            match step {
                Step::Arrive(topic, payload) => {
                    n += 1;
                    let payload = format!("{{\"n\":{n},\"v\":{payload}}}");
                    let token = bench.arrive(&format!("t/{topic}"), &payload);
                    by_token.insert(token, payload);
                }
                Step::Wait(seconds) => bench.wait(seconds),
                Step::Store => bench.store(),
                Step::StoreFails => if bench.held.next_write(bench.now).is_some() {
                    bench.held.write_ended(false, bench.now);
                },
                Step::LinkDown => bench.held.link_down(bench.now),
                Step::Restart => bench.restart(&rule),
            }
            gone.extend(bench.sent().into_iter().map(|(_, payload)| payload));
            given_up += bench.held.take_dropped().len();
            told.extend(bench.held.take_done());
            prop_assert!(bench.held.memory <= MEMORY);
        }
        // In the end everything that waits goes.
        bench.now += 100 * SECOND;
        bench.held.advance(bench.now);
        bench.held.advance(bench.now + 100 * SECOND);
        gone.extend(bench.sent().into_iter().map(|(_, payload)| payload));
        given_up += bench.held.take_dropped().len();
        prop_assert_eq!(bench.held.len(), 0, "{:?}", bench.held);
        let all = gone.concat();
        let missing = told.iter().filter(|token| !all.contains(&by_token[token])).count();
        prop_assert!(missing <= given_up, "{} of {:?}", missing, gone);
        if every.is_none() && !on_change {
            prop_assert_eq!(missing, 0);
        }
    }
}
