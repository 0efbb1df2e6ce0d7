//! What root's configuration says to a request.

use std::cell::RefCell;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use nix::libc;

use super::trusted;
use crate::actions::root::wire::RunRequest;
use crate::actions::{Action, Invocation, RunsAs};
use crate::config::{self, Environment};
use crate::owner;

/// A file that the daemon has downloaded.
#[derive(Debug)]
pub(super) struct Downloaded(File);

impl Downloaded {
    /// Names the file that was opened here, for as long as this process has it. Under its own name, in a directory of its own, the daemon
    /// could put a link to a file of root's into its place at any time.
    pub(super) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// `peer` is who asked: the file must be that user's, so that it isn't one that only root may read.
    fn open(path: &Path, peer: u32, max_size: u64) -> Result<Downloaded, String> {
        let shown = path.display();
        let mut options = File::options();
        let options = options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
        let file =
            options.open(path).map_err(|error| format!("the downloaded file {shown} can't be opened: {error}"))?;
        let metadata = file.metadata().map_err(|error| format!("{shown}: {error}"))?;
        match () {
            () if !path.is_absolute() => Err(format!("the path of the downloaded file isn't absolute: {shown}")),
            () if !metadata.is_file() => Err(format!("the downloaded file {shown} is no regular file")),
            () if metadata.uid() != peer => Err(format!(
                "the downloaded file {shown} belongs to {}, and not to who asked",
                owner::name_of(metadata.uid())
            )),
            () if metadata.len() > max_size => {
                Err(format!("the downloaded file {shown} is larger than `max_size` of the action"))
            }
            () => Ok(Downloaded(file)),
        }
    }
}

/// The action with its arguments, and what was downloaded for it, if the configuration at `path` lists it for root.
///
/// # Errors
/// Why it doesn't, or why it doesn't count, and what to do.
pub(super) fn by(path: &Path, request: &RunRequest, peer: u32) -> Result<(Invocation, Option<Downloaded>), String> {
    let action = listed(path, &request.action)?;
    if action.runs_as != RunsAs::Root {
        return Err(format!("{} has it without `as = \"root\"`", path.display()));
    }
    let given = request.arguments.iter().map(String::as_str);
    let invocation = Invocation::new(&action, given)
        .map_err(|refused| format!("argument {}: {}", refused.argument + 1, refused.text))?;
    trusted::check(Path::new(&action.run.program))?;
    trusted::run_by_root(&action).iter().try_for_each(|file| trusted::check(file))?;
    let download = match (&action.download, &request.download) {
        (Some(allowed), Some(file)) => Some(Downloaded::open(file, peer, allowed.max_size)?),
        (None, None) => None,
        (Some(_), None) => return Err("it needs a downloaded file, and none is named".to_owned()),
        (None, Some(_)) => return Err("it has no `download`, and a file is named".to_owned()),
    };
    Ok((invocation, download))
}

/// The action of this name, in the files that root alone can change.
fn listed(path: &Path, name: &str) -> Result<Arc<Action>, String> {
    let path = std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
    trusted::check(&path)?;
    let left_out = RefCell::new(Vec::new());
    // A file with a password may be gatewire's, and has no actions of root.
    let is_trusted = |file: &Path| trusted::check(file).map_err(|why| left_out.borrow_mut().push(why)).is_ok();
    let actions = config::actions(&path, &Environment::of_service(), is_trusted).map_err(|errors| {
        let first = errors.first().map(ToString::to_string).unwrap_or_default();
        format!("the configuration can't be used: {first}")
    })?;
    if let Some(action) = actions.named(name) {
        return Ok(Arc::clone(action));
    }
    match left_out.borrow().first() {
        Some(why) => Err(format!("no file that root alone can change has it: {why}")),
        None => Err(format!("{} has no action of this name", path.display())),
    }
}
