//! What went wrong between us and the proxy of `connection.proxy`.

use std::fmt;

use super::{Attempts, TcpFault, kind_or};
use crate::net::{DnsFault, Endpoint, ProxyFault};

impl ProxyFault {
    pub(super) fn code(&self) -> &'static str {
        match self {
            ProxyFault::Dns(DnsFault::NotFound) => "proxy_dns_not_found",
            ProxyFault::Dns(DnsFault::Timeout) => "proxy_dns_timeout",
            ProxyFault::Dns(_) => "proxy_dns_failed",
            ProxyFault::Tcp(attempts) => match TcpFault::of(attempts) {
                TcpFault::Silent => "proxy_tcp_timeout",
                TcpFault::Refused => "proxy_tcp_refused",
                TcpFault::Forbidden => "proxy_tcp_forbidden",
                TcpFault::Unreachable => "proxy_tcp_unreachable",
                TcpFault::Other => "proxy_tcp_failed",
            },
            ProxyFault::Login { sent: false, .. } => "proxy_login_required",
            ProxyFault::Login { sent: true, .. } => "proxy_login_refused",
            ProxyFault::Refused { .. } => "proxy_refused",
            ProxyFault::NotHttp(_) | ProxyFault::TooLong(_) => "proxy_not_http",
            ProxyFault::Closed => "proxy_closed",
            ProxyFault::Timeout => "proxy_timeout",
            ProxyFault::Io { .. } => "proxy_io",
        }
    }

    /// Likely causes in order, and what to do.
    pub(super) fn advice(&self, proxy: &Endpoint, server: &Endpoint) -> String {
        match self {
            ProxyFault::Dns(DnsFault::NotFound) => format!(
                "connection.proxy is mistyped, or this machine's name server doesn't know it (`getent hosts {}` asks it).",
                proxy.host
            ),
            ProxyFault::Dns(_) => {
                "The network is down, or no name server can be reached: check the connection (`ip route`) \
                 and /etc/resolv.conf (`resolvectl status`)."
                    .to_owned()
            }
            ProxyFault::Tcp(attempts) => tcp(TcpFault::of(attempts), proxy),
            ProxyFault::Login { schemes, .. } if !takes_basic(schemes) => format!(
                "The proxy accepts {} and gatewire speaks Basic only: ask the administrator of the proxy to let this machine \
                through without a login.",
                schemes.join(", ")
            ),
            ProxyFault::Login { sent: false, .. } => {
                "Write the login into connection.proxy: \"http://USER:PASSWORD@HOST:PORT\".".to_owned()
            }
            ProxyFault::Login { sent: true, .. } => {
                "The user name or the password in connection.proxy is wrong, or isn't \
                 allowed any more; in it % @ / and : are written %25 %40 %2F and %3A."
                    .to_owned()
            }
            ProxyFault::Refused { status: 300..=399, .. } => {
                "A proxy doesn't redirect. Most likely a captive portal answers in its place: log in to the network with a \
                 browser, or have this machine let through. Else check host and port of connection.proxy."
                    .to_owned()
            }
            ProxyFault::Refused { status: 500..=599, .. } => format!(
                "The proxy can't reach {server}: connection.endpoint is mistyped (the proxy looks it up), or a firewall \
                 behind the proxy or its own network is the cause."
            ),
            ProxyFault::Refused { .. } if server.port != 443 => format!(
                "Most proxies let through port 443 only: set connection.port = 443, or ask the administrator of the proxy to \
                let {server} through."
            ),
            ProxyFault::Refused { .. } => format!("Ask the administrator of the proxy to let {server} through."),
            ProxyFault::NotHttp(_) | ProxyFault::TooLong(_) => {
                "What listens there isn't an HTTP proxy, or wants TLS: check host and port of connection.proxy."
                    .to_owned()
            }
            ProxyFault::Closed | ProxyFault::Timeout => format!(
                "The proxy is overloaded, silently blocks {server}, or isn't an HTTP proxy: check host and port of \
                connection.proxy."
            ),
            ProxyFault::Io { .. } => {
                "The network between here and the proxy is down or drops packets (`ip route`)."
                    .to_owned()
            }
        }
    }
}

/// Whether a login as we have it would do; one that doesn't say gets the benefit of the doubt.
fn takes_basic(schemes: &[String]) -> bool {
    schemes.is_empty() || schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case("basic"))
}

fn tcp(fault: TcpFault, proxy: &Endpoint) -> String {
    match fault {
        TcpFault::Refused => format!(
            "Nothing listens on port {} there, or the proxy doesn't serve this machine: check host and port of \
             connection.proxy, and that the proxy runs.",
            proxy.port
        ),
        TcpFault::Forbidden => format!(
            "A packet filter of this machine forbids it: allow outgoing TCP to port {} (`nft list ruleset`; the unit's \
             IPAddressDeny).",
            proxy.port
        ),
        TcpFault::Silent | TcpFault::Unreachable | TcpFault::Other => {
            "The network is down, or the proxy isn't there: check the connection (`ip route`) and connection.proxy."
                .to_owned()
        }
    }
}

impl fmt::Display for ProxyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyFault::Dns(fault) => write!(f, "looking up the proxy in DNS: {fault}"),
            ProxyFault::Tcp(attempts) => write!(f, "connecting to the proxy by TCP: {}", Attempts(attempts)),
            ProxyFault::Login { sent: false, .. } => f.write_str("it wants a login"),
            ProxyFault::Login { sent: true, .. } => f.write_str("it refuses the login of connection.proxy"),
            ProxyFault::Refused { status, reason } if reason.is_empty() => write!(f, "it answered {status}"),
            ProxyFault::Refused { status, reason } => write!(f, "it answered {status} \"{reason}\""),
            ProxyFault::NotHttp(begin) => write!(f, "its answer isn't one of an HTTP proxy: \"{begin}\""),
            ProxyFault::TooLong(limit) => write!(f, "its answer is longer than {} KiB", limit / 1024),
            ProxyFault::Closed => f.write_str("it closed the connection instead of answering CONNECT"),
            ProxyFault::Timeout => f.write_str("no answer to CONNECT"),
            ProxyFault::Io { kind, detail } => write!(f, "the connection with it broke: {}", kind_or(*kind, detail)),
        }
    }
}
