//! What to do about a file that holds something else.

use std::fmt;
use std::path::Path;

use super::*;

impl Holds {
    pub(super) fn article(self) -> &'static str {
        match self {
            Holds::Certificate => "a certificate",
            Holds::Key => "a private key",
            Holds::EncryptedKey => "an encrypted private key",
            Holds::PublicKey => "only a public key",
            Holds::Request => "a certificate request (CSR)",
            Holds::OpenSshKey => "a key for SSH",
            Holds::DsaKey => "a DSA key",
            Holds::TrustedCertificate => "a certificate in openssl's own form",
            Holds::Pkcs7 => "PKCS#7",
            Holds::RevocationList => "a list of revoked certificates (CRL)",
            Holds::Pgp => "a PGP file",
        }
    }

    pub(super) fn explain(self, role: Role, path: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (article, elsewhere) = (self.article(), role.elsewhere());
        match (self, role) {
            (Holds::Certificate, _) => {
                write!(f, "holds {article}, not a key. {elsewhere}; tls.cert_file and tls.key_file may be swapped")
            }
            (Holds::Key, _) => {
                write!(
                    f,
                    "holds {article}, not a certificate. {elsewhere}; {} and tls.key_file may be swapped",
                    role.key()
                )
            }
            (Holds::EncryptedKey, Role::Key) => write!(
                f,
                "the key is encrypted, and nobody is there at boot to type its passphrase. Decrypt it: {}",
                openssl("pkey", path)
            ),
            (Holds::TrustedCertificate, Role::Ca | Role::Certificate) => {
                write!(f, "holds {article}. Convert it: {}", openssl("x509", path))
            }
            (Holds::Pkcs7, Role::Ca | Role::Certificate) => {
                write!(f, "holds {article}. Convert it: {}", openssl("pkcs7 -print_certs", path))
            }
            (Holds::Request, _) => {
                write!(f, "holds {article}, not the certificate that was issued for it. {elsewhere}")
            }
            (Holds::OpenSshKey, _) => write!(f, "holds {article}, which isn't one for TLS. {elsewhere}"),
            (Holds::DsaKey, _) => write!(f, "holds {article}, which can't be used. {SIZES}. {elsewhere}"),
            (Holds::EncryptedKey | Holds::PublicKey | Holds::RevocationList | Holds::Pgp, _)
            | (Holds::TrustedCertificate | Holds::Pkcs7, Role::Key) => write!(f, "holds {article}. {elsewhere}"),
        }
    }
    /// Likewise where there is more in the file, which must not be lost.
    pub(super) fn explain_among(self, role: Role, path: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (article, key) = (self.article(), role.key());
        let (does, command) = match (self, role) {
            (Holds::EncryptedKey, Role::Key) => (
                "the key is encrypted, and nobody is there at boot to type its passphrase. Decrypt it".to_owned(),
                taken_out_by_openssl("pkey", path),
            ),
            (Holds::TrustedCertificate, Role::Ca | Role::Certificate) => {
                let file = quoted(path);
                let all = format!("openssl crl2pkcs7 -nocrl -certfile {file} | openssl pkcs7 -print_certs");
                (format!("holds {article}. Convert it"), taken_out(&all, path))
            }
            (Holds::Pkcs7, Role::Ca | Role::Certificate) => {
                (format!("holds {article}. Convert it"), taken_out_by_openssl("pkcs7 -print_certs", path))
            }
            _ => return self.explain(role, path, f),
        };
        write!(f, "{does} into a new file, {command}, and name that in {key}")
    }
}
