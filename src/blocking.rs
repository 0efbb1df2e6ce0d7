//! Work that may block, on a thread of its own. tokio's `spawn_blocking` panics where the system has no thread for it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread::{Builder, JoinHandle};

use thiserror::Error;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::RecvError;

/// The system has no thread.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "the system has no thread for it ({0}): too many processes and threads run. End some, or raise TasksMax= of the unit \
     (LimitNPROC= where that is set)"
)]
pub(crate) struct NoThread(String);

impl From<io::Error> for NoThread {
    fn from(error: io::Error) -> NoThread {
        NoThread(error.to_string())
    }
}

/// What was begun on a thread; completes with what that returns, or with an error if it panics, which has been logged.
#[derive(Debug)]
pub(crate) struct Blocking<T> {
    answer: oneshot::Receiver<T>,
    thread: JoinHandle<()>,
}

/// Begins `work` on a thread of this name, which goes on though nobody waits for it any more.
///
/// # Errors
/// There is no thread for it.
pub(crate) fn begin<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Blocking<T>, NoThread> {
    let (tell, answer) = oneshot::channel();
    let work = move || drop(tell.send(work()));
    let thread = Builder::new().name(name.to_owned()).spawn(work)?;
    Ok(Blocking { answer, thread })
}

impl<T> Blocking<T> {
    /// Whether it has nothing left to do.
    pub(crate) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

impl<T> Future for Blocking<T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        Pin::new(&mut self.answer).poll(cx)
    }
}
