//! A disk that isn't there: it does a store's jobs in virtual time, slowly, not at all or only in part, and knows what is left after
//! a power cut.
//!
//! What SQLite and the file system make of such a moment is tested with the real ones (`tests/power_loss/`, `tests/disk/`). Here
//! it is all or nothing of a transaction, which is what those tests have found to hold.

mod database;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::sync::{Notify, oneshot};
use tokio::task::spawn_local;

use super::{Accepted, Contents, Disk, Failure, Job, Kept, Load, Page, QueueId, QueueState, Row, Task, Totals, Write};
use crate::blocking::NoThread;
use crate::time;
use database::{Database, totals};

/// How it behaves from now on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Behaviour {
    /// What a job takes, at least and at most.
    pub(crate) latency: (Duration, Duration),
    /// Nothing is done until this is over.
    pub(crate) hangs: bool,
    /// What fails, and how it is said.
    pub(crate) writes_fail: Option<&'static str>,
    pub(crate) reads_fail: Option<&'static str>,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        let latency = (Duration::from_micros(300), Duration::from_millis(5));
        Behaviour { latency, hangs: false, writes_fail: None, reads_fail: None }
    }
}

struct DiskState {
    behaviour: Behaviour,
    /// Since when.
    since: Instant,
    rng: Rng,
    /// As other processes see it.
    committed: Database,
    /// What a power cut leaves for certain, and of the transactions since then a beginning.
    synced: Database,
    unsynced: Vec<Write>,
    boot: u64,
    /// The process that is served; one before it is dead.
    process: u64,
    /// The process whose thread has ended.
    ended: u64,
    generation: u64,
    jobs: u64,
}

impl DiskState {
    /// What the next job takes.
    fn time(&mut self) -> Duration {
        let (least, most) = self.behaviour.latency;
        least + most.saturating_sub(least).mul_f64(self.rng.f64())
    }
}

/// See the module.
#[derive(Clone)]
pub(crate) struct SimulatedDisk {
    state: Rc<RefCell<DiskState>>,
    changed: Rc<Notify>,
}

impl SimulatedDisk {
    pub(crate) fn new(seed: u64) -> SimulatedDisk {
        let state = DiskState {
            behaviour: Behaviour::default(),
            since: time::now(),
            rng: Rng::with_seed(seed),
            committed: Database::default(),
            synced: Database::default(),
            unsynced: Vec::new(),
            boot: 1,
            process: 0,
            ended: 0,
            generation: 0,
            jobs: 0,
        };
        SimulatedDisk { state: Rc::new(RefCell::new(state)), changed: Rc::default() }
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        let mut state = self.state.borrow_mut();
        (state.behaviour, state.since) = (behaviour, time::now());
        self.changed.notify_waiters();
    }

    /// Whether it has been in order for so long.
    pub(crate) fn is_in_order_for(&self, duration: Duration) -> bool {
        let state = self.state.borrow();
        state.behaviour == Behaviour::default() && time::since(state.since) >= duration
    }

    /// The process that it serves is dead: nothing of it is done any more.
    pub(crate) fn killed(&self) {
        self.state.borrow_mut().process += 1;
    }

    /// The thread that serves the process ends, as after a panic.
    pub(crate) fn end(&self) {
        let state = &mut *self.state.borrow_mut();
        state.ended = state.process;
        self.changed.notify_waiters();
    }

    /// The power is gone, and the process with it: of what wasn't synced a beginning is left.
    pub(crate) fn power_cut(&self) {
        self.killed();
        let state = &mut *self.state.borrow_mut();
        let kept = state.rng.usize(..=state.unsynced.len());
        state.unsynced.drain(..).take(kept).for_each(|write| state.synced.apply(&write, state.boot));
        state.committed = state.synced.clone();
        state.boot += 1;
    }

    /// How many messages of a forward, or of the built-in queue of that name, lie on it.
    pub(crate) fn messages_of(&self, queue: &str) -> usize {
        let state = self.state.borrow();
        let Some((id, _)) = state.committed.queues.iter().find(|(_, name)| name == queue) else { return 0 };
        state.committed.messages.keys().filter(|(of, _)| of == id).count()
    }

