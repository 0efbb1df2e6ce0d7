//! `claim_after = "delete"`: with an identity the claim isn't needed any more.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use crate::config::{ClaimAfter, Provisioning};
use crate::owner::quoted;

/// A file of the claim that is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Undeleted {
    pub(crate) path: PathBuf,
    /// What the system says.
    pub(crate) said: String,
    /// The command that deletes it.
    pub(crate) command: String,
}

/// Deletes the claim's key and certificate, if that is wanted; what isn't there is deleted. Waits for the disk. To be called once the
/// identity is in force, and at each start with one: the last time may have been cut off.
pub(crate) fn delete_claim(provisioning: &Provisioning) -> Vec<Undeleted> {
    if provisioning.claim_after == ClaimAfter::Keep {
        return Vec::new();
    }
    let named = [&provisioning.claim_key_file, &provisioning.claim_cert_file];
    // A link is the smaller part of it: what it leads to goes first, so that it can be found again if that fails.
    let behind = |path: &PathBuf| path.is_symlink().then(|| path.canonicalize().ok()).flatten();
    let files = named.into_iter().flat_map(|path| behind(path).into_iter().chain([path.clone()]));
    let mut undeleted: Vec<Undeleted> = Vec::new();
    for path in files {
        let Err(error) = fs::remove_file(&path) else { continue };
        if error.kind() != ErrorKind::NotFound {
            let command = format!("sudo rm {}", quoted(&path));
            undeleted.push(Undeleted { path, said: error.to_string(), command });
        }
    }
    undeleted
}
