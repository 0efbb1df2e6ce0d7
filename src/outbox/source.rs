//! Local clients as the outbox knows them: each hands its messages over when it is its turn, and nobody else's lines are in front
//! of its own for longer than its share.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Instant;

use super::Outbox;
use super::admission::Admission;
use super::ledger::LinkState;
use super::shares::{Need, Path, Shares};
use crate::config;
use crate::message::Qos;
use crate::socket::Peer;

/// Bytes of a message by which the links of two moments are compared.
const TYPICAL: usize = 512;

/// Who waits to hand a message over, and how much may.
#[derive(Debug)]
pub(super) struct Gate {
    /// Of what isn't urgent, and of what is: neither has to wait for the other here.
    admissions: [Admission; 2],
    shares: Shares,
    /// Of those who wait, by their connection.
    wakers: BTreeMap<u64, Waker>,
    next_id: u64,
}

/// For which needs there is room, by their number.
#[derive(Debug, Clone, Copy)]
struct Open([bool; Need::ALL.len()]);

impl Open {
    fn is_for(self, need: Need) -> bool {
        self.0[need as usize]
    }
}

/// Whether the link has room for what isn't urgent, and for what is.
type LinkRoom = [bool; 2];

impl Gate {
    pub(super) fn new(limit: &config::RateLimit) -> Gate {
        let admissions = [(); 2].map(|()| Admission::new(limit, now()));
        Gate { admissions, shares: Shares::default(), wakers: BTreeMap::new(), next_id: 0 }
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// How much of what is `urgent`, or of what isn't, may wait for the link.
    pub(super) fn admission(&mut self, urgent: bool) -> &mut Admission {
        &mut self.admissions[usize::from(urgent)]
    }

    /// What a message of so many bytes takes of the link's time, in ns.
    fn cost(&self, bytes: usize) -> u64 {
        self.admissions[0].cost(bytes)
    }

    /// Something about the link has changed, and with it what a message takes of it.
    pub(super) fn change_link(&mut self, change: impl Fn(&mut Admission)) {
        let before = self.cost(TYPICAL);
        self.admissions.iter_mut().for_each(change);
        self.shares.rescale(before, self.cost(TYPICAL));
    }

    fn link_room(&self, now: Instant) -> LinkRoom {
        [0, 1].map(|lane: usize| self.admissions[lane].has_room(now))
    }

    /// Whose turn it is of those who wait with something urgent, or with something that isn't.
    fn first(&self, urgent: bool, open: Open) -> Option<u64> {
        self.shares.first(|need| need.is_urgent() == urgent && open.is_for(need))
    }

    /// Of what is urgent, or of what isn't.
    fn wake_first(&mut self, urgent: bool, open: Open) {
        if let Some(id) = self.first(urgent, open)
            && let Some(waker) = self.wakers.remove(&id)
        {
            waker.wake();
        }
    }
}

/// A client of an ingest socket. It has gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Source {
    outbox: Rc<Outbox>,
    path: Path,
    waits: Cell<Option<Need>>,
    /// Since it rested it has asked to hand over what isn't urgent, and what is, or has left the line of those who do.
    asked: Cell<[bool; 2]>,
}

impl Outbox {
    /// A number for a socket, to be told apart by.
    pub(crate) fn socket_id(&self) -> u64 {
        self.gate.borrow_mut().id()
    }

    /// So many messages a second, for a test.
    #[cfg(test)]
    pub(crate) fn set_rate(&self, messages_per_second: u32) {
        let limit =
            config::RateLimit { messages_per_second, bytes_per_second: 1 << 30, burst: 10, connects_per_second: 1 };
        self.gate.borrow_mut().change_link(|link| link.set_limit(&limit));
    }

    #[cfg(test)]
    pub(crate) fn is_anybody_waiting(&self) -> bool {
        self.gate.borrow().shares.is_anybody_waiting()
    }

    /// A client of a socket.
    pub(crate) fn source(self: &Rc<Self>, socket: u64, peer: Peer) -> Source {
        let id = self.gate.borrow_mut().id();
        let path = [socket, peer.uid.into(), peer.pid.unsigned_abs().into(), id];
        Source { outbox: Rc::clone(self), path, waits: Cell::new(None), asked: Cell::default() }
    }

    fn open(&self, link_room: LinkRoom) -> Open {
        let ledger = self.ledger.borrow();
        Open(Need::ALL.map(|need| {
            let has_room = link_room[usize::from(need.is_urgent())]
                && ledger.has_room(need.is_urgent())
                && (!need.is_memory() || ledger.has_room_for_qos_0());
            self.closed.get() || has_room
        }))
    }

