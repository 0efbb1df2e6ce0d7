//! Whether a store could be opened, without changing anything: for `gatewire check`.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::database::{look, look_at_log};
use super::failure::{Fault, OpenError};
use super::files;
use super::names::{all_of, directory_of, may_open};
use super::ready::{self, Ready};

/// What would be wrong with the store at a path.
#[derive(Debug)]
pub(crate) enum Obstacle {
    /// The daemon wouldn't start.
    Start(OpenError),
    /// It would start, and store nothing: why, and what to do.
    Storing(String),
    /// It would start with what can be saved of a damaged one.
    Damage(String),
    /// Something lies beside it that is moved aside: where, and what is wrong with it.
    Leftover(PathBuf, String),
}

/// Looks at the store at `path`, which no daemon holds. `is_made` says whether a directory that is missing will be there at the start.
pub(crate) fn probe(path: &Path, is_made: impl Fn(&Path) -> bool) -> Option<Obstacle> {
    let judged = match ready::judge(path) {
        Ok(judged) => judged,
        Err(fault) => return Some(obstacle(fault)),
    };
    let looked = match &judged {
        // What is in the place is moved out of it.
        Ready::Completes => Ok(()),
        Ready::None | Ready::Leftover { .. } => look(path).and_then(|()| look_at_log(path)),
    };
    match (looked.and_then(|()| look_around(path, is_made)), judged) {
        (Err(fault), _) => Some(obstacle(fault)),
        (Ok(()), Ready::Leftover { why }) => Some(Obstacle::Leftover(ready::ready_of(path), why)),
        (Ok(()), Ready::None | Ready::Completes) => None,
    }
}

fn obstacle(fault: Fault) -> Obstacle {
    match fault {
        Fault::Unusable(error) => Obstacle::Start(error),
        Fault::Damage(how) => Obstacle::Damage(how),
        Fault::Refused(failure) | Fault::Broken(failure) => Obstacle::Storing(failure.to_string()),
    }
}

fn look_around(path: &Path, is_made: impl Fn(&Path) -> bool) -> Result<(), Fault> {
    let directory = directory_of(path);
    if !directory.exists() && is_made(directory) {
        return Ok(());
    }
    for file in all_of(path) {
        may_open(&file).map_err(|error| Fault::of_io(&error, &file))?;
    }
    // Where the directory is missing it is made: in the first above it that is there.
    let present = directory.ancestors().find(|above| fs::metadata(above).is_ok()).unwrap_or(Path::new("/"));
    access(present, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|errno| Fault::of_io(&errno.into(), path))?;
    if let Some(fault) = files::refused_by_filesystem(present, path) {
        return Err(fault);
    }
    match statvfs(present) {
        // A ramfs, or one of a network, doesn't say how large it is.
        Ok(found) if found.blocks_available() == 0 && found.blocks() > 0 => {
            Err(Fault::of_io(&std::io::ErrorKind::StorageFull.into(), path))
        }
        _ => Ok(()),
    }
}
