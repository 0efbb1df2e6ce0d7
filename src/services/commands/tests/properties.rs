//! Steps at random, in any order.

use std::time::Duration;

use proptest::prelude::*;

use super::cloud::Mood;
use super::talk;
use super::world::{BAD_DETAILS, LISTED, UNLISTED, World};
use crate::services::commands::execution::Status;

#[derive(Debug, Clone)]
enum Step {
    Create(&'static str, Option<u64>),
    Delete(usize),
    Connect(Option<u64>),
    Cut(bool),
    Kill(usize),
    Send,
    /// A while in which all goes well, but for the disk and the action.
    Talk,
    Serve(usize, Mood),
    Bring(usize),
    Deliver(usize),
    Written(bool),
    End(Status),
    Pass(u64),
}

fn mood() -> impl Strategy<Value = Mood> {
    let bad = [Mood::Deaf, Mood::Dead, Mood::Throttles, Mood::Fails, Mood::Conflicts];
    prop_oneof![4 => Just(Mood::Works), 1 => prop::sample::select(bad.to_vec())]
}

fn step() -> impl Strategy<Value = Step> {
    let payloads = prop::sample::select(vec![LISTED, LISTED, BAD_DETAILS, UNLISTED]);
    prop_oneof![
        4 => (payloads, prop::option::of(1..900u64)).prop_map(|(payload, time)| Step::Create(payload, time)),
        1 => any::<usize>().prop_map(Step::Delete),
        6 => prop::option::of(0..600u64).prop_map(Step::Connect),
        2 => any::<bool>().prop_map(Step::Cut),
        2 => (0..4usize).prop_map(Step::Kill),
        20 => Just(Step::Send),
        6 => Just(Step::Talk),
        20 => (any::<usize>(), mood()).prop_map(|(which, mood)| Step::Serve(which, mood)),
        12 => any::<usize>().prop_map(Step::Bring),
        20 => any::<usize>().prop_map(Step::Deliver),
        12 => prop::bool::weighted(0.95).prop_map(Step::Written),
        6 => prop_oneof![Just(Status::Succeeded), Just(Status::Failed)].prop_map(Step::End),
        8 => (0..30_000u64).prop_map(Step::Pass),
    ]
}

fn run(world: &mut World, step: &Step) {
    match *step {
        Step::Create(payload, time) => world.create(payload, time),
        Step::Delete(which) => world.cloud.delete(which),
        Step::Connect(was_down) => world.connect(was_down.map(Duration::from_secs)),
        Step::Cut(is_lost) => world.cut(is_lost),
        Step::Kill(written) => world.kill(written),
        Step::Send => world.send(),
        Step::Talk => talk(world),
        Step::Serve(which, mood) => world.cloud.serve(which, mood),
        Step::Bring(which) => world.bring(which),
        Step::Deliver(which) => world.deliver(which),
        Step::Written(is_done) => world.written(is_done),
        Step::End(status) => world.end_action(status),
        Step::Pass(milliseconds) => world.pass(Duration::from_millis(milliseconds)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_command_is_begun_twice_and_no_result_lost(steps in prop::collection::vec(step(), 1..300)) {
        let mut world = World::new();
        for step in &steps {
            run(&mut world, step);
        }
        world.calm();
    }
}
