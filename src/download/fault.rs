//! Why nothing was downloaded, and whether trying again may help.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::digest::Sha256;
use super::head::Head;
use crate::actions::UrlFault;
use crate::duration::written;
use crate::net::credentials::WebProblem;
use crate::net::{ConnectError, DnsFault, ProxyFault, TlsFault};

/// So often a name that doesn't exist is looked up before that counts: a network that has just come up may not know it yet.
const MAX_UNKNOWN_NAMES: u32 = 3;

/// What was to be downloaded, and what went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("downloading {from}: {fault}")]
pub(crate) struct DownloadError {
    /// The URL without its query, which may be secret.
    pub(crate) from: String,
    pub(crate) fault: DownloadFault,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum DownloadFault {
    #[error("{0}")]
    Url(UrlFault),
    #[error("{}", Connecting(.0))]
    Connect(Box<ConnectError>),
    #[error("{0}")]
    Trust(Box<WebProblem>),
    #[error("nothing came for {}. The server or the network on the way to it hangs", written(*.0))]
    Silent(Duration),
    #[error("the connection broke ({0})")]
    Lost(String),
    #[error("what came back isn't HTTP/1.1 ({0}). Check host and port of the URL")]
    NotHttp(String),
    #[error("the server answered {status}{}. {}", Code(code), advice(*status, code.as_deref()))]
    Status {
        status: u16,
        /// What S3 calls it.
        code: Option<String>,
        retry_after: Option<Duration>,
    },
    #[error("the server answered {status}, which sends on to another place, and didn't say where")]
    NoLocation { status: u16 },
    #[error("the server sends on to another place{}: {fault}", Place(to))]
    Redirect {
        /// Without the query; `None`: it isn't a URL.
        to: Option<String>,
        fault: UrlFault,
    },
    #[error("the server sends on to another place more than {0} times")]
    TooManyRedirects(u32),
    #[error("{}, more than download.max_size = {}", Size(size), Bytes(*max))]
    TooLarge {
        /// As far as the server has said.
        size: Option<u64>,
        max: u64,
    },
    #[error("more came than the {} that the server had announced", Bytes(*.0))]
    TooLong(u64),
    #[error(
        "there isn't room for it in {}: {} are needed and {} free, and {} are left for everything else. Free some \
         (`df -h`, `journalctl --vacuum-size=50M`), or move the state directory",
        directory.display(), Bytes(*needed), Bytes(*free), Bytes(*reserve)
    )]
    NoRoom { directory: PathBuf, needed: u64, free: u64, reserve: u64 },
    #[error("{}: {detail}", path.display())]
    Disk { path: PathBuf, detail: Arc<str> },
    #[error("writing it: {0}")]
    NoThread(String),
    #[error(
        "what came has the SHA-256 {found}, and the document says {wanted}. Most likely the file was replaced and the document \
         wasn't, or the sum is of another file: `sha256sum FILE` prints it{}",
        if *is_encoded { ". The server says that the file is compressed (Content-Encoding): the sum must be of the bytes as they are stored" } else { "" }
    )]
    Mismatch { wanted: Sha256, found: Sha256, is_encoded: bool },
    #[error(
        "it wasn't done in time{}{}. Raise the action's timeout if this connection needs longer",
        Received { received: *received, total: *total }, LastTrouble(last)
    )]
    TimedOut { received: u64, total: Option<u64>, last: Option<Box<DownloadFault>> },
}

impl DownloadFault {
    /// What a status that ends a request means.
    pub(super) fn status(head: &Head) -> DownloadFault {
        DownloadFault::Status { status: head.status, code: None, retry_after: head.retry_after }
    }

    /// Whether trying again may help, after it has failed `failures` times in a row.
    pub(super) fn is_temporary(&self, failures: u32) -> bool {
        match self {
            DownloadFault::Connect(error) => is_temporary(error, failures),
            DownloadFault::Silent(_)
            | DownloadFault::Lost(_)
            | DownloadFault::TooLong(_)
            | DownloadFault::NoThread(_) => true,
            DownloadFault::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            _ => false,
        }
    }

    /// How long the server wants to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            DownloadFault::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

fn is_temporary(error: &ConnectError, failures: u32) -> bool {
    match error {
        ConnectError::InvalidHost(_) => false,
        ConnectError::Dns { fault: DnsFault::NotFound, .. }
        | ConnectError::Proxy { fault: ProxyFault::Dns(DnsFault::NotFound), .. } => failures < MAX_UNKNOWN_NAMES,
        ConnectError::Dns { .. } | ConnectError::Tcp { .. } | ConnectError::Io { .. } => true,
        ConnectError::Proxy { fault, .. } => match fault {
            ProxyFault::Login { .. } | ProxyFault::NotHttp(_) | ProxyFault::TooLong(_) => false,
            ProxyFault::Refused { status, .. } => matches!(status, 408 | 429 | 500..=599),
            _ => true,
        },
        ConnectError::Tls { fault, .. } => {
            matches!(fault, TlsFault::Closed { .. } | TlsFault::Timeout { .. } | TlsFault::Other(_))
        }
    }
}

/// How connecting failed, in the words for a server from which files are downloaded.
struct Connecting<'a>(&'a ConnectError);

