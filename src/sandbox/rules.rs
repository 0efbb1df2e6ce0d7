//! What the directives of a unit do with paths, and so what the service can do with each.

use std::fs;
use std::path::{Path, PathBuf};

use super::unit::{Setting, Unit, words};
use crate::filesystem::resolved;

/// What the daemon does with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Read,
    Execute,
    /// It makes files beside it, too.
    Write,
    /// It makes a socket, which others are to find.
    Socket,
}

impl Use {
    pub(super) fn changes(self) -> bool {
        matches!(self, Use::Write | Use::Socket)
    }
}

/// What a directive does with a path and all that lies below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nobody can see in, whatever else is said of what lies in it.
    Hidden,
    /// The service has a directory of its own there, which begins empty and goes when it stops.
    Private,
    ReadOnly,
    Writable,
    /// Mounted there from elsewhere, or from the machine into a private directory.
    Mounted {
        writable: bool,
    },
    NoExecution,
    Execution,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) path: PathBuf,
    pub(super) effect: Effect,
    /// As it is written, and in which file.
    pub(super) directive: String,
    pub(super) file: PathBuf,
}

/// The sandbox of the service.
#[derive(Debug, Clone)]
pub(crate) struct Sandbox {
    pub(super) rules: Vec<Rule>,
    /// Of the unit, for what is to be added to it.
    unit: Unit,
    /// The sockets that systemd makes for it.
    given: Vec<PathBuf>,
}

/// What a unit's own `/dev` has with PrivateDevices=yes.
const DEVICES: [&str; 18] = [
    "null",
    "zero",
    "full",
    "random",
    "urandom",
    "tty",
    "ptmx",
    "pts",
    "shm",
    "mqueue",
    "hugepages",
    "log",
    "fd",
    "stdin",
    "stdout",
    "stderr",
    "core",
    "console",
];

impl Sandbox {
    /// That of the service, if the service uses the configuration at `path`.
    pub(crate) fn of_service(path: &Path) -> Option<Sandbox> {
        Sandbox::below(Path::new("/"), path)
    }

    pub(super) fn below(root: &Path, configuration: &Path) -> Option<Sandbox> {
        let unit = Unit::find(root, "gatewire.service")?;
        let real = |path: &Path| fs::canonicalize(path).or_else(|_| std::path::absolute(path)).ok();
        let used = configuration_of(&unit)?;
        let mut sandbox = (real(&used) == real(configuration)).then(|| Sandbox::of(unit)).flatten()?;
        let sockets = Unit::find(root, "gatewire.socket");
        let listed = sockets.iter().flat_map(|unit| unit.all("ListenStream"));
        sandbox.given = listed.map(|setting| expanded(&setting.value).into()).collect();
        Some(sandbox)
    }

    /// `None` where the unit has another root directory: what is where can't be told then.
    pub(super) fn of(unit: Unit) -> Option<Sandbox> {
        if ["RootDirectory", "RootImage"].iter().any(|name| unit.last(name).is_some()) {
            return None;
        }
        let mut sandbox = Sandbox { rules: Vec::new(), unit: unit.clone(), given: Vec::new() };
        sandbox.protect(&unit);
        sandbox.list(&unit);
        Some(sandbox)
    }

    fn add(&mut self, setting: &Setting, effect: Effect, paths: &[&str]) {
        let directive = format!("{}={}", setting.name, setting.value);
        self.rules.extend(paths.iter().map(|path| Rule {
            path: path.into(),
            effect,
            directive: directive.clone(),
            file: setting.file.clone(),
        }));
    }

