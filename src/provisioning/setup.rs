//! What is configured.

use super::making::KeySource;
use crate::config;

/// What it is made for.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// How the server is reached, and how long it keeps the session. Client id and will are others.
    pub(crate) connection: config::Connection,
    /// Its CAs, and the key if that is in a token.
    pub(crate) tls: config::Tls,
    pub(crate) provisioning: config::Provisioning,
    pub(crate) source: KeySource,
}

impl Setup {
    /// As the configuration says; `None` without `[provisioning]`.
    pub(crate) fn of(config: &config::Config) -> Option<Setup> {
        let provisioning = config.provisioning.clone()?;
        let source = KeySource::of(&provisioning, &config.tls);
        Some(Setup { connection: config.connection.clone(), tls: config.tls.clone(), provisioning, source })
    }
}
