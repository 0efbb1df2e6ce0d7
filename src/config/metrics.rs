//! `[metrics]`: where Prometheus finds them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Config, SocketFile};

/// How an address is written.
pub(super) const EXAMPLE: &str = "\"127.0.0.1:9641\"";

/// What comes before the path of a Unix socket.
pub(super) const UNIX: &str = "unix:";

/// `[metrics]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metrics {
    pub(crate) listen: Listen,
}

/// `metrics.listen`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listen {
    /// Port 0 is none.
    Tcp(SocketAddr),
    Unix(SocketFile),
}

impl Metrics {
    /// The Unix socket, if it is one.
    pub(crate) fn socket(&self) -> Option<&SocketFile> {
        match &self.listen {
            Listen::Unix(socket) => Some(socket),
            Listen::Tcp(_) => None,
        }
    }

    /// The address, if it isn't a Unix socket.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self.listen {
            Listen::Tcp(address) => Some(address),
            Listen::Unix(_) => None,
        }
    }
}

impl Config {
    /// The sockets that gatewire makes.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = &SocketFile> {
        let forwards = self.forward.iter().map(|forward| &forward.socket);
        let ingests = self.ingest.iter().map(|ingest| &ingest.socket);
        let jobs = self.jobs.iter().filter_map(|jobs| jobs.socket.as_ref());
        let metrics = self.metrics.iter().filter_map(Metrics::socket);
        forwards.chain(ingests).chain(jobs).chain([&self.status.socket]).chain(metrics)
    }
}

/// An IP address and a port.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => {
            Err(format!("must have a port from 1 to 65535, such as \"{}\"", SocketAddr::new(address.ip(), 9641)))
        }
        Ok(address) if nobody_has(address.ip()) => {
            Err(format!("{} is no address that a machine has; write one such as {EXAMPLE}", address.ip()))
        }
        Ok(address) => Ok(address),
        Err(_) => Err(what_is_wrong(text)),
    }
}

/// Whether it is that of several machines.
fn nobody_has(ip: IpAddr) -> bool {
    ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn what_is_wrong(text: &str) -> String {
    let or_socket = "; or the path of a Unix socket, \"unix:/run/gatewire/metrics.sock\"";
    if text.starts_with('/') {
        return format!("\"{text}\": write `{UNIX}` in front of the path of a Unix socket");
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let rest = rest.split('/').next().unwrap_or_default();
        let rest = address(rest).map_or_else(|_| EXAMPLE.to_owned(), |address| format!("\"{address}\""));
        return format!("must be an address without `{scheme}://` and without a path, such as {rest}");
    }
    let written = |address: SocketAddr| format!("\"{text}\" must be an IP address and a port: write \"{address}\"");
    let local = |port: u16| SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port);
    // "::1:9641" is an address of IPv6 alone, too, but nobody means that.
    if let Some((ip, port)) = text.rsplit_once(':')
        && let (Ok(ip), Ok(port @ 1..)) = (ip.parse::<Ipv6Addr>(), port.parse::<u16>())
    {
        return written(SocketAddr::new(ip.into(), port));
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return written(SocketAddr::new(ip, 9641));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let Ok(port @ 1..) = port.parse::<u16>() else {
        return format!("\"{text}\" must be an IP address and a port, such as {EXAMPLE}{or_socket}");
    };
    match host {
        // Who leaves it out in other programs means all addresses; that is for each to decide.
        "" => format!(
            "\"{text}\" must be an IP address and a port: write \"{}\" for this machine alone, or \"0.0.0.0:{port}\" for everybody who \
             can reach it",
            local(port)
        ),
        "localhost" => written(local(port)),
        "*" => written(SocketAddr::new(IpAddr::from([0, 0, 0, 0]), port)),
        host => match host.parse::<Ipv6Addr>() {
            Ok(ip) => written(SocketAddr::new(ip.into(), port)),
            Err(_) => format!("\"{text}\" must be an IP address and a port, not a name, such as {EXAMPLE}{or_socket}"),
        },
    }
}

/// Whether others than this machine can reach it.
pub(super) fn is_for_others(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    !ip.is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_ip_address_and_a_port() {
        for text in ["127.0.0.1:9641", "[::1]:9641", "0.0.0.0:1", "[::]:65535", "192.0.2.7:9641"] {
            assert_eq!(address(text).unwrap().to_string(), text);
        }
        for (text, said) in [
            ("127.0.0.1:0", "such as \"127.0.0.1:9641\""),
            ("127.0.0.1", "write \"127.0.0.1:9641\""),
            ("::1", "write \"[::1]:9641\""),
            ("[::1]", "write \"[::1]:9641\""),
            ("::1:9641", "write \"[::1]:9641\""),
            ("fe80::1:x", "such as \"127.0.0.1:9641\""),
            (":9641", "write \"127.0.0.1:9641\" for this machine alone, or \"0.0.0.0:9641\""),
            ("9641", "write \"127.0.0.1:9641\" for this machine alone"),
            ("localhost:9641", "write \"127.0.0.1:9641\""),
            ("*:9641", "write \"0.0.0.0:9641\""),
            ("http://127.0.0.1:9641/metrics", "without `http://` and without a path, such as \"127.0.0.1:9641\""),
            ("gateway.example:9641", "not a name"),
            ("127.0.0.1:99999", "such as \"127.0.0.1:9641\""),
            ("", "or the path of a Unix socket"),
            ("/run/gatewire/metrics.sock", "write `unix:` in front"),
        ] {
            let found = address(text).unwrap_err();
            assert!(found.contains(said), "{text}: {found}");
        }
    }

    #[test]
    fn only_loopback_is_this_machines_alone() {
        let is_for_others = |text: &str| is_for_others(text.parse().unwrap());
        assert!(!["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"].into_iter().any(is_for_others));
        assert!(["0.0.0.0:1", "[::]:1", "192.0.2.7:1", "[fe80::1]:1"].into_iter().all(is_for_others));
    }
}
