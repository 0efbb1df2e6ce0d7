//! What to do about a failure: likely causes, likeliest first.

use rustls::AlertDescription as Alert;

use super::tls::CLOCK_UNSET_BEFORE;
use super::{DnsFault, LinkError, Peer, Sent, TcpFault, TlsFault, disconnected, is_network_loss};
use crate::link::transport::Endpoint;
use crate::policy::scope::region_of_endpoint;

const DESCRIBE_ENDPOINT: &str = "`aws iot describe-endpoint --endpoint-type iot:Data-ATS` prints it";
const SET_CLOCK: &str = "this machine's clock isn't set: `timedatectl` shows whether it is synchronised, and time \
                         synchronisation needs its network (NTP, UDP port 123). It is tried again until then";

/// What to do where an acknowledgement is missing.
pub(crate) const NO_PUBACK: &str = "The network on the way loses packets, or IoT Core discarded it because a limit was passed \
                                    (connection.rate_limit keeps to those of an account without raised limits). It is sent \
                                    again; if this repeats, raise connection.ack_timeout.";

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
            LinkError::ConnackTimeout { .. } => "The server is overloaded, or what answers there isn't MQTT: check \
                 connection.endpoint and connection.port. It is tried again."
                .to_owned(),
            LinkError::ClosedByServer { peer, last_sent } => closed(peer, last_sent),
            LinkError::TakenOver { peer, .. } => {
                format!("Most likely {}", two_devices(peer, "another client connects"))
            }
            LinkError::Disconnected { peer, reason, last_sent } => disconnected::advice(peer, reason.code, last_sent),
            LinkError::Unanswered { .. } => NO_PUBACK.to_owned(),
            LinkError::KeepAliveLost { .. } => "The network on the way is gone or drops packets, or a NAT forgot the \
                 connection: if this repeats, lower connection.keep_alive."
                .to_owned(),
            LinkError::AddressLost { .. } => {
                "The network has changed (DHCP, another Wi-Fi, cable or modem): it is connected from \
                 another address as soon as there is one."
                    .to_owned()
            }
            LinkError::MalformedPacket { .. } => {
                "What answers there may not be an MQTT server: check connection.endpoint \
                 and connection.port."
                    .to_owned()
            }
            LinkError::PacketTooLarge { .. } => {
                "IoT Core sends none of that size; another broker must be set to at most \
                 128 KiB a payload."
                    .to_owned()
            }
            LinkError::ProtocolViolation { .. } => {
                "This is a fault of the server, or of gatewire: please report it with \
                 this line."
                    .to_owned()
            }
            LinkError::Io { kind, .. } if is_network_loss(*kind) => {
                "The network is down or the route is gone: check the \
                 cable, Wi-Fi or modem (`ip route`). It is tried again."
                    .to_owned()
            }
            LinkError::Io { .. } => "It is tried again; if it repeats, look at the kernel's log (`dmesg`).".to_owned(),
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
                "connection.endpoint is mistyped or has the wrong region{}: {DESCRIBE_ENDPOINT} for the region that \
                 `--region` names. If it is right, the name server here doesn't know public names (`getent hosts amazon.com`).",
                region(endpoint)
            )
        }
        DnsFault::NotFound => {
            "connection.endpoint is mistyped, or the name server here doesn't know it (`getent hosts NAME` asks it)."
                .to_owned()
        }
        DnsFault::Temporary => {
            "The network is down, or there is no name server that can be reached: check the connection (`ip \
             route` must show a default route) and /etc/resolv.conf (`resolvectl status`). It is tried again."
                .to_owned()
        }
        DnsFault::Timeout => {
            "The name server doesn't answer: a wrong one in /etc/resolv.conf (`resolvectl status`), a firewall \
             that drops UDP port 53, or the network is down (`ip route`). It is tried again."
                .to_owned()
        }
        DnsFault::Other(_) => format!("Check /etc/resolv.conf and `getent hosts {}`.", endpoint.host),
    }
}

