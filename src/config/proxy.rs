//! `connection.proxy`: a URL, as other programs take it from `https_proxy`.
//!
//! What is said of a wrong one never repeats its user name and password.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustls::pki_types::ServerName;

use super::document::Node;
use super::values::string;
use super::{Login, Proxy};
use crate::exposure;
use crate::secret::Secret;

const EXAMPLE: &str = "http://proxy.example:3128";

/// `http://[USER[:PASSWORD]@]HOST:PORT`, the host a name or an IP address.
pub(super) fn proxy(node: &Node) -> Result<Proxy, String> {
    let Some((scheme, rest)) = string(node)?.split_once("://") else {
        return Err(format!("must begin with \"http://\", as in \"{EXAMPLE}\""));
    };
    match scheme {
        "http" => {}
        "https" => {
            return Err(
                "TLS to the proxy itself is not supported; write \"http://\": the connection through the proxy is TLS from \
                here to IoT Core in any case"
                    .to_owned(),
            );
        }
        _ => {
            return Err(format!(
                "must begin with \"http://\", as in \"{EXAMPLE}\": gatewire speaks to HTTP proxies only"
            ));
        }
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#']) {
        return Err("must end with the port; in a user name or password / is written %2F, ? %3F and # %23".to_owned());
    }
    let (login, address) = match rest.rsplit_once('@') {
        Some((login, address)) => (Some(self::login(login)?), address),
        None => (None, rest),
    };
    let (host, port) = host_and_port(address)?;
    Ok(Proxy { host, port, login })
}

fn host_and_port(address: &str) -> Result<(String, u16), String> {
    let no_port = || format!("must end with the port, as in \"{EXAMPLE}\"");
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':').ok_or_else(no_port)?),
        None => address.rsplit_once(':').ok_or_else(no_port)?,
    };
    let is_ipv6 = host.parse::<std::net::Ipv6Addr>().is_ok();
    if host.contains(':') && !is_ipv6 && address.parse::<std::net::Ipv6Addr>().is_err() {
        return Err(format!("must be one host and one port, as in \"{EXAMPLE}\""));
    }
    if host.contains(':') != address.starts_with('[') {
        return Err("an IPv6 address must be in brackets, as in \"http://[2001:db8::1]:3128\"".to_owned());
    }
    if ServerName::try_from(host).is_err() {
        return Err(format!(
            "the host of the proxy is neither a name nor an IP address; it is written like \"{EXAMPLE}\""
        ));
    }
    match port.parse() {
        Ok(port) if port != 0 => Ok((host.to_owned(), port)),
        _ if !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit()) => {
            Err(format!("its port {port} is out of range, it must be from 1 to 65535, as in \"{EXAMPLE}\""))
        }
        _ => Err(no_port()),
    }
}

fn login(text: &str) -> Result<Login, String> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let (user, password) = (decoded(user)?, decoded(password)?);
    if user.is_empty() || user.contains(':') {
        // RFC 7617, 2: the first colon ends it.
        return Err("the user name must not be empty and can't hold a colon".to_owned());
    }
    if [&user, &password].iter().any(|part| part.contains(char::is_control)) {
        return Err("the user name and the password can't hold control characters".to_owned());
    }
    Ok(Login { user: Secret::new(user), password: Secret::new(password) })
}

/// Percent-decoded (RFC 3986, 2.1).
fn decoded(text: &str) -> Result<String, String> {
    let fault =
        || "in a user name or password % is written %25, and what follows a % is two hexadecimal digits".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut pieces = text.split('%');
    bytes.extend_from_slice(pieces.next().unwrap_or_default().as_bytes());
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2).ok_or_else(fault)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(fault());
        }
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| fault())?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| "the user name or the password isn't UTF-8".to_owned())
}

/// Whether anybody but its owner may read `file`.
pub(super) fn is_exposed(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| exposure::readers(metadata.permissions().mode()).is_some())
}
