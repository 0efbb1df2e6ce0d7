use std::cell::RefCell;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::config::{OnChange, When};
use crate::message::{Qos, Topic};
use crate::schedule::source::{MetricError, SourceError};
use crate::template::{Fixed, Template};

const SECOND: Duration = Duration::from_secs(1);

/// An entry that reads something each second, on a machine of its own, and the outbox it hands its messages to.
struct World {
    now: Now,
    entry: Publication,
    outbox: RefCell<Result<Vec<String>, Refusal>>,
}

impl World {
    fn new(change: impl FnOnce(&mut config::Publish)) -> World {
        let mut config = config::Publish {
            name: "p".to_owned(),
            topic: Topic::new("t").unwrap(),
            when: When::Every(SECOND),
            count: None,
            jitter: Duration::ZERO,
            at_start: false,
            source: Some(config::Source::File("/nowhere".into())),
            payload: Template::bare_value(),
            on_change: None,
            batch: None,
            qos: Qos::AtLeastOnce,
            retain: false,
            urgent: false,
        };
        change(&mut config);
        let now = Now { mono: Instant::now(), wall: "2026-01-31T12:00:00Z".parse().unwrap(), since_boot: SECOND };
        World { now, entry: Publication::new(&config, &now), outbox: RefCell::new(Ok(Vec::new())) }
    }

    fn advance(&mut self, by: Duration) {
        self.now.mono += by;
        self.now.since_boot += by;
        self.now.wall += SignedDuration::try_from(by).unwrap();
    }

    /// A second passes; whether something has to be read.
    fn tick(&mut self) -> Option<Timestamp> {
        self.advance(SECOND);
        let outbox = &self.outbox;
        self.entry.tick(&self.now, |message| submit(outbox, &message)).map(|to_read| to_read.due)
    }

    fn reads(&mut self, due: Timestamp, outcome: Result<Reading, SourceError>) {
        let outbox = &self.outbox;
        self.entry.read(due, outcome, &self.now, |message| submit(outbox, &message));
    }

    /// A second passes, and the source has `text`.
    fn tick_with(&mut self, text: &str) {
        let due = self.tick().unwrap();
        self.reads(due, Ok(reading(text)));
    }

    fn flush(&mut self) {
        let outbox = &self.outbox;
        self.entry.flush(self.now.wall, |message| submit(outbox, &message));
    }

