//! The meter: bytes to and from the network, by hour, day and month, and by what they were for.
//!
//! [`periods`] and [`account`] count (pure), [`causes`] knows whose a topic is (pure), [`hold`] decides what waits (pure), [`note`] is
//! how the counts are kept; this file gives them to the link, and `keeping` has them written. Without `[meter]` there is none of it.

mod account;
mod causes;
mod hold;
mod judging;
mod keeping;
mod level;
mod note;
mod periods;
mod status;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::config::{Budget, Config};
use crate::mqtt::session::{Label, Labels, Session};
use crate::net::{Carried, Network, Purpose};
use crate::notify::LocalNotify;
use crate::time;
use account::Account;
use causes::Causes;
use hold::Held;
use level::Level;
pub(crate) use status::MeterStatus;

/// The meter as the daemon's parts see it. Its counts are never ahead of what was carried, and by less than a packet behind it.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    running: RefCell<Option<Running>>,
    /// There is something to look at: it was configured or isn't any more, or the budget is used further.
    changed: LocalNotify,
    /// What an earlier process has noted is counted in, or can't be.
    is_recalled: Cell<bool>,
    /// What isn't urgent is held back.
    held: Cell<Option<Held>>,
}

/// While it is configured.
#[derive(Debug)]
struct Running {
    account: Account,
    causes: Rc<Causes>,
    /// What was carried of each purpose when it was looked last.
    seen: Seen,
    budget: Option<Budget>,
    /// How long after the month what is held back goes out.
    delay: SignedDuration,
    /// What waits for longer is dropped.
    max_age: Duration,
    /// Where the month stood when it was judged last.
    level: Level,
}

#[derive(Debug, Default)]
struct Seen {
    link: Carried,
    identity: Carried,
    download: Carried,
}

/// What was carried since `before`, which becomes `now`.
fn since(before: &mut Carried, now: Carried) -> Carried {
    let last = std::mem::replace(before, now);
    Carried { sent: now.sent.saturating_sub(last.sent), received: now.received.saturating_sub(last.received) }
}

impl Meter {
    /// Counts from now on as the configuration says, or not at all.
    pub(crate) fn configure(&self, config: &Config, network: &impl Network) {
        let mut running = self.running.borrow_mut();
        let was_on = running.is_some();
        let (delay, max_age) = (hold::delay(&config.connection.client_id), config.outbox.max_age);
        match (&config.meter, &mut *running) {
            (None, _) => {
                *running = None;
                self.is_recalled.set(false);
            }
            (Some(meter), Some(running)) => {
                running.causes.configure(config);
                (running.budget, running.delay, running.max_age) = (meter.budget, delay, max_age);
            }
            (Some(meter), empty) => {
                let seen = Seen {
                    link: network.carried(Purpose::Link),
                    identity: network.carried(Purpose::Identity),
                    download: network.carried(Purpose::Download),
                };
                let causes = Rc::new(Causes::new(config));
                let (account, level, budget) = (Account::default(), Level::default(), meter.budget);
                *empty = Some(Running { account, causes, seen, budget, delay, max_age, level });
            }
        }
        if was_on || running.is_some() {
            self.changed.notify();
        }
    }

    /// What tells whose the packets of the link's session are. `None`: nothing is counted.
    pub(crate) fn labels(&self) -> Option<Rc<dyn Labels>> {
        let running = self.running.borrow();
        running.as_ref().map(|running| Rc::clone(&running.causes) as Rc<dyn Labels>)
    }

    /// The way to the server is open, or can't be opened: what that took is the connection's.
    pub(crate) fn opened(&self, network: &impl Network) {
        let Some(running) = &mut *self.running.borrow_mut() else { return };
        let carried = since(&mut running.seen.link, network.carried(Purpose::Link));
        running.account.add(Label::CONNECTION, carried, time::wall());
        self.look_at_budget(running);
    }

    /// Counts what has been carried on the link's connection since the last time.
    pub(crate) fn look(&self, network: &impl Network, session: &mut Session) {
        self.share(network, session, false);
    }

    /// Likewise, where nothing more comes.
    pub(crate) fn ended(&self, network: &impl Network, session: &mut Session) {
        self.share(network, session, true);
    }

    fn share(&self, network: &impl Network, session: &mut Session, is_end: bool) {
        let Some(running) = &mut *self.running.borrow_mut() else { return };
        let (Some(traffic), now) = (session.traffic(), network.carried(Purpose::Link)) else { return };
        let seen = running.seen.link;
        if now == seen {
            return;
        }
        let (carried, wall) = (since(&mut running.seen.link, now), time::wall());
        let account = &mut running.account;
        account.turn_to(wall);
        let mut sent = |label, sent| account.count(label, Carried { sent, received: 0 });
        let left_to_send = match is_end {
            true => {
                traffic.sent.share_all(carried.sent, &mut sent);
                0
            }
            false => traffic.sent.share(carried.sent, &mut sent),
        };
        let mut received = |label, received| account.count(label, Carried { sent: 0, received });
        let left_to_receive = match is_end {
            true => {
                traffic.received.share_all(carried.received, &mut received);
                0
            }
            false => traffic.received.share(carried.received, &mut received),
        };
        // It is looked at again once it is known what it was for.
        running.seen.link = Carried { sent: now.sent - left_to_send, received: now.received - left_to_receive };
        self.look_at_budget(running);
    }

    /// Has it judged where the month stands, if that is elsewhere than before.
    fn look_at_budget(&self, running: &Running) {
        let of = |budget| Level::of(budget, running.account.month.now().total());
        if running.budget.is_some_and(|budget| of(budget) != running.level) {
            self.changed.notify();
        }
    }

    /// Counts what isn't the link's.
    fn collect(&self, network: &impl Network, wall: Timestamp) {
        let Some(running) = &mut *self.running.borrow_mut() else { return };
        let identity = since(&mut running.seen.identity, network.carried(Purpose::Identity));
        let download = since(&mut running.seen.download, network.carried(Purpose::Download));
        running.account.add(Causes::IDENTITY, identity, wall);
        running.account.add(Causes::DOWNLOAD, download, wall);
        self.look_at_budget(running);
    }

    /// The `meter` of the status document; `None`: it isn't configured.
    pub(crate) fn status(&self, network: &impl Network) -> Option<MeterStatus> {
        let wall = time::wall();
        self.collect(network, wall);
        let mut running = self.running.borrow_mut();
        let Running { account, causes, budget, .. } = running.as_mut()?;
        account.turn_to(wall);
        Some(status::of(account, causes, *budget, wall))
    }
}
