//! What the session asks of a local broker, and how it is reached.

use std::time::Duration;

use crate::config::{self, Broker};
use crate::limits::{MAX_IN_FLIGHT, MAX_SESSION_EXPIRY};
use crate::mqtt::{KeepAlive, Login, Options, Subscribing};
use crate::net::{BrokerOptions, Endpoint, Place};

use super::announcements;

const KEEP_ALIVE: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// The broker is near: what it hasn't answered by then, it won't.
const ACK_TIMEOUT: Duration = Duration::from_secs(20);

/// What the session asks for.
pub(super) fn of(config: &config::Bridge, login: Option<Login>) -> Options {
    Options {
        protocol: config.protocol,
        client_id: config.client_id.clone(),
        session_expiry: MAX_SESSION_EXPIRY,
        keep_alive: KeepAlive::Fixed(KEEP_ALIVE),
        ack_timeout: ACK_TIMEOUT,
        max_in_flight: MAX_IN_FLIGHT,
        will: announcements::will(config),
        birth: None,
        login,
        subscribing: Subscribing {
            max: usize::MAX,
            retain_as_published: true,
            only_new_retained: true,
            no_local: true,
            each_connection: true,
        },
        drops_unfit: true,
        refusals_are_final: true,
        topic_alias: false,
        waits_for_room: true,
    }
}

/// How the broker is reached. What TLS needs is read before each attempt.
pub(super) fn way(config: &config::Bridge) -> BrokerOptions {
    BrokerOptions {
        place: match &config.broker {
            Broker::Tcp { host, port } => Place::Tcp(Endpoint { host: host.as_str().into(), port: *port }),
            Broker::Unix(path) => Place::Unix(path.clone()),
        },
        tls: None,
        connect_timeout: CONNECT_TIMEOUT,
        keep_alive: KEEP_ALIVE,
    }
}
