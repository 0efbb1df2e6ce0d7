//! Doing what a plan says, step by step. What a step needs of the machine and the daemon is its [`Host`]'s.

use std::future::Future;
use std::path::{Path, PathBuf};

use super::position::{GoOn, Life, MAX_BEGUN, Position, Stage, go_on};
use super::{Action, Done, ExecutionId, How, Invocation, Plan, ProgramEnd, ROTATE, Step, Wanted, Work};
use crate::duration::written;
use crate::services::jobs::CERTIFICATE_ROTATOR;

/// What a plan needs of the machine and of the daemon, for one execution.
pub(crate) trait Host {
    /// This boot and this process.
    fn life(&self) -> Life;

    /// Notes how far the plan is. Whether it is on the disk.
    fn note(&self, position: &Position) -> impl Future<Output = bool>;

    /// Tells how far it is, beside its status.
    fn tell(&self, told: Told);

    /// Runs the program of an action; it is ended when the execution is cancelled.
    fn run(&self, invocation: &Invocation, download: Option<&Path>) -> impl Future<Output = ProgramEnd>;

    /// Fetches a file for an action: its path, or why it can't be had.
    fn fetch(
        &self,
        step: usize,
        invocation: &Invocation,
        wanted: &Wanted,
    ) -> impl Future<Output = Result<PathBuf, String>>;

    /// Has the configuration read again: what is wrong with it, if it is refused.
    fn reload(&self) -> impl Future<Output = Result<(), String>>;

    /// What is to be known of this gateway, by name.
    fn diagnose(&self) -> Told;

    /// Gets another certificate: why there is none, if so. Dropped, it goes on as far as it has to.
    fn rotate(&self) -> impl Future<Output = Result<(), String>>;

    /// Completes once there is a connection to IoT Core.
    fn connected(&self) -> impl Future<Output = ()>;

    /// Completes when nobody wants it any more.
    fn cancelled(&self) -> impl Future<Output = ()>;
}

/// What is told of an execution: the pairs of its `statusDetails`.
pub(crate) type Told = Vec<(&'static str, String)>;

/// How a plan has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Performed {
    pub(crate) has_succeeded: bool,
    /// It has failed because an earlier process was ended in the middle of it.
    pub(crate) was_interrupted: bool,
    pub(crate) told: Told,
}

/// How a step has ended: succeeded, or failed, with what is told of it.
type Outcome = Result<Told, Told>;

/// The keys of `statusDetails`.
pub(crate) const ACTION: &str = "action";
pub(crate) const STEP: &str = "step";
pub(crate) const REASON: &str = "reason";
const EXIT_CODE: &str = "exit_code";

/// Of a step whose daemon was ended while it ran.
pub(crate) const INTERRUPTED: &str =
    "interrupted: gatewire was ended while it ran (`rerun = true` would begin it again)";

const CANCELLED: &str = "cancelled";

/// A plan, of one execution.
pub(crate) struct Performing<'a, H> {
    pub(crate) plan: &'a Plan,
    pub(crate) execution: &'a ExecutionId,
    pub(crate) host: &'a H,
}

