//! Why a key in a token hasn't signed, and what to do about it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::mark::PinMark;
use super::step::Step;
use super::uri::Uri;
use crate::exposure::command_to_hide;
use crate::owner::{own_name, quoted};
use crate::printable::printable;

/// A signature, or a search for a key, that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenFault {
    pub(crate) uri: Arc<Uri>,
    pub(crate) fault: Pkcs11Fault,
    /// What the module wrote to standard error, as far as it may be shown; often nothing.
    pub(crate) module_said: String,
}

/// What is wrong. No PIN is in it. What the signer finds travels to the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Pkcs11Fault {
    /// This gatewire can't load libraries.
    Static,
    ModuleMissing,
    /// With the system's words.
    ModuleUnreadable(String),
    /// With the words of the dynamic linker.
    ModuleUnloadable(String),
    /// A library, but of something else.
    NoModule,
    /// It calls itself so, and the URI otherwise.
    OtherModule(String),
    /// With the tokens that there are.
    NoToken(Vec<String>),
    SeveralTokens(Vec<String>),
    /// With the private keys that there are, and whether a login could show more.
    NoKey {
        there: Vec<String>,
        is_logged_in: bool,
    },
    SeveralKeys(Vec<String>),
    /// Neither RSA nor on an elliptic curve, or another than the certificate's.
    KindOfKey(String),
    /// The token lacks the mechanism.
    Unable(String),
    PinNeeded,
    PinFileMissing,
    PinFileDenied,
    /// With the words for it.
    PinFile(String),
    /// Just now; the mark is of that PIN.
    PinRefused(Option<PinMark>),
    /// It was refused before, and isn't tried again.
    PinRefusedBefore,
    /// The last tries of it had no end: it may have been refused.
    PinUnfinished,
    /// That it is tried can't be noted, so it isn't: where, and why.
    PinUnnoted {
        directory: PathBuf,
        why: String,
    },
    PinLocked,
    /// One wrong PIN more would lock the token, and ours isn't known to be right.
    PinLastTry,
    PinUnset,
    PinExpired,
    /// With PKCS#11's name of the error.
    Failed(Step, String),
    /// The token was there, and isn't any more.
    Gone(Step),
    // What the daemon finds:
    NotStarted(String),
    /// With what ended it.
    Crashed(Step, String),
    Hung(Step, u64),
    /// Not within what was left of `connection.connect_timeout`, in seconds.
    TooSlow(u64),
    /// The signer's answer can't be understood.
    Garbled,
    /// The token has signed with another key than the certificate's.
    OtherKey,
    /// With the certificate's key, but wrong.
    WrongSignature,
}

/// What has the daemon try again what it doesn't try again by itself; the subject of a sentence.
pub(crate) const RELOAD: &str = "`systemctl reload gatewire`";

/// So many names are shown.
const MAX_NAMED: usize = 4;

