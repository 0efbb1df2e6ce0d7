//! The thread of the store: one job after the other, writes that wait together in one transaction.

mod check;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod queues;
mod rebuild;
mod restore;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use super::database::{self, Database};
use super::failure::{Failure, Fault, OpenError, unreadable};
use super::files::make_directory;
use super::names::log_of;
use super::ready::{self, Ready};
use super::task::{Job, Opened};
use super::{Contents, Lock, QueueId, Totals, Write};

use crate::time;

/// The most writes in one transaction.
const GROUP: usize = 64;

/// The device has lost what can't be read so often, each time within [`READ_AGAIN_WITHIN`]: then the rest is saved. Those who
/// ask wait for 15 s in all until then.
const UNREADABLE: u32 = 5;

/// See [`UNREADABLE`]. Longer than anybody waits before asking again.
const READ_AGAIN_WITHIN: Duration = Duration::from_secs(60);

/// An empty database larger than this is given back to the file system.
const WORTH_SHRINKING: u64 = 16 * 1024 * 1024;

/// Open it, find it overwritten; find damage, open it and find that again; the same with the new one; try again.
const ATTEMPTS: u32 = 8;

/// How often looking at all pages is begun, before it is left to those who read them.
const CHECKS: u32 = 5;

pub(super) struct Worker {
    path: PathBuf,
    forwards: Vec<String>,
    queues: Vec<(QueueId, String)>,
    lock: Option<Lock>,
    database: Option<Database>,
    boot: i64,
    generation: u64,
    publish: watch::Sender<Contents>,
    pending: Arc<AtomicUsize>,
    moved_aside: Arc<Mutex<Vec<String>>>,
    /// How often it was put back.
    restored: Arc<AtomicUsize>,
    rebuilt_at: Option<Instant>,
    /// How often something couldn't be read, and when it was last.
    unreadable: Option<(u32, Instant)>,
    /// How often it was overwritten, and when it was last.
    overwritten: Option<(u32, Instant)>,
    /// A copy of the database lies beside its place, for the next start.
    is_beside: bool,
    stopping: bool,
    /// The daemon knows that the next start doesn't find everything in its place.
    is_told: bool,
    checks_left: u32,
}

impl Worker {
    pub(super) fn new(
        path: &Path,
        forwards: Vec<String>,
        publish: watch::Sender<Contents>,
        pending: Arc<AtomicUsize>,
        moved_aside: Arc<Mutex<Vec<String>>>,
        restored: Arc<AtomicUsize>,
    ) -> Worker {
        let queues = QueueId::built_in();
        Worker {
            path: path.to_owned(),
            forwards,
            queues,
            lock: None,
            database: None,
            boot: this_boot(),
            generation: 0,
            publish,
            pending,
            moved_aside,
            restored,
            rebuilt_at: None,
            unreadable: None,
            overwritten: None,
            is_beside: false,
            stopping: false,
            is_told: false,
            checks_left: 0,
        }
    }

