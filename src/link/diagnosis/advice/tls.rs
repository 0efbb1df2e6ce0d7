//! What to do where TLS fails.

use std::net::IpAddr;

use rustls::AlertDescription as Alert;

use super::super::phrases::sentence;
use super::super::tls::CLOCK_UNSET_BEFORE;
use super::super::{Peer, TlsFault};
use super::{DESCRIBE_ENDPOINT, is_not_ats, region};
use crate::net::Endpoint;
use crate::net::credentials::{Outside, ServerCertificate};

const SET_CLOCK: &str = "this machine's clock isn't set: `timedatectl` shows whether it is synchronised, and time \
                         synchronisation needs its network (NTP, UDP port 123)";

pub(super) fn tls(peer: &Peer, fault: &TlsFault) -> String {
    match fault {
        TlsFault::Alert(alert) => alerted(peer, *alert),
        TlsFault::UnknownIssuer { certificate } => unknown_issuer(&peer.endpoint, certificate.as_deref()),
        TlsFault::WrongName { certificate: Some(certificate), .. } if !certificate.has_names => format!(
            "The server needs a certificate with its host name in subjectAltName ({}): the common name is ignored.",
            alternative_name(&peer.endpoint.host)
        ),
        TlsFault::WrongName { .. } => {
            "connection.endpoint must be a name in the server's certificate. If it is right, DNS or a proxy leads to another \
             server."
                .to_owned()
        }
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
        TlsFault::ServerCertificate { certificate: Some(certificate), .. }
            if peer.endpoint.is_iot_core() && !is_amazon(&certificate.issuer) =>
        {
            NOT_AMAZON.to_owned()
        }
        TlsFault::ServerCertificate { .. } => format!(
            "The server needs a certificate that a CA has signed: X.509 version 3, CA:FALSE, with its host name in \
             subjectAltName ({}). tls.ca_file is then the certificate of that CA.",
            alternative_name(&peer.endpoint.host)
        ),
        TlsFault::NotTls(_) | TlsFault::Closed { answered: false } if peer.endpoint.port == PLAIN_MQTT => {
            PLAIN_MQTT_ADVICE.to_owned()
        }
        TlsFault::NotTls(_) => "What listens there isn't an MQTT server with TLS: check connection.endpoint and \
             connection.port (8883 or 443), or whether a captive portal answers."
            .to_owned(),
        TlsFault::Incompatible(_) => {
            "The server must speak TLS 1.2 or 1.3 with AES-GCM: for IoT Core choose the security \
             policy IoTSecurityPolicy_TLS13_1_2_2022_10."
                .to_owned()
        }
        TlsFault::Closed { answered: false } if peer.endpoint.is_iot_core() && peer.endpoint.port != 443 => {
            "A firewall on the way doesn't let TLS to this host through: have it opened, or set connection.port = 443, which \
            is usually open."
                .to_owned()
        }
        TlsFault::Closed { answered: false } if peer.endpoint.is_iot_core() => {
            "A firewall or proxy on the way doesn't let TLS to this host through: have it opened.".to_owned()
        }
        TlsFault::Closed { answered: false } => {
            "What listens there may not speak TLS, which gatewire needs: check connection.port (a broker's port with TLS is \
            usually 8883). If it does, a firewall on the way closes the connection."
                .to_owned()
        }
        TlsFault::Closed { answered: true } => {
            format!("{}The server doesn't accept the client certificate: {}.", out_of_date(peer), certificate_state(peer))
        }
        TlsFault::Timeout { .. } if peer.endpoint.port == PLAIN_MQTT => PLAIN_MQTT_ADVICE.to_owned(),
        TlsFault::Timeout { .. } => {
            "The network loses packets, large ones perhaps (the MTU of a VPN or modem), or what \
             answers isn't TLS."
                .to_owned()
        }
        TlsFault::Token(fault) => fault.advice(),
        TlsFault::Other(_) => "If it repeats, please report it with this line.".to_owned(),
    }
}

/// Amazon's CAs, as they call themselves; Starfield is theirs, too.
const AMAZON: [&str; 2] = ["O=Amazon", "O=Starfield Technologies"];

fn is_amazon(issuer: &str) -> bool {
    AMAZON.iter().any(|name| issuer.contains(name))
}

const NOT_AMAZON: &str = "That isn't Amazon: a captive portal (log in to the network), or a proxy or firewall that intercepts \
    TLS, answers in IoT Core's place. Have it let this host through without interception.";

