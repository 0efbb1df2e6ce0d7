//! From where a file is downloaded: what a document may say, and where a server may send on to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use thiserror::Error;

use super::HostPattern;
use crate::secret::Secret;

/// The longest URL, in bytes. A pre-signed one of AWS has up to about 3000.
const MAX_LENGTH: usize = 8 * 1024;

/// How much of a path is shown, in bytes.
const MAX_SHOWN: usize = 160;

/// How AWS's placeholder begins, in whose place it puts a pre-signed URL.
const PLACEHOLDER: &str = "${aws:iot:s3-presigned-url";

/// What a job document's URL looks like.
const EXAMPLE: &str = "https://bucket.s3.eu-west-1.amazonaws.com/model.bin";

/// An https URL that nothing secret is shown of: who knows the query of a pre-signed one may download what it is for.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url {
    /// In small letters; an IPv6 address without brackets.
    host: Arc<str>,
    port: u16,
    /// Begins with `/`.
    path: String,
    /// Begins with `?`, or is empty.
    query: Secret<String>,
}

/// Why a text isn't a URL from which is downloaded. The text follows "the URL: ", and nothing of the URL is in it but its host.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum UrlFault {
    #[error("it isn't a URL such as {EXAMPLE}")]
    NotUrl,
    #[error(
        "it is AWS's placeholder, which AWS hasn't replaced with a pre-signed URL: create the job with \
         `--presigned-url-config roleArn=..,expiresInSec=3600`"
    )]
    Placeholder,
    #[error("it must begin with https://: nothing is downloaded without TLS")]
    NotHttps,
    #[error("it has a user name before the host, and gatewire logs in nowhere: use a pre-signed URL")]
    Login,
    #[error("its host is neither a name nor an IP address")]
    Host,
    #[error("its port must be from 1 to 65535")]
    Port,
    #[error("it has the character U+{:04X}, which must be percent-encoded", u32::from(*.0))]
    Character(char),
    #[error("it is longer than {MAX_LENGTH} bytes")]
    TooLong,
    #[error("its host {0} isn't in download.hosts of the action")]
    NotAllowed(Arc<str>),
}

impl Url {
    /// A URL with all of it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Url, UrlFault> {
        check(text)?;
        let (scheme, rest) = text.split_once("://").ok_or(UrlFault::NotUrl)?;
        if !is_scheme(scheme) {
            return Err(UrlFault::NotUrl);
        }
        if !scheme.eq_ignore_ascii_case("https") {
            return Err(UrlFault::NotHttps);
        }
        let rest = without_fragment(rest);
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = host_and_port(authority)?;
        let (path, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
        let path = if path.is_empty() { "/" } else { path };
        Ok(Url { host, port, path: path.to_owned(), query: Secret::new(query.to_owned()) })
    }

    /// Where `location`, which may leave out what stays the same, leads from here (RFC 3986, 5.2).
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn join(&self, location: &str) -> Result<Url, UrlFault> {
        check(location)?;
        if location.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme)) {
            return Url::parse(location);
        }
        if location.starts_with("//") {
            return Url::parse(&format!("https:{location}"));
        }
        let location = without_fragment(location);
        let (path, query) = location.split_at(location.find('?').unwrap_or(location.len()));
        let path = match path {
            "" => self.path.clone(),
            path if path.starts_with('/') => without_dots(path),
            path => {
                let folder = &self.path[..=self.path.rfind('/').unwrap_or(0)];
                without_dots(&format!("{folder}{path}"))
            }
        };
        let query = if location.is_empty() { self.query.clone() } else { Secret::new(query.to_owned()) };
        Ok(Url { host: Arc::clone(&self.host), port: self.port, path, query })
    }

    /// Only if it may be downloaded from there; the port doesn't count.
    ///
    /// # Errors
    /// [`UrlFault::NotAllowed`]
    pub(crate) fn allowed(self, hosts: &[HostPattern]) -> Result<Url, UrlFault> {
        match hosts.iter().any(|pattern| pattern.matches(&self.host)) {
            true => Ok(self),
            false => Err(UrlFault::NotAllowed(self.host)),
        }
    }

    /// A name in small letters, or an IP address without brackets.
    pub(crate) fn host(&self) -> &Arc<str> {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What HTTP calls so: the host, and the port where it isn't that of https.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.to_string() };
        if self.port == 443 { host } else { format!("{host}:{}", self.port) }
    }

    /// Path and query: what the server is asked for.
    pub(crate) fn target(&self) -> Secret<String> {
        Secret::new(format!("{}{}", self.path, self.query.expose()))
    }
}

/// Without the query.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, rest) = match self.path.len() {
            0..=MAX_SHOWN => (self.path.as_str(), ""),
            // All of it is ASCII.
            _ => (&self.path[..MAX_SHOWN], "..."),
        };
        write!(f, "https://{}{path}{rest}", self.authority())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

/// What can be told before it is taken apart.
fn check(text: &str) -> Result<(), UrlFault> {
    if text.starts_with(PLACEHOLDER) {
        return Err(UrlFault::Placeholder);
    }
    if text.len() > MAX_LENGTH {
        return Err(UrlFault::TooLong);
    }
    let is_part = |c: char| c.is_ascii_graphic() && !"\"<>\\`{}".contains(c);
    text.chars().find(|c| !is_part(*c)).map_or(Ok(()), |c| Err(UrlFault::Character(c)))
}

fn is_scheme(text: &str) -> bool {
    let mut letters = text.bytes();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|letter| letter.is_ascii_alphanumeric() || b"+-.".contains(&letter))
}

fn without_fragment(text: &str) -> &str {
    text.split('#').next().unwrap_or_default()
}

fn host_and_port(authority: &str) -> Result<(Arc<str>, u16), UrlFault> {
    if authority.contains('@') {
        return Err(UrlFault::Login);
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(UrlFault::Host)?;
            let address: Ipv6Addr = address.parse().map_err(|_| UrlFault::Host)?;
            (address.to_string(), port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            (self::host(host)?, port)
        }
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => 443,
        None => return Err(UrlFault::Host),
        Some("") => 443,
        Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port != 0).ok_or(UrlFault::Port)?
        }
        Some(_) => return Err(UrlFault::Port),
    };
    Ok((host.into(), port))
}

/// A name or an IPv4 address.
fn host(text: &str) -> Result<String, UrlFault> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if name.parse::<Ipv4Addr>().is_ok() {
        return Ok(name);
    }
    // The system's resolver takes `127.1`, `0x7f000001` and `2130706433` for addresses, too.
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") || name.parse::<IpAddr>().is_ok() {
        return Err(UrlFault::Host);
    }
    match ServerName::try_from(name.as_str()) {
        Ok(ServerName::DnsName(_)) => Ok(name),
        _ => Err(UrlFault::Host),
    }
}

/// An absolute path without `.` and `..` (RFC 3986, 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match part {
            "." => {}
            ".." => {
                kept.pop();
            }
            part => {
                kept.push(part);
                continue;
            }
        }
        if is_last {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests;