    /// Opens the database, tells `opened`, and works until nobody can ask for anything any more.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>, opened: oneshot::Sender<Opened>) {
        let outcome = self.connect();
        let outcome = match outcome {
            Err(Fault::Unusable(error)) => {
                let _ = opened.send(Err(error));
                return;
            }
            Err(Fault::Refused(failure) | Fault::Broken(failure)) => Err(failure),
            Err(Fault::Damage(detail)) => Err(Failure::Io { path: self.path.display().to_string(), detail }),
            Ok(()) => Ok(()),
        };
        self.name_queues();
        let _ = opened.send(Ok(outcome));
        let mut group = Vec::new();
        loop {
            if self.checks_left > 0 && jobs.is_empty() {
                self.check();
                continue;
            }
            let Some(job) = jobs.blocking_recv() else { break };
            let mut next = Some(job);
            while let Some(Job::Write(write, reply)) = next {
                group.push((write, reply));
                next = (group.len() < GROUP).then(|| jobs.try_recv().ok()).flatten();
            }
            self.pending.fetch_sub(group.len(), Ordering::Relaxed);
            self.write(&mut group);
            match next {
                Some(Job::Close(reply)) => {
                    if let Err(failure) = self.keep_in_place()
                        && !self.is_told
                    {
                        log::error!(GATEWIRE_EVENT = "store_failing"; "what is stored may be lost: {failure}");
                    }
                    drop(self);
                    let _ = reply.send(());
                    return;
                }
                Some(job) => self.other(job),
                None => {}
            }
        }
    }

    fn other(&mut self, job: Job) {
        match job {
            Job::Load(load, reply) => {
                self.pending.fetch_sub(1, Ordering::Relaxed);
                let _ = reply.send(self.attempt(|database| database.load(&load)));
            }
            Job::Note(name, reply) => {
                self.pending.fetch_sub(1, Ordering::Relaxed);
                let _ = reply.send(self.attempt(|database| database.note(&name)));
            }
            Job::Place(forward, reply) => {
                self.pending.fetch_sub(1, Ordering::Relaxed);
                let _ = reply.send(self.place(forward));
            }
            Job::Open(reply) => {
                self.pending.fetch_sub(1, Ordering::Relaxed);
                let _ = reply.send(self.attempt(|_| Ok(())));
            }
            Job::Look(reply) => {
                self.pending.fetch_sub(1, Ordering::Relaxed);
                // One whose copy lies beside its place, and that isn't open any more, isn't in its place before it is.
                let is_out_of_place = self.database.is_none() && self.is_beside;
                let opened = if is_out_of_place { self.attempt(|_| Ok(())) } else { Ok(()) };
                let _ = reply.send(opened.and_then(|()| self.keep_in_place()));
            }
            Job::Stop => {
                self.pending.fetch_sub(1, Ordering::Relaxed);
                self.stopping = true;
            }
            Job::Kept(reply) => {
                self.pending.fetch_sub(1, Ordering::Relaxed);
                let _ = reply.send(self.kept());
            }
            Job::Check => self.checks_left = CHECKS,
            Job::Write(..) | Job::Close(_) => {}
        }
    }

    fn write(&mut self, group: &mut Vec<(Write, oneshot::Sender<Result<(), Failure>>)>) {
        if group.is_empty() {
            return;
        }
        let written = self.attempt(|database| database.write(group.iter().map(|(write, _)| write)));
        let generation = self.generation;
        // What is written to a file that somebody has removed or overwritten isn't stored.
        let mut outcome = written.and_then(|()| self.keep_in_place());
        if outcome.is_ok() && self.generation != generation {
            // That happened in the middle: what is in the new database of it, nobody knows.
            let again: Vec<Write> = group.iter().map(|(write, _)| write.clone().again()).collect();
            outcome = self.attempt(|database| database.write(again.iter()));
        }
        for (_, reply) in group.drain(..) {
            let _ = reply.send(outcome.clone());
        }
        if outcome.is_ok() {
            self.shrink_if_empty();
        }
    }

    /// Does something with the database, which is opened if it isn't. When that finds damage, the database is made anew and
    /// it is tried a second time.
    fn attempt<T>(&mut self, mut work: impl FnMut(&mut Database) -> Result<T, Fault>) -> Result<T, Failure> {
        let mut was_read_again = false;
        for _ in 0..ATTEMPTS {
            let outcome = match &mut self.database {
                Some(database) if database.touched().is_none() => work(database),
                // What is written to it would be in no database.
                Some(_) => match self.keep_in_place() {
                    Ok(()) => continue,
                    Err(failure) => return Err(failure),
                },
                None => match self.connect() {
                    Ok(()) => continue,
                    Err(fault) => Err(fault),
                },
            };
            let fault = match outcome {
                Ok(done) => return Ok(done),
                Err(fault) => self.doubted(fault, &mut was_read_again),
            };
            match fault {
                None => {}
                Some(Fault::Refused(failure)) => return Err(failure),
                Some(Fault::Broken(failure)) => {
                    self.database = None;
                    return Err(failure);
                }
                Some(Fault::Unusable(error)) => return Err(Failure::Unusable { said: error.to_string() }),
                Some(Fault::Damage(detail)) => match self.rebuild(&detail) {
                    Ok(()) => was_read_again = false,
                    Err(Fault::Refused(failure) | Fault::Broken(failure)) => return Err(failure),
                    Err(Fault::Damage(detail)) => return Err(self.io_failure(detail)),
                    Err(Fault::Unusable(error)) => return Err(Failure::Unusable { said: error.to_string() }),
                },
            }
        }
        Err(self.io_failure("it is damaged".to_owned()))
    }

    /// Damage isn't certain as long as the device doesn't give all that is there, unless it goes on like that; nor if it does
    /// now and didn't a moment ago. `None`: it has to be opened and read again, to be sure.
    fn doubted(&mut self, fault: Fault, was_read_again: &mut bool) -> Option<Fault> {
        if !matches!(fault, Fault::Damage(_)) {
            return Some(fault);
        }
        if let Some(mut database) = self.database.take() {
            database.leave_the_log();
        }
        let Some(failure) = [self.path.clone(), log_of(&self.path)].iter().find_map(|path| unreadable(path)) else {
            return std::mem::replace(was_read_again, true).then_some(fault);
        };
        let recent = self.unreadable.filter(|(_, last)| time::since(*last) < READ_AGAIN_WITHIN);
        let count = recent.map_or(0, |(count, _)| count) + 1;
        self.unreadable = (count < UNREADABLE).then(|| (count, time::now()));
        Some(if count < UNREADABLE { Fault::Broken(failure) } else { Fault::Damage(failure.to_string()) })
    }

    fn io_failure(&self, detail: String) -> Failure {
        Failure::Io { path: self.path.display().to_string(), detail }
    }

    /// Opens the database, and makes it anew if it is damaged.
    fn connect(&mut self) -> Result<(), Fault> {
        make_directory(&self.path)?;
        match self.refuse_what_is_not_ours() {
            // Ours was there before.
            Err(_) if self.stopping && self.generation > 0 => self.clear_the_place()?,
            refused => refused?,
        }
        if self.lock.is_none() {
            let lock = Lock::take(&self.path)?;
            let locked = || Fault::Unusable(OpenError::Locked { path: self.path.clone() });
            self.lock = Some(lock.ok_or_else(locked)?);
        }
        if let Some(swapped) = self.settle_ready()? {
            let aside = swapped
                .aside
                .map_or_else(String::new, |aside| format!("; what was found in its place is now {}", aside.display()));
            log::error!(
                GATEWIRE_EVENT = "store_damaged";
                "{} was damaged, removed or replaced, and gatewire was stopped before it had put the new one there: it has now{aside}",
                self.path.display()
            );
        }
        let mut was_read_again = false;
        loop {
            let opened = Database::open(&self.path, self.boot).and_then(|database| self.adopt(database));
            let Err(fault) = opened else { return Ok(()) };
            match self.doubted(fault, &mut was_read_again) {
                None => {}
                Some(Fault::Damage(detail)) => return self.rebuild(&detail),
                Some(fault) => return Err(fault),
            }
        }
    }

    /// Before anything is made or moved. Where a new database is ready for the place, what is there has been found damaged, or was
    /// put there while ours was in use.
    fn refuse_what_is_not_ours(&self) -> Result<(), Fault> {
        match database::look(&self.path) {
            Err(Fault::Unusable(_)) if self.is_beside || matches!(ready::judge(&self.path), Ok(Ready::Completes)) => {
                Ok(())
            }
            Err(fault @ Fault::Unusable(_)) => Err(fault),
            // What else there is to say is said when it is opened.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Takes an open database over: its queues are known to everybody from now on.
    fn adopt(&mut self, mut database: Database) -> Result<(), Fault> {
        let mut contents = database.queues()?;
        self.queues = QueueId::built_in();
        let known = contents.iter().filter(|(id, ..)| !id.is_built_in());
        self.queues.extend(known.map(|(id, name, _)| (*id, name.clone())));
        self.name_queues();
        let is_new = |id: &QueueId| !contents.iter().any(|(known, ..)| known == id);
        let new: Vec<_> = self.queues.iter().filter(|(id, _)| is_new(id)).cloned().collect();
        database.add_queues(new.clone());
        contents.extend(new.into_iter().map(|(id, name)| (id, name, Totals::default())));
        self.say_what_nobody_wants(&contents);
        self.generation += 1;
        self.is_beside = false;
        self.database = Some(database);
        let _ = self.publish.send(Contents { generation: self.generation, queues: contents });
        Ok(())
    }
}

/// The number of this boot of the machine: of the kernel's random name for it, as much as SQLite can hold.
fn this_boot() -> i64 {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = id.chars().filter(char::is_ascii_hexdigit).take(15).collect();
    i64::from_str_radix(&digits, 16).unwrap_or(1).max(1)
}
