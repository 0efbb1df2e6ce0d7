//! Whatever happens: there is an identity that AWS lets in, the gateway finds it, a job has its result, and there is one new
//! certificate a day at most.

use std::time::Duration;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::world::{MINUTE, Mood, World};
use crate::rotation::renewal::PERIOD;

#[derive(Debug, Clone)]
enum Move {
    Job,
    Cancel,
    Renew,
    Connect,
    Cut,
    Write,
    Answer(Mood),
    Kill {
        is_done: bool,
    },
    Full(bool),
    Revoke,
    Pass(u64),
    /// Somebody sets the clock on the wall.
    SetClock(i64),
}

fn mood() -> impl Strategy<Value = Mood> {
    prop_oneof![
        8 => Just(Mood::Answers),
        2 => Just(Mood::Forgets),
        1 => Just(Mood::Ignores),
        1 => Just(Mood::Refuses),
        1 => Just(Mood::Garbage),
        1 => Just(Mood::Stale),
    ]
}

fn a_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        3 => Just(Move::Job),
        1 => Just(Move::Cancel),
        3 => Just(Move::Renew),
        9 => Just(Move::Connect),
        3 => Just(Move::Cut),
        12 => Just(Move::Write),
        9 => mood().prop_map(Move::Answer),
        2 => any::<bool>().prop_map(|is_done| Move::Kill { is_done }),
        1 => any::<bool>().prop_map(Move::Full),
        1 => Just(Move::Revoke),
        5 => prop_oneof![0..60u64, 0..700u64, 0..100_000u64].prop_map(Move::Pass),
        1 => (-400_000..400_000i64).prop_map(Move::SetClock),
    ]
}

fn make(world: &mut World, a_move: &Move) {
    match a_move {
        Move::Job => world.begin_job(),
        Move::Cancel => world.cancel_job(),
        Move::Renew => world.renew(),
        Move::Connect => world.connect(),
        Move::Cut => world.cut(),
        Move::Write => world.write(),
        Move::Answer(mood) => world.answer(*mood),
        Move::Kill { is_done } => world.kill(*is_done),
        Move::Full(is_full) => world.disk_is_full = *is_full,
        Move::Revoke => world.revoke_next(),
        Move::Pass(seconds) => world.pass(Duration::from_secs(*seconds)),
        Move::SetClock(seconds) => {
            world.wall = world.wall.checked_add(SignedDuration::from_secs(*seconds)).unwrap();
        }
    }
}

/// At any moment.
fn look(world: &World, clock_was_set: bool) {
    let has_one = [Some(world.current()), world.next()].into_iter().flatten().any(|one| world.lets_in().contains(&one));
    assert!(has_one, "no identity is on the disk that AWS lets in: {world:#?}");
    // A clock that is set between two lives makes a day shorter or longer, and that it begins is noted before.
    let too_soon = world.renewals.windows(2).any(|two| two[1] - two[0] < PERIOD - 2 * MINUTE);
    assert!(clock_was_set || !too_soon, "two new certificates within a day: {world:#?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn there_is_always_an_identity_and_a_job_has_its_result(moves in prop::collection::vec(a_move(), 1..120)) {
        let mut world = World::new();
        let mut clock_was_set = false;
        for a_move in &moves {
            clock_was_set |= matches!(a_move, Move::SetClock(_));
            make(&mut world, a_move);
            look(&world, clock_was_set);
        }
        world.all_is_well();
        look(&world, clock_was_set);
        let is_right = world.lets_in().contains(&world.current());
        prop_assert!(is_right, "what is in force isn't let in: {:#?}", world);
    }
}
