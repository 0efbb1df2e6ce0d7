//! The part of a file that is on the disk, and the sum of it. All of it may block.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;

use nix::sys::statvfs::fstatvfs;
use serde::{Deserialize, Serialize};

use super::digest::{Sha256, Summing};
use super::fault::DownloadFault;
use super::place::{self, Place};
use super::resume::{Held, Known};
use crate::regular;

/// In such pieces the file is read and written, in bytes: an SD card likes them larger than what comes from the network.
pub(super) const PIECE: usize = 256 * 1024;

/// What a download leaves free for everything else, the outbox first of all, in bytes; of a small file system a sixteenth.
const RESERVE: u64 = 64 * 1024 * 1024;

/// A note has some hundred bytes.
const MAX_NOTE: u64 = 4096;

/// What is written beside a file, so that another process may go on with it.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// Of all of it, as the document says.
    sha256: String,
    #[serde(flatten)]
    known: Known,
}

/// A file that isn't whole yet, as far as anybody knows.
#[derive(Debug)]
pub(super) struct Part {
    place: Place,
    wanted: Sha256,
    file: File,
    length: u64,
    summing: Summing,
    known: Known,
    /// It isn't from one answer: had the file changed in between, the sum would be wrong.
    is_pieced: bool,
}

impl Part {
    /// What is there from an earlier life, or nothing yet. It is read, so that its sum is known.
    pub(super) fn open(place: &Place, wanted: Sha256, max: u64) -> Result<Part, DownloadFault> {
        let on = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| disk(&path, &error)
        };
        place::make_directory(place.directory()).map_err(on(place.directory()))?;
        let (path, file) = (place.file(), opened(&place.file()).map_err(on(&place.file()))?);
        let summing = Summing::new();
        let known = Known::default();
        let mut part = Part { place: place.clone(), wanted, file, length: 0, summing, known, is_pieced: false };
        let note = note(&place.note()).filter(|note| note.sha256 == wanted.to_string());
        let length = part.file.metadata().map_err(on(&path))?.len();
        match note {
            Some(note) if (1..=max).contains(&length) => {
                part.known = note.known;
                part.read().map_err(on(&path))?;
                part.is_pieced = true;
            }
            _ if length > 0 => part.file.set_len(0).map_err(on(&path))?,
            _ => {}
        }
        Ok(part)
    }

    /// Adds what is there to the sum.
    fn read(&mut self) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        loop {
            match self.file.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(read) => {
                    self.summing.add(&piece[..read]);
                    self.length += read as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn held(&self) -> Held<'_> {
        Held { length: self.length, known: &self.known }
    }

    /// Whether what is there is what the document wants. That nothing is there is no answer to anything.
    pub(super) fn is_wanted(&self) -> bool {
        self.length > 0 && self.sum() == self.wanted
    }

    pub(super) fn sum(&self) -> Sha256 {
        self.summing.sum()
    }

    /// See the field.
    pub(super) fn is_pieced(&self) -> bool {
        self.is_pieced
    }

    /// What comes next is put behind what is there.
    pub(super) fn go_on(&mut self, known: Known) -> Result<(), DownloadFault> {
        self.is_pieced = true;
        if known != self.known {
            self.set_known(known)?;
        }
        self.look_for_room(self.known.total.map_or(0, |total| total.saturating_sub(self.length)))
    }

    /// Forgets what is there: what comes next is put in its place.
    pub(super) fn begin_anew(&mut self, known: Known) -> Result<(), DownloadFault> {
        self.back_to(0)?;
        self.length = 0;
        self.summing = Summing::new();
        // A body without a length may have been cut off where it seemed to end.
        self.is_pieced = known.total.is_none();
        self.set_known(known)?;
        self.look_for_room(self.known.total.unwrap_or(0))
    }

    fn set_known(&mut self, known: Known) -> Result<(), DownloadFault> {
        self.known = known;
        let note = Note { sha256: self.wanted.to_string(), known: self.known.clone() };
        let write = || {
            let mut file = place::open(&self.place.note())?;
            file.set_len(0)?;
            file.write_all(&serde_json::to_vec(&note)?)
        };
        write().map_err(|error| disk(&self.place.note(), &error))
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), DownloadFault> {
        self.look_for_room(bytes.len() as u64)?;
        if let Err(error) = self.file.write_all(bytes) {
            // A part of it may be there, and the sum doesn't know of it.
            self.back_to(self.length)?;
            return Err(self.fault(&error));
        }
        self.summing.add(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn back_to(&mut self, length: u64) -> Result<(), DownloadFault> {
        let back = self.file.set_len(length).and_then(|()| self.file.seek(SeekFrom::Start(length)));
        back.map(drop).map_err(|error| self.fault(&error))
    }

    /// Once it is whole and right: it outlives a power cut.
    pub(super) fn finish(&self) -> Result<(), DownloadFault> {
        self.file.sync_all().map_err(|error| self.fault(&error))
    }

    /// Before `needed` bytes more are written.
    #[allow(clippy::useless_conversion, reason = "on 32-bit architectures these counts have 32 bits")]
    fn look_for_room(&self, needed: u64) -> Result<(), DownloadFault> {
        let Ok(found) = fstatvfs(&self.file) else { return Ok(()) };
        let block = u64::from(found.fragment_size());
        let (size, free) = (u64::from(found.blocks()), u64::from(found.blocks_available()));
        let (size, free) = (size.saturating_mul(block), free.saturating_mul(block));
        room(size, free, needed).map_err(|reserve| {
            let directory = self.place.directory().to_owned();
            DownloadFault::NoRoom { directory, needed, free, reserve }
        })
    }

    fn fault(&self, error: &io::Error) -> DownloadFault {
        disk(&self.place.file(), error)
    }
}

/// Opened for this process's use alone: an attempt that was given up may still write in its thread.
fn opened(path: &Path) -> io::Result<File> {
    loop {
        let file = place::open(path)?;
        match file.lock() {
            // A file system without locks.
            Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(file),
            locked => locked?,
        }
        if is_at(&file, path)? {
            return Ok(file);
        }
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let own = file.metadata()?;
    let found = path.symlink_metadata();
    Ok(found.is_ok_and(|found| (found.dev(), found.ino()) == (own.dev(), own.ino())))
}

fn note(path: &Path) -> Option<Note> {
    serde_json::from_slice(&regular::read(path, MAX_NOTE).ok()?).ok()
}

/// Whether `needed` bytes may be written on a file system of `size` bytes of which `free` are left; else what must stay free. One that
/// doesn't say how large it is says nothing.
fn room(size: u64, free: u64, needed: u64) -> Result<(), u64> {
    let reserve = RESERVE.min(size / 16);
    let fits = needed.checked_add(reserve).is_some_and(|wanted| wanted <= free);
    if size == 0 || fits { Ok(()) } else { Err(reserve) }
}

/// What a person does about an error of the disk.
fn disk(path: &Path, error: &io::Error) -> DownloadFault {
    let advice = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some (`df -h`, `journalctl --vacuum-size=50M`)",
        ErrorKind::ReadOnlyFilesystem => "see `dmesg` for why: a card that fails is often mounted so",
        ErrorKind::PermissionDenied => "the state directory must be the daemon's own",
        ErrorKind::NotADirectory | ErrorKind::NotFound => {
            "it must be a directory in the state directory: remove what is there"
        }
        _ => "see `dmesg` for errors of the device",
    };
    DownloadFault::Disk { path: path.to_owned(), detail: Arc::from(format!("{error}; {advice}")) }
}

#[cfg(test)]
mod tests;
