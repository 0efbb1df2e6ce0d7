//! `connection.endpoint`, as people write it who have just copied it from somewhere.

use std::net::IpAddr;

use rustls::pki_types::ServerName;

use super::document::Node;
use super::values::string;

const EXAMPLE: &str = "only the host name, such as a1b2c3d4e5f6g7-ats.iot.eu-west-1.amazonaws.com";

/// Where the right one is found.
const WHERE: &str = "Your account's endpoint is shown by `aws iot describe-endpoint --endpoint-type iot:Data-ATS`, or in \
                     the AWS IoT console under Settings";

/// Whether it is what the shipped configuration has.
pub(super) fn is_placeholder(text: &str) -> bool {
    text.starts_with("xxxx")
}

/// Whether it is what the pages of others have in its place: `<your-endpoint>`, `YOUR_ENDPOINT`.
fn is_of_an_example(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let has_brackets = text.starts_with('<') && text.contains('>');
    let is_for_you = lower.starts_with("your") && (lower.contains("endpoint") || lower.contains("account"));
    has_brackets || is_for_you || lower.starts_with("endpoint-ats.")
}

fn may_hold(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')
}

/// A host name, in small letters, or an IP address.
pub(super) fn endpoint(node: &Node) -> Result<String, String> {
    let text = string(node)?;
    if text.is_empty() {
        return Err(format!("must not be empty; it is {EXAMPLE}. {WHERE}"));
    }
    if is_placeholder(text) || is_of_an_example(text) {
        return Err(format!("is still the placeholder. {WHERE}"));
    }
    if text.trim() != text {
        return Err(format!("has a blank at one end; write `endpoint = \"{}\"`", text.trim()));
    }
    if text.starts_with("arn:") {
        return Err(format!("must not be an ARN; it is {EXAMPLE}. {WHERE}"));
    }
    if text.contains("console.aws.amazon.") || text.contains("console.amazonaws.") {
        return Err(format!("is the address of the AWS console. {WHERE}"));
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        // There may be a login.
        let host = host.rsplit('@').next().unwrap_or_default().split(':').next().unwrap_or_default();
        return Err(format!("must not begin with \"{scheme}://\"; write `endpoint = \"{host}\"`"));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    if let Some((host, port)) = text.rsplit_once(':')
        && let Ok(port) = port.parse::<u16>()
        && !host.is_empty()
    {
        let host = without_brackets(host).unwrap_or(host);
        return Err(format!("must not hold a port; write `endpoint = \"{host}\"` and `port = {port}`"));
    }
    if let Some(address) = without_brackets(text) {
        return Err(format!("must be an address without brackets; write `endpoint = \"{address}\"`"));
    }
    if let Some(other) = text.chars().find(|c| !may_hold(*c)) {
        let host = text.trim_end_matches(['/', ',', ';', '"', '\'']);
        return Err(match () {
            // Such as the Cyrillic letter that looks like an `o`.
            () if !other.is_ascii() => format!(
                "must not hold {other:?} (U+{:04X}), which isn't one of the letters a to z, digits, hyphens and points of a host \
                 name; type it again. It is {EXAMPLE}",
                u32::from(other)
            ),
            () if !host.is_empty() && host.chars().all(may_hold) => {
                format!("must not end with {:?}; write `endpoint = \"{host}\"`", &text[host.len()..])
            }
            () => format!("must not hold {other:?}; it is {EXAMPLE}"),
        });
    }
    if let Some(host) = text.strip_suffix('.') {
        return Err(format!("must not end with a point; write `endpoint = \"{host}\"`"));
    }
    let host = text.to_ascii_lowercase();
    if ServerName::try_from(host.as_str()).is_err() {
        return Err(format!("\"{text}\" is neither a host name nor an IP address; it is {EXAMPLE}"));
    }
    match other_service(&host) {
        Some(what) => Err(format!("{what}. {WHERE}")),
        None => Ok(host),
    }
}

/// Whether it is one of IoT Core's, rather than another broker's.
pub(super) fn is_of_aws(host: &str) -> bool {
    host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
}

/// What a name of AWS's stands for that isn't the MQTT endpoint of an account.
fn other_service(host: &str) -> Option<String> {
    if !is_of_aws(host) {
        let is_mistyped = host.contains("amazonaws") || host.ends_with(".amazon.com");
        return is_mistyped.then(|| "doesn't end with \".amazonaws.com\", as the endpoints of IoT Core do".to_owned());
    }
    let labels: Vec<&str> = host.split('.').collect();
    let Some(at) = labels.iter().position(|label| *label == "iot") else {
        return Some(
            "is the address of another service of AWS; the endpoints of IoT Core have \".iot.\" in them".to_owned(),
        );
    };
    let no_mqtt = |what: &str| Some(format!("is the address of {what}, which isn't MQTT"));
    match (at, labels.first().copied().unwrap_or_default(), at.checked_sub(1).map(|before| labels[before])) {
        (0, ..) => return no_mqtt("AWS's interface for managing IoT Core"),
        (1, "data" | "data-ats", _) => return Some("is an address that belongs to no account".to_owned()),
        (1, "greengrass" | "greengrass-ats", _) => return no_mqtt("Greengrass"),
        (_, _, Some("credentials")) => return no_mqtt("the credentials provider"),
        (_, _, Some("jobs")) => return no_mqtt("the HTTPS interface for jobs"),
        (_, _, Some("tunneling")) => return no_mqtt("secure tunneling"),
        _ => {}
    }
    let region = labels.get(at + 1).copied().unwrap_or_default();
    let parts: Vec<&str> = region.split('-').collect();
    let is_region = parts.len() >= 3 && parts.last().is_some_and(|last| last.parse::<u8>().is_ok());
    if region == "amazonaws" {
        return Some("lacks the region, such as \"eu-west-1\", after \".iot.\"".to_owned());
    }
    (!is_region).then(|| format!("has \"{region}\" in the place of the region, which is written like \"eu-west-1\""))
}

fn without_brackets(text: &str) -> Option<&str> {
    text.strip_prefix('[')?.strip_suffix(']').filter(|address| address.parse::<IpAddr>().is_ok())
}

/// What may be wrong with an endpoint that can be used: IoT Core's old ones have a certificate that doesn't descend from
/// Amazon's CAs ("AWS IoT device data and service endpoints" in the developer guide). In China ATS is a label of its own.
pub(super) fn doubt(endpoint: &str) -> Option<String> {
    let (account, rest) = endpoint.split_once(".iot.")?;
    let old = is_of_aws(rest) && !account.contains('.') && !account.ends_with("-ats");
    old.then(|| {
        format!("\"{account}\" doesn't end with \"-ats\": AmazonRootCA1.pem isn't for such an endpoint. {WHERE}")
    })
}
