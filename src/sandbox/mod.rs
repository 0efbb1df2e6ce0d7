//! What the sandbox of the systemd unit hides from the service, or keeps it from changing: `gatewire check`, which runs outside of
//! it, sees more than the daemon will.
//!
//! [`unit`](mod@unit) reads the unit file, [`rules`] makes of its directives what the service can do with a path, and [`allow`] has the
//! drop-in that lets it.

mod allow;
mod rules;
#[cfg(test)]
mod tests;
mod unit;

pub(crate) use allow::{Obstacle, obstacle};
pub(crate) use rules::{Sandbox, Use};
