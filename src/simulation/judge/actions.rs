//! What is promised of jobs, commands and actions (docs/jobs.md), as far as AWS and the machine can tell.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Judge;
use crate::simulation::actions::{AGAIN, SOMETIMES, WITHOUT_AN_ACTION, WITHOUT_COMMANDS};
use crate::simulation::cloud::Cloud;
use crate::simulation::cloud::services::records::{Fact, Identity, Sent};
use crate::simulation::plan::HOUR;
use crate::simulation::plan::orders::{Asked, Expected};
use crate::simulation::programs::Run;
use crate::time;

/// From the end of a program until what it came to is on a disk that is in order.
const MOMENT: Duration = Duration::from_secs(10);

/// Another configuration counts after so long at the latest, and a disk that is in order again has what waited for it.
const SETTLES: Duration = Duration::from_secs(60);

/// After so long the daemon is back, connected and answered, whatever happens.
const COMES_BACK: Duration = Duration::from_secs(3 * 3600);

/// So many commands may be without an answer: what comes beyond is dropped.
const ANSWERED_AT_ONCE: usize = 32;

/// What may have come between the daemon and its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::simulation) enum Disturbance {
    ProcessEnds,
    Reload,
    Disk,
    /// The clock is set, or the machine was suspended.
    Clock,
}

/// What was asked for, and what happened meanwhile.
#[derive(Default)]
pub(in crate::simulation) struct OfActions {
    /// By the id of the job, or of the command's execution.
    asked: RefCell<BTreeMap<String, Asked>>,
    disturbances: RefCell<Vec<(Instant, Instant, Disturbance)>>,
    /// The numbers of the configurations, and since when.
    configured: RefCell<Vec<(Instant, usize)>>,
    starts: RefCell<Vec<Instant>>,
    boots: RefCell<Vec<Instant>>,
}

impl OfActions {
    pub(in crate::simulation) fn asks(&self, id: &str, asked: &Asked) {
        self.asked.borrow_mut().insert(id.to_owned(), asked.clone());
    }

    pub(in crate::simulation) fn disturbed(&self, by: Disturbance, lasts: Duration) {
        // A process that has ended has no part in what comes then.
        let settles = if by == Disturbance::ProcessEnds { Duration::ZERO } else { SETTLES };
        self.disturbances.borrow_mut().push((time::now(), time::now() + lasts + settles, by));
    }

    pub(in crate::simulation) fn configured(&self, number: usize) {
        self.configured.borrow_mut().push((time::now(), number));
    }

    pub(in crate::simulation) fn started(&self) {
        self.starts.borrow_mut().push(time::now());
    }

    pub(in crate::simulation) fn booted(&self) {
        self.boots.borrow_mut().push(time::now());
    }

    pub(super) fn starts(&self) -> Vec<Instant> {
        self.starts.borrow().clone()
    }

    /// How often the clock was set, or may have been wrong.
    pub(super) fn clock_changes(&self) -> usize {
        self.disturbances.borrow().iter().filter(|(_, _, what)| *what == Disturbance::Clock).count()
    }

    /// When a process of the daemon has ended first after that.
    fn first_end_after(&self, from: Instant) -> Option<Instant> {
        let disturbances = self.disturbances.borrow();
        let ends = disturbances.iter().filter(|(_, _, what)| *what == Disturbance::ProcessEnds);
        ends.map(|(at, ..)| *at).find(|at| *at >= from)
    }

    fn was_disturbed(&self, (from, to): (Instant, Instant), by: impl Fn(Disturbance) -> bool) -> bool {
        let disturbances = self.disturbances.borrow();
        disturbances.iter().any(|(since, until, what)| *since <= to && *until >= from && by(*what))
    }

    /// Whether the configuration in force certainly lacks the action that only some have.
    fn lacks_sometimes(&self) -> bool {
        let configured = self.configured.borrow();
        let is_without =
            |(since, number): &(Instant, usize)| *number == WITHOUT_AN_ACTION && *since + SETTLES <= time::now();
        configured.last().is_some_and(is_without)
    }

    /// Whether commands may not have been configured then: what comes by a kept session is acknowledged all the same.
    fn may_lack_commands(&self, at: Instant) -> bool {
        let configured = self.configured.borrow();
        let next = configured.iter().skip(1).map(|(since, _)| *since).chain([time::now()]);
        let mut in_force = configured.iter().zip(next);
        in_force.any(|((from, number), to)| *number == WITHOUT_COMMANDS && *from <= at + SETTLES && to + SETTLES >= at)
    }

