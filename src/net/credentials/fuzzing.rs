//! A file of `[tls]` that holds anything, and a certificate of a server that does.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;

use super::{FileFault, Problem, Role, ServerCertificate, Subject, Validity, authorities_of, chain_of, der, key, pem};
use crate::policy::certificate::variables;
use crate::policy::context;
use crate::printable::printable;

/// Base64 of a file that is at least as long as this may be a part of a key.
const SECRET: usize = 24;

/// Reads `file` as each of the three files: it can be used, or what is said of it is one line without anything of a key.
pub fn pem(file: &[u8]) {
    // Long lines of what may be a key; what our own texts name has a dot or a hyphen.
    let text = String::from_utf8_lossy(file);
    let is_base64 = |line: &&str| line.len() >= SECRET && line.bytes().all(|b| b.is_ascii_alphanumeric());
    let secrets: Vec<&str> = text.split_whitespace().filter(is_base64).collect();
    let path = Path::new("/etc/gatewire/it's a.pem");
    for role in [Role::Ca, Role::Certificate, Role::Key] {
        let outcome = pem::contents(file, 0o600).and_then(|contents| match role {
            Role::Ca => authorities_of(contents).map(|roots| assert!(!roots.is_empty())),
            Role::Certificate => chain_of(contents).map(|chain| {
                let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
                for now in [long_ago, SystemTime::now()] {
                    let told = chain.validity.warning(&crate::certificate::Whose::ByHand, path, now);
                    assert!(told.is_none_or(|warning| is_line(&warning.to_string())));
                }
                chain.certificates.iter().for_each(|der| certificate(der));
            }),
            Role::Key => key::of(contents).map(drop),
        });
        if let Err(fault) = outcome {
            assert!(!matches!(fault, FileFault::Missing { .. } | FileFault::Denied(_) | FileFault::Io(_)), "{fault:?}");
            let told = Problem::File { role, path: path.to_owned(), fault }.to_string();
            assert!(is_line(&told), "{told:?}");
            assert!(!secrets.iter().any(|secret| told.contains(secret)), "{told:?}");
        }
    }
}

/// Looks at `bytes` as a certificate in DER, as a server sends it before anything is known of it, and as what else DER may be.
pub fn certificate(bytes: &[u8]) {
    der::content(bytes);
    der::key(bytes);
    let certificate = CertificateDer::from(bytes);
    if let Some(told) = ServerCertificate::of(&certificate) {
        assert!(is_line(&told.to_string()), "{told}");
        assert!(told.common_name.is_none_or(|name| is_line(&name)));
    }
    if let Ok((_, parsed)) = x509_parser::parse_x509_certificate(bytes) {
        assert!(is_line(&Subject::of(&parsed).to_string()));
        Validity::of(&parsed);
    }
    if let context::Certificate::Known(fields) = variables(bytes) {
        assert!(fields.values().all(|values| !values.is_empty()));
    }
}

/// Whether `text` can stand in a log.
fn is_line(text: &str) -> bool {
    printable(text) == text
}
