//! The state machines of Jobs and Commands: those that the tests of the binary have (`tests/support/cloud`), from their own files, so
//! that there is one idea of what AWS does. They know neither time nor chance: those are [`Services`](super::Services)'.
#![allow(dead_code, reason = "the tests of the binary use the rest")]
#![allow(unreachable_pub, reason = "shared with the tests of the binary")]

#[path = "../../../../tests/support/cloud/checks.rs"]
mod checks;
#[path = "../../../../tests/support/cloud/commands.rs"]
pub mod commands;
#[path = "../../../../tests/support/cloud/jobs.rs"]
pub mod jobs;
#[path = "../../../../tests/support/cloud/service.rs"]
pub mod service;
