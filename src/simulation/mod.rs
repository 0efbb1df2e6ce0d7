//! The whole daemon against a simulated world, in one process and in virtual time: one seed is one run (docs/simulation.md).
//!
//! [`process`] is the daemon, as `gatewire run` starts it; [`cloud`] the server that it is connected to, [`broker`] the local one,
//! [`network`] what lies between, [`clients`] the local programs, [`programs`] those that actions run. [`plan`] says what happens in a run, [`world`] has it happen, and
//! [`judge`] says what must hold all the same. [`fleet`] is another simulation: of nothing but the pace, of very many gateways.

mod actions;
mod bridge;
mod broker;
mod clients;
pub(crate) mod cloud;
mod configuration;
mod fleet;
mod identity;
mod journal;
mod judge;
mod network;
mod plan;
mod process;
mod programs;
mod server;
mod world;

mod tests;