/// What is there instead of what is looked for.
fn named(what: &str, names: &[String]) -> String {
    if names.is_empty() {
        return format!("there is no {what}");
    }
    let shown: Vec<&str> = names.iter().take(MAX_NAMED).map(String::as_str).collect();
    let more = if names.len() > MAX_NAMED { " and others" } else { "" };
    format!("there is {}{more}", shown.join(" and "))
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let module = self.uri.module.display();
        let pin_file = self.uri.pin_file.as_deref().unwrap_or("".as_ref()).display();
        write!(f, "the key in the token: ")?;
        match &self.fault {
            Pkcs11Fault::Static => write!(f, "this gatewire is a static build, which can't load the module {module}"),
            Pkcs11Fault::ModuleMissing => write!(f, "there is no module {module}"),
            Pkcs11Fault::ModuleUnreadable(why) => write!(f, "the module {module} can't be read: {why}"),
            Pkcs11Fault::ModuleUnloadable(why) => write!(f, "the module {module} can't be loaded: {}", printable(why)),
            Pkcs11Fault::NoModule => write!(f, "{module} isn't a PKCS#11 module: it has no C_GetFunctionList"),
            Pkcs11Fault::OtherModule(found) => write!(f, "the module {module} is another than the URI says: {found}"),
            Pkcs11Fault::NoToken(there) => {
                write!(f, "no token fits {}: {}", self.wanted_token(), named("token at all", there))
            }
            Pkcs11Fault::SeveralTokens(there) => {
                write!(f, "several tokens fit {}: {}", self.wanted_token(), named("token", there))
            }
            Pkcs11Fault::NoKey { there, is_logged_in } => {
                write!(f, "the token has no private key{}: {}", self.wanted_key(), named("private key", there))?;
                f.write_str(if *is_logged_in { "" } else { " that can be seen without a login" })
            }
            Pkcs11Fault::SeveralKeys(there) => {
                write!(f, "the token has several private keys{}: {}", self.wanted_key(), named("key", there))
            }
            Pkcs11Fault::KindOfKey(kind) => write!(f, "it is {kind}"),
            Pkcs11Fault::Unable(what) => write!(f, "the token can't do {what}"),
            Pkcs11Fault::PinNeeded => f.write_str("the token wants a PIN, and the URI names no file that holds it"),
            Pkcs11Fault::PinFileMissing => write!(f, "there is no file {pin_file}, which should hold the token's PIN"),
            Pkcs11Fault::PinFileDenied => {
                write!(f, "the user {} may not read the file of the token's PIN, {pin_file}", own_name())
            }
            Pkcs11Fault::PinFile(why) => write!(f, "the file of the token's PIN, {pin_file}, can't be used: {why}"),
            Pkcs11Fault::PinRefused(_) => write!(f, "the token refused the PIN in {pin_file}"),
            Pkcs11Fault::PinRefusedBefore => write!(
                f,
                "the token refused the PIN in {pin_file} before, and it isn't tried again, as that would lock the token"
            ),
            Pkcs11Fault::PinUnfinished => write!(
                f,
                "the last two tries of the PIN in {pin_file} had no end (the module hung or crashed, or gatewire was killed), and it isn't \
                 tried again: if it is wrong, that would lock the token"
            ),
            Pkcs11Fault::PinUnnoted { directory, why } => write!(
                f,
                "the PIN in {pin_file} isn't tried, as that can't be noted in {} before: {why}",
                directory.display()
            ),
            Pkcs11Fault::PinLocked => f.write_str("the token is locked: too many wrong PINs were tried"),
            Pkcs11Fault::PinLastTry => {
                write!(f, "the token takes one more wrong PIN before it locks, and the one in {pin_file} isn't tried")
            }
            Pkcs11Fault::PinUnset => f.write_str("the token has no PIN of a user yet"),
            Pkcs11Fault::PinExpired => f.write_str("the token's PIN has expired"),
            Pkcs11Fault::Failed(step, code) => write!(f, "the module {module} failed {step} ({code})"),
            Pkcs11Fault::Gone(step) => write!(f, "the token has gone while {step}"),
            Pkcs11Fault::NotStarted(why) => write!(f, "the process that loads the module can't be started: {why}"),
            Pkcs11Fault::Crashed(step, how) => write!(f, "the module {module} crashed while {step} ({how})"),
            Pkcs11Fault::Hung(step, seconds) => {
                write!(f, "the module {module} hung while {step} and was killed after {seconds} s")
            }
            Pkcs11Fault::TooSlow(seconds) => {
                write!(f, "the module {module} hadn't signed when the time for TLS was over (after {seconds} s)")
            }
            Pkcs11Fault::Garbled => write!(f, "the process that has loaded {module} gave an answer that isn't one"),
            Pkcs11Fault::OtherKey => f.write_str("it isn't the one of the certificate that gatewire connects with"),
            Pkcs11Fault::WrongSignature => write!(f, "the module {module} made a signature that is wrong"),
        }?;
        match self.module_said.as_str() {
            "" => Ok(()),
            said => write!(f, "; it wrote: {}", printable(said)),
        }
    }
}

impl TokenFault {
    /// Nobody could wait for the signature any longer.
    pub(crate) fn too_slow(uri: &Arc<Uri>, waited: Duration) -> TokenFault {
        let fault = Pkcs11Fault::TooSlow(waited.as_secs());
        TokenFault { uri: Arc::clone(uri), fault, module_said: String::new() }
    }

    fn wanted_token(&self) -> String {
        match self.uri.token.to_string() {
            token if token.is_empty() => "the URI".to_owned(),
            token => format!("the URI ({token})"),
        }
    }

    fn wanted_key(&self) -> String {
        match self.uri.key.to_string() {
            key if key.is_empty() => key,
            key => format!(" ({key})"),
        }
    }

