//! What the database of a daemon is asked to do, and by whom it is done.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, oneshot, watch};

use super::failure::{Failure, OpenError};
use super::{Contents, Kept, Load, Page, QueueState, Write};
use crate::blocking::NoThread;

pub(crate) enum Job {
    Write(Write, oneshot::Sender<Result<(), Failure>>),
    Load(Load, oneshot::Sender<Result<Page, Failure>>),
    Note(Cow<'static, str>, oneshot::Sender<Result<Option<String>, Failure>>),
    /// A forward that needs a queue.
    Place(String, oneshot::Sender<QueueState>),
    /// Open the database, if it isn't.
    Open(oneshot::Sender<Result<(), Failure>>),
    /// Look whether the files are where they belong, and put them back.
    Look(oneshot::Sender<Result<(), Failure>>),
    /// The daemon stops: from now on what is in the way is moved aside, so that nothing is lost.
    Stop,
    /// Look whether the next start finds what is stored, and what that is.
    Kept(oneshot::Sender<Kept>),
    /// Look at all pages when there is nothing else to do.
    Check,
    /// Nothing comes after it.
    Close(oneshot::Sender<()>),
}

/// What came of the first attempt to open.
pub(crate) type Opened = Result<Result<(), Failure>, OpenError>;

/// What the database of a daemon is asked to do.
pub(crate) struct Task {
    pub(crate) path: PathBuf,
    /// The queues there should be beside the outbox.
    pub(crate) forwards: Vec<String>,
    /// Nobody can ask for anything any more once there are none.
    pub(crate) jobs: mpsc::Receiver<Job>,
    /// Told once, before the first job is done.
    pub(crate) opened: oneshot::Sender<Opened>,
    /// What the database holds; it is told before `opened` is.
    pub(crate) publish: watch::Sender<Contents>,
    /// How many jobs wait.
    pub(crate) pending: Arc<AtomicUsize>,
    /// Where damaged databases were moved to.
    pub(crate) moved_aside: Arc<Mutex<Vec<String>>>,
    /// How often it was put back.
    pub(crate) restored: Arc<AtomicUsize>,
}

/// Where a database is.
pub(crate) trait Disk {
    /// Opens the database of `task` and does what it is asked to, by itself. What it was given is dropped where that can't be done.
    ///
    /// # Errors
    /// There is no thread for it.
    fn begin(&self, task: Task) -> Result<(), NoThread>;
}
