//! What to do about a failure: likely causes, likeliest first. When the next attempt comes is said elsewhere: not everybody
//! who asks for advice goes on trying.

mod tls;

use super::phrases::{lacks, may_connect, sentence, server_log, two_devices};
use super::{DnsFault, LinkError, Peer, Sent, TcpFault, disconnected, is_network_loss};
use crate::certificate::Whose;
use crate::mqtt::Protocol;
use crate::net::Endpoint;
use crate::policy::scope::region_of_endpoint;
use tls::{certificate_state, out_of_date, tls};

const DESCRIBE_ENDPOINT: &str = "`aws iot describe-endpoint --endpoint-type iot:Data-ATS` prints it";
/// What to do where an acknowledgement is missing.
pub(crate) const NO_PUBACK: &str = "The network on the way loses packets, or IoT Core discarded it because a limit was \
    exceeded (connection.rate_limit keeps to the default limits of an account). It is sent again. If this repeats, raise \
    connection.ack_timeout.";

impl LinkError {
    /// Likely causes in order, and what to do: one or two sentences.
    pub(crate) fn advice(&self) -> String {
        match self {
            LinkError::InvalidEndpoint(_) => {
                format!("Set connection.endpoint to the host name alone, without scheme and port; {DESCRIBE_ENDPOINT}.")
            }
            LinkError::Dns { endpoint, fault, .. } => dns(endpoint, fault),
            LinkError::Tcp { endpoint, attempts, .. } => tcp(endpoint, TcpFault::of(attempts)),
            LinkError::Proxy { proxy, endpoint, fault, .. } => fault.advice(proxy, endpoint),
            LinkError::Tls { peer, fault } => tls(peer, fault),
            LinkError::ClosedBeforeConnack { peer } => closed_before_connack(peer),
            LinkError::ConnackRefused { peer, reason } => disconnected::refused_advice(peer, reason.code),
            LinkError::ConnackTimeout { peer, .. } => format!(
                "{}The server is overloaded, or what answers there isn't an MQTT server: check connection.endpoint and \
                 connection.port.",
                other_version(peer)
            ),
            LinkError::ClosedByServer { peer, last_sent } => closed(peer, last_sent),
            LinkError::TakenOver { peer, .. } => format!(
                "Most likely {} If the server was restarted as often, that was it.",
                two_devices(peer, "another client connects")
            ),
            LinkError::Disconnected { peer, reason, last_sent } => disconnected::advice(peer, reason.code, last_sent),
            LinkError::Unanswered { .. } => NO_PUBACK.to_owned(),
            LinkError::KeepAliveLost { .. } => "The network on the way is down or drops packets, or a NAT router forgot the \
                connection. If this repeats, lower connection.keep_alive; with \"auto\", gatewire does that itself."
                .to_owned(),
            LinkError::PacketUnfinished { .. } => "The network on the way loses packets or is too slow for such a packet, or the \
                server has a defect. IoT Core sends none over 128 KiB; limit another broker to payloads of 128 KiB."
                .to_owned(),
            LinkError::AddressLost { .. } => {
                "The network has changed (DHCP, another Wi-Fi, cable or modem): gatewire reconnects from another address as \
                soon as there is one."
                    .to_owned()
            }
            LinkError::MalformedPacket { is_connected: true, .. } | LinkError::ProtocolViolation { .. } => {
                "This is a fault of the server, or of gatewire: please report it with \
                 this line."
                    .to_owned()
            }
            LinkError::MalformedPacket { detail, .. } if ["\"HTTP/", "\"SSH-"].iter().any(|start| detail.to_string().contains(start)) => {
                "A server of another kind answers there, not an MQTT server: check connection.endpoint and connection.port \
                 (8883 or 443).".to_owned()
            }
            LinkError::MalformedPacket { peer, .. } => format!(
                "{}What answers there may not be an MQTT server: check connection.endpoint and connection.port.",
                other_version(peer)
            ),
            LinkError::PacketTooLarge { .. } => {
                "IoT Core sends none of that size; limit another broker to payloads of 128 KiB."
                    .to_owned()
            }
            LinkError::Io { kind, .. } if is_network_loss(*kind) => {
                "The network is down or the route is gone: check the \
                 cable, Wi-Fi or modem (`ip route`)."
                    .to_owned()
            }
            LinkError::Io { .. } => "Look at the kernel's log (`dmesg`).".to_owned(),
        }
    }
}

/// IoT Core's older endpoints, `ID.iot.REGION.amazonaws.com`, have certificates of a CA that isn't Amazon's own.
fn is_not_ats(endpoint: &Endpoint) -> bool {
    let mut labels = endpoint.host.split('.');
    let first = labels.next().unwrap_or_default();
    endpoint.is_iot_core() && labels.next() == Some("iot") && !first.ends_with("-ats")
}

/// The region that an endpoint is in by its name, to be put behind a word.
fn region(endpoint: &Endpoint) -> String {
    region_of_endpoint(&endpoint.host).map(|region| format!(" ({region})")).unwrap_or_default()
}

