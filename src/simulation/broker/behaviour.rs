//! What the local broker does.

use std::collections::BTreeMap;

use crate::simulation::server::behaviour::{Announced, Delay, FilterAnswer, Refusal, Reply};

/// How the broker behaves. The default is a good mosquitto: it answers at once, loses nothing, keeps sessions.
#[derive(Debug, Clone)]
pub(in crate::simulation) struct Behaviour {
    /// It accepts connections, and does nothing else.
    pub(in crate::simulation) hangs: bool,
    /// CONNACK refuses with this code: of MQTT 3.1.1, of MQTT 5.
    pub(in crate::simulation) refuses_connect: Option<(u8, u8)>,
    pub(in crate::simulation) connack: Reply,
    pub(in crate::simulation) puback: Reply,
    pub(in crate::simulation) suback: Reply,
    pub(in crate::simulation) announced: Announced,
    /// What is done on a SUBSCRIBE with this filter, if it isn't granted.
    pub(in crate::simulation) filters: BTreeMap<String, FilterAnswer>,
    /// Publications that it doesn't take.
    pub(in crate::simulation) refusals: Vec<Refusal>,
    /// It ends each connection so long after CONNACK; in MQTT 5 with this reason: 0x8e, another client has the id.
    pub(in crate::simulation) ends: Option<(Delay, Option<u8>)>,
    /// Messages with QoS 1 that it sends without a PUBACK.
    pub(in crate::simulation) window: usize,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        let announced = Announced {
            maximum_packet_size: None,
            maximum_qos: 2,
            subscription_identifiers: true,
            topic_alias_maximum: 10,
            keep_alive: (1, u16::MAX),
            receive_maximum: 20,
            ..Announced::default()
        };
        Behaviour {
            hangs: false,
            refuses_connect: None,
            connack: Reply::default(),
            puback: Reply::default(),
            suback: Reply::default(),
            announced,
            filters: BTreeMap::new(),
            refusals: Vec::new(),
            ends: None,
            window: 20,
        }
    }
}
