//! What the policy of the certificate must allow: the least policy under which a configuration works, and whether an existing
//! one does.
//!
//! [`needs`] turns a [`Config`](crate::config::Config) into what it needs; [`least`] writes that as a policy. [`document`]
//! reads a policy, [`resource`] its wildcards and variables, [`context`] knows their values, [`condition`] what
//! conditions make of them, [`evaluate`] decides need by need as IoT Core does, [`width`]
//! finds what it allows without need, [`report`] puts both into words. All of it is pure; whether a policy's wildcards cover
//! a need's is decided by [`pattern`], exactly.

pub(crate) mod certificate;
pub(crate) mod claim;
pub(crate) mod condition;
pub(crate) mod context;
pub(crate) mod document;
pub(crate) mod evaluate;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod least;
pub(crate) mod needs;
mod notes;
mod pattern;
pub(crate) mod report;
pub(crate) mod resource;
pub(crate) mod scope;
#[cfg(test)]
mod tests;
mod text;
mod topics;
pub(crate) mod width;

use std::fmt;

/// What IoT Core asks a policy about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Action {
    Connect,
    Publish,
    RetainPublish,
    Subscribe,
    Receive,
}

impl Action {
    pub(crate) const ALL: [Action; 5] =
        [Action::Connect, Action::Publish, Action::RetainPublish, Action::Subscribe, Action::Receive];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Action::Connect => "iot:Connect",
            Action::Publish => "iot:Publish",
            Action::RetainPublish => "iot:RetainPublish",
            Action::Subscribe => "iot:Subscribe",
            Action::Receive => "iot:Receive",
        }
    }

    /// What its resources begin with, behind region and account.
    pub(crate) fn resource_type(self) -> &'static str {
        match self {
            Action::Connect => "client/",
            Action::Subscribe => "topicfilter/",
            Action::Publish | Action::RetainPublish | Action::Receive => "topic/",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
