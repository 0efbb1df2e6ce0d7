//! The meter: bytes to and from the network, by hour, day and month, and by what they were for.
//!
//! [`periods`] and [`account`] count (pure), [`causes`] knows whose a topic is (pure), [`note`] is how the counts are kept; this file
//! gives them to the link, and `keeping` has them written. Without `[meter]` there is none of it.

mod account;
mod causes;
mod keeping;
mod note;
mod periods;
mod status;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use jiff::Timestamp;

use crate::config::Config;
use crate::mqtt::session::{Label, Labels, Session};
use crate::net::{Carried, Network, Purpose};
use crate::notify::LocalNotify;
use crate::time;
use account::Account;
use causes::Causes;
pub(crate) use status::MeterStatus;

/// The meter as the daemon's parts see it.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    running: RefCell<Option<Running>>,
    /// It was configured, or isn't any more.
    changed: LocalNotify,
    /// What an earlier process has noted is counted in, or can't be.
    is_recalled: Cell<bool>,
}

/// While it is configured.
#[derive(Debug)]
struct Running {
    account: Account,
    causes: Rc<Causes>,
    /// What was carried of each purpose when it was looked last.
    seen: Seen,
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
        match (config.meter.is_some(), &mut *running) {
            (false, _) => {
                *running = None;
                self.is_recalled.set(false);
            }
            (true, Some(running)) => running.causes.configure(config),
            (true, empty) => {
                let seen = Seen {
                    link: network.carried(Purpose::Link),
                    identity: network.carried(Purpose::Identity),
                    download: network.carried(Purpose::Download),
                };
                let causes = Rc::new(Causes::new(config));
                *empty = Some(Running { account: Account::default(), causes, seen });
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
    }

    /// Counts what isn't the link's.
    fn collect(&self, network: &impl Network, wall: Timestamp) {
        let Some(running) = &mut *self.running.borrow_mut() else { return };
        let identity = since(&mut running.seen.identity, network.carried(Purpose::Identity));
        let download = since(&mut running.seen.download, network.carried(Purpose::Download));
        running.account.add(Causes::IDENTITY, identity, wall);
        running.account.add(Causes::DOWNLOAD, download, wall);
    }

    /// The `meter` of the status document; `None`: it isn't configured.
    pub(crate) fn status(&self, network: &impl Network) -> Option<MeterStatus> {
        let wall = time::wall();
        self.collect(network, wall);
        let mut running = self.running.borrow_mut();
        let Running { account, causes, .. } = running.as_mut()?;
        account.turn_to(wall);
        Some(status::of(account, causes, wall))
    }
}
