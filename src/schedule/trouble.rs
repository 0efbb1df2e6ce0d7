//! What goes wrong with a publication, said once until it changes. Pure, but for the log.

use jiff::Timestamp;
use serde::Serialize;
use thiserror::Error;

use super::source::SourceError;
use crate::batch::NotBatchable;
use crate::count::count;
use crate::outbox::Refusal;
use crate::template::RenderError;
use crate::time::Rfc3339;
use crate::timestamp::to_milliseconds;

/// Why a due publication wasn't made, or not as it should.
#[derive(Debug, PartialEq, Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It was made all the same.
    #[error(transparent)]
    Lacks(SourceError),
    #[error("the value {0}")]
    Payload(#[from] RenderError),
    #[error("the payload {0}")]
    Batch(#[from] NotBatchable),
    #[error("not published: {0}")]
    Refused(#[from] Refusal),
}

/// The `last_error` of a publication in the status document.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LastError {
    message: String,
    /// When it last happened.
    at: Rfc3339,
}

/// The troubles of one publication.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    /// That of the last run; `None` if all was well.
    current: Option<Trouble>,
    /// How many runs in a row have had one.
    runs: u64,
    last: Option<LastError>,
}

impl Troubles {
    pub(super) fn last(&self) -> Option<&LastError> {
        self.last.as_ref()
    }

    /// The last run had one.
    pub(super) fn is_met(&self) -> bool {
        self.current.is_some()
    }

    /// A run of `name` at `now` had this trouble. It is said if it isn't the one of the run before.
    pub(super) fn met(&mut self, name: &str, trouble: Trouble, now: Timestamp) {
        self.runs += 1;
        self.last = Some(LastError { message: trouble.to_string(), at: to_milliseconds(now).into() });
        if self.current.as_ref() != Some(&trouble) {
            match &trouble {
                Trouble::Refused(_) => log::warn!(
                    GATEWIRE_EVENT = "publish_refused", GATEWIRE_PUBLISH = name; "publish {name}: {trouble}"
                ),
                Trouble::Lacks(_) => log::warn!(
                    GATEWIRE_EVENT = "publish_lacks", GATEWIRE_PUBLISH = name; "publish {name}: {trouble}"
                ),
                Trouble::Source(_) | Trouble::Payload(_) | Trouble::Batch(_) => log::error!(
                    GATEWIRE_EVENT = "publish_failed", GATEWIRE_PUBLISH = name;
                    "publish {name}: {trouble}. Logged again when it changes"
                ),
            }
            self.current = Some(trouble);
        }
    }

    /// A run of `name` went well, but nothing was handed to the outbox: whether that takes it isn't known yet.
    pub(super) fn over_but_refusal(&mut self, name: &str) {
        if !matches!(self.current, Some(Trouble::Refused(_))) {
            self.over(name);
        }
    }

    /// A run of `name` went well. That is said if the one before didn't.
    pub(super) fn over(&mut self, name: &str) {
        if self.current.take().is_some() {
            let runs = std::mem::take(&mut self.runs);
            log::info!(
                GATEWIRE_EVENT = "publish_recovered", GATEWIRE_PUBLISH = name, GATEWIRE_COUNT = runs;
                "publish {name}: works again, after {}", count(runs, "failed run")
            );
        }
    }
}
