//! Why credentials can't be used, and what to do about it.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use thiserror::Error;
use x509_parser::certificate::X509Certificate;

use super::name::text_of;

use crate::certificate::Whose;
use crate::owner::quoted;

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
        fault: FileFault,
    },
    KeyMismatch {
        cert_file: PathBuf,
        key_file: PathBuf,
        /// Whose certificate of `cert_file`, counted from 1, the key does belong to.
        belongs_to: Option<usize>,
        /// The subject of `cert_file`'s first certificate, if it is a CA's.
        authority: Option<Subject>,
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
    pub(super) fn key(self) -> &'static str {
        match self {
            Role::Ca => "tls.ca_file",
            Role::Certificate => "tls.cert_file",
            Role::Key => "tls.key_file",
        }
    }

    /// Likewise, where it is that of this certificate.
    pub(super) fn key_of(self, whose: &Whose) -> &'static str {
        match (self, whose) {
            (Role::Certificate, Whose::Claim) => "provisioning.claim_cert_file",
            (Role::Key, Whose::Claim) => "provisioning.claim_key_file",
            _ => self.key(),
        }
    }

    /// What belongs into the file and where it comes from.
    pub(super) fn wanted(self) -> &'static str {
        match self {
            Role::Ca => {
                "the root CA of the server's certificate (for IoT Core Amazon's root CA, \
                 https://www.amazontrust.com/repository/AmazonRootCA1.pem)"
            }
            Role::Certificate => "the certificate that IoT Core gave for this device (...-certificate.pem.crt)",
            Role::Key => "the private key that was made with the certificate (...-private.pem.key)",
        }
    }
}

/// What is wrong with one file. Nothing here has room for what the file holds, so that no message can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileFault {
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
    /// The right thing, but in another encoding of text.
    Utf16(Encoding),
    /// The right thing, but binary.
    Der(Der),
    /// Likewise, in Base64 without a begin and an end.
    BareBase64(Der),
    /// The right thing, but its lines aren't lines any more.
    Layout(Layout),
    Damaged(Damage),
    /// Nothing like a certificate or key.
    Foreign(Foreign),
    Holds(Holds),
    /// Likewise, and there is more in the file.
    HoldsAmong(Holds),
    /// A section that is called otherwise than what it holds.
    Mislabelled(Mislabelled),
    BadCertificate {
        /// Counted from 1.
        number: usize,
    },
    /// Nothing in the CA file is a CA's certificate.
    NotAuthority {
        subject: Subject,
    },
    SeveralKeys(usize),
    /// Of a certificate: what kind of key it is for, where the private one is in a token.
    NotForToken(String),
    UnsupportedKey(Unsupported),
}

/// Its label isn't that of what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mislabelled {
    /// `None`: nothing that is known.
    pub(super) label: Option<&'static str>,
    pub(super) holds: Actual,
    /// There is nothing else in the file.
    pub(super) is_alone: bool,
}

/// What a section holds, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Actual {
    Certificate,
    Pkcs8,
    Pkcs1,
    Sec1,
    EncryptedKey,
    PublicKey,
    Request,
    Pkcs7,
    Pkcs12,
}

impl Actual {
    /// What it should be called; PKCS#12 isn't in PEM.
    pub(super) fn label(self) -> Option<&'static str> {
        match self {
            Actual::Certificate => Some("CERTIFICATE"),
            Actual::Pkcs8 => Some("PRIVATE KEY"),
            Actual::Pkcs1 => Some("RSA PRIVATE KEY"),
            Actual::Sec1 => Some("EC PRIVATE KEY"),
            Actual::EncryptedKey => Some("ENCRYPTED PRIVATE KEY"),
            Actual::PublicKey => Some("PUBLIC KEY"),
            Actual::Request => Some("CERTIFICATE REQUEST"),
            Actual::Pkcs7 => Some("PKCS7"),
            Actual::Pkcs12 => None,
        }
    }
}

/// Whose certificate it is: the one thing of a file that is shown. Only a certificate has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject(Box<str>);

