//! What a certificate is called at IoT Core, and which one it is for this gateway.

use std::path::PathBuf;

use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;

use crate::owner::quoted;

/// The id that IoT Core gives a certificate: the SHA-256 of its DER, in hexadecimal.
pub(crate) fn id_of(der: &CertificateDer<'_>) -> String {
    digest(&SHA256, der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whose certificate it is that a connection is made with: that decides how it is called, and what is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Somebody has put it there: the one in `tls.cert_file`.
    ByHand,
    /// Of the identity that gatewire has made itself, which is in this directory.
    Identity(PathBuf),
    /// Of an identity that isn't in force yet.
    Next,
    /// The one that gateways share until they have their own.
    Claim,
}

impl Whose {
    /// As a sentence calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Whose::ByHand => "the client certificate (tls.cert_file)",
            Whose::Identity(_) => "the certificate of this gateway's identity",
            Whose::Next => "the new certificate",
            Whose::Claim => "the claim's certificate (provisioning.claim_cert_file)",
        }
    }

    /// What is done to have another, to be put behind `: ` or `, `.
    pub(crate) fn replace(&self) -> String {
        match self {
            Whose::ByHand => "create a new certificate in IoT Core, attach it to the thing and its policy and put it there".to_owned(),
            Whose::Identity(directory) => format!(
                "have gatewire ask for a new identity by the claim, whose files must be there: `sudo systemctl stop gatewire`, \
                 `sudo rm -r {}`, `sudo systemctl start gatewire`",
                quoted(directory)
            ),
            Whose::Next => "gatewire asks for another one by itself".to_owned(),
            Whose::Claim => {
                "create a new claim (docs/provisioning.md) and put its certificate and key into the files that [provisioning] names"
                    .to_owned()
            }
        }
    }

    /// Its policy, as a sentence calls it.
    pub(crate) fn policy(&self) -> &'static str {
        match self {
            Whose::ByHand | Whose::Identity(_) | Whose::Next => "the certificate's policy",
            Whose::Claim => "the claim's policy (`gatewire policy --claim` prints one)",
        }
    }
}
