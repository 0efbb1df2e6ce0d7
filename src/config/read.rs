//! From files to a configuration, or to a report of everything that is wrong with them.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::unistd::{Gid, Group, Uid, User, geteuid};

use super::document::{self, Table, Value};
use super::endpoint::is_placeholder;
use super::environment::Environment;
use super::explain;
use super::places::Place;
use super::reader::{Claim, Reader};
use super::report::{ConfigErrors, Remark, Report};
use super::unnamed::{STAND_INS, Unnamed};
use super::{Config, Places, Status, Tls};
use crate::actions::Actions;
use crate::regular;

/// The largest file that is read, in bytes: far more than a person writes, far less than a Pi's memory.
const MAX_FILE: u64 = 16 << 20;

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
/// Everything that is wrong in all of them, files that can't be read included.
pub(crate) fn read(path: &Path, environment: &Environment) -> Result<Loaded, ConfigErrors> {
    read_those(path, environment, |_| true)
}

/// Likewise for who only uses the sockets: a file of `conf.d` that is for gatewire alone, such as one with a password, is left
/// out. What is read may be less than what the daemon does.
pub(crate) fn read_as_client(path: &Path, environment: &Environment) -> Result<Loaded, ConfigErrors> {
    let is_denied = |unread| io::Error::from(unread).kind() == ErrorKind::PermissionDenied;
    read_those(path, environment, |file| !regular::open(file).is_err_and(is_denied))
}

/// Of `conf.d`, those that are `wanted`.
fn read_those(path: &Path, environment: &Environment, wanted: impl Fn(&Path) -> bool) -> Result<Loaded, ConfigErrors> {
    let report = Report::default();
    let root = merged(path, wanted, &report);
    let Built { config, tls, status, places } = build(&root, &files(path), environment, &report);
    let (errors, warnings) = report.finish();
    match config {
        Some(config) if errors.is_empty() => Ok(Loaded { config, warnings }),
        _ => Err(ConfigErrors {
            errors,
            warnings,
            // Whether those of an identity need to be there isn't known.
            tls: tls.filter(|_| root.get("provisioning").is_none()).map(|tls| Box::new((tls, places))),
            status_socket: status.map(|status| status.socket.path),
        }),
    }
}

/// The actions alone, of the file at `path` and of those of `conf.d` that are `wanted`. What else is wrong in them isn't looked at.
///
/// # Errors
/// A file that can't be read, or an action that is wrong.
pub(crate) fn actions(
    path: &Path,
    environment: &Environment,
    wanted: impl Fn(&Path) -> bool,
) -> Result<Actions, Vec<Remark>> {
    let report = Report::default();
    let root = merged(path, wanted, &report);
    let actions = Reader::new(&root, &report, environment).actions();
    let (errors, _) = report.finish();
    if errors.is_empty() { Ok(actions) } else { Err(errors) }
}

/// The files that are read for the configuration at `path`, and the directory of those that are added to it.
pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    let mut files = vec![path.to_owned(), path.with_file_name("conf.d")];
    files.extend(drop_ins(path, &Report::default()));
    files
}

/// Whether nobody has said yet which account's endpoint this is for: it is the one of the shipped configuration.
pub(crate) fn is_unconfigured(path: &Path) -> bool {
    let root = merged(path, |_| true, &Report::default());
    let Some(Value::Table(connection)) = root.get("connection").map(|entry| &entry.node.value) else { return false };
    let endpoint = connection.get("endpoint").map(|entry| &entry.node.value);
    matches!(endpoint, Some(Value::String(text)) if is_placeholder(text))
}

/// The file at `path`, and `conf.d/*.toml` beside it laid over it.
fn merged(path: &Path, wanted: impl Fn(&Path) -> bool, report: &Report) -> Table {
    let mut root = parse(path, 0, report);
    for (order, path) in drop_ins(path, report).iter().enumerate().filter(|(_, path)| wanted(path)) {
        root.merge(parse(path, order + 1, report));
    }
    root
}

/// The configuration as far as it can be used, and `[tls]` and `[status]` by themselves.
struct Built {
    config: Option<Config>,
    tls: Option<Tls>,
    status: Option<Status>,
    places: Places,
}

