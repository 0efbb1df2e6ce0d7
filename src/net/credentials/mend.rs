//! What to do about a file of `[tls]`: commands that touch this file alone, keep its owner and mode, lose nothing if they fail, and
//! work as they are printed. Where a file holds something of another kind, no command writes to it: it may be the only copy.

mod holds;
mod label;

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use super::problems::{
    Actual, Damage, Denied, Der, Encoding, FileFault, Foreign, Holds, Layout, Mislabelled, Role, Unsupported,
};
use crate::exposure;
use crate::owner::quoted;

const SIZES: &str = "gatewire takes RSA of 2048 to 4096 bits, EC P-256 and EC P-384";

/// Where a file is to have its own part of a container: beside it, and never over a file that is there.
const BESIDE: &str = ".pem";

/// The file is replaced by what `command` makes of it, once that has succeeded. As the shell writes into the file that is there,
/// it keeps its owner and mode.
fn in_place(command: &str, path: &Path) -> String {
    format!("`t=$({command}) && printf '%s\\n' \"$t\" > {}`", quoted(path))
}

fn openssl(arguments: &str, path: &Path) -> String {
    in_place(&format!("openssl {arguments} -in {}", quoted(path)), path)
}

/// Writes what `command` makes of a container into a new file with the owner and mode of the container.
fn taken_out(command: &str, path: &Path) -> String {
    let (file, mut new) = (quoted(path), path.as_os_str().to_owned());
    new.push(BESIDE);
    let new = quoted(Path::new(&new));
    format!(
        "`(umask 077; set -C; {command} > {new}) && chown --reference={file} {new} && chmod --reference={file} {new}`"
    )
}

fn taken_out_by_openssl(arguments: &str, path: &Path) -> String {
    taken_out(&format!("openssl {arguments} -in {}", quoted(path)), path)
}

/// Line ends where PEM has them, whatever became of them.
fn rewrapped(path: &Path) -> String {
    // A space of a name isn't one between lines; only then are begin and end given lines of their own.
    let script = r#"s/["',`;>|]//g; s/\\[nr]|[ \t\r]+/\n/g; s/-----(BEGIN|END)\n/-----\1 /g; s/(-----(BEGIN|END) [A-Z0-9]+)\n(PRIVATE|KEY|REQUEST)/\1 \3/g; s/(-----(BEGIN|END) [A-Z0-9]+ PRIVATE)\nKEY/\1 KEY/g; s/-----(BEGIN|END) /\n&/g; s/-----(BEGIN|END) [A-Z0-9 ]+-----/&\n/g"#;
    let script = quoted(Path::new(script));
    in_place(&format!("sed -E {script} {} | sed '/^$/d'", quoted(path)), path)
}

impl Role {
    /// How the right file comes to a path where there is nothing to lose.
    fn fetch(self, path: &Path) -> String {
        match self {
            Role::Ca => format!(
                "Put {} there: `curl -fsSo {} https://www.amazontrust.com/repository/AmazonRootCA1.pem` gets that of IoT Core",
                self.wanted(),
                quoted(path)
            ),
            Role::Certificate | Role::Key => self.put(),
        }
    }

    /// Likewise where a command could cost something: what can't be used may be a part of what is still needed.
    fn put(self) -> String {
        format!("Put {} there", self.wanted())
    }

    /// What to do where the file is a good one of another kind.
    pub(super) fn elsewhere(self) -> String {
        format!("Leave that file as it is, and set {} to the path of {}", self.key(), self.wanted())
    }
}

