//! What to do where there is no connection to the local broker: likely causes, likeliest first.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::getegid;

use super::error::{LocalError, Phase, is_refused};
use super::password::group_of;
use crate::client::Failure;
use crate::config::{self, Broker};
use crate::mqtt::reason::one_line;
use crate::mqtt::session::End;
use crate::mqtt::{Malformed, Protocol};
use crate::net::{ConnectError, ReachError, TlsFault};
use crate::owner::{name_of, own_name, quoted};

const IS_IT_RUNNING: &str = "Is the broker running? `systemctl status mosquitto` shows it";

impl LocalError {
    /// In the journal and in the status.
    pub(super) fn failure(&self, config: &config::Bridge) -> Failure {
        Failure { code: self.code(), message: self.message(config), advice: one_line(&of(self, config)) }
    }
}

/// One or two sentences.
fn of(error: &LocalError, config: &config::Bridge) -> String {
    match error {
        LocalError::Password(fault) => fault.advice(),
        LocalError::Credentials(problems) => match problems.0.len() {
            1 => "The file is read again at each attempt.".to_owned(),
            n => {
                format!("{n} things are wrong with the files of `tls`; `gatewire check --connect` names each in turn.")
            }
        },
        LocalError::Reach(ReachError::Unix { path, kind, .. }) => unix(path, *kind),
        LocalError::Reach(ReachError::Connect(error)) => connecting(error, config),
        LocalError::Tls(fault) => tls(fault, config),
        LocalError::Closed(Phase::AwaitingConnack) => closed_before_connack(config),
        LocalError::Closed(Phase::Connected { last_sent }) if last_sent.is_empty() => format!(
            "It was stopped or restarted, or another client has connected as `{}`: its log has the reason.",
            config.client_id
        ),
        LocalError::Closed(Phase::Connected { .. }) => {
            "It was stopped or restarted, or doesn't allow what was sent last: its log has the reason.".to_owned()
        }
        LocalError::NoConnAck(_) => format!(
            "It hangs, or what listens there isn't an MQTT broker{}: check broker.",
            if config.tls.is_none() { ", or it speaks TLS, and `tls` is missing in the [[bridge]]" } else { "" }
        ),
        LocalError::Session(end, phase) => ended(end, phase, config),
        LocalError::Io { .. } => "Look at the kernel's log (`dmesg`) and at the network to the broker.".to_owned(),
        LocalError::TakenOver { .. } => two_clients(config),
    }
}

fn unix(path: &Path, kind: ErrorKind) -> String {
    match kind {
        ErrorKind::NotFound => format!(
            "The broker creates it when it starts: is it running (`systemctl status mosquitto`), and does its configuration have \
             `listener 0 {}`?",
            path.display()
        ),
        ErrorKind::ConnectionRefused => {
            format!("The socket was left behind by a broker that doesn't run any more. {IS_IT_RUNNING}.")
        }
        ErrorKind::PermissionDenied => denied(path),
        _ => format!("{IS_IT_RUNNING}; its log says what it does."),
    }
}

/// Whose the socket is, or the directory on the way to it that may not be entered.
fn denied(path: &Path) -> String {
    let user = own_name();
    let seen = path.ancestors().find_map(|part| Some((part, fs::metadata(part).ok()?)));
    let Some((part, metadata)) = seen else { return format!("The user {user} needs write access to it.") };
    let (owner, group) = (name_of(metadata.uid()), group_of(metadata.gid()));
    let mode = metadata.mode() & 0o7777;
    let is_socket = part == path;
    let (what, right, bit) = match is_socket {
        true => ("The socket".to_owned(), "write to it", 0o020),
        false => (format!("The directory {}", part.display()), "enter it", 0o010),
    };
    let remedy = match (group.as_str(), mode & bit != 0, is_socket) {
        (group, true, _) if group != "root" => {
            format!("`sudo usermod -aG {group} {user}` adds {user} to its group; then restart gatewire.")
        }
        (_, _, true) => format!(
            "A drop-in for the broker's unit gives it to gatewire's group: `ExecStartPost=+/bin/chgrp {own} {file}` and \
             `ExecStartPost=+/bin/chmod 0660 {file}`.",
            own = group_of(getegid().as_raw()),
            file = quoted(path)
        ),
        (_, _, false) => {
            "Have the broker create its socket in a directory that gatewire may enter, such as /run/mosquitto."
                .to_owned()
        }
    };
    format!("{what} is {owner}:{group}, mode {mode:04o}, and the user {user} must be allowed to {right}. {remedy}")
}

