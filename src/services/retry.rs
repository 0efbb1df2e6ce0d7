//! How long to wait before a request is tried again. Pure: randomness comes from the caller.

use std::time::Duration;

/// The ceiling of the first wait; each further failure doubles it.
const FIRST: Duration = Duration::from_secs(5);

/// The longest wait.
const MAX: Duration = Duration::from_secs(600);

/// The shortest.
const MIN: Duration = Duration::from_millis(500);

/// The most that the wait may be after so many failures before this one.
pub(super) fn ceiling(failures: u32) -> Duration {
    1u32.checked_shl(failures).and_then(|factor| FIRST.checked_mul(factor)).map_or(MAX, |wait| wait.min(MAX))
}

/// The wait: uniform up to the ceiling, but never shorter than [`MIN`]. `random` is uniform in `[0, 1)`.
pub(super) fn wait(failures: u32, random: f64) -> Duration {
    ceiling(failures).mul_f64(random.clamp(0.0, 1.0)).max(MIN)
}
