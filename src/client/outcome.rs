//! What became of the steps of `gatewire check --connect`.

use super::Failure;

/// What became of a step.
#[derive(Debug)]
pub(crate) enum StepOutcome {
    /// What was found, in one line.
    Passed(String),
    /// Something to know, in one line, that isn't a failure.
    Note(String),
    Failed(Failure),
}

/// Takes the outcome of each step as it comes.
pub(crate) type StepReport<'a> = &'a mut dyn FnMut(StepOutcome);
