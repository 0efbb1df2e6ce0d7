//! The files of the database: their names and their directory.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::failure::Fault;

pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the directory of the store, for gatewire alone.
pub(super) fn make_directory(path: &Path) -> Result<(), Fault> {
    let directory = directory_of(path);
    DirBuilder::new().recursive(true).mode(0o750).create(directory).map_err(|error| Fault::of_io(&error, directory))
}

/// The name of the write-ahead log.
pub(super) fn log_of(path: &Path) -> PathBuf {
    with_suffix(path, "-wal")
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
