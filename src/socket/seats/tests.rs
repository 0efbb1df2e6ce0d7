use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn peer(uid: u32, pid: i32) -> Peer {
    Peer { uid, pid }
}

/// So many clients of a program come, each a millisecond after the one before.
fn fill(seats: &Seats, peer: Peer, count: usize, start: Instant) -> Vec<Rc<Seat>> {
    let come = |n: u64| {
        let seat = Seat::new(start + Duration::from_millis(n));
        let _ = seats.admit(peer, &seat);
        seat
    };
    (0..count as u64).map(come).collect()
}

#[test]
fn a_program_may_hold_all_places_until_another_comes() {
    let (seats, now) = (Seats::default(), Instant::now());
    let held = fill(&seats, peer(1, 10), MAX_CLIENTS, now);
    assert_eq!(seats.len(), MAX_CLIENTS);
    let holder = Holder { peer: peer(1, 10), of_user: MAX_CLIENTS, of_program: MAX_CLIENTS };
    assert_eq!(seats.admit(peer(1, 10), &Seat::new(now)), Seating::Refused(holder));
    assert!(!held.iter().any(|seat| seat.is_lost()));
    // The first has the longest silence, but is owed an answer; the second has just said something.
    held[0].set_busy(true);
    held[1].is_active(now + Duration::from_secs(1));
    for (n, newcomer) in [(2, peer(1, 11)), (3, peer(2, 12))] {
        assert!(
            matches!(seats.admit(newcomer, &Seat::new(now)), Seating::Instead(_, found) if found.peer == peer(1, 10))
        );
        let lost: Vec<usize> = (0..held.len()).filter(|place| held[*place].is_lost()).collect();
        assert_eq!(lost, (2..=n).collect::<Vec<_>>());
    }
    assert_eq!(seats.len(), MAX_CLIENTS);
}

#[test]
fn a_user_with_many_programs_keeps_no_other_user_out() {
    let (seats, now) = (Seats::default(), Instant::now());
    for pid in 0..MAX_CLIENTS as i32 {
        fill(&seats, peer(1, pid), 1, now);
    }
    assert!(
        matches!(seats.admit(peer(1, 9999), &Seat::new(now)), Seating::Refused(_)),
        "all programs of the user have one"
    );
    // Half of them, and no more.
    let got =
        (0..MAX_CLIENTS).filter(|_| matches!(seats.admit(peer(2, 7), &Seat::new(now)), Seating::Instead(..))).count();
    assert_eq!(got, MAX_CLIENTS / 2);
}

#[test]
fn a_place_that_was_given_back_is_free() {
    let (seats, now) = (Seats::default(), Instant::now());
    fill(&seats, peer(1, 10), MAX_CLIENTS - 1, now);
    let Seating::Seated(id) = seats.admit(peer(1, 10), &Seat::new(now)) else { panic!("there is one left") };
    seats.leave(id);
    assert!(matches!(seats.admit(peer(1, 10), &Seat::new(now)), Seating::Seated(_)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whoever comes and goes: never more places than there are; nobody loses one to a program of its own user that holds as many
    /// as it does, nor to a user that does; and once all came again and again, nobody who wants places has two fewer than another.
    #[test]
    fn places_are_shared_evenly_among_those_who_want_them(
        steps in prop::collection::vec((0..4u32, 0..4i32, any::<bool>()), 1..900),
    ) {
        let (seats, now) = (Seats::default(), Instant::now());
        let mut ids: Vec<(Peer, u64, Rc<Seat>)> = Vec::new();
        for (n, (uid, pid, goes)) in steps.into_iter().enumerate() {
            let peer = peer(uid, uid as i32 * 10 + pid);
            if goes && n % 4 == 0 {
                if let Some(at) = ids.iter().position(|(other, ..)| *other == peer) {
                    seats.leave(ids.remove(at).1);
                }
                continue;
            }
            let count = |of: &dyn Fn(Peer) -> bool| ids.iter().filter(|(other, ..)| of(*other)).count();
            let (of_user, of_program) = (count(&|other| other.uid == peer.uid), count(&|other| other == peer));
            let seat = Seat::new(now);
            match seats.admit(peer, &seat) {
                Seating::Seated(id) => ids.push((peer, id, seat)),
                Seating::Instead(id, holder) => {
                    let gone = ids.iter().position(|(_, _, seat)| seat.is_lost()).expect("one has lost its place");
                    let (loser, ..) = ids.remove(gone);
                    prop_assert_eq!(loser, holder.peer);
                    let is_fair = match loser.uid == peer.uid {
                        true => of_program + 2 <= holder.of_program,
                        false => of_user + 2 <= holder.of_user,
                    };
                    prop_assert!(is_fair, "{of_user} {of_program} {holder:?}");
                    ids.push((peer, id, seat));
                }
                Seating::Refused(_) => prop_assert_eq!(seats.len(), MAX_CLIENTS),
            }
            prop_assert!(seats.len() <= MAX_CLIENTS && seats.len() == ids.len());
        }
        let peers: Vec<Peer> = (0..4).flat_map(|uid| (0..4).map(move |pid| peer(uid, uid as i32 * 10 + pid))).collect();
        for _ in 0..MAX_CLIENTS / 3 {
            for peer in &peers {
                let _ = seats.admit(*peer, &Seat::new(now));
            }
        }
        let spread = |counts: Vec<usize>| counts.iter().max().unwrap() - counts.iter().min().unwrap();
        prop_assert!(spread((0..4).map(|uid| seats.count(|peer| peer.uid == uid)).collect()) <= 1);
        for uid in 0..4 {
            let own = peers.iter().filter(|peer| peer.uid == uid);
            prop_assert!(spread(own.map(|peer| seats.count(|other| other == *peer)).collect()) <= 1);
        }
    }
}
