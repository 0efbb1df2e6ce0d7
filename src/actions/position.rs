//! How far a plan is, as it is noted on the disk, and where it goes on after the daemon was ended in the middle. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Done, Plan, Work};

/// This boot of the machine, and this process of gatewire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Life {
    /// `/proc/sys/kernel/random/boot_id`
    pub(crate) boot: String,
    /// Another at each start of the daemon.
    pub(crate) process: u64,
}

/// What is noted before a step begins, and when its program has exited and more is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// `JOBID:NUMBER:DAEMON`
    pub(crate) execution: String,
    /// From 0.
    pub(crate) step: usize,
    pub(crate) stage: Stage,
    /// In which it was noted first.
    pub(crate) life: Life,
    /// How often the step was begun.
    #[serde(default)]
    pub(crate) begun: u32,
}

/// Those of all executions that may have begun and aren't over, by their names. They are one note: what is noted of one says nothing of
/// another, and nothing of any is forgotten for another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Positions(BTreeMap<String, Position>);

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stage {
    /// It may have begun, and isn't known to have ended.
    Begun,
    /// Its program has exited with 0; a boot or a restart is waited for (`done`).
    Exited,
    /// No action took the document: a program at `jobs.sock` may have been given it, and nobody knows how far that is.
    Offered,
}

/// How often a step is begun at most: one that ends gatewire or the machine by itself would do so for ever.
pub(crate) const MAX_BEGUN: u32 = 4;

/// Where a plan goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GoOn {
    /// This step begins, for the first time or again.
    Begin(usize),
    /// This step is done once the machine has booted, or a new gatewire is connected.
    Await(usize),
    /// What this step waited for has come: it has succeeded.
    Done(usize),
    /// This step was interrupted, and isn't to be begun again.
    Interrupted(usize),
}

impl Positions {
    /// Reads a note. One that can't be read is as good as none.
    pub(crate) fn read(note: &str) -> Positions {
        serde_json::from_str(note).unwrap_or_default()
    }

    /// The note.
    pub(crate) fn text(&self) -> String {
        // Strings and numbers: nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(crate) fn of(&self, execution: &str) -> Option<&Position> {
        self.0.get(execution)
    }

    pub(crate) fn note(&mut self, position: Position) {
        self.0.insert(position.execution.clone(), position);
    }

    /// The execution is over.
    pub(crate) fn forget(&mut self, execution: &str) {
        self.0.remove(execution);
    }

    /// Whether an execution is still of interest, it says itself.
    pub(crate) fn retain(&mut self, is_open: impl Fn(&str) -> bool) {
        self.0.retain(|execution, _| is_open(execution));
    }
}

/// Where the plan of `execution` goes on: what is `noted` may be of another, which is over.
pub(crate) fn go_on(plan: &Plan, execution: &str, noted: Option<&Position>, here: &Life) -> GoOn {
    let Some(noted) = noted.filter(|noted| noted.execution == execution) else { return GoOn::Begin(0) };
    let step = noted.step;
    if noted.stage == Stage::Offered {
        return GoOn::Interrupted(step);
    }
    let Some(Work::Run { invocation, .. }) = plan.steps.get(step).map(|step| &step.work) else {
        // What is built in may be done twice; a plan that has become shorter is another.
        return if step < plan.steps.len() { GoOn::Begin(step) } else { GoOn::Interrupted(step) };
    };
    let action = invocation.action();
    match action.done {
        Done::AfterBoot if noted.life.boot != here.boot => GoOn::Done(step),
        Done::AfterBoot | Done::AfterRestart => GoOn::Await(step),
        Done::Exit if action.rerun && noted.begun < MAX_BEGUN => GoOn::Begin(step),
        Done::Exit => GoOn::Interrupted(step),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::actions::{Action, Invocation, Run, RunsAs, Step};

    fn step(done: Done, rerun: bool) -> Step {
        let run = Run { program: "/bin/true".to_owned(), words: Vec::new() };
        let action = Action {
            name: "a".to_owned(),
            handler: None,
            split: false,
            arguments: None,
            max_arguments: 8,
            run,
            runs_as: RunsAs::Sandbox,
            timeout: Duration::from_secs(1),
            done,
            rerun,
            report_output: false,
            download: None,
        };
        let invocation = Invocation::new(&Arc::new(action), []).unwrap();
        Step {
            name: "a".to_owned(),
            work: Work::Run { invocation, download: None },
            ignores_failure: false,
            shows_stdout: false,
            allowed_stderr_lines: None,
            is_final: false,
        }
    }

    fn life(boot: &str, process: u64) -> Life {
        Life { boot: boot.to_owned(), process }
    }

    #[test]
    fn it_goes_on_where_it_was() {
        let plan =
            |done, rerun| Plan { steps: vec![step(Done::Exit, false), step(done, rerun), step(Done::Exit, false)] };
        let noted = |stage| Position { execution: "j:1".to_owned(), step: 1, stage, life: life("x", 1), begun: 1 };
        let (begun, exited) = (noted(Stage::Begun), noted(Stage::Exited));
        let often = |times| Position { begun: times, ..begun.clone() };
        let (thrice, too_often) = (often(MAX_BEGUN - 1), often(MAX_BEGUN));
        let (restarted, booted) = (life("x", 2), life("y", 2));
        let rows = [
            (Done::Exit, false, &begun, &restarted, GoOn::Interrupted(1)),
            (Done::Exit, false, &begun, &booted, GoOn::Interrupted(1)),
            (Done::Exit, true, &begun, &restarted, GoOn::Begin(1)),
            (Done::Exit, true, &thrice, &booted, GoOn::Begin(1)),
            (Done::Exit, true, &too_often, &booted, GoOn::Interrupted(1)),
            (Done::AfterBoot, false, &begun, &restarted, GoOn::Await(1)),
            (Done::AfterBoot, false, &exited, &restarted, GoOn::Await(1)),
            (Done::AfterBoot, false, &begun, &booted, GoOn::Done(1)),
            (Done::AfterRestart, false, &begun, &restarted, GoOn::Await(1)),
            (Done::AfterRestart, false, &exited, &booted, GoOn::Await(1)),
        ];
        for (done, rerun, position, here, expected) in rows {
            assert_eq!(go_on(&plan(done, rerun), "j:1", Some(position), here), expected, "{done:?} {position:?}");
            assert_eq!(go_on(&plan(done, rerun), "j:2", Some(position), here), GoOn::Begin(0), "of another");
        }
        assert_eq!(go_on(&plan(Done::Exit, false), "j:1", None, &restarted), GoOn::Begin(0));
    }

    #[test]
    fn what_is_noted_of_one_execution_says_nothing_of_another() {
        let noted = |execution: &str| Position {
            execution: execution.to_owned(),
            step: 2,
            stage: Stage::Exited,
            life: life("x", 1),
            begun: 1,
        };
        let mut positions = Positions::default();
        positions.note(noted("job:1"));
        positions.note(noted("command:1"));
        let read = Positions::read(&positions.text());
        assert_eq!((read.of("job:1"), read.of("job:2")), (Some(&noted("job:1")), None));
        positions.forget("command:1");
        assert_eq!((positions.of("command:1"), positions.of("job:1")), (None, Some(&noted("job:1"))));
        positions.retain(|execution| execution != "job:1");
        assert_eq!(positions, Positions::default());
        assert_eq!(Positions::read("not one"), Positions::default());
    }
}
