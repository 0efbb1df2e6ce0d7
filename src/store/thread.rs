//! The thread that the database is served by.

use std::thread;

use super::task::{Disk, Task};
use super::worker::Worker;

/// The file system, to which a thread of its own speaks: a disk that hangs holds up nothing else.
pub(crate) struct Thread;

impl Disk for Thread {
    fn begin(&self, task: Task) {
        let work = move || {
            let Task { path, forwards, jobs, opened, publish, pending, moved_aside, restored } = task;
            Worker::new(&path, forwards, publish, pending, moved_aside, restored).run(jobs, opened);
        };
        // Should there be no thread, nobody answers.
        let _ = thread::Builder::new().name("store".to_owned()).spawn(work);
    }
}
