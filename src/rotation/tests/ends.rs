//! What AWS does of itself, and how it goes on in the end.

use std::time::Duration;

use super::world::{Mood, World};
use crate::rotation::Step;

impl World {
    /// From now on all is well, for as long as it takes.
    pub(super) fn all_is_well(&mut self) {
        self.disk_is_full = false;
        for _ in 0..2000 {
            self.connect();
            self.write();
            self.tell_of_the_job(self.connected.is_some());
            self.answer(Mood::Answers);
            self.write();
            self.pass(Duration::from_secs(20));
            let is_idle = self.machine.step().is_none() && self.pending.is_none();
            if is_idle
                && self.is_connected()
                && self.job.as_ref().is_none_or(|job| job.result.is_some() || job.is_cancelled)
            {
                return;
            }
        }
        panic!("it never ends: {self:#?}");
    }

    /// The last commit that was sent has come to AWS only now.
    pub(super) fn do_commit_late(&mut self) {
        let next = self.next().expect("it is kept");
        self.aws.lets_in.retain(|certificate| *certificate == next);
        self.cut();
    }

    /// AWS lets the new certificate in no more, unless it lets the old one in no more, or the new one is being put in its place.
    pub(super) fn revoke_next(&mut self) {
        let (current, next) = (self.current(), self.next());
        let may = self.step() != Some(Step::PutInForce) && self.aws.lets_in.contains(&current);
        if let Some(next) = next.filter(|_| may) {
            self.aws.lets_in.remove(&next);
            if self.connected == Some(next) {
                self.cut();
            }
        }
    }
}
