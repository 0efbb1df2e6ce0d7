//! The programs that actions run, as this machine would run them: they take their time, end or hang, and go on when the daemon is
//! killed. What each does stands in its argument ([`Fate`]).

mod fate;

use std::cell::{Cell, Ref, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::sleep;

use super::judge::Judge;
use crate::actions::{ExecutionId, How, Invocation, ProgramEnd};
use crate::executions::programs::{Fetching, Local, Programs};
use crate::time;
pub(super) use fate::Fate;

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

/// To look for processes, and for one to end that does so when it is told to.
const MOMENT: Duration = Duration::from_millis(50);

/// A program that was started.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// The id of a job or a command's execution, and its number.
    pub(super) execution: (String, i64),
    pub(super) action: String,
    /// Its argument.
    pub(super) word: String,
    pub(super) begun: Instant,
    /// When it ends by itself.
    ends_at: Option<Instant>,
    pub(super) end: Option<End>,
    /// The daemon has gone, and it goes on.
    pub(super) is_left: bool,
}

/// How a program has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) at: Instant,
    /// The daemon has seen it end: with this exit code, or `None` because it was ended for its time, or as nobody wanted it any more.
    pub(super) seen: Option<Option<i32>>,
}

impl Run {
    /// When it was gone, if it is by now.
    pub(super) fn gone_at(&self) -> Option<Instant> {
        let by_itself = self.ends_at.filter(|at| self.is_left && *at <= time::now());
        [self.end.map(|end| end.at), by_itself].into_iter().flatten().min()
    }

    /// The daemon doesn't know how it has ended.
    pub(super) fn was_interrupted(&self) -> bool {
        self.is_left || self.end.is_some_and(|end| end.seen.is_none())
    }

    /// Its exit code, as the daemon has seen it.
    pub(super) fn exit_code(&self) -> Option<i32> {
        self.end.and_then(|end| end.seen).flatten()
    }
}

/// What a program has the machine do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Reboot,
    RestartDaemon,
}

#[derive(Default)]
struct State {
    boot: u64,
    runs: Vec<Run>,
    wishes: Vec<Wish>,
}

/// All programs of the machine.
#[derive(Clone)]
pub(super) struct ProgramTable {
    state: Rc<RefCell<State>>,
    wished: Rc<Notify>,
    judge: Rc<Judge>,
}

impl ProgramTable {
    pub(super) fn new(judge: &Rc<Judge>) -> ProgramTable {
        ProgramTable { state: Rc::default(), wished: Rc::default(), judge: Rc::clone(judge) }
    }

    /// All that were started, in order.
    pub(super) fn runs(&self) -> Ref<'_, Vec<Run>> {
        Ref::map(self.state.borrow(), |state| &state.runs)
    }

    /// How many run.
    pub(super) fn running(&self) -> usize {
        self.runs().iter().filter(|run| run.gone_at().is_none()).count()
    }

    /// The machine has no power any more, and boots.
    pub(super) fn boot(&self) {
        let state = &mut *self.state.borrow_mut();
        state.boot += 1;
        for run in state.runs.iter_mut().filter(|run| run.gone_at().is_none()) {
            run.end = Some(End { at: time::now(), seen: None });
        }
    }

    /// The next wish of a program.
    pub(super) async fn wish(&self) -> Wish {
        loop {
            let wish = self.state.borrow_mut().wishes.pop();
            if let Some(wish) = wish {
                return wish;
            }
            self.wished.notified().await;
        }
    }

    fn begin(&self, run: Run) -> usize {
        self.judge.note(format!("begins {:?} {} {}", run.execution, run.action, run.word));
        self.judge.begins(&run, &self.runs());
        let state = &mut *self.state.borrow_mut();
        state.runs.push(run);
        state.runs.len() - 1
    }

    fn end(&self, run: usize, seen: Option<Option<i32>>) {
        let run = &mut self.state.borrow_mut().runs[run];
        self.judge.note(format!("ends {:?} {}: {seen:?}", run.execution, run.word));
        run.end = run.end.or(Some(End { at: time::now(), seen }));
    }

    /// What the daemon starts programs by, as long as it isn't `killed`.
    pub(super) fn of_process(&self, is_killed: &Rc<Cell<bool>>) -> Rc<dyn Programs> {
        Rc::new(OfProcess { table: self.clone(), is_killed: Rc::clone(is_killed) })
    }
}

