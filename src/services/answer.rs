//! What a service answers.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use crate::json;

/// The end of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The service has done what it was asked for: what it says, as it came.
    Accepted(Bytes),
    /// It doesn't, and asking again wouldn't change that.
    Rejected(Rejection),
    /// IoT Core doesn't take the PUBLISH: why.
    NotTaken(String),
}

/// What a service says when it refuses. The texts are from outside: they may hold anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// Its name, such as `VersionMismatch`; of the device shadow, which has none, the number. Empty if it says none.
    pub(crate) code: String,
    /// The number, if it says one, as HTTP has them.
    pub(crate) status: Option<u16>,
    /// For people. Empty if it says nothing.
    pub(crate) message: String,
    /// All of it, as it came.
    pub(crate) payload: Bytes,
}

impl Rejection {
    /// Reads what came on a topic for rejections. Jobs and the device shadow say `code` and `message`, fleet provisioning
    /// `statusCode`, `errorCode` and `errorMessage`, commands `error` and `errorMessage`, the certificate rotator `errorMsg`.
    pub(super) fn read(payload: &Bytes) -> Rejection {
        let text = text(payload).unwrap_or_default();
        let member = |name| json::child(text, name);
        let string = |name| member(name).and_then(json::string).map(Cow::into_owned);
        let number = |name| member(name).and_then(|number| number.parse::<u16>().ok());
        let status = number("code").or_else(|| number("statusCode"));
        let named = ["code", "errorCode", "error"].into_iter().find_map(string);
        Rejection {
            code: named.or_else(|| status.map(|status| status.to_string())).unwrap_or_default(),
            status,
            message: ["message", "errorMessage", "errorMsg"].into_iter().find_map(string).unwrap_or_default(),
            payload: payload.clone(),
        }
    }

    /// Whether it may be otherwise if it is asked again: too much was asked, the service has a fault, or it wasn't through with the
    /// request before (`DataConflict` of commands). AWS's documentation names the codes of Jobs and of commands (`RequestThrottled`,
    /// `InternalError`) and of the device shadow (429, 500); those of other services are names of its exceptions, of which these
    /// words are a part.
    pub(crate) fn is_temporary(&self) -> bool {
        let code = self.code.to_ascii_lowercase();
        matches!(self.status, Some(429 | 500..=599))
            || ["throttl", "internal", "unavailable", "dataconflict"].iter().any(|word| code.contains(word))
    }
}

/// Its code and what it says, as far as it says something.
impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.code, &*self.message) {
            ("", "") => f.write_str("no reason is given"),
            (code, "") => f.write_str(code),
            ("", message) => f.write_str(message),
            (code, message) => write!(f, "{code}: {message}"),
        }
    }
}

/// The client token in an answer.
pub(super) fn token(payload: &Bytes) -> Option<Cow<'_, str>> {
    json::child(text(payload)?, "clientToken").and_then(json::string)
}

/// A JSON object.
fn text(payload: &Bytes) -> Option<&str> {
    std::str::from_utf8(payload).ok().and_then(json::parse).filter(|text| text.starts_with('{'))
}