fn connecting(error: &ConnectError, config: &config::Bridge) -> String {
    match error {
        ConnectError::Tcp { attempts, .. } if is_refused(attempts) => not_listening(config),
        ConnectError::Tcp { .. } | ConnectError::Io { .. } | ConnectError::Proxy { .. } => {
            "Is that machine on, and in the same network? A firewall on it may drop the port.".to_owned()
        }
        ConnectError::Dns { .. } | ConnectError::InvalidHost(_) => {
            "Set broker to the broker's IP address, or to the name by which this machine knows it (`getent hosts NAME`).".to_owned()
        }
        ConnectError::Tls { fault, .. } => tls(fault, config),
    }
}

fn not_listening(config: &config::Bridge) -> String {
    let Broker::Tcp { host, port } = &config.broker else { return format!("{IS_IT_RUNNING}.") };
    let is_here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    match is_here {
        true => format!(
            "{IS_IT_RUNNING}; `sudo ss -ltnp` lists the ports that are listened on, and {port} must be one of them."
        ),
        false => format!(
            "Is the broker running there, on port {port}? mosquitto without a `listener` in its configuration listens on \
             localhost alone: `listener {port}` opens it to the network (with `allow_anonymous` or a `password_file`)."
        ),
    }
}

fn tls(fault: &TlsFault, config: &config::Bridge) -> String {
    let host = match &config.broker {
        Broker::Tcp { host, .. } => host.as_str(),
        Broker::Unix(_) => "localhost",
    };
    match fault {
        TlsFault::UnknownIssuer { .. } => {
            "tls.ca_file must hold the CA certificate with which the broker's certificate was signed (mosquitto: its `cafile`).".to_owned()
        }
        TlsFault::WrongName { .. } | TlsFault::ServerCertificate { .. } => {
            let kind = if host.parse::<std::net::IpAddr>().is_ok() { "IP" } else { "DNS" };
            format!(
                "The broker's certificate must be signed by a CA, and have the host of broker in its subjectAltName \
                 ({kind}:{host}): issue a new one, or set broker to a name that the certificate has."
            )
        }
        TlsFault::ServerExpired { .. } | TlsFault::ServerNotYetValid { .. } => {
            "If this machine's clock is right (`timedatectl`), the broker needs a new certificate.".to_owned()
        }
        TlsFault::NotTls(_) | TlsFault::Closed { answered: false } => {
            "That port doesn't speak TLS: broker needs the port of a listener that has `certfile` (usually 8883), or remove `tls`.".to_owned()
        }
        TlsFault::Alert(_) | TlsFault::Closed { answered: true } => match config.tls.as_ref().and_then(|tls| tls.client.as_ref()) {
            None => "The broker requires a client certificate (mosquitto: `require_certificate true`): set tls.cert_file and tls.key_file.".to_owned(),
            Some((cert_file, _)) => format!(
                "The broker doesn't accept the certificate in {}: it must be signed by a CA of the broker's `cafile`, and be valid.",
                cert_file.display()
            ),
        },
        TlsFault::Incompatible(_) => "The broker must speak TLS 1.2 or 1.3 with AES-GCM.".to_owned(),
        TlsFault::Timeout { .. } => "The broker hangs, or what listens there doesn't speak TLS.".to_owned(),
        // A bridge's key is in a file.
        TlsFault::Token(_) | TlsFault::Other(_) => "If it repeats, please report it with this line.".to_owned(),
    }
}

fn other_version(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Mqtt5 => "protocol = \"3.1.1\"",
        Protocol::Mqtt311 => "protocol = \"5\"",
    }
}

