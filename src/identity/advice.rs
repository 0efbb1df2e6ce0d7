//! What to do where the disk doesn't do what it should.

use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access, geteuid};

use super::{Directory, DiskError, Identity, Lock, NAMES, directory};
use crate::owner::{own_words, quoted};
use crate::regular::Other;

impl Directory {
    /// Whether the files can be used as they have to be, as far as a look tells. Nothing is changed.
    ///
    /// # Errors
    /// The first thing that the disk wouldn't do.
    pub(crate) fn probe(&self) -> Result<(), DiskError> {
        if self.state.is_symlink() && !self.state.is_dir() {
            return Err(directory::failed("opening", &self.state, &ErrorKind::NotFound.into()));
        }
        let lock = self.state.join(directory::LOCK);
        Lock::probe(&lock).map_err(|error| directory::failed("locking", &lock, &error))?;
        for name in NAMES.iter().filter(|name| **name != directory::LOCK) {
            if !self.has(name)? {
                continue;
            }
            let own = self.state.join(name);
            for file in self.try_to("listing", &own, |disk| disk.list(&own))? {
                let path = own.join(&file);
                match is_removed(name, &file) {
                    false => self.read(&path).map(drop)?,
                    true if path.is_dir() && !path.is_symlink() => {
                        return Err(directory::failed("removing", &path, &ErrorKind::IsADirectory.into()));
                    }
                    true => {}
                }
            }
            may_change(&own)?;
        }
        if self.state.exists() { may_change(&self.state) } else { Ok(()) }
    }
}

/// Whether a file is removed without a look at what it holds ([`Directory::recover`]).
fn is_removed(name: &str, file: &str) -> bool {
    [directory::MAKING, directory::DISCARDED].contains(&name)
        || file.ends_with(directory::UNFINISHED)
        || (name, file) == (directory::CURRENT, directory::PROGRESS)
}

/// A name in the state directory for what isn't gatewire's: one that nothing has.
fn aside(state: &Path, path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut names = (1_u32..).map(|n| match n {
        1 => state.join(format!("{name}.aside")),
        n => state.join(format!("{name}.aside.{n}")),
    });
    names.find(|aside| fs::symlink_metadata(aside).is_err()).expect("a directory has fewer names than numbers")
}

fn may_change(path: &Path) -> Result<(), DiskError> {
    let allowed = access(path, AccessFlags::W_OK | AccessFlags::X_OK);
    allowed.map_err(|errno| directory::failed("writing", path, &io::Error::from(errno)))
}

/// No file of an identity is larger.
const MAX_TEXT: u64 = 1 << 16;

/// Whether that may be what a link of ours is to lead to. Whoever runs as gatewire's user can make a link to anything, and root will do
/// what is advised: so it has to be gatewire's, and to hold what an identity holds.
fn is_of_identity(found: &Path, state: &Path) -> bool {
    let owner = |path: &Path| fs::metadata(path).map(|metadata| metadata.uid()).ok();
    let is_text = |path: &Path| {
        let mut text = String::new();
        let opened = fs::File::open(path).map(|file| file.take(MAX_TEXT).read_to_string(&mut text));
        opened.is_ok_and(|read| read.is_ok())
            && (text.contains("-----BEGIN ") || serde_json::from_str::<Identity>(&text).is_ok())
    };
    let is_ours = owner(found).is_some_and(|uid| Some(uid) == owner(state));
    is_ours && if found.is_dir() { is_text(&found.join(directory::IDENTITY)) } else { is_text(found) }
}