    fn happened(times: &RefCell<Vec<Instant>>, from: Instant, to: Instant) -> bool {
        times.borrow().iter().any(|at| *at >= from && *at <= to)
    }
}

/// What has become of something that was asked for.
struct Case<'a> {
    judge: &'a Judge,
    name: String,
    asked: &'a Asked,
    runs: Vec<&'a Run>,
    /// When AWS had it first.
    from: Instant,
}

impl Judge {
    /// A program begins, besides those that were begun before.
    pub(in crate::simulation) fn begins(&self, run: &Run, before: &[Run]) {
        let Run { execution: (id, number), action, word, .. } = run;
        let name = format!("{action} {word} of {id}, execution {number},");
        let asked = self.actions.asked.borrow();
        let is_asked = asked
            .get(id)
            .is_some_and(|asked| asked.steps.iter().any(|step| step.action == action && step.word == *word));
        if !is_asked {
            self.violated(format!("{name} has begun, and nobody has asked for it"));
        }
        if let Some(other) = before.iter().find(|other| other.gone_at().is_none()) {
            self.violated(format!("{name} begins while {} of {:?} runs", other.word, other.execution));
        }
        let again = before.iter().filter(|other| other.execution == run.execution && other.word == *word);
        for other in again {
            let ended = other.gone_at().unwrap_or_else(time::now);
            // What it came to may not have been on the disk yet.
            let is_lost = other.was_interrupted() || self.actions.was_disturbed((ended, ended + MOMENT), |_| true);
            if action != AGAIN || !is_lost {
                self.violated(format!("{name} has begun twice"));
            }
        }
        if action == SOMETIMES && self.actions.lacks_sometimes() {
            self.violated(format!("{name} has begun, and isn't listed any more"));
        }
    }

    /// Everything has drained.
    pub(in crate::simulation) fn actions_at_the_end(&self, cloud: &Cloud, runs: &[Run], is_mqtt5: bool) {
        let (services, asked) = (cloud.services(), self.actions.asked.borrow());
        for fault in services.violations() {
            self.violated(format!("AWS: {fault}"));
        }
        let case = |identity: &Identity, from| {
            let runs = runs.iter().filter(|run| run.execution == *identity).collect();
            let name = format!("{}, execution {},", identity.0, identity.1);
            asked.get(&identity.0).map(|asked| Case { judge: self, name, asked, runs, from })
        };
        for (identity, facts) in &services.records().jobs {
            let Some(case) = case(identity, facts[0].at) else { continue };
            case.job(facts);
        }
        for (id, sent) in &services.records().commands {
            let Some(case) = case(&(id.clone(), 1), sent.at) else { continue };
            case.command(sent, is_mqtt5);
            if !sent.is_over {
                self.unanswered((id, sent), cloud, &case, is_mqtt5);
            }
        }
    }

    /// A command without a result, which may be right.
    fn unanswered(&self, (id, sent): (&str, &Sent), cloud: &Cloud, case: &Case<'_>, is_mqtt5: bool) {
        let acknowledged =
            |sent: &Sent| sent.places.iter().filter_map(|place| cloud.offered()[*place].acknowledged_at).min();
        let Some(came) = acknowledged(sent) else { return };
        let others = cloud.services().records().commands.values().filter_map(acknowledged);
        let at_once = others.filter(|at| *at <= came && came - *at <= 2 * HOUR).count();
        if at_once >= ANSWERED_AT_ONCE || self.actions.may_lack_commands(came) {
            return;
        }
        let is_clock = |what| what == Disturbance::Clock;
        if self.actions.was_disturbed((came, time::now()), is_clock) {
            // How old it is nobody knows then.
            return;
        }
        let is_certain = |run: &&Run| {
            let ended = run.gone_at().unwrap_or_else(time::now);
            !run.was_interrupted() && !self.actions.was_disturbed((ended, ended + MOMENT), |_| true)
        };
        let has_result = case.runs.iter().any(is_certain);
        // Interrupted, it is told only in its time, if it was told that.
        let told_until = if is_mqtt5 { sent.ends_at } else { came + 12 * HOUR };
        let interrupted = self.actions.first_end_after(came);
        if has_result || interrupted.is_none_or(|at| told_until > at + COMES_BACK) {
            self.violated(format!("{id} was acknowledged, and isn't answered: {:?}", sent.facts.last()));
        }
    }
}

