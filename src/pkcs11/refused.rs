//! Which PINs were tried, and what the token said.
//!
//! A few wrong PINs lock a token for good. So none is tried before that is on the disk, as a mark that tells the PIN from others without
//! holding it: whatever happens then, no restart tries it over and over. One that the token has refused isn't tried again, nor one of
//! which two tries have had no end, because the module hung or crashed or somebody cut the power: it may have been wrong. A PIN file with
//! another PIN, or SIGHUP, ends that.
//!
//! What is known of a PIN is the name of its note. One that was taken before needs no room on the disk for its next try: the note gets
//! another name, and gets its old one back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, chown};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::fault::Pkcs11Fault;
use super::mark::PinMark;
use super::uri::Uri;
use crate::owner;
use crate::regular;
use crate::secret::Secret;

/// The names of notes in the state directory: the token has taken the PIN; it is being tried, or that had no end; so a second time; the
/// token has refused it.
const ACCEPTED: &str = "accepted-pin.json";
const TRIED: &str = "tried-pin.json";
const TRIED_AGAIN: &str = "tried-pin-again.json";
const REFUSED: &str = "refused-pin.json";

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

/// The PIN that the token of `uri` has refused in the life of this process.
pub(super) fn refused(uri: &Uri) -> Option<PinMark> {
    let refused = known().refused.clone();
    refused.filter(|note| note.uri == uri.to_string()).map(|note| note.mark)
}

/// The PIN that it has taken from this process.
pub(super) fn accepted(uri: &Uri) -> Option<PinMark> {
    let accepted = known().accepted.clone();
    accepted.filter(|note| note.uri == uri.to_string()).map(|note| note.mark)
}

/// The token has refused a PIN.
pub(super) fn note_refused(uri: &Uri, mark: PinMark) {
    known().refused = Some(Note { uri: uri.to_string(), mark });
}

/// The token has taken a PIN.
pub(super) fn note_accepted(uri: &Uri, mark: PinMark) {
    let mut known = known();
    known.refused = None;
    known.accepted = Some(Note { uri: uri.to_string(), mark });
}

/// Someone wants the PIN to be tried again.
pub(crate) fn forget_refused_pin() {
    known().refused = None;
    let directory = state_directory();
    for name in [TRIED, TRIED_AGAIN, REFUSED] {
        let _ = fs::remove_file(directory.join(name));
    }
}

/// Where the daemon has its state.
fn state_directory() -> PathBuf {
    let directory = std::env::var("STATE_DIRECTORY").ok();
    let first = directory.as_deref().and_then(|directories| directories.split(':').next()).unwrap_or_default();
    if first.is_empty() { "/var/lib/gatewire".into() } else { first.into() }
}

/// Where tries of a token's PINs are noted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notes {
    directory: PathBuf,
    /// Of the key.
    uri: String,
}

/// A try that is noted, and hasn't ended.
#[derive(Debug)]
pub(super) struct Try<'a> {
    notes: &'a Notes,
    pub(super) mark: PinMark,
    /// The name of its note, and the one before; `None`: there was none.
    name: &'static str,
    before: Option<&'static str>,
}

impl Notes {
    pub(super) fn of(uri: &Uri) -> Notes {
        Notes { directory: state_directory(), uri: uri.to_string() }
    }

    /// Whether this PIN may be tried.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn allow(&self, pin: &Secret<String>) -> Result<(), Pkcs11Fault> {
        match () {
            () if self.noted(REFUSED, pin).is_some() => Err(Pkcs11Fault::PinRefusedBefore),
            () if self.noted(TRIED_AGAIN, pin).is_some() => Err(Pkcs11Fault::PinUnfinished),
            () => Ok(()),
        }
    }

    /// Notes that this PIN, which is allowed, is about to be tried.
    ///
    /// # Errors
    /// It can't be noted: the PIN isn't to be tried.
    pub(super) fn begin(&self, pin: &Secret<String>) -> Result<Try<'_>, Pkcs11Fault> {
        let unnoted = |why: String| Pkcs11Fault::PinUnnoted { directory: self.directory.clone(), why };
        for (before, name) in [(TRIED, TRIED_AGAIN), (ACCEPTED, TRIED)] {
            let Some(mark) = self.noted(before, pin) else { continue };
            self.rename(before, name).map_err(|error| unnoted(error.to_string()))?;
            return Ok(Try { notes: self, mark, name, before: Some(before) });
        }
        let mark = PinMark::of(pin).ok_or_else(|| unnoted("the system has no random numbers".to_owned()))?;
        self.write(TRIED, &mark).map_err(|error| unnoted(error.to_string()))?;
        Ok(Try { notes: self, mark, name: TRIED, before: None })
    }

    /// The mark of this PIN, if there is a note of it with this name.
    fn noted(&self, name: &str, pin: &Secret<String>) -> Option<PinMark> {
        let note: Note = serde_json::from_slice(&regular::read(&self.directory.join(name), MAX_NOTE).ok()?).ok()?;
        Some(note).filter(|note| note.uri == self.uri && note.mark.is_of(pin)).map(|note| note.mark)
    }

    fn write(&self, name: &str, mark: &PinMark) -> io::Result<()> {
        let note = Note { uri: self.uri.clone(), mark: mark.clone() };
        let unfinished = format!("{name}.new");
        let new = self.directory.join(&unfinished);
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(&note)?)?;
        if let Some((user, group)) = owner::heir(&self.directory)? {
            chown(&new, Some(user.as_raw()), Some(group.as_raw()))?;
        }
        file.sync_all()?;
        self.rename(&unfinished, name)
    }

    /// For good.
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.directory.join(from), self.directory.join(to))?;
        File::open(&self.directory)?.sync_all()
    }

    fn remove(&self, name: &str) {
        let _ = fs::remove_file(self.directory.join(name));
    }
}