impl DiskError {
    /// What to do about it, in sentences.
    pub(crate) fn advice(&self) -> String {
        let state = self.state();
        if let Some(what) = self.something_else() {
            if let Ok(to) = fs::read_link(&self.path)
                && let Some(advice) = self.advice_on_link(&state, &to)
            {
                return advice;
            }
            let aside = aside(&state, &self.path);
            return format!(
                "{} is {what}, and gatewire's own {} belongs there: `sudo mv -T {} {}` puts it aside.",
                self.path.display(),
                if self.is_directory() { "directory" } else { "file" },
                quoted(&self.path),
                quoted(&aside)
            );
        }
        if self.kind == ErrorKind::PermissionDenied {
            let list = format!("`sudo ls -la {}`", quoted(&state));
            return match self.foreign(&state) {
                Some(path) => format!(
                    "Run this as root or as gatewire's user. If that is what you do, `sudo chown -R {} {}` makes it gatewire's; {list} \
                     shows whose it is.",
                    own_words(),
                    quoted(&path)
                ),
                None => format!("What lies there must be readable and writable by its owner: {list} shows it."),
            };
        }
        if self.kind == ErrorKind::FileTooLarge {
            let aside = aside(&state, &self.path);
            return format!(
                "No file of gatewire's own is that large: `sudo mv -T {} {}` puts it aside.",
                quoted(&self.path),
                quoted(&aside)
            );
        }
        let present = self.path.ancestors().find(|above| above.is_dir()).unwrap_or(&state);
        format!(
            "Look at the space (`df -h {}`), at the owner there and at the kernel's log (`dmesg`).",
            quoted(present)
        )
    }

    /// Whether something is there that gatewire doesn't make: of another kind than what belongs there, or larger than any of that.
    pub(super) fn is_of_something_else(&self) -> bool {
        // `Other`: what the disk says of FIFOs, links and devices. The system's own errors have none of these kinds.
        let kinds = [ErrorKind::NotADirectory, ErrorKind::IsADirectory, ErrorKind::FileTooLarge, ErrorKind::Other];
        kinds.contains(&self.kind)
    }

    /// What to do about a symbolic link, `None` if nothing is lost with it: an identity may be where it leads.
    fn advice_on_link(&self, state: &Path, to: &Path) -> Option<String> {
        let link = self.path.display();
        if self.path == *state {
            return Some(format!(
                "{link} is a symbolic link to {}, and no directory is there: mount the disk that it is on, and try again.",
                to.display()
            ));
        }
        let keeps = |name: &str| [directory::CURRENT, directory::NEXT, directory::PREVIOUS].contains(&name);
        let is_kept = self.path.strip_prefix(state).ok()?.iter().next()?.to_str().is_some_and(keeps);
        let what = if self.is_directory() { "directory" } else { "file" };
        let found = fs::canonicalize(&self.path).ok();
        let found = found.filter(|found| if self.is_directory() { found.is_dir() } else { found.is_file() });
        let (true, Some(found)) = (is_kept, found.filter(|found| is_of_identity(found, state))) else { return None };
        Some(format!(
            "{link} is a symbolic link, and gatewire's own {what} belongs there. What it leads to looks like a part of the identity: \
             `sudo rm {} && sudo cp -aT {} {}` puts a copy of it in its place.",
            quoted(&self.path),
            quoted(&found),
            quoted(&self.path)
        ))
    }

    /// The state directory.
    fn state(&self) -> PathBuf {
        let is_own = |path: &Path| path.file_name().is_some_and(|name| NAMES.iter().any(|own| name == *own));
        let own = self.path.ancestors().find(|above| is_own(above));
        own.and_then(Path::parent).unwrap_or(&self.path).to_owned()
    }

    fn is_directory(&self) -> bool {
        let name = self.path.file_name().unwrap_or_default();
        name != directory::LOCK && NAMES.iter().any(|own| name == *own)
    }

    /// What is there, if it is of another kind than what belongs there.
    fn something_else(&self) -> Option<String> {
        let found = Other::of(fs::symlink_metadata(&self.path).ok()?.file_type());
        match (found, self.is_directory()) {
            (Some(Other::Directory), true) | (None, false) => None,
            (None, true) => Some("a file".to_owned()),
            // A directory that can't be used for another reason.
            (Some(Other::Directory), false) if self.path == self.state() => None,
            (other, _) => other.map(|other| other.to_string()),
        }
    }

    /// The highest on the way to the file that belongs to another user than this process's.
    fn foreign(&self, state: &Path) -> Option<PathBuf> {
        let own = geteuid().as_raw();
        let mut way: Vec<&Path> = self.path.ancestors().take_while(|above| above.starts_with(state)).collect();
        way.reverse();
        let is_foreign = |path: &&&Path| fs::symlink_metadata(path).is_ok_and(|found| found.uid() != own);
        way.iter().find(is_foreign).map(|path| path.to_path_buf())
    }
}
