//! From files to a configuration, or to a report of everything that is wrong with them.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::document::{self, Table};
use super::report::{ConfigError, Remark, Report};
use super::sections::{self, Reader};
use super::{Config, Log};
use crate::schedule::template::Fixed;

/// What a configuration may refer to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    pub(crate) hostname: String,
    pub(crate) credentials_directory: Option<String>,
    pub(crate) runtime_directory: Option<String>,
    pub(crate) state_directory: Option<String>,
}

impl Environment {
    /// This machine's and this process's.
    pub(crate) fn of_process() -> Environment {
        let hostname = nix::unistd::gethostname().unwrap_or_default();
        Environment {
            hostname: hostname.to_string_lossy().into_owned(),
            credentials_directory: std::env::var("CREDENTIALS_DIRECTORY").ok(),
            runtime_directory: std::env::var("RUNTIME_DIRECTORY").ok(),
            state_directory: std::env::var("STATE_DIRECTORY").ok(),
        }
    }
}

/// A configuration that can be used.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// In the order of files and lines.
    pub(crate) warnings: Vec<Remark>,
}

/// Reads `path`, then `conf.d/*.toml` beside it in the order of their names: tables merge, arrays of tables append, of a key
/// that is given twice the later counts.
///
/// # Errors
/// A file that can't be read; or everything that is wrong in all of them.
pub(crate) fn read(path: &Path, environment: &Environment) -> Result<Loaded, ConfigError> {
    let report = Report::default();
    let main: Rc<Path> = path.into();
    let mut root = document::parse(&read_file(path)?, &main, 0, &report);
    for (order, path) in drop_ins(path)?.iter().enumerate() {
        let text = read_file(path)?;
        root.merge(document::parse(&text, &path.as_path().into(), order + 1, &report));
    }
    let config = build(&root, environment, &report);
    let warnings = report.finish()?;
    match config {
        Some(config) => Ok(Loaded { config, warnings }),
        // Whatever is missing has been reported.
        None => Err(ConfigError::Invalid(Vec::new())),
    }
}

fn build(root: &Table, environment: &Environment, report: &Report) -> Option<Config> {
    let fixed = Fixed { client_id: String::new(), hostname: environment.hostname.clone() };
    let mut reader = Reader { root, report, environment, fixed };
    sections::check_root(root, report);
    let connection = reader.connection();
    let (tls, outbox, log): (_, _, Log) = (reader.tls(), reader.outbox(), reader.log());
    let (publish, forward, ingest, status) = (reader.publishes(), reader.forwards(), reader.ingests(), reader.status());
    let config = Config { connection: connection?, tls, publish, forward, ingest, outbox, status: status?, log };
    sections::check_together(&config, report);
    Some(config)
}

/// `conf.d/*.toml` beside the main file, by name.
fn drop_ins(main: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let directory = main.with_file_name("conf.d");
    let entries = match fs::read_dir(&directory) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(&directory, &error)),
        Ok(entries) => entries,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(&directory, &error))?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.extension().is_some_and(|extension| extension == "toml") && !hidden {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> ConfigError {
    let text = match error.kind() {
        ErrorKind::NotFound => {
            "there is no such file. The package brings /etc/gatewire/gatewire.toml; another is named with --config"
                .to_owned()
        }
        ErrorKind::PermissionDenied => {
            let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
            let user = user.map_or_else(|| nix::unistd::geteuid().to_string(), |user| user.name);
            format!("the user {user} may not read it. Become root, or a member of the group gatewire")
        }
        ErrorKind::IsADirectory => "it is a directory, not a file".to_owned(),
        ErrorKind::InvalidData => "it isn't UTF-8, which TOML must be".to_owned(),
        _ => format!("it can't be read: {error}"),
    };
    ConfigError::Unreadable { path: path.to_owned(), text }
}
