//! What each path of the configuration is for: no socket and no database may take the place of another file.

use std::path::{Path, PathBuf};

use super::Reader;
use crate::config::places::Place;
use crate::config::section::Section;
use crate::filesystem::resolved;
use crate::identity;

/// What a path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Use {
    /// The configuration itself.
    Configuration,
    /// It is read.
    File,
    /// It is read and published.
    Published,
    /// It is of the identity that gatewire makes.
    OfIdentity,
    Database,
    /// gatewire makes it.
    Socket,
    /// A local broker makes it.
    Broker,
}

/// A path, and the key that names it.
pub(in crate::config) struct Claim {
    /// Without links, as far as it is there.
    path: PathBuf,
    what: Use,
    /// As it is written: `forward.socket`.
    key: String,
    place: Place,
}

impl Claim {
    /// A file of the configuration.
    pub(in crate::config) fn of_configuration(file: &Path) -> Claim {
        let place = Place { order: 0, file: file.into(), line: 0 };
        Claim { path: resolved(file), what: Use::Configuration, key: String::new(), place }
    }

    fn described(&self) -> String {
        match self.what {
            Use::Configuration => "a file of the configuration".to_owned(),
            Use::Database => format!("a file of the database, `{}` at {}", self.key, self.place),
            Use::File | Use::Published | Use::OfIdentity => format!("the file of `{}` at {}", self.key, self.place),
            Use::Socket => format!("gatewire's own socket, `{}` at {}", self.key, self.place),
            Use::Broker => format!("the broker's socket, `{}` at {}", self.key, self.place),
        }
    }
}

impl Use {
    /// Whether one path may be for both. There is one database, of several files.
    fn goes_with(self, other: Use) -> bool {
        let is_read = |what| !matches!(what, Use::Database | Use::Socket | Use::Broker);
        is_read(self) && is_read(other) || self == other && matches!(self, Use::Broker | Use::Database)
    }

    /// What to do where it is in the way of the identity.
    fn elsewhere(self) -> &'static str {
        match self {
            Use::File => "move the file to another directory, such as /etc/gatewire, and name it there",
            other => other.remedy(),
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Use::Socket => "a socket needs a path of its own, such as \"/run/gatewire/NAME.sock\"",
            Use::Database => "the database needs a path of its own, such as \"/var/lib/gatewire/gatewire.db\"",
            Use::Broker => {
                "write the path of the broker's socket, the `listener 0 PATH` in the configuration of mosquitto"
            }
            Use::File | Use::Published | Use::OfIdentity | Use::Configuration => "write the path of the right file",
        }
    }
}

impl<'a> Reader<'a> {
    /// Takes note of what `path` is for. Returns whether it isn't for something else, which is reported.
    pub(in crate::config) fn claim(&self, section: &Section<'a>, key: &str, path: &Path, what: Use) -> bool {
        let claim = Claim { path: resolved(path), what, key: section.full(key), place: section.place(key) };
        if let Some(own) = self.own_place(&claim) {
            let text = format!(
                "{} is in {}, where gatewire keeps the identity that it makes, and replaces and removes what is there; {}",
                path.display(),
                own.display(),
                what.elsewhere()
            );
            section.error(key, &text);
            return false;
        }
        let mut claims = self.claims.borrow_mut();
        let other = claims.iter().find(|other| other.path == claim.path && !other.what.goes_with(what));
        if let Some(other) = other {
            section.error(key, &format!("{} is {}; {}", path.display(), other.described(), what.remedy()));
            return false;
        }
        claims.push(claim);
        true
    }

    /// What a file is for beside its own keys: as the first of the others describes it.
    pub(super) fn also_for(&self, file: &Path, own: &[String]) -> Option<String> {
        let path = resolved(file);
        let claims = self.claims.borrow();
        claims.iter().find(|claim| claim.path == path && !own.contains(&claim.key)).map(Claim::described)
    }

    /// Where gatewire keeps what it makes itself, if the path is there and for anything else.
    fn own_place(&self, claim: &Claim) -> Option<PathBuf> {
        self.root.get("provisioning")?;
        if matches!(claim.what, Use::OfIdentity | Use::Published) {
            return None;
        }
        let state = self.environment.state();
        let is_in = |name: &&&str| claim.path.starts_with(resolved(&state).join(name));
        identity::NAMES.iter().find(is_in).map(|name| state.join(name))
    }
}
