//! Whose files are: this process's user, the service's, and the words for commands that change it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::{Gid, Uid, User, getegid, geteuid};

/// The user that the package makes and the unit names.
const SERVICE_USER: &str = "gatewire";

/// The name of a user, or its number where it has none.
pub(crate) fn name_of(uid: u32) -> String {
    User::from_uid(uid.into()).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// Who this process is.
pub(crate) fn own_name() -> String {
    name_of(geteuid().as_raw())
}

/// Who this process is, as `chown` takes it: with the group of the user.
pub(crate) fn own_words() -> String {
    match User::from_uid(geteuid()) {
        Ok(Some(user)) => format!("{}:", user.name),
        _ => format!("{}:{}", geteuid(), getegid()),
    }
}

/// Who runs the daemon, likewise: the service's user where there is one, else who asks.
pub(crate) fn words_of_daemon() -> String {
    match User::from_name(SERVICE_USER) {
        Ok(Some(_)) => format!("{SERVICE_USER}:"),
        _ => own_words(),
    }
}

/// The user that the service runs as, where there is one.
pub(crate) fn service_user() -> Option<User> {
    User::from_name(SERVICE_USER).ok().flatten()
}

/// Whether this is root on a machine that has a user for the service.
pub(crate) fn is_root_beside_the_service() -> bool {
    geteuid().is_root() && service_user().is_some()
}

/// To whom root gives what it makes in another's directory: else one start as root would leave files that the service can't use.
pub(crate) fn heir(directory: &Path) -> io::Result<Option<(Uid, Gid)>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let found = fs::metadata(directory)?;
    Ok((found.uid() != 0).then(|| (found.uid().into(), found.gid().into())))
}

/// A path as a word for the shell.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%=:,".contains(c);
    if text.chars().all(is_plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_the_shell() {
        for path in ["/var/lib/gatewire/gatewire.db", "/a b/it's $HOME;`x`", "/tmp/\"q\"*"] {
            let output = std::process::Command::new("sh")
                .args(["-c", &format!("printf '<%s>' {}", quoted(Path::new(path)))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("<{path}>"));
        }
    }
}
