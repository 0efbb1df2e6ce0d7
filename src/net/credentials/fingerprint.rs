//! Whether the credential files have changed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::config;

/// The files' paths, and what the file system says of them. What replaces a file, or writes into it, changes that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint(Vec<(PathBuf, Option<FileState>)>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FileState {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Fingerprint {
    /// Looks at the files of `[tls]`, for a key in a token at its module and PIN; one that isn't there has no state.
    pub(crate) fn of(tls: &config::Tls) -> Fingerprint {
        let state = |path: &Path| {
            let metadata = fs::metadata(path).ok();
            let state = metadata.map(|metadata| FileState {
                device: metadata.dev(),
                inode: metadata.ino(),
                size: metadata.size(),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            });
            (path.to_owned(), state)
        };
        Fingerprint([&*tls.ca_file, &*tls.cert_file].into_iter().chain(tls.key_file.files()).map(state).collect())
    }
}
