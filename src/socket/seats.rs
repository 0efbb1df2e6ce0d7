//! Who has the places of a socket. Pure: it is told who comes and goes, and when each was active.
//!
//! There are [`MAX_CLIENTS`]. As long as there are some left, whoever comes has one, however many the same program holds. Then
//! nobody keeps others out by holding many: who comes from a user with at least two fewer than the user with the most gets a
//! place of that user; else, who comes from a program with at least two fewer than the one of the same user with the most, a
//! place of that program. Two, so that those who hold as many don't take each other's places in turn. The connection that ends for it is the one that
//! has been idle longest, one that is owed nothing first: nothing that was accepted is lost with it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use super::MAX_CLIENTS;
use super::peer::Peer;
use crate::notify::LocalNotify;

/// The place of one client.
#[derive(Debug)]
pub(crate) struct Seat {
    active: Cell<Instant>,
    is_busy: Cell<bool>,
    is_lost: Cell<bool>,
    lost: LocalNotify,
}

impl Seat {
    pub(super) fn new(now: Instant) -> Rc<Seat> {
        let (is_busy, is_lost) = (Cell::new(false), Cell::new(false));
        Rc::new(Seat { active: Cell::new(now), is_busy, is_lost, lost: LocalNotify::default() })
    }

    /// Something came from the client, or was written to it.
    pub(super) fn is_active(&self, now: Instant) {
        self.active.set(now);
    }

    /// Whether the client is owed something, so that it doesn't count as idle.
    pub(super) fn set_busy(&self, is_busy: bool) {
        self.is_busy.set(is_busy);
    }

    /// Whether another client has it.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.get()
    }

    /// Completes when another client has it.
    pub(super) async fn lost(&self) {
        if !self.is_lost() {
            self.lost.notified().await;
        }
    }

    fn lose(&self) {
        self.is_lost.set(true);
        self.lost.notify();
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Seats {
    taken: RefCell<BTreeMap<u64, (Peer, Rc<Seat>)>>,
    next_id: Cell<u64>,
}

/// What becomes of a client that comes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seating {
    /// It has a place, of this number.
    Seated(u64),
    /// Likewise, that of a client which has to go: one of so many that its user and its program held.
    Instead(u64, Holder),
    /// There is none for it.
    Refused(Holder),
}

/// Who has most of the places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) peer: Peer,
    pub(super) of_user: usize,
    pub(super) of_program: usize,
}

impl Seats {
    /// How many are taken.
    pub(super) fn len(&self) -> usize {
        self.taken.borrow().len()
    }

    /// A client comes. One that loses its place to it learns of that by its [`Seat::lost`].
    pub(super) fn admit(&self, peer: Peer, seat: &Rc<Seat>) -> Seating {
        if self.len() < MAX_CLIENTS {
            return Seating::Seated(self.take(peer, seat));
        }
        let Some((who_goes, holder)) = self.who_goes(peer) else { return Seating::Refused(self.largest(|_| true)) };
        if let Some((_, loser)) = self.taken.borrow_mut().remove(&who_goes) {
            loser.lose();
        }
        Seating::Instead(self.take(peer, seat), holder)
    }

    fn take(&self, peer: Peer, seat: &Rc<Seat>) -> u64 {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        self.taken.borrow_mut().insert(id, (peer, Rc::clone(seat)));
        id
    }

    /// A client has gone, or is gone for another already.
    pub(super) fn leave(&self, id: u64) {
        self.taken.borrow_mut().remove(&id);
    }

    fn count(&self, is_meant: impl Fn(Peer) -> bool) -> usize {
        self.taken.borrow().values().filter(|(peer, _)| is_meant(*peer)).count()
    }

    /// The program with the most places, of the user with the most among those that are meant.
    fn largest(&self, is_meant: impl Fn(Peer) -> bool) -> Holder {
        let mut users: BTreeMap<u32, usize> = BTreeMap::new();
        let taken = self.taken.borrow();
        let all = || taken.values().map(|(peer, _)| *peer).filter(|peer| is_meant(*peer));
        all().for_each(|peer| *users.entry(peer.uid).or_default() += 1);
        let (uid, of_user) = users.into_iter().max_by_key(|(_, count)| *count).unwrap_or_default();
        let mut programs: BTreeMap<i32, usize> = BTreeMap::new();
        all().filter(|peer| peer.uid == uid).for_each(|peer| *programs.entry(peer.pid).or_default() += 1);
        let (pid, of_program) = programs.into_iter().max_by_key(|(_, count)| *count).unwrap_or_default();
        Holder { peer: Peer { uid, pid }, of_user, of_program }
    }

    /// Whose place a client of `peer` gets, and who had too many.
    fn who_goes(&self, peer: Peer) -> Option<(u64, Holder)> {
        let has_fewer = |of_newcomer: usize, most: usize| of_newcomer + 2 <= most;
        let first = self.largest(|_| true);
        let own = self.largest(|other| other.uid == peer.uid);
        let holder = match () {
            () if has_fewer(self.count(|other| other.uid == peer.uid), first.of_user) => first,
            () if has_fewer(self.count(|other| other == peer), own.of_program) => own,
            () => return None,
        };
        let taken = self.taken.borrow();
        let of_holder = taken.iter().filter(|(_, (other, _))| *other == holder.peer);
        let idlest = of_holder.min_by_key(|(_, (_, seat))| (seat.is_busy.get(), seat.active.get()));
        idlest.map(|(id, _)| (*id, holder))
    }
}

#[cfg(test)]
mod tests;
