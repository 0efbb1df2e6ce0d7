//! What has become of each execution, for whoever judges.

use std::collections::BTreeMap;
use std::time::Instant;

use super::aws::commands::Commands;
use super::aws::jobs::Jobs;

/// An execution of a job.
pub(crate) type Identity = (String, i64);

/// It was deleted with its job.
pub(crate) const DELETED: &str = "DELETED";

/// What an execution was from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) at: Instant,
    /// As AWS writes it.
    pub(crate) status: String,
    /// The gateway has said so, and not AWS.
    pub(crate) by_client: bool,
}

impl Fact {
    /// Whether it is the end, of a job's execution.
    pub(crate) fn is_terminal(&self) -> bool {
        !matches!(&*self.status, "QUEUED" | "IN_PROGRESS")
    }
}

/// A command that was sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) at: Instant,
    /// Its time is over.
    pub(crate) ends_at: Instant,
    /// Its messages, in [`Cloud::offered`](crate::simulation::cloud::Cloud::offered).
    pub(crate) places: Vec<usize>,
    pub(crate) facts: Vec<Fact>,
    /// The gateway has said what it came to; and why, if it did.
    pub(crate) is_over: bool,
    pub(crate) reason: Option<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) jobs: BTreeMap<Identity, Vec<Fact>>,
    pub(crate) commands: BTreeMap<String, Sent>,
}

impl Records {
    /// Takes down what is another than before. Returns the executions of jobs of which that is so.
    pub(super) fn note(
        &mut self,
        (jobs, commands): (&Jobs, &Commands),
        by_client: bool,
        at: Instant,
    ) -> Vec<(Identity, String)> {
        let mut now: BTreeMap<Identity, &str> = self.jobs.keys().map(|identity| (identity.clone(), DELETED)).collect();
        let there = jobs.all().iter().map(|it| ((it.job.clone(), it.number), it.status.as_str()));
        now.extend(there);
        let mut changed = Vec::new();
        for (identity, status) in now {
            let facts = self.jobs.entry(identity.clone()).or_default();
            if facts.last().is_none_or(|last| last.status != status) {
                facts.push(Fact { at, status: status.to_owned(), by_client });
                changed.push((identity, status.to_owned()));
            }
        }
        for (id, sent) in &mut self.commands {
            let Some(command) = commands.get(id) else { continue };
            sent.is_over = command.is_over;
            let reason = command.responses.last().and_then(|body| body["statusReason"]["reasonCode"].as_str());
            sent.reason = reason.map(str::to_owned);
            if sent.facts.last().is_none_or(|last| last.status != command.status) {
                sent.facts.push(Fact { at, status: command.status.clone(), by_client });
            }
        }
        changed
    }
}
