//! Jobs and commands name actions, `[[action]]` tables of the configuration: nothing else is run for them.
//!
//! A job document becomes a [`Plan`] of [`Step`]s, or a [`Fault`]. No program, no shell and no user comes from a document: it names an
//! action and gives it arguments, and an [`Invocation`] can only be made of arguments that the action takes. [`process`] runs what that
//! comes to, and [`leftover`] ends it.

mod action;
mod ended;
mod execution;
mod hosts;
mod invocation;
pub(crate) mod leftover;
mod pattern;
mod plan;
pub(crate) mod process;
pub(crate) mod root;
mod url;

pub(crate) use action::{Action, Actions, Done, Download, Run, RunsAs, Word};
pub(crate) use ended::{Ended, How};
pub(crate) use execution::{BadExecutionId, ExecutionId};
pub(crate) use hosts::HostPattern;
pub(crate) use invocation::{Invocation, Refused};
pub(crate) use pattern::{Pattern, PatternError};
pub(crate) use plan::{Fault, Plan, Step, Unplanned, Wanted, Work};
pub(crate) use url::{Url, UrlFault};
