//! The state machines of Jobs, Commands, fleet provisioning and the certificate rotator: those that the tests of the binary have
//! (`tests/support/cloud`), from their own files, so that there is one idea of what AWS does. They know neither time nor chance (but for
//! keys): those are [`Services`](super::Services)'.
#![allow(dead_code, reason = "the tests of the binary use the rest")]
#![allow(unreachable_pub, reason = "shared with the tests of the binary")]

#[path = "../../../../tests/support/cloud/caller.rs"]
mod caller;
#[path = "../../../../tests/support/cloud/certificates.rs"]
pub mod certificates;
#[path = "../../../../tests/support/cloud/checks.rs"]
mod checks;
#[path = "../../../../tests/support/cloud/commands.rs"]
pub mod commands;
#[path = "../../../../tests/support/cloud/jobs.rs"]
pub mod jobs;
#[path = "../../../../tests/support/cloud/provisioning.rs"]
pub mod provisioning;
#[path = "../../../../tests/support/cloud/rotation.rs"]
pub mod rotation;
#[path = "../../../../tests/support/cloud/service.rs"]
pub mod service;
