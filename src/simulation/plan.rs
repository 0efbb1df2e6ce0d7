//! What happens in a run: drawn from its seed before it begins, so that a run can be repeated with less of it.

pub(super) mod bridge;
mod draw;
pub(super) mod identity;
pub(super) mod orders;

use std::time::Duration;

use super::bridge::Bridge;
use super::clients::{Publishes, Reads};
use super::cloud::behaviour::{Behaviour, Refusal, Refuses};
use super::network::Weather;
use crate::store::simulated;
use orders::Orders;

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// Something that happens, and when.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) at: Duration,
    pub(super) what: What,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    /// The network, the cloud or the disk is like this for so long, and then as it should be.
    Weather(Weather, Duration),
    Cloud(Box<Behaviour>, Duration),
    Disk(simulated::Behaviour, Duration),
    /// The store's thread ends, as after a panic: the daemon has to end, too, and is started again.
    StoreEnds,
    /// All connections break.
    Cut,
    AddressChanges,
    /// The daemon is killed after so many turns, and started again after so long.
    Kill(u64, Duration),
    /// The machine loses its power, and boots; with its clock in 1970 until it is set, or right.
    PowerCut {
        off: Duration,
        in_1970: bool,
    },
    /// SIGTERM, and a start after so long.
    Stop(Duration),
    /// SIGHUP, with the configuration of this number.
    Reload(usize),
    /// The clock is set by so many seconds.
    SetClock(i64),
    Suspend(Duration),
    Publish(Publishes),
    Read(Reads),
    /// Other devices publish so many messages for the daemon, one each `every`.
    Downlink {
        count: u32,
        every: Duration,
        qos: u8,
        size: usize,
    },
    /// Somebody asks for the status.
    AskStatus,
    /// At the local broker, or for it.
    Local(bridge::Local),
    /// At AWS, for jobs and commands.
    Order(orders::Order),
    /// To the identity.
    Identity(identity::Identity),
}

/// What may be among what happens: not everything in every run, so that what must hold without it is looked at in the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kinds {
    /// The cloud refuses publications.
    pub(super) refusals: bool,
    /// It ends connections for no reason.
    pub(super) closes: bool,
    /// It does anything that a server may do, several things at once.
    pub(super) wild: bool,
}

/// A whole run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) is_mqtt5: bool,
    pub(super) kinds: Kinds,
    /// Only some runs have one: the others are as they were without.
    pub(super) bridge: Option<Bridge>,
    /// Likewise, of jobs and commands.
    pub(super) orders: Option<Orders>,
    /// Likewise, that begin with a claim.
    pub(super) claimed: Option<identity::Claimed>,
    pub(super) lasts: Duration,
    pub(super) events: Vec<Event>,
}

/// Without what the network between would make of it.
pub(super) fn ideal() -> Behaviour {
    let mut cloud = Behaviour::default();
    cloud.expected.publishes = None;
    cloud.expected.connects_apart = None;
    cloud.expected.keep_alive = false;
    cloud.downlink.echoes = false;
    cloud
}

/// Whether it takes no publication at all.
pub(super) fn refuses_everything(cloud: &Behaviour) -> bool {
    cloud.refusals.iter().any(|refusal| {
        let Refusal { topics, prefix, retain, longer_than, qos, .. } = refusal;
        topics.is_none() && prefix.is_none() && retain.is_none() && longer_than.is_none() && qos.is_none()
    })
}

impl Plan {
    fn refusals(&self) -> impl Iterator<Item = &Refusal> {
        self.events.iter().flat_map(|event| match &event.what {
            What::Cloud(behaviour, _) => behaviour.refusals.as_slice(),
            _ => &[],
        })
    }

    /// Whether the cloud takes everything, sooner or later, and in order.
    pub(super) fn refuses_nothing(&self) -> bool {
        !self.kinds.wild && !self.kinds.closes && self.refusals().next().is_none()
    }

    /// Whether the disk does nothing but what it should.
    pub(super) fn keeps_the_disk(&self) -> bool {
        !self.events.iter().any(|event| matches!(event.what, What::Disk(..)))
    }

    /// Whether a message to this topic may be held to be refused by itself. Where everything is refused, no topic is; but where
    /// connections end for no reason nobody can tell.
    pub(super) fn may_refuse(&self, topic: &str) -> bool {
        self.kinds.wild
            || self.kinds.closes
            || self.refusals().any(|refusal| refusal.topics.as_ref().is_some_and(|topics| topics.contains(topic)))
    }

    /// Whether a client may be told that a message to this topic is refused.
    pub(super) fn may_reject(&self, topic: &str) -> bool {
        let fails = |refusal: &Refusal| matches!(refusal.how, Refuses::Fails(_)) && refusal.topics.is_none();
        self.may_refuse(topic) || self.refusals().any(fails)
    }
}
