//! What is asked of the disk: steps that are done whole or not at all, and may be lost until they are synced.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use nix::libc;
use nix::unistd::fchown;

use crate::owner;
use crate::regular::{self, Unread};

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// Past this many bytes no file is ours.
const MAX_FILE: u64 = 1024 * 1024;

/// A disk. No path is followed if it is a symbolic link.
pub(crate) trait Disk: Debug + Send + Sync {
    /// # Errors
    /// There is none, it is no regular file or too large, or the disk fails.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Whether there is a directory.
    ///
    /// # Errors
    /// It can't be told, or there is something else.
    fn has_directory(&self, path: &Path) -> io::Result<bool>;
    /// The names in a directory.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Makes a directory for this user alone.
    fn make_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes a file for this user alone, which isn't there yet, and syncs what it holds. It may be there in part after an error.
    fn write(&self, path: &Path, contents: &[u8]) -> io::Result<()>;
    /// Replaces a file, or names a directory where there is none.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory that is empty.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;
    /// From now on the names in it are there after a loss of power.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
}

/// This machine's.
#[derive(Debug)]
pub(super) struct FileSystem;

impl FileSystem {
    /// Gives what root has made to whom the directory around it belongs.
    fn bequeath(path: &Path, file: &File) -> io::Result<()> {
        let around = path.parent().unwrap_or(Path::new("."));
        match owner::heir(around)? {
            Some((uid, gid)) => Ok(fchown(file, Some(uid), Some(gid))?),
            None => Ok(()),
        }
    }

    fn open_directory(path: &Path) -> io::Result<File> {
        File::options().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(path)
    }
}

impl Disk for FileSystem {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match fs::symlink_metadata(path)?.file_type() {
            kind if kind.is_symlink() => Err(Unread::Other(regular::Other::Link).into()),
            _ => regular::read(path, MAX_FILE).map_err(io::Error::from),
        }
    }

    fn has_directory(&self, path: &Path) -> io::Result<bool> {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => Ok(true),
            Ok(_) => Err(ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let name =
            |entry: io::Result<fs::DirEntry>| entry.map(|entry| entry.file_name().to_string_lossy().into_owned());
        fs::read_dir(path)?.map(name).collect()
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(DIRECTORY_MODE).create(path)?;
        let directory = FileSystem::open_directory(path)?;
        // Whatever the umask.
        directory.set_permissions(fs::Permissions::from_mode(DIRECTORY_MODE))?;
        FileSystem::bequeath(path, &directory)
    }

    fn write(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(FILE_MODE).custom_flags(libc::O_NOFOLLOW);
        let mut file = options.open(path)?;
        file.set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
        FileSystem::bequeath(path, &file)?;
        file.write_all(contents)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        FileSystem::open_directory(path)?.sync_all()
    }
}
