//! Why there is no connection to the local broker: every way in which connecting fails or a connection ends, each with a code for
//! programs and what happened for the log; what to do is in [`super::advice`].

use std::fmt;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use super::password::PasswordFault;
use crate::config;
use crate::mqtt::Malformed;
use crate::mqtt::isolation::Suspect;
use crate::mqtt::reason::{Reason, one_line};
use crate::mqtt::session::{End, Session};
use crate::net::credentials::CredentialsProblems;
use crate::net::{Attempt, ConnectError, ReachError, TlsFault, is_close, tls_fault};
use crate::time;

/// How many of the packets sent last are named when the broker closes the connection.
const SUSPECTS: usize = 5;

/// Why a connection has ended by itself.
#[derive(Debug)]
pub(super) enum Cause {
    Session(End),
    /// The broker has closed it.
    Closed,
    Io(io::Error),
    /// CONNACK hasn't come in time.
    NoConnAck,
}

/// How far a connection had come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// CONNECT is sent or about to be.
    AwaitingConnack,
    /// CONNACK has come, and what isn't answered is named, the last sent last.
    Connected { last_sent: Vec<String> },
}

impl Phase {
    pub(super) fn of(session: &Session) -> Phase {
        if !session.is_connected() {
            return Phase::AwaitingConnack;
        }
        let now: Instant = time::now();
        let mut last_sent: Vec<String> = Vec::new();
        for suspect in session.last_sent(now) {
            let named = match suspect {
                Suspect::Publish(message) => format!("PUBLISH to `{}`", message.topic),
                Suspect::Subscribe(filter) => format!("SUBSCRIBE to `{filter}`"),
            };
            last_sent.retain(|other| *other != named);
            last_sent.push(named);
        }
        Phase::Connected { last_sent: last_sent.split_off(last_sent.len().saturating_sub(SUSPECTS)) }
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LocalError {
    Password(PasswordFault),
    Credentials(CredentialsProblems),
    Reach(ReachError),
    /// The broker's verdict on our certificate, which comes behind the handshake.
    Tls(TlsFault),
    Closed(Phase),
    NoConnAck(Duration),
    Session(End, Phase),
    Io {
        kind: ErrorKind,
        detail: String,
    },
    /// The broker has closed so many connections in a row soon, with nothing in flight.
    TakenOver {
        times: u32,
    },
}

impl LocalError {
    /// What an I/O error on an established connection means.
    pub(super) fn of_io(error: &io::Error, phase: Phase) -> LocalError {
        match tls_fault(error) {
            Some(fault) => LocalError::Tls(fault),
            None if is_close(error.kind()) => LocalError::Closed(phase),
            None => LocalError::Io { kind: error.kind(), detail: error.to_string() },
        }
    }

    /// Whether no broker listens: it was stopped.
    pub(super) fn broker_is_away(&self) -> bool {
        match self {
            LocalError::Reach(ReachError::Connect(ConnectError::Tcp { attempts, .. })) => is_refused(attempts),
            LocalError::Reach(ReachError::Unix { kind, .. }) => {
                matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionRefused)
            }
            _ => false,
        }
    }

    /// Whether a packet of ours may be why the connection has ended (MQTT 5, 3.14.2.1).
    pub(super) fn may_be_for_a_packet(&self) -> bool {
        match self {
            LocalError::Closed(Phase::Connected { .. }) => true,
            LocalError::Session(End::Disconnected(reason), _) => {
                matches!(reason.code.0, 0x80..=0x83 | 0x87 | 0x8F | 0x90 | 0x95 | 0x99..=0x9B | 0x9E | 0xA2)
            }
            _ => false,
        }
    }

    /// What was tried, on what, and what came back: one line.
    pub(super) fn message(&self, config: &config::Bridge) -> String {
        one_line(&Said { error: self, config }.to_string())
    }

    /// Stable, `snake_case`.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            LocalError::Password(_) => "broker_password_file",
            LocalError::Credentials(_) => "broker_tls_files",
            LocalError::Reach(ReachError::Unix { kind, .. }) => socket_code(*kind),
            LocalError::Reach(ReachError::Connect(error)) => connect_code(error),
            LocalError::Tls(fault) => tls_code(fault),
            LocalError::Closed(Phase::AwaitingConnack) => "broker_closed_before_connack",
            LocalError::Closed(Phase::Connected { .. }) => "broker_closed_connection",
            LocalError::NoConnAck(_) => "broker_no_connack",
            LocalError::Session(end, phase) => end_code(end, phase),
            LocalError::Io { .. } => "broker_io",
            LocalError::TakenOver { .. } => "broker_client_id_taken_over",
        }
    }
}

pub(super) fn is_refused(attempts: &[Attempt]) -> bool {
    attempts.iter().all(|attempt| attempt.failure == Some(ErrorKind::ConnectionRefused))
}

