//! How a [keeper](super::keeper) is told that there is something to do, or when there will be.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::notify::LocalNotify;

/// A turn of the keeper costs as much as a tenth of a message. That it need not wake as soon as it knows isn't worth one more often than
/// this: it wakes for nothing then.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// Between a queue and its keeper.
#[derive(Debug, Default)]
pub(crate) struct Reminder {
    notify: LocalNotify,
    /// When the keeper looks again by itself.
    known: Cell<Option<Instant>>,
    /// When it was told last that this is later than it knew.
    put_off: Cell<Option<Instant>>,
}

impl Reminder {
    /// There may be something to do now.
    pub(crate) fn now(&self) {
        self.notify.notify();
    }

    /// Unless something happens, there is something to do at `timeout`.
    pub(crate) fn at(&self, timeout: Option<Instant>, now: Instant) {
        let known = self.known.get();
        if timeout == known {
            return;
        }
        let is_sooner = timeout.is_some_and(|timeout| known.is_none_or(|known| timeout < known));
        if !is_sooner {
            if self.put_off.get().is_some_and(|before| now < before + WORTH_TELLING) {
                return;
            }
            self.put_off.set(Some(now));
        }
        self.known.set(timeout);
        self.notify.notify();
    }

    /// The keeper looks again at `timeout`.
    pub(super) fn know(&self, timeout: Option<Instant>) {
        self.known.set(timeout);
    }

    /// Completes when the keeper has to look.
    pub(super) async fn told(&self) {
        self.notify.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn is_told(reminder: &Reminder) -> bool {
        pin!(reminder.told()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn what_is_sooner_is_told_at_once_and_what_is_later_not_with_every_message() {
        let (reminder, start, ms) = (Reminder::default(), Instant::now(), Duration::from_millis(1));
        let mut turns = 0;
        // A hundred messages a second, each of which is delivered at once: none is left that has to go to the disk.
        for n in 0..1000 {
            let now = start + n * 10 * ms;
            reminder.at(Some(now + 1000 * ms), now);
            turns += u32::from(is_told(&reminder));
            assert!(reminder.known.get().is_some_and(|known| known <= now + 1000 * ms));
            reminder.at(None, now + ms);
            turns += u32::from(is_told(&reminder));
            if reminder.known.get().is_some_and(|known| known <= now + ms) {
                reminder.know(None);
            }
        }
        assert!(turns <= 22, "{turns} in 10 s");
        // One message now and then doesn't cost a wake-up that is for nothing.
        let now = start + 60_000 * ms;
        reminder.know(None);
        reminder.at(Some(now + 1000 * ms), now);
        assert!(is_told(&reminder));
        reminder.at(None, now + ms);
        assert!(is_told(&reminder) && reminder.known.get().is_none());
    }

    #[test]
    fn what_the_keeper_found_out_by_itself_it_isnt_told_and_what_is_sooner_than_that_it_is() {
        let (reminder, now) = (Reminder::default(), Instant::now());
        let [sooner, later] = [1, 2].map(|n| now + n * WORTH_TELLING);
        reminder.know(Some(later));
        reminder.at(Some(later), now);
        assert!(!is_told(&reminder));
        reminder.at(Some(sooner), now);
        assert!(is_told(&reminder));
        reminder.now();
        assert!(is_told(&reminder));
    }
}
