//! An execution that isn't over: where it is, and until when that matters.

use std::time::Instant;

use super::effect::{Effect, RecordId};
use super::execution::Outcome;
use crate::message::AckToken;
use crate::services::RequestId;

/// An execution that isn't over.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) phase: Phase,
    /// Its action has to begin before.
    pub(super) begin_by: Instant,
    /// Its time ends.
    pub(super) ends_at: Instant,
    /// AWS can't want a result any more.
    pub(super) forget_at: Instant,
    /// Of its requests, until a journal with it is on the disk: that one. Where the disk doesn't take it, until its result is told.
    pub(super) tokens: Vec<AckToken>,
    pub(super) awaited: Option<RecordId>,
    /// What is told, without answer.
    pub(super) telling: Option<(RequestId, Told)>,
    /// Answers to IN_PROGRESS that may come yet, and would be taken for others.
    pub(super) stray: u32,
    /// The result was told before: AWS may have it.
    pub(super) is_told: bool,
    /// When to tell the result again.
    pub(super) again_at: Option<Instant>,
    /// AWS refuses what goes with the result: it is told without.
    pub(super) is_bare: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    InProgress,
    Result,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    Found(String),
    Waiting(String),
    Beginning(String, RecordId),
    Running {
        /// When it is to be told of.
        announce_at: Option<Instant>,
    },
    Resumed,
    /// Told once the journal is on the disk, if it has to be.
    Result(Outcome, Option<RecordId>),
}

impl Open {
    pub(super) fn new(phase: Phase, now: Instant, ends_at: Instant, forget_at: Instant) -> Open {
        Open {
            phase,
            begin_by: now,
            ends_at,
            forget_at,
            tokens: Vec::new(),
            awaited: None,
            telling: None,
            stray: 0,
            is_told: false,
            again_at: None,
            is_bare: false,
        }
    }

    /// IoT Core may have its PUBACKs.
    pub(super) fn release(&mut self) -> impl Iterator<Item = Effect> + use<> {
        self.awaited = None;
        std::mem::take(&mut self.tokens).into_iter().map(Effect::Release)
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Waiting(_) => Some(self.begin_by),
            Phase::Running { announce_at } => *announce_at,
            Phase::Result(outcome, None) => {
                let told_until = self.told_until(outcome);
                Some(self.again_at.map_or(told_until, |at| at.min(told_until)))
            }
            Phase::Found(_) | Phase::Beginning(..) | Phase::Resumed | Phase::Result(_, Some(_)) => None,
        }
    }

    /// When AWS can't want this any more; of one that was interrupted, when its time ends: nothing has come of it.
    pub(super) fn told_until(&self, outcome: &Outcome) -> Instant {
        if outcome.is_interrupted() { self.ends_at } else { self.forget_at }
    }
}
