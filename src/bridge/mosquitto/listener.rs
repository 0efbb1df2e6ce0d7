//! Where mosquitto listens for programs of this machine.

use super::Problems;
use super::line::Line;
use crate::config::is_broker;

/// The broker for `[[bridge]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Local {
    /// As `bridge.broker` has it.
    pub(super) broker: String,
    /// It speaks TLS, with a certificate that some CA has signed.
    pub(super) has_tls: bool,
    /// Its certificate says who a client is.
    pub(super) wants_certificate: bool,
    /// It wants a user name, by this line.
    pub(super) wants_login: Option<Line>,
}

/// One of its `listener`s, or the default one of older configurations.
#[derive(Debug, Clone, Default)]
struct Listener {
    port: u16,
    host: String,
    has_tls: bool,
    wants_certificate: bool,
    is_websockets: bool,
}

/// The best of all listeners: one without TLS before one with it, a Unix socket last.
pub(super) fn local(lines: &[Line], problems: &mut Problems) -> Local {
    let mut listeners: Vec<Listener> = Vec::new();
    let mut default = Listener { port: 1883, ..Listener::default() };
    let mut is_default_used = false;
    let mut wants_login = None;
    let mut is_in_connection = false;
    for line in lines {
        let first = line.words().next().unwrap_or_default();
        let listener = listeners.last_mut().unwrap_or(&mut default);
        match line.option.as_str() {
            "connection" => is_in_connection = true,
            "listener" => {
                is_in_connection = false;
                match first.parse() {
                    Ok(port) => {
                        let host = line.words().nth(1).unwrap_or_default().to_owned();
                        listeners.push(Listener { port, host, ..Listener::default() });
                    }
                    Err(_) => problems.at(line, "`listener` has no valid port; set `broker` by hand"),
                }
            }
            "port" => {
                is_default_used = true;
                match first.parse() {
                    Ok(port) => default.port = port,
                    Err(_) => problems.at(line, "`port` isn't valid; set `broker` by hand"),
                }
            }
            "bind_address" => {
                is_default_used = true;
                first.clone_into(&mut default.host);
            }
            "certfile" if !is_in_connection => listener.has_tls = true,
            "require_certificate" if !is_in_connection => listener.wants_certificate = line.is_true(),
            "protocol" if !is_in_connection => listener.is_websockets = first == "websockets",
            "allow_anonymous" if !line.is_true() => wants_login = Some(line.clone()),
            "allow_anonymous" => wants_login = None,
            _ => {}
        }
    }
    if listeners.is_empty() || is_default_used {
        listeners.push(default);
    }
    let is_socket = |listener: &Listener| listener.port == 0;
    let rank = |listener: &&Listener| (listener.is_websockets, listener.has_tls, is_socket(listener));
    let best = listeners.iter().min_by_key(rank).cloned().unwrap_or_default();
    let host = match best.host.as_str() {
        "" | "0.0.0.0" | "localhost" => "127.0.0.1".to_owned(),
        "::" => "[::1]".to_owned(),
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    };
    let broker = match is_socket(&best) && best.host.starts_with('/') {
        true => format!("unix:{}", best.host),
        false => format!("{host}:{}", best.port.max(1)),
    };
    if let Some(line) = lines.iter().find(|line| line.option == "listener").filter(|_| best.is_websockets) {
        problems.at(line, "mosquitto listens for MQTT over WebSockets only, which a bridge doesn't speak; give mosquitto `listener 1883 127.0.0.1`");
    }
    let has_tls = best.has_tls && !is_socket(&best);
    let broker = match is_broker(&broker) {
        true => broker,
        false => {
            let is_it = |line: &&Line| ["listener", "bind_address"].contains(&line.option.as_str());
            let text = "this doesn't say where mosquitto listens; 127.0.0.1:1883 is written as `broker`";
            lines.iter().filter(is_it).take(1).for_each(|line| problems.at(line, text));
            "127.0.0.1:1883".to_owned()
        }
    };
    Local { broker, has_tls, wants_certificate: has_tls && best.wants_certificate, wants_login }
}
