//! What is done with the files.

use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::disk::Disk;
use super::{DiskError, FoundIdentity, Identity, KeyPlace, Lock, Paths, Platform, Progress, Which};
use crate::limits::may_be_thing;
use crate::secret::Secret;

pub(super) const CERTIFICATE: &str = "certificate.pem.crt";
pub(super) const KEY: &str = "private.pem.key";
pub(super) const IDENTITY: &str = "thing.json";
pub(super) const PROGRESS: &str = "progress.json";

pub(super) const CURRENT: &str = "identity";
pub(super) const NEXT: &str = "identity.next";
pub(super) const MAKING: &str = "identity.making";
pub(super) const PREVIOUS: &str = "identity.previous";
pub(super) const DISCARDED: &str = "identity.discarded";
pub(super) const LOCK: &str = "identity.lock";

/// What a file is called until all of it is there.
pub(super) const UNFINISHED: &str = ".unfinished";

/// The identity's files in the state directory. All of this waits for the disk.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    pub(super) state: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    platform: Arc<dyn Platform>,
    turn: Arc<Semaphore>,
}

impl Directory {
    /// In a state directory, as it is: nothing is changed there. For who doesn't hold the lock.
    pub(crate) fn at(state: &Path, platform: &Arc<dyn Platform>) -> Directory {
        Directory {
            state: state.to_owned(),
            disk: platform.disk(),
            platform: Arc::clone(platform),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Takes the lock, and ends what a crash has left half done. `None`: another process holds the lock. The state directory is made
    /// if there is none.
    ///
    /// # Errors
    /// What the disk didn't do.
    pub(crate) fn open(state: &Path, platform: &Arc<dyn Platform>) -> Result<Option<(Directory, Lock)>, DiskError> {
        if !state.is_dir() {
            let make = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state);
            make.map_err(|error| failed("creating", state, &error))?;
        }
        let path = state.join(LOCK);
        let Some(lock) = Lock::take(&path).map_err(|error| failed("locking", &path, &error))? else { return Ok(None) };
        let directory = Directory::at(state, platform);
        directory.recover()?;
        Ok(Some((directory, lock)))
    }

    /// On a disk that isn't there.
    #[cfg(test)]
    pub(crate) fn on(state: &Path, disk: Arc<dyn Disk>) -> Directory {
        Directory { disk, ..Directory::at(state, &super::this_machine()) }
    }

    /// What is in force. After a [`Directory::put_in_force`] that has failed its files may still have the names of the next one.
    ///
    /// # Errors
    /// The disk can't be read: whether there is an identity isn't known.
    pub(crate) fn current(&self) -> Result<FoundIdentity, DiskError> {
        // The next one counts as soon as that is decided.
        let foreign = match self.found(NEXT) {
            Ok(next @ FoundIdentity::Identity(_)) => return Ok(next),
            Ok(FoundIdentity::Nothing | FoundIdentity::Damaged(_)) => None,
            // Nothing of gatewire's: no reason to do without an identity that is whole.
            Err(error) if error.is_of_something_else() => Some(error),
            Err(error) => return Err(error),
        };
        match (self.found(CURRENT)?, foreign) {
            (current @ FoundIdentity::Identity(_), _) => Ok(current),
            (_, Some(error)) => Err(error),
            // Between two names there is none of this name, though there is an identity.
            (FoundIdentity::Nothing, None) => self.found(PREVIOUS),
            (damaged, None) => Ok(damaged),
        }
    }

    /// What is being made, and how far it has come. Something that was begun and can't be read counts as nothing.
    ///
    /// # Errors
    /// The disk can't be read.
    pub(crate) fn next(&self) -> Result<Option<Progress>, DiskError> {
        let path = self.state.join(NEXT).join(PROGRESS);
        Ok(self.read(&path)?.and_then(|json| serde_json::from_slice(&json).ok()))
    }

    /// What it is on.
    pub(crate) fn platform(&self) -> &Arc<dyn Platform> {
        &self.platform
    }

    /// For who changes something in a thread: one after the other, though whoever waits for that may be gone. It has one permit.
    pub(crate) fn turn(&self) -> &Arc<Semaphore> {
        &self.turn
    }

    /// Where its files are.
    pub(crate) fn paths(&self, which: Which) -> Paths {
        let directory = self.state.join(match which {
            Which::Current => CURRENT,
            Which::Next => NEXT,
        });
        Paths { certificate: directory.join(CERTIFICATE), key: directory.join(KEY) }
    }

    /// The key of what is being made, as PEM; `None` where it has no file.
    ///
    /// # Errors
    /// The disk can't be read.
    pub(crate) fn next_key(&self) -> Result<Option<Secret<String>>, DiskError> {
        let pem = self.read(&self.paths(Which::Next).key)?;
        Ok(pem.and_then(|pem| String::from_utf8(pem).ok()).map(Secret::new))
    }

    /// The certificate of what is being made, as PEM, if it has come.
    ///
    /// # Errors
    /// The disk can't be read.
    pub(crate) fn next_certificate(&self) -> Result<Option<String>, DiskError> {
        let pem = self.read(&self.paths(Which::Next).certificate)?;
        Ok(pem.and_then(|pem| String::from_utf8(pem).ok()))
    }

    /// Begins to make an identity; one that was begun before is discarded. `key` is a private key as PEM, if it isn't in a token.
    ///
    /// # Errors
    /// What the disk didn't do. There may be nothing that is being made then.
    pub(crate) fn begin(&self, key: Option<&Secret<String>>, progress: &Progress) -> Result<(), DiskError> {
        self.discard_next()?;
        let making = self.state.join(MAKING);
        self.remove(&making)?;
        self.try_to("creating", &making, |disk| disk.make_directory(&making))?;
        if let Some(key) = key {
            self.write(&making, KEY, key.expose().as_bytes())?;
        }
        self.write(&making, PROGRESS, &json(progress))?;
        self.name(&making, &self.state.join(NEXT))
    }

    /// Notes how far it has come.
    ///
    /// # Errors
    /// What the disk didn't do: then what was noted before is there, or this.
    pub(crate) fn note(&self, progress: &Progress) -> Result<(), DiskError> {
        self.write(&self.state.join(NEXT), PROGRESS, &json(progress))
    }

    /// Notes that its certificate has come, and how far that is.
    ///
    /// # Errors
    /// As [`Directory::note`].
    pub(crate) fn note_certificate(&self, pem: &str, progress: &Progress) -> Result<(), DiskError> {
        self.write(&self.state.join(NEXT), CERTIFICATE, pem.as_bytes())?;
        self.note(progress)
    }

    /// Puts what is being made in the place of what is in force. It has connected, and nothing is missing.
    ///
    /// # Errors
    /// What the disk didn't do. Either of the two is in force then; to do it again, or [`Directory::open`], ends it.
    pub(crate) fn put_in_force(&self, identity: &Identity) -> Result<(), DiskError> {
        // Done before, as far as it is known here.
        if self.found(CURRENT)? == FoundIdentity::Identity(identity.clone()) && !self.has(NEXT)? {
            return self.recover();
        }
        self.write(&self.state.join(NEXT), IDENTITY, &json(identity))?;
        self.recover()
    }

    /// Removes what is being made.
    ///
    /// # Errors
    /// What the disk didn't do.
    pub(crate) fn discard_next(&self) -> Result<(), DiskError> {
        let (next, discarded) = (self.state.join(NEXT), self.state.join(DISCARDED));
        self.remove(&discarded)?;
        if self.has(NEXT)? {
            // At once, so that nobody ever finds half of it.
            self.name(&next, &discarded)?;
        }
        self.remove(&discarded)
    }

    /// What is found under this name.
    pub(super) fn found(&self, name: &str) -> Result<FoundIdentity, DiskError> {
        let at = |file: &str| self.state.join(name).join(file);
        if !self.has(name)? {
            return Ok(FoundIdentity::Nothing);
        }
        let damaged = |file: &str, what: &str| Ok(FoundIdentity::Damaged(format!("{}: {what}", at(file).display())));
        let Some(json) = self.read(&at(IDENTITY))? else { return damaged(IDENTITY, "it is missing") };
        let Ok(identity) = serde_json::from_slice::<Identity>(&json) else {
            return damaged(IDENTITY, "it isn't what gatewire has written");
        };
        if !may_be_thing(&identity.thing) {
            return damaged(IDENTITY, "no thing can have the name in it");
        }
        let needed = [Some(CERTIFICATE), (identity.key == KeyPlace::File).then_some(KEY)];
        for file in needed.into_iter().flatten() {
            match self.read(&at(file))? {
                None => return damaged(file, "it is missing"),
                Some(contents) if contents.is_empty() => return damaged(file, "it is empty"),
                Some(_) => {}
            }
        }
        Ok(FoundIdentity::Identity(identity))
    }

    pub(super) fn has(&self, name: &str) -> Result<bool, DiskError> {
        let path = self.state.join(name);
        self.try_to("looking for", &path, |disk| disk.has_directory(&path))
    }

    /// What the file holds, if there is one.
    pub(crate) fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
        match self.disk.read(path) {
            Ok(contents) => Ok(Some(contents)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(failed("reading", path, &error)),
        }
    }

    /// Writes a file of a directory, whole or not at all.
    pub(super) fn write(&self, directory: &Path, name: &str, contents: &[u8]) -> Result<(), DiskError> {
        let (unfinished, path) = (directory.join(format!("{name}{UNFINISHED}")), directory.join(name));
        self.try_to("removing", &unfinished, |disk| or_missing(disk.remove_file(&unfinished)))?;
        self.try_to("writing", &unfinished, |disk| disk.write(&unfinished, contents))?;
        self.name(&unfinished, &path)
    }

    /// Gives a file or a directory its name, for good.
    pub(super) fn name(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let around = to.parent().unwrap_or(&self.state);
        // What is in it comes before its name.
        if around == self.state {
            self.try_to("syncing", from, |disk| disk.sync_directory(from))?;
        }
        self.try_to("renaming", from, |disk| disk.rename(from, to))?;
        self.try_to("syncing", around, |disk| disk.sync_directory(around))
    }

    /// Removes a directory with what is in it, if there is one.
    pub(super) fn remove(&self, directory: &Path) -> Result<(), DiskError> {
        if !self.try_to("looking for", directory, |disk| disk.has_directory(directory))? {
            return Ok(());
        }
        for name in self.try_to("listing", directory, |disk| disk.list(directory))? {
            let path = directory.join(name);
            self.try_to("removing", &path, |disk| or_missing(disk.remove_file(&path)))?;
        }
        self.try_to("removing", directory, |disk| disk.remove_directory(directory))
    }

    pub(super) fn try_to<T>(
        &self,
        verb: &'static str,
        path: &Path,
        what: impl FnOnce(&dyn Disk) -> io::Result<T>,
    ) -> Result<T, DiskError> {
        what(&*self.disk).map_err(|error| failed(verb, path, &error))
    }
}

fn or_missing(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    let mut json = serde_json::to_vec_pretty(value).expect("its keys are texts");
    json.push(b'\n');
    json
}

pub(super) fn failed(verb: &'static str, path: &Path, error: &io::Error) -> DiskError {
    DiskError { verb, path: path.to_owned(), kind: error.kind(), said: error.to_string() }
}
