//! The text of the metrics, which serves for a moment: whoever asks again and again mustn't take the time of the link, which has the
//! same thread. Pure: it is given the time.
//!
//! A limit for each client would be another way, with an answer that says so. But a client that is refused costs what one costs
//! that gets what is there already, many addresses share no limit, and a limit for all lets one client keep the others out.

use std::time::{Duration, Instant};

/// A text serves for so many times as long as it took to make: so no more than a twentieth of the time goes into making it, on a
/// fast machine and on a slow one, and on a fast one it is never older than some milliseconds.
const TIMES: u32 = 20;

/// The longest that it serves: who asks each few seconds gets what is so.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The last text, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Kept(Option<(String, Instant)>);

impl Kept {
    /// What was made last, if that still serves.
    pub(crate) fn get(&self, now: Instant) -> Option<&str> {
        let (text, until) = self.0.as_ref()?;
        (now < *until).then_some(text)
    }

    /// This was made from `began` to `now`.
    pub(crate) fn put(&mut self, text: String, began: Instant, now: Instant) {
        let serves = now.saturating_duration_since(began).saturating_mul(TIMES).min(MAX_AGE);
        self.0 = Some((text, now + serves));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A flood of questions at a machine that takes `each` to make a text, for ten seconds: how often is one made, and how old does
    /// one get?
    fn flood(each: Duration) -> (u32, Duration) {
        let begin = Instant::now();
        let (mut kept, mut now, mut made, mut oldest) = (Kept::default(), begin, 0, Duration::ZERO);
        let mut at = begin;
        while now < begin + 10_000 * MS {
            if kept.get(now).is_none() {
                let began = now;
                now += each;
                kept.put(format!("gatewire_up {made}"), began, now);
                (made, at) = (made + 1, now);
            }
            assert_eq!(kept.get(now), Some(&*format!("gatewire_up {}", made - 1)));
            oldest = oldest.max(now - at);
            // A question.
            now += MS / 10;
        }
        (made, oldest)
    }

    #[test]
    fn a_flood_takes_a_twentieth_of_the_time_and_gets_no_old_text() {
        let (made, oldest) = flood(MS);
        assert!((400..=480).contains(&made) && oldest <= 20 * MS, "{made} {oldest:?}");
        let (made, oldest) = flood(25 * MS);
        assert!((18..=20).contains(&made) && oldest <= 500 * MS, "{made} {oldest:?}");
        let (made, oldest) = flood(200 * MS);
        assert!((8..=9).contains(&made) && oldest <= MAX_AGE, "{made} {oldest:?}");
    }

    #[test]
    fn who_asks_at_the_pace_of_prometheus_gets_what_is_so() {
        let (mut kept, now) = (Kept::default(), Instant::now());
        kept.put("gatewire_up 1\n".to_owned(), now, now + 400 * MS);
        assert_eq!(kept.get(now + 1400 * MS), None);
    }
}
