//! What IoT Core knows of a connection when it reads a policy, as far as the configuration and the certificate tell.

use std::collections::BTreeMap;

use super::Action;
use crate::config::Config;
use crate::limits::may_be_thing;

/// The values of policy variables and condition keys. Their names aren't case-sensitive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) client_id: String,
    /// The name that the command line or `connection.thing` gives to the thing, if that isn't the client id.
    pub(crate) thing: Option<String>,
    /// The host name that is connected to, where it is known.
    pub(crate) endpoint: Option<String>,
    /// What the CONNECT asks for that a policy can test.
    pub(crate) connect_attributes: Vec<&'static str>,
    pub(crate) certificate: Certificate,
}

/// The variables of `cert_file`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Certificate {
    /// By name in lower case, each with at least one value.
    Known(BTreeMap<String, Vec<String>>),
    /// Why nothing is known of it.
    Unknown(String),
}

/// What is known of a variable or condition key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KnownValue {
    /// Its values; the first one stands where there can be one only.
    Values(Vec<String>),
    /// It has none, for this reason.
    Missing(String),
    /// This value or none, for this reason.
    Perhaps(String, String),
    /// Only IoT Core knows, perhaps for a reason that is worth telling.
    Unknown(Option<String>),
}

const THING_NAME: &str = "iot:connection.thing.thingname";
const CLIENT_ID: &str = "iot:clientid";
const DOMAIN_NAME: &str = "iot:domainname";
const CONNECT_ATTRIBUTES: &str = "iot:connectattributes";
const CERTIFICATE: &str = "iot:certificate.";
/// What of a certificate is known here. How the others are written AWS doesn't say.
const READ: [&str; 2] = ["iot:certificate.subject.", "iot:certificate.issuer."];

impl Context {
    /// That of the connection that `config` describes.
    pub(crate) fn of(config: &Config, thing: Option<String>, certificate: Certificate) -> Context {
        let connection = &config.connection;
        let persistent = (!connection.session_expiry.is_zero()).then_some("PersistentConnect");
        let will = connection.will.as_ref().map(|_| "LastWill");
        Context {
            client_id: connection.client_id.clone(),
            thing: thing.or_else(|| (connection.thing != connection.client_id).then(|| connection.thing.clone())),
            endpoint: Some(connection.endpoint.to_ascii_lowercase()),
            connect_attributes: persistent.into_iter().chain(will).collect(),
            certificate,
        }
    }

    /// One in which every variable is unknown.
    pub(crate) fn unknown() -> Context {
        Context {
            client_id: String::new(),
            thing: None,
            endpoint: None,
            connect_attributes: Vec::new(),
            certificate: Certificate::Unknown("it isn't looked at".to_owned()),
        }
    }

    /// Whether `name` is that of the thing.
    pub(crate) fn is_thing_name(name: &str) -> bool {
        name.eq_ignore_ascii_case(THING_NAME)
    }

    /// What the name of the thing is taken to be.
    pub(crate) fn thing(&self) -> &str {
        self.thing.as_deref().unwrap_or(&self.client_id)
    }

