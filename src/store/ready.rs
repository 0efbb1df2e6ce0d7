//! `gatewire.db.ready`: a new database, complete and synced, that waits for its place. A crash may have left it there; somebody may
//! also have left another file under that name. It is looked at before it is believed: nothing here changes anything.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::database::look;
use super::failure::{Fault, OpenError};
use super::files;
use super::names::{log_of, with_suffix};
use super::salvage::{Pages, tally};

/// The note in it that says what it replaces.
pub(super) const REPLACES: &str = "replaces";

/// What becomes of it at a start.
#[derive(Debug)]
pub(super) enum Ready {
    /// There is none.
    None,
    /// The swap that a crash has interrupted is completed: it gets its place.
    Completes,
    /// It isn't for what is there, which stays in its place; it is moved aside.
    Leftover { why: String },
}

/// Where a new database waits until the damaged one is out of its way.
pub(super) fn ready_of(path: &Path) -> PathBuf {
    with_suffix(path, ".ready")
}

/// What lies in the place of the database now: as a note says it, and as it can be compared later.
pub(super) fn place_of(path: &Path) -> String {
    format!("{}, {}", look_of(path), look_of(&log_of(path)))
}

/// Likewise of files that are open: the database that was copied, which may come to its place again.
pub(super) fn origin_of((file, log): (Option<Arc<File>>, Option<Arc<File>>)) -> String {
    let imprint = |file: Option<Arc<File>>| imprint(file.and_then(|file| file.metadata().ok()));
    format!("{}, {}", imprint(file), imprint(log))
}

const NOTHING: &str = "nothing";

fn look_of(file: &Path) -> String {
    imprint(fs::symlink_metadata(file).ok())
}

fn imprint(found: Option<Metadata>) -> String {
    found.map_or_else(
        || NOTHING.to_owned(),
        |found| format!("{}:{}:{}.{}", found.ino(), found.size(), found.mtime(), found.mtime_nsec()),
    )
}

/// What becomes of what is at that name, for the store at `path`.
///
/// # Errors
/// There is nothing of ours in the place, and what is ready can't be read now, or only by a newer gatewire.
pub(super) fn judge(path: &Path) -> Result<Ready, Fault> {
    let ready = ready_of(path);
    if fs::symlink_metadata(&ready).is_err() {
        return Ok(Ready::None);
    }
    let looked = look(&ready);
    let is_empty = files::look(&ready).is_ok_and(|found| found.is_none_or(|found| found.len() == 0));
    let leftover = |why: String| Ok(Ready::Leftover { why });
    if is_in_place(path) {
        return match looked {
            Ok(()) | Err(Fault::Damage(_)) if is_empty => leftover("it is empty".to_owned()),
            Ok(()) => match replaces(&ready) {
                Ok(was) if is_still(path, &was) => Ok(Ready::Completes),
                Ok(_) => {
                    let messages: u64 = tally(&Pages::open(&ready)).values().map(|totals| totals.messages).sum();
                    let has = crate::count::count(messages, "message");
                    leftover(format!(
                        "it wasn't made from what is in {} now; it has {has}, which won't be sent",
                        path.display()
                    ))
                }
                Err(why) => leftover(why),
            },
            Err(fault) => leftover(said(fault)),
        };
    }
    match looked {
        Ok(()) | Err(Fault::Damage(_)) if is_empty => leftover("it is empty".to_owned()),
        // A damaged one is all there is: what can be read of it is saved when it is opened.
        Ok(()) | Err(Fault::Damage(_)) => Ok(Ready::Completes),
        Err(Fault::Unusable(error)) if !matches!(error, OpenError::Newer { .. }) => {
            leftover(said(Fault::Unusable(error)))
        }
        Err(fault) => Err(fault),
    }
}

/// Whether a database of ours is in the place, in whatever state.
fn is_in_place(path: &Path) -> bool {
    match look(path) {
        Ok(()) => files::look(path).is_ok_and(|found| found.is_some_and(|found| found.len() > 0)),
        Err(Fault::Unusable(_)) => false,
        Err(Fault::Damage(_) | Fault::Refused(_) | Fault::Broken(_)) => true,
    }
}

/// Whether one of those that the note tells is in the place, as it was. The log is moved first.
fn is_still(path: &Path, was: &str) -> bool {
    was.split("; ").any(|was| is_as_it_was(path, was))
}

fn is_as_it_was(path: &Path, was: &str) -> bool {
    let Some((file, log)) = was.split_once(", ") else { return false };
    let now = look_of(&log_of(path));
    let is_blank = fs::symlink_metadata(log_of(path)).is_ok_and(|found| found.len() == 0);
    look_of(path) == file && (now == log || now == NOTHING || is_blank)
}

/// What a whole database of ours says it replaces; nothing if it says none.
fn replaces(ready: &Path) -> Result<String, String> {
    let read = || -> rusqlite::Result<(String, Option<String>, i64)> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(immutable(ready), flags)?;
        let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        let query = "SELECT value FROM note WHERE name = ?1";
        let was: Option<String> = connection.query_row(query, [REPLACES], |row| row.get(0)).optional()?;
        let held: i64 = connection.query_row("SELECT count(*) FROM message", [], |row| row.get(0))?;
        Ok((verdict, was, held))
    };
    let (verdict, was, held) = read().map_err(|error| format!("it can't be read: {error}"))?;
    let sound: u64 = tally(&Pages::open(ready)).values().map(|totals| totals.messages).sum();
    match verdict == "ok" && u64::try_from(held) == Ok(sound) {
        true => Ok(was.unwrap_or_default()),
        false => Err("it is damaged".to_owned()),
    }
}

/// So that SQLite makes no file beside it and changes none.
fn immutable(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let byte = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => char::from(*byte).to_string(),
        byte => format!("%{byte:02x}"),
    };
    let encoded: String = path.as_os_str().as_bytes().iter().map(byte).collect();
    format!("file:{encoded}?immutable=1")
}

fn said(fault: Fault) -> String {
    match fault {
        Fault::Damage(how) => format!("it is damaged ({how})"),
        Fault::Unusable(OpenError::NotAFile { other, .. }) => format!("it is {other}"),
        Fault::Unusable(OpenError::Newer { .. }) => "a newer gatewire has written it".to_owned(),
        Fault::Unusable(_) => "it isn't a database of gatewire".to_owned(),
        Fault::Refused(failure) | Fault::Broken(failure) => failure.to_string(),
    }
}
