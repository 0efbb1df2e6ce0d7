//! The task of one queue: gives the store what has to be written or read, one of each at a time, and tries again when that
//! fails.

use std::cell::RefMut;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::durable::DiskQueue;
use super::reminder::Reminder;
use super::{Contents, Failure, Load, Moment, Page, QueueId, Store, Write};
use crate::time;
use crate::time::Timer;

/// Waits after a failure.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// The longest wait while the daemon stops: there are only seconds left.
const RETRY_STOPPING: Duration = Duration::from_millis(100);

/// One queue or several that decide what of them is on the disk, and take turns.
pub(crate) trait Kept {
    /// The disk is another than before.
    fn attach(&self, contents: &Contents);
    fn queue(&self, queue: QueueId) -> RefMut<'_, dyn DiskQueue>;
    /// Something can be written: the queues, in the order in which they are asked what.
    fn writers(&self) -> impl IntoIterator<Item = QueueId>;
    /// The queues, in the order in which they are asked what to read.
    fn readers(&self) -> impl IntoIterator<Item = QueueId>;
    /// A write has ended, which the queue knows.
    fn written(&self, queue: QueueId, outcome: &Result<(), Failure>);
    /// A read has ended, which the queue knows.
    fn loaded(&self);
    /// When to ask again, should nothing happen before.
    fn timeout(&self) -> Option<Instant>;
    /// Told when there may be something new to write or read, or another [`Kept::timeout`].
    fn reminder(&self) -> &Reminder;
    /// The daemon stops: it isn't the time to wait for long before trying again.
    fn is_stopping(&self) -> bool;
}

/// What to write now, and to be called again only after [`end_write`].
pub(crate) fn begin_write(kept: &impl Kept) -> Option<Write> {
    let writers = kept.writers();
    // What has just moved is due, too, and leaves its old place only with that.
    let now = time::now();
    let mut write = writers.into_iter().find_map(|queue| kept.queue(queue).next_write(now))?;
    // It tells the age of messages at the next start.
    if !write.insert.is_empty() || !write.delete.is_empty() {
        write.clock_offset = Moment::now().offset();
    }
    Some(write)
}

pub(crate) fn end_write(kept: &impl Kept, queue: QueueId, outcome: &Result<(), Failure>) {
    kept.queue(queue).write_ended(outcome.is_ok(), time::now());
    kept.written(queue, outcome);
}

/// What to read now, and to be called again only after [`end_load`].
pub(crate) fn begin_load(kept: &impl Kept) -> Option<Load> {
    kept.readers().into_iter().find_map(|queue| kept.queue(queue).next_load())
}

pub(crate) fn end_load(kept: &impl Kept, queue: QueueId, outcome: Result<Page, Failure>) {
    kept.queue(queue).load_ended(outcome.ok(), time::now(), &Moment::now());
    kept.loaded();
}

/// What the store does for a queue.
type Pending<T> = Option<Pin<Box<dyn Future<Output = (QueueId, Result<T, Failure>)>>>>;

/// Serves a queue, for ever.
pub(crate) async fn keep(kept: Rc<impl Kept>, store: Rc<Store>) {
    let mut contents = Some(store.contents());
    let mut write: Pending<()> = None;
    let mut load: Pending<Page> = None;
    let (mut write_retry, mut load_retry) = (Retry::default(), Retry::default());
    // Queues that couldn't be read the last time.
    let mut unread = Vec::new();
    let mut timer = Timer::default();
    loop {
        let now = time::now();
        if kept.is_stopping() {
            write_retry.hurry();
        }
        if write.is_none() && write_retry.is_over(now) {
            write = begin_write(&*kept).map(|write| {
                let store = Rc::clone(&store);
                Box::pin(async move { (write.queue, store.write(write).await) }) as _
            });
        }
        if load.is_none() && load_retry.is_over(now) {
            let next = begin_load(&*kept);
            // What couldn't be read may have been removed meanwhile.
            if next.is_none() {
                unread.drain(..).for_each(|queue| store.needs_no_load(queue));
            }
            load = next.map(|load| {
                let store = Rc::clone(&store);
                Box::pin(async move { (load.queue, store.load(load).await) }) as _
            });
        }
        let retries = [write_retry.at(), load_retry.at()].map(|at| at.filter(|at| *at > now));
        let timeout = kept.timeout();
        kept.reminder().know(timeout);
        let timeout = timeout.filter(|_| write.is_none()).map(|at| write_retry.not_before(at));
        timer.set(retries.into_iter().chain([timeout]).flatten().min(), now);
        tokio::select! {
            biased;
            is_open = changed(&mut contents) => match &mut contents {
                Some(contents) if is_open => kept.attach(&contents.borrow_and_update()),
                // The store's thread has ended: every answer will say so.
                _ => contents = None,
            },
            // Before that to a write: what it removes may have been read.
            (queue, outcome) = done(&mut load) => {
                load = None;
                load_retry.note(outcome.is_err());
                unread.retain(|other| *other != queue);
                unread.extend(outcome.is_err().then_some(queue));
                end_load(&*kept, queue, outcome);
            }
            (queue, outcome) = done(&mut write) => {
                write = None;
                write_retry.note(outcome.is_err());
                end_write(&*kept, queue, &outcome);
            }
            () = kept.reminder().told() => {}
            () = timer.fired() => {}
        }
    }
}

/// Completes when there is something new. Returns whether there may be more.
async fn changed(contents: &mut Option<watch::Receiver<Contents>>) -> bool {
    match contents {
        Some(contents) => contents.changed().await.is_ok(),
        None => std::future::pending().await,
    }
}

async fn done<T>(pending: &mut Pending<T>) -> (QueueId, Result<T, Failure>) {
    match pending {
        Some(pending) => pending.await,
        None => std::future::pending().await,
    }
}

/// When to try again.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    failed_at: Option<Instant>,
    wait: Duration,
}

impl Retry {
    pub(crate) fn note(&mut self, failed: bool) {
        self.wait = if failed { (self.wait * 2).clamp(RETRY_MIN, RETRY_MAX) } else { Duration::ZERO };
        self.failed_at = failed.then(time::now);
    }

    fn hurry(&mut self) {
        self.wait = self.wait.min(RETRY_STOPPING);
    }

    /// `None`: nothing has failed.
    fn at(&self) -> Option<Instant> {
        self.failed_at.map(|failed_at| failed_at + self.wait)
    }

    fn is_over(&self, now: Instant) -> bool {
        self.at().is_none_or(|at| now >= at)
    }

    /// Completes when it is.
    pub(crate) async fn over(&self) {
        if let Some(at) = self.at() {
            tokio::time::sleep_until(at.into()).await;
        }
    }

    fn not_before(&self, at: Instant) -> Instant {
        self.at().map_or(at, |retry| at.max(retry))
    }
}
