use super::*;
use crate::message::Qos;

const SECOND: Duration = Duration::from_secs(1);

fn on(name: &str) -> Traits {
    Traits { topic: Topic::new(name).unwrap(), retain: false, qos: Qos::AtLeastOnce, size: 100 }
}

fn suspect(name: &str) -> Suspect {
    Suspect::Publish(on(name))
}

/// A connection on which the server takes `taken` and closes with these unanswered; returns what that shows to be guilty.
fn close(isolation: &mut Isolation, taken: &[&str], unanswered: &[Traits], now: Instant) -> Option<String> {
    isolation.restart(now);
    taken.iter().for_each(|name| assert!(isolation.took(&on(name), now).is_empty()));
    let shown = isolation.closed(unanswered.iter().cloned().map(Suspect::Publish), false, |_| false, now);
    shown.guilty.map(|guilty| match guilty {
        Guilty::Publish(condition) => condition.to_string(),
        Guilty::Subscribe(filter) => panic!("{filter}"),
    })
}

/// How often `bad`, which is tried alone already, closes the connection before it is guilty.
fn closes_until_guilty(isolation: &mut Isolation, now: Instant) -> u32 {
    assert!(isolation.is_alone(&suspect("bad")));
    (1..100).find(|_| close(isolation, &["good"], &[on("bad")], now).is_some()).unwrap()
}

fn suspect_bad(isolation: &mut Isolation, now: Instant) {
    for _ in 0..2 {
        assert_eq!(close(isolation, &[], &[on("good"), on("bad")], now), None);
    }
    isolation.restart(now);
    isolation.took(&on("good"), now);
    assert!(isolation.is_alone(&suspect("bad")) && !isolation.is_alone(&suspect("good")));
}

#[test]
fn what_closes_alone_three_times_in_a_row_is_guilty_and_then_once_is_enough() {
    let (mut isolation, now) = (Isolation::default(), Instant::now());
    suspect_bad(&mut isolation, now);
    assert_eq!(closes_until_guilty(&mut isolation, now), 3);
    isolation.try_again(Condition::topics(crate::message::TopicPattern::exactly(&on("bad").topic)), now);
    assert_eq!(closes_until_guilty(&mut isolation, now), 1);
    assert!(isolation.is_idle());
}

#[test]
fn each_close_that_nobody_is_left_to_blame_for_asks_for_one_more() {
    let (mut isolation, mut now) = (Isolation::default(), Instant::now());
    for _ in 0..2 {
        close(&mut isolation, &[], &[on("good"), on("other")], now);
        isolation.took(&on("good"), now);
        isolation.took(&on("other"), now);
    }
    close(&mut isolation, &[], &[], now);
    suspect_bad(&mut isolation, now);
    assert_eq!(closes_until_guilty(&mut isolation, now), 6);
    for _ in 0..20 {
        close(&mut isolation, &[], &[], now);
    }
    suspect_bad(&mut isolation, now);
    assert_eq!(closes_until_guilty(&mut isolation, now), ALONE + closes::MAX_DOUBT);
    now += closes::DOUBT_FOR + SECOND;
    suspect_bad(&mut isolation, now);
    assert_eq!(closes_until_guilty(&mut isolation, now), 3, "what was an hour ago is forgotten");
}

#[test]
fn an_end_for_another_reason_begins_the_row_anew() {
    let (mut isolation, now) = (Isolation::default(), Instant::now());
    suspect_bad(&mut isolation, now);
    for _ in 0..2 {
        assert_eq!(close(&mut isolation, &["good"], &[on("bad")], now), None);
    }
    isolation.ended_otherwise();
    assert_eq!(closes_until_guilty(&mut isolation, now), 3);
}

/// Closes for one topic after the other, each alone, until something is guilty.
fn group(isolation: &mut Isolation, taken: &[&str], refused: &[Traits], now: Instant) -> Option<String> {
    for _ in 0..2 {
        close(isolation, taken, &refused[..1], now);
    }
    refused.iter().find_map(|traits| close(isolation, taken, std::slice::from_ref(traits), now))
}

#[test]
fn three_topics_that_close_alone_make_what_they_have_in_common_guilty() {
    for (names, taken, guilty) in [
        (["ev/17/door", "ev/18/door", "ev/233/door"], "ev/17/window", "`ev/*/door`"),
        (["17/door", "x8/door", "233/door"], "17/window", "`*/door`"),
        (["a/bad-1", "a/bad-x", "a/bad-7"], "a/good-1", "`a/bad-*`"),
        (["ev/a", "ev/b/c", "ev/d"], "other", "`ev/#`"),
    ] {
        let (mut isolation, now) = (Isolation::default(), Instant::now());
        let refused = names.map(on);
        assert_eq!(group(&mut isolation, &[taken], &refused, now).as_deref(), Some(guilty));
        assert!(isolation.is_idle());
    }
}

#[test]
fn a_group_is_as_narrow_as_it_takes_to_leave_out_what_is_taken() {
    let usual = on("t/1");
    for (other, guilty) in [
        (Traits { retain: true, ..usual.clone() }, "`t/*` with RETAIN"),
        (Traits { size: 50_000, ..usual.clone() }, "`t/*` of 50000 bytes or more"),
        (Traits { qos: Qos::AtMostOnce, ..usual }, "`t/*` with QoS 0"),
    ] {
        let (mut isolation, now) = (Isolation::default(), Instant::now());
        let refused = ["t/1", "t/2", "t/3"].map(|name| Traits { topic: on(name).topic, ..other.clone() });
        assert_eq!(group(&mut isolation, &["t/1", "t/2", "t/3"], &refused, now).as_deref(), Some(guilty));
    }
}

