//! Who else can read or change the files that decide what gatewire is and does.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::owner;

/// Who is kept from nothing by a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Every user of this machine.
    All,
    /// The members of the file's group.
    Group,
}

impl Who {
    /// Whom these permission bits let do something, as far as it is neither the owner nor root.
    fn of(mode: u32, bit: u32) -> Option<Who> {
        match () {
            () if mode & bit != 0 => Some(Who::All),
            () if mode & (bit << 3) != 0 => Some(Who::Group),
            () => None,
        }
    }
}

/// Who but the owner can read a file with this mode.
pub(crate) fn readers(mode: u32) -> Option<Who> {
    Who::of(mode, 0o4)
}

/// Whether systemd has put the file where the service alone can read it: there the bits of the group aren't about a group.
pub(crate) fn is_credential(path: &Path) -> bool {
    let directory = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    path.starts_with("/run/credentials") || directory.is_some_and(|directory| path.starts_with(directory))
}

/// The command after which a secret file can be read by the daemon alone.
pub(crate) fn command_to_hide(path: &Path) -> String {
    let file = owner::quoted(path);
    let is_own = fs::metadata(path).is_ok_and(|found| found.uid() == geteuid().as_raw());
    if is_own && !owner::is_root_beside_the_service() {
        return format!("chmod 0600 {file}");
    }
    format!("sudo chown {} {file} && sudo chmod 0600 {file}", owner::words_of_daemon())
}

/// What others can change of these files: a file itself, or a directory on the way to it, in which they can replace it. A line
/// each, and each once.
pub(crate) fn changeable<'a>(files: impl IntoIterator<Item = &'a Path>) -> Vec<String> {
    let mut found = BTreeMap::new();
    for file in files {
        // What isn't there can't be changed, and is told elsewhere.
        let Ok(real) = fs::canonicalize(file) else { continue };
        for part in real.ancestors() {
            if let Some((who, mode)) = fs::metadata(part).ok().and_then(|metadata| changers(&metadata)) {
                let file = if part == real { part } else { file };
                found.entry(part.to_owned()).or_insert((who, mode, file.to_owned()));
            }
        }
    }
    found.into_iter().map(|(part, (who, mode, file))| line(&part, who, mode, &file)).collect()
}

fn changers(metadata: &Metadata) -> Option<(Who, u32)> {
    // A device such as /dev/null is open to all by design, and must stay so.
    if !(metadata.is_file() || metadata.is_dir()) {
        return None;
    }
    let mode = metadata.mode() & 0o7777;
    // In such a directory everybody can only replace what is their own.
    let is_sticky = metadata.is_dir() && mode & 0o1000 != 0;
    let who = Who::of(mode, 0o2).filter(|_| !is_sticky)?;
    // The members of root's group are as good as root.
    (who == Who::All || metadata.gid() != 0).then_some((who, mode))
}

fn line(part: &Path, who: Who, mode: u32, file: &Path) -> String {
    let shown = part.display();
    let who = match who {
        Who::All => "every user of this machine",
        Who::Group => "its group",
    };
    let what = match part.is_dir() {
        true if part == file => {
            format!("the directory {shown} can be changed by {who} (mode {mode:04o}), and so can what is in it")
        }
        true => format!(
            "the directory {shown} can be changed by {who} (mode {mode:04o}), so {} can be replaced",
            file.display()
        ),
        false => format!("{shown} can be changed by {who} (mode {mode:04o})"),
    };
    format!("{what}; `chmod go-w {}` prevents that", owner::quoted(part))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    #[test]
    fn what_others_can_change_is_named_once_and_the_file_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let place = fs::canonicalize(directory.path()).unwrap().join("etc");
        fs::create_dir(&place).unwrap();
        let (one, two) = (place.join("one"), place.join("two"));
        let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        for file in [&one, &two] {
            fs::write(file, "").unwrap();
            set(file, 0o644);
        }
        let said = || changeable([one.as_path(), two.as_path(), &place.join("none")]);
        assert_eq!(said(), [""; 0]);
        set(&one, 0o646);
        assert_eq!(said().len(), 1);
        assert!(said()[0].starts_with(&format!("{} can be changed by every user", one.display())), "{:?}", said());
        set(&one, 0o644);
        set(&place, 0o777);
        assert_eq!(said().len(), 1);
        assert!(said()[0].contains("can be replaced"), "{:?}", said());
        assert!(changeable([place.as_path()])[0].contains("and so can what is in it"));
        set(&place, 0o1777);
        assert_eq!(said(), [""; 0]);
        assert_eq!(changeable([Path::new("/dev/null")]), [""; 0], "nobody is told to change a device");
        if geteuid().is_root() {
            set(&place, 0o775);
            assert_eq!(said(), [""; 0], "root's own group");
            chown(&place, None, Some(12_345)).unwrap();
            assert!(said()[0].contains("by its group (mode 0775)"), "{:?}", said());
        }
    }
}
