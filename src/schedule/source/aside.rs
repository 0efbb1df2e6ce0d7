//! Work that may block, beside the runtime.

use std::cell::RefCell;
use std::time::Duration;

use crate::blocking::{self, Blocking, NoThread};

/// How long a reading may take. A slow sensor takes a second; a file system whose server is gone takes for ever.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Does one thing at a time on a thread. One that hangs keeps its thread, but only that one.
#[derive(Debug)]
pub(super) struct Aside<T> {
    hanging: RefCell<Option<Blocking<T>>>,
}

impl<T> Default for Aside<T> {
    fn default() -> Aside<T> {
        Aside { hanging: RefCell::default() }
    }
}

impl<T: Send + 'static> Aside<T> {
    /// What `work` returns; `None` if it takes longer than [`PATIENCE`], or what was done before still hangs.
    ///
    /// # Errors
    /// There is no thread for it.
    pub(super) async fn run(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<Option<T>, NoThread> {
        if self.hanging.borrow().as_ref().is_some_and(|hanging| !hanging.is_finished()) {
            return Ok(None);
        }
        let mut task = blocking::begin("source", work)?;
        Ok(match tokio::time::timeout(PATIENCE, &mut task).await {
            // A panic has been logged.
            Ok(done) => done.ok(),
            Err(_) => {
                // What it may bring later is old by then.
                *self.hanging.borrow_mut() = Some(task);
                None
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test(flavor = "local")]
    async fn what_hangs_keeps_one_thread_and_what_it_brings_late_is_dropped() {
        let aside = Aside::default();
        assert_eq!(aside.run(|| 1).await, Ok(Some(1)));
        let (release, released) = channel::<()>();
        let work = move || {
            let _ = released.recv();
            2
        };
        tokio::time::pause();
        let (late, ()) = tokio::join!(aside.run(work), tokio::time::advance(2 * PATIENCE));
        assert_eq!(late, Ok(None));
        assert_eq!(aside.run(|| 3).await, Ok(None));
        drop(release);
        while !aside.hanging.borrow().as_ref().unwrap().is_finished() {
            tokio::task::yield_now().await;
        }
        tokio::time::resume();
        assert_eq!(aside.run(|| 4).await, Ok(Some(4)));
    }
}