impl FileFault {
    pub(super) fn explain(&self, role: Role, path: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (wanted, fetch, put, elsewhere) = (role.wanted(), role.fetch(path), role.put(), role.elsewhere());
        match self {
            FileFault::Missing { directory: None } => write!(f, "there is no such file. {fetch}"),
            FileFault::Missing { directory: Some(dir) } => {
                write!(f, "there is no directory {}. Create it and put {wanted} there", dir.display())
            }
            FileFault::Denied(denied) => denied.explain(role, path, f),
            FileFault::NotForToken(kind) => write!(
                f,
                "is for {kind}. {SIZES}: make a key of one of these kinds in the token, and a certificate for it"
            ),
            FileFault::Directory => write!(f, "is a directory. Name the file in it that holds {wanted}"),
            FileFault::NotRegular => write!(f, "is a device, socket or FIFO. Name a file that holds {wanted}"),
            FileFault::Empty => write!(f, "is empty. {fetch}"),
            FileFault::TooLarge { limit } => {
                write!(f, "is larger than {} MiB, and no certificate or key is. {elsewhere}", limit >> 20)
            }
            FileFault::Io(ErrorKind::NotADirectory) => {
                write!(f, "a part of this path is a file, not a directory. Write the right path: that of {wanted}")
            }
            // The kind itself has no stable name yet.
            FileFault::Io(kind) if kind.to_string().starts_with("filesystem loop") => {
                write!(f, "is a symbolic link that leads back to itself. {put}")
            }
            FileFault::Io(kind) => {
                write!(f, "reading it failed: {kind}. Check the disk (dmesg) or copy the file again")
            }
            FileFault::Utf16(encoding) => {
                let name = match encoding {
                    Encoding::Utf16 => "UTF-16",
                    Encoding::Utf16Le => "UTF-16LE",
                    Encoding::Utf16Be => "UTF-16BE",
                };
                let command = in_place(&format!("iconv -f {name} -t ASCII {}", quoted(path)), path);
                write!(f, "is text in {name}, as Windows PowerShell writes it, and PEM is ASCII. Convert it: {command}")
            }
            FileFault::Der(der) => der.explain(role, path, f),
            FileFault::BareBase64(der) => der.explain_base64(role, path, f),
            FileFault::Layout(layout) => layout.explain(path, f),
            FileFault::Damaged(damage) => {
                write!(f, "is damaged: {damage}. ")?;
                match (damage, role) {
                    (Damage::Dashes, _) => write!(f, "Mend these lines, or copy the file again, whole: {wanted}"),
                    _ => write!(f, "Copy it again, whole. {put}"),
                }
            }
            FileFault::Foreign(foreign) => foreign.explain(role, path, f),
            FileFault::Holds(holds) => holds.explain(role, path, f),
            FileFault::Mislabelled(mislabelled) => mislabelled.explain(role, path, f),
            FileFault::BadCertificate { number } => {
                write!(f, "certificate {number} in it is damaged, or isn't one. Copy it again, whole. {put}")
            }
            FileFault::NotAuthority { subject } => write!(
                f,
                "holds no CA certificate, but that of {subject}; tls.ca_file and tls.cert_file may be swapped. {elsewhere}"
            ),
            FileFault::SeveralKeys(count) => write!(
                f,
                "holds {count} private keys. Leave only the one that was made with the certificate in tls.cert_file"
            ),
            FileFault::HoldsAmong(holds) => holds.explain_among(role, path, f),
            FileFault::UnsupportedKey(unsupported) => unsupported.explain(path, f),
        }
    }
}

impl Denied {
    fn explain(&self, role: Role, path: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Denied { directory, user, owner, group, mode } = self;
        // Others may have what is theirs in that directory: it stays as it is.
        if let Some(dir) = directory {
            return write!(
                f,
                "the user {user} may not enter the directory {} (it is {owner}:{group}, mode {mode:04o}). Leave the directory as it \
                 is: copy the file to one that is for gatewire, such as /etc/gatewire/certs, and name the copy in {}",
                dir.display(),
                role.key()
            );
        }
        write!(f, "the user {user} may not read it (it is {owner}:{group}, mode {mode:04o}). ")?;
        if user != "gatewire" && user != "root" {
            write!(f, "If the daemon runs as another user, run this as that one (sudo -u gatewire ...); else run ")?;
        } else {
            write!(f, "Run ")?;
        }
        match role {
            Role::Key => write!(f, "`{}`", exposure::command_to_hide(path)),
            Role::Ca | Role::Certificate => {
                write!(f, "`sudo chmod a+r {}`, unless a private key is in it", quoted(path))
            }
        }
    }
}

