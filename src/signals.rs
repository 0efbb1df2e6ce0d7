//! Signals, as tokio counts them: it has a table of all there are for the processes that it starts. A library of its own would have
//! another for each use, and sockets between its handler and us.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Some signals. From [`Signals::new`] on none of them has its default action any more, also when this is dropped.
pub(crate) struct Signals(Vec<(i32, Signal)>);

impl Signals {
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// A number that no handler can be set for.
    pub(crate) fn new(numbers: &[i32]) -> io::Result<Signals> {
        let watched = numbers.iter().map(|number| Ok((*number, signal(SignalKind::from_raw(*number))?)));
        watched.collect::<io::Result<_>>().map(Signals)
    }

    /// The number of the next that comes, or has come since. Of several it is the one that was named first, and one that has come
    /// several times is told once. May be dropped at any point.
    pub(crate) async fn next(&mut self) -> i32 {
        poll_fn(|cx| {
            let mut came =
                self.0.iter_mut().filter_map(|(number, signal)| signal.poll_recv(cx).is_ready().then_some(*number));
            came.next().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::sys::signal::{Signal, raise};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(flavor = "local")]
    async fn each_signal_is_told_once_in_the_order_in_which_they_are_named() {
        // What has no effect where nobody asks for it.
        let (first, second) = (Signal::SIGURG, Signal::SIGWINCH);
        let mut signals = Signals::new(&[first as i32, second as i32]).unwrap();
        for signal in [second, first, second] {
            raise(signal).unwrap();
        }
        assert_eq!((signals.next().await, signals.next().await), (first as i32, second as i32));
        assert!(timeout(Duration::ZERO, signals.next()).await.is_err());
        raise(second).unwrap();
        assert_eq!(signals.next().await, second as i32);
        assert!(Signals::new(&[nix::libc::SIGKILL]).is_err());
    }
}