    /// A stable name for status and journal.
    pub(crate) fn code(&self) -> &'static str {
        match &self.fault {
            Pkcs11Fault::Static
            | Pkcs11Fault::ModuleMissing
            | Pkcs11Fault::ModuleUnreadable(_)
            | Pkcs11Fault::ModuleUnloadable(_)
            | Pkcs11Fault::NoModule
            | Pkcs11Fault::OtherModule(_) => "token_module",
            Pkcs11Fault::NoToken(_) | Pkcs11Fault::SeveralTokens(_) | Pkcs11Fault::Gone(_) => "token_missing",
            Pkcs11Fault::NoKey { .. } | Pkcs11Fault::SeveralKeys(_) => "token_key_missing",
            Pkcs11Fault::PinNeeded
            | Pkcs11Fault::PinFileMissing
            | Pkcs11Fault::PinFileDenied
            | Pkcs11Fault::PinFile(_) => "token_pin_file",
            Pkcs11Fault::PinRefused(_) | Pkcs11Fault::PinRefusedBefore => "token_pin_refused",
            Pkcs11Fault::PinUnfinished | Pkcs11Fault::PinUnnoted { .. } => "token_pin_untried",
            Pkcs11Fault::PinLocked | Pkcs11Fault::PinLastTry | Pkcs11Fault::PinUnset | Pkcs11Fault::PinExpired => {
                "token_pin_locked"
            }
            Pkcs11Fault::Failed(..) | Pkcs11Fault::NotStarted(_) | Pkcs11Fault::Garbled => "token_failed",
            Pkcs11Fault::Crashed(..) => "token_crashed",
            Pkcs11Fault::Hung(..) | Pkcs11Fault::TooSlow(_) => "token_timeout",
            Pkcs11Fault::KindOfKey(_) | Pkcs11Fault::Unable(_) | Pkcs11Fault::WrongSignature => "token_signature",
            Pkcs11Fault::OtherKey => "token_other_key",
        }
    }

    /// What to do about it, in sentences.
    pub(crate) fn advice(&self) -> String {
        let module = quoted(&self.uri.module);
        let list = |what: &str| format!("`pkcs11-tool --module {module} {what}`");
        let pin_file = self.uri.pin_file.as_deref().map(quoted).unwrap_or_default();
        match &self.fault {
            Pkcs11Fault::Static => {
                "Install the package of gatewire for this system's C library (not the static one), or keep \
                              the key in a file: docs/keys.md."
                    .to_owned()
            }
            Pkcs11Fault::ModuleMissing => {
                "Install the package that brings the module, or mend `module-path` in tls.key_file: \
                                     docs/keys.md says where modules are."
                    .to_owned()
            }
            Pkcs11Fault::ModuleUnreadable(_) => format!(
                "`module-path` in tls.key_file must name the library itself, which the user of gatewire may read: `ls -lL {module}` shows \
                 what is there."
            ),
            Pkcs11Fault::ModuleUnloadable(_) => format!(
                "`ldd {module}` says which libraries it lacks; it must be for this machine, and the user of gatewire must \
                 be allowed to read it."
            ),
            Pkcs11Fault::NoModule => "`module-path` in tls.key_file must name the PKCS#11 library of the token's maker: \
                                docs/keys.md."
                .to_owned(),
            Pkcs11Fault::OtherModule(_) => {
                "Take `library-manufacturer`, `library-description` and `library-version` out of tls.key_file, or name \
                 the right module."
                    .to_owned()
            }
            Pkcs11Fault::NoToken(_) => format!(
                "{} as the user of gatewire shows which tokens there are. The device may be unplugged, or the sandbox of \
                 the systemd unit may hide its files: docs/keys.md.",
                list("--list-token-slots")
            ),
            Pkcs11Fault::SeveralTokens(_) => "Add `serial=` to the URI in tls.key_file.".to_owned(),
            Pkcs11Fault::NoKey { is_logged_in: false, .. } if self.uri.pin_file.is_none() => format!(
                "Private keys are mostly seen after a login only: name the file of the PIN as `pin-source` in \
                 tls.key_file. {} shows all.",
                list("--login --list-objects")
            ),
            Pkcs11Fault::NoKey { .. } => format!(
                "{} shows what there is; `object` in tls.key_file is the label of the private key, `id` its ID, each \
                 byte as % and two digits.",
                list("--login --list-objects --type privkey")
            ),
            Pkcs11Fault::SeveralKeys(_) => {
                "Add `id=` or `object=` to the URI in tls.key_file, so that one key is meant.".to_owned()
            }
            Pkcs11Fault::KindOfKey(_) => {
                "gatewire uses keys of RSA (2048 to 4096 bits) and of the curves P-256 and P-384.".to_owned()
            }
            Pkcs11Fault::Unable(_) => format!(
                "TLS 1.3 needs RSA-PSS of an RSA key: {} shows what the token can do. A key of the curve P-256 works with \
                 all.",
                list("--list-mechanisms")
            ),
            Pkcs11Fault::PinNeeded => "Write the PIN into a file that only gatewire may read and name it as `pin-source` in \
                                 tls.key_file: docs/keys.md."
                .to_owned(),
            Pkcs11Fault::PinFileMissing => {
                format!(
                    "Write the PIN into {pin_file}, which only gatewire may read, or mend `pin-source` in tls.key_file."
                )
            }
            Pkcs11Fault::PinFileDenied => match self.uri.pin_file.as_deref() {
                Some(file) => format!("Run `{}`.", command_to_hide(file)),
                None => String::new(),
            },
            Pkcs11Fault::PinFile(_) => format!("Write the PIN alone into {pin_file}, in one line."),
            Pkcs11Fault::PinRefused(_) | Pkcs11Fault::PinRefusedBefore => format!(
                "Write the right PIN into {pin_file}: gatewire tries it then. If it is right and the token's was wrong, \
                 {RELOAD} makes it try again."
            ),
            Pkcs11Fault::PinUnfinished => format!(
                "Try it by hand, {}; if that works, {RELOAD} makes gatewire try it again, as does another PIN in {pin_file}.",
                list("--login --test")
            ),
            Pkcs11Fault::PinUnnoted { directory, .. } => {
                let directory = quoted(directory);
                format!(
                    "Without a note each restart could try a wrong PIN until the token locks. Look at the space and at the owner there \
                     (`df -h {directory}`, `ls -ld {directory}`), and at the kernel's log (`dmesg`)."
                )
            }
            Pkcs11Fault::PinLocked => format!(
                "Whoever has the token's SO PIN sets a new PIN (for a TPM: `tpm2_ptool initpin`); write that into the file of the PIN, and \
                 {RELOAD} makes gatewire try it."
            ),
            Pkcs11Fault::PinLastTry => format!(
                "Try the right PIN by hand, {}, which makes the token count anew; or, if the one in the file is right, {RELOAD} makes \
                 gatewire try that.",
                list("--login --test")
            ),
            Pkcs11Fault::PinUnset => format!("Set one: {}.", list("--login --login-type so --init-pin")),
            Pkcs11Fault::PinExpired => format!("Change it, {}, and write it into {pin_file}.", list("--login --change-pin")),
            Pkcs11Fault::Gone(_) => "Plug the token in again; gatewire tries again by itself.".to_owned(),
            Pkcs11Fault::NotStarted(_) => "Free memory or processes, or reinstall gatewire.".to_owned(),
            Pkcs11Fault::Failed(Step::Initialize, _) => format!(
                "It may lack its device, its configuration or the right to them: docs/keys.md. {} as the user of gatewire \
                 shows whether it works without gatewire.",
                list("--list-token-slots")
            ),
            Pkcs11Fault::Failed(..) | Pkcs11Fault::Crashed(..) | Pkcs11Fault::Hung(..) | Pkcs11Fault::Garbled | Pkcs11Fault::WrongSignature => {
                format!(
                    "{} as the user of gatewire shows whether the token works without gatewire; if not, its maker has to mend \
                 the module or the device.",
                    list("--login --test")
                )
            }
            Pkcs11Fault::TooSlow(_) => "Raise connection.connect_timeout: TLS may use two thirds of it.".to_owned(),
            Pkcs11Fault::OtherKey => "`object` or `id` in tls.key_file names another key, or the certificate isn't the one that was made for \
                                this key: put that into tls.cert_file, or where gatewire has made its identity itself, remove that \
                                (docs/provisioning.md)."
                .to_owned(),
        }
    }
}

impl std::error::Error for TokenFault {}