impl fmt::Display for Connecting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ConnectError::InvalidHost(host) => write!(f, "{host} is neither a host name nor an IP address"),
            ConnectError::Dns { endpoint, fault, .. } => {
                write!(
                    f,
                    "looking up {} in DNS: {fault}. Check the name, and `getent hosts {}`",
                    endpoint.host, endpoint.host
                )
            }
            ConnectError::Tcp { endpoint, attempts, .. } => {
                write!(f, "connecting to {endpoint} by TCP: ")?;
                for (index, attempt) in attempts.iter().enumerate() {
                    write!(f, "{}{attempt}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str(". The server is down, or a firewall is in the way")
            }
            ConnectError::Proxy { proxy, endpoint, fault, .. } => {
                write!(f, "reaching {endpoint} through the proxy {proxy} of connection.proxy: {fault}")?;
                match fault {
                    ProxyFault::Refused { .. } => f.write_str(". Ask the administrator of the proxy to let it through"),
                    _ => Ok(()),
                }
            }
            ConnectError::Tls { route, fault: TlsFault::UnknownIssuer { certificate } } => {
                write!(
                    f,
                    "TLS with {}: the server's certificate isn't from a CA that this machine trusts",
                    route.endpoint
                )?;
                if let Some(certificate) = certificate {
                    write!(f, " (\"{}\" has signed it)", certificate.issuer)?;
                }
                f.write_str(
                    ". For a CA of your own set download.ca_file of the action; else `apt-get install ca-certificates`",
                )
            }
            ConnectError::Tls { route, fault } => write!(f, "TLS with {}: {fault}", route.endpoint),
            ConnectError::Io { route, detail, .. } => {
                write!(f, "TLS with {}: the connection broke ({detail})", route.endpoint)
            }
        }
    }
}

/// What to do about a status.
fn advice(status: u16, code: Option<&str>) -> &'static str {
    match (status, code) {
        (_, Some("RequestTimeTooSkewed")) => "This machine's clock or that of who made the URL is wrong",
        (_, Some("NoSuchKey" | "NoSuchBucket")) => "There is no such object: check bucket and key in the job document",
        (_, Some("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException")) => {
            "The bucket is in another region than the URL says"
        }
        (_, Some("SignatureDoesNotMatch")) => "The URL was changed after it had been signed, or is cut",
        (401 | 403 | 404 | 410, _) => {
            "The pre-signed URL may have expired: AWS makes a new one at each fetch of the document, so create the job again. \
             Otherwise the object isn't there, or whoever signed the URL may not read it"
        }
        (407, _) => "The proxy wants a login: write it into connection.proxy",
        (408 | 425 | 429 | 500..=599, _) => "The server is overloaded or broken for now",
        (400..=499, _) => "The server doesn't take this request: check the URL in the job document",
        _ => "That is no answer to a download: check the URL in the job document",
    }
}

struct Place<'a>(&'a Option<String>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |to| write!(f, ", {to}"))
    }
}

struct Code<'a>(&'a Option<String>);

impl fmt::Display for Code<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |code| write!(f, " ({code})"))
    }
}

struct Size<'a>(&'a Option<u64>);

impl fmt::Display for Size<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(size) => write!(f, "it has {}", Bytes(*size)),
            None => f.write_str("it goes on and on"),
        }
    }
}

struct Received {
    received: u64,
    total: Option<u64>,
}

impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.total {
            Some(total) => write!(f, ": {} of {} came", Bytes(self.received), Bytes(total)),
            None => write!(f, ": {} came", Bytes(self.received)),
        }
    }
}

struct LastTrouble<'a>(&'a Option<Box<DownloadFault>>);

impl fmt::Display for LastTrouble<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |last| write!(f, "; at last: {last}"))
    }
}

/// A number of bytes as people read it: `12.3 MiB`.
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.iter().find(|(unit, _)| self.0 >= *unit) {
            Some((unit, name)) if self.0.is_multiple_of(*unit) => write!(f, "{} {name}", self.0 / unit),
            Some((unit, name)) => write!(f, "{}.{} {name}", self.0 / unit, self.0 % unit * 10 / unit),
            None => write!(f, "{} B", self.0),
        }
    }
}

#[cfg(test)]
mod tests;