impl Der {
    fn explain(self, role: Role, path: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, role) {
            (Der::Certificate, Role::Ca | Role::Certificate) => write!(
                f,
                "is a binary (DER) certificate, and PEM is needed. Convert it: {}",
                openssl("x509 -inform der", path)
            ),
            (Der::Key, Role::Key) => {
                write!(f, "is a binary (DER) key, and PEM is needed. Convert it: {}", openssl("pkey -inform der", path))
            }
            (Der::EncryptedKey, Role::Key) => write!(
                f,
                "is a binary (DER) key and encrypted, and nobody is there at boot to type its passphrase. Decrypt and convert it: {}",
                openssl("pkcs8 -inform der", path)
            ),
            (Der::Pkcs7, Role::Ca | Role::Certificate) => {
                write!(f, "is binary PKCS#7. Convert it: {}", openssl("pkcs7 -inform der -print_certs", path))
            }
            (Der::Pkcs12, Role::Key) => write!(
                f,
                "is a PKCS#12 file. Take the key out of it into a new file, {}, and name that in tls.key_file",
                taken_out_by_openssl("pkcs12 -nocerts -nodes", path)
            ),
            (Der::Pkcs12, Role::Certificate) => write!(
                f,
                "is a PKCS#12 file. Take the certificate out of it into a new file, {}, and name that in tls.cert_file",
                taken_out_by_openssl("pkcs12 -clcerts -nokeys", path)
            ),
            (Der::Pkcs12, Role::Ca) => write!(
                f,
                "is a PKCS#12 file. Take the CA out of it into a new file, {}, and name that in tls.ca_file",
                taken_out_by_openssl("pkcs12 -cacerts -nokeys", path)
            ),
            (Der::Certificate, Role::Key) => Holds::Certificate.explain(role, path, f),
            (Der::Key, _) => Holds::Key.explain(role, path, f),
            (Der::EncryptedKey, _) => Holds::EncryptedKey.explain(role, path, f),
            (Der::Pkcs7, Role::Key) => Holds::Pkcs7.explain(role, path, f),
        }
    }

    fn explain_base64(self, role: Role, path: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tool, what) = match (self, role) {
            (Der::Certificate, Role::Ca | Role::Certificate) => ("x509", "CERTIFICATE"),
            (Der::Key, Role::Key) => ("pkey", "PRIVATE KEY"),
            _ => return self.explain(role, path, f),
        };
        let command = in_place(&format!("base64 -di {} | openssl {tool} -inform der", quoted(path)), path);
        write!(
            f,
            "holds Base64 without the lines -----BEGIN {what}----- before and -----END {what}----- behind it. Add them: {command}"
        )
    }
}

