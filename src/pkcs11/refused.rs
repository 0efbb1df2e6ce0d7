//! Which PINs a token has refused, and which it has taken.
//!
//! A few wrong PINs lock a token for good. One that was refused isn't tried again: not by the next attempt to connect, and not by
//! the next daemon, which systemd may start over and over. So it is noted on the disk, as a mark that tells the PIN from
//! others without holding it. A PIN file with another PIN, or SIGHUP, ends that.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::mark::PinMark;
use super::uri::Uri;
use crate::owner;
use crate::regular;

/// The note's name in the state directory.
const NAME: &str = "refused-pin.json";

/// No note is longer.
const MAX_NOTE: u64 = 16 * 1024;

/// A token, and a PIN of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// Of the key.
    uri: String,
    mark: PinMark,
}

/// What this process knows. There is one for all: whoever loads the credentials anew mustn't forget what the token said.
static KNOWN: Mutex<Known> = Mutex::new(Known { refused: None, accepted: None });

#[derive(Debug)]
struct Known {
    refused: Option<Note>,
    accepted: Option<Note>,
}

fn known() -> MutexGuard<'static, Known> {
    // Nothing is left half done by who panics with it.
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The PIN that the token of `uri` has refused: noted by this process or another, in the state directory.
pub(super) fn refused(uri: &Uri, directory: &Path) -> Option<PinMark> {
    let own = known().refused.clone();
    own.into_iter().chain(read(directory)).find(|note| note.uri == uri.to_string()).map(|note| note.mark)
}

/// The PIN that it has taken from this process.
pub(super) fn accepted(uri: &Uri) -> Option<PinMark> {
    let accepted = known().accepted.clone();
    accepted.filter(|note| note.uri == uri.to_string()).map(|note| note.mark)
}

/// The token has refused a PIN. What can't be written is known to this process at least.
pub(super) fn note_refused(uri: &Uri, mark: PinMark, directory: &Path) {
    let note = Note { uri: uri.to_string(), mark };
    let written = write(&note, directory);
    known().refused = Some(note);
    if let Err(error) = written {
        log::warn!(
            GATEWIRE_EVENT = "credentials";
            "that a PIN was refused can't be noted in {} ({error}): a restart of gatewire tries it once more",
            directory.join(NAME).display()
        );
    }
}

/// The token has taken a PIN.
pub(super) fn note_accepted(uri: &Uri, mark: PinMark, directory: &Path) {
    let mut known = known();
    let had_refused = known.refused.take().is_some() || directory.join(NAME).exists();
    known.accepted = Some(Note { uri: uri.to_string(), mark });
    drop(known);
    if had_refused {
        let _ = fs::remove_file(directory.join(NAME));
    }
}

/// Someone wants the PIN to be tried again.
pub(crate) fn forget_refused_pin() {
    known().refused = None;
    let _ = fs::remove_file(state_directory().join(NAME));
}

/// Where the daemon has its state.
pub(super) fn state_directory() -> PathBuf {
    let directory = std::env::var("STATE_DIRECTORY").ok();
    let first = directory.as_deref().and_then(|directories| directories.split(':').next()).unwrap_or_default();
    if first.is_empty() { "/var/lib/gatewire".into() } else { first.into() }
}

fn read(directory: &Path) -> Option<Note> {
    serde_json::from_slice(&regular::read(&directory.join(NAME), MAX_NOTE).ok()?).ok()
}

fn write(note: &Note, directory: &Path) -> io::Result<()> {
    let (path, new) = (directory.join(NAME), directory.join(format!("{NAME}.new")));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(note)?)?;
    if let Some((user, group)) = owner::heir(directory)? {
        chown(&new, Some(user.as_raw()), Some(group.as_raw()))?;
    }
    file.sync_all()?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    /// The only test of these functions: there is one note in a process.
    #[test]
    fn a_refused_pin_is_known_until_another_is_taken_or_somebody_asks() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let uri = |label: &str| {
            Uri::parse(&format!("pkcs11:token={label}?module-path=/m.so"), |path| Ok(path.into())).unwrap()
        };
        let (ours, other) = (uri("ours"), uri("other"));
        let pin = Secret::new("1234".to_owned());
        let mark = PinMark::of(&pin).unwrap();
        assert_eq!(refused(&ours, directory), None);
        note_refused(&ours, mark.clone(), directory);
        assert_eq!(refused(&ours, directory), Some(mark.clone()));
        assert_eq!(refused(&other, directory), None);
        // Another process.
        known().refused = None;
        assert_eq!(refused(&ours, directory), Some(mark.clone()));
        assert!(!fs::read_to_string(directory.join(NAME)).unwrap().contains("1234"));
        assert_eq!(accepted(&ours), None);
        note_accepted(&ours, mark.clone(), directory);
        assert_eq!((refused(&ours, directory), accepted(&ours), accepted(&other)), (None, Some(mark), None));
        fs::write(directory.join(NAME), "{").unwrap();
        assert_eq!(refused(&ours, directory), None);
    }
}
