//! What may be lost for a client that says late that it only observes (docs/sockets.md): what it was given counts as read, and is in
//! memory alone until it is stored again, which may take as long as the disk can't be written. If the daemon is killed or the power
//! fails meanwhile, it is gone.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A client that is silent for so long is taken for a reader.
const SILENT: Duration = Duration::from_millis(250);

/// On a disk that is in order, what waits again is stored within this.
const MOMENT: Duration = Duration::from_secs(1);

/// How a process of the daemon has ended.
struct Ended {
    at: Instant,
    disk_is_in_order: bool,
    /// What was on the disk, by forward.
    stored: BTreeSet<(String, u64)>,
}

/// See the module.
#[derive(Default)]
pub(in crate::simulation) struct Observers {
    /// When a client that had been given a message has said that it observes, by forward and number.
    late: RefCell<BTreeMap<(String, u64), Vec<Instant>>>,
    ended: RefCell<Vec<Ended>>,
}

impl Observers {
    /// A client whose connection was made `since` then, and that has said `at` that it observes, was given a message.
    pub(in crate::simulation) fn got(&self, forward: &str, number: u64, (since, at): (Instant, Instant)) {
        if at - since >= SILENT {
            self.late.borrow_mut().entry((forward.to_owned(), number)).or_default().push(at);
        }
    }

    /// The daemon was killed, or had no power any more.
    pub(in crate::simulation) fn killed(&self, at: Instant, disk_is_in_order: bool, stored: BTreeSet<(String, u64)>) {
        self.ended.borrow_mut().push(Ended { at, disk_is_in_order, stored });
    }

    /// Whether a message was lost in this way.
    pub(super) fn excuse(&self, forward: &str, number: u64) -> bool {
        let key = (forward.to_owned(), number);
        let (late, ended) = (self.late.borrow(), self.ended.borrow());
        late.get(&key).into_iter().flatten().any(|said| {
            let next = ended.iter().find(|end| end.at >= *said);
            next.is_some_and(|end| !end.stored.contains(&key) && (!end.disk_is_in_order || end.at - *said < MOMENT))
        })
    }
}
