//! Tasks without which the daemon would only seem to work.

use std::cell::Cell;
use std::rc::Rc;
use std::thread;

use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Vital {
    failed: Cell<Option<&'static str>>,
    told: Notify,
}

/// Lives as long as a task, and tells if a panic ends it.
struct Alarm {
    vital: Rc<Vital>,
    what: &'static str,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if thread::panicking() {
            self.vital.failed.set(Some(self.what));
            self.vital.told.notify_one();
        }
    }
}

impl Vital {
    /// Runs a task until it is aborted. That it ends by a panic is told.
    pub(super) fn spawn(
        self: &Rc<Self>,
        what: &'static str,
        task: impl Future<Output = ()> + 'static,
    ) -> JoinHandle<()> {
        let alarm = Alarm { vital: Rc::clone(self), what };
        spawn_local(async move {
            let _alarm = alarm;
            task.await;
        })
    }

    /// Completes when one of them has ended by a panic.
    pub(super) async fn failed(&self) -> &'static str {
        loop {
            if let Some(what) = self.failed.get() {
                return what;
            }
            self.told.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_and_the_end_of_a_task_is_not() {
        tokio::task::LocalSet::new()
            .run_until(async {
                let vital = Rc::new(Vital::default());
                let aborted = vital.spawn("aborted", std::future::pending());
                aborted.abort();
                assert!(aborted.await.unwrap_err().is_cancelled());
                vital.spawn("ended", async {}).await.unwrap();
                assert_eq!(vital.failed.get(), None);
                vital.spawn("broken", async { panic!("as a test") });
                assert_eq!(vital.failed().await, "broken");
            })
            .await;
    }
}
