//! What every client of an MQTT server has: the link to IoT Core, and each bridge's connection to its local broker.

mod backoff;
mod exchange;
mod memory;
mod outcome;
mod reconfigured;
mod state;
mod telling;
mod turns;

pub(crate) use backoff::Backoff;
pub(crate) use exchange::{Exchange, Moved, hang_up};
pub(crate) use memory::{OtherSession, SessionMemory, noted_at};
pub(crate) use outcome::{StepOutcome, StepReport};
pub(crate) use reconfigured::Reconfigured;
pub(crate) use state::{ConnectionState, Failure, LastError};
pub(crate) use telling::{Before, Say, Telling};
pub(crate) use turns::Turns;