fn closed_before_connack(config: &config::Bridge) -> String {
    let tls = if config.tls.is_none() {
        "that port may speak TLS (then set `tls`, or use a port without it); "
    } else {
        "it may require a client certificate; "
    };
    format!(
        "Likely, in this order: {tls}the broker may not know MQTT {} (try {}); it may not let `{}` in. Its log has the reason.",
        config.protocol.as_str(),
        other_version(config.protocol),
        config.client_id
    )
}

fn ended(end: &End, phase: &Phase, config: &config::Bridge) -> String {
    match end {
        End::Refused(reason) => refused(reason.code.0, config),
        End::Disconnected(reason) => match reason.code.0 {
            0x8E => two_clients(config),
            0x89 | 0x8B => "It is stopping or restarting; there is nothing to do here.".to_owned(),
            0x87 | 0x98 => "Its access rules have changed, or somebody has disconnected this client: its log has the reason.".to_owned(),
            0x8D => "It heard nothing for one and a half times the keep alive: this machine was suspended, or the network failed.".to_owned(),
            _ => "Its log has the reason.".to_owned(),
        },
        End::NoPingResp(_) | End::Unfinished { .. } => "The broker hangs, or the network to it is down.".to_owned(),
        End::NoPubAck(..) | End::NoSubAck(..) | End::NoUnsubAck(..) => {
            "The broker is overloaded or hangs: look at its log, and at the load of its machine (`top`). Nothing is lost; it is sent again."
                .to_owned()
        }
        End::Malformed(Malformed::Invalid(detail)) if *phase == Phase::AwaitingConnack => not_mqtt(detail, config),
        End::Malformed(_) | End::Violation(_) | End::TopicAlias | End::TooMany(_) => {
            "This is a fault of the broker, or of gatewire: please report it with this line.".to_owned()
        }
    }
}

/// A TLS alert begins so.
const TLS_ALERT: &str = "\"\\u{15}\\u{3}";

fn not_mqtt(detail: &str, config: &config::Bridge) -> String {
    if detail.contains(TLS_ALERT) {
        return "That port speaks TLS: set `tls = { ca_file = \"..\" }` in the [[bridge]], or use a port of the broker without TLS."
            .to_owned();
    }
    if ["\"HTTP/", "\"<"].iter().any(|start| detail.contains(start)) {
        return "A web server answers there, or the broker's listener for WebSockets: broker needs the port of MQTT itself, usually 1883."
            .to_owned();
    }
    format!(
        "Another kind of server answers there, or a broker of another version of MQTT (try {}): check broker.",
        other_version(config.protocol)
    )
}

fn refused(code: u8, config: &config::Bridge) -> String {
    match (code, &config.login) {
        (1 | 0x84, _) => {
            format!("The broker doesn't know MQTT {}: set {}.", config.protocol.as_str(), other_version(config.protocol))
        }
        (2 | 0x85, _) => format!("The broker doesn't accept the client id `{}`: set another client_id.", config.client_id),
        (4 | 5 | 0x86 | 0x87 | 0x8C, None) => {
            "The broker requires a login: set username and password_file (mosquitto: `sudo mosquitto_passwd FILE gatewire` adds a user \
             to its password file), or allow clients without one (`allow_anonymous true`)."
                .to_owned()
        }
        (4 | 5 | 0x86 | 0x87 | 0x8C, Some(login)) => format!(
            "The broker doesn't accept the user `{}` with {}: set its password there (mosquitto: `sudo mosquitto_passwd FILE {}`, then \
             `sudo systemctl reload mosquitto`){}.",
            login.username,
            match &login.password_file {
                Some(path) => format!("the password in {}", path.display()),
                None => "no password".to_owned(),
            },
            login.username,
            if login.password_file.is_some() { " and in that file" } else { ", and name a password_file" }
        ),
        (3 | 0x88 | 0x89, _) => "The broker is starting or overloaded.".to_owned(),
        _ => "Its log has the reason.".to_owned(),
    }
}

