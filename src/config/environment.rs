//! What the configuration may take from the environment.

use std::path::{Path, PathBuf};

use nix::unistd::{Group, gethostname};

use crate::identity::{Directory, FoundIdentity, this_machine};
use crate::template::Machine;

/// What a configuration may refer to.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    pub(crate) hostname: String,
    pub(crate) machine: Machine,
    /// The name that AWS has given this gateway's thing, by the identity in a state directory.
    pub(crate) thing: fn(&Path) -> Option<String>,
    pub(crate) credentials_directory: Option<String>,
    pub(crate) runtime_directory: Option<String>,
    pub(crate) state_directory: Option<String>,
    pub(crate) group_exists: fn(&str) -> bool,
}

impl Environment {
    /// As the daemon sees it when systemd runs it, for the commands that are run beside it: where this process has no such
    /// directories, those of gatewire.service.
    pub(crate) fn of_service() -> Environment {
        let process = Environment::of_process();
        let or = |directory: Option<String>, otherwise: &str| directory.or_else(|| Some(otherwise.to_owned()));
        Environment {
            credentials_directory: or(process.credentials_directory, "/run/credentials/gatewire.service"),
            runtime_directory: or(process.runtime_directory, "/run/gatewire"),
            state_directory: or(process.state_directory, "/var/lib/gatewire"),
            ..process
        }
    }

    /// This machine's and this process's.
    pub(crate) fn of_process() -> Environment {
        let hostname = gethostname().unwrap_or_default().to_string_lossy().into_owned();
        Environment {
            machine: Machine::this(&hostname),
            hostname,
            // Whether it can be used is told by who reads its certificate.
            thing: |state| {
                Directory::at(state, &this_machine())
                    .current()
                    .ok()
                    .and_then(FoundIdentity::usable)
                    .map(|identity| identity.thing)
            },
            credentials_directory: std::env::var("CREDENTIALS_DIRECTORY").ok(),
            runtime_directory: std::env::var("RUNTIME_DIRECTORY").ok(),
            state_directory: std::env::var("STATE_DIRECTORY").ok(),
            // One that can't be looked up now may be there when it is needed.
            group_exists: |name| !matches!(Group::from_name(name), Ok(None)),
        }
    }

    /// Where gatewire keeps what it makes: the first directory that systemd names, or that of the package. One that was moved to
    /// another disk, with a link in its old place, is what the link leads to.
    pub(crate) fn state(&self) -> PathBuf {
        let named = self.state_directory.as_deref().and_then(|named| named.split(':').next());
        let named =
            named.filter(|directory| !directory.is_empty()).map_or_else(|| "/var/lib/gatewire".into(), PathBuf::from);
        std::fs::canonicalize(&named).unwrap_or(named)
    }

    /// Where the identity lies that is in force.
    pub(crate) fn identity(&self) -> PathBuf {
        self.state().join("identity")
    }
}