fn tcp(endpoint: &Endpoint, fault: TcpFault) -> String {
    match fault {
        TcpFault::Silent if endpoint.port == 443 => {
            "A firewall on the way drops the packets, or the network is down: ask \
             for outgoing TCP to port 443 of this host."
                .to_owned()
        }
        TcpFault::Silent => format!(
            "A firewall on the way drops outgoing TCP to port {}, or the network is down: have it opened, or set \
             connection.port = 443, which is mostly open.",
            endpoint.port
        ),
        TcpFault::Refused if endpoint.is_iot_core() => format!(
            "IoT Core listens on ports 8883 and 443, so connection.port = {} is wrong or a firewall refuses for it: try \
             the other.",
            endpoint.port
        ),
        TcpFault::Refused => format!(
            "Nothing listens on port {} there, or a firewall refuses for it: check connection.endpoint and \
             connection.port, and that the broker runs.",
            endpoint.port
        ),
        TcpFault::Forbidden => format!(
            "A packet filter of this machine forbids it: allow outgoing TCP to port {} (`nft list ruleset`; the unit's \
             IPAddressDeny).",
            endpoint.port
        ),
        TcpFault::Unreachable => {
            "The network is down or has no route: check the cable, Wi-Fi or modem (`ip route` must \
             show a default route). It is tried again."
                .to_owned()
        }
        TcpFault::Other => "It is tried again; if it repeats, check the network (`ip route`) and the kernel's log \
             (`dmesg`)."
            .to_owned(),
    }
}

fn tls(peer: &Peer, fault: &TlsFault) -> String {
    match fault {
        TlsFault::Alert(alert) => alerted(peer, *alert),
        TlsFault::UnknownIssuer { issuer } => unknown_issuer(&peer.endpoint, issuer.as_deref()),
        TlsFault::WrongName { .. } => "Another server answers: connection.endpoint must be a name in the server's \
             certificate, and DNS or a proxy may lead elsewhere."
            .to_owned(),
        TlsFault::ServerExpired { clock, .. } | TlsFault::ServerNotYetValid { clock, .. }
            if *clock < CLOCK_UNSET_BEFORE =>
        {
            format!("Most likely {SET_CLOCK}.")
        }
        TlsFault::ServerNotYetValid { .. } => format!("Most likely {SET_CLOCK}."),
        TlsFault::ServerExpired { .. } => {
            "If this machine's clock is wrong, set it (`timedatectl`); if it is right, the \
             server needs a new certificate, or it isn't the one you mean."
                .to_owned()
        }
        TlsFault::ServerCertificate { issuer: Some(issuer), .. }
            if peer.endpoint.is_iot_core() && !is_amazon(issuer) =>
        {
            NOT_AMAZON.to_owned()
        }
        TlsFault::ServerCertificate { .. } => {
            "The server's certificate must be remade, or another server answers in its \
             place: check connection.endpoint."
                .to_owned()
        }
        TlsFault::NotTls(_) => "What listens there isn't an MQTT server with TLS: check connection.endpoint and \
             connection.port (8883 or 443), or whether a captive portal answers."
            .to_owned(),
        TlsFault::Incompatible(_) => {
            "The server must speak TLS 1.2 or 1.3 with AES-GCM: for IoT Core choose the security \
             policy IoTSecurityPolicy_TLS13_1_2_2022_10."
                .to_owned()
        }
        TlsFault::Closed => format!(
            "A firewall or proxy that doesn't let TLS for this host through, or the server rejects the certificate: {}.",
            certificate_state(peer)
        ),
        TlsFault::Timeout { .. } => {
            "The network loses packets, large ones perhaps (the MTU of a VPN or modem), or what \
             answers isn't TLS. It is tried again."
                .to_owned()
        }
        TlsFault::Other(_) => "It is tried again; if it repeats, please report it with this line.".to_owned(),
    }
}

/// Amazon's CAs, as they call themselves; Starfield is theirs, too.
const AMAZON: [&str; 2] = ["O=Amazon", "O=Starfield Technologies"];

fn is_amazon(issuer: &str) -> bool {
    AMAZON.iter().any(|name| issuer.contains(name))
}

const NOT_AMAZON: &str = "That isn't Amazon: a captive portal (log in to the network), or a proxy or firewall that opens TLS, \
                          answers in IoT Core's place. Have this host let through unopened.";