fn two_clients(config: &config::Bridge) -> String {
    format!(
        "Another client connects to the broker as `{0}`, and each ends the other's connection: look for a second gatewire or a test \
         client with this client id, or set another client_id.",
        config.client_id
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bridge::local::tests::bridge;
    use crate::mqtt::reason::Reason;

    fn refused(code: u8, text: &str) -> LocalError {
        let text = Some(text.to_owned()).filter(|text| !text.is_empty());
        LocalError::Session(End::Refused(Reason::new(code, text)), Phase::AwaitingConnack)
    }

    #[test]
    fn each_refusal_has_its_code_and_what_to_do() {
        let login = config::BrokerLogin { username: "u".to_owned(), password_file: Some("/p".into()) };
        let with_login = config::Bridge { login: Some(login), ..bridge() };
        for (code, config, name, words) in [
            (4, bridge(), "broker_refused_login", "set username and password_file"),
            (5, with_login.clone(), "broker_refused_login", "the user `u` with the password in /p"),
            (0x86, with_login.clone(), "broker_refused_login", "mosquitto_passwd FILE u"),
            (0x87, bridge(), "broker_refused_login", "allow_anonymous true"),
            (1, bridge(), "broker_refused_protocol_version", "set protocol = \"5\""),
            (
                0x84,
                config::Bridge { protocol: Protocol::Mqtt5, ..bridge() },
                "broker_refused_protocol_version",
                "3.1.1",
            ),
            (2, bridge(), "broker_refused_client_id", "`gatewire-thing-1`"),
            (0x88, bridge(), "broker_refused", "starting or overloaded"),
            (0x8A, bridge(), "broker_refused", "Its log"),
        ] {
            let failure = refused(code, "").failure(&config);
            assert_eq!(failure.code, name);
            assert!(failure.advice.contains(words), "{}", failure.advice);
            assert!(
                failure.message.starts_with("MQTT CONNECT as `gatewire-thing-1` to the broker 127.0.0.1:1883: refused")
            );
        }
    }

    #[test]
    fn what_a_broker_says_is_one_line_and_a_sentence_follows() {
        let away = |kind| LocalError::Reach(ReachError::Unix { path: "/m".into(), kind, detail: "odd".to_owned() });
        let phases = || [Phase::AwaitingConnack, Phase::Connected { last_sent: vec!["PUBLISH to `a`".to_owned()] }];
        let ends = || {
            let malformed = |detail: &str| End::Malformed(Malformed::Invalid(detail.to_owned()));
            let disconnected = [0x87, 0x8B, 0x8D, 0x8E, 0x95].map(|code| End::Disconnected(Reason::new(code, None)));
            let others = [End::NoPingResp(Duration::from_secs(30)), End::TopicAlias, End::Violation("x".to_owned())];
            let odd = ["\"HTTP/1.1", "\"\\u{15}\\u{3}\\u{1}", "\"SSH-2"].map(malformed);
            disconnected.into_iter().chain(others).chain(odd)
        };
        let sessions =
            phases().into_iter().flat_map(|phase| ends().map(move |end| LocalError::Session(end, phase.clone())));
        let closed = phases().map(LocalError::Closed);
        let kinds =
            [ErrorKind::NotFound, ErrorKind::ConnectionRefused, ErrorKind::PermissionDenied, ErrorKind::TimedOut];
        let faults =
            [TlsFault::Closed { answered: true }, TlsFault::Timeout { waited: Duration::ZERO }].map(LocalError::Tls);
        let others =
            [refused(0x87, "no\nERROR"), LocalError::TakenOver { times: 3 }, LocalError::NoConnAck(Duration::ZERO)];
        for error in sessions.chain(closed).chain(kinds.map(away)).chain(faults).chain(others) {
            let failure = error.failure(&bridge());
            let said = format!("{}: {}", failure.message, failure.advice);
            assert!(failure.message.contains("127.0.0.1:1883") && !said.contains('\n'), "{said}");
            assert!(
                failure.advice.ends_with(['.', '?']) && failure.advice.starts_with(char::is_uppercase)
                    || failure.advice.starts_with('`'),
                "{said}"
            );
        }
    }
}
