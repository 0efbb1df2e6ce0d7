//! What becomes of a document. Pure.

use std::time::Duration;

use super::Settings;
use crate::actions::{Done, Plan, ROTATE, RunsAs, Unplanned, Work, plan};

/// AWS's bounds of a step timer, in minutes.
const STEP_TIMER: std::ops::RangeInclusive<u64> = 1..=10080;

/// What becomes of a document.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Decision {
    Perform(Plan),
    /// No action takes it, and it goes to a program that reads `jobs.sock`.
    Offer,
    /// Why it isn't done.
    Reject(String),
    /// It may have been begun before, and nobody knows what became of it.
    Fail(String),
}

/// See [`Decision::of_one_announced`].
const UNKNOWN: &str = "interrupted: AWS was told that its action begins, and this gateway knows nothing of that any more. Its database was \
                       lost or damaged, or it was ended just then; the action may have run";

impl Decision {
    /// Of a job.
    pub(super) fn of_job(document: &str, settings: &Settings) -> Decision {
        let has_socket = settings.jobs.as_ref().is_some_and(|jobs| jobs.socket.is_some());
        match plan(document, &settings.actions) {
            Ok(plan) => Decision::Perform(plan),
            Err(Unplanned::NoAction(_)) if has_socket => Decision::Offer,
            Err(Unplanned::NoAction(fault) | Unplanned::Rejected(fault)) => Decision::Reject(fault.to_string()),
        }
    }

    /// Of a job of which AWS says that this gateway has announced the action, though nothing of that is on the disk: only what may be begun
    /// again is.
    pub(super) fn of_one_announced(self) -> Decision {
        let may_rerun = |work: &Work| match work {
            Work::Run { invocation, .. } => invocation.action().rerun,
            Work::Reload | Work::Diagnose | Work::Rotate => true,
        };
        match self {
            Decision::Perform(plan) if !plan.steps.iter().all(|step| may_rerun(&step.work)) => {
                Decision::Fail(UNKNOWN.to_owned())
            }
            other => other,
        }
    }

    /// Of a command.
    pub(super) fn of_command(payload: &str, settings: &Settings) -> Result<Plan, String> {
        let plan = plan(payload, &settings.actions)
            .map_err(|(Unplanned::NoAction(fault) | Unplanned::Rejected(fault))| fault.to_string())?;
        match plan.steps.iter().any(|step| step.work == Work::Rotate) {
            true => Err(format!("operation: {ROTATE} is for jobs: who makes the certificate asks for the job's id")),
            false => Ok(plan),
        }
    }
}

/// For how many minutes AWS may be without news of a plan: as long as it may take, and a minute more. `None`: nobody knows how long
/// it takes.
pub(super) fn step_minutes(plan: &Plan) -> Option<u32> {
    let timeout = |work: &Work| match work {
        // Download and program have that time each.
        Work::Run { invocation, download } if invocation.action().done == Done::Exit => {
            Some(invocation.action().timeout * if download.is_some() { 2 } else { 1 })
        }
        Work::Run { .. } => None,
        Work::Reload | Work::Diagnose => Some(Duration::from_secs(60)),
        // The result of one that has to go back may have to wait for the network.
        Work::Rotate => None,
    };
    // Each may take until it is killed.
    let each = |work| timeout(work).map(|timeout| timeout + Duration::from_secs(20));
    let all: Duration = plan.steps.iter().map(|step| each(&step.work)).sum::<Option<Duration>>()?;
    let minutes = (all.as_secs().div_ceil(60) + 1).clamp(*STEP_TIMER.start(), *STEP_TIMER.end());
    u32::try_from(minutes).ok()
}

/// Whether root runs a step of it.
pub(super) fn is_of_root(plan: &Plan, step: usize) -> bool {
    let work = plan.steps.get(step).map(|step| &step.work);
    matches!(work, Some(Work::Run { invocation, .. }) if invocation.action().runs_as == RunsAs::Root)
}

/// Whether what a step has begun goes on without the daemon: a reboot, or an upgrade of gatewire.
pub(super) fn goes_on_alone(plan: &Plan, step: usize) -> bool {
    let work = plan.steps.get(step).map(|step| &step.work);
    matches!(work, Some(Work::Run { invocation, .. }) if invocation.action().done != Done::Exit)
}

/// The action by which a plan is known: that of its first step.
pub(super) fn action_name(plan: &Plan) -> String {
    plan.steps.first().map(|step| step.work.action_name().to_owned()).unwrap_or_default()
}