    /// The directives that stand for several paths.
    fn protect(&mut self, unit: &Unit) {
        let is = |setting: &&Setting| is_yes(&setting.value);
        let dynamic = unit.last("DynamicUser").filter(is);
        let or_dynamic = |name| unit.last(name).filter(|setting| !is_no(&setting.value)).or(dynamic);
        if let Some(system) = or_dynamic("ProtectSystem") {
            match system.value.as_str() {
                "full" => self.add(system, Effect::ReadOnly, &["/usr", "/boot", "/efi", "/etc"]),
                "strict" => self.strict(unit, system),
                _ if system.name == "DynamicUser" => self.strict(unit, system),
                _ => self.add(system, Effect::ReadOnly, &["/usr", "/boot", "/efi"]),
            }
        }
        if let Some(home) = or_dynamic("ProtectHome") {
            let homes = ["/home", "/root", "/run/user"];
            match home.value.as_str() {
                "tmpfs" => {
                    self.add(home, Effect::Private, &homes);
                    self.add(home, Effect::ReadOnly, &homes);
                }
                "read-only" => self.add(home, Effect::ReadOnly, &homes),
                _ if home.name == "DynamicUser" => self.add(home, Effect::ReadOnly, &homes),
                _ => self.add(home, Effect::Hidden, &homes),
            }
        }
        if let Some(private) = or_dynamic("PrivateTmp") {
            self.add(private, Effect::Private, &["/tmp", "/var/tmp"]);
        }
        if let Some(private) = unit.last("PrivateDevices").filter(is) {
            self.add(private, Effect::Private, &["/dev"]);
            self.add(private, Effect::ReadOnly, &["/dev"]);
            let there: Vec<String> = DEVICES.iter().map(|name| format!("/dev/{name}")).collect();
            let there: Vec<&str> = there.iter().map(String::as_str).collect();
            self.add(private, Effect::Mounted { writable: true }, &there);
        }
    }

    fn strict(&mut self, unit: &Unit, system: &Setting) {
        self.add(system, Effect::ReadOnly, &["/"]);
        self.add(system, Effect::Writable, &["/dev", "/proc", "/sys"]);
        let own = [
            ("StateDirectory", "/var/lib"),
            ("RuntimeDirectory", "/run"),
            ("CacheDirectory", "/var/cache"),
            ("LogsDirectory", "/var/log"),
        ];
        for (name, above) in own {
            for setting in unit.all(name) {
                let directories: Vec<String> = words(&setting.value)
                    .iter()
                    .map(|word| format!("{above}/{}", word.split(':').next().unwrap_or_default()))
                    .collect();
                let directories: Vec<&str> = directories.iter().map(String::as_str).collect();
                self.add(setting, Effect::Writable, &directories);
            }
        }
    }

    /// The directives that list paths.
    fn list(&mut self, unit: &Unit) {
        let lists = [
            ("ReadWritePaths", Effect::Writable),
            ("ReadWriteDirectories", Effect::Writable),
            ("ReadOnlyPaths", Effect::ReadOnly),
            ("ReadOnlyDirectories", Effect::ReadOnly),
            ("InaccessiblePaths", Effect::Hidden),
            ("InaccessibleDirectories", Effect::Hidden),
            ("TemporaryFileSystem", Effect::Private),
            ("BindPaths", Effect::Mounted { writable: true }),
            ("BindReadOnlyPaths", Effect::Mounted { writable: false }),
            ("NoExecPaths", Effect::NoExecution),
            ("ExecPaths", Effect::Execution),
        ];
        for (name, effect) in lists {
            for setting in unit.all(name) {
                for word in words(&setting.value) {
                    let plain = word.trim_start_matches(['-', '+']);
                    let mut parts = plain.split(':');
                    let source = parts.next().unwrap_or_default();
                    let place = match effect {
                        Effect::Mounted { .. } => parts.next().filter(|place| !place.is_empty()).unwrap_or(source),
                        _ => source,
                    };
                    self.add(setting, effect, &[&expanded(place)]);
                }
            }
        }
    }

