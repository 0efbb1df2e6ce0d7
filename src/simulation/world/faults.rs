//! Faults that end by themselves, and a loss of power.

use std::rc::Rc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::World;
use crate::simulation::identity::SimulatedPlatform;
use crate::time;

impl World {
    /// Undoes a change after its time, unless there was another of its kind.
    pub(super) fn undo(self: &Rc<World>, kind: usize, lasts: Duration, undo: impl Fn(&World) + 'static) {
        let count = self.changes[kind].get() + 1;
        self.changes[kind].set(count);
        let world = Rc::clone(self);
        spawn_local(async move {
            sleep(lasts).await;
            if world.changes[kind].get() == count {
                undo(&world);
            }
        });
    }

    pub(super) fn cut_power(&self, off: Duration, in_1970: bool) {
        self.disk.power_cut();
        self.platform.iter().for_each(SimulatedPlatform::power_cut);
        self.programs.boot();
        self.judge.actions.booted();
        self.with_process(|process| process.kill_after(0));
        self.off.set(off);
        self.network.cut();
        // A clock that is synchronised shows the right time: the kernel doesn't say so of another.
        let (began, start) = self.began;
        let truth = move || start + SignedDuration::try_from(time::since(began)).unwrap();
        self.clocks.boot(if in_1970 { Timestamp::UNIX_EPOCH } else { truth() });
        self.clocks.synchronise(!in_1970);
        let boot = self.boots.get() + 1;
        self.boots.set(boot);
        let (clocks, boots) = (Rc::clone(&self.clocks), Rc::clone(&self.boots));
        spawn_local(async move {
            sleep(off + Duration::from_secs(600)).await;
            if in_1970 && boots.get() == boot {
                clocks.set_wall(truth());
                clocks.synchronise(true);
            }
        });
    }
}
