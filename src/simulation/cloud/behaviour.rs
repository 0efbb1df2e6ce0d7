//! What the server does, and what it wants of its client.

mod random;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::limits::{MAX_SESSION_EXPIRY, MAX_SUBSCRIPTIONS};
pub(super) use crate::simulation::server::behaviour::happens;
pub(crate) use crate::simulation::server::behaviour::{Announced, Delay, FilterAnswer, Refusal, Refuses, Reply};

/// How the server behaves. The default is an ideal IoT Core: it answers at once, loses nothing, keeps sessions.
///
/// Probabilities are from 0 to 1. A behaviour may change at any time ([`Cloud::set_behaviour`](super::Cloud::set_behaviour));
/// what CONNACK has [announced](Announced) holds until the connection ends.
#[derive(Debug, Clone)]
pub(crate) struct Behaviour {
    /// CONNACK. Lost: it never comes.
    pub(crate) connack: Reply,
    /// CONNACK refuses with this code: of MQTT 3.1.1 (3.2.2.3), of MQTT 5 (3.2.2.2).
    pub(crate) refuses_connect: Option<(u8, u8)>,
    pub(crate) announced: Announced,
    pub(crate) sessions: Sessions,
    /// PUBACK. Lost: the message is taken all the same.
    pub(crate) puback: Reply,
    /// Acknowledgements may overtake each other. MQTT orders only those of the client (`MQTT-4.6.0-2`), so the server may
    /// acknowledge in any order, as IoT Core does, across topics and packet types.
    pub(crate) acknowledges_in_any_order: bool,
    /// Probability that a PUBACK is sent twice, the second time as late again.
    pub(crate) acknowledges_twice: f64,
    /// SUBACK and UNSUBACK. Lost: the subscription stands, or is gone, all the same.
    pub(crate) suback: Reply,
    pub(crate) pingresp: Reply,
    /// What is done on a SUBSCRIBE with this filter, if it isn't granted.
    pub(crate) filters: BTreeMap<String, FilterAnswer>,
    /// Subscriptions of a session; one more is answered with a failure.
    pub(crate) maximum_subscriptions: usize,
    /// Publications that aren't taken: the first that matches counts.
    pub(crate) refusals: Vec<Refusal>,
    /// Publications a second beyond which the server discards, without an answer.
    pub(crate) discards_over: Option<u32>,
    pub(crate) closes: Closes,
    pub(crate) downlink: Delivery,
    pub(crate) flood: Option<Flood>,
    pub(crate) expected: Expected,
}

/// How long sessions live.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    /// Probability, at each CONNECT, that the session is gone.
    pub(crate) forgotten: f64,
    /// How long the server keeps one of MQTT 3.1.1.
    pub(crate) expiry_3_1_1: Duration,
    /// The longest that it grants in MQTT 5.
    pub(crate) expiry_at_most: Duration,
}

impl Default for Sessions {
    fn default() -> Sessions {
        Sessions { forgotten: 0.0, expiry_3_1_1: Duration::from_secs(3600), expiry_at_most: MAX_SESSION_EXPIRY }
    }
}

/// The server ends a connection for no reason that the client could know.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Closes {
    /// So long after CONNACK.
    pub(crate) after: Option<Delay>,
    /// After so many packets of the client behind CONNECT, between these.
    pub(crate) after_packets: Option<(u32, u32)>,
    /// In MQTT 5 with a DISCONNECT of this reason code: 0x8b when the server shuts down, 0x8e when the session is taken over.
    pub(crate) reason: Option<u8>,
}

/// How messages go to the client.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) overlap: Overlap,
    /// What is sent again has DUP, as MQTT wants it (`MQTT-3.3.1-1`) and IoT Core doesn't do it.
    pub(crate) resends_with_dup: bool,
    /// MQTT 3.1.1: sent again on the same connection when there is no PUBACK for so long.
    pub(crate) repeats_after: Option<Duration>,
    /// Without a PUBACK for so long the server gives a message up.
    pub(crate) gives_up_after: Option<Duration>,
    /// What was stored while the client was away comes at this rate, in messages a second.
    pub(crate) stored_per_second: Option<u32>,
    /// `a/#` matches `a`, as MQTT wants it and IoT Core doesn't do it.
    pub(crate) hash_matches_parent: bool,
    /// Retained messages come for filters with wildcards, too, as MQTT wants it and IoT Core doesn't do it.
    pub(crate) retained_for_wildcards: bool,
    /// What the client publishes comes back to it if it is subscribed to the topic.
    pub(crate) echoes: bool,
}

impl Default for Delivery {
    fn default() -> Delivery {
        Delivery {
            overlap: Overlap::WithAll,
            resends_with_dup: false,
            repeats_after: None,
            gives_up_after: Some(Duration::from_secs(3600)),
            stored_per_second: Some(10),
            hash_matches_parent: false,
            retained_for_wildcards: false,
            echoes: true,
        }
    }
}

/// What a client gets whose subscriptions overlap (MQTT 5, 3.3.4). MQTT 3.1.1, and subscriptions without identifier, get the same
/// number of copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overlap {
    /// A copy for each.
    ForEach,
    /// One, with all identifiers.
    WithAll,
    /// One, with the identifier of the first, and the highest QoS.
    WithFirst,
}

/// Messages that come without end while the client is there: the payload is a number, filled up to `size`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flood {
    pub(crate) topic: String,
    pub(crate) size: usize,
    pub(crate) qos: u8,
    pub(crate) every: Duration,
}

/// What the client promises beyond MQTT.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    /// Publications: so many a second, and so many at once.
    pub(crate) publishes: Option<(u32, u32)>,
    /// Between two CONNECTs.
    pub(crate) connects_apart: Option<Duration>,
    /// So much more may the network delay one packet than another.
    pub(crate) jitter: Duration,
    /// Something comes within 1.5 times the keep alive. `false`: if not, the network may be to blame.
    pub(crate) keep_alive: bool,
}

impl Default for Expected {
    fn default() -> Expected {
        Expected {
            publishes: Some((100, 10)),
            connects_apart: Some(Duration::from_secs(1)),
            jitter: Duration::ZERO,
            keep_alive: true,
        }
    }
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour {
            connack: Reply::default(),
            refuses_connect: None,
            announced: Announced::default(),
            sessions: Sessions::default(),
            puback: Reply::default(),
            acknowledges_in_any_order: false,
            acknowledges_twice: 0.0,
            suback: Reply::default(),
            pingresp: Reply::default(),
            filters: BTreeMap::new(),
            maximum_subscriptions: MAX_SUBSCRIPTIONS as usize,
            refusals: Vec::new(),
            discards_over: None,
            closes: Closes::default(),
            downlink: Delivery::default(),
            flood: None,
            expected: Expected::default(),
        }
    }
}