    /// What is in the way of using `path`: the rule, and what of the path it is about.
    pub(super) fn against(&self, path: &Path, wanted: Use) -> Option<(&Rule, PathBuf)> {
        let names = [resolved(path), path.to_owned()];
        // What is written lies in a directory that the service must be able to change.
        let places = names.iter().map(|name| match wanted.changes() {
            true => name.parent().unwrap_or(name).to_owned(),
            false => name.clone(),
        });
        places.into_iter().find_map(|place| Some((self.rule_against(&place, wanted)?, place)))
    }

    /// Whose settings it is made of.
    pub(super) fn unit(&self) -> &Unit {
        &self.unit
    }

    pub(super) fn rule_against(&self, place: &Path, wanted: Use) -> Option<&Rule> {
        let deepest = |is_meant: fn(Effect) -> bool| {
            let covering = self.rules.iter().filter(|rule| is_meant(rule.effect) && place.starts_with(&rule.path));
            // Of two for one path the later.
            covering.max_by_key(|rule| rule.path.components().count())
        };
        if let Some(hidden) = deepest(|effect| effect == Effect::Hidden) {
            return Some(hidden);
        }
        let seen = deepest(|effect| matches!(effect, Effect::Private | Effect::Mounted { .. }));
        if let Some(private) = seen.filter(|rule| rule.effect == Effect::Private) {
            return Some(private);
        }
        let change = deepest(|effect| matches!(effect, Effect::ReadOnly | Effect::Writable | Effect::Mounted { .. }));
        let is_kept = |rule: &&Rule| matches!(rule.effect, Effect::ReadOnly | Effect::Mounted { writable: false });
        if let Some(kept) = change.filter(is_kept).filter(|_| wanted.changes()) {
            return Some(kept);
        }
        let run = deepest(|effect| matches!(effect, Effect::NoExecution | Effect::Execution));
        run.filter(|rule| rule.effect == Effect::NoExecution && wanted == Use::Execute)
    }

    /// Whether a private directory is one that nothing can be put into.
    pub(super) fn is_read_only(&self, path: &Path) -> bool {
        self.rules.iter().any(|rule| rule.path == path && rule.effect == Effect::ReadOnly)
    }

    /// Whether systemd makes this socket and hands it over (gatewire.socket).
    pub(crate) fn is_given(&self, socket: &Path) -> bool {
        self.given.iter().any(|given| given == socket)
    }

    /// Whether programs of the service get no rights from the set-user-ID bit, as sudo needs.
    pub(crate) fn grants_no_privileges(&self) -> bool {
        self.unit.last("NoNewPrivileges").is_some_and(|setting| is_yes(&setting.value))
    }
}

/// Which configuration the service reads; `None` if it isn't `gatewire run` in the sandbox.
fn configuration_of(unit: &Unit) -> Option<PathBuf> {
    let commands = unit.all("ExecStart");
    let command = &commands.last()?.value;
    let prefix = command.chars().take_while(|c| "@-:+!|".contains(*c)).collect::<String>();
    let line = words(&command[prefix.len()..]);
    if prefix.contains('+') || !line.iter().any(|word| word == "run") {
        return None;
    }
    let named = line.iter().enumerate().find_map(|(at, word)| match word.strip_prefix("--config") {
        Some("") => line.get(at + 1).cloned(),
        Some(rest) => rest.strip_prefix('=').map(str::to_owned),
        None => None,
    });
    Some(Path::new("/").join(named.unwrap_or_else(|| "/etc/gatewire/gatewire.toml".to_owned())))
}

fn is_yes(value: &str) -> bool {
    ["yes", "true", "on", "1", "y", "t", "disconnected"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

fn is_no(value: &str) -> bool {
    ["no", "false", "off", "0", "n", "f"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// With the specifiers of `systemd.unit(5)` that stand for directories.
fn expanded(path: &str) -> String {
    let with =
        [("%t", "/run"), ("%S", "/var/lib"), ("%C", "/var/cache"), ("%L", "/var/log"), ("%h", "/root"), ("%E", "/etc")];
    let path = with.iter().fold(path.to_owned(), |path, (specifier, value)| path.replace(specifier, value));
    path.replace("%%", "%")
}
