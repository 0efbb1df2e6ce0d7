//! What comes before there is anything to do: signals, the log, the configuration, the database. A signal ends each of them.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use log::LevelFilter;
use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use signal_hook_tokio::Signals;
use tokio_stream::{Stream, StreamExt as _};

use super::machine::ThisMachine;
use super::reload::{self, Cause, ReadConfiguration};
use super::{DaemonError, Read, SIGHUP, SIGINT, SIGTERM, SIGXFSZ, every, name_of, serve};
use crate::journal;
use crate::owner;
use crate::socket::Inherited;
use crate::store::{Disk, OpenError, Store};
use crate::systemd::Notifier;
use crate::time;

/// A database that isn't open after so long is told of, and systemd asked for more time as often.
const STORE_LOOK: Duration = Duration::from_secs(5);

pub(super) async fn start(read: &Arc<Read>) -> Result<(), DaemonError> {
    // First of all, so that no signal meets its default action.
    // A file that may not grow (LimitFSIZE=, `ulimit -f`) is a disk that is full, and no reason to die: with a handler the write
    // fails instead, and that is all there is to do about SIGXFSZ.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGXFSZ])?.filter(|signal| *signal != SIGXFSZ);
    journal::init(LevelFilter::Info);
    tokio::task::spawn_local(journal::tell_left_out());
    hide_memory();
    open_many_files();
    // Before there is another thread, as it reads and changes the environment.
    let inherited = Inherited::from_environment();
    let notifier = Rc::new(Notifier::from_environment(time::now()));
    let machine = ThisMachine::new(read);
    let mut reading = ReadConfiguration::default();
    reading.begin(Cause::Signal, &machine)?;
    let answer = tokio::select! {
        biased;
        signal = end(&mut signals) => {
            say_stopped(&notifier, signal, "the configuration was read");
            return Ok(());
        }
        (_, answer) = reading.answer(&machine) => answer,
    };
    let readings = answer.map_err(DaemonError::Refused)?;
    log::set_max_level(readings.config.log.level);
    reload::warn(readings.credentials.as_ref(), &readings.warnings);
    warn_root();
    serve(&readings, inherited, (signals, notifier), &machine).await
}

/// With fewer there are soon none left.
const FEW_FILES: u64 = 256;

/// The private key is in it: a crash leaves no core, and no other process of this user may look in.
fn hide_memory() {
    let hidden = setrlimit(Resource::RLIMIT_CORE, 0, 0).and_then(|()| set_dumpable(false));
    if let Err(errno) = hidden {
        log::debug!("a crash may leave a core: {errno}");
    }
}

/// As many as we may. A shell or a container starts its programs with 1024, which the clients of a few sockets could take from the
/// link and the store.
fn open_many_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| match soft < hard {
        true => setrlimit(Resource::RLIMIT_NOFILE, hard, hard),
        false => Ok(()),
    });
    if let Err(errno) = raised {
        log::debug!("the limit of open files stays: {errno}");
    }
    if let Ok((limit @ ..FEW_FILES, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        log::warn!(
            GATEWIRE_EVENT = "few_files";
            "gatewire may have only {limit} files open, which its sockets, their clients, the database and the link may soon need: \
             raise LimitNOFILE= in the unit (`ulimit -n` where it is started by hand) to {FEW_FILES} or more"
        );
    }
}

/// What root makes, the service may not be able to use.
fn warn_root() {
    if owner::is_root_beside_the_service() {
        log::warn!(
            GATEWIRE_EVENT = "as_root";
            "gatewire runs as root, although this machine has the user gatewire for it: `sudo systemctl start gatewire` starts \
            the service, and `sudo -u gatewire gatewire run` runs it by hand. Files that root creates in another user's \
            directory are given to that user"
        );
    }
}

/// Completes when a signal says that this is the end.
pub(super) async fn end(signals: &mut (impl Stream<Item = i32> + Unpin)) -> Option<i32> {
    loop {
        match signals.next().await {
            Some(SIGHUP) => {}
            signal => return signal,
        }
    }
}

pub(super) fn say_stopped(notifier: &Notifier, signal: Option<i32>, before: &str) {
    notifier.stopping();
    log::info!(GATEWIRE_EVENT = "stopped"; "{}: stopped before {before}", name_of(signal));
}

/// `None`: a signal has ended the wait.
pub(super) async fn open_store(
    (path, disk): (&Path, &impl Disk),
    forwards: &[&str],
    signals: &mut (impl Stream<Item = i32> + Unpin),
    notifier: &Notifier,
) -> Result<Option<Rc<Store>>, OpenError> {
    let opening = Store::open(path, forwards, disk);
    tokio::pin!(opening);
    let mut look = every(STORE_LOOK);
    let mut is_said = false;
    loop {
        tokio::select! {
            biased;
            signal = end(signals) => {
                say_stopped(notifier, signal, "the database was open");
                return Ok(None);
            }
            store = &mut opening => return Ok(Some(store?)),
            _ = look.tick() => {
                notifier.not_yet(STORE_LOOK * 6);
                if !std::mem::replace(&mut is_said, true) {
                    notifier.status("waiting for the database");
                    log::warn!(
                        GATEWIRE_EVENT = "store_slow";
                        "{} isn't open after {} s: either it is damaged and gatewire is saving what can be read, or the disk \
                        is slow or hangs (`dmesg`). Nothing is sent or accepted until then",
                        path.display(), STORE_LOOK.as_secs()
                    );
                }
            }
        }
    }
}
