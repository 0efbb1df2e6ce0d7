//! `[provisioning]`: how this gateway gets its identity.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{KeyFile, Tls};
use crate::certificate;
use crate::identity::KeyKind;
use crate::limits::MAX_CLIENT_ID_BYTES;
use crate::template::{Fixed, fill_client_id};

/// `[provisioning]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Provisioning {
    /// The state directory, in which the identity is kept.
    pub(crate) state: PathBuf,
    /// The name of the provisioning template at AWS IoT: 1 to 36 of `[0-9A-Za-z_-]`.
    pub(crate) template: String,
    /// The claim: a certificate that many gateways share and that may do nothing but ask for one's own, and its key.
    pub(crate) claim_cert_file: PathBuf,
    pub(crate) claim_key_file: PathBuf,
    /// What the client ids of all gateways begin with that use the claim: `claim-`.
    pub(crate) claim_client_id_begins: String,
    /// Nothing follows on that.
    pub(crate) is_claim_client_id_fixed: bool,
    pub(crate) told: Result<Told, NoValue>,
    /// What kind of key is made.
    pub(crate) key: KeyKind,
    pub(crate) claim_after: ClaimAfter,
    /// How long before its certificate expires a gateway asks for a new one. `None`: it doesn't.
    pub(crate) renew_before: Option<Duration>,
    /// What a name may have at most that AWS gives the thing. `None`: it is given, or any does.
    pub(super) longest_name: Option<LongestName>,
    /// `connection.client_id` as it is written, and the host name that may stand in it.
    pub(super) client_id: (String, String),
}

impl Provisioning {
    /// The client id once AWS has given the thing this name.
    ///
    /// # Errors
    /// It is no client id, or nothing that the configuration can be used with, in words that follow the name.
    pub(crate) fn client_id_of(&self, thing: &str) -> Result<String, String> {
        if let Some(LongestName { length, fault }) = self.longest_name.as_ref().filter(|name| name.length < thing.len())
        {
            return Err(format!(
                "has {} characters, and with more than {length} the configuration can't be used: {fault}",
                thing.len()
            ));
        }
        let (text, hostname) = &self.client_id;
        let fixed = Fixed { client_id: String::new(), thing: thing.to_owned(), hostname: hostname.clone() };
        let client_id = fill_client_id(text, &fixed).map_err(|error| error.to_string())?;
        match client_id.len() {
            1..=MAX_CLIENT_ID_BYTES => Ok(client_id),
            length => Err(format!(
                "makes a client id of {length} bytes of connection.client_id, and IoT Core takes 1 to {MAX_CLIENT_ID_BYTES}"
            )),
        }
    }

    /// The claim as what a connection is made with; the authorities are those of `tls`.
    pub(crate) fn claim(&self, tls: &Tls) -> Tls {
        Tls {
            ca_file: tls.ca_file.clone(),
            cert_file: self.claim_cert_file.clone(),
            key_file: KeyFile::File(self.claim_key_file.clone()),
            whose: certificate::Whose::Claim,
        }
    }
}

/// How long the name of the thing may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LongestName {
    /// In characters.
    pub(super) length: usize,
    /// What is wrong with the configuration if it has one more, and where.
    pub(super) fault: String,
}

/// What AWS is told of this machine. Everything is filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// The client id of connections with the claim.
    pub(crate) client_id: String,
    /// Of RegisterThing: keys of 1 to 2048 characters, values of at most 4096.
    pub(crate) parameters: BTreeMap<String, String>,
}

/// A placeholder that has no value on this machine: nothing is sent as long as that is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoValue {
    /// `serial`
    pub(crate) placeholder: &'static str,
    /// As it is written: `provisioning.parameters`.
    pub(crate) key: String,
    /// Where that stands: `FILE:LINE`.
    pub(crate) place: String,
}

impl NoValue {
    /// What to do.
    pub(crate) fn advice(&self) -> &'static str {
        match self.placeholder {
            "serial" => {
                "The kernel knows no serial number of the board (/proc/device-tree/serial-number): use {{machine_id}} or {{hostname}}."
            }
            "machine_id" => {
                "/etc/machine-id is missing, or not set yet: `systemd-machine-id-setup`, run as root, makes one."
            }
            _ => "`hostnamectl hostname NAME`, run as root, gives this machine a name.",
        }
    }
}

impl fmt::Display for NoValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{{}}}}} has no value on this machine", self.placeholder)
    }
}

/// `provisioning.claim_after`: what becomes of the claim's files once there is an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClaimAfter {
    Keep,
    Delete,
}
