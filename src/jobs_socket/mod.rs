//! `jobs.sock`: jobs that no action takes go to a program of the user.
//!
//! [`desk`] decides (pure) which reader has the job, and what of what readers say counts; [`mod@line`] is how it is written;
//! [`reader`] is the task of one client. Whoever runs jobs offers one, and hears what is said of it.
//!
//! A job that was at a reader is offered again after a restart of the daemon, and when that reader goes: whether it was begun is the
//! reader's to know, by `job` and `execution`.

mod desk;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod line;
mod reader;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::Notify;

use crate::notify::LocalNotify;
use crate::services::jobs::{Details, Identity, Outcome};
use crate::socket::{self, For, Listener};
use crate::time::{self, Rfc3339};
use desk::Desk;
use reader::Reader;

/// The longest line that the reader which has the job may send, in bytes without its newline.
const MAX_LINE: usize = 128 * 1024;

/// And the most bytes of an unfinished line of any other client: they have nothing to say.
const SMALL_LINE: usize = 4 * 1024;

/// A job for a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) identity: Identity,
    /// JSON.
    pub(crate) document: String,
    /// When AWS calls it timed out, as far as that is known.
    pub(crate) deadline: Option<Rfc3339>,
    /// It is on the disk that a reader may have it. Until then none is given it.
    pub(crate) is_noted: bool,
}

/// What is said of the job that is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// There is a reader for it: that is to be noted on the disk, and answered by [`noted`](JobsSocket::noted).
    Wanted(Identity),
    /// How far it is; at most once a second, the newest.
    Progress(Identity, Details),
    /// What it has come to: it isn't offered any more.
    Ended(Identity, Outcome),
}

impl Said {
    /// The execution that it is said of.
    pub(crate) fn identity(&self) -> &Identity {
        match self {
            Said::Wanted(identity) | Said::Progress(identity, _) | Said::Ended(identity, _) => identity,
        }
    }
}

/// The socket, and the job that is offered there.
#[derive(Debug, Default)]
pub(crate) struct JobsSocket {
    desk: RefCell<Desk>,
    /// There may be something to write for a client.
    changed: Notify,
    /// There may be something to tell.
    said: LocalNotify,
}

impl JobsSocket {
    /// Serves readers, for ever. Dropping this future disconnects them; the job waits for the next.
    pub(crate) async fn serve(self: Rc<Self>, listener: Rc<Listener>) {
        let of_socket = Rc::clone(&listener);
        let handle = move |stream| Reader::new(Rc::clone(&self), Rc::clone(&of_socket), stream).run();
        socket::serve((listener, For::Messages), Rc::default(), handle).await;
    }

    /// A job is to be done: it goes to a reader once it is noted, and waits while there is none. Another that was offered before is cancelled; the same
    /// stays with the reader that has it.
    pub(crate) fn offer(&self, offer: Offer) {
        self.change(|desk, now| {
            desk.offer(offer, now);
            true
        });
    }

    /// It is on the disk that a reader may have it.
    pub(crate) fn noted(&self, identity: &Identity) {
        self.change(|desk, now| desk.noted(identity, now));
    }

    /// Nobody wants it any more: its reader is told so, and nothing more is said of it. What the reader still does isn't waited for.
    /// `false`: it isn't offered, or its result has come.
    pub(crate) fn cancel(&self, identity: &Identity) -> bool {
        self.change(|desk, now| desk.cancel(identity, now))
    }

    /// Nobody wants what is offered, unless it is this.
    pub(crate) fn cancel_all_but(&self, wanted: Option<&Identity>) {
        let offered = self.desk.borrow().offered_now().cloned();
        if let Some(unwanted) = offered.filter(|offered| Some(offered) != wanted) {
            self.cancel(&unwanted);
        }
    }

    /// Waits for the next that is said of the job that is offered. For one task.
    pub(crate) async fn said(&self) -> Said {
        loop {
            let (said, at) = {
                let mut desk = self.desk.borrow_mut();
                (desk.next_said(time::now()), desk.said_at())
            };
            if let Some(said) = said {
                return said;
            }
            tokio::select! {
                biased;
                () = self.said.notified() => {}
                () = until(at), if at.is_some() => {}
            }
        }
    }

    /// Clients that may be given a job.
    pub(crate) fn readers(&self) -> usize {
        self.desk.borrow().readers()
    }

    /// Changes the desk; other clients are to be written something if that is so.
    fn change(&self, change: impl FnOnce(&mut Desk, Instant) -> bool) -> bool {
        let changed = change(&mut self.desk.borrow_mut(), time::now());
        if changed {
            self.changed.notify_waiters();
        }
        changed
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
