//! Nothing that was accepted is lost, and nothing overtakes: gatewire is killed with SIGKILL at random moments and started
//! again on what it left on the disk, again and again, with messages on their way; at the end everything is counted.
//!
//! Each test prints its seed, and `GATEWIRE_SEED` repeats its random choices (the kernel's scheduling it can't repeat).
//! `GATEWIRE_SOAK_KILLS` is the number of kills of all tests together; without it, it is [`run::KILLS`].
//!
//! Threads sleep for random times here. That synchronises nothing: which moments a kill hits is what is tested.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

#[path = "crash/cloud.rs"]
mod cloud;
#[path = "crash/inbound.rs"]
mod inbound;
#[path = "crash/outbound.rs"]
mod outbound;
#[path = "crash/producer.rs"]
mod producer;
#[path = "crash/run.rs"]
mod run;
#[path = "crash/verdict.rs"]
mod verdict;
