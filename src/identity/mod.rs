//! This gateway's identity at IoT Core, where gatewire has made it itself: a key, a certificate and a name, as files in the state
//! directory.
//!
//! | name | what it holds |
//! |---|---|
//! | `identity/` | what is in force: `certificate.pem.crt`, `private.pem.key` and `thing.json` |
//! | `identity.next/` | what is being made: the same, and `progress.json`; `thing.json` comes last |
//! | `identity.making/` | an `identity.next` that doesn't count yet |
//! | `identity.previous/` | what was in force, while the next one takes its place |
//! | `identity.discarded/` | an `identity.next` that is removed |
//! | `identity.lock` | held by the one process that may change the others |
//!
//! Directories are 0700 and files 0600. A key in a token has no file.
//!
//! Nothing counts before it is on the disk, whole: a file gets its name, and a directory too, once what is in it is synced.
//! `thing.json` in `identity.next` is the decision that this is the identity from now on: [`Directory::open`] ends then what was
//! begun, and begins nothing otherwise. So there is an identity after a crash at any moment if there was one before, and never two.

mod advice;
mod directory;
mod disk;
mod key;
mod lock;
mod platform;
mod progress;
mod recovery;
#[cfg(test)]
pub(crate) mod simulated;
mod state;
#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

pub(crate) use directory::Directory;
#[cfg(test)]
pub(crate) use disk::Disk;
#[cfg(test)]
pub(crate) use key::generate;
pub(crate) use key::{CertificateError, KeyError, KeyKind, Signer, certificate_of, certificates_alone, csr, parse};
pub(crate) use lock::Lock;
#[cfg(test)]
pub(crate) use platform::Work;
pub(crate) use platform::{Platform, this_machine};
pub(crate) use progress::{Cause, Ownership, Progress, Step};
pub(crate) use state::{IdentityError, IdentityState, IdentityStatus, Phase};

/// What lies in the state directory under these names is gatewire's own: it is renamed and removed as a whole.
pub(crate) const NAMES: [&str; 6] = [
    directory::CURRENT,
    directory::NEXT,
    directory::MAKING,
    directory::PREVIOUS,
    directory::DISCARDED,
    directory::LOCK,
];

/// Who this gateway is to IoT Core: what `thing.json` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The thing's name, as AWS has given it.
    pub(crate) thing: String,
    /// `deviceConfiguration` of the provisioning template.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) configuration: Map<String, Value>,
    /// The id that IoT Core gives the certificate.
    pub(crate) certificate_id: String,
    /// Where the key is.
    pub(crate) key: KeyPlace,
}

/// Where a private key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KeyPlace {
    /// Beside the certificate.
    File,
    /// Where `tls.key_file` says, in a token.
    Token,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The one in force.
    Current,
    /// The one that is being made.
    Next,
}

/// Where the files for TLS are. There need not be any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paths {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// What was found of the identity in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FoundIdentity {
    /// There is none.
    Nothing,
    Identity(Identity),
    /// There is something that can't be used, and why.
    Damaged(String),
}

impl FoundIdentity {
    /// The identity, if it can be used.
    pub(crate) fn usable(self) -> Option<Identity> {
        match self {
            FoundIdentity::Identity(identity) => Some(identity),
            FoundIdentity::Nothing | FoundIdentity::Damaged(_) => None,
        }
    }
}

/// What the disk didn't do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{verb} {}: {said}", path.display())]
pub(crate) struct DiskError {
    /// `writing`, say.
    verb: &'static str,
    path: PathBuf,
    kind: ErrorKind,
    /// What the system says.
    said: String,
}
