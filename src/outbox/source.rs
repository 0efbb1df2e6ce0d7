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
    pub(super) admission: Admission,
    shares: Shares,
    /// Of those who wait, by their connection.
    wakers: BTreeMap<u64, Waker>,
    next_id: u64,
}

/// For which needs there is room, by their number.
#[derive(Debug, Clone, Copy)]
struct Open([bool; 2]);

impl Open {
    fn is_for(self, need: Need) -> bool {
        self.0[need as usize]
    }
}

impl Gate {
    pub(super) fn new(limit: &config::RateLimit) -> Gate {
        Gate { admission: Admission::new(limit, now()), shares: Shares::default(), wakers: BTreeMap::new(), next_id: 0 }
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Something about the link has changed, and with it what a message takes of it.
    pub(super) fn change_link(&mut self, change: impl FnOnce(&mut Admission)) {
        let before = self.admission.cost(TYPICAL);
        change(&mut self.admission);
        self.shares.rescale(before, self.admission.cost(TYPICAL));
    }

    fn wake_first(&mut self, open: Open) {
        if let Some(id) = self.shares.first(|need| open.is_for(need))
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
        Source { outbox: Rc::clone(self), path, waits: Cell::new(None) }
    }

    fn open(&self, has_link_room: bool) -> Open {
        let ledger = self.ledger.borrow();
        let is_open = self.closed.get() || (ledger.has_room() && has_link_room);
        Open([is_open, is_open && (self.closed.get() || ledger.has_room_for_qos_0())])
    }

    fn is_link_open(&self, now: Instant) -> bool {
        self.ledger.borrow().link() != LinkState::Up || self.gate.borrow().admission.has_room(now)
    }

    /// There may be room: whose turn it is is told.
    pub(super) fn let_in(&self) {
        if !self.gate.borrow().shares.is_anybody_waiting() {
            return;
        }
        let now = now();
        let open = self.open(self.is_link_open(now));
        self.gate.borrow_mut().wake_first(open);
    }

    /// Everybody is told: nothing is waited for any more.
    pub(super) fn let_all_in(&self) {
        std::mem::take(&mut self.gate.borrow_mut().wakers).into_values().for_each(Waker::wake);
    }

    /// Whoever is first now may have to wait for something else than the one before.
    fn pass_on(&self) {
        if self.gate.borrow().shares.is_anybody_waiting() {
            let open = self.open(true);
            self.gate.borrow_mut().wake_first(open);
        }
    }
}

impl Source {
    /// Whether it is its turn to hand a message over. If not, [`Source::turn`] tells when to ask again.
    pub(crate) fn may_hand_over(&self, qos: Qos) -> bool {
        if self.outbox.closed.get() {
            self.leave();
            return true;
        }
        let need = if qos == Qos::AtMostOnce { Need::Memory } else { Need::Any };
        if self.waits.get().is_some_and(|waits| waits != need) {
            self.leave();
        }
        let now = now();
        let open = self.outbox.open(self.outbox.is_link_open(now));
        let mut gate = self.outbox.gate.borrow_mut();
        if open.is_for(need) && !gate.shares.is_anybody_waiting() {
            return true;
        }
        if self.waits.get().is_none() {
            gate.shares.wait(&self.path, need);
            self.waits.set(Some(need));
        }
        let is_first = gate.shares.first(|need| open.is_for(need)) == Some(self.id());
        drop(gate);
        if is_first {
            self.leave();
        }
        is_first
    }

    /// It has handed over a message of so many bytes.
    pub(crate) fn handed_over(&self, bytes: usize) {
        let mut gate = self.outbox.gate.borrow_mut();
        let cost = gate.admission.cost(bytes);
        gate.shares.charge(&self.path, cost);
    }

    /// It hands nothing over for now, so that the next may; unless it `waits` for its turn it doesn't want any.
    pub(crate) fn rest(&self, waits: bool) {
        if !waits {
            self.leave();
        }
        self.outbox.pass_on();
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
        let now = now();
        if self.outbox.is_link_open(now) {
            return None;
        }
        let open = self.outbox.open(true);
        let gate = self.outbox.gate.borrow();
        (gate.shares.first(|need| open.is_for(need)) == Some(self.id())).then(|| gate.admission.opens_at())
    }

    fn id(&self) -> u64 {
        self.path[3]
    }

    fn leave(&self) {
        if let Some(need) = self.waits.take() {
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
        self.outbox.pass_on();
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
