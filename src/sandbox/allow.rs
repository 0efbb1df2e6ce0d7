//! What to do about a path that the service can't use: where to put it instead, and the drop-in that allows it.

use std::fmt;
use std::path::{Path, PathBuf};

use super::rules::{Effect, Rule, Sandbox, Use};
use super::unit::quoted;
use crate::owner;

/// What keeps the service from using `path`.
pub(crate) fn obstacle(sandbox: &Sandbox, path: &Path, wanted: Use) -> Option<Obstacle> {
    let (rule, place) = sandbox.against(path, wanted)?;
    Some(Obstacle::new(sandbox, rule, path, &place, wanted))
}

/// Why the service can't use a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Obstacle {
    path: PathBuf,
    wanted: Use,
    directive: String,
    file: PathBuf,
    is_private: bool,
    is_hidden: bool,
    /// The lines of `[Service]` that let it.
    pub(super) lines: Vec<String>,
}

impl Obstacle {
    /// `rule` is in the way; `place` is what the service has to see or change for `path`.
    fn new(sandbox: &Sandbox, rule: &Rule, path: &Path, place: &Path, wanted: Use) -> Obstacle {
        Obstacle {
            path: path.to_owned(),
            wanted,
            directive: rule.directive.clone(),
            file: rule.file.clone(),
            is_private: rule.effect == Effect::Private && !(wanted.changes() && sandbox.is_read_only(&rule.path)),
            is_hidden: rule.effect == Effect::Hidden,
            lines: lines(sandbox, rule, place, wanted),
        }
    }

    /// Whether the daemon does its work all the same, and only others don't see it.
    pub(crate) fn is_only_unseen(&self) -> bool {
        self.is_private && self.wanted.changes()
    }
}

/// What lets the service use `place`, as far as a drop-in can.
fn lines(sandbox: &Sandbox, rule: &Rule, place: &Path, wanted: Use) -> Vec<String> {
    // What one directive hid another may keep from being changed or run.
    const AT_MOST: usize = 4;
    let (mut lines, mut next) = (allowing(sandbox, rule, place, wanted), None);
    for _ in 1..AT_MOST {
        let Some(with) = Sandbox::of(sandbox.unit().clone().and(&lines)) else { break };
        let Some(rule) = with.rule_against(place, wanted) else { break };
        // Nothing more that helps.
        if next.replace(rule.clone()).is_some_and(|last| last == *rule) {
            break;
        }
        lines.extend(allowing(&with, rule, place, wanted));
    }
    lines
}

/// What takes one rule out of the way.
fn allowing(sandbox: &Sandbox, rule: &Rule, place: &Path, wanted: Use) -> Vec<String> {
    let name = rule.directive.split_once('=').map_or(rule.directive.as_str(), |(name, _)| name);
    // A file that is replaced is another: its directory is let in, unless that is all of what is protected.
    let directory = if wanted.changes() { place } else { place.parent().unwrap_or(place) };
    let is_all = rule.path.starts_with(directory);
    let bind = if wanted.changes() { "BindPaths" } else { "BindReadOnlyPaths" };
    let bind = |path: &Path| format!("{bind}={}", quoted(path));
    let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
    match (name, rule.effect) {
        ("PrivateDevices", _) => {
            let device = format!("DeviceAllow={} rw", quoted(place));
            vec!["PrivateDevices=no".to_owned(), "DevicePolicy=closed".to_owned(), device]
        }
        ("ProtectHome", Effect::Hidden | Effect::Private) if !is_all => {
            vec!["ProtectHome=tmpfs".to_owned(), bind(directory)]
        }
        ("ProtectHome", _) if !wanted.changes() => lines(&["ProtectHome=read-only"]),
        ("ProtectHome", _) => lines(&["ProtectHome=no"]),
        ("PrivateTmp", Effect::Private) if is_all => lines(&["PrivateTmp=no"]),
        // It stands for others that can't be taken away one by one.
        ("DynamicUser", Effect::Private) if is_all => lines(&["DynamicUser=no", "User=gatewire"]),
        (_, Effect::Private) if !is_all => vec![bind(directory)],
        (_, Effect::ReadOnly) if directory != rule.path => vec![format!("ReadWritePaths={}", quoted(directory))],
        ("DynamicUser", _) => lines(&["DynamicUser=no", "User=gatewire"]),
        (_, Effect::NoExecution) => vec![format!("ExecPaths={}", quoted(place))],
        _ => without(sandbox, name, &rule.path),
    }
}

/// The list without a path: an empty line takes all away, and the others are listed again.
fn without(sandbox: &Sandbox, name: &str, path: &Path) -> Vec<String> {
    let others = sandbox
        .rules
        .iter()
        .filter(|rule| rule.path != path)
        .filter(|rule| rule.directive.split_once('=').is_some_and(|(its, _)| its == name));
    let mut lines = vec![format!("{name}=")];
    lines.extend(others.map(|rule| format!("{name}={}", quoted(&rule.path))));
    lines
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Obstacle { path, wanted, directive, file, .. } = self;
        let (shown, file) = (path.display(), file.display());
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match (wanted, self.is_private, self.is_hidden) {
            (Use::Socket, true, _) => write!(
                f,
                "no other program will find the socket {shown}: {directive} in {file} gives the service a directory of its own there"
            )?,
            (Use::Write, true, _) => write!(
                f,
                "what is stored in {shown} is lost whenever the service stops: {directive} in {file} gives it a directory of its own \
                 there, which is deleted then"
            )?,
            (_, true, _) => {
                write!(f, "the service can't see {shown}: {directive} in {file} gives it a directory of its own there")?
            }
            (_, _, true) => write!(f, "the service can't see {shown}: {directive} in {file} hides it")?,
            (Use::Execute, ..) => write!(f, "the service can't run {shown}: {directive} in {file} forbids it")?,
            _ => write!(f, "the service can't write {shown}: {directive} in {file} makes it read-only")?,
        }
        let elsewhere = match wanted {
            Use::Read if path.starts_with("/dev") => String::new(),
            Use::Read => {
                " Put it where the service can read it, such as /etc/gatewire/certs for credentials or /srv for data"
                    .to_owned()
            }
            Use::Execute => format!(" Put it into /usr/local/bin: /usr/local/bin/{name}"),
            Use::Write => format!(" Use /var/lib/gatewire/{name}"),
            Use::Socket => format!(" Use /run/gatewire/{name}"),
        };
        let or = if elsewhere.is_empty() { " Let" } else { ", and name it here; or let" };
        let words: Vec<String> = self.lines.iter().map(|line| format!(" {}", owner::quoted(Path::new(line)))).collect();
        write!(
            f,
            ".{elsewhere}{or} the service use it, with a drop-in: `sudo mkdir -p /etc/systemd/system/gatewire.service.d && printf \
             '%s\\n' '[Service]'{} | sudo tee -a /etc/systemd/system/gatewire.service.d/paths.conf && sudo systemctl daemon-reload`, \
             then `sudo systemctl restart gatewire`",
            words.concat()
        )
    }
}
