//! What waits to be written where nobody may be reading: a journal that hangs with its disk, a terminal that was stopped, a pipe
//! whose reader sleeps.
//!
//! A write there can block for ever, and the daemon goes on meanwhile: a thread writes, for as long as there is something. The
//! queue is bounded; what doesn't fit is counted, and told of once something is taken again.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// So many bytes may wait.
const MAX_BYTES: usize = 256 * 1024;

/// A thread that has nothing to do ends after so long, so that a burst of lines needs only one.
const LINGER: Duration = Duration::from_secs(1);

/// What is written, and how.
pub(super) trait Sink: Send + Sync + 'static {
    type Line: Send;

    /// May block.
    fn write(&self, line: &Self::Line);

    /// Says that so many lines are lost. May block.
    fn write_lost(&self, count: u64);
}

/// The lines that wait for a sink.
pub(super) struct Outlet<S: Sink>(Arc<Shared<S>>);

struct Shared<S: Sink> {
    sink: S,
    queue: Mutex<Queue<S::Line>>,
    changed: Condvar,
}

struct Queue<L> {
    /// With their sizes in bytes.
    lines: VecDeque<(L, usize)>,
    bytes: usize,
    lost: u64,
    has_thread: bool,
    is_writing: bool,
}

impl<L> Queue<L> {
    fn is_idle(&self) -> bool {
        self.lines.is_empty() && self.lost == 0 && !self.is_writing
    }
}

impl<S: Sink> Outlet<S> {
    pub(super) fn new(sink: S) -> Outlet<S> {
        let queue = Queue { lines: VecDeque::new(), bytes: 0, lost: 0, has_thread: false, is_writing: false };
        Outlet(Arc::new(Shared { sink, queue: Mutex::new(queue), changed: Condvar::new() }))
    }

    /// Nothing waits: what the caller writes itself is in its order.
    pub(super) fn is_idle(&self) -> bool {
        self.0.lock().is_idle()
    }

    /// Has `line` of `size` bytes written, after those that wait. It never blocks.
    pub(super) fn push(&self, line: S::Line, size: usize) {
        let mut queue = self.0.lock();
        if queue.bytes + size > MAX_BYTES && !queue.lines.is_empty() {
            queue.lost += 1;
            return;
        }
        queue.lines.push_back((line, size));
        queue.bytes += size;
        if !queue.has_thread {
            let shared = Arc::clone(&self.0);
            // Without one more thread it waits for the next line.
            queue.has_thread = thread::Builder::new().name("log".to_owned()).spawn(move || shared.run()).is_ok();
        }
        self.0.changed.notify_all();
    }

    /// Waits until everything is written, but no longer than `patience`.
    pub(super) fn wait(&self, patience: Duration) {
        let queue = self.0.lock();
        let is_left = |queue: &mut Queue<S::Line>| !queue.is_idle() && queue.has_thread;
        drop(self.0.changed.wait_timeout_while(queue, patience, is_left));
    }
}

impl<S: Sink> Shared<S> {
    /// A panic elsewhere leaves nothing half done in a queue.
    fn lock(&self) -> MutexGuard<'_, Queue<S::Line>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, queue: MutexGuard<'a, Queue<S::Line>>, time: Duration) -> MutexGuard<'a, Queue<S::Line>> {
        self.changed.wait_timeout(queue, time).unwrap_or_else(PoisonError::into_inner).0
    }

    /// The thread.
    fn run(&self) {
        let mut queue = self.lock();
        loop {
            if queue.is_idle() {
                queue = self.wait(queue, LINGER);
                if queue.is_idle() {
                    queue.has_thread = false;
                    return;
                }
            }
            let next = queue.lines.pop_front();
            let lost = if next.is_none() { std::mem::take(&mut queue.lost) } else { 0 };
            queue.is_writing = true;
            drop(queue);
            match &next {
                Some((line, _)) => self.sink.write(line),
                None if lost > 0 => self.sink.write_lost(lost),
                None => {}
            }
            queue = self.lock();
            queue.is_writing = false;
            // Until it is written, it is held.
            queue.bytes -= next.map_or(0, |(_, size)| size);
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Takes a line for each permit that it is given.
    struct Stalling {
        permits: Mutex<Receiver<()>>,
        written: Sender<String>,
    }

    impl Sink for Stalling {
        type Line = String;

        fn write(&self, line: &String) {
            self.permits.lock().unwrap().recv().unwrap();
            self.written.send(line.clone()).unwrap();
        }

        fn write_lost(&self, count: u64) {
            self.written.send(format!("{count} lost")).unwrap();
        }
    }

    fn outlet() -> (Outlet<Stalling>, Sender<()>, Receiver<String>) {
        let ((permit, permits), (written, lines)) = (channel(), channel());
        (Outlet::new(Stalling { permits: Mutex::new(permits), written }), permit, lines)
    }

    #[test]
    fn a_sink_that_takes_nothing_holds_up_nobody_and_gets_everything_in_order_later() {
        let (outlet, permit, lines) = outlet();
        assert!(outlet.is_idle());
        (0..100).for_each(|n| outlet.push(n.to_string(), 1));
        assert!(!outlet.is_idle());
        outlet.wait(Duration::from_millis(1));
        assert!(lines.try_recv().is_err());
        (0..100).for_each(|_| permit.send(()).unwrap());
        (0..100).for_each(|n| assert_eq!(lines.recv().unwrap(), n.to_string()));
        outlet.wait(Duration::from_secs(60));
        assert!(outlet.is_idle());
    }

    #[test]
    fn what_does_not_fit_is_counted_and_told_of_after_the_rest() {
        let (outlet, permit, lines) = outlet();
        (0..7).for_each(|_| outlet.push("x".to_owned(), MAX_BYTES / 4));
        (0..4).for_each(|_| permit.send(()).unwrap());
        let mut got: Vec<String> = lines.iter().take(5).collect();
        assert_eq!(got.pop().unwrap(), "3 lost");
        assert_eq!(got, ["x"; 4]);
        // A line that is longer than all that may wait is written if it is alone.
        permit.send(()).unwrap();
        outlet.wait(Duration::from_secs(60));
        outlet.push("long".to_owned(), 2 * MAX_BYTES);
        assert_eq!(lines.recv().unwrap(), "long");
    }
}
