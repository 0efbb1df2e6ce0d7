//! The whole daemon against a simulated world, in one process and in virtual time: one seed is one run.
//!
//! [`cloud`] is the server that it is connected to.

pub(crate) mod cloud;