impl Layout {
    fn explain(self, path: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Layout::Spaces => {
                "the line breaks are missing, there are spaces instead (`echo $KEY` without quotes does that)"
            }
            Layout::Escaped => "the line breaks are missing, \\n is written in two characters instead",
            Layout::Quoted => {
                "the line breaks are missing or the lines have quotes or other signs around them, as if copied from a mail, a program \
                 or JSON"
            }
            Layout::Indented => "the lines -----BEGIN ...----- and -----END ...----- don't start at the margin",
            Layout::CommentedOut => {
                let command = in_place(&format!("sed -E 's/^[[:space:]]*#+ ?//' {}", quoted(path)), path);
                return write!(
                    f,
                    "the lines have # before them, so that they count as comments. Take it away: {command}"
                );
            }
            Layout::Glued => {
                "line breaks are missing: -----BEGIN ...----- and -----END ...----- must be lines of their own"
            }
        };
        write!(f, "{what}. Put them right: {}", rewrapped(path))
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::NoBegin => f.write_str("the line -----BEGIN ...----- is missing"),
            Damage::NoEnd => f.write_str("the line -----END ...----- is missing, the file is cut off"),
            Damage::OtherEnd => f.write_str("the lines -----BEGIN ...----- and -----END ...----- don't have the same name"),
            Damage::Dashes => f.write_str(
                "the lines with BEGIN and END must be -----BEGIN ...----- and -----END ...-----, in capitals and with five \
                 hyphens on both sides",
            ),
            Damage::Nothing => f.write_str("there is nothing between -----BEGIN ...----- and -----END ...-----"),
            Damage::NotBase64 { line } => write!(f, "line {line} holds characters that aren't Base64"),
            Damage::Incomplete => f.write_str("a part between -----BEGIN ...----- and -----END ...----- is missing"),
            Damage::TooLong => f.write_str("there is more between -----BEGIN ...----- and -----END ...----- than belongs there"),
            Damage::NotDer => f.write_str("what is between -----BEGIN ...----- and -----END ...----- is no certificate or key"),
            Damage::Binary => f.write_str("it begins as a binary (DER) file does, but isn't a whole one"),
            Damage::Key => f.write_str("the private key in it can't be understood"),
            Damage::Numbers => f.write_str("the numbers of the private key in it don't match"),
        }
    }
}

impl Foreign {
    fn explain(self, role: Role, path: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (fetch, elsewhere) = (role.fetch(path), role.elsewhere());
        match self {
            Foreign::Text => write!(f, "holds no certificate or key: -----BEGIN ...----- isn't in it. {elsewhere}"),
            Foreign::WebPage => {
                write!(f, "is a web page (HTML or XML): a download failed, or wanted a login. {fetch}")
            }
            Foreign::Json => {
                write!(f, "is JSON, as `aws iot create-keys-and-certificate` prints it")?;
                let part = match role {
                    Role::Ca => return write!(f, ". {elsewhere}"),
                    Role::Certificate => ".certificatePem",
                    Role::Key => ".keyPair.PrivateKey",
                };
                let command = taken_out(&format!("jq -er {part} {}", quoted(path)), path);
                write!(f, ". Take what is needed out of it into a new file, {command}, and name that in {}", role.key())
            }
            Foreign::JavaKeyStore => write!(
                f,
                "is a Java key store. {elsewhere}; `keytool -importkeystore` makes a PKCS#12 file of a key store, and `openssl pkcs12` \
                 takes that apart"
            ),
            Foreign::Archive => write!(f, "is an archive (zip or gzip). Unpack it. {elsewhere}"),
            Foreign::Base64OfPem => write!(
                f,
                "is the Base64 of a PEM file, as Kubernetes keeps it. Decode it: {}",
                in_place(&format!("base64 -d {}", quoted(path)), path)
            ),
        }
    }
}

impl Unsupported {
    fn explain(self, path: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsupported::RsaSize { bits } => {
                write!(
                    f,
                    "holds an RSA key of {bits} bits, which can't be used. {SIZES}: create a new key and certificate in IoT Core"
                )
            }
            Unsupported::RsaExponent => {
                write!(
                    f,
                    "holds an RSA key with a public exponent under 65537, which can't be used. Create a new key and certificate"
                )
            }
            Unsupported::NoPublicHalf { is_alone: true } => {
                write!(f, "holds an EC key without its public half. Add it: {}", openssl("ec", path))
            }
            Unsupported::NoPublicHalf { is_alone: false } => write!(
                f,
                "holds an EC key without its public half. Write the whole key into a new file, {}, and name that in tls.key_file",
                taken_out_by_openssl("ec", path)
            ),
            Unsupported::Curve => write!(
                f,
                "holds an EC key of another curve, or is damaged. Copy it again, whole; if the same is said then: {SIZES}, so create \
                 a new key and certificate in IoT Core"
            ),
            Unsupported::Kind(name) => {
                write!(f, "holds {name}, which can't be used. {SIZES}: create a new key and certificate in IoT Core")
            }
        }
    }
}
