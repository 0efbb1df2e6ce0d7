//! What to do about a section that is called otherwise than what it holds.

use std::fmt;
use std::path::Path;

use super::*;

impl Actual {
    fn article(self) -> &'static str {
        match self {
            Actual::Certificate => Holds::Certificate.article(),
            Actual::Pkcs8 => "a private key in PKCS#8",
            Actual::Pkcs1 => "an RSA private key in PKCS#1",
            Actual::Sec1 => "an EC private key in SEC1",
            Actual::EncryptedKey => Holds::EncryptedKey.article(),
            Actual::PublicKey => Holds::PublicKey.article(),
            Actual::Request => Holds::Request.article(),
            Actual::Pkcs7 => Holds::Pkcs7.article(),
            Actual::Pkcs12 => "PKCS#12",
        }
    }

    /// Whether what it holds is right there, or becomes it once it is called so and read again.
    fn is_wanted(self, role: Role) -> bool {
        match role {
            Role::Key => matches!(self, Actual::Pkcs8 | Actual::Pkcs1 | Actual::Sec1 | Actual::EncryptedKey),
            Role::Ca | Role::Certificate => matches!(self, Actual::Certificate | Actual::Pkcs7),
        }
    }
}

impl Mislabelled {
    pub(super) fn explain(self, role: Role, path: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holds = self.holds.article();
        match self.label {
            Some(label) => write!(f, "a section in it is called {label}, but holds {holds}. ")?,
            None => write!(f, "a section in it has a label that isn't known, and holds {holds}. ")?,
        }
        match (self.label, self.holds.label().filter(|_| self.holds.is_wanted(role))) {
            (Some(wrong), Some(right)) if self.is_alone => {
                let script = quoted(Path::new(&format!("s/ {wrong}-----/ {right}-----/")));
                let command = in_place(&format!("sed {script} {}", quoted(path)), path);
                write!(f, "Correct the label in both lines: {command}")
            }
            (_, Some(right)) => write!(f, "Call it {right} in its lines BEGIN and END"),
            (_, None) => f.write_str(&role.elsewhere()),
        }
    }
}
