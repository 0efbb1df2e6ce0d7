//! Scheduled publications: when ([`clock`]) and what ([`template`]).

pub(crate) mod clock;
pub(crate) mod template;
