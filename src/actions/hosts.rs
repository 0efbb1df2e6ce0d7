//! `action.download.hosts`: from where a file may come.

use std::fmt;
use std::net::IpAddr;

/// A host: a name, an IP address, or `*.` and a name, which stands for all names that end so, but not for that name itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPattern {
    /// In small letters, without a dot at its end.
    name: String,
    is_wildcard: bool,
}

impl HostPattern {
    /// `None` if `text` is none: names are ASCII letters, digits, `-`, `_` and dots, at most 253 bytes; an IPv6 address may be in brackets.
    pub(crate) fn new(text: &str) -> Option<HostPattern> {
        let (name, is_wildcard) = match text.strip_prefix("*.") {
            // `*.com` is as good as everything.
            Some(name) => (name, name.trim_end_matches('.').contains('.').then_some(true)?),
            None => (text, false),
        };
        let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name).parse::<IpAddr>();
        if let Ok(address) = address {
            return (!is_wildcard).then(|| HostPattern { name: address.to_string(), is_wildcard });
        }
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let is_label = |label: &str| {
            let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            let is_trimmed = !label.starts_with('-') && !label.ends_with('-');
            (1..=63).contains(&label.len()) && label.bytes().all(is_part) && is_trimmed
        };
        // `127.1`, `1.2.3.999`, `0x7f.1`: some programs read them as addresses, and no name ends so.
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_number = |digits: &str, radix: u32| digits.chars().all(|c| c.is_digit(radix));
        let is_number = is_number(last, 10) || last.strip_prefix("0x").is_some_and(|digits| is_number(digits, 16));
        let is_name = name.len() <= 253 && name.split('.').all(is_label) && !is_number;
        is_name.then_some(HostPattern { name, is_wildcard })
    }

    /// `host` is a name or an IP address, as in a URL, without the port.
    pub(crate) fn matches(&self, host: &str) -> bool {
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let host = match host.parse::<IpAddr>() {
            Ok(address) => address.to_string(),
            Err(_) => host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase(),
        };
        match self.is_wildcard {
            false => host == self.name,
            true => host
                .strip_suffix(self.name.as_str())
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|rest| !rest.is_empty()),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_wildcard { "*." } else { "" }, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_what_ends_so() {
        let pattern = HostPattern::new("*.S3.eu-west-1.amazonaws.com").unwrap();
        for host in ["bucket.s3.eu-west-1.amazonaws.com", "a.b.S3.EU-WEST-1.amazonaws.com."] {
            assert!(pattern.matches(host), "{host}");
        }
        for host in [
            "s3.eu-west-1.amazonaws.com",
            ".s3.eu-west-1.amazonaws.com",
            "evils3.eu-west-1.amazonaws.com",
            "bucket.s3.eu-west-1.amazonaws.com.evil.example",
            "",
        ] {
            assert!(!pattern.matches(host), "{host}");
        }
        let name = HostPattern::new("downloads.example").unwrap();
        assert!(name.matches("Downloads.Example") && !name.matches("a.downloads.example"));
        assert!(
            HostPattern::new("[::1]").unwrap().matches("0:0::1")
                && HostPattern::new("192.0.2.1").unwrap().matches("192.0.2.1")
        );
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            "*",
            "*.",
            "*.com",
            "a*.example.com",
            "*.*.example",
            "https://a.example",
            "a.example:443",
            "a.example/x",
            "a b",
            "ä.example",
            "a..b",
            "*.192.0.2.1",
            "127.1",
            "1.2.3.999",
            "0x7f.1",
            "2130706433",
            "10.0.0.1-10.0.0.9",
            "-a.example",
            "a-.example",
        ] {
            assert_eq!(HostPattern::new(text), None, "{text}");
        }
    }
}
