//! Plans on a machine that does what each test says.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::actions::{Action, Run, RunsAs};
use crate::time;

/// A machine.
struct Scripted {
    life: Life,
    /// How the programs end, in their order; one for which there is none runs until it is cancelled.
    ends: RefCell<VecDeque<ProgramEnd>>,
    /// What was begun and noted, in their order.
    happened: RefCell<Vec<String>>,
    /// What was noted last.
    noted: RefCell<Option<Position>>,
    is_disk_full: Cell<bool>,
    is_connected: Cell<bool>,
    is_cancelled: Cell<bool>,
}

impl Scripted {
    fn new(ends: impl IntoIterator<Item = ProgramEnd>) -> Scripted {
        Scripted {
            life: life("boot", 1),
            ends: RefCell::new(ends.into_iter().collect()),
            happened: RefCell::default(),
            noted: RefCell::default(),
            is_disk_full: Cell::default(),
            is_connected: Cell::default(),
            is_cancelled: Cell::default(),
        }
    }

    fn happens(&self, what: String) {
        self.happened.borrow_mut().push(what);
    }

    fn take_happened(&self) -> Vec<String> {
        self.happened.take()
    }
}

async fn until(is_so: &Cell<bool>) {
    if !is_so.get() {
        std::future::pending::<()>().await;
    }
}

impl Host for Scripted {
    fn life(&self) -> Life {
        self.life.clone()
    }

    async fn note(&self, position: &Position) -> bool {
        self.happens(format!("note {} {:?}", position.step, position.stage));
        self.noted.replace(Some(position.clone()));
        !self.is_disk_full.get()
    }

    fn tell(&self, told: Told) {
        self.happens(format!("tell {}", told[1].1));
    }

    async fn run(&self, invocation: &Invocation, _: Option<&Path>) -> ProgramEnd {
        self.happens(format!("run {}", invocation.action().name));
        let ended = self.ends.borrow_mut().pop_front();
        match ended {
            Some(ended) => ended,
            None => {
                self.cancelled().await;
                ProgramEnd::silently(How::Cancelled)
            }
        }
    }

    async fn fetch(&self, _: usize, _: &Invocation, _: &Wanted) -> Result<PathBuf, String> {
        Err("there is no network".to_owned())
    }

    async fn reload(&self) -> Result<(), String> {
        Err("line 3 is wrong".to_owned())
    }

    fn diagnose(&self) -> Told {
        vec![("link", "up".to_owned())]
    }

    async fn rotate(&self) -> Result<(), String> {
        until(&self.is_connected).await;
        Err("the rotator says no".to_owned())
    }

    async fn connected(&self) {
        until(&self.is_connected).await;
    }

    async fn cancelled(&self) {
        until(&self.is_cancelled).await;
    }
}

fn life(boot: &str, process: u64) -> Life {
    Life { boot: boot.to_owned(), process }
}

fn exit(code: i32) -> ProgramEnd {
    ProgramEnd {
        stdout: "out".to_owned(),
        stderr: "err".to_owned(),
        stderr_lines: 3,
        ..ProgramEnd::silently(How::Exit(code))
    }
}

fn step(name: &str, change: impl FnOnce(&mut Action)) -> Step {
    let mut action = Action {
        name: name.to_owned(),
        handler: None,
        split: false,
        arguments: None,
        max_arguments: 8,
        run: Run { program: "/bin/true".to_owned(), words: Vec::new() },
        runs_as: RunsAs::Sandbox,
        timeout: Duration::from_secs(120),
        done: Done::Exit,
        rerun: false,
        report_output: false,
        download: None,
    };
    change(&mut action);
    let work = Work::Run { invocation: Invocation::new(&Arc::new(action), []).unwrap(), download: None };
    Step {
        name: name.to_owned(),
        work,
        ignores_failure: false,
        shows_stdout: false,
        allowed_stderr_lines: None,
        is_final: false,
    }
}

fn plain(name: &str) -> Step {
    step(name, |_| {})
}

async fn perform(host: &Scripted, steps: Vec<Step>, noted: Option<&Position>) -> Performed {
    let (plan, execution) = (Plan { steps }, ExecutionId::new("job", 1).unwrap());
    Performing { plan: &plan, execution: &execution, host }.perform(noted).await
}

fn value<'a>(performed: &'a Performed, key: &str) -> Option<&'a str> {
    performed.told.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str())
}

