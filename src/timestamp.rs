//! Times as people want to read them.

use jiff::{Timestamp, Unit};

/// Without what is below a millisecond.
pub(crate) fn to_milliseconds(time: Timestamp) -> Timestamp {
    time.round(Unit::Millisecond).unwrap_or(time)
}
