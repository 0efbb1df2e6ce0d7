//! As whom the state directory is changed: root's part is dropped for that of the directory's owner, so that nothing that he has put
//! there, and no module of a token, has root do anything for him.

use std::ffi::CString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::libc;
use nix::unistd::{Gid, Uid, User, fchown, geteuid, initgroups, setgroups, setresgid, setresuid};

use super::Exit;
use super::output::{Failure, tell};
use crate::owner;

/// Goes on as the owner of the state directory, if this is root and he is another. Where there is none yet, root makes it for the
/// service's user. To be called while this process has one thread.
pub(super) fn become_owner(state: &Path) -> Result<(), Failure> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let failed = |what: &str, error: io::Error| {
        let line = format!("{what} {}: {error}", state.display());
        Failure::new(line, Exit::No).and("run this as gatewire's user: `sudo -u gatewire gatewire provision`")
    };
    let (uid, gid) = match fs::metadata(state) {
        Ok(found) => (found.uid(), found.gid()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let Some(user) = owner::service_user() else { return Ok(()) };
            make_for(state, user.uid, user.gid).map_err(|error| failed("creating", error))?;
            (user.uid.as_raw(), user.gid.as_raw())
        }
        Err(error) => return Err(failed("looking for", error)),
    };
    if uid == 0 {
        return Ok(());
    }
    go_on_as(uid, gid).map_err(|error| failed("going on as the owner of", error))?;
    tell(&format!("done as the user {}, whom {} belongs to:", owner::own_name(), state.display()));
    Ok(())
}

/// Makes the state directory for this user, where only root can have anything else there.
fn make_for(state: &Path, uid: Uid, gid: Gid) -> io::Result<()> {
    let is_roots =
        |around: &Path| fs::metadata(around).is_ok_and(|found| found.uid() == 0 && found.mode() & 0o022 == 0);
    if state.is_symlink() || !state.parent().is_some_and(is_roots) {
        return Ok(());
    }
    DirBuilder::new().mode(0o700).create(state)?;
    let made = File::options().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(state)?;
    Ok(fchown(&made, Some(uid), Some(gid))?)
}

/// With the groups of the user; `gid` is for one that no list of users knows.
fn go_on_as(uid: u32, gid: u32) -> io::Result<()> {
    let uid = Uid::from_raw(uid);
    let gid = match User::from_uid(uid)? {
        Some(user) => {
            initgroups(&CString::new(user.name)?, user.gid)?;
            user.gid
        }
        None => {
            // Root's group isn't dropped by taking it again.
            let gid = Gid::from_raw(if gid == 0 { uid.as_raw() } else { gid });
            setgroups(&[gid])?;
            gid
        }
    };
    setresgid(gid, gid, gid)?;
    Ok(setresuid(uid, uid, uid)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_directory_is_made_for_its_user_where_root_alone_decides_what_is_there() {
        if !geteuid().is_root() {
            return;
        }
        let (uid, gid) = (Uid::from_raw(12345), Gid::from_raw(12346));
        let around = tempfile::tempdir().unwrap();
        let state = around.path().join("state");
        make_for(&state, uid, gid).unwrap();
        let made = fs::symlink_metadata(&state).unwrap();
        assert_eq!((made.uid(), made.gid(), made.mode() & 0o7777), (12345, 12346, 0o700));
        make_for(&state.join("of another's"), uid, gid).unwrap();
        std::os::unix::fs::symlink(around.path().join("nowhere"), around.path().join("link")).unwrap();
        make_for(&around.path().join("link"), uid, gid).unwrap();
        assert_eq!(fs::read_dir(&state).unwrap().count() + usize::from(around.path().join("nowhere").exists()), 0);
    }
}