/// See [`ProgramTable::of_process`].
struct OfProcess {
    table: ProgramTable,
    is_killed: Rc<Cell<bool>>,
}

/// A program that the daemon waits for. Dropped, it is ended, unless the daemon was killed: then it goes on.
struct Waited<'a> {
    of: &'a OfProcess,
    run: usize,
    is_over: bool,
}

impl Waited<'_> {
    fn ended(mut self, code: Option<i32>) {
        self.is_over = true;
        self.of.table.end(self.run, Some(code));
    }
}

impl Drop for Waited<'_> {
    fn drop(&mut self) {
        match self.of.is_killed.get() {
            _ if self.is_over => {}
            true => self.of.table.state.borrow_mut().runs[self.run].is_left = true,
            false => self.of.table.end(self.run, None),
        }
    }
}

/// The id and the number, without the daemon's.
fn identity(execution: &ExecutionId) -> (String, i64) {
    let text = execution.to_string();
    let number = text.split(':').nth(1).and_then(|number| number.parse().ok());
    (execution.job().to_owned(), number.unwrap_or_default())
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

impl Programs for OfProcess {
    fn boot_id(&self) -> String {
        self.table.state.borrow().boot.to_string()
    }

    fn run<'a>(
        &'a self,
        invocation: &'a Invocation,
        _: Option<&'a Path>,
        execution: &'a ExecutionId,
        mut cancelled: Local<'a, ()>,
    ) -> Local<'a, ProgramEnd> {
        Box::pin(async move {
            tokio::select! {
                biased;
                () = &mut cancelled => return ProgramEnd::silently(How::Cancelled),
                () = std::future::ready(()) => {}
            }
            let action = invocation.action();
            let word = invocation.arguments().first().cloned().unwrap_or_default();
            let fate = Fate::read(&word);
            let ends_at = fate.lasts.map(|lasts| time::now() + lasts);
            let (action_name, begun) = (action.name.clone(), time::now());
            let execution = identity(execution);
            let run = Run { execution, action: action_name, word, begun, ends_at, end: None, is_left: false };
            let waited = Waited { of: self, run: self.table.begin(run), is_over: false };
            let how = tokio::select! {
                biased;
                () = until(ends_at) => How::Exit(fate.code),
                () = cancelled => How::Cancelled,
                () = sleep(action.timeout) => How::TimedOut,
            };
            if let How::Exit(code) = how {
                if let Some(wish) = fate.wish {
                    self.table.state.borrow_mut().wishes.push(wish);
                    self.table.wished.notify_one();
                }
                waited.ended(Some(code));
            } else {
                sleep(if fate.is_stubborn { GRACE } else { MOMENT }).await;
                waited.ended(None);
            }
            ProgramEnd::silently(how)
        })
    }

    fn fetch<'a>(&'a self, file: Fetching<'a>, progress: &'a dyn Fn(String)) -> Local<'a, Result<PathBuf, String>> {
        Box::pin(async move {
            let fate = Fate::read(file.wanted.url.target().expose().rsplit('/').next().unwrap_or_default());
            for tenth in 0..10 {
                progress(format!("{tenth}0% of 12 MiB"));
                sleep(fate.lasts.unwrap_or(file.timeout) / 10).await;
            }
            match fate.lasts.is_some() && fate.code == 0 {
                true => Ok(file.directory.join("file")),
                false => Err("downloading: the server said 404".to_owned()),
            }
        })
    }

    fn clean<'a>(&'a self, _: &'a Path, _: Option<&'a ExecutionId>) -> Local<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    fn end_leftover<'a>(&'a self, execution: &'a ExecutionId, _: bool) -> Local<'a, Result<(), String>> {
        let execution = identity(execution);
        Box::pin(async move {
            sleep(MOMENT).await;
            let is_it = |run: &Run| run.execution == execution && run.gone_at().is_none();
            if self.table.runs().iter().any(|run| is_it(run) && Fate::read(&run.word).is_stubborn) {
                sleep(GRACE).await;
            }
            let state = &mut *self.table.state.borrow_mut();
            for run in state.runs.iter_mut().filter(|run| is_it(run)) {
                run.end = Some(End { at: time::now(), seen: None });
            }
            Ok(())
        })
    }
}
