//! How it goes on in the end.

use std::time::Duration;

use super::world::{Mood, World};

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
}
