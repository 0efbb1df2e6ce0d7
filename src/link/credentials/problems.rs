//! Why credentials can't be used, and what to do about it.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::exposure;

/// Everything that is wrong with the files of `[tls]`, a line each.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) struct CredentialsProblems(pub(crate) Vec<Problem>);

impl fmt::Display for CredentialsProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    File {
        role: Role,
        path: PathBuf,
        fault: Fault,
    },
    KeyMismatch {
        cert_file: PathBuf,
        key_file: PathBuf,
        /// Which certificate of `cert_file`, counted from 1, the key does belong to.
        belongs_to: Option<usize>,
        /// The subject of `cert_file`'s first certificate, if it is a CA's.
        authority: Option<String>,
    },
}

/// What a file of `[tls]` is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Ca,
    Certificate,
    Key,
}

impl Role {
    /// The configuration key that names the file.
    fn key(self) -> &'static str {
        match self {
            Role::Ca => "tls.ca_file",
            Role::Certificate => "tls.cert_file",
            Role::Key => "tls.key_file",
        }
    }

    /// What belongs into the file and where it comes from.
    fn wanted(self) -> &'static str {
        match self {
            Role::Ca => "Amazon's root CA (https://www.amazontrust.com/repository/AmazonRootCA1.pem)",
            Role::Certificate => "the certificate that IoT Core gave for this device (...-certificate.pem.crt)",
            Role::Key => "the private key that was made with the certificate (...-private.pem.key)",
        }
    }
}

/// What is wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    Missing {
        /// The highest directory on the way to it that is missing too.
        directory: Option<PathBuf>,
    },
    Denied(Denied),
    Directory,
    /// A device, socket or FIFO.
    NotRegular,
    Empty,
    TooLarge {
        limit: u64,
    },
    Io(ErrorKind),
    /// The right thing, but binary.
    Der(Der),
    NoPem,
    Damaged(String),
    Holds(Holds),
    BadCertificate {
        /// Counted from 1.
        number: usize,
        reason: String,
    },
    /// Nothing in the CA file is a CA's certificate.
    NotAuthority {
        subject: String,
    },
    SeveralKeys(usize),
    UnsupportedKey {
        kind: Option<&'static str>,
        reason: Option<String>,
    },
}

/// Who was kept from reading what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denied {
    /// The directory that can't be passed; `None` if it is the file itself.
    pub(crate) directory: Option<PathBuf>,
    pub(crate) user: String,
    pub(crate) owner: String,
    pub(crate) group: String,
    pub(crate) mode: u32,
}

/// What binary file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Der {
    Certificate,
    Key,
    Pkcs12,
}

/// What a file holds instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    Certificate,
    Key,
    EncryptedKey,
    PublicKey,
    Request,
    OpenSshKey,
    TrustedCertificate,
    Pkcs7,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::File { role, path, fault } => {
                write!(f, "{} {}: ", role.key(), path.display())?;
                fault.explain(*role, path, f)
            }
            Problem::KeyMismatch { cert_file, key_file, belongs_to, authority } => {
                let (cert, key) = (cert_file.display(), key_file.display());
                write!(f, "tls.key_file {key}: doesn't belong to the certificate in tls.cert_file {cert}. ")?;
                match (belongs_to, authority) {
                    (Some(number), _) => {
                        write!(
                            f,
                            "It belongs to certificate {number} of that file: this device's own must be the first"
                        )
                    }
                    (None, Some(subject)) => write!(
                        f,
                        "That one is a CA's ({subject}): put {} there; tls.ca_file and tls.cert_file may be swapped",
                        Role::Certificate.wanted()
                    ),
                    (None, None) => write!(
                        f,
                        "Both must be from one creation of a certificate: `openssl x509 -noout -pubkey -in {cert}` and \
                         `openssl pkey -pubout -in {key}` must print the same"
                    ),
                }
            }
        }
    }
}