impl<H: Host> Performing<'_, H> {
    /// Does it, from where it was `noted` to be. What an earlier process has left running of it must have been ended before.
    pub(crate) async fn perform(&self, noted: Option<&Position>) -> Performed {
        let here = self.host.life();
        let from = go_on(self.plan, &self.execution.to_string(), noted, &here);
        // After a reload with other services it is the same.
        let is_another = noted.is_some_and(|noted| noted.life.process != here.process);
        let (GoOn::Begin(first) | GoOn::Await(first) | GoOn::Done(first) | GoOn::Interrupted(first)) = from;
        let was_interrupted = matches!(from, GoOn::Interrupted(_));
        let noted = noted.filter(|noted| noted.execution == self.execution.to_string());
        let (mut last, mut all_succeeded) = (Told::new(), true);
        for (number, step) in self.plan.steps.iter().enumerate().skip(first) {
            if step.is_final && !all_succeeded {
                break;
            }
            let ended = match if number == first { from } else { GoOn::Begin(number) } {
                GoOn::Begin(_) => self.step(number, step, begun(noted, number)).await,
                GoOn::Await(_) => self.until_done(step, is_another).await,
                GoOn::Done(_) => Ok(Told::new()),
                GoOn::Interrupted(_) if begun(noted, number) >= MAX_BEGUN => Err(reason(&interrupted_too_often())),
                GoOn::Interrupted(_) => Err(reason(INTERRUPTED)),
            };
            let has_failed = ended.is_err();
            all_succeeded &= !has_failed;
            let (Ok(told) | Err(told)) = ended;
            last = named(step).into_iter().chain(told).collect();
            if has_failed && !step.ignores_failure {
                let was_interrupted = was_interrupted && number == first;
                return Performed { has_succeeded: false, was_interrupted, told: last };
            }
        }
        Performed { has_succeeded: true, was_interrupted: false, told: last }
    }

    /// `begun` is how often it was begun before.
    async fn step(&self, number: usize, step: &Step, begun: u32) -> Outcome {
        if number > 0 {
            self.host.tell(named(step));
        }
        match &step.work {
            Work::Run { invocation, download: None } => self.program(number, step, begun, invocation, None).await,
            Work::Run { invocation, download: Some(wanted) } => {
                let path = self.fetch(number, invocation, wanted).await?;
                self.program(number, step, begun, invocation, Some(&path)).await
            }
            Work::Reload => self.host.reload().await.map(|()| Told::new()).map_err(|why| reason(&why)),
            Work::Diagnose => Ok(self.host.diagnose()),
            Work::Rotate => tokio::select! {
                biased;
                () = self.host.cancelled() => Err(reason(CANCELLED)),
                rotated = self.host.rotate() => rotated.map(|()| Told::new()).map_err(|why| reason(&why)),
            },
        }
    }

    async fn fetch(&self, step: usize, invocation: &Invocation, wanted: &Wanted) -> Result<PathBuf, Told> {
        tokio::select! {
            biased;
            () = self.host.cancelled() => Err(reason(CANCELLED)),
            path = self.host.fetch(step, invocation, wanted) => path.map_err(|why| reason(&why)),
        }
    }

    async fn program(
        &self,
        number: usize,
        step: &Step,
        begun: u32,
        invocation: &Invocation,
        download: Option<&Path>,
    ) -> Outcome {
        let (execution, life) = (self.execution.to_string(), self.host.life());
        let mut position =
            Position { execution, step: number, stage: Stage::Begun, life, begun: begun.saturating_add(1) };
        if !self.host.note(&position).await {
            return Err(reason("it can't be noted on the disk that it is begun"));
        }
        let ended = self.host.run(invocation, download).await;
        let told = told(step, invocation, &ended);
        if !ended.is_success() || has_too_many_lines(step, &ended) {
            return Err(told);
        }
        if invocation.action().done == Done::Exit {
            return Ok(told);
        }
        position.stage = Stage::Exited;
        // If it can't be noted, it is as if it hadn't exited yet.
        self.host.note(&position).await;
        self.until_done(step, false).await
    }

    /// A boot, or a restart of gatewire, is waited for, from now on for the action's `timeout`. It may be this process, `is_another`
    /// than the one that has begun the step, that is waited for: then it only has to be connected.
    async fn until_done(&self, step: &Step, is_another: bool) -> Outcome {
        let Work::Run { invocation, .. } = &step.work else { return Ok(Told::new()) };
        let action = invocation.action();
        let is_this = action.done == Done::AfterRestart && is_another;
        let missing = match action.done {
            Done::AfterRestart => "no new gatewire was connected",
            Done::AfterBoot | Done::Exit => "the machine wasn't started anew",
        };
        tokio::select! {
            biased;
            () = self.host.cancelled() => Err(reason(CANCELLED)),
            () = self.host.connected(), if is_this => Ok(Told::new()),
            () = tokio::time::sleep(action.timeout), if !is_this => {
                Err(reason(&format!("{missing} within {} (`timeout`)", written(action.timeout))))
            }
        }
    }
}

fn interrupted_too_often() -> String {
    format!(
        "interrupted: it was begun {MAX_BEGUN} times, and each time gatewire was ended while it ran. If it restarts gatewire or the machine \
         by itself, it needs `done`"
    )
}

/// How often a step was begun, as it is noted.
fn begun(noted: Option<&Position>, step: usize) -> u32 {
    noted.filter(|noted| noted.step == step).map_or(0, |noted| noted.begun.max(1))
}

fn told(step: &Step, invocation: &Invocation, ended: &ProgramEnd) -> Told {
    let mut told = Told::new();
    match &ended.how {
        How::Exit(code) => told.push((EXIT_CODE, code.to_string())),
        other => {
            let Action { name, run, .. } = &**invocation.action();
            let limit = match other {
                How::TimedOut => format!(" (`timeout` {})", written(invocation.action().timeout)),
                _ => String::new(),
            };
            told.push((REASON, format!("{} (`run` of the action {name}) {other}{limit}", run.program)));
        }
    }
    if ended.is_success() && has_too_many_lines(step, ended) {
        let allowed = step.allowed_stderr_lines.unwrap_or(0);
        told.push((REASON, format!("it wrote {} lines on stderr, the document allows {allowed}", ended.stderr_lines)));
    }
    let reports = invocation.action().report_output;
    if reports || step.shows_stdout {
        told.push(("stdout", ended.stdout.clone()));
    }
    if reports {
        told.push(("stderr", ended.stderr.clone()));
    }
    told
}

fn has_too_many_lines(step: &Step, ended: &ProgramEnd) -> bool {
    step.allowed_stderr_lines.is_some_and(|allowed| ended.stderr_lines > u64::from(allowed))
}

fn reason(why: &str) -> Told {
    vec![(REASON, why.to_owned())]
}

/// What each step is told with.
pub(crate) fn named(step: &Step) -> Told {
    let mut told = vec![(ACTION, step.work.action_name().to_owned()), (STEP, step.name.clone())];
    if step.work == Work::Rotate {
        told.push((CERTIFICATE_ROTATOR, "true".to_owned()));
    }
    told
}

impl Work {
    /// Of the action, or of what is built in.
    pub(crate) fn action_name(&self) -> &str {
        match self {
            Work::Run { invocation, .. } => &invocation.action().name,
            Work::Reload => "gatewire:reload",
            Work::Diagnose => "gatewire:diagnose",
            Work::Rotate => ROTATE,
        }
    }
}

#[cfg(test)]
mod tests;