    fn link_room(&self, now: Instant) -> LinkRoom {
        let (room, ledger) = (self.gate.borrow().link_room(now), self.ledger.borrow());
        // What doesn't go to the link needs no room there.
        [false, true].map(|urgent| ledger.link_for(urgent) != LinkState::Up || room[usize::from(urgent)])
    }

    /// There may be room: whose turn it is is told.
    pub(super) fn let_in(&self) {
        if !self.gate.borrow().shares.is_anybody_waiting() {
            return;
        }
        let now = now();
        let open = self.open(self.link_room(now));
        let mut gate = self.gate.borrow_mut();
        [true, false].into_iter().for_each(|urgent| gate.wake_first(urgent, open));
    }

    /// Everybody is told: nothing is waited for any more.
    pub(super) fn let_all_in(&self) {
        std::mem::take(&mut self.gate.borrow_mut().wakers).into_values().for_each(Waker::wake);
    }

    /// Whoever is first in one of the `lines` now may have to wait for something else than the one before. Not in the other: the first of
    /// both would wake each other for ever where neither has room.
    fn pass_on(&self, lines: [bool; 2]) {
        if self.gate.borrow().shares.is_anybody_waiting() {
            let open = self.open([true; 2]);
            let mut gate = self.gate.borrow_mut();
            let lines = [true, false].into_iter().filter(|urgent| lines[usize::from(*urgent)]);
            lines.for_each(|urgent| gate.wake_first(urgent, open));
        }
    }
}

impl Source {
    /// Whether it is its turn to hand a message over. If not, [`Source::turn`] tells when to ask again.
    pub(crate) fn may_hand_over(&self, qos: Qos, urgent: bool) -> bool {
        if self.outbox.closed.get() {
            self.leave();
            return true;
        }
        let need = Need::of(qos, urgent);
        self.has_asked(need);
        if self.waits.get().is_some_and(|waits| waits != need) {
            self.leave();
        }
        let now = now();
        let open = self.outbox.open(self.outbox.link_room(now));
        let mut gate = self.outbox.gate.borrow_mut();
        if open.is_for(need) && !gate.shares.is_line(urgent) {
            return true;
        }
        if self.waits.get().is_none() {
            gate.shares.wait(&self.path, need);
            self.waits.set(Some(need));
        }
        let is_first = gate.first(urgent, open) == Some(self.id());
        drop(gate);
        if is_first {
            self.leave();
        }
        is_first
    }

    /// It has handed over a message of so many bytes.
    pub(crate) fn handed_over(&self, bytes: usize) {
        let mut gate = self.outbox.gate.borrow_mut();
        let cost = gate.cost(bytes);
        gate.shares.charge(&self.path, cost);
    }

    /// It hands nothing over for now, so that the next may; unless it `waits` for its turn it doesn't want any.
    pub(crate) fn rest(&self, waits: bool) {
        if !waits {
            self.leave();
        }
        self.outbox.pass_on(self.asked.take());
    }

    fn has_asked(&self, need: Need) {
        let mut asked = self.asked.get();
        asked[usize::from(need.is_urgent())] = true;
        self.asked.set(asked);
    }

    /// Completes when it may be its turn.
    pub(crate) async fn turn(&self) {
        let until = self.opens_at().map(Into::into);
        let mut is_waiting = false;
        let woken = poll_fn(|cx| {
            let mut gate = self.outbox.gate.borrow_mut();
            if std::mem::replace(&mut is_waiting, true) && !gate.wakers.contains_key(&self.id()) {
                return Poll::Ready(());
            }
            gate.wakers.insert(self.id(), cx.waker().clone());
            Poll::Pending
        });
        tokio::select! {
            biased;
            () = woken => {}
            () = sleep_until(until), if until.is_some() => {}
        }
    }

    /// When a stalled link lets it in, if it is first.
    fn opens_at(&self) -> Option<Instant> {
        let lane = usize::from(self.waits.get()?.is_urgent());
        if self.outbox.link_room(now())[lane] {
            return None;
        }
        let open = self.outbox.open([true; 2]);
        let gate = self.outbox.gate.borrow();
        (gate.first(lane == 1, open) == Some(self.id())).then(|| gate.admissions[lane].opens_at())
    }

    fn id(&self) -> u64 {
        self.path[3]
    }

    fn leave(&self) {
        if let Some(need) = self.waits.take() {
            self.has_asked(need);
            let mut gate = self.outbox.gate.borrow_mut();
            gate.shares.leave(&self.path, need);
            gate.wakers.remove(&self.id());
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.leave();
        self.outbox.gate.borrow_mut().shares.remove(&self.path);
        self.outbox.pass_on([true; 2]);
    }
}

/// By the clock that timers go by, which tests may turn.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn sleep_until(until: Option<tokio::time::Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
