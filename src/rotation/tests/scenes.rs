//! Single rotations, from end to end.

use std::time::Duration;

use super::world::{MINUTE, Mood, World};
use crate::identity::Which;
use crate::rotation::{Cause, Question, Step};

/// A machine that is connected.
fn connected() -> World {
    let mut world = World::new();
    world.connect();
    world
}

/// A rotation by a job, whose new certificate is on the disk.
fn in_its_trial() -> World {
    let mut world = connected();
    world.begin_job();
    world.write();
    assert!(matches!(world.asked(), Some(Question::Create(_))));
    world.answer(Mood::Answers);
    world.write();
    assert_eq!(world.step(), Some(Step::Trial));
    world
}

/// Likewise, with its commit on the way.
fn committing() -> World {
    let mut world = in_its_trial();
    world.connect();
    world.write();
    assert!(matches!(world.asked(), Some(Question::Commit(_))));
    world
}

fn result(world: &World) -> Option<Option<&str>> {
    let ended = world.job.as_ref().and_then(|job| job.result.as_ref());
    ended.map(|ended| ended.failed.as_deref())
}

#[test]
fn a_job_puts_the_new_certificate_in_force_once_it_is_committed() {
    let mut world = committing();
    assert_eq!(world.current(), 1);
    world.answer(Mood::Answers);
    world.write();
    assert_eq!((world.current(), result(&world)), (2, None), "not told before it is noted");
    world.write();
    assert_eq!(result(&world), Some(None));
    assert!(world.is_connected(), "with the same certificate nothing is connected anew");
    assert_eq!(world.step(), None);
}

#[test]
fn a_refused_request_changes_nothing() {
    let mut world = connected();
    world.begin_job();
    world.write();
    world.answer(Mood::Refuses);
    world.write();
    assert_eq!((world.current(), result(&world)), (1, Some(Some("no"))));
    assert!(world.is_connected());
}

#[test]
fn a_new_certificate_that_is_refused_for_ten_minutes_makes_way_for_the_old_one() {
    let mut world = in_its_trial();
    world.revoke_next();
    for _ in 0..9 {
        world.connect();
        world.pass(MINUTE);
        assert_eq!(world.step(), Some(Step::Trial));
    }
    world.pass(MINUTE);
    world.write();
    assert_eq!(world.step(), Some(Step::GoBack));
    world.connect();
    world.write();
    let Some(Some(why)) = result(&world) else { panic!("{world:#?}") };
    assert_eq!(why, "the new certificate didn't connect within 10m: not authorized");
    world.write();
    assert_eq!((world.next(), world.current()), (None, 1));
}

#[test]
fn the_ten_minutes_of_a_trial_go_on_over_restarts_whatever_the_clock_shows() {
    for (seconds, expected) in [(100, 5), (5, 20)] {
        let mut world = in_its_trial();
        world.revoke_next();
        let mut lives = 0;
        while world.step() == Some(Step::Trial) {
            world.connect();
            world.pass(Duration::from_secs(seconds));
            let hours = if lives % 2 == 0 { 9000 } else { -9000 };
            world.wall = world.wall.checked_add(jiff::SignedDuration::from_hours(hours)).unwrap();
            world.kill(true);
            lives += 1;
        }
        assert_eq!((world.step(), lives), (Some(Step::GoBack), expected), "of {seconds} s each");
        world.all_is_well();
        assert!(matches!(result(&world), Some(Some(why)) if why.contains("didn't connect within 10m")), "{world:#?}");
        assert_eq!(world.current(), 1);
    }
}

#[test]
fn a_commit_that_is_never_answered_ends_with_whichever_is_let_in() {
    // It wasn't done.
    let mut world = committing();
    world.pass(10 * MINUTE);
    world.write();
    world.connect();
    world.write();
    assert!(matches!(result(&world), Some(Some(why)) if why.contains("commit")), "{world:#?}");
    assert_eq!((world.current(), world.next()), (1, Some(2)), "AWS may do it late");
    world.pass(25 * 60 * MINUTE);
    world.write();
    assert_eq!(world.next(), None);
    // It was.
    let mut world = committing();
    world.answer(Mood::Forgets);
    world.pass(10 * MINUTE);
    world.write();
    assert_eq!(result(&world), None);
    world.connect();
    world.connect();
    world.write();
    world.write();
    assert_eq!((world.current(), result(&world)), (2, Some(None)));
}

#[test]
fn on_the_way_back_each_attempt_is_made_with_the_other_certificate() {
    let mut world = committing();
    let both = std::mem::take(&mut world.aws.lets_in);
    world.answer(Mood::Refuses);
    world.write();
    world.cut();
    let used: Vec<u32> = std::iter::repeat_with(|| {
        let used = world.using.1;
        world.connect();
        used
    })
    .take(6)
    .collect();
    assert_eq!(used, [1, 2, 1, 2, 1, 2]);
    world.aws.lets_in = both;
    world.connect();
    assert!(world.is_connected());
    world.all_is_well();
    assert_eq!((world.current(), result(&world)), (1, Some(Some("no"))));
}