/// What isn't noted now stays noted as a try without an end: that errs on the side of the token.
impl Try<'_> {
    /// The token has taken it.
    pub(super) fn accepted(self) -> PinMark {
        // Of others.
        [TRIED, TRIED_AGAIN, REFUSED]
            .into_iter()
            .filter(|name| *name != self.name)
            .for_each(|name| self.notes.remove(name));
        let _ = self.notes.rename(self.name, ACCEPTED);
        self.mark
    }

    /// The token has refused it.
    pub(super) fn refused(self) -> PinMark {
        let _ = self.notes.rename(self.name, REFUSED);
        self.mark
    }

    /// The token has said something else: that was none of the tries that it counts.
    pub(super) fn untold(self) {
        match self.before {
            Some(before) => drop(self.notes.rename(self.name, before)),
            None => self.notes.remove(self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(label: &str) -> Uri {
        Uri::parse(&format!("pkcs11:token={label}?module-path=/m.so"), |path| Ok(path.into())).unwrap()
    }

    fn pin(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    /// The only test of these functions: there is one note in a process.
    #[test]
    fn a_refused_pin_is_known_to_the_process_until_another_is_taken() {
        let (ours, other) = (uri("ours"), uri("other"));
        let mark = PinMark::of(&pin("1234")).unwrap();
        assert_eq!((refused(&ours), accepted(&ours)), (None, None));
        note_refused(&ours, mark.clone());
        assert_eq!((refused(&ours), refused(&other)), (Some(mark.clone()), None));
        note_accepted(&ours, mark.clone());
        assert_eq!((refused(&ours), accepted(&ours), accepted(&other)), (None, Some(mark), None));
    }

    #[test]
    fn a_pin_is_tried_once_if_it_is_refused_and_twice_if_there_is_no_end() {
        let directory = tempfile::tempdir().unwrap();
        let notes = |label| Notes { directory: directory.path().to_owned(), uri: uri(label).to_string() };
        let (ours, wrong, right) = (notes("ours"), pin("1234"), pin("5678"));
        ours.allow(&wrong).unwrap();
        ours.begin(&wrong).unwrap().refused();
        assert_eq!(ours.allow(&wrong), Err(Pkcs11Fault::PinRefusedBefore));
        assert_eq!(notes("other").allow(&wrong), Ok(()), "of another token nothing is known");
        assert!(!fs::read_to_string(directory.path().join(REFUSED)).unwrap().contains("1234"));
        // Cut off in the middle, twice, whatever it was before.
        for was_taken in [false, true] {
            if was_taken {
                fs::remove_file(directory.path().join(TRIED_AGAIN)).unwrap();
                ours.begin(&right).unwrap().accepted();
            }
            for _ in 0..2 {
                ours.allow(&right).unwrap();
                let _cut_off = ours.begin(&right).unwrap();
            }
            assert_eq!(ours.allow(&right), Err(Pkcs11Fault::PinUnfinished), "{was_taken}");
        }
        assert_eq!(ours.allow(&pin("9")), Ok(()));
    }

    #[test]
    fn an_end_makes_the_tries_count_anew() {
        let directory = tempfile::tempdir().unwrap();
        let ours = Notes { directory: directory.path().to_owned(), uri: uri("ours").to_string() };
        let pin = pin("1234");
        let names = || {
            let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
            fs::read_dir(&ours.directory).unwrap().map(name).collect::<Vec<_>>()
        };
        for _ in 0..3 {
            ours.begin(&pin).unwrap().untold();
            assert_eq!(names(), [""; 0], "the token wasn't there");
        }
        for _ in 0..3 {
            let _cut_off = ours.begin(&pin).unwrap();
            ours.begin(&pin).unwrap().untold();
            assert_eq!(names(), [TRIED]);
            assert_eq!(ours.begin(&pin).unwrap().accepted(), ours.noted(ACCEPTED, &pin).unwrap());
            assert_eq!(names(), [ACCEPTED]);
            ours.begin(&pin).unwrap().untold();
            assert_eq!(names(), [ACCEPTED]);
        }
    }

    #[test]
    fn what_cant_be_noted_isnt_tried() {
        let directory = tempfile::tempdir().unwrap();
        let ours = Notes { directory: directory.path().join("none"), uri: uri("ours").to_string() };
        assert!(matches!(ours.begin(&pin("1234")), Err(Pkcs11Fault::PinUnnoted { .. })));
        fs::create_dir(&ours.directory).unwrap();
        fs::write(ours.directory.join(TRIED), "{").unwrap();
        assert_eq!(ours.begin(&pin("1234")).unwrap().name, TRIED);
    }
}