    /// Those messages.
    pub(crate) fn rows_of(&self, queue: &str) -> Vec<Row> {
        let state = self.state.borrow();
        let Some((id, _)) = state.committed.queues.iter().find(|(_, name)| name == queue) else { return Vec::new() };
        let messages = state.committed.messages.range((*id, 0)..=(*id, u64::MAX));
        messages.map(|(_, stored)| stored.row.clone()).collect()
    }

    /// How many jobs it has done.
    pub(crate) fn jobs(&self) -> u64 {
        self.state.borrow().jobs
    }

    /// Whether a process or its thread has ended.
    fn is_over(&self, process: u64) -> bool {
        let state = self.state.borrow();
        state.process != process || state.ended == process
    }

    /// Completes when they have.
    async fn ended(&self, process: u64) {
        loop {
            let changed = self.changed.notified();
            if self.is_over(process) {
                break;
            }
            changed.await;
        }
    }

    /// Half of what a job takes.
    async fn work(&self) {
        loop {
            let changed = self.changed.notified();
            if !self.state.borrow().behaviour.hangs {
                break;
            }
            changed.await;
        }
        let time = self.state.borrow_mut().time();
        tokio::time::sleep(time / 2).await;
    }
}

impl Disk for SimulatedDisk {
    fn begin(&self, task: Task) -> Result<(), NoThread> {
        let mut state = self.state.borrow_mut();
        state.process += 1;
        let mut process = Process { number: state.process, disk: self.clone(), task, is_open: false, reply: None };
        drop(state);
        spawn_local(async move { process.serve().await });
        Ok(())
    }
}

/// A process that has the database open.
struct Process {
    number: u64,
    disk: SimulatedDisk,
    task: Task,
    is_open: bool,
    reply: Option<oneshot::Sender<()>>,
}

impl Process {
    async fn serve(&mut self) {
        self.disk.work().await;
        if self.disk.is_over(self.number) {
            return;
        }
        let outcome = self.open();
        let (unused, _) = oneshot::channel();
        let _ = std::mem::replace(&mut self.task.opened, unused).send(Ok(outcome));
        while self.reply.is_none() {
            let job = tokio::select! {
                biased;
                () = self.disk.ended(self.number) => return,
                job = self.task.jobs.recv() => job,
            };
            let Some(job) = job else { return };
            if !matches!(job, Job::Check) {
                self.task.pending.fetch_sub(1, Ordering::Relaxed);
            }
            self.disk.work().await;
            if self.disk.is_over(self.number) {
                return;
            }
            self.disk.state.borrow_mut().jobs += 1;
            let answer = self.job(job);
            // Done, and not told yet: a process may die in between.
            self.disk.work().await;
            answer();
        }
        let _ = self.reply.take().map(|reply| reply.send(()));
    }

