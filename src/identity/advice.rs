//! What to do where the disk doesn't do what it should.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access, geteuid};

use super::{Directory, DiskError, Lock, NAMES, directory};
use crate::owner::{own_words, quoted};
use crate::regular::Other;

impl Directory {
    /// Whether the files can be used as they have to be, as far as a look tells. Nothing is changed.
    ///
    /// # Errors
    /// The first thing that the disk wouldn't do.
    pub(crate) fn probe(&self) -> Result<(), DiskError> {
        let lock = self.state.join(directory::LOCK);
        Lock::probe(&lock).map_err(|error| directory::failed("locking", &lock, &error))?;
        for name in NAMES.iter().filter(|name| **name != directory::LOCK) {
            if !self.has(name)? {
                continue;
            }
            let own = self.state.join(name);
            for file in self.try_to("listing", &own, |disk| disk.list(&own))? {
                self.read(&own.join(file))?;
            }
            may_change(&own)?;
        }
        if self.state.exists() { may_change(&self.state) } else { Ok(()) }
    }
}

fn may_change(path: &Path) -> Result<(), DiskError> {
    let allowed = access(path, AccessFlags::W_OK | AccessFlags::X_OK);
    allowed.map_err(|errno| directory::failed("writing", path, &io::Error::from(errno)))
}

impl DiskError {
    /// What to do about it, in sentences.
    pub(crate) fn advice(&self) -> String {
        let state = self.state();
        if let Some(what) = self.something_else() {
            let name = self.path.file_name().unwrap_or_default().to_string_lossy();
            let aside = state.join(format!("{name}.aside"));
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
        let present = self.path.ancestors().find(|above| above.is_dir()).unwrap_or(&state);
        format!(
            "Look at the space (`df -h {}`), at the owner there and at the kernel's log (`dmesg`).",
            quoted(present)
        )
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