impl Case<'_> {
    fn violated(&self, what: &str) {
        let runs: Vec<_> = self.runs.iter().map(|run| (&run.word, run.exit_code(), run.was_interrupted())).collect();
        self.judge.violated(format!("{} {what}; its programs: {runs:?}", self.name));
    }

    fn job(&self, facts: &[Fact]) {
        match facts.iter().find(|fact| fact.is_terminal()) {
            None => self.violated("isn't over"),
            Some(fact) if fact.by_client => self.result(&fact.status, fact.at),
            Some(fact) => {
                if let Some(run) = self.runs.iter().find(|run| run.begun > fact.at + SETTLES) {
                    self.violated(&format!("was {}, and {} has begun long after", fact.status, run.word));
                }
            }
        }
    }

    fn command(&self, sent: &Sent, is_mqtt5: bool) {
        let end = sent.facts.iter().find(|fact| fact.by_client && fact.status != "IN_PROGRESS");
        match (end, sent.reason.as_deref()) {
            (None, _) => {}
            // Its real age isn't told: it counts as old as the connection was down.
            (Some(_), Some("TOO_OLD")) if self.runs.is_empty() => {}
            (Some(fact), _) => self.result(&fact.status, fact.at),
        }
        if let Some(run) = self.runs.iter().find(|run| is_mqtt5 && run.begun > sent.ends_at + SETTLES) {
            self.violated(&format!("has begun with {}, and its time was over", run.word));
        }
    }

    /// The gateway has said that it has ended so.
    fn result(&self, status: &str, at: Instant) {
        if let Some(run) = self.runs.iter().find(|run| run.gone_at().is_none_or(|gone| gone > at)) {
            self.violated(&format!("was told as {status} while {} ran", run.word));
        }
        let expected = self.asked.expected;
        match status {
            "SUCCEEDED" if matches!(expected, Expected::Failure | Expected::Rejection) => {
                self.violated("was told as SUCCEEDED");
            }
            "SUCCEEDED" => self.has_succeeded(at),
            "FAILED" if expected == Expected::Success => self.has_failed(at),
            "FAILED" => {}
            // Of a command that waited for its turn, or of one of too many.
            "TIMED_OUT" | "REJECTED" if !self.runs.is_empty() => {
                self.violated(&format!("was told as {status}, and has begun"));
            }
            "REJECTED" | "TIMED_OUT" => {}
            other => self.violated(&format!("was told as {other}")),
        }
    }

    /// Each program has run, and has ended well.
    fn has_succeeded(&self, at: Instant) {
        for step in &self.asked.steps {
            let Some(run) = self.runs.iter().rev().find(|run| run.word == step.word) else {
                // One that couldn't be noted on the disk has failed.
                let is_disturbed = self.judge.actions.was_disturbed((self.from, at), |_| true);
                if !(is_disturbed && (step.may_fail || step.is_final)) {
                    self.violated(&format!("was told as SUCCEEDED, and {} has never run", step.word));
                }
                continue;
            };
            let actions = &self.judge.actions;
            let is_done = match step.action {
                "boot" => OfActions::happened(&actions.boots, run.begun, at),
                "upgrade" => OfActions::happened(&actions.starts, run.begun, at),
                _ => run.exit_code() == Some(0) || step.may_fail,
            };
            if !is_done {
                self.violated(&format!("was told as SUCCEEDED, and {} hasn't", step.word));
            }
        }
    }

    /// What would have succeeded hasn't: a program hasn't ended well, or something has come in between.
    fn has_failed(&self, at: Instant) {
        let may_fail = |word: &str| self.asked.steps.iter().any(|step| step.word == word && step.may_fail);
        if self.runs.iter().any(|run| run.exit_code() != Some(0) && !may_fail(&run.word)) {
            return;
        }
        let is_disturbed = |from, to| self.judge.actions.was_disturbed((from, to), |_| true);
        let has_all = self.runs.len() >= self.asked.steps.len();
        let last = self.runs.iter().filter_map(|run| run.gone_at()).max();
        let has_cause = match last.filter(|_| has_all) {
            Some(ended) => is_disturbed(ended, ended + MOMENT),
            None => is_disturbed(self.from, at),
        };
        if !has_cause {
            self.violated("was told as FAILED");
        }
    }
}
