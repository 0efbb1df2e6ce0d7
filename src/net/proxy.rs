//! Through an HTTP proxy: CONNECT (RFC 9110, 9.3.6) with a login where the proxy wants one (RFC 7617).

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

use std::fmt::{self, Write as _};
use std::time::Duration;

use base64::Engine as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::endpoint::Endpoint;
use super::error::{ConnectError, ProxyFault};
use crate::config;
use crate::message::BASE64;
use crate::printable::printable;

/// The most that is read of a proxy's answer, in bytes: squid sends some hundred.
const MAX_ANSWER: usize = 8 * 1024;

/// How much of what a proxy says of itself is shown.
const MAX_SHOWN: usize = 80;

/// How many ways to log in a proxy may name, and with how many bytes each: few know more than three.
const MAX_SCHEMES: usize = 8;
const MAX_SCHEME: usize = 40;

/// The proxy between us and the server.
pub(super) struct Proxy {
    pub(super) endpoint: Endpoint,
    login: Option<config::Login>,
}

/// Without the login.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Proxy {
    pub(super) fn new(proxy: &config::Proxy) -> Proxy {
        Proxy { endpoint: Endpoint::from(proxy), login: proxy.login.clone() }
    }

    /// Has the proxy at the other end of `tcp` connect to `endpoint`. What follows on `tcp` is between us and that.
    pub(super) async fn tunnel(
        &self,
        tcp: &mut (impl AsyncRead + AsyncWrite + Unpin),
        endpoint: &Endpoint,
    ) -> Result<(), ProxyFault> {
        tcp.write_all(self.request(endpoint).as_bytes()).await.map_err(|error| ProxyFault::from_io(&error))?;
        let mut answer = Vec::new();
        loop {
            match tcp.read_buf(&mut answer).await {
                Ok(0) => return Err(ProxyFault::Closed),
                Ok(_) => {}
                Err(error) => return Err(ProxyFault::from_io(&error)),
            }
            match judge(&answer, self.login.is_some()) {
                None if answer.len() > MAX_ANSWER => return Err(ProxyFault::TooLong(MAX_ANSWER)),
                None => {}
                Some(verdict) => return verdict.map_err(|fault| self.without_login(fault)),
            }
        }
    }

    /// What answers may be something that repeats what it is sent.
    fn without_login(&self, fault: ProxyFault) -> ProxyFault {
        let Some(config::Login { user, password }) = &self.login else { return fault };
        let sent = BASE64.encode(format!("{}:{}", user.expose(), password.expose()));
        let hidden = |text: String| match [&sent, password.expose()].iter().any(|secret| reveals(&text, secret)) {
            true => "(not shown, it repeats the login)".to_owned(),
            false => text,
        };
        match fault {
            ProxyFault::NotHttp(begin) => ProxyFault::NotHttp(hidden(begin)),
            ProxyFault::Refused { status, reason } => ProxyFault::Refused { status, reason: hidden(reason) },
            ProxyFault::Login { sent, schemes } => {
                ProxyFault::Login { sent, schemes: schemes.into_iter().map(hidden).collect() }
            }
            other => other,
        }
    }

    pub(super) fn failed(&self, endpoint: Endpoint, fault: ProxyFault, took: Duration) -> ConnectError {
        ConnectError::Proxy { proxy: self.endpoint.clone(), endpoint, fault, took }
    }

    fn request(&self, endpoint: &Endpoint) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let mut request =
            format!("CONNECT {endpoint} HTTP/1.1\r\nHost: {endpoint}\r\nUser-Agent: gatewire/{version}\r\n");
        if let Some(config::Login { user, password }) = &self.login {
            let credentials = BASE64.encode(format!("{}:{}", user.expose(), password.expose()));
            // Writing to memory can't fail.
            let _ = write!(request, "Proxy-Authorization: Basic {credentials}\r\n");
        }
        request + "\r\n"
    }
}

/// Whether a part of `secret` that tells something of it is in `text`.
fn reveals(text: &str, secret: &str) -> bool {
    let letters: Vec<char> = secret.chars().collect();
    let part = letters.len().min(6);
    part > 0 && letters.windows(part).any(|window| text.contains(&window.iter().collect::<String>()))
}

/// What a proxy's answer means, as far as it is there; `None`: it goes on.
fn judge(answer: &[u8], with_login: bool) -> Option<Result<(), ProxyFault>> {
    const HTTP: &[u8] = b"HTTP/1.";
    let known = answer.len().min(HTTP.len());
    if answer[..known] != HTTP[..known] {
        return Some(Err(ProxyFault::NotHttp(shown(answer))));
    }
    let (head, rest) = head(answer)?;
    let mut lines = head.lines();
    let Some((status, reason)) = lines.next().and_then(status) else {
        return Some(Err(ProxyFault::NotHttp(shown(answer))));
    };
    Some(match status {
        // Whoever is behind the proxy waits for our first word.
        200..=299 if !rest.is_empty() => Err(ProxyFault::NotHttp(shown(rest))),
        200..=299 => Ok(()),
        // tinyproxy says 401, a server's word, to a wrong login.
        401 | 407 => Err(ProxyFault::Login { sent: with_login, schemes: schemes(lines) }),
        _ => Err(ProxyFault::Refused { status, reason }),
    })
}

/// Status line and header fields, and what follows them; `None`: they go on. A line may end without CR (RFC 9112, 2.2).
fn head(answer: &[u8]) -> Option<(String, &[u8])> {
    let ends = [&b"\r\n\r\n"[..], b"\n\n"].into_iter().filter_map(|end| {
        let start = answer.windows(end.len()).position(|window| window == end)?;
        Some((start, start + end.len()))
    });
    let (head, rest) = ends.min()?;
    Some((String::from_utf8_lossy(&answer[..head]).into_owned(), &answer[rest..]))
}

/// `HTTP/1.1 200 OK`
fn status(line: &str) -> Option<(u16, String)> {
    let mut words = line.splitn(3, ' ');
    let digits = words.nth(1).filter(|digits| digits.len() == 3)?;
    Some((digits.parse().ok()?, shown(words.next().unwrap_or_default().as_bytes())))
}

/// The names of the ways in which the proxy lets itself be convinced: the first word of each challenge. One that offers more
/// than there are says nothing.
fn schemes<'a>(fields: impl Iterator<Item = &'a str>) -> Vec<String> {
    let challenges = fields.filter_map(|field| {
        let (name, value) = field.split_once(':')?;
        ["proxy-authenticate", "www-authenticate"].contains(&&*name.to_ascii_lowercase()).then_some(value)
    });
    // A comma stands between challenges and between their parameters, which have a `=`.
    let words = challenges.flat_map(|value| value.split(',')).filter_map(|part| part.split_whitespace().next());
    let is_scheme = |word: &&str| {
        word.len() <= MAX_SCHEME && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let schemes: Vec<String> = words.filter(is_scheme).map(str::to_owned).collect();
    if schemes.len() > MAX_SCHEMES { Vec::new() } else { schemes }
}

/// The beginning of what came from elsewhere, fit for a line of the log.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_SHOWN)]).into_owned();
    printable(text.trim()).into_owned()
}

#[cfg(test)]
mod tests;
