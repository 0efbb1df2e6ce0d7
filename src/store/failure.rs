//! What can be wrong with the store, and what a person does about it.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Error, ErrorCode, ffi};
use thiserror::Error as ThisError;

use super::names;
use crate::blocking::NoThread;
use crate::regular::{self, Other, Unread};

/// Why the daemon can't start with this store. The file isn't touched.
#[derive(Debug, ThisError)]
pub(crate) enum OpenError {
    #[error(
        "{}: another gatewire uses it. Two daemons can't share a store: stop the other (`systemctl stop gatewire`), or give \
         each its own [outbox] path and client_id",
        path.display()
    )]
    Locked { path: PathBuf },
    #[error(
        "{}: it was written by a newer gatewire (schema {found}, this one knows {known}). Install that version again. To go \
        back anyway, move the file away, with the messages that wait in it",
        path.display()
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error(
        "{}: it is a database of another program. Give [outbox] path a name of its own, such as \
         /var/lib/gatewire/gatewire.db",
        path.display()
    )]
    Foreign { path: PathBuf },
    #[error(
        "{}: it is {other}, not a database, and is left as it is. Give [outbox] path a name of its own, such as \
         /var/lib/gatewire/gatewire.db",
        path.display()
    )]
    NotAFile { path: PathBuf, other: Other },
    #[error(
        "{}: it isn't a database of gatewire, and is left as it is. Give [outbox] path a name of its own, such as \
         /var/lib/gatewire/gatewire.db",
        path.display()
    )]
    NotADatabase { path: PathBuf },
    #[error("{0}")]
    NoThread(NoThread),
}

/// Why the store couldn't do something just now. Nothing is lost by it: who asked has kept what it had.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub(crate) enum Failure {
    /// No space left on the device, or the quota is used up.
    #[error("no space is left on the file system of {path}; free some (`df -h`, `journalctl --vacuum-size=50M`)")]
    Full { path: String },
    #[error(
        "{path} can't be written, the file system is read-only; see `dmesg` for why: a card that fails is often mounted so"
    )]
    ReadOnly { path: String },
    #[error("{path}: {detail}; {mend}")]
    Denied { path: String, detail: String, mend: String },
    #[error("{path} is locked by another program; see which with `fuser {path}`")]
    Busy { path: String },
    /// Moved aside twice in a short time: the device turns what is written to garbage.
    #[error("{path} was damaged again soon after it was recreated; replace the card, it doesn't keep what is written")]
    DamagedAgain { path: String },
    #[error(
        "{path} is overwritten again and again while gatewire uses it; find the program that writes to it (`sudo fuser -v {path}`)"
    )]
    Overwritten { path: String },
    /// Something has taken the place of the database while it was in use, or before it could be opened.
    #[error("{said}")]
    Unusable { said: String },
    #[error("{path}: {detail}; see `dmesg` for errors of the device")]
    Io { path: String, detail: String },
    #[error("the store's thread has stopped")]
    Gone,
}

impl Failure {
    /// Whether it won't be otherwise in a few seconds, unless somebody does something.
    pub(crate) fn lasts(&self) -> bool {
        !matches!(self, Failure::Busy { .. } | Failure::Io { .. })
    }
}

/// An error of SQLite or of the system, told apart by what is to be done.
#[derive(Debug)]
pub(super) enum Fault {
    /// What was read can't be right.
    Damage(String),
    /// The connection is as good as before.
    Refused(Failure),
    /// The connection's state isn't certain: it has to be opened anew.
    Broken(Failure),
    /// The daemon can't use this file at all.
    Unusable(OpenError),
}

impl Fault {
    pub(super) fn of_sqlite(error: &Error, path: &Path) -> Fault {
        let shown = path.display().to_string();
        let detail = error.to_string();
        let Error::SqliteFailure(ffi::Error { code, extended_code }, _) = error else {
            // A value of another type than was written.
            return Fault::Damage(detail);
        };
        match code {
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Fault::Damage(detail),
            // CORRUPTFS is what SQLite makes of EIO, when it doesn't say right away that the database is corrupt.
            ErrorCode::SystemIoFailure
                if [ffi::SQLITE_IOERR_READ, ffi::SQLITE_IOERR_SHORT_READ, ffi::SQLITE_IOERR_CORRUPTFS]
                    .contains(extended_code) =>
            {
                Fault::Damage(detail)
            }
            ErrorCode::DiskFull => Fault::Refused(Failure::Full { path: shown }),
            ErrorCode::ReadOnly => Fault::Broken(ask_the_system(path, Failure::ReadOnly { path: shown })),
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Fault::Broken(Failure::Busy { path: shown }),
            _ => {
                let detail = format!("{detail} (SQLite error {extended_code})");
                Fault::Broken(ask_the_system(path, Failure::Io { path: shown, detail }))
            }
        }
    }

    pub(super) fn of_io(error: &io::Error, path: &Path) -> Fault {
        let shown = path.display().to_string();
        Fault::Broken(match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::Full { path: shown },
            io::ErrorKind::ReadOnlyFilesystem => Failure::ReadOnly { path: shown },
            io::ErrorKind::PermissionDenied => {
                Failure::Denied { path: shown, detail: error.to_string(), mend: names::mend(path) }
            }
            io::ErrorKind::NotADirectory => Failure::Unusable {
                said: format!("{shown}: a part of this path is a file, not a directory; correct [outbox] path"),
            },
            _ => Failure::Io { path: shown, detail: error.to_string() },
        })
    }
}

/// Damage that may be none: whether the device gives all that is in a file. SQLite doesn't tell the one from the other.
pub(super) fn unreadable(path: &Path) -> Option<Failure> {
    let mut file = match regular::open(path) {
        Ok(file) => file,
        Err(Unread::Io(_) | Unread::Other(_) | Unread::TooLarge) => return None,
    };
    let error = io::copy(&mut file, &mut io::sink()).err()?;
    Some(Failure::Io { path: path.display().to_string(), detail: error.to_string() })
}

/// SQLite says that it can't open, lock or write a file. Why, the system says when it is asked again.
fn ask_the_system(path: &Path, otherwise: Failure) -> Failure {
    match names::may_open(path).map_err(|error| Fault::of_io(&error, path)) {
        Err(Fault::Broken(failure)) => failure,
        _ => otherwise,
    }
}