fn socket_code(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "broker_socket_missing",
        ErrorKind::ConnectionRefused => "broker_not_running",
        ErrorKind::PermissionDenied => "broker_socket_denied",
        _ => "broker_unreachable",
    }
}

fn connect_code(error: &ConnectError) -> &'static str {
    match error {
        ConnectError::Tcp { attempts, .. } if is_refused(attempts) => "broker_not_running",
        ConnectError::Dns { .. } | ConnectError::InvalidHost(_) => "broker_dns",
        ConnectError::Tls { fault, .. } => tls_code(fault),
        ConnectError::Tcp { .. } | ConnectError::Proxy { .. } | ConnectError::Io { .. } => "broker_unreachable",
    }
}

fn tls_code(fault: &TlsFault) -> &'static str {
    match fault {
        TlsFault::UnknownIssuer { .. } | TlsFault::ServerCertificate { .. } => "broker_tls_untrusted",
        TlsFault::WrongName { .. } => "broker_tls_wrong_name",
        TlsFault::ServerExpired { .. } | TlsFault::ServerNotYetValid { .. } => "broker_tls_expired",
        TlsFault::NotTls(_) | TlsFault::Closed { answered: false } => "broker_tls_not_spoken",
        TlsFault::Alert(_) | TlsFault::Closed { answered: true } => "broker_tls_refused",
        TlsFault::Incompatible(_) | TlsFault::Timeout { .. } | TlsFault::Token(_) | TlsFault::Other(_) => {
            "broker_tls_failed"
        }
    }
}

fn end_code(end: &End, phase: &Phase) -> &'static str {
    match (end, phase) {
        (End::Refused(reason), _) => refused_code(reason),
        (End::Disconnected(reason), _) if reason.code.0 == 0x8E => "broker_client_id_taken_over",
        (End::Disconnected(_), _) => "broker_disconnected",
        (End::NoPingResp(_), _) => "broker_keep_alive_lost",
        (End::NoPubAck(..) | End::NoSubAck(..) | End::NoUnsubAck(..), _) => "broker_unanswered",
        (End::Unfinished { .. }, _) => "broker_packet_unfinished",
        (End::Malformed(_), Phase::AwaitingConnack) => "broker_not_mqtt",
        (End::Malformed(_) | End::Violation(_) | End::TopicAlias | End::TooMany(_), _) => "broker_protocol_violation",
    }
}

/// Below 0x80 it is a return code of MQTT 3.1.1 (table 3.1).
fn refused_code(reason: &Reason) -> &'static str {
    match reason.code.0 {
        1 | 0x84 => "broker_refused_protocol_version",
        2 | 0x85 => "broker_refused_client_id",
        4 | 5 | 0x86 | 0x87 | 0x8C => "broker_refused_login",
        _ => "broker_refused",
    }
}

/// What was tried, on what, and what came back.
struct Said<'a> {
    error: &'a LocalError,
    config: &'a config::Bridge,
}

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config::Bridge { broker, client_id, .. } = self.config;
        match self.error {
            LocalError::Password(fault) => write!(f, "no login for the broker {broker}: {fault}"),
            LocalError::Credentials(problems) => {
                let first = problems.0.first().map(ToString::to_string).unwrap_or_default();
                write!(f, "no TLS with the broker {broker}: {}", for_broker(&first))
            }
            LocalError::Reach(ReachError::Unix { kind, detail, .. }) => {
                let words = match kind {
                    ErrorKind::NotFound => "there is no such socket",
                    ErrorKind::ConnectionRefused => "nothing listens at that socket (connection refused)",
                    ErrorKind::PermissionDenied => "permission denied",
                    ErrorKind::TimedOut => "no answer",
                    _ => detail,
                };
                write!(f, "connecting to the broker {broker}: {words}")
            }
            LocalError::Reach(ReachError::Connect(error)) => said_of_connecting(error, self.config, f),
            LocalError::Tls(fault) => write!(f, "TLS with the broker {broker}: {fault}"),
            LocalError::Closed(Phase::AwaitingConnack) => {
                write!(
                    f,
                    "MQTT CONNECT as `{client_id}` to the broker {broker}: it closed the connection instead of a CONNACK"
                )
            }
            LocalError::Closed(Phase::Connected { last_sent }) => {
                write!(f, "the broker {broker} closed the connection of `{client_id}`{}", Last(last_sent))
            }
            LocalError::NoConnAck(waited) => {
                write!(
                    f,
                    "MQTT CONNECT as `{client_id}` to the broker {broker}: no CONNACK (after {} s)",
                    waited.as_secs()
                )
            }
            LocalError::Session(end, phase) => said_of_end(end, phase, self.config, f),
            LocalError::Io { detail, .. } => write!(f, "the connection with the broker {broker} broke: {detail}"),
            LocalError::TakenOver { times } => write!(
                f,
                "the broker {broker} closed the connection of `{client_id}` with nothing in flight, {times} times in a row"
            ),
        }
    }
}