#[tokio::test(start_paused = true)]
async fn each_step_is_noted_before_it_begins_and_the_first_failure_that_counts_ends_it() {
    let host = Scripted::new([exit(0), exit(3), exit(4), exit(0)]);
    let mut steps = vec![plain("a"), plain("b"), plain("c"), plain("d")];
    steps[1].ignores_failure = true;
    let performed = perform(&host, steps, None).await;
    assert!(!performed.has_succeeded);
    let told = [value(&performed, "action"), value(&performed, "step"), value(&performed, "exit_code")];
    assert_eq!(told, [Some("c"), Some("c"), Some("4")]);
    let expected = ["note 0 Begun", "run a", "tell b", "note 1 Begun", "run b", "tell c", "note 2 Begun", "run c"];
    assert_eq!(host.take_happened(), expected);
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_that_can_not_be_noted() {
    let host = Scripted::new([exit(0)]);
    host.is_disk_full.set(true);
    let performed = perform(&host, vec![plain("a")], None).await;
    assert!(!performed.has_succeeded && value(&performed, "reason").unwrap().contains("noted on the disk"));
    assert_eq!(host.take_happened(), ["note 0 Begun"]);
}

#[tokio::test(start_paused = true)]
async fn output_is_told_only_where_that_is_wanted() {
    for (reports, shows, stdout, stderr) in
        [(false, false, None, None), (true, false, Some("out"), Some("err")), (false, true, Some("out"), None)]
    {
        let host = Scripted::new([exit(0)]);
        let mut step = step("a", |action| action.report_output = reports);
        step.shows_stdout = shows;
        let performed = perform(&host, vec![step], None).await;
        assert_eq!((value(&performed, "stdout"), value(&performed, "stderr")), (stdout, stderr));
    }
}

#[tokio::test(start_paused = true)]
async fn more_lines_on_stderr_than_the_document_allows_are_a_failure() {
    for (allowed, has_succeeded) in [(None, true), (Some(3), true), (Some(2), false)] {
        let host = Scripted::new([exit(0)]);
        let mut step = plain("a");
        step.allowed_stderr_lines = allowed;
        let performed = perform(&host, vec![step], None).await;
        assert_eq!(performed.has_succeeded, has_succeeded, "{performed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_boot_is_waited_for_and_nothing_else_begins_until_then() {
    let steps = || vec![step("reboot", |action| action.done = Done::AfterBoot), plain("next")];
    let (host, begun) = (Scripted::new([exit(0)]), time::now());
    let performed = perform(&host, steps(), None).await;
    assert!(value(&performed, "reason").unwrap().contains("wasn't started anew within 2m"), "{performed:?}");
    assert_eq!(time::since(begun), Duration::from_secs(120));
    assert_eq!(host.take_happened(), ["note 0 Begun", "run reboot", "note 0 Exited"]);
    // It fails at once if its program does.
    let host = Scripted::new([exit(1)]);
    assert_eq!(value(&perform(&host, steps(), None).await, "exit_code"), Some("1"));
    // In the next boot it is done, and the next begins.
    let noted =
        Position { execution: "job:1".to_owned(), step: 0, stage: Stage::Begun, life: life("before", 0), begun: 1 };
    let host = Scripted::new([exit(0)]);
    assert!(perform(&host, steps(), Some(&noted)).await.has_succeeded);
    assert_eq!(host.take_happened(), ["tell next", "note 1 Begun", "run next"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_gatewire_that_is_connected_is_what_an_upgrade_waits_for() {
    let steps = || vec![step("upgrade", |action| action.done = Done::AfterRestart)];
    let performed = perform(&Scripted::new([exit(0)]), steps(), None).await;
    assert!(value(&performed, "reason").unwrap().contains("no new gatewire"), "not by the one that began it");
    let noted =
        Position { execution: "job:1".to_owned(), step: 0, stage: Stage::Begun, life: life("boot", 0), begun: 1 };
    let host = Scripted::new([]);
    host.is_connected.set(true);
    assert!(perform(&host, steps(), Some(&noted)).await.has_succeeded);
    assert_eq!(host.take_happened(), Vec::<String>::new());
    // A reload with other services has what is done begin anew, in the same process.
    let own = Position { life: host.life(), ..noted };
    assert!(!perform(&host, steps(), Some(&own)).await.has_succeeded, "it is the one that began it");
}

#[tokio::test(start_paused = true)]
async fn what_was_interrupted_fails_or_begins_again() {
    let noted =
        Position { execution: "job:1".to_owned(), step: 0, stage: Stage::Begun, life: life("boot", 0), begun: 1 };
    for rerun in [false, true] {
        let host = Scripted::new([exit(0)]);
        let performed = perform(&host, vec![step("a", |action| action.rerun = rerun)], Some(&noted)).await;
        assert_eq!(performed.has_succeeded, rerun);
        assert_eq!(host.take_happened().contains(&"run a".to_owned()), rerun);
        assert_eq!(value(&performed, "reason").is_some_and(|reason| reason.contains("interrupted")), !rerun);
    }
}

#[tokio::test(start_paused = true)]
async fn what_ends_gatewire_each_time_is_not_begun_for_ever() {
    let (mut noted, mut begun) = (None, 0);
    let performed = loop {
        let host = Scripted::new([]);
        let steps = vec![step("a", |action| action.rerun = true)];
        let life = tokio::time::timeout(Duration::from_secs(1), perform(&host, steps, noted.as_ref())).await;
        if let Ok(performed) = life {
            break performed;
        }
        begun += 1;
        noted = host.noted.take();
    };
    assert_eq!(begun, MAX_BEGUN);
    assert!(value(&performed, "reason").unwrap().contains("begun 4 times"), "{performed:?}");
    assert!(performed.was_interrupted && !performed.has_succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_execution_ends_wherever_it_is() {
    let of = |done| vec![step("a", |action| action.done = done), plain("b")];
    for (ends, steps) in [(vec![], of(Done::Exit)), (vec![exit(0)], of(Done::AfterBoot))] {
        let host = Scripted::new(ends);
        host.is_cancelled.set(true);
        let performed = perform(&host, steps, None).await;
        assert!(!performed.has_succeeded && value(&performed, "reason").unwrap().contains("cancelled"));
        assert!(!host.take_happened().contains(&"run b".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_built_in_needs_no_program() {
    let built_in = |work| vec![Step { work, ..plain("x") }];
    let performed = perform(&Scripted::new([]), built_in(Work::Diagnose), None).await;
    assert_eq!((performed.has_succeeded, value(&performed, "link")), (true, Some("up")));
    let performed = perform(&Scripted::new([]), built_in(Work::Reload), None).await;
    assert_eq!((performed.has_succeeded, value(&performed, "reason")), (false, Some("line 3 is wrong")));
}