#[test]
fn an_attempt_that_was_under_way_at_the_others_turn_counts() {
    let mut world = committing();
    let both = std::mem::take(&mut world.aws.lets_in);
    world.answer(Mood::Refuses);
    world.write();
    world.cut();
    world.connect();
    assert_eq!(world.using.1, 2);
    // The files of the new one were read too late for the attempt.
    let now = world.now();
    world.aws.lets_in = both;
    world.machine.connected(Which::Current, now);
    world.all_is_well();
    assert_eq!((world.current(), world.using.1), (1, 1));
}

#[test]
fn a_commit_that_aws_does_after_the_way_back_makes_the_new_one_count() {
    let mut world = committing();
    world.pass(10 * MINUTE);
    world.write();
    world.connect();
    world.write();
    assert!(world.is_connected() && world.current() == 1);
    world.do_commit_late();
    world.connect();
    assert_eq!(world.step(), Some(Step::GoBack));
    world.connect();
    world.write();
    assert_eq!(world.current(), 2);
}

#[test]
fn killed_at_each_step_it_goes_on_or_back_and_the_job_has_its_result() {
    for steps in 0..12 {
        for is_done in [false, true] {
            let mut world = connected();
            world.begin_job();
            for step in 0..steps {
                match step % 3 {
                    0 => world.write(),
                    1 => world.answer(Mood::Answers),
                    _ => world.connect(),
                }
            }
            world.kill(is_done);
            world.all_is_well();
            assert_eq!(result(&world), Some(None), "after {steps} steps, {is_done}: {world:#?}");
            assert!(world.lets_in().contains(&world.current()));
        }
    }
}

#[test]
fn a_cancelled_job_changes_nothing_unless_a_commit_may_have_been_sent() {
    let mut world = in_its_trial();
    world.connect();
    // What AWS says of it comes before it is noted that the commit begins.
    let mut early = in_its_trial();
    early.job.as_mut().unwrap().is_cancelled = true;
    early.connect();
    early.all_is_well();
    assert_eq!(early.current(), 1);
    world.write();
    world.cancel_job();
    world.all_is_well();
    assert_eq!(world.current(), 2);
}

#[test]
fn a_renewal_waits_for_a_connection_and_counts_once_it_has_connected() {
    let mut world = World::new();
    world.renew();
    assert_eq!(world.step(), None);
    world.connect();
    world.write();
    world.write();
    assert_eq!(world.asked(), Some(&Question::CreateFromCsr));
    world.answer(Mood::Answers);
    world.write();
    assert_eq!(world.step(), Some(Step::RegisterThing));
    world.answer(Mood::Answers);
    world.write();
    world.connect();
    world.write();
    world.write();
    assert_eq!((world.current(), world.step()), (2, None));
    assert_eq!(world.overs.last().map(|ended| &ended.cause), Some(&Cause::Renewal));
}

#[test]
fn a_renewal_that_fails_is_tried_again_a_day_later_also_after_a_restart() {
    let mut world = connected();
    world.renew();
    world.write();
    world.write();
    world.answer(Mood::Refuses);
    world.write();
    world.write();
    assert_eq!((world.step(), world.current()), (None, 1));
    let failed_at = world.wall;
    for hours in [0, 11, 12] {
        world.pass(hours * 60 * MINUTE);
        world.kill(true);
        world.connect();
        world.renew();
        assert_eq!(world.step(), None, "after {hours} more hours");
        let failed = world.failed().expect("why it failed is noted");
        assert_eq!((&failed.cause, failed.why.as_str(), failed.at.0), (&Cause::Renewal, "no", failed_at));
    }
    world.pass(60 * MINUTE);
    assert_eq!(world.step(), Some(Step::CreateCertificate), "what is due waits for its day");
    world.all_is_well();
    assert_eq!((world.current(), world.failed()), (2, None), "one has succeeded since");
}

#[test]
fn answers_that_cant_be_used_are_asked_for_a_few_times() {
    for mood in [Mood::Garbage, Mood::Stale] {
        let mut world = connected();
        world.begin_job();
        world.write();
        let mut asked = 0;
        while world.step() == Some(Step::CreateCertificate) {
            asked += usize::from(world.asked().is_some());
            world.answer(mood);
            world.pass(Duration::from_secs(5));
        }
        assert_eq!(asked, 6, "each may be another certificate");
        assert!(matches!(result(&world), None | Some(Some(_))), "{world:#?}");
    }
}

#[test]
fn a_job_waits_for_a_renewal_that_is_under_way() {
    let mut world = connected();
    world.renew();
    world.write();
    world.begin_job();
    world.all_is_well();
    assert_eq!((result(&world), world.current()), (Some(None), 3));
}