fn said_of_connecting(error: &ConnectError, config: &config::Bridge, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let broker = &config.broker;
    match error {
        ConnectError::InvalidHost(host) => {
            write!(f, "the host {host:?} of broker is neither a name nor an IP address")
        }
        ConnectError::Dns { endpoint, fault, .. } => {
            write!(f, "looking up {} of the broker {broker}: {fault}", endpoint.host)
        }
        ConnectError::Tcp { attempts, .. } if is_refused(attempts) => {
            write!(f, "connecting to the broker {broker}: nothing listens there (connection refused)")
        }
        ConnectError::Tcp { attempts, .. } => {
            let attempts: Vec<String> = attempts.iter().map(ToString::to_string).collect();
            write!(f, "connecting to the broker {broker}: {}", attempts.join(", "))
        }
        ConnectError::Tls { fault, .. } => write!(f, "TLS with the broker {broker}: {fault}"),
        ConnectError::Io { detail, .. } => write!(f, "TLS with the broker {broker}: the connection broke: {detail}"),
        // There is none on the way to a local broker.
        ConnectError::Proxy { proxy, .. } => write!(f, "connecting to the broker {broker}: the proxy {proxy} failed"),
    }
}

fn said_of_end(end: &End, phase: &Phase, config: &config::Bridge, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let config::Bridge { broker, client_id, .. } = config;
    let last_sent = match phase {
        Phase::Connected { last_sent } => &last_sent[..],
        Phase::AwaitingConnack => &[],
    };
    match end {
        End::Refused(reason) => {
            write!(f, "MQTT CONNECT as `{client_id}` to the broker {broker}: refused with {}", RefusedConnack(reason))
        }
        End::Disconnected(reason) => write!(
            f,
            "the broker {broker} ended the connection of `{client_id}` with DISCONNECT, reason code {reason}{}",
            Last(last_sent)
        ),
        End::NoPingResp(waited) => write!(f, "the broker {broker} didn't answer PINGREQ within {} s", waited.as_secs()),
        End::Unfinished { come, size, waited } => write!(
            f,
            "the broker {broker} has sent {come} of the {size} bytes of a packet, and not the rest within {} s",
            waited.as_secs()
        ),
        End::NoPubAck(topic, waited) => {
            write!(f, "the broker {broker} didn't acknowledge the PUBLISH to `{topic}` within {} s", waited.as_secs())
        }
        End::NoSubAck(filter, waited) => {
            write!(
                f,
                "the broker {broker} didn't acknowledge the SUBSCRIBE to `{filter}` within {} s",
                waited.as_secs()
            )
        }
        End::NoUnsubAck(filter, waited) => {
            write!(
                f,
                "the broker {broker} didn't acknowledge the UNSUBSCRIBE from `{filter}` within {} s",
                waited.as_secs()
            )
        }
        End::Malformed(Malformed::Invalid(detail)) if *phase == Phase::AwaitingConnack => {
            write!(f, "what answers at the broker's address {broker} isn't MQTT: {detail}")
        }
        End::Malformed(_) | End::Violation(_) | End::TopicAlias | End::TooMany(_) => {
            write!(f, "the broker {broker} broke the rules of MQTT: {end}")
        }
    }
}

/// What a file of `tls` should hold, in the words for IoT Core, and in those for a broker.
const WORDS: [(&str, &str); 2] = [
    (
        "the root CA of the server's certificate (for IoT Core Amazon's root CA, https://www.amazontrust.com/repository/AmazonRootCA1.pem)",
        "the CA certificate with which the broker's certificate was signed",
    ),
    (
        "the certificate that IoT Core gave for this device (...-certificate.pem.crt)",
        "the certificate that was made for this client of the broker",
    ),
];

pub(super) fn for_broker(text: &str) -> String {
    // What would fetch Amazon's CA isn't for it.
    let text = text.split(": `curl ").next().unwrap_or(text);
    WORDS.iter().fold(text.to_owned(), |text, (aws, local)| text.replace(aws, local))
}

/// The code of a CONNACK that refuses, in the words of its version of MQTT.
struct RefusedConnack<'a>(&'a Reason);

impl fmt::Display for RefusedConnack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match self.0.code.0 {
            1 => "unacceptable protocol version",
            2 => "client id rejected",
            3 => "server unavailable",
            4 => "bad user name or password",
            5 => "not authorized",
            0x80.. => return write!(f, "CONNACK reason code {}", self.0),
            _ => "unknown",
        };
        write!(f, "CONNACK return code {} ({meaning})", self.0.code.0)
    }
}

/// What was sent last, at the end of a line.
struct Last<'a>(&'a [String]);

impl fmt::Display for Last<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            sent => write!(f, "; sent last: {}", sent.join(", ")),
        }
    }
}
