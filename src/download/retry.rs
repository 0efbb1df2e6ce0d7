//! How long to wait before another attempt. Pure: randomness comes from the caller.

use std::time::Duration;

/// How patient a download is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// How long nothing may come from the server.
    pub(crate) silence: Duration,
    /// The longest first wait after a failure; each further failure in a row doubles it.
    pub(crate) first_wait: Duration,
    /// The longest wait, but for what a server asks for.
    pub(crate) max_wait: Duration,
}

impl Patience {
    /// Of a gateway.
    pub(crate) const USUAL: Patience = Patience {
        silence: Duration::from_secs(30),
        first_wait: Duration::from_secs(1),
        max_wait: Duration::from_secs(60),
    };

    /// The wait after `failures` in a row: between half of its ceiling and the ceiling, by chance, and at least what the server asks for.
    /// `random` is uniform in `[0, 1)`.
    pub(super) fn wait(&self, failures: u32, asked: Option<Duration>, random: f64) -> Duration {
        let doubled =
            1u32.checked_shl(failures.saturating_sub(1)).and_then(|factor| self.first_wait.checked_mul(factor));
        let ceiling = doubled.map_or(self.max_wait, |wait| wait.min(self.max_wait));
        ceiling.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0).max(asked.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_heed_the_server() {
        let wait = |failures, asked: Option<u64>, random| {
            Patience::USUAL.wait(failures, asked.map(Duration::from_secs), random).as_secs_f64()
        };
        assert_eq!([1, 2, 3, 6, 7, 40, u32::MAX].map(|n| wait(n, None, 1.0)), [1.0, 2.0, 4.0, 32.0, 60.0, 60.0, 60.0]);
        assert_eq!([0, 1, 2].map(|n| wait(n, None, 0.0)), [0.5, 0.5, 1.0]);
        assert_eq!((wait(1, Some(120), 0.5), wait(7, Some(1), 1.0)), (120.0, 60.0));
    }
}
