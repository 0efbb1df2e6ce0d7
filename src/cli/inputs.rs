//! What commands begin with: the configuration, and for some the credentials it names.

mod identity;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Exit;
use super::output::Failure;
use crate::config::{self, Config, Environment, Places, Tls};
use crate::exposure;
use crate::identity::{Identity, Platform, this_machine};
use crate::net::credentials::{self, Credentials, CredentialsProblems};
use crate::time;

/// All that is needed to connect.
pub(super) struct Inputs {
    pub(super) config: Config,
    pub(super) means: Means,
    /// About the configuration, a line each; those about the credentials are theirs.
    pub(super) warnings: Vec<String>,
}

/// What there is to connect with.
pub(super) enum Means {
    /// Who this gateway is, and by what name where gatewire has made that itself.
    Own(Credentials, Option<Identity>),
    /// The claim of `[provisioning]`: gatewire is yet to get its identity.
    Claim(Credentials),
}

impl Means {
    pub(super) fn credentials(&self) -> &Credentials {
        match self {
            Means::Own(credentials, _) | Means::Claim(credentials) => credentials,
        }
    }
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
    configuration_in(path, &Environment::of_service())
}

/// Likewise, with what it may take from the environment.
pub(super) fn configuration_in(path: &Path, environment: &Environment) -> Result<(Config, Vec<String>), Failure> {
    match config::read(path, environment) {
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
    is_hidden && files_of(tls).any(|file| file.starts_with(directory))
}

/// The files that `[tls]` names.
fn files_of(tls: &Tls) -> impl Iterator<Item = &Path> {
    [&*tls.ca_file, &*tls.cert_file].into_iter().chain(tls.key_file.files())
}

/// Reads the configuration at `path` and the files of its `[tls]`.
pub(super) fn read(path: &Path, environment: &Environment) -> Result<Inputs, Problems> {
    read_on(path, environment, &this_machine())
}

/// Likewise; `platform` has the identity's files.
pub(super) fn read_on(
    path: &Path,
    environment: &Environment,
    platform: &Arc<dyn Platform>,
) -> Result<Inputs, Problems> {
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
    let claim = config.as_ref().ok().and_then(|config| config.provisioning.as_ref());
    let claim = claim.into_iter().flat_map(|claim| [&*claim.claim_cert_file, &*claim.claim_key_file]);
    let credential_files = tls.into_iter().flat_map(files_of).chain(claim);
    let store = config.as_ref().ok().and_then(|config| config.outbox.path.parent());
    let changeable = exposure::changeable(files.iter().map(PathBuf::as_path).chain(credential_files).chain(store));
    warnings.extend(changeable.into_iter().map(|line| format!("warning: {line}")));
    let provisioned = config.as_ref().ok().and_then(|config| Some((config, config.provisioning.as_ref()?)));
    let means = match (provisioned, tls) {
        (Some(provisioned), _) => Some(identity::read(provisioned, (environment, platform), &mut warnings)),
        (None, tls) => tls.map(|tls| {
            let loaded = credentials::load(tls, time::system()).map(|credentials| Means::Own(credentials, None));
            loaded.map_err(|problems| at_their_places(&problems, places))
        }),
    };
    if let (Ok(config), Some(Ok(means))) = (&config, &means) {
        let credentials = means.credentials();
        let (host, file) = (&config.connection.endpoint, &config.tls.ca_file);
        let place = config.places.of("tls.ca_file", file);
        warnings.extend(credentials.doubt_about_ca(host, file).map(|doubt| format!("{place}warning: {doubt}")));
    }
    match (config, means) {
        (Ok(config), Some(Ok(means))) => Ok(Inputs { config, means, warnings }),
        (config, means) => {
            errors.extend(means.and_then(Result::err).unwrap_or_default());
            Err(Problems { warnings, errors, config: config.ok().map(Box::new) })
        }
    }
}

/// What is wrong with the files of `[tls]`, each with the line that names the file.
fn at_their_places(problems: &CredentialsProblems, places: Option<&Places>) -> Vec<String> {
    let at_its_place = |problem: &credentials::Problem| {
        let (key, path) = problem.about();
        format!("{}{problem}", places.map(|places| places.of(key, path)).unwrap_or_default())
    };
    problems.0.iter().map(at_its_place).collect()
}

fn lines(remarks: &[impl ToString]) -> Vec<String> {
    remarks.iter().map(ToString::to_string).collect()
}
