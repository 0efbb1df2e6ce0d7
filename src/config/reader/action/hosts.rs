//! `action.download.hosts`: from where files may come.

use std::net::IpAddr;

use crate::actions::HostPattern;
use crate::config::document::Node;
use crate::config::section::Complaints;
use crate::config::values::{string, strings};

pub(super) const EXAMPLE: &str = "[\"my-bucket.s3.eu-west-1.amazonaws.com\"]";

/// Below these names everybody can have one.
const PUBLIC: [&str; 17] = [
    "amazonaws.com",
    "s3.amazonaws.com",
    "cloudfront.net",
    "githubusercontent.com",
    "github.io",
    "gitlab.io",
    "pages.dev",
    "workers.dev",
    "r2.dev",
    "netlify.app",
    "vercel.app",
    "web.app",
    "herokuapp.com",
    "azurewebsites.net",
    "core.windows.net",
    "blob.core.windows.net",
    "duckdns.org",
];

/// What stands before the two letters of a country where names are given out one level further down.
const SECOND: [&str; 14] =
    ["co", "com", "net", "org", "gov", "ac", "edu", "or", "ne", "go", "gob", "gouv", "nom", "ltd"];

pub(super) fn hosts(node: &Node, complaints: &Complaints<'_>) -> Option<Vec<HostPattern>> {
    let items = strings(node, EXAMPLE).map_err(|text| complaints.at(node, text)).ok()?;
    // All of them, and only then whether one is missing: each complaint is wanted.
    let hosts: Vec<_> = items
        .iter()
        .map(|item| {
            let host = host(item).map_err(|text| complaints.at(item, text)).ok()?;
            doubt(&host).into_iter().for_each(|doubt| complaints.warn(item, &doubt));
            Some(host)
        })
        .collect();
    hosts.into_iter().collect()
}

fn host(node: &Node) -> Result<HostPattern, String> {
    let text = string(node)?;
    if let Some(host) = HostPattern::new(text) {
        return Ok(host);
    }
    let bucket = text.strip_prefix("s3://").or_else(|| text.strip_prefix("arn:aws:s3:::"));
    if let Some(bucket) = bucket.and_then(|bucket| bucket.split('/').next()) {
        let host = of_bucket(if bucket.is_empty() { "my-bucket" } else { bucket });
        return Err(format!("\"{text}\" is a bucket; write the name of its host, with the bucket's region: {host}"));
    }
    if is_network(text) {
        return Err(format!("\"{text}\" is a network; write the names or addresses of the hosts, one by one"));
    }
    let several: Vec<&str> = text.split([',', ' ', ';']).filter(|part| !part.is_empty()).collect();
    if several.len() > 1 && several.iter().all(|part| HostPattern::new(part).is_some()) {
        return Err(format!(
            "\"{text}\" is several hosts; put each in quotes of its own: \"{}\"",
            several.join("\", \"")
        ));
    }
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest).split(['/', '?', '#']).next().unwrap_or_default();
    let bare = bare.rsplit_once('@').map_or(bare, |(_, host)| host);
    let bare = match bare.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') || port.is_empty() => host,
        _ => bare,
    };
    let bare = bare.split_once('%').map_or(bare, |(address, _)| address);
    let after_star = text.trim_start_matches(['*', '.']);
    Err(match HostPattern::new(bare).filter(|_| bare != text) {
        Some(host) => {
            format!("\"{text}\" must be the name of a host alone, without scheme, port and path: \"{host}\"")
        }
        None if text.is_empty() => {
            "must not be empty; write the name of a host, such as \"downloads.example.com\"".to_owned()
        }
        None if text.starts_with('*') && HostPattern::new(&format!("*.{after_star}")).is_some() => {
            format!("\"{text}\": for all names that end so, write \"*.{after_star}\"")
        }
        None if text.starts_with('*') => format!(
            "\"{text}\": `*.` stands before a name of at least two parts, as in \"*.downloads.example.com\"; write the hosts that files may \
             come from"
        ),
        None if !text.is_ascii() => format!(
            "\"{text}\" must be written in ASCII, as `xn--...` (`python3 -c 'print(\"NAME\".encode(\"idna\").decode())'` prints it for a NAME)"
        ),
        None => format!("\"{text}\" isn't the name of a host, such as \"downloads.example.com\", nor an IP address"),
    })
}

fn of_bucket(bucket: &str) -> String {
    format!("\"{bucket}.s3.eu-west-1.amazonaws.com\"")
}

/// An address and how many of its bits count, or two addresses and a dash between them.
fn is_network(text: &str) -> bool {
    let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
    let is_of_bits = |(address, bits): (&str, &str)| is_address(address) && bits.parse::<u8>().is_ok();
    let is_range = |(from, to): (&str, &str)| is_address(from) && is_address(to);
    text.split_once('/').is_some_and(is_of_bits) || text.split_once('-').is_some_and(is_range)
}

/// What allows more, or less, than is most likely meant.
fn doubt(host: &HostPattern) -> Option<String> {
    let text = host.to_string();
    if let Some(name) = text.strip_prefix("*.") {
        let is_of_country = name.split_once('.').is_some_and(|(second, country)| {
            SECOND.contains(&second) && country.len() == 2 && country.chars().all(|c| c.is_ascii_alphabetic())
        });
        return (is_of_country || PUBLIC.contains(&name)).then(|| {
            format!("\"{text}\" allows the hosts of everybody who has a name there; write the names of your own")
        });
    }
    let is_single = !text.contains(['.', ':']) && text != "localhost";
    is_single.then(|| {
        format!(
            "\"{text}\" is a host of the local network, without a domain; if it is an S3 bucket, write the name of its host, with the \
             bucket's region: {}",
            of_bucket(&text)
        )
    })
}
