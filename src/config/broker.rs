//! `bridge.broker`: where the broker on this gateway listens, as people write it who come from other programs.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use rustls::pki_types::ServerName;

use super::Broker;
use super::document::{Node, Value};
use super::endpoint::is_of_aws;
use super::reader::MAX_SOCKET_PATH;
use super::values::string;

const EXAMPLE: &str = "\"127.0.0.1:1883\"";

/// `HOST:PORT`, or `unix:` and the path of a socket, which `path` reads. `has_tls`: what the port is that is meant.
pub(super) fn broker(
    node: &Node,
    has_tls: bool,
    path: impl FnOnce(&Node) -> Result<PathBuf, String>,
) -> Result<Broker, String> {
    let text = string(node)?;
    if text.is_empty() {
        return Err(format!("must not be empty; it is written like {EXAMPLE}"));
    }
    if text.trim() != text {
        return Err(format!("has a blank at one end; write `broker = \"{}\"`", text.trim()));
    }
    if let Some(socket) = text.strip_prefix("unix:") {
        let socket = socket.strip_prefix("//").unwrap_or(socket);
        let node = Node { place: node.place.clone(), value: Value::String(socket.to_owned()) };
        return path(&node).map(Broker::Unix).map_err(|text| format!("the path behind `unix:` {text}"));
    }
    if text.starts_with(['/', '$']) {
        return Err(format!("a Unix socket is written with `unix:` before its path, \"unix:{text}\""));
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        return Err(with_scheme(scheme, rest));
    }
    tcp(text, has_tls)
}

/// Whether `text` can stand there; systemd's directories aside.
pub(crate) fn is_broker(text: &str) -> bool {
    match text.strip_prefix("unix:") {
        Some(path) => {
            let is_short = path.len() <= MAX_SOCKET_PATH && path.split('/').all(|name| name.len() <= 100);
            is_short
                && path.starts_with('/')
                && !path.ends_with('/')
                && !path.contains(char::is_control)
                && path.trim() == path
        }
        None => tcp(text, false).is_ok(),
    }
}

/// What is said of a URL. It may hold a login.
fn with_scheme(scheme: &str, rest: &str) -> String {
    let address = rest.rsplit('@').next().unwrap_or_default().split(['/', '?']).next().unwrap_or_default();
    let is_tls = ["mqtts", "ssl", "tls"].contains(&scheme);
    let port = if is_tls { 8883 } else { 1883 };
    let written = match tcp(address, is_tls) {
        Ok(_) => address.to_owned(),
        Err(_) => format!("{}:{port}", address.split(':').next().unwrap_or_default()),
    };
    match scheme {
        "ws" | "wss" | "http" | "https" => {
            "is the address of MQTT over WebSockets, which a bridge doesn't speak; name the broker's own MQTT port, such as \
             \"127.0.0.1:1883\""
                .to_owned()
        }
        _ if is_tls => format!(
            "must not begin with \"{scheme}://\"; write `broker = \"{written}\"` and below it `tls = {{ ca_file = \"FILE\" }}`"
        ),
        _ => format!("must not begin with \"{scheme}://\"; write `broker = \"{written}\"`"),
    }
}

fn tcp(text: &str, has_tls: bool) -> Result<Broker, String> {
    let usual = if has_tls { 8883 } else { 1883 };
    if text.parse::<Ipv6Addr>().is_ok() {
        // The last group looks like a port, and so it is meant.
        let with_port = text.rsplit_once(':').filter(|(_, port)| ["1883", "8883"].contains(port));
        if let Some((host, port)) = with_port.filter(|(host, _)| host.parse::<Ipv6Addr>().is_ok()) {
            return Err(format!("an IPv6 address must be in brackets, with the port behind them, \"[{host}]:{port}\""));
        }
        return Err(format!("an IPv6 address must be in brackets, with the port behind them, \"[{text}]:{usual}\""));
    }
    let Some((host, port)) = text.rsplit_once(':').filter(|_| !text.ends_with(']')) else {
        return Err(format!("must end with the port; write `broker = \"{text}:{usual}\"`"));
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bare {
        Some(bare) if bare.parse::<Ipv6Addr>().is_ok() => bare,
        None if host.parse::<Ipv6Addr>().is_ok() => {
            return Err(format!("an IPv6 address must be in brackets, \"[{host}]:{port}\""));
        }
        _ => host,
    };
    if host.is_empty() {
        return Err(format!("must begin with the host; this machine itself is \"127.0.0.1:{port}\""));
    }
    if host.parse::<IpAddr>().is_err() && ServerName::try_from(host).is_err() {
        return Err(format!("\"{host}\" is neither a host name nor an IP address; it is written like {EXAMPLE}"));
    }
    let port = match port.parse::<u16>() {
        Ok(port) if port != 0 => port,
        _ if port.is_empty() => return Err(format!("must end with the port; write `broker = \"{text}{usual}\"`")),
        _ if port.bytes().all(|digit| digit.is_ascii_digit()) => {
            return Err(format!("its port {port} is out of range, it must be from 1 to 65535"));
        }
        _ => return Err(format!("\"{port}\" isn't a port; it is written like {EXAMPLE}")),
    };
    let host = host.to_ascii_lowercase();
    if is_of_aws(&host) {
        return Err(
            "is an endpoint of IoT Core, which belongs into [connection]; a bridge is to the broker on this gateway, \
                    such as \"127.0.0.1:1883\""
                .to_owned(),
        );
    }
    Ok(Broker::Tcp { host, port })
}

/// Whether both are surely the same: names of this machine itself are one.
pub(super) fn is_same(one: &Broker, other: &Broker) -> bool {
    let is_this_machine =
        |host: &str| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match (one, other) {
        (Broker::Tcp { host, port }, Broker::Tcp { host: other, port: at }) => {
            port == at && (host == other || is_this_machine(host) && is_this_machine(other))
        }
        (one, other) => one == other,
    }
}