/// `files` are those that were read.
fn build(root: &Table, files: &[PathBuf], environment: &Environment, report: &Report) -> Built {
    if root.get("provisioning").is_none() {
        return build_with(None, root, files, environment, report);
    }
    let thing = (environment.thing)(&environment.state());
    let mut built = build_with(thing.as_deref().or(Some(STAND_INS[0])), root, files, environment, report);
    if let (Some(config), None) = (&mut built.config, thing) {
        let with = |thing: &str, report: &Report| build_with(Some(thing), root, files, environment, report);
        config.note_unnamed(with(STAND_INS[1], &Report::default()).config.as_ref());
        if report.error_count() == 0 {
            config.note_longest_name(|thing| {
                let report = Report::default();
                with(thing, &report);
                report.finish().0
            });
        }
    }
    built
}

/// Likewise, with the name that AWS has given the thing.
fn build_with(
    thing: Option<&str>,
    root: &Table,
    files: &[PathBuf],
    environment: &Environment,
    report: &Report,
) -> Built {
    let mut reader = Reader { given_thing: thing, ..Reader::new(root, report, environment) };
    let own = files.iter().filter(|file| !file.is_dir()).map(|file| Claim::of_configuration(file));
    reader.claims.borrow_mut().extend(own);
    reader.check_root();
    let connection = reader.connection();
    let provisioning = reader.provisioning();
    let (tls, outbox, log) = (reader.tls(), reader.outbox(), reader.log());
    let (publish, forward, ingest, status) = (reader.publishes(), reader.forwards(), reader.ingests(), reader.status());
    let (metrics, meter) = (reader.metrics(), reader.meter());
    let bridge = reader.bridges();
    let (jobs, commands, actions) = (reader.jobs(), reader.commands(), reader.actions());
    reader.check_services(&actions, provisioning.as_ref());
    reader.warn_of_room_for_readers();
    reader.check_deleted(provisioning.as_ref());
    reader.check_budget(meter.as_ref(), &publish, &bridge, &ingest);
    if let Some(connection) = &connection {
        reader.warn_of_copies(connection.protocol);
    }
    let places = reader.places.take();
    let config = connection.zip(tls.clone()).zip(status.clone()).map(|((connection, tls), status)| Config {
        connection,
        tls,
        provisioning,
        publish,
        forward,
        ingest,
        bridge,
        jobs: jobs.clone(),
        commands: commands.clone(),
        actions: actions.clone(),
        outbox,
        status,
        metrics: metrics.clone(),
        meter: meter.clone(),
        log,
        spare_subscriptions: reader.spare_subscriptions(),
        places: places.clone(),
        unnamed: Unnamed::default(),
    });
    Built { config, tls, status, places }
}

/// What a file holds, or nothing, which is reported.
fn parse(path: &Path, order: usize, report: &Report) -> Table {
    let file: Rc<Path> = path.into();
    match read_file(path) {
        Ok(bytes) => parse_bytes(&bytes, &file, order, report),
        Err(error) => unread(Place { order, file, line: 0 }, &reason(&error, path, order == 0), report),
    }
}

fn parse_bytes(bytes: &[u8], file: &Rc<Path>, order: usize, report: &Report) -> Table {
    match explain::text_of(bytes, file) {
        Ok(text) => document::parse(text, file, order, report),
        Err(fault) => unread(Place { order, file: Rc::clone(file), line: fault.line }, &fault.text, report),
    }
}

fn unread(place: Place, text: &str, report: &Report) -> Table {
    report.unread(&place, text, 0..usize::MAX);
    Table { place, entries: Vec::new() }
}

/// `conf.d/*.toml` beside the main file, by name. What else is there isn't read, and named.
fn drop_ins(main: &Path, report: &Report) -> Vec<PathBuf> {
    let directory = main.with_file_name("conf.d");
    let listed = fs::read_dir(&directory)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<PathBuf>>>());
    match listed {
        Ok(mut paths) => {
            paths.sort_unstable();
            paths.retain(|path| match why_not(path) {
                Why::Read => true,
                Why::Expected => false,
                Why::Not(why) => {
                    report.warning(&Place { order: 1, file: path.as_path().into(), line: 0 }, why);
                    false
                }
            });
            paths
        }
        Err(error) if error.kind() == ErrorKind::NotFound && !directory.is_symlink() => Vec::new(),
        Err(error) => {
            let place = Place { order: 1, file: directory.as_path().into(), line: 0 };
            let why = match error.kind() {
                ErrorKind::NotFound => {
                    "it is a link to a directory that isn't there; correct the link, or put the directory there"
                        .to_owned()
                }
                _ => reason(&error, &directory, false),
            };
            report.unread(&place, &why, 0..1);
            Vec::new()
        }
    }
}

