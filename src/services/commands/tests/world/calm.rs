//! How it all ends once everything works: nothing is left to be done, no result is lost, and none is made up.

use std::time::Duration;

use super::World;
use crate::services::commands::{Fate, Stage};

impl World {
    /// Everything works from now on: after that nothing is left to be done.
    pub(in crate::services::commands::tests) fn calm(&mut self) {
        if !self.is_connected {
            self.connect(None);
        }
        let begin = self.now;
        loop {
            for _ in 0..50 {
                self.go_well();
            }
            if self.is_done() {
                break;
            }
            assert!(self.now < begin + Duration::from_secs(24 * 3600), "{:?}\n{:?}", self.commands, self.cloud);
            let next = [self.requests.timeout(), self.commands.timeout()].into_iter().flatten().min();
            self.now = next.map_or(self.now, |at| at.max(self.now));
            self.go_on();
        }
        self.judge();
    }

    fn is_done(&self) -> bool {
        let is_quiet = self.cloud.heard.is_empty() && self.cloud.on_its_way.is_empty() && self.writes.is_empty();
        is_quiet
            && self.requests.outstanding() == 0
            && self.commands.open().next().is_none()
            && self.action.is_none()
            && self.unacknowledged.is_empty()
    }

    /// No result was lost, and none made up.
    fn judge(&self) {
        for command in self.cloud.commands.iter().filter(|command| !command.is_deleted) {
            let id = &command.id;
            match self.over.get(id) {
                // What an earlier life has told without a disk, the next ones don't know.
                Some(Fate::Reported(_)) if self.is_unwritable => assert!(command.is_over, "{command:?}"),
                Some(Fate::Reported(outcome)) => {
                    let is_it = (&*command.status, command.is_over) == (outcome.status.as_str(), true);
                    let is_known = self.outcomes.get(id).is_none_or(|known| known.contains(&outcome.status));
                    assert!(is_it && is_known, "{command:?}, {outcome:?}");
                }
                // An earlier life has told it, and the answer was lost.
                Some(Fate::Moot(_)) => assert!(command.is_over, "{command:?}"),
                Some(Fate::Late(outcome)) => assert!(outcome.is_interrupted(), "{command:?}, {outcome:?}"),
                None => assert!(
                    self.is_unwritable || command.is_over || command.expires_at.is_some(),
                    "nothing is said of {command:?}"
                ),
            }
            if let Some(outcomes) = self.outcomes.get(id).filter(|_| command.is_over && !self.is_unwritable) {
                assert!(outcomes.iter().any(|status| status.as_str() == command.status), "{command:?}: {outcomes:?}");
            }
        }
        let is_over = self.disk.entries().all(|entry| entry.stage == Stage::Over);
        assert!(is_over, "something is left on the disk: {:?}", self.disk);
        assert!(self.disk.entries().count() <= 64);
    }
}
