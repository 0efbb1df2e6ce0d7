//! How far the next identity has come: `progress.json`.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::KeyPlace;

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    /// A certificate is to be asked for.
    CreateCertificate,
    /// The template is to make a thing of it.
    RegisterThing,
    /// To connect with it.
    Trial,
    /// Of a rotation by job: whoever has asked for it is to be told that it connects.
    Commit,
}

/// Why it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cause {
    /// There was none.
    Claim,
    /// The certificate's end is near.
    Renewal,
    /// A job wants it.
    Job {
        id: String,
        /// Of its execution.
        #[serde(default)]
        number: i64,
    },
}

/// What RegisterThing wants as proof that the certificate was given to us.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ownership {
    pub(crate) token: String,
    /// When it came, by the clock on the wall. It is worth an hour.
    #[serde(with = "seconds")]
    pub(crate) since: Timestamp,
}

impl fmt::Debug for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ownership {{ since: {} }}", self.since)
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) step: Step,
    pub(crate) cause: Cause,
    /// When it was begun, by the clock on the wall.
    #[serde(with = "seconds")]
    pub(crate) since: Timestamp,
    pub(crate) key: KeyPlace,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ownership: Option<Ownership>,
    /// The id that IoT Core gives the certificate; known with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate_id: Option<String>,
    /// Known once the thing is registered; in a rotation by job from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) thing: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) configuration: Map<String, Value>,
    /// How often the certificate was refused in its trial.
    #[serde(default)]
    pub(crate) refusals: u32,
    /// Whether the commit may have been sent: from then on either certificate may be the one that counts.
    #[serde(default)]
    pub(crate) committing: bool,
    /// Why it isn't to count, if that is so: the identity in force is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) given_up: Option<String>,
}

impl Progress {
    /// Of one for which nothing has been asked yet.
    pub(crate) fn begun(cause: Cause, key: KeyPlace, now: Timestamp) -> Progress {
        Progress {
            step: Step::CreateCertificate,
            cause,
            since: now,
            key,
            ownership: None,
            certificate_id: None,
            thing: None,
            configuration: Map::new(),
            refusals: 0,
            committing: false,
            given_up: None,
        }
    }
}

/// A time as seconds since 1970.
mod seconds {
    use jiff::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(time.as_second())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        Timestamp::from_second(i64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
