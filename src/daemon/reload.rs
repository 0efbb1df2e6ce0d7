//! SIGHUP: another configuration, without letting go of anything that it leaves as it is.

use std::rc::Rc;
use std::time::Duration;

use super::{Parts, filters};
use crate::config::Config;
use crate::link::Setup;
use crate::link::credentials::Credentials;

/// How long the disk may take to answer: nothing else is heard meanwhile, SIGTERM neither.
const PATIENCE: Duration = Duration::from_secs(2);

/// The configuration and the credentials, read anew; or what is wrong with them, a line each.
pub(crate) type Read<'a> = dyn Fn() -> Result<(Config, Credentials, Vec<String>), Vec<String>> + 'a;

/// Reads everything anew and makes it so, or says why not and leaves everything as it is.
pub(super) async fn reload(parts: &Rc<Parts>, read: &Read<'_>) {
    let problems = match read() {
        Ok((config, credentials, warnings)) => match apply(parts, &config, &credentials).await {
            Ok(()) => return say(&config, &credentials, &warnings),
            Err(problem) => vec![problem],
        },
        Err(problems) => problems,
    };
    for problem in &problems {
        log::error!(GATEWIRE_EVENT = "reload_refused"; "{problem}");
    }
    log::error!(GATEWIRE_EVENT = "reload_refused"; "SIGHUP: the new configuration is refused, the old one stays in force");
}

async fn apply(parts: &Rc<Parts>, config: &Config, credentials: &Credentials) -> Result<(), String> {
    if *parts.path.as_path() != config.outbox.path {
        return Err(format!(
            "`outbox.path` can't change while gatewire runs: what waits is in {}. `systemctl restart gatewire` begins with {}, \
             and leaves the old file as it is",
            parts.path.display(),
            config.outbox.path.display()
        ));
    }
    let prepared = parts.services.prepare(config, PATIENCE).await.map_err(|error| error.to_string())?;
    parts.services.apply(config, prepared, parts.document()).await;
    parts.services.outbox.reconfigure(&config.outbox, &config.connection.rate_limit);
    parts.services.outbox.release_quarantine();
    parts.schedule.reconfigure(&config.publish);
    parts.link.reconfigure(Setup {
        connection: config.connection.clone(),
        tls: config.tls.clone(),
        credentials: credentials.clone(),
        filters: filters(config),
    });
    log::set_max_level(config.log.level);
    Ok(())
}

fn say(config: &Config, credentials: &Credentials, warnings: &[String]) {
    for warning in warnings {
        log::warn!(GATEWIRE_EVENT = "config"; "{warning}");
    }
    for warning in credentials.warnings() {
        log::warn!(GATEWIRE_EVENT = "credentials"; "{warning}");
    }
    log::info!(
        GATEWIRE_EVENT = "reloaded";
        "SIGHUP: the configuration is read anew: {} publish, {} forward, {} ingest",
        config.publish.len(), config.forward.len(), config.ingest.len()
    );
}
