//! What commands begin with: the configuration, and for some the credentials it names.

use std::path::{Path, PathBuf};

use super::Exit;
use super::output::Failure;
use crate::config::{self, Config, Environment, Tls};
use crate::exposure;
use crate::net::credentials::{self, Credentials};
use crate::time;

/// All that is needed to connect.
pub(super) struct Inputs {
    pub(super) config: Config,
    pub(super) credentials: Credentials,
    /// About the configuration, a line each; those about the credentials are theirs.
    pub(super) warnings: Vec<String>,
}

/// Everything that is wrong with both, a line each: the credentials are looked at even if the configuration can't be used, as
/// long as it says where they are.
pub(super) struct Problems {
    pub(super) warnings: Vec<String>,
    pub(super) errors: Vec<String>,
    /// The configuration, where it is only the credentials that can't be used.
    pub(super) config: Option<Box<Config>>,
}

/// Reads the configuration at `path` alone, with its warnings, a line each.
pub(super) fn configuration(path: &Path) -> Result<(Config, Vec<String>), Failure> {
    match config::read(path, &Environment::of_service()) {
        Ok(loaded) => Ok((loaded.config, lines(&loaded.warnings))),
        Err(found) => Err(Failure::of_lines([lines(&found.warnings), lines(&found.errors)].concat(), Exit::Config)),
    }
}

/// Where the daemon answers `gatewire status`. Of a configuration that can't be used, too, as far as that is clear: then with what
/// is wrong, for the daemon that runs may have read another one.
pub(super) fn status_socket(path: &Path) -> Result<(PathBuf, Option<Failure>), Failure> {
    match config::read_as_client(path, &Environment::of_service()) {
        Ok(loaded) => Ok((loaded.config.status.socket.path, None)),
        Err(found) => {
            let problem = Failure::of_lines(lines(&found.errors), Exit::Config);
            match found.status_socket {
                Some(path) => Ok((path, Some(problem))),
                None => Err(problem),
            }
        }
    }
}

/// Likewise for a command that needs to know where the daemon listens and can be told by `--socket`.
pub(super) fn of_daemon(path: &Path) -> Result<Config, Failure> {
    let hint =
        "the configuration says where gatewire listens, and can't be used; `--socket PATH` names the socket instead";
    of_client(path).map_err(|failure| failure.and(hint))
}

/// The configuration at `path`, but for what of `conf.d` this process may not read.
pub(super) fn of_client(path: &Path) -> Result<Config, Failure> {
    config::read_as_client(path, &Environment::of_service()).map(|loaded| loaded.config).map_err(|found| {
        let report = [lines(&found.warnings), lines(&found.errors)].concat();
        Failure::of_lines(report, Exit::Config)
    })
}

/// Reads the configuration at `path`, and the files of its `[tls]` where this process can see them: systemd shows what
/// LoadCredential= has loaded to the daemon, and before version 254 not to what it runs for a reload. They are loaded at a start,
/// and the same until the next.
pub(super) fn reloadable(path: &Path, environment: &Environment) -> Result<Config, Problems> {
    match config::read(path, environment) {
        Ok(loaded) if are_hidden(&loaded.config.tls, environment) => Ok(loaded.config),
        _ => read(path, environment).map(|inputs| inputs.config),
    }
}

fn are_hidden(tls: &Tls, environment: &Environment) -> bool {
    let Some(directory) = environment.credentials_directory.as_deref().filter(|directory| !directory.is_empty()) else {
        return false;
    };
    let is_hidden = std::fs::read_dir(directory).is_err();
    is_hidden && [&tls.ca_file, &tls.cert_file, &tls.key_file].iter().any(|file| file.starts_with(directory))
}

/// Reads the configuration at `path` and the files of its `[tls]`.
pub(super) fn read(path: &Path, environment: &Environment) -> Result<Inputs, Problems> {
    let (config, warnings, mut errors) = match config::read(path, environment) {
        Ok(loaded) => (Ok(loaded.config), loaded.warnings, Vec::new()),
        Err(found) => (Err(found.tls), found.warnings, lines(&found.errors)),
    };
    let mut warnings = lines(&warnings);
    let (tls, places) = match &config {
        Ok(config) => (Some(&config.tls), Some(&config.places)),
        Err(found) => (found.as_ref().map(|found| &found.0), found.as_ref().map(|found| &found.1)),
    };
    let files = config::files(path);
    let credential_files = tls.into_iter().flat_map(|tls| [&tls.ca_file, &tls.cert_file, &tls.key_file]);
    let store = config.as_ref().ok().and_then(|config| config.outbox.path.parent());
    let changeable = exposure::changeable(files.iter().chain(credential_files).map(PathBuf::as_path).chain(store));
    warnings.extend(changeable.into_iter().map(|line| format!("warning: {line}")));
    let at_its_place = |problem: &credentials::Problem| {
        let (key, path) = problem.about();
        format!("{}{problem}", places.map(|places| places.of(key, path)).unwrap_or_default())
    };
    let credentials = tls.map(|tls| {
        let loaded = credentials::load(tls, time::system());
        loaded.map_err(|problems| problems.0.iter().map(at_its_place).collect::<Vec<_>>())
    });
    if let (Ok(config), Some(Ok(credentials))) = (&config, &credentials) {
        let (host, file) = (&config.connection.endpoint, &config.tls.ca_file);
        let place = config.places.of("tls.ca_file", file);
        warnings.extend(credentials.doubt_about_ca(host, file).map(|doubt| format!("{place}warning: {doubt}")));
    }
    match (config, credentials) {
        (Ok(config), Some(Ok(credentials))) => Ok(Inputs { config, credentials, warnings }),
        (config, credentials) => {
            errors.extend(credentials.and_then(Result::err).unwrap_or_default());
            Err(Problems { warnings, errors, config: config.ok().map(Box::new) })
        }
    }
}

fn lines(remarks: &[impl ToString]) -> Vec<String> {
    remarks.iter().map(ToString::to_string).collect()
}