    /// The variable or condition key `name`, when `action` is asked for; `None` where that doesn't matter.
    pub(crate) fn value(&self, name: &str, action: Option<Action>) -> KnownValue {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            CLIENT_ID => KnownValue::Values(vec![self.client_id.clone()]),
            THING_NAME => self.thing_name(),
            DOMAIN_NAME => match &self.endpoint {
                Some(endpoint) => KnownValue::Values(vec![endpoint.clone()]),
                None => KnownValue::Unknown(None),
            },
            CONNECT_ATTRIBUTES => match action {
                Some(Action::Connect) if self.connect_attributes.is_empty() => KnownValue::Missing(
                    "this configuration asks neither for a persistent session nor for a will".to_owned(),
                ),
                Some(Action::Connect) => {
                    KnownValue::Values(self.connect_attributes.iter().map(|&one| one.to_owned()).collect())
                }
                Some(action) => KnownValue::Missing(format!("it is known for iot:Connect alone, not for {action}")),
                None => KnownValue::Unknown(None),
            },
            name if name.starts_with(CERTIFICATE) => self.of_certificate(name),
            _ => KnownValue::Unknown(None),
        }
    }

    fn thing_name(&self) -> KnownValue {
        match &self.thing {
            None if !may_be_thing(&self.client_id) => KnownValue::Unknown(Some(format!(
                "the client id {:?} can't be the name of a thing (letters, digits, `:`, `_` and `-`, at most 128), so IoT Core \
                 knows the thing only if the certificate is attached to one exclusively; `thing` below [connection], or --thing, gives its name",
                self.client_id
            ))),
            Some(thing) if *thing != self.client_id => KnownValue::Perhaps(
                thing.clone(),
                format!(
                    "IoT Core takes {thing:?} for the thing only if the certificate is attached to it exclusively, because \
                     the client id is another: {:?}",
                    self.client_id
                ),
            ),
            _ => KnownValue::Values(vec![self.client_id.clone()]),
        }
    }

    fn of_certificate(&self, name: &str) -> KnownValue {
        if !READ.iter().any(|begin| name.starts_with(begin)) {
            return KnownValue::Unknown(None);
        }
        let fields = match &self.certificate {
            Certificate::Known(fields) => fields,
            Certificate::Unknown(why) => return KnownValue::Unknown(Some(why.clone())),
        };
        let missing = |field: &str| {
            let field = field.trim_start_matches(CERTIFICATE);
            KnownValue::Missing(format!("the certificate has no {field}"))
        };
        // `Subject.Organization.1` is the second of several.
        let (field, index) = match name.rsplit_once('.') {
            Some((field, index)) if !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit()) => {
                (field, index.parse().unwrap_or(usize::MAX))
            }
            _ => (name, 0),
        };
        match fields.get(field).and_then(|values| values.get(index)) {
            Some(value) => KnownValue::Values(vec![value.clone()]),
            None => missing(name),
        }
    }
}

/// A thing's name as on the command line.
///
/// # Errors
/// Why it can't be one.
pub(crate) fn thing(text: &str) -> Result<String, String> {
    match may_be_thing(text) {
        true => Ok(text.to_owned()),
        false => Err("the name of a thing has letters, digits, `:`, `_` and `-`, at most 128 of them".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(client_id: &str, thing: Option<&str>) -> Context {
        let fields = BTreeMap::from([(
            "iot:certificate.subject.organization".to_owned(),
            vec!["First".to_owned(), "Second".to_owned()],
        )]);
        Context {
            client_id: client_id.to_owned(),
            thing: thing.map(str::to_owned),
            endpoint: Some("a-ats.iot.eu-west-1.amazonaws.com".to_owned()),
            connect_attributes: vec!["PersistentConnect"],
            certificate: Certificate::Known(fields),
        }
    }

    fn values(known: KnownValue) -> Vec<String> {
        match known {
            KnownValue::Values(values) => values,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_are_found_in_any_case() {
        let context = context("c", None);
        assert_eq!(values(context.value("IOT:clientID", None)), ["c"]);
        assert_eq!(values(context.value("iot:Certificate.Subject.Organization", None)), ["First"]);
        assert_eq!(values(context.value("iot:Certificate.Subject.Organization.1", None)), ["Second"]);
        assert!(matches!(context.value("iot:Certificate.Subject.Organization.2", None), KnownValue::Missing(_)));
        assert!(matches!(context.value("iot:Certificate.SerialNumber", None), KnownValue::Unknown(None)));
        assert_eq!(values(context.value("iot:ConnectAttributes", Some(Action::Connect))), ["PersistentConnect"]);
        assert!(matches!(context.value("iot:ConnectAttributes", Some(Action::Publish)), KnownValue::Missing(_)));
    }

    #[test]
    fn the_thing_is_known_where_the_client_has_its_name() {
        let thing = |client_id, thing| context(client_id, thing).value("iot:Connection.Thing.ThingName", None);
        assert_eq!(values(thing("a", None)), ["a"]);
        assert_eq!(values(thing("a", Some("a"))), ["a"]);
        assert!(
            matches!(thing("a", Some("b")), KnownValue::Perhaps(name, why) if name == "b" && why.contains("\"a\""))
        );
        assert!(
            matches!(thing("a/b", None), KnownValue::Unknown(Some(why)) if why.contains("can't be the name of a thing"))
        );
        assert!(matches!(thing("a/b", Some("b")), KnownValue::Perhaps(..)));
    }
}
