//! What is said of the steps that passed on the way to a connection.

use std::fmt;
use std::net::SocketAddr;

use super::Shown;
use crate::net::Step;
use crate::net::credentials::ServerCertificate;

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Resolved { host, addresses, took } => {
                write!(f, "DNS: {host} has ")?;
                list(f, addresses.iter().map(SocketAddr::ip))?;
                write!(f, " ({})", Shown(*took))
            }
            Step::TcpConnected { address, lost, took } => {
                write!(f, "TCP: connected to {address} ({})", Shown(*took))?;
                if !lost.is_empty() {
                    f.write_str("; without success: ")?;
                    list(f, lost.iter())?;
                }
                Ok(())
            }
            Step::UnixConnected { path, took } => {
                write!(f, "Unix socket: connected to {} ({})", path.display(), Shown(*took))
            }
            Step::ProxyConnected { proxy, server, took } => {
                write!(f, "proxy: {proxy} has connected to {server} ({})", Shown(*took))
            }
            Step::TlsEstablished { version, cipher_suite, certificate, took } => {
                let version = version.and_then(|version| version.as_str()).unwrap_or("unknown version");
                let suite = cipher_suite.and_then(|suite| suite.as_str()).unwrap_or("unknown cipher suite");
                write!(f, "TLS: {version}, {suite} ({})", Shown(*took))?;
                let certificate = certificate.as_ref().and_then(ServerCertificate::of);
                certificate.map_or(Ok(()), |certificate| write!(f, "; {certificate}"))
            }
        }
    }
}

fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: impl Iterator<Item = T>) -> fmt::Result {
    for (index, item) in items.enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        write!(f, "{separator}{item}")?;
    }
    Ok(())
}
