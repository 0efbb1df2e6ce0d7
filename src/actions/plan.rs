//! What a job document comes to.

use std::fmt;

use super::{Invocation, Url};

/// What is to be done for a job, in this order, until a step fails whose failure counts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// 1 to 20, and perhaps AWS's final step behind them: that is only done if all before it have succeeded.
    pub(crate) steps: Vec<Step>,
}

/// A step of a plan.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    /// What the document calls it, safe to show; in the flat form the operation.
    pub(crate) name: String,
    pub(crate) work: Work,
    /// The next step is done even if this one has failed.
    pub(crate) ignores_failure: bool,
    /// The document wants the end of stdout told to AWS, as `report_output` of the action does.
    pub(crate) shows_stdout: bool,
    /// With more lines on stderr the step has failed, whatever the exit code; `None`: they don't count.
    pub(crate) allowed_stderr_lines: Option<u32>,
    pub(crate) is_final: bool,
}

/// What is done in a step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Work {
    /// The action's program is run; what it wants is downloaded before. `download` is there if and only if the action has `download`.
    Run { invocation: Invocation, download: Option<Wanted> },
    /// `gatewire:reload`
    Reload,
    /// `gatewire:diagnose`
    Diagnose,
    /// `ROTATE_CERTIFICATE`
    Rotate,
}

/// A file that is to be downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Its host is one of the action's: [`Url::parse`] and [`Url::allowed`].
    pub(crate) url: Url,
    pub(crate) sha256: [u8; 32],
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unplanned {
    /// The document names nothing that an action or what is built in takes: somebody else may know it (`jobs.sock`).
    NoAction(DocumentFault),
    /// Something is wrong with it.
    Rejected(DocumentFault),
}

/// What is wrong with a document, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DocumentFault {
    /// `steps[2].action.input.args[0]`; empty: the document as a whole.
    pub(crate) path: String,
    /// A sentence without a full stop, safe to show.
    pub(crate) text: String,
}

impl fmt::Display for DocumentFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "{}", self.text),
            path => write!(f, "{path}: {}", self.text),
        }
    }
}