    /// Does it, and returns what tells its outcome.
    fn job(&mut self, job: Job) -> Box<dyn FnOnce()> {
        fn telling<T: 'static>(reply: oneshot::Sender<T>, outcome: T) -> Box<dyn FnOnce()> {
            Box::new(move || drop(reply.send(outcome)))
        }
        match job {
            Job::Write(write, reply) => {
                let outcome = self.write(&write);
                telling(reply, outcome)
            }
            Job::Load(load, reply) => {
                let outcome = self.opened().and_then(|()| self.may_read()).map(|()| self.load(&load));
                telling(reply, outcome)
            }
            Job::Note(name, reply) => {
                let note = self.opened().and_then(|()| self.may_read());
                let note = note.map(|()| self.disk.state.borrow().committed.notes.get(&*name).cloned());
                telling(reply, note)
            }
            Job::Place(name, reply) => {
                let place = self.place(&name);
                telling(reply, place)
            }
            Job::Open(reply) => {
                let outcome = self.opened();
                telling(reply, outcome)
            }
            Job::Look(reply) => telling(reply, Ok(())),
            Job::Kept(reply) => {
                let kept = match self.is_open {
                    true => Kept::InPlace(self.contents().queues),
                    false => Kept::Unread(self.failure("it isn't open")),
                };
                telling(reply, kept)
            }
            Job::Close(reply) => {
                self.reply = Some(reply);
                Box::new(|| ())
            }
            Job::Stop | Job::Check => Box::new(|| ()),
        }
    }

    fn failure(&self, detail: &str) -> Failure {
        Failure::Io { path: self.task.path.display().to_string(), detail: detail.to_owned() }
    }

    fn may_write(&self) -> Result<(), Failure> {
        let fails = self.disk.state.borrow().behaviour.writes_fail;
        fails.map_or(Ok(()), |detail| Err(self.failure(detail)))
    }

    fn may_read(&self) -> Result<(), Failure> {
        let fails = self.disk.state.borrow().behaviour.reads_fail;
        fails.map_or(Ok(()), |detail| Err(self.failure(detail)))
    }

    fn opened(&mut self) -> Result<(), Failure> {
        if self.is_open { Ok(()) } else { self.open() }
    }

    fn open(&mut self) -> Result<(), Failure> {
        self.may_read()?;
        self.is_open = true;
        for name in self.task.forwards.clone() {
            self.queue(&name);
        }
        self.disk.state.borrow_mut().generation += 1;
        let contents = self.contents();
        let _ = self.task.publish.send(contents);
        Ok(())
    }

    /// The number of a queue, which is made if there is none.
    fn queue(&self, name: &str) -> QueueId {
        let mut state = self.disk.state.borrow_mut();
        for (id, name) in QueueId::built_in() {
            if !state.committed.queues.iter().any(|(known, _)| *known == id) {
                state.committed.queues.push((id, name));
            }
        }
        let known = state.committed.queues.iter().find(|(_, known)| known == name).map(|(id, _)| *id);
        known.unwrap_or_else(|| {
            let is_taken = |id: QueueId| state.committed.queues.iter().any(|(taken, _)| *taken == id);
            let id = QueueId::for_name(name, is_taken).unwrap_or(QueueId::OUTBOX);
            state.committed.queues.push((id, name.to_owned()));
            id
        })
    }

    fn contents(&self) -> Contents {
        let state = self.disk.state.borrow();
        let queues = state.committed.queues.iter().map(|(id, name)| (*id, name.clone(), totals(&state.committed, *id)));
        Contents { generation: state.generation, queues: queues.collect() }
    }

    fn place(&mut self, name: &str) -> QueueState {
        let is_open = self.opened().is_ok();
        let queue = self.queue(name);
        let state = self.disk.state.borrow();
        let given = state.committed.notes.get(&queue.note_of_given()).and_then(|given| given.parse().ok());
        QueueState {
            queue,
            stored: if is_open { totals(&state.committed, queue) } else { Totals::default() },
            generation: if is_open { state.generation } else { 0 },
            given: given.unwrap_or(0),
        }
    }

    fn write(&mut self, write: &Write) -> Result<(), Failure> {
        self.opened()?;
        self.may_write()?;
        let state = &mut *self.disk.state.borrow_mut();
        let is_gone = |seq: u64| write.delete.iter().any(|range| range.contains(&seq));
        let twice = write.insert.iter().map(|row| row.seq);
        let twice = twice.filter(|seq| !is_gone(*seq) && state.committed.messages.contains_key(&(write.queue, *seq)));
        if let Some(seq) = twice.min() {
            return Err(self.failure(&format!("there is a message {seq} already")));
        }
        state.committed.apply(write, state.boot);
        state.unsynced.push(write.clone());
        // What only removes isn't synced.
        if !write.insert.is_empty() || !write.notes.is_empty() {
            state.synced.queues.clone_from(&state.committed.queues);
            state.unsynced.drain(..).for_each(|write| state.synced.apply(&write, state.boot));
        }
        Ok(())
    }

    fn load(&self, load: &Load) -> Page {
        let state = self.disk.state.borrow();
        let first = load.after.map_or(0, |after| after + 1);
        let mut page = Page { rows: Vec::new(), complete: true };
        let mut bytes = 0;
        if first > load.until {
            return page;
        }
        for stored in state.committed.messages.range((load.queue, first)..=(load.queue, load.until)).map(|(_, it)| it) {
            if bytes >= load.max_bytes || page.rows.len() >= load.max_rows {
                page.complete = false;
                break;
            }
            bytes += stored.row.size();
            let mut row = stored.row.clone();
            if let (Accepted::ThisBoot(ms), true) = (row.accepted, stored.boot != state.boot) {
                let offset = state.committed.offsets.get(&stored.boot);
                let at = offset.map(|offset| offset.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)));
                row.accepted = Accepted::Earlier(at.and_then(|at| jiff::Timestamp::from_millisecond(at).ok()));
            }
            page.rows.push(row);
        }
        page
    }
}
