//! Where resources are: partition, region and account, the beginning of every ARN.

use std::fmt;

/// `arn:PARTITION:iot:REGION:ACCOUNT:`, without which a resource names nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) partition: String,
    pub(crate) region: String,
    pub(crate) account: String,
}

impl Scope {
    pub(crate) fn new(region: &str, account: &str) -> Scope {
        Scope { partition: partition(region).to_owned(), region: region.to_owned(), account: account.to_owned() }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:{}:iot:{}:{}:", self.partition, self.region, self.account)
    }
}

/// What is known beforehand of where an existing policy is meant for; the rest is taken from its resources.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub(crate) region: Option<String>,
    pub(crate) account: Option<String>,
}

impl Known {
    /// Fills in what is missing from the first resource that names it, and says so.
    pub(crate) fn completed<'a>(self, resources: impl Iterator<Item = &'a str> + Clone) -> (Scope, Vec<String>) {
        let mut notes = Vec::new();
        let mut found = |known: Option<String>, what: &str, stand_in: &str, field: usize| {
            let check = if field == REGION { region } else { account };
            known.unwrap_or_else(|| {
                let named = resources.clone().find_map(|arn| check(arn.split(':').nth(field)?).ok());
                notes.push(match &named {
                    Some(named) => format!("the {what} is taken from the policy: {named} (--{what} gives another)"),
                    None => format!("the policy names no {what}; {stand_in} is used instead (--{what} gives it)"),
                });
                named.unwrap_or_else(|| stand_in.to_owned())
            })
        };
        let region = found(self.region, "region", "REGION", REGION);
        let account = found(self.account, "account", "ACCOUNT", ACCOUNT);
        (Scope::new(&region, &account), notes)
    }
}

/// Where an ARN has them between its colons.
const REGION: usize = 3;
const ACCOUNT: usize = 4;

/// The part of AWS a region belongs to.
fn partition(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

/// A region as on the command line, such as `eu-west-1`.
///
/// # Errors
/// Why it can't be one.
pub(crate) fn region(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split('-').collect();
    let words =
        |parts: &[&str]| parts.iter().all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase()));
    match parts.as_slice() {
        [first @ .., last] if first.len() >= 2 && words(first) && last.parse::<u8>().is_ok() => Ok(text.to_owned()),
        _ => Err("a region is written like eu-west-1".to_owned()),
    }
}

/// An account as on the command line.
///
/// # Errors
/// Why it can't be one.
pub(crate) fn account(text: &str) -> Result<String, String> {
    match text.len() == 12 && text.chars().all(|c| c.is_ascii_digit()) {
        true => Ok(text.to_owned()),
        false => Err("an account is a number of 12 digits; `aws sts get-caller-identity` shows yours".to_owned()),
    }
}

/// The region of an endpoint of IoT Core; `None` for another broker's or a domain of one's own.
pub(crate) fn region_of_endpoint(endpoint: &str) -> Option<String> {
    let endpoint = endpoint.to_ascii_lowercase();
    let host = endpoint.strip_suffix(".amazonaws.com").or_else(|| endpoint.strip_suffix(".amazonaws.com.cn"))?;
    let (_, found) = host.rsplit_once(".iot.")?;
    region(found).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partition_follows_from_the_region() {
        for (region, begin) in [
            ("eu-west-1", "arn:aws:iot:eu-west-1:123456789012:"),
            ("cn-north-1", "arn:aws-cn:iot:cn-north-1:123456789012:"),
            ("us-gov-west-1", "arn:aws-us-gov:iot:us-gov-west-1:123456789012:"),
        ] {
            assert_eq!(Scope::new(region, "123456789012").to_string(), begin);
        }
    }

    #[test]
    fn regions_and_accounts_are_checked() {
        for good in ["eu-west-1", "us-gov-east-1", "ap-southeast-12"] {
            assert_eq!(region(good).as_deref(), Ok(good));
        }
        for bad in ["", "eu", "eu-west", "west-1", "EU-west-1", "eu-west-1 ", "*", "eu--1"] {
            assert!(region(bad).is_err(), "{bad}");
        }
        assert!(account("123456789012").is_ok());
        assert!(account("1234-5678-9012").is_err() && account("12345678901").is_err());
    }

    #[test]
    fn an_endpoint_tells_its_region() {
        for (endpoint, region) in [
            ("a1b2-ats.iot.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("A1B2-ats.iot.EU-WEST-1.amazonaws.com", Some("eu-west-1")),
            ("a1b2.ats.iot.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("mqtt.example.com", None),
            ("localhost", None),
            ("a.iot.example.amazonaws.com", None),
        ] {
            assert_eq!(region_of_endpoint(endpoint).as_deref(), region, "{endpoint}");
        }
    }
}
