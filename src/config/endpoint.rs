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

/// A host name or IP address.
pub(super) fn endpoint(node: &Node) -> Result<String, String> {
    let text = string(node)?;
    if text.is_empty() {
        return Err(format!("must not be empty; it is {EXAMPLE}. {WHERE}"));
    }
    if is_placeholder(text) {
        return Err(format!("is still the placeholder. {WHERE}"));
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(format!("must not begin with \"{scheme}://\"; it is {EXAMPLE}"));
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
    if let Some(other) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))) {
        return Err(format!("must not hold {other:?}; it is {EXAMPLE}"));
    }
    match ServerName::try_from(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!("\"{text}\" is neither a host name nor an IP address; it is {EXAMPLE}")),
    }
}

fn without_brackets(text: &str) -> Option<&str> {
    text.strip_prefix('[')?.strip_suffix(']').filter(|address| address.parse::<IpAddr>().is_ok())
}

/// What may be wrong with an endpoint that can be used: IoT Core's old ones have a certificate that doesn't descend from
/// Amazon's CAs ("AWS IoT device data and service endpoints" in the developer guide). In China ATS is a label of its own.
pub(super) fn doubt(endpoint: &str) -> Option<String> {
    let (account, rest) = endpoint.split_once(".iot.")?;
    let of_aws = rest.ends_with(".amazonaws.com") || rest.ends_with(".amazonaws.com.cn");
    let old = of_aws && !account.contains('.') && !account.ends_with("-ats");
    old.then(|| {
        format!("\"{account}\" doesn't end with \"-ats\": AmazonRootCA1.pem isn't for such an endpoint. {WHERE}")
    })
}
