//! The file of a socket that we have made, held by a descriptor: what is done to it is done to that file, whatever somebody puts
//! in its place.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::AtFlags;
use nix::libc;
use nix::unistd::{Gid, Uid, fchownat};

use crate::owner;

/// Who may use a socket.
#[derive(Debug)]
pub(crate) struct Access {
    pub(super) mode: u32,
    pub(super) gid: u32,
}

/// See the module. Dropping it removes the file, unless it is another by then.
#[derive(Debug)]
pub(super) struct OwnFile {
    path: PathBuf,
    /// Opened as a place only (`O_PATH`). As long as it is, no other file gets its inode.
    file: File,
    identity: (u64, u64),
}

impl OwnFile {
    /// The file that we have just made at `path`.
    ///
    /// # Errors
    /// It isn't there any more, or something else is.
    pub(super) fn of_new(path: &Path) -> io::Result<OwnFile> {
        let file = File::options().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)?;
        let found = file.metadata()?;
        // A link to another socket would have two names.
        if !found.file_type().is_socket() || found.nlink() != 1 {
            return Err(io::Error::other("somebody has put something else in its place"));
        }
        Ok(OwnFile { path: path.to_owned(), identity: (found.dev(), found.ino()), file })
    }

    pub(super) fn is_in_place(&self) -> bool {
        self.is_at(&self.path)
    }

    /// Whether it, and nothing else, lies at `path`.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity)
    }

    pub(super) fn access(&self) -> io::Result<Access> {
        let found = self.file.metadata()?;
        Ok(Access { mode: found.mode() & 0o7777, gid: found.gid() })
    }

    /// To whom it is given, if that isn't us.
    pub(super) fn heir(&self) -> io::Result<Option<(Uid, Gid)>> {
        owner::heir(directory_of(&self.path))
    }

    pub(super) fn set_owner(&self, uid: Uid) -> io::Result<()> {
        Ok(fchownat(&self.file, "", Some(uid), None, AtFlags::AT_EMPTY_PATH)?)
    }

    pub(super) fn set_group(&self, gid: u32) -> io::Result<()> {
        Ok(fchownat(&self.file, "", None, Some(gid.into()), AtFlags::AT_EMPTY_PATH)?)
    }

    pub(super) fn set_mode(&self, mode: u32) -> io::Result<()> {
        // fchmod takes no descriptor of a place; by this name the kernel comes to the same file.
        let name = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        fs::set_permissions(name, fs::Permissions::from_mode(mode))
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        if self.is_in_place()
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!("the socket {} can't be removed: {error}", self.path.display());
        }
    }
}

/// Where the file of a socket lies.
pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
