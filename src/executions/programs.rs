//! What actions are done with: programs of this machine, and files from the network; or in a simulation what stands for them.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use crate::actions::leftover::Ending;
use crate::actions::process::{self, Program};
use crate::actions::root::Root;
use crate::actions::{Download, ExecutionId, Invocation, ProgramEnd, RunsAs, Wanted};
use crate::blocking;
use crate::config::Proxy;
use crate::download::{self, Order, Patience, Progress};
use crate::net::{MachineNetwork, Usage};

/// A file that is to be fetched, and how.
#[derive(Debug)]
pub(crate) struct Fetching<'a> {
    pub(crate) execution: &'a ExecutionId,
    /// From 0.
    pub(crate) step: usize,
    pub(crate) wanted: &'a Wanted,
    pub(crate) download: &'a Download,
    /// Where files are put.
    pub(crate) directory: &'a Path,
    pub(crate) proxy: Option<&'a Proxy>,
    pub(crate) connect_timeout: Duration,
    /// How long it may take, all attempts together.
    pub(crate) timeout: Duration,
}

/// A future of this thread.
pub(crate) type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// See the module.
pub(crate) trait Programs {
    /// Another after each boot of the machine. Empty: it isn't known.
    fn boot_id(&self) -> String;

    /// Runs the program of an action until it ends or its time is over, or `cancelled` completes.
    fn run<'a>(
        &'a self,
        invocation: &'a Invocation,
        download: Option<&'a Path>,
        execution: &'a ExecutionId,
        cancelled: Local<'a, ()>,
    ) -> Local<'a, ProgramEnd>;

    /// Fetches a file, telling how much of it is there: its path, or why it can't be had.
    fn fetch<'a>(&'a self, file: Fetching<'a>, progress: &'a dyn Fn(String)) -> Local<'a, Result<PathBuf, String>>;

    /// The files that were fetched for any execution but this go away.
    fn clean<'a>(&'a self, directory: &'a Path, keep: Option<&'a ExecutionId>) -> Local<'a, ()>;

    /// Ends what an earlier process has left running of an execution; of one that root may run, that too. Why it can't, if so.
    fn end_leftover<'a>(&'a self, execution: &'a ExecutionId, is_of_root: bool) -> Local<'a, Result<(), String>>;
}

/// Those of this machine.
#[derive(Debug)]
pub(crate) struct MachinePrograms {
    ending: Ending,
    root: Root,
    /// Where the bytes of downloads are counted.
    usage: Rc<Usage>,
}

impl MachinePrograms {
    pub(crate) fn new(usage: &Rc<Usage>) -> MachinePrograms {
        MachinePrograms { ending: Ending::default(), root: Root::default(), usage: Rc::clone(usage) }
    }
}

impl Programs for MachinePrograms {
    fn boot_id(&self) -> String {
        // Where /proc is hidden, each start counts as the same boot: then nothing is taken for done by a boot.
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    }

    fn run<'a>(
        &'a self,
        invocation: &'a Invocation,
        download: Option<&'a Path>,
        execution: &'a ExecutionId,
        cancelled: Local<'a, ()>,
    ) -> Local<'a, ProgramEnd> {
        Box::pin(async move {
            match invocation.action().runs_as {
                RunsAs::Root => self.root.run(invocation, execution, download, cancelled).await,
                RunsAs::Sandbox => {
                    let argv = invocation.argv(download.and_then(Path::to_str));
                    let timeout = invocation.action().timeout;
                    process::run(Program { argv: &argv, execution, timeout }, cancelled).await
                }
            }
        })
    }

    fn fetch<'a>(&'a self, file: Fetching<'a>, progress: &'a dyn Fn(String)) -> Local<'a, Result<PathBuf, String>> {
        Box::pin(async move {
            let Fetching { step, wanted, download, directory, proxy, connect_timeout, .. } = file;
            let execution = file.execution.to_string();
            let order = Order { execution: &execution, step, wanted, download };
            let deadline = tokio::time::Instant::now() + file.timeout;
            let settings =
                download::Settings { directory, proxy, connect_timeout, deadline, patience: Patience::USUAL };
            let mut tell = |how_far: Progress<'_>| progress(how_far.to_string());
            let network = MachineNetwork::new(&self.usage);
            download::fetch(&network, order, settings, &mut tell).await.map_err(|error| error.to_string())
        })
    }

    fn clean<'a>(&'a self, directory: &'a Path, keep: Option<&'a ExecutionId>) -> Local<'a, ()> {
        let (directory, keep) = (directory.to_owned(), keep.map(ExecutionId::to_string));
        Box::pin(async move {
            let cleaned = blocking::begin("clean", move || download::clean(&directory, keep.as_deref()));
            let error = match cleaned {
                Ok(cleaned) => match cleaned.await {
                    Ok(Err(error)) => error.to_string(),
                    _ => return,
                },
                Err(no_thread) => no_thread.to_string(),
            };
            // The next is tried at the end of the next execution.
            log::warn!("a downloaded file can't be removed: {error}");
        })
    }

    fn end_leftover<'a>(&'a self, execution: &'a ExecutionId, is_of_root: bool) -> Local<'a, Result<(), String>> {
        Box::pin(async move {
            self.ending.of(execution).await.map_err(|left| left.to_string())?;
            // Without the socket nothing was run by root, or it is gone with it.
            if is_of_root && self.root.is_there() { self.root.end_leftover(execution).await } else { Ok(()) }
        })
    }
}
