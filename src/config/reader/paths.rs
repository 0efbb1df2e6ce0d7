//! Paths, and the sockets that lie at some of them.

use std::path::{Path, PathBuf};

use super::Reader;
use super::claims::Use;
use crate::config::document::{Node, Value};
use crate::config::doubt;
use crate::config::redact::holds_a_key;
use crate::config::section::Section;
use crate::config::values::{mode, string};
use crate::config::{Environment, SocketFile};
use crate::pkcs11::is_uri;

/// `sun_path` of a Unix socket address, less its final NUL (`unix(7)`).
pub(in crate::config) const MAX_SOCKET_PATH: usize = 107;

/// `NAME_MAX` and `PATH_MAX` less its final NUL (`limits.h`).
const MAX_NAME: usize = 255;
const MAX_PATH: usize = 4095;

impl<'a> Reader<'a> {
    /// `socket`, `mode` and `group` of a section. No other file may have its path.
    pub(in crate::config) fn socket(&self, section: &Section<'a>, default: Option<&str>) -> Option<SocketFile> {
        let path = |node: &Node| self.socket_path(node);
        let found = match default {
            None => section.require("socket", "\"/run/gatewire/messages.sock\"", path),
            Some(default) => Some(section.get_or("socket", PathBuf::from(default), path)),
        };
        let mode = section.get_or("mode", 0o660, mode);
        // The status holds no messages.
        if let Some(doubt) = doubt::mode(mode, default.is_some()) {
            section.warning("mode", &doubt);
        }
        let group = section.get("group", |node| self.group(node));
        let path = found?;
        self.note(section, "socket", &path);
        self.claim(section, "socket", &path, Use::Socket);
        Some(SocketFile { path, mode, group })
    }

    /// The path of a socket, whoever makes it.
    pub(super) fn socket_path(&self, node: &Node) -> Result<PathBuf, String> {
        self.short_enough(path(node, self.environment)?)
    }

    /// Whether a socket may have this path.
    pub(super) fn short_enough(&self, path: PathBuf) -> Result<PathBuf, String> {
        match path.as_os_str().len() {
            len if len > MAX_SOCKET_PATH => {
                Err(format!("is {len} bytes long, a socket's path may have at most {MAX_SOCKET_PATH}"))
            }
            _ => Ok(path),
        }
    }

    pub(super) fn group(&self, node: &Node) -> Result<String, String> {
        if let Value::Integer(number) = node.value {
            return Err(format!(
                "must be the name of a group in quotes, and not its number (`getent group {number}` shows the name)"
            ));
        }
        match string(node)? {
            "" => Err("must not be empty; leave it out for the process's own group".to_owned()),
            group if !(self.environment.group_exists)(group) => Err(format!(
                "there is no group \"{group}\" on this machine (`getent group` lists them); leave it out for the \
                 process's own group"
            )),
            group => Ok(group.to_owned()),
        }
    }
}

/// An absolute path of a file, or one in a directory that systemd names.
pub(in crate::config) fn path(node: &Node, environment: &Environment) -> Result<PathBuf, String> {
    path_of(string(node)?, environment)
}

/// Likewise, of a text.
pub(in crate::config) fn path_of(text: &str, environment: &Environment) -> Result<PathBuf, String> {
    if holds_a_key(text) {
        return Err(
            "must be the name of a file, but looks like a key or certificate itself. Write that into a file for \
            gatewire alone, and name the file here"
                .to_owned(),
        );
    }
    if is_uri(text) {
        return Err("must be the path of a file: only `tls.key_file` may be the URI of a key in a token".to_owned());
    }
    if let Some((at, c)) = text.chars().enumerate().find(|(_, c)| c.is_control()) {
        return Err(format!(
            "has a control character (U+{:04X}) as character {}; write the path without it{}",
            u32::from(c),
            at + 1,
            doubt::escaped(text)
        ));
    }
    let path = match text.strip_prefix('$') {
        Some(rest) => in_directory(rest, environment)?,
        None => PathBuf::from(text),
    };
    if text.trim() != text {
        return Err(format!("has a blank at one end; write \"{}\"", text.trim()));
    }
    if text.starts_with('~') {
        return Err(format!("\"{text}\": `~` isn't expanded; write the full path, from `/` on"));
    }
    if !path.is_absolute() {
        return Err(format!("\"{text}\" must be an absolute path, one that begins with `/`"));
    }
    if let Some(part) = path.iter().map(|part| part.len()).find(|len| *len > MAX_NAME) {
        return Err(format!("has a name of {part} bytes in it, a file system takes at most {MAX_NAME}"));
    }
    if path.as_os_str().len() > MAX_PATH {
        return Err(format!("is {} bytes long, a path may have at most {MAX_PATH}", path.as_os_str().len()));
    }
    if text.ends_with('/') || path.file_name().is_none() {
        return Err(format!("\"{text}\" must name a file, not a directory"));
    }
    Ok(path)
}

/// `rest` is what follows `$`.
fn in_directory(rest: &str, environment: &Environment) -> Result<PathBuf, String> {
    let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let (value, directive) = match name {
        "CREDENTIALS_DIRECTORY" => (&environment.credentials_directory, "LoadCredential="),
        "RUNTIME_DIRECTORY" => (&environment.runtime_directory, "RuntimeDirectory="),
        "STATE_DIRECTORY" => (&environment.state_directory, "StateDirectory="),
        _ => {
            return Err(format!(
                "${name} isn't expanded in a path; only $CREDENTIALS_DIRECTORY, $RUNTIME_DIRECTORY and $STATE_DIRECTORY are"
            ));
        }
    };
    // systemd lists several directories with colons: ours is the first.
    let directory = value.as_deref().and_then(|value| value.split(':').next()).unwrap_or_default();
    // To join with what begins with `/` would leave the directory.
    let file = rest.trim_start_matches('/');
    match Path::new(directory) {
        _ if directory.is_empty() => Err(format!("${name} isn't set: systemd sets it for a unit with `{directive}`")),
        _ if file.is_empty() => Err(format!("must name a file in it, such as \"${name}/NAME\"")),
        path if !path.is_absolute() => Err(format!("${name} is \"{directory}\", which isn't an absolute path")),
        path => Ok(path.join(file)),
    }
}
