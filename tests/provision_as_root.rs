//! `sudo gatewire provision`: root does nothing for whoever the state directory belongs to.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use support::CERTIFICATES;
use support::cloud::fleet::Fleet;

/// Nobody's, and in no list of users.
const USER: u32 = 54321;

#[test]
fn root_goes_on_as_the_owner_of_the_state_directory_before_anything_in_it_is_touched() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let fleet = Fleet::start();
    let setup = fleet.setup("7", "");
    let directory = setup.directory.path();
    let state = directory.join("state");
    let (certificate, key) = fleet.claim_files();
    [&certificate, &key, &state].iter().for_each(|path| chown(path, Some(USER), Some(USER)).unwrap());
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let authority = CERTIFICATES.path("AmazonRootCA1.pem");
    let reachable = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    [directory, certificate.parent().unwrap(), authority.parent().unwrap()].into_iter().for_each(reachable);

    // What he has put there would be his.
    fs::write(directory.join("shadow"), "root's").unwrap();
    fs::set_permissions(directory.join("shadow"), Permissions::from_mode(0o600)).unwrap();
    fs::hard_link(directory.join("shadow"), state.join("identity.lock")).unwrap();
    let (code, _, said) = setup.output("provision");
    assert!(code == 1 && said.contains("Permission denied"), "{code} {said}");
    assert_eq!(fs::metadata(directory.join("shadow")).unwrap().uid(), 0);
    fs::remove_file(state.join("identity.lock")).unwrap();

    let (code, out, said) = setup.output("provision");
    assert_eq!(code, 0, "{out}{said}");
    let begins = format!("done as the user {USER}, whom {} belongs to:\n", state.display());
    assert!(said.starts_with(&begins), "{said}");
    for name in ["identity.lock", "identity", "identity/private.pem.key", "identity/thing.json"] {
        let found = fs::symlink_metadata(state.join(name)).unwrap();
        assert_eq!((found.uid(), found.gid()), (USER, USER), "{name}");
    }
}