fn unknown_issuer(endpoint: &Endpoint, certificate: Option<&ServerCertificate>) -> String {
    let right_file = "the file must be Amazon's (https://www.amazontrust.com/repository/AmazonRootCA1.pem)";
    match (endpoint.is_iot_core(), certificate.map(|certificate| is_amazon(&certificate.issuer))) {
        (true, Some(true)) => {
            format!("This is Amazon's server, so tls.ca_file holds the wrong CA{}: {right_file}.", held(certificate))
        }
        (true, _) if is_not_ats(endpoint) => format!(
            "This isn't the account's ATS endpoint, whose name ends its first part in -ats: {DESCRIBE_ENDPOINT}."
        ),
        (true, Some(false)) => NOT_AMAZON.to_owned(),
        (true, None) => format!(
            "tls.ca_file holds the wrong CA: {right_file}. If it is, a captive portal or a proxy that intercepts TLS answers \
            in IoT Core's place: have it let this host through."
        ),
        (false, _) if certificate.is_some_and(|certificate| certificate.is_self_signed) => {
            "The server has signed its certificate itself: put that certificate into tls.ca_file if you trust it, or have a CA \
             sign one for it. A captive portal may also answer in its place."
                .to_owned()
        }
        (false, _) => match certificate.and_then(|certificate| certificate.descent.as_deref()) {
            Some(descent) if descent.is_named => format!(
                "tls.ca_file must hold the CA that signed the server's certificate. It has one of that name, but with another key: the CA was created \
                 again. Copy its present certificate (\"{}\") into tls.ca_file.",
                descent.top
            ),
            Some(descent) => format!(
                "tls.ca_file must hold the CA that signed the server's certificate, \"{}\"{}. If that is an intermediate CA, the \
                 server should send its certificate along. A proxy that intercepts TLS or a captive portal may also answer in \
                 its place.",
                descent.top,
                held(certificate)
            ),
            None => "tls.ca_file must hold the CA that signed the server's certificate; a proxy that intercepts TLS or a captive \
                portal may also answer in its place."
                .to_owned(),
        },
    }
}

/// What `tls.ca_file` holds instead.
fn held(certificate: Option<&ServerCertificate>) -> String {
    let trusted =
        certificate.and_then(|certificate| certificate.descent.as_deref()).map(|descent| &descent.trusted[..]);
    let names: Vec<String> = trusted.unwrap_or_default().iter().map(|name| format!("\"{name}\"")).collect();
    if names.is_empty() { String::new() } else { format!("; it holds {}", names.join(" and ")) }
}

/// What belongs into a certificate for `host`, as openssl writes it.
fn alternative_name(host: &str) -> String {
    let kind = if host.parse::<IpAddr>().is_ok() { "IP" } else { "DNS" };
    format!("{kind}:{host}")
}

/// The port that MQTT has without TLS.
const PLAIN_MQTT: u16 = 1883;
const PLAIN_MQTT_ADVICE: &str = "Port 1883 is MQTT without TLS, and gatewire connects with TLS only: set connection.port to \
    the port that the broker has for TLS, usually 8883.";

fn alerted(peer: &Peer, alert: Alert) -> String {
    match alert {
        Alert::CertificateExpired => {
            format!(
                "{}{} has expired by the server's clock: {}.",
                out_of_date(peer),
                sentence(peer.whose.name()),
                peer.whose.replace()
            )
        }
        Alert::CertificateRevoked => {
            format!(
                "{} was revoked. Activate it again: {}; or {}.",
                sentence(peer.whose.name()),
                certificate_state(peer),
                peer.whose.replace()
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
                "{}The client certificate isn't active, or isn't registered in this account and region{}, or has no policy \
                     attached: {}.",
                out_of_date(peer),
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
        _ => "If it repeats, check connection.endpoint and connection.port.".to_owned(),
    }
}

/// That the client certificate isn't valid by this machine's clock, if so: the likeliest cause. Goes before the others.
pub(super) fn out_of_date(peer: &Peer) -> String {
    match peer.outside {
        Some(Outside::NotYetValid { not_before, clock }) => format!(
            "Most likely {} isn't valid yet: it is from {not_before} on, and this machine's clock says {clock}. If the clock is wrong, set \
             it (`timedatectl`); if it is right, wait until then. If it isn't that: ",
            peer.whose.name()
        ),
        Some(Outside::Expired { not_after, clock }) => format!(
            "Most likely {} expired on {not_after}; this machine's clock says {clock}. If the clock is wrong, set it (`timedatectl`); if it \
             is right, {}. If it isn't that: ",
            peer.whose.name(),
            peer.whose.replace()
        ),
        None => String::new(),
    }
}

/// The command that shows whether IoT Core knows and accepts our certificate.
pub(super) fn certificate_state(peer: &Peer) -> String {
    if peer.endpoint.is_iot_core() {
        format!("`aws iot describe-certificate --certificate-id {}` must say ACTIVE", peer.certificate_id)
    } else {
        format!("the server must accept the certificate with SHA-256 {}", peer.certificate_id)
    }
}