    /// What the outbox has got since this was asked last.
    fn sent(&self) -> Vec<String> {
        self.outbox.borrow_mut().as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn status(&self) -> serde_json::Value {
        serde_json::to_value(self.entry.status(&self.now)).unwrap()
    }
}

fn submit(outbox: &RefCell<Result<Vec<String>, Refusal>>, message: &Outbound) -> Result<(), Refusal> {
    match &mut *outbox.borrow_mut() {
        Ok(sent) => sent.push(String::from_utf8(message.payload.to_vec()).unwrap()),
        Err(refusal) => return Err(refusal.clone()),
    }
    Ok(())
}

fn reading(text: &str) -> Reading {
    Reading { value: SourceValue::text(text.as_bytes().to_vec()), lacks: None }
}

fn failure() -> SourceError {
    SourceError::Metric(MetricError::Slow)
}

fn json(text: &str) -> Template {
    let fixed = Fixed { client_id: "c".to_owned(), thing: "c".to_owned(), hostname: "h".to_owned() };
    Template::json(&serde_json::from_str(text).unwrap(), &fixed).unwrap()
}

#[test]
fn each_value_is_published_with_the_time_it_was_due() {
    let mut world = World::new(|config| config.payload = json(r#"["{{value}}","{{count}}","{{timestamp}}"]"#));
    world.tick_with("21.5\n");
    let due = world.tick().unwrap();
    world.advance(SECOND / 2);
    world.reads(due, Ok(reading("22")));
    assert_eq!(world.sent(), [r#"[21.5,1,"2026-01-31T12:00:01.000Z"]"#, r#"[22,2,"2026-01-31T12:00:02.000Z"]"#]);
    let status = world.status();
    assert_eq!((&status["count"], &status["last_run"]), (&json!(2), &json!("2026-01-31T12:00:02.000Z")));
    assert_eq!(status["last_published"], "2026-01-31T12:00:02.500Z");
    assert_eq!(status["next_run"], "2026-01-31T12:00:03.000Z");
}

#[test]
fn what_fails_is_no_publication_and_stays_in_the_status() {
    let mut world = World::new(|config| config.count = Some(2));
    world.tick_with("1");
    let due = world.tick().unwrap();
    world.reads(due, Err(failure()));
    let status = world.status();
    assert_eq!((&status["count"], &status["failed"]), (&json!(1), &json!(1)));
    assert_eq!(status["last_error"]["at"], "2026-01-31T12:00:02.000Z");
    assert!(status["last_error"]["message"].as_str().unwrap().contains("can't be read"));
    world.tick_with("2");
    assert_eq!((world.sent().len(), world.tick()), (2, None), "it stops after two publications");
    assert_eq!(world.status()["next_run"], serde_json::Value::Null);
    assert_eq!(world.entry.wake(), Wake::default());
}

#[test]
fn a_run_that_takes_longer_is_not_started_again_and_what_is_due_meanwhile_is_counted() {
    let mut world = World::new(|_| ());
    let due = world.tick().unwrap();
    assert_eq!((world.tick(), world.tick()), (None, None));
    world.reads(due, Ok(reading("1")));
    assert_eq!(world.status()["skipped"], 2);
    assert!(world.entry.run.said, "it is said once, until a run is in time");
    world.tick_with("2");
    assert!(!world.entry.run.said);
    assert_eq!(world.sent(), ["1", "2"]);
}

#[test]
fn only_what_has_moved_is_published() {
    let mut world = World::new(|config| config.on_change = Some(OnChange { min_change: Some(0.5) }));
    for text in ["20", "20.4", "20.5", "20.9", "20.1", "20.0"] {
        world.tick_with(text);
    }
    assert_eq!(world.sent(), ["20", "20.5", "20.0"]);
    let status = world.status();
    assert_eq!((&status["count"], &status["unchanged"]), (&json!(3), &json!(3)));
}

#[test]
fn a_value_that_nobody_took_is_tried_again_although_it_has_not_moved() {
    for batch in [None, Some(config::Batch { max: 1, within: SECOND, encoding: config::Encoding::None })] {
        let mut world = World::new(|config| {
            config.on_change = Some(OnChange { min_change: None });
            config.batch = batch;
        });
        world.outbox = RefCell::new(Err(Refusal::OutboxFull));
        world.tick_with("20");
        assert_eq!(world.status()["refused"], 1);
        world.outbox = RefCell::new(Ok(Vec::new()));
        world.tick_with("20");
        world.tick_with("20");
        assert_eq!(world.sent(), [if batch.is_some() { "[20]" } else { "20" }]);
    }
}

#[test]
fn values_of_a_batch_go_out_together_when_it_is_full_or_its_time_has_come() {
    let batch = config::Batch { max: 3, within: Duration::from_millis(2500), encoding: config::Encoding::None };
    let mut world = World::new(|config| config.batch = Some(batch));
    for text in ["1", "2", "a b"] {
        world.tick_with(text);
    }
    assert_eq!(world.sent(), [r#"[1,2,"a b"]"#]);
    world.tick_with("4");
    assert_eq!(world.entry.wake().mono, Some(world.now.mono + SECOND), "the next value");
    world.tick_with("5");
    assert_eq!(world.sent(), [""; 0]);
    world.advance(SECOND / 2);
    let due = world.tick().unwrap();
    assert_eq!(world.sent(), ["[4,5]"]);
    world.reads(due, Ok(reading("6")));
    world.flush();
    assert_eq!(world.sent(), ["[6]"]);
    assert_eq!(world.status()["count"], 6);
}

#[test]
fn the_last_values_of_a_batch_go_out_though_nothing_is_due_any_more() {
    let batch = config::Batch { max: 3, within: 10 * SECOND, encoding: config::Encoding::None };
    let mut world = World::new(|config| (config.batch, config.count) = (Some(batch), Some(1)));
    world.tick_with("1");
    assert_eq!(world.entry.wake().mono, Some(world.now.mono + 10 * SECOND));
    world.advance(10 * SECOND);
    assert_eq!((world.tick(), world.sent()), (None, vec!["[1]".to_owned()]));
    assert_eq!(world.entry.wake(), Wake::default());
}

#[test]
fn what_is_wrong_is_said_once_until_it_changes() {
    let mut world = World::new(|config| {
        config.batch = Some(config::Batch { max: 2, within: 60 * SECOND, encoding: config::Encoding::None })
    });
    let fails = |world: &mut World| {
        let due = world.tick().unwrap();
        world.reads(due, Err(failure()));
    };
    for _ in 0..3 {
        fails(&mut world);
        assert!(world.entry.troubles.is_met());
    }
    world.flush();
    assert!(world.entry.troubles.is_met(), "an empty batch tells nothing");
    world.tick_with("1");
    assert!(!world.entry.troubles.is_met());
    // A batch that was refused isn't made good by a value that waits for the next one.
    world.outbox = RefCell::new(Err(Refusal::OutboxFull));
    world.tick_with("2");
    world.tick_with("3");
    assert!(world.entry.troubles.is_met());
    world.outbox = RefCell::new(Ok(Vec::new()));
    world.tick_with("4");
    assert!(!world.entry.troubles.is_met());
    // What a machine lacks spoils nothing, and isn't said again and again.
    for _ in 0..2 {
        let due = world.tick().unwrap();
        world.reads(due, Ok(Reading { lacks: Some(failure()), ..reading("5") }));
        assert!(world.entry.troubles.is_met());
    }
    assert_eq!(world.sent(), ["[3,4]", "[5,5]"]);
}
