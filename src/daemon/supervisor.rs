//! The parts without which the daemon would only seem to work: if one of them ends, the daemon does, with exit code 70
//! (docs/architecture.md has a table of them).

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::thread;

use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local};

use super::DaemonError;
use crate::stop::Stop;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Supervisor {
    /// The first that has failed.
    failed: RefCell<Option<DaemonError>>,
    told: Notify,
}

/// Lives as long as a part, and tells if it ends without having been aborted or told to.
struct Alarm {
    supervisor: Rc<Supervisor>,
    what: &'static str,
    has_returned: bool,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if self.has_returned || thread::panicking() {
            self.supervisor.fail(DaemonError::PartFailed(self.what));
        }
    }
}

impl Supervisor {
    /// Runs a part, which goes on until it is aborted, or the daemon stops. That it ends before, by a panic or otherwise, is told.
    pub(super) fn spawn(
        self: &Rc<Self>,
        what: &'static str,
        part: impl Future<Output = ()> + 'static,
    ) -> JoinHandle<()> {
        self.spawn_until(what, Rc::default(), part)
    }

    /// Likewise a part that ends once `stop` is requested.
    pub(super) fn spawn_until(
        self: &Rc<Self>,
        what: &'static str,
        stop: Rc<Stop>,
        part: impl Future<Output = ()> + 'static,
    ) -> JoinHandle<()> {
        // Some are large: as they are, each would be moved over the stack several times, and come with its own copy of tokio's task.
        let part: Pin<Box<dyn Future<Output = ()>>> = Box::pin(part);
        let alarm = Alarm { supervisor: Rc::clone(self), what, has_returned: false };
        spawn_local(async move {
            let mut alarm = alarm;
            part.await;
            alarm.has_returned = !stop.is_requested();
        })
    }

    /// A part has failed. Only the first counts: others may fail because of it.
    pub(super) fn fail(&self, error: DaemonError) {
        self.failed.borrow_mut().get_or_insert(error);
        self.told.notify_one();
    }

    /// Completes when one of them has failed.
    pub(super) async fn failed(&self) -> DaemonError {
        loop {
            if let Some(error) = self.failed.take() {
                return error;
            }
            self.told.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "local")]
    async fn a_part_that_ends_is_told_of_unless_it_was_aborted() {
        let supervisor = Rc::new(Supervisor::default());
        let aborted = supervisor.spawn("aborted", std::future::pending());
        aborted.abort();
        assert!(aborted.await.unwrap_err().is_cancelled());
        assert!(supervisor.failed.borrow().is_none());
        supervisor.spawn("broken", async { panic!("as a test") }).await.unwrap_err();
        supervisor.spawn("ended", async {}).await.unwrap();
        assert!(matches!(supervisor.failed().await, DaemonError::PartFailed("broken")), "the first counts");
        supervisor.spawn("ended", async {});
        assert!(matches!(supervisor.failed().await, DaemonError::PartFailed("ended")));

        let stop = Rc::new(Stop::default());
        let told = supervisor.spawn_until("told", Rc::clone(&stop), {
            let stop = Rc::clone(&stop);
            async move { stop.requested().await }
        });
        stop.request();
        told.await.unwrap();
        assert!(supervisor.failed.borrow().is_none());
        supervisor.spawn_until("untold", Rc::default(), async {});
        assert!(matches!(supervisor.failed().await, DaemonError::PartFailed("untold")));
    }
}
