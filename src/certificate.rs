//! What a certificate is called at IoT Core.

use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;

/// The id that IoT Core gives a certificate: the SHA-256 of its DER, in hexadecimal.
pub(crate) fn id_of(der: &CertificateDer<'_>) -> String {
    digest(&SHA256, der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