impl Subject {
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Subject {
        Subject(text_of(certificate.subject()))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An encoding of text that isn't PEM's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// With a byte order mark.
    Utf16,
    Utf16Le,
    Utf16Be,
}

/// What has become of the line ends of a PEM file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `echo $KEY`
    Spaces,
    /// `\n` in two characters: an environment variable, a JSON string.
    Escaped,
    /// Quotes or commas of the program or document that it was copied from.
    Quoted,
    Indented,
    /// Left out.
    Glued,
    /// As comments: every line has `#` before it.
    CommentedOut,
}

/// What is missing or wrong in a PEM file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    NoBegin,
    NoEnd,
    /// It ends as another section than it has begun.
    OtherEnd,
    /// A begin or an end without its five dashes on both sides.
    Dashes,
    /// There is nothing between begin and end.
    Nothing,
    NotBase64 {
        /// Of the file, counted from 1.
        line: usize,
    },
    Incomplete,
    TooLong,
    NotDer,
    Binary,
    /// A key whose parts aren't where they belong.
    Key,
    /// A key whose numbers don't fit each other.
    Numbers,
}

/// What a file is that has nothing to do with PEM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    Text,
    WebPage,
    Json,
    JavaKeyStore,
    Archive,
    Base64OfPem,
}

/// Why a private key can't be used that is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsupported {
    RsaSize {
        bits: usize,
    },
    RsaExponent,
    NoPublicHalf {
        /// There is nothing else in the file.
        is_alone: bool,
    },
    /// Of a curve that nobody knows; a damaged file says so, too.
    Curve,
    /// With its article.
    Kind(&'static str),
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
    EncryptedKey,
    Pkcs12,
    Pkcs7,
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
    DsaKey,
    TrustedCertificate,
    Pkcs7,
    RevocationList,
    Pgp,
}

impl CredentialsProblems {
    /// Whether it is certificate and key alone that can't be used: what gatewire has made itself is made anew then.
    pub(crate) fn are_of_identity(&self) -> bool {
        !self.0.iter().any(|problem| problem.about().0 == Role::Ca.key())
    }

    /// Each where the certificate and the key are those of the claim: the key of the configuration, the path, and what is said.
    pub(crate) fn of_claim(&self) -> impl Iterator<Item = (&'static str, &Path, String)> {
        const KEYS: [Role; 2] = [Role::Certificate, Role::Key];
        let of_claim = |role: Role| role.key_of(&Whose::Claim);
        self.0.iter().map(move |problem| {
            let (key, path) = problem.about();
            let said = KEYS.iter().fold(problem.to_string(), |said, role| said.replace(role.key(), of_claim(*role)));
            (KEYS.into_iter().find(|role| role.key() == key).map_or(key, of_claim), path, said)
        })
    }

    /// What is wrong with certificate and key of an identity that gatewire has made itself. What people do about their own files is
    /// left out: no key of the configuration names these, and gatewire makes others.
    pub(crate) fn of_identity(&self) -> String {
        let of_one = |problem: &Problem| {
            let said = problem.to_string();
            let said = [Role::Certificate, Role::Key]
                .iter()
                .fold(said, |said, role| said.replace(&format!("{} ", role.key()), ""));
            said.split_once(". ").map_or(said.clone(), |(what, _)| what.to_owned())
        };
        self.0.iter().map(of_one).collect::<Vec<_>>().join("; ")
    }
}

impl Problem {
    /// The key of the configuration that names the file to mend, and its path.
    pub(crate) fn about(&self) -> (&'static str, &Path) {
        match self {
            Problem::File { role, path, .. } => (role.key(), path),
            Problem::KeyMismatch { key_file, .. } => (Role::Key.key(), key_file),
        }
    }
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
                        "That one is a CA's ({subject}); tls.ca_file and tls.cert_file may be swapped. {}",
                        Role::Certificate.elsewhere()
                    ),
                    (None, None) => write!(
                        f,
                        "Both must be from one creation of a certificate: `openssl x509 -noout -pubkey -in {}` and \
                         `openssl pkey -pubout -in {}` must print the same",
                        quoted(cert_file),
                        quoted(key_file)
                    ),
                }
            }
        }
    }
}