fn dns(endpoint: &Endpoint, fault: &DnsFault) -> String {
    match fault {
        DnsFault::NotFound if endpoint.is_iot_core() => {
            format!(
                "connection.endpoint is mistyped or has the wrong region{}: {DESCRIBE_ENDPOINT} for the region that `--region` \
                names. If it is right, this machine's name server doesn't know public names (`getent hosts amazon.com`).",
                region(endpoint)
            )
        }
        DnsFault::NotFound => format!(
            "connection.endpoint is mistyped, or this machine's name server doesn't know it (`getent hosts {}` asks it).",
            endpoint.host
        ),
        DnsFault::Temporary => {
            "The network is down, or no name server can be reached: check the connection (`ip route` must show a default \
            route) and /etc/resolv.conf (`resolvectl status`)."
                .to_owned()
        }
        DnsFault::Timeout => {
            "The name server doesn't answer: a wrong one in /etc/resolv.conf (`resolvectl status`), a firewall \
             that drops UDP port 53, or the network is down (`ip route`)."
                .to_owned()
        }
        DnsFault::NoThread(_) => {
            "Too many processes and threads run: end some, or raise TasksMax= of the unit (LimitNPROC= where that is set)."
                .to_owned()
        }
        DnsFault::Other(_) => format!("Check /etc/resolv.conf and `getent hosts {}`.", endpoint.host),
    }
}

fn tcp(endpoint: &Endpoint, fault: TcpFault) -> String {
    match fault {
        TcpFault::Silent if endpoint.port == 443 => {
            "A firewall on the way drops the packets, or the network is down: have outgoing TCP to port 443 of this host \
            opened."
                .to_owned()
        }
        TcpFault::Silent => format!(
            "A firewall on the way drops outgoing TCP to port {}, or the network is down: have it opened, or set \
            connection.port = 443, which is usually open.",
            endpoint.port
        ),
        TcpFault::Refused if endpoint.is_iot_core() && endpoint.port == 8883 => {
            "A firewall on the way refuses outgoing TCP to port 8883: have it opened, or set connection.port = 443, which is \
            usually open."
                .to_owned()
        }
        TcpFault::Refused if endpoint.is_iot_core() && endpoint.port == 443 => {
            "A firewall on the way refuses outgoing TCP to port 443 of this host: have it opened.".to_owned()
        }
        TcpFault::Refused if endpoint.is_iot_core() => format!(
            "IoT Core doesn't listen on port {}: set connection.port = 8883, or 443 where a firewall closes that.",
            endpoint.port
        ),
        TcpFault::Refused => format!(
            "Nothing listens on port {} there, or a firewall refuses it: check connection.endpoint and connection.port, and \
             that the broker runs.",
            endpoint.port
        ),
        TcpFault::Forbidden => format!(
            "A packet filter of this machine forbids it: allow outgoing TCP to port {} (`nft list ruleset`; the unit's \
             IPAddressDeny).",
            endpoint.port
        ),
        TcpFault::Unreachable => {
            "The network is down or has no route: check the cable, Wi-Fi or modem (`ip route` must \
             show a default route)."
                .to_owned()
        }
        TcpFault::Other => "Check the network (`ip route`) and the kernel's log (`dmesg`)."
            .to_owned(),
    }
}

fn closed_before_connack(peer: &Peer) -> String {
    let connect = may_connect(peer);
    match peer.endpoint.is_iot_core() {
        // What a certificate needs that registers itself.
        true if peer.brings_authority && peer.whose == Whose::ByHand => format!(
            "{}{} brings that of its CA along: if that CA is registered for certificates which register themselves (JITP, JITR), \
             IoT Core closes the first connection and accepts a later one, once the template or your function has activated the \
             certificate. Where none does, these are likely: {connect}, or the certificate isn't active: {}.",
            out_of_date(peer),
            sentence(peer.whose.name()),
            certificate_state(peer)
        ),
        true => format!(
            "{}{connect}, or the certificate isn't active: {}. If the certificate registers itself when it is first used (JITP, \
            JITR), IoT Core also closes the first connection, and accepts a later one.",
            out_of_date(peer),
            certificate_state(peer)
        ),
        false => format!(
            "{}{}{connect}, or it doesn't accept the certificate: {} has the reason.",
            out_of_date(peer),
            other_version(peer),
            server_log(peer)
        ),
    }
}

/// That a server may know the other version of MQTT alone; nothing at IoT Core, which knows both. Goes before other causes.
fn other_version(peer: &Peer) -> &'static str {
    match (peer.endpoint.is_iot_core(), peer.protocol) {
        (false, Protocol::Mqtt5) => {
            "The server may know MQTT 3.1.1 only, and then closes the connection or stays silent when it is asked for MQTT 5: \
            try connection.protocol = \"3.1.1\". "
        }
        (false, Protocol::Mqtt311) => "The server may know MQTT 5 only: try connection.protocol = \"5\". ",
        (true, _) => "",
    }
}

fn closed(peer: &Peer, last_sent: &[Sent]) -> String {
    let another = format!("another client connects as `{}`", peer.client_id);
    let causes = match (last_sent, peer.endpoint.is_iot_core()) {
        ([], true) => format!("{another}; the certificate was deactivated, or its policy changed"),
        ([], false) => format!("{another}; the server was stopped, or no longer accepts the certificate"),
        (sent, _) => format!("{}; {another}", lacks(peer, sent)),
    };
    format!(
        "It gave no reason. Likely, in this order: {causes}; a limit was exceeded. {} has the reason.",
        sentence(server_log(peer))
    )
}
