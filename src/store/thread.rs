//! The thread that the database is served by.

use std::thread;

use super::task::{Disk, Task};
use super::worker::Worker;
use crate::blocking::NoThread;

/// The file system, to which a thread of its own speaks: a disk that hangs holds up nothing else.
pub(crate) struct Thread;

impl Disk for Thread {
    fn begin(&self, task: Task) -> Result<(), NoThread> {
        let work = move || {
            let Task { path, forwards, jobs, opened, publish, pending, moved_aside, restored } = task;
            Worker::new(&path, forwards, publish, pending, moved_aside, restored).run(jobs, opened);
        };
        thread::Builder::new().name("store".to_owned()).spawn(work)?;
        Ok(())
    }
}
