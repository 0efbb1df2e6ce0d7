//! `[[action]]`: what a job or a command may have this machine do.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{HostPattern, Pattern};

/// An `[[action]]` of the configuration, checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Action {
    /// No other action has it as name or handler. 1 to 128 of `[a-zA-Z0-9._:-]`, not one of those that are built in.
    pub(crate) name: String,
    /// What the documents of AWS's managed job templates call it, such as `restart-services.sh`: a bare file name.
    pub(crate) handler: Option<String>,
    /// An argument with several words is several arguments.
    pub(crate) split: bool,
    /// What each argument must match as a whole; `None`: there may be none.
    pub(crate) arguments: Option<Pattern>,
    /// 1 to 32, counted after `split`.
    pub(crate) max_arguments: usize,
    pub(crate) run: Run,
    pub(crate) runs_as: RunsAs,
    /// Of one run of the program.
    pub(crate) timeout: Duration,
    pub(crate) done: Done,
    /// Whether it is begun again when it was interrupted in the same boot. Otherwise it has failed.
    pub(crate) rerun: bool,
    /// Whether the ends of its output are told to AWS.
    pub(crate) report_output: bool,
    pub(crate) download: Option<Download>,
}

/// `action.run`: the program and its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// An absolute path.
    pub(crate) program: String,
    /// What follows the program. [`Word::Arguments`] is there only if the action takes arguments, [`Word::Download`] only if it downloads.
    pub(crate) words: Vec<Word>,
}

/// A word of `action.run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    Text(String),
    /// `{{args}}`: as many words as there are arguments.
    Arguments,
    /// `{{download}}`: the path of the file that was downloaded, with what stands around it.
    Download {
        before: String,
        after: String,
    },
}

/// `action.as`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunsAs {
    /// The user gatewire, in the sandbox of the daemon's unit.
    Sandbox,
    /// By `gatewire act`, in a unit of its own.
    Root,
}

/// `action.done`: when the action has succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// Once the program has exited with 0.
    Exit,
    /// After that, once the machine has another boot id.
    AfterBoot,
    /// After that, once another process of gatewire is connected.
    AfterRestart,
}

/// `action.download`: a file that is fetched by https before the program is run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Download {
    /// At least one.
    pub(crate) hosts: Vec<HostPattern>,
    /// Bytes.
    pub(crate) max_size: u64,
    /// Trusted beside the certificates of the machine's own store.
    pub(crate) ca_file: Option<PathBuf>,
}

/// All actions of a configuration, in the order written, and whether certificates can be rotated.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Actions {
    actions: Vec<Arc<Action>>,
    rotate: bool,
}

impl Actions {
    pub(crate) fn new(actions: Vec<Action>) -> Actions {
        Actions { actions: actions.into_iter().map(Arc::new).collect(), rotate: false }
    }

    /// The same; `rotate`: gatewire has made its identity itself, and can make another.
    pub(crate) fn with_rotation(self, rotate: bool) -> Actions {
        Actions { rotate, ..self }
    }

    /// Whether this gateway can get another certificate.
    pub(crate) fn rotate(&self) -> bool {
        self.rotate
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Action>> {
        self.actions.iter().find(|action| action.name == name)
    }

    /// The one of AWS's handler.
    pub(crate) fn of_handler(&self, handler: &str) -> Option<&Arc<Action>> {
        self.actions.iter().find(|action| action.handler.as_deref() == Some(handler))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Action>> {
        self.actions.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }
}