impl Fault {
    fn explain(&self, role: Role, path: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, wanted) = (path.display(), role.wanted());
        match self {
            Fault::Missing { directory: None } => write!(f, "there is no such file. Put {wanted} there"),
            Fault::Missing { directory: Some(dir) } => {
                write!(f, "there is no directory {}. Create it and put {wanted} there", dir.display())
            }
            Fault::Denied(denied) => denied.explain(role, path, f),
            Fault::Directory => write!(f, "is a directory. Name the file in it that holds {wanted}"),
            Fault::NotRegular => write!(f, "is a device, socket or FIFO. Name a file that holds {wanted}"),
            Fault::Empty => write!(f, "is empty. Put {wanted} there"),
            Fault::TooLarge { limit } => {
                write!(f, "is over {limit} bytes, which no credential file is. Put {wanted} there")
            }
            Fault::Io(kind) => write!(f, "reading it failed: {kind}. Check the disk (dmesg) or copy the file again"),
            Fault::Der(der) => der.explain(&shown, f),
            Fault::NoPem => write!(f, "holds no PEM section (-----BEGIN ...-----). Put {wanted} there"),
            Fault::Damaged(how) => write!(f, "is damaged: {how}. Copy it again, whole"),
            Fault::Holds(holds) => holds.explain(role, &shown, f),
            Fault::BadCertificate { number, reason } => {
                write!(f, "certificate {number} in it can't be read ({reason}). Copy it again: {wanted}")
            }
            Fault::NotAuthority { subject } => write!(
                f,
                "holds no CA certificate, but that of {subject}. Put {wanted} there; tls.ca_file and tls.cert_file may \
                 be swapped"
            ),
            Fault::SeveralKeys(count) => write!(f, "holds {count} private keys. Leave only that of the certificate"),
            Fault::UnsupportedKey { kind, reason } => {
                write!(f, "holds {} key that can't be used", kind.map_or("a".to_owned(), |kind| format!("an {kind}")))?;
                if let Some(reason) = reason {
                    write!(f, " ({reason})")?;
                }
                write!(f, ". gatewire takes RSA of 2048 to 4096 bits, EC P-256 and EC P-384")
            }
        }
    }
}

impl Denied {
    fn explain(&self, role: Role, path: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Denied { directory, user, owner, group, mode } = self;
        let shown = path.display();
        match directory {
            None => write!(f, "the user {user} may not read it (it is {owner}:{group}, mode {mode:04o}). ")?,
            Some(dir) => write!(
                f,
                "the user {user} may not enter the directory {} (it is {owner}:{group}, mode {mode:04o}). ",
                dir.display()
            )?,
        }
        if user != "gatewire" && user != "root" {
            write!(f, "If the daemon runs as another user, run this as that one (sudo -u gatewire ...); else run ")?;
        } else {
            write!(f, "Run ")?;
        }
        match (directory, role) {
            (Some(dir), _) => write!(f, "`chown root:gatewire {0} && chmod 0750 {0}`", dir.display()),
            (None, Role::Key) => write!(f, "`{}`", exposure::command_to_hide(path)),
            (None, Role::Ca | Role::Certificate) => write!(f, "`chmod 0644 {shown}`"),
        }
    }
}

impl Der {
    fn explain(self, path: &impl fmt::Display, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Der::Certificate => write!(
                f,
                "is a binary (DER) certificate. Convert it: `openssl x509 -inform der -in {path} -out certificate.pem.crt`"
            ),
            Der::Key => write!(
                f,
                "is a binary (DER) key. Convert it: `openssl pkey -inform der -in {path} -out private.pem.key`"
            ),
            Der::Pkcs12 => write!(
                f,
                "is a PKCS#12 file. Take it apart: `openssl pkcs12 -in {path} -nokeys -out certificate.pem.crt` and \
                 `openssl pkcs12 -in {path} -nocerts -noenc -out private.pem.key`"
            ),
        }
    }
}

impl Holds {
    fn explain(self, role: Role, path: &impl fmt::Display, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = role.wanted();
        match self {
            Holds::Certificate => {
                write!(
                    f,
                    "holds a certificate, not a key. Put {wanted} there; tls.cert_file and tls.key_file may be swapped"
                )
            }
            Holds::Key => write!(
                f,
                "holds a private key, not a certificate. Put {wanted} there; {} and tls.key_file may be swapped",
                role.key()
            ),
            Holds::EncryptedKey if role == Role::Key => write!(
                f,
                "the key is encrypted, and nobody is there at boot to type its passphrase. Decrypt it: \
                 `openssl pkey -in {path} -out private.pem.key`"
            ),
            Holds::EncryptedKey => write!(f, "holds an encrypted private key. Put {wanted} there"),
            Holds::PublicKey => write!(f, "holds only a public key. Put {wanted} there"),
            Holds::Request => write!(f, "holds a certificate request (CSR), not what it asks for. Put {wanted} there"),
            Holds::OpenSshKey => write!(f, "holds a key for SSH, which isn't one for TLS. Put {wanted} there"),
            Holds::TrustedCertificate => write!(
                f,
                "holds a certificate in openssl's own form. Convert it: `openssl x509 -in {path} -out certificate.pem.crt`"
            ),
            Holds::Pkcs7 => {
                write!(f, "holds PKCS#7. Convert it: `openssl pkcs7 -print_certs -in {path} -out certificate.pem.crt`")
            }
        }
    }
}
