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

/// Whether this is root on a machine that has a user for the service. The package makes it in this file; to ask the system's other
/// sources, too, would load their libraries into the daemon, for good.
pub(crate) fn is_root_beside_the_service() -> bool {
    geteuid().is_root() && fs::read("/etc/passwd").is_ok_and(|users| has_user(&users, SERVICE_USER))
}

/// Whether a file like passwd(5) has a user of this name.
fn has_user(users: &[u8], name: &str) -> bool {
    users.split(|byte| *byte == b'\n').any(|line| line.split(|byte| *byte == b':').next() == Some(name.as_bytes()))
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
    fn a_user_is_found_by_its_whole_name() {
        let users = b"root:x:0:0::/root:/bin/sh\nxgatewire:x:1:1::/:/\ngatewire2:x:2:2::/:/\n\xff:\n";
        assert!(has_user(users, "root") && !has_user(users, "gatewire") && !has_user(b"", "gatewire"));
        assert!(has_user(
            &[users, &b"gatewire:x:999:998::/var/lib/gatewire:/usr/sbin/nologin"[..]].concat(),
            "gatewire"
        ));
    }

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
