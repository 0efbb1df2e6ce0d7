//! Jobs and commands name actions, `[[action]]` tables of the configuration: nothing else is run for them.
//!
//! A job document becomes a [`Plan`] of [`Step`]s, or a [`DocumentFault`](plan::DocumentFault). No program, no shell and no user comes
//! from a document: it names an action and gives it arguments, and an [`Invocation`] can only be made of arguments that the action
//! takes. [`process`] runs what that comes to, and [`leftover`] ends it.

mod action;
mod document;
mod ended;
mod execution;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod hosts;
mod invocation;
mod json;
pub(crate) mod leftover;
mod matching;
mod pattern;
pub(crate) mod performing;
mod plan;
pub(crate) mod position;
pub(crate) mod process;
pub(crate) mod root;
mod runner;
#[cfg(test)]
mod tests;
mod url;

use crate::printable::printable;

/// The operation of a job that wants another certificate for this gateway, as the certificate rotator of AWS Labs calls it.
pub(crate) const ROTATE: &str = "ROTATE_CERTIFICATE";

pub(crate) use action::{Action, Actions, Done, Download, Run, RunsAs, Word};
pub(crate) use document::{asked_for, plan};
pub(crate) use ended::{How, ProgramEnd};
pub(crate) use execution::{BadExecutionId, ExecutionId};
pub(crate) use hosts::HostPattern;
pub(crate) use invocation::Invocation;
pub(crate) use pattern::{MAX_COMPILED as MAX_PATTERN, Pattern, PatternError};
pub(crate) use plan::{Plan, Step, Unplanned, Wanted, Work};
pub(crate) use runner::{As, Command, NamedByDocument, shell_words};
pub(crate) use url::{Url, UrlFault};

/// The beginning of a text of others, safe to show: of a URL nothing but what comes before its query, which may be as good as a password.
fn shown(text: &str) -> String {
    const MOST: usize = 100;
    let public = if text.contains("://") { text.split(['?', '#']).next().unwrap_or_default() } else { text };
    let whole = printable(public);
    let mut shown: String = whole.chars().take(MOST).collect();
    if shown.len() < whole.len() || public.len() < text.len() {
        shown.push('…');
    }
    shown
}
