//! Memory for the unfinished lines of all clients of the ingest sockets together.
//!
//! Each client may hold [`SMALL`] bytes of a line that isn't complete. For more it needs a [`Room`], of which there are a few for
//! all sockets and some for each alone: they are given in the order in which they were asked for. Who has one and doesn't finish
//! its line loses it to those who wait.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The most bytes of an unfinished line without a [`Room`].
pub(crate) const SMALL: usize = 8 * 1024;

/// So many clients may hold longer ones at a time, each of up to [`MAX_LINE`](super::lines::MAX_LINE) and one read.
const ROOMS: usize = 14;

/// And so many of each socket: those of one can't keep all others waiting.
const ROOMS_OF_A_SOCKET: usize = 2;

/// What the clients of one socket have.
#[derive(Debug)]
pub(crate) struct LineMemory {
    shared: Rc<SharedMemory>,
    rooms: Arc<Semaphore>,
}

/// What there is for all sockets.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    rooms: Arc<Semaphore>,
    waiting: Cell<usize>,
    contended: Notify,
}

/// The right to hold a long line, until it is dropped.
#[derive(Debug)]
pub(crate) struct Room(#[expect(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>);

/// Somebody waits, for as long as this lives.
struct Waiting<'a>(&'a SharedMemory);

impl Default for SharedMemory {
    fn default() -> SharedMemory {
        SharedMemory { rooms: Arc::new(Semaphore::new(ROOMS)), waiting: Cell::new(0), contended: Notify::new() }
    }
}

impl LineMemory {
    pub(crate) fn new(shared: Rc<SharedMemory>) -> Rc<LineMemory> {
        Rc::new(LineMemory { shared, rooms: Arc::new(Semaphore::new(ROOMS_OF_A_SOCKET)) })
    }

    /// Waits for its turn.
    pub(crate) async fn room(self: Rc<Self>) -> Room {
        for rooms in [&self.shared.rooms, &self.rooms] {
            if let Ok(permit) = Arc::clone(rooms).try_acquire_owned() {
                return Room(Some(permit));
            }
        }
        let _waiting = Waiting::new(&self.shared);
        tokio::select! {
            biased;
            permit = Arc::clone(&self.shared.rooms).acquire_owned() => Room(permit.ok()),
            permit = Arc::clone(&self.rooms).acquire_owned() => Room(permit.ok()),
        }
    }

    /// Whether somebody waits for a room.
    pub(crate) fn is_contended(&self) -> bool {
        self.shared.waiting.get() > 0
    }

    /// Completes when somebody begins to wait.
    pub(crate) async fn contended(&self) {
        self.shared.contended.notified().await;
    }
}

impl Waiting<'_> {
    fn new(memory: &SharedMemory) -> Waiting<'_> {
        memory.waiting.set(memory.waiting.get() + 1);
        memory.contended.notify_waiters();
        Waiting(memory)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rooms_are_given_in_turn_and_who_waits_is_known() {
        let shared: Rc<SharedMemory> = Rc::default();
        let (memory, other) = (LineMemory::new(Rc::clone(&shared)), LineMemory::new(shared));
        let mut rooms = Vec::new();
        for _ in 0..ROOMS + ROOMS_OF_A_SOCKET {
            rooms.push(Rc::clone(&memory).room().await);
        }
        assert!(!memory.is_contended());
        let mut first = Box::pin(Rc::clone(&memory).room());
        let mut second = Box::pin(Rc::clone(&memory).room());
        let mut contended = Box::pin(memory.contended());
        tokio::select! {
            biased;
            () = &mut contended => panic!("nobody waits yet"),
            _ = &mut first => panic!("there is none left"),
            () = std::future::ready(()) => {}
        }
        contended.await;
        tokio::select! {
            biased;
            _ = &mut second => panic!("there is none left"),
            () = std::future::ready(()) => {}
        }
        assert!(other.is_contended());
        drop(Rc::clone(&other).room().await);
        drop(rooms.pop());
        tokio::select! {
            biased;
            _ = &mut second => panic!("it isn't its turn"),
            _ = &mut first => {}
        }
        assert!(memory.is_contended());
        drop((rooms, second));
        assert!(!memory.is_contended());
    }
}
