//! The files of the database: their names, their directory, whose they are, and who may read them.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use nix::libc;
use nix::unistd::{fchown, geteuid};

use super::failure::{Failure, Fault, OpenError};
use super::names::{FLAGS, all_of, directory_of};
use crate::filesystem;
use crate::owner;
use crate::regular::Other;

/// Messages are nobody else's business, and who can open the lock can hold it: each file is for gatewire alone, whatever the umask.
const MODE: u32 = 0o600;

/// Of the directory, where there was none.
const DIRECTORY_MODE: u32 = 0o750;

/// The fault if `directory` is in a file system in which nothing can be made, for the store at `path`.
pub(super) fn refused_by_filesystem(directory: &Path, path: &Path) -> Option<Fault> {
    let kind = filesystem::takes_no_files(directory)?;
    let said =
        format!("{} is in {kind}, where nobody can create files. Put it into /var/lib/gatewire", directory.display());
    Some(Fault::Broken(Failure::Unusable { said: format!("{}: {said}", path.display()) }))
}

/// Makes the directory of the store, if there is none.
pub(super) fn make_directory(path: &Path) -> Result<(), Fault> {
    let directory = directory_of(path);
    if directory.is_dir() {
        return refused_by_filesystem(directory, path).map_or(Ok(()), Err);
    }
    let make = || {
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
        let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let made = File::options().read(true).custom_flags(flags).open(directory)?;
        made.set_permissions(fs::Permissions::from_mode(DIRECTORY_MODE))
    };
    make().map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Fault::of_io(&ErrorKind::NotADirectory.into(), path),
        _ => Fault::of_io(&error, path),
    })
}

/// What is at `file`, which isn't followed if it is a symbolic link. What isn't a regular file is no file of ours.
pub(super) fn look(file: &Path) -> Result<Option<Metadata>, Fault> {
    match fs::symlink_metadata(file) {
        Ok(metadata) => match Other::of(metadata.file_type()) {
            None => Ok(Some(metadata)),
            Some(other) => Err(Fault::Unusable(OpenError::NotAFile { path: file.to_owned(), other })),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fault::of_io(&error, file)),
    }
}

/// Opens a file of the store for reading and writing, which is made if there is none. It is for gatewire alone from the moment
/// at which it is there; one that others could open is closed to them.
pub(super) fn open(file: &Path) -> Result<File, Fault> {
    look(file)?;
    open_own(file).map_err(|error| Fault::of_io(&error, file))
}

fn open_own(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).mode(MODE).custom_flags(FLAGS);
    match options.clone().create_new(true).open(path) {
        Ok(file) => {
            file.set_permissions(fs::Permissions::from_mode(MODE))?;
            if let Some((uid, gid)) = owner::heir(directory_of(path))? {
                fchown(&file, Some(uid), Some(gid))?;
            }
            Ok(file)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let file = options.open(path)?;
            close_to_others(&file, path)?;
            Ok(file)
        }
        Err(error) => Err(error),
    }
}

fn close_to_others(file: &File, path: &Path) -> io::Result<()> {
    let metadata = file.metadata()?;
    let mode = metadata.mode() & 0o7777;
    if mode == MODE || metadata.uid() != geteuid().as_raw() {
        return Ok(());
    }
    file.set_permissions(fs::Permissions::from_mode(MODE))?;
    if mode & 0o077 != 0 {
        log::warn!(
            GATEWIRE_EVENT = "tightened";
            "{} had the mode {mode:04o}, which let others open it: it has {MODE:04o} now", path.display()
        );
    }
    Ok(())
}

/// Closes the files of a database to others, before SQLite opens them. Those that SQLite makes get the mode and owner of the
/// database.
pub(super) fn secure(path: &Path) -> Result<(), Fault> {
    open(path)?;
    for file in all_of(path) {
        open(&file)?;
    }
    Ok(())
}