#[test]
fn where_nothing_separates_them_some_are_found_one_by_one_and_then_all_but_what_is_taken() {
    let (mut isolation, now) = (Isolation::default(), Instant::now());
    let mut guilty = Vec::new();
    for n in 0..30 {
        let name = format!("t/{n}");
        close(&mut isolation, &["t/good"], &[on(&name)], now);
        guilty.extend((0..5).find_map(|_| close(&mut isolation, &["t/good"], &[on(&name)], now)));
        if guilty.last().is_some_and(|last| last.contains('*')) {
            break;
        }
    }
    assert_eq!(guilty.len(), 6, "{guilty:?}");
    assert_eq!(guilty.last().unwrap(), "`t/*` except 1 topic that it has accepted before");
}

#[test]
fn a_server_that_takes_nothing_has_nobody_found_guilty() {
    let (mut isolation, mut now) = (Isolation::default(), Instant::now());
    for n in 0..200 {
        close(&mut isolation, &[], &[on(&format!("t/{}", n % 7))], now);
        assert!(n < 7 || isolation.refuses_everything());
        now += 301 * SECOND;
    }
    assert!(isolation.is_alone(&suspect("whatever")));
    isolation.restart(now);
    assert_eq!(isolation.took(&on("t/1"), now), []);
    assert!(!isolation.refuses_everything() && isolation.is_idle());
}

#[test]
fn what_is_least_like_the_refused_is_tried_first_and_else_something_new_or_the_oldest() {
    let (mut isolation, mut now) = (Isolation::default(), Instant::now());
    let start = now;
    let rank = |isolation: &Isolation, name: &str| isolation.rank(&on(name), 7, start).unwrap();
    let mut fail = |isolation: &mut Isolation, name: &str| {
        now += 100 * SECOND;
        close(isolation, &[], &[on(name)], now);
        isolation.restart(now);
    };
    (0..3).for_each(|_| fail(&mut isolation, "g1/ev/1"));
    assert!(rank(&isolation, "g1/temp") < rank(&isolation, "g1/ev/2"));
    fail(&mut isolation, "g1/temp");
    // All are alike now.
    assert!(rank(&isolation, "g1/hum") < rank(&isolation, "g1/ev/1"), "after two trials something new");
    fail(&mut isolation, "g1/hum");
    assert_eq!(rank(&isolation, "g1/new"), rank(&isolation, "g1/ev/1"), "mostly the oldest goes first");
}

/// A server that takes nothing for long enough, and then `name`.
fn refuse_everything_until_it_takes(isolation: &mut Isolation, name: &str, refused: &[&str], now: &mut Instant) {
    for name in refused.iter().cycle().take(6) {
        *now += 301 * SECOND;
        close(isolation, &[], &[on(name)], *now);
    }
    assert!(isolation.refuses_everything());
    isolation.restart(*now);
    isolation.took(&on(name), *now);
    assert!(!isolation.refuses_everything());
}

#[test]
fn what_was_refused_with_everything_is_free_when_it_is_over_and_suspected_again_at_the_next_close() {
    let (mut isolation, mut now) = (Isolation::default(), Instant::now());
    refuse_everything_until_it_takes(&mut isolation, "good", &["bad", "worse"], &mut now);
    assert!(!isolation.is_alone(&suspect("bad")) && !isolation.is_alone(&suspect("worse")));
    close(&mut isolation, &[], &[on("bad"), on("other")], now);
    assert!(isolation.is_alone(&suspect("bad")) && isolation.is_alone(&suspect("worse")));
    // The server is known to take some: those stay suspected when it takes another.
    refuse_everything_until_it_takes(&mut isolation, "good", &["bad", "worse"], &mut now);
    assert!(isolation.is_alone(&suspect("bad")) && isolation.is_alone(&suspect("worse")));
    assert!(!isolation.is_alone(&suspect("good")));
}

#[test]
fn each_message_has_its_turn_though_everything_seems_to_be_refused() {
    let (mut isolation, mut now) = (Isolation::default(), Instant::now());
    let names: Vec<String> = (0..5).map(|n| format!("t/{n}")).collect();
    for _ in 0..6 {
        now += 301 * SECOND;
        close(&mut isolation, &[], &[on("t/4")], now);
    }
    assert!(isolation.refuses_everything());
    let mut trials: Vec<&String> = Vec::new();
    while trials.last().is_none_or(|name| *name != "t/4") {
        now += 301 * SECOND;
        isolation.restart(now);
        let ranked = (0..).zip(&names).map(|(place, name)| (isolation.rank(&on(name), place, now).unwrap(), name));
        let (_, name) = ranked.min().unwrap();
        close(&mut isolation, &[], &[on(name)], now);
        trials.push(name);
        assert!(trials.len() < 100, "{trials:?}");
    }
    assert!(names.iter().all(|name| trials.contains(&name)));
}

#[test]
fn a_condition_leaves_out_what_was_taken_before() {
    let (mut isolation, now) = (Isolation::default(), Instant::now());
    let large = Traits { size: 50_000, ..on("t/1") };
    isolation.took(&on("t/1"), now);
    let later = now + SECOND;
    let found = (0..6).find_map(|_| close(&mut isolation, &["good"], std::slice::from_ref(&large), later));
    assert_eq!(found.as_deref(), Some("`t/1` of 50000 bytes or more"));

    let (mut isolation, now) = (Isolation::default(), Instant::now());
    isolation.took(&on("t/1"), now);
    let later = now + SECOND;
    let refused = ["t/2", "t/3", "t/4"].map(on);
    let found = group(&mut isolation, &["good"], &refused, later);
    assert_eq!(found.as_deref(), Some("`t/*` except 1 topic that it has accepted before"));
}
