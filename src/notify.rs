//! tokio's `Notify`, for one task on the thread of who tells it: without a lock, and without a list of who waits, in which each
//! wait would be entered anew and which it would leave again.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Wakes the one task that waits for it. What is told while nobody waits isn't lost; what is told several times until it is heard
/// is heard once.
#[derive(Default)]
pub(crate) struct LocalNotify {
    is_told: Cell<bool>,
    /// Who waited last. It may wait for something else by now: then it is woken for nothing.
    waiter: Cell<Option<Waker>>,
}

impl LocalNotify {
    pub(crate) fn notify(&self) {
        self.is_told.set(true);
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }

    /// Completes when it has been told since the last time that this completed. May be dropped at any point.
    pub(crate) async fn notified(&self) {
        poll_fn(|cx| {
            if self.is_told.take() {
                return Poll::Ready(());
            }
            let waiter = self.waiter.take().filter(|waiter| waiter.will_wake(cx.waker()));
            self.waiter.set(Some(waiter.unwrap_or_else(|| cx.waker().clone())));
            Poll::Pending
        })
        .await;
    }
}

impl std::fmt::Debug for LocalNotify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalNotify").field("is_told", &self.is_told).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Count>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_is_told_is_heard_once_whoever_waits_and_whenever() {
        let (notify, count) = (LocalNotify::default(), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&count));
        let poll = || pin!(notify.notified()).poll(&mut Context::from_waker(&waker));
        let woken = || count.0.load(Ordering::Relaxed);
        assert_eq!(poll(), Poll::Pending);
        notify.notify();
        notify.notify();
        assert_eq!((woken(), poll(), poll()), (1, Poll::Ready(()), Poll::Pending));
        // The wait was given up: whoever waits next hears it.
        notify.notify();
        let another = pin!(notify.notified()).poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!((woken(), another, poll()), (2, Poll::Ready(()), Poll::Pending));
        // A task that has moved is woken where it is now.
        let mut moved = pin!(notify.notified());
        assert_eq!(moved.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
        assert_eq!(moved.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        notify.notify();
        assert_eq!(woken(), 3);
    }
}
