use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn topic(name: &str) -> Suspect {
    Suspect::Publish(Target { topic: crate::message::Topic::new(name).unwrap(), retain: false })
}

/// The server closes with these unanswered; returns whether that shows one to be guilty.
fn close(suspects: &mut Suspects, names: &[&str], now: Instant) -> Option<Suspect> {
    suspects.restart();
    suspects.closed(names.iter().map(|name| topic(name)), now).guilty
}

/// How often `bad`, which is tried alone already, closes the connection before it is guilty.
fn closes_until_guilty(suspects: &mut Suspects, now: Instant) -> u32 {
    assert!(suspects.is_tried_alone(&topic("bad")));
    (1..100).find(|_| close(suspects, &["bad"], now).is_some()).unwrap()
}

/// `bad` and another are suspected, and the other is cleared.
fn suspect_bad(suspects: &mut Suspects, now: Instant) {
    for _ in 0..2 {
        assert_eq!(close(suspects, &["good", "bad"], now), None);
    }
    assert!(suspects.is_tried_alone(&topic("good")));
    suspects.clear(&topic("good"));
    assert!(!suspects.is_tried_alone(&topic("good")));
}

#[test]
fn what_closes_alone_three_times_in_a_row_is_guilty_and_then_once_is_enough() {
    let (mut suspects, now) = (Suspects::default(), Instant::now());
    suspect_bad(&mut suspects, now);
    assert_eq!(closes_until_guilty(&mut suspects, now), 3);
    assert_eq!(closes_until_guilty(&mut suspects, now), 1);
    suspects.clear(&topic("bad"));
    assert!(suspects.is_empty());
}

#[test]
fn each_close_that_nobody_is_left_to_blame_for_asks_for_one_more() {
    let (mut suspects, mut now) = (Suspects::default(), Instant::now());
    for _ in 0..2 {
        close(&mut suspects, &["good", "other"], now);
        suspects.clear(&topic("good"));
        suspects.clear(&topic("other"));
    }
    close(&mut suspects, &[], now);
    suspect_bad(&mut suspects, now);
    assert_eq!(closes_until_guilty(&mut suspects, now), 6);
    suspects.clear(&topic("bad"));
    for _ in 0..20 {
        close(&mut suspects, &[], now);
    }
    suspect_bad(&mut suspects, now);
    assert_eq!(closes_until_guilty(&mut suspects, now), ALONE + MAX_DOUBT);
    suspects.clear(&topic("bad"));
    now += DOUBT_FOR + SECOND;
    suspect_bad(&mut suspects, now);
    assert_eq!(closes_until_guilty(&mut suspects, now), 3, "what was an hour ago is forgotten");
}

#[test]
fn an_end_for_another_reason_begins_the_row_anew() {
    let (mut suspects, now) = (Suspects::default(), Instant::now());
    suspect_bad(&mut suspects, now);
    for _ in 0..2 {
        assert_eq!(close(&mut suspects, &["bad"], now), None);
    }
    suspects.ended_otherwise();
    assert_eq!(closes_until_guilty(&mut suspects, now), 3);
}
