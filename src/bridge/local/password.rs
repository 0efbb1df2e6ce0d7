//! `bridge.password_file`, read at each attempt to connect. Nothing here has room for what it holds but [`Secret`].

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group};

use crate::config::BrokerLogin;
use crate::exposure::command_to_hide;
use crate::mqtt::Login;
use crate::owner::{name_of, own_name};
use crate::regular::{self, Other, Unread};
use crate::secret::Secret;

/// MQTT's bound, in bytes: its length has two bytes.
const MAX_PASSWORD: u64 = 65_535;

/// Why there is no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PasswordFault {
    path: PathBuf,
    fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    Missing,
    Denied {
        /// The directory on the way that may not be entered, if it is that.
        directory: Option<PathBuf>,
        user: String,
        owner: String,
        mode: u32,
    },
    Other(Other),
    TooLarge,
    Empty,
    NotText,
    SeveralLines,
    Io(ErrorKind),
}

/// The login of a configuration.
pub(super) fn login(login: &BrokerLogin) -> Result<Login, PasswordFault> {
    let read = |path: &PathBuf| read(path).map_err(|fault| PasswordFault { path: path.clone(), fault });
    let password = login.password_file.as_ref().map(read).transpose()?;
    Ok(Login { username: login.username.clone(), password })
}

fn read(path: &Path) -> Result<Secret<String>, Fault> {
    // With a newline at its end.
    let bytes = regular::read(path, MAX_PASSWORD + 2).map_err(|unread| match unread {
        Unread::Other(other) => Fault::Other(other),
        Unread::TooLarge => Fault::TooLarge,
        Unread::Io(error) => match error.kind() {
            ErrorKind::NotFound => Fault::Missing,
            ErrorKind::PermissionDenied => denied(path),
            kind => Fault::Io(kind),
        },
    })?;
    let mut password = String::from_utf8(bytes).map_err(|_| Fault::NotText)?;
    if password.ends_with('\n') {
        password.pop();
        if password.ends_with('\r') {
            password.pop();
        }
    }
    match () {
        () if password.is_empty() => Err(Fault::Empty),
        () if password.contains('\n') => Err(Fault::SeveralLines),
        () if password.contains('\0') => Err(Fault::NotText),
        () if password.len() as u64 > MAX_PASSWORD => Err(Fault::TooLarge),
        () => Ok(Secret::new(password)),
    }
}

/// Whose the file is, or the directory on the way to it that may not be entered.
fn denied(path: &Path) -> Fault {
    let seen = path.ancestors().find_map(|part| Some((part, fs::metadata(part).ok()?)));
    let Some((part, metadata)) = seen else { return Fault::Io(ErrorKind::PermissionDenied) };
    Fault::Denied {
        directory: (part != path).then(|| part.to_owned()),
        user: own_name(),
        owner: format!("{}:{}", name_of(metadata.uid()), group_of(metadata.gid())),
        mode: metadata.mode() & 0o7777,
    }
}

/// The name of a group, or its number where it has none.
pub(super) fn group_of(gid: u32) -> String {
    Group::from_gid(Gid::from_raw(gid)).ok().flatten().map_or_else(|| gid.to_string(), |group| group.name)
}

impl fmt::Display for PasswordFault {
    /// What is wrong, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "password_file {}: ", self.path.display())?;
        match &self.fault {
            Fault::Missing => f.write_str("there is no such file"),
            Fault::Denied { directory: Some(directory), user, owner, mode } => write!(
                f,
                "the user {user} may not enter the directory {} (it is {owner}, mode {mode:04o})",
                directory.display()
            ),
            Fault::Denied { directory: None, user, owner, mode } => {
                write!(f, "the user {user} may not read it (it is {owner}, mode {mode:04o})")
            }
            Fault::Other(other) => write!(f, "it is {other}, not a file"),
            Fault::TooLarge => write!(f, "it is larger than the {MAX_PASSWORD} bytes that an MQTT password may have"),
            Fault::Empty => f.write_str("it is empty"),
            Fault::NotText => f.write_str("it isn't text in UTF-8"),
            Fault::SeveralLines => f.write_str("it has more than one line"),
            Fault::Io(kind) => write!(f, "reading it failed: {kind}"),
        }
    }
}

impl PasswordFault {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn advice(&self) -> String {
        match &self.fault {
            Fault::Denied { directory: None, .. } => {
                format!("Let gatewire alone read it: `{}`.", command_to_hide(&self.path))
            }
            Fault::Denied { directory: Some(_), .. } => {
                "Put the file where gatewire may read it, such as /etc/gatewire, and name it in password_file.".to_owned()
            }
            Fault::Io(_) => "Check the disk (`dmesg`).".to_owned(),
            _ => "It must hold the password of the broker's user `username`, alone and in one line; a newline at its end isn't part of it."
                .to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newline_at_the_end_is_no_part_of_the_password_and_nothing_of_it_is_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        for (text, expected) in
            [("hunter2", "hunter2"), ("hunter2\n", "hunter2"), ("hunter2\r\n", "hunter2"), (" a b \n", " a b ")]
        {
            fs::write(&path, text).unwrap();
            let login = login(&BrokerLogin { username: "u".to_owned(), password_file: Some(path.clone()) }).unwrap();
            assert_eq!(login.password.as_ref().unwrap().expose(), expected);
            assert!(!format!("{login:?}").contains("hunter2"));
        }
        for (bytes, words) in [
            (&b"hunter2\nhunter3\n"[..], "more than one line"),
            (b"hunter2\xff", "isn't text"),
            (b"hunter2\0", "isn't text"),
            (b"\n", "is empty"),
            (&[b'x'; 65_536], "larger than"),
        ] {
            fs::write(&path, bytes).unwrap();
            let fault = read(&path).map_err(|fault| PasswordFault { path: path.clone(), fault }).unwrap_err();
            let said = format!("{fault} {fault:?} {}", fault.advice());
            assert!(said.contains(words) && said.contains("/password") && !said.contains("hunter"), "{said}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(read(&path), Err(Fault::Missing));
        assert!(matches!(read(directory.path()), Err(Fault::Other(Other::Directory))));
    }
}