fn unknown_issuer(endpoint: &Endpoint, issuer: Option<&str>) -> String {
    let right_file = "the file must be Amazon's (https://www.amazontrust.com/repository/AmazonRootCA1.pem)";
    match (endpoint.is_iot_core(), issuer.map(is_amazon)) {
        (true, Some(true)) => {
            format!("This is Amazon's server, so tls.ca_file holds the wrong CA: {right_file}.")
        }
        (true, _) if is_not_ats(endpoint) => format!(
            "This isn't the account's ATS endpoint, whose name ends its first part in -ats: {DESCRIBE_ENDPOINT}."
        ),
        (true, Some(false)) => NOT_AMAZON.to_owned(),
        (true, None) => format!(
            "tls.ca_file holds the wrong CA: {right_file}. If it is, a captive portal or a proxy that opens TLS answers in IoT \
             Core's place: have this host let through."
        ),
        (false, _) => {
            "tls.ca_file must hold the CA that signed the server's certificate; a proxy that opens TLS or a captive \
             portal may also answer in its place."
                .to_owned()
        }
    }
}

fn alerted(peer: &Peer, alert: Alert) -> String {
    match alert {
        Alert::CertificateExpired => {
            "The client certificate (tls.cert_file) has ended by the server's clock: create a new \
             one and put it in its place."
                .to_owned()
        }
        Alert::CertificateRevoked => {
            format!(
                "The client certificate was revoked: create a new one, or activate it again: {}.",
                certificate_state(peer)
            )
        }
        Alert::BadCertificate
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied
        | Alert::UnsupportedCertificate
        | Alert::CertificateRequired
        | Alert::DecryptError
        | Alert::HandshakeFailure => {
            format!(
                "The client certificate isn't active, or isn't registered in this account and region{}, or has no policy \
                     attached: {}.",
                region(&peer.endpoint),
                certificate_state(peer)
            )
        }
        Alert::UnrecognisedName => {
            format!("The server doesn't know this host name: check connection.endpoint; {DESCRIBE_ENDPOINT}.")
        }
        Alert::NoApplicationProtocol => {
            "The server doesn't speak MQTT on this port: IoT Core does on 443 (with ALPN) and \
             8883; another broker needs another port than 443."
                .to_owned()
        }
        Alert::ProtocolVersion | Alert::InsufficientSecurity => {
            "The server must speak TLS 1.2 or 1.3 with AES-GCM.".to_owned()
        }
        _ => "It is tried again; if it repeats, check connection.endpoint and connection.port.".to_owned(),
    }
}

/// The command that shows whether IoT Core knows and accepts our certificate.
fn certificate_state(peer: &Peer) -> String {
    if peer.endpoint.is_iot_core() {
        format!("`aws iot describe-certificate --certificate-id {}` must say ACTIVE", peer.certificate_id)
    } else {
        format!("the server must accept the certificate with SHA-256 {}", peer.certificate_id)
    }
}

fn closed_before_connack(peer: &Peer) -> String {
    format!(
        "IoT Core does so if no policy attached to the certificate allows iot:Connect on client/{}, or if the certificate \
         isn't active: {}.",
        peer.client_id,
        certificate_state(peer)
    )
}

/// What to do about a client id that two devices have; `what` is what the other does.
pub(super) fn two_devices(peer: &Peer, what: &str) -> String {
    format!(
        "{what} as `{}`: two devices share this client id and push each other out. Give each its own connection.client_id (and \
         certificate); look for a second gatewire, a cloned SD card, a test client.",
        peer.client_id
    )
}

fn closed(peer: &Peer, last_sent: &[Sent]) -> String {
    let another = format!("another client connects as `{}`", peer.client_id);
    let causes = match last_sent {
        [] => format!("{another}; the certificate was deactivated, or its policy changed"),
        sent => format!("the certificate's policy lacks {}; {another}", needed(sent)),
    };
    format!(
        "IoT Core closes without a reason. Likely are, in this order: {causes}; a limit was passed. Its log in CloudWatch \
         (AWSIotLogsV2) says which."
    )
}

/// The permissions that a policy may lack.
pub(super) fn needed(last_sent: &[Sent]) -> String {
    let mut needed: Vec<String> = last_sent.iter().map(Sent::needs).collect();
    needed.dedup();
    needed.join(" or ")
}