/// Whether a file of conf.d is read.
enum Why {
    Read,
    /// Nobody expects that it is.
    Expected,
    Not(&'static str),
}

fn why_not(path: &Path) -> Why {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.starts_with("README") {
        return Why::Expected;
    }
    if name.starts_with('.') {
        return Why::Not("isn't read: its name begins with a dot, so it is a hidden file");
    }
    if !name.ends_with(".toml") {
        return Why::Not("isn't read; only files whose names end in .toml are");
    }
    Why::Read
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    Ok(regular::read(path, MAX_FILE)?)
}

/// Why a file or directory can't be read, and what to do.
fn reason(error: &io::Error, path: &Path, is_main: bool) -> String {
    match error.kind() {
        ErrorKind::NotFound if is_main => {
            "there is no such file. The package installs /etc/gatewire/gatewire.toml; name another file with --config"
                .to_owned()
        }
        ErrorKind::NotFound => {
            "it is a link to a file that isn't there; correct the link, or put the file there".to_owned()
        }
        ErrorKind::PermissionDenied => denied(path),
        ErrorKind::IsADirectory => {
            let example = path.join("gatewire.toml");
            match is_main && example.is_file() {
                true => format!("it is a directory; name the file in it with `--config {}`", example.display()),
                false if is_main => "it is a directory, not a file; name a file with --config".to_owned(),
                false => "it is a directory; give it a name that doesn't end in .toml, then it isn't read".to_owned(),
            }
        }
        ErrorKind::NotADirectory if path.is_file() => {
            "it is a file, and must be a directory with files *.toml in it; give the file another name".to_owned()
        }
        ErrorKind::NotADirectory => "a part of the path is a file, not a directory".to_owned(),
        ErrorKind::FileTooLarge => format!("it is larger than {} MiB, too large for a configuration", MAX_FILE >> 20),
        _ if error.raw_os_error().is_none() && is_main => {
            format!("{error}; name a configuration file with --config, such as /etc/gatewire/gatewire.toml")
        }
        _ if error.raw_os_error().is_none() => format!("{error}; only regular files can be read there"),
        _ => format!("it can't be read: {error}; see `dmesg` for errors of the disk"),
    }
}

/// Who may not read what, and the one command that changes that: for the file or directory in question alone.
fn denied(path: &Path) -> String {
    let user = User::from_uid(geteuid()).ok().flatten().map_or_else(|| geteuid().to_string(), |user| user.name);
    // The first part of the way that isn't open: what lies in it can't even be looked at.
    let closed = path
        .ancestors()
        .skip(1)
        .filter(|above| !above.as_os_str().is_empty())
        .find(|above| fs::metadata(above).is_ok());
    let way = closed.filter(|_| fs::metadata(path).is_err());
    let shown = path.display();
    if let Some(directory) = way {
        return format!(
            "the user {user} may not enter the directory {}. `sudo chmod o+x {0}` lets everyone pass through it; or put the configuration into /etc/gatewire",
            directory.display()
        );
    }
    let Ok(metadata) = fs::metadata(path) else { return format!("the user {user} may not read it") };
    let owner = User::from_uid(Uid::from_raw(metadata.uid()))
        .ok()
        .flatten()
        .map_or_else(|| metadata.uid().to_string(), |user| user.name);
    let group = Group::from_gid(Gid::from_raw(metadata.gid()))
        .ok()
        .flatten()
        .map_or_else(|| metadata.gid().to_string(), |group| group.name);
    let (kind, bits) = if metadata.is_dir() { ("a directory", "0755") } else { ("a file", "0644") };
    format!(
        "the user {user} may not read it ({kind} of {owner}:{group}, mode {:04o}). If it holds no password, \
         `sudo chmod {bits} {shown}` lets everyone read it; if it does, `sudo chown gatewire: {shown}` lets gatewire alone, and \
         this command needs `sudo -u gatewire`",
        metadata.mode() & 0o7777
    )
}
