//! What is worth a warning about credentials that can be used.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::time::ASN1Time;

use super::problems::Role;
use crate::certificate::Whose;
use crate::config::{self, KeyFile};
use crate::count::count;
use crate::exposure::{self, Who};

/// How long before a certificate's end its warnings begin.
const EXPIRES_SOON: Duration = Duration::from_secs(30 * 24 * 3600);

/// The first and last second of a certificate's life, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

impl Validity {
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Validity {
        let validity = certificate.validity();
        Validity { not_before: timestamp(validity.not_before), not_after: timestamp(validity.not_after) }
    }

    /// Whole days until its end at `now`, below 0 after it; `None` before its beginning: then it's the clock that is wrong.
    pub(crate) fn days_left(self, now: Timestamp) -> Option<i64> {
        let left = self.not_after.as_second() - now.as_second();
        (now >= self.not_before).then(|| left.div_euclid(24 * 3600))
    }

    /// How the certificate is outside its validity at `now`; `None` if it isn't.
    pub(crate) fn outside(self, now: SystemTime) -> Option<Outside> {
        let Validity { not_before, not_after } = self;
        let clock = whole_seconds(now);
        match () {
            () if clock < not_before => Some(Outside::NotYetValid { not_before, clock }),
            () if clock > not_after => Some(Outside::Expired { not_after, clock }),
            () => None,
        }
    }

    /// What is worth a warning at `now` about the certificate in `cert_file`.
    pub(super) fn warning(self, whose: &Whose, cert_file: &Path, now: SystemTime) -> Option<Warning> {
        let (whose, path) = (whose.clone(), cert_file.to_owned());
        match self.outside(now) {
            Some(Outside::NotYetValid { not_before, clock }) => {
                return Some(Warning::NotYetValid { path, not_before, clock });
            }
            Some(Outside::Expired { not_after, clock }) => {
                return Some(Warning::Expired { whose, path, not_after, clock });
            }
            None => {}
        }
        let not_after = self.not_after;
        let left = not_after.duration_since(whole_seconds(now)).unsigned_abs();
        let days = left.as_secs() / (24 * 3600);
        (left < EXPIRES_SOON).then_some(Warning::ExpiresSoon { whose, path, not_after, days })
    }
}

/// How a certificate is outside its validity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outside {
    Expired { not_after: Timestamp, clock: Timestamp },
    NotYetValid { not_before: Timestamp, clock: Timestamp },
}

/// `99991231235959Z`, which RFC 5280 has for "no end", is past the last `Timestamp`.
fn timestamp(time: ASN1Time) -> Timestamp {
    Timestamp::from_second(time.timestamp()).unwrap_or(Timestamp::MAX)
}

fn whole_seconds(now: SystemTime) -> Timestamp {
    let now = Timestamp::try_from(now).unwrap_or(Timestamp::MAX);
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// What of the files is secret and can be read by others, each file once.
pub(super) fn exposures(
    tls: &config::Tls,
    key_mode: u32,
    cert_mode: Option<u32>,
    ca_mode: Option<u32>,
) -> Vec<Warning> {
    let mut exposed: Vec<_> = tls.key_file.path().into_iter().map(|file| (Role::Key, file, key_mode)).collect();
    for (role, file, mode) in [(Role::Certificate, &*tls.cert_file, cert_mode), (Role::Ca, &*tls.ca_file, ca_mode)] {
        if let Some(mode) = mode.filter(|_| exposed.iter().all(|(_, other, _)| *other != file)) {
            exposed.push((role, file, mode));
        }
    }
    let warnings = exposed.into_iter().filter_map(|(role, file, mode)| exposure(&tls.whose, role, file, mode));
    warnings.chain(exposed_pin(&tls.key_file)).collect()
}

/// A warning if somebody but the owner may read the private key in a file.
fn exposure(whose: &Whose, role: Role, file: &Path, mode: u32) -> Option<Warning> {
    let who = exposure::readers(mode).filter(|who| *who == Who::All || !exposure::is_credential(file))?;
    Some(Warning::KeyReadableByOthers { whose: whose.clone(), role, path: file.to_owned(), mode, who })
}

/// A warning if somebody but the owner may read the file of a token's PIN. One that isn't there is told when it is needed.
pub(crate) fn exposed_pin(key_file: &KeyFile) -> Option<Warning> {
    let file = key_file.token()?.pin_file.as_deref()?;
    let mode = fs::metadata(file).ok()?.mode() & 0o7777;
    let who = exposure::readers(mode).filter(|who| *who == Who::All || !exposure::is_credential(file))?;
    Some(Warning::PinReadableByOthers { path: file.to_owned(), mode, who })
}

/// Something to tell that keeps nobody from connecting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Warning {
    Expired {
        whose: Whose,
        path: PathBuf,
        not_after: Timestamp,
        clock: Timestamp,
    },
    NotYetValid {
        path: PathBuf,
        not_before: Timestamp,
        clock: Timestamp,
    },
    ExpiresSoon {
        whose: Whose,
        path: PathBuf,
        not_after: Timestamp,
        /// Whole days left.
        days: u64,
    },
    KeyReadableByOthers {
        whose: Whose,
        role: Role,
        path: PathBuf,
        mode: u32,
        who: Who,
    },
    PinReadableByOthers {
        path: PathBuf,
        mode: u32,
        who: Who,
    },
}

/// Who, in words.
fn readers(who: Who) -> &'static str {
    match who {
        Who::All => "every user of this machine",
        Who::Group => "its group, whose members may only be meant to use the sockets",
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::Expired { whose, path, not_after, clock } => write!(
                f,
                "the certificate {} expired on {not_after}; this machine's clock says {clock}. If the clock is wrong, set it \
                (timedatectl); if it is right, {}. gatewire tries to connect anyway",
                path.display(),
                whose.replace()
            ),
            Warning::NotYetValid { path, not_before, clock } => write!(
                f,
                "the certificate {} is valid from {not_before}, but this machine's clock says {clock}: most likely the clock \
                isn't set yet (timedatectl shows whether it is synchronised). gatewire tries to connect anyway",
                path.display()
            ),
            Warning::ExpiresSoon { whose, path, not_after, days } => {
                let soon = count(*days, "day");
                write!(f, "the certificate {} expires on {not_after}, in {soon}: ", path.display())?;
                match whose {
                    Whose::ByHand => write!(f, "{} and reload (systemctl reload gatewire)", whose.replace()),
                    Whose::Claim => f.write_str(&whose.replace()),
                    Whose::Identity(_) | Whose::Next => f.write_str(
                        "gatewire gets another in time, by a job or as provisioning.renew_before says; `gatewire status` shows what has \
                         failed in that",
                    ),
                }
            }
            Warning::KeyReadableByOthers { whose, role, path, mode, who } => {
                let file = path.display();
                let what = match role {
                    Role::Key => format!("the private key {file}"),
                    Role::Ca | Role::Certificate => format!("{} {file} holds a private key and", role.key_of(whose)),
                };
                write!(
                    f,
                    "{what} can be read by {} (mode {mode:04o}): whoever has it can act as this gateway. Run \
                    `{}`",
                    readers(*who),
                    exposure::command_to_hide(path)
                )
            }
            Warning::PinReadableByOthers { path, mode, who } => write!(
                f,
                "the file of the token's PIN, {}, can be read by {} (mode {mode:04o}): whoever has it can use the key in the token. \
                 Run `{}`",
                path.display(),
                readers(*who),
                exposure::command_to_hide(path)
            ),
        }
    }
}
