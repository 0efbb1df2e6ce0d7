//! What the daemon runs on: this machine, or in a simulation what stands for it.

use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use crate::blocking::NoThread;
use crate::config::Config;
use crate::executions::programs::{MachinePrograms, Programs};
use crate::identity::{self, Identity, Platform};
use crate::net::credentials::Credentials;
use crate::net::{Brokers, MachineBrokers, MachineNetwork, Network, Usage};
use crate::store::{Disk, Thread};

/// What was read, or what is wrong.
pub(crate) type ReloadAnswer = Result<Readings, ReloadRefused>;

/// The files, as far as they can be used.
#[derive(Debug)]
pub(crate) struct Readings {
    pub(crate) config: Config,
    /// `None`: gatewire is yet to get its identity.
    pub(crate) credentials: Option<Credentials>,
    /// What gatewire has made itself and is in force.
    pub(crate) identity: Option<Identity>,
    /// What is to be said about all of them.
    pub(crate) warnings: Vec<String>,
}

/// Reads the files, which may take as long as their disk does.
pub(crate) type Read = dyn Fn() -> ReloadAnswer + Send + Sync;

/// Why the files can't be used, a line each.
#[derive(Debug, Default)]
pub(crate) struct ReloadRefused {
    pub(crate) warnings: Vec<String>,
    pub(crate) errors: Vec<String>,
}

/// What everything that isn't the daemon's own is reached through.
pub(crate) trait Machine: 'static {
    type Network: Network;
    type Brokers: Brokers;
    type Disk: Disk;

    /// The way to the server. Asked for once.
    fn network(&self) -> Self::Network;

    /// The way to the brokers of bridges.
    fn brokers(&self) -> Self::Brokers;

    /// What actions are done with.
    fn programs(&self) -> Rc<dyn Programs>;

    /// Where the database is.
    fn disk(&self) -> &Self::Disk;

    /// What the identity is made and kept with.
    fn platform(&self) -> Arc<dyn Platform>;

    /// Begins to read the configuration and the credentials, which may take as long as the disk does. `tell` is dropped if they
    /// can't be read at all. Returns the thread that does it, if one does: it ends once it has told.
    ///
    /// # Errors
    /// There is no thread for it.
    fn read(&self, tell: oneshot::Sender<ReloadAnswer>) -> Result<Option<JoinHandle<()>>, NoThread>;
}

/// This one.
pub(super) struct ThisMachine {
    disk: Thread,
    read: Arc<Read>,
    /// What is carried over the network.
    usage: Rc<Usage>,
}

impl ThisMachine {
    pub(super) fn new(read: &Arc<Read>) -> ThisMachine {
        ThisMachine { disk: Thread, read: Arc::clone(read), usage: Rc::default() }
    }
}

impl Machine for ThisMachine {
    type Network = MachineNetwork;
    type Brokers = MachineBrokers;
    type Disk = Thread;

    fn network(&self) -> MachineNetwork {
        MachineNetwork::new(&self.usage)
    }

    fn brokers(&self) -> MachineBrokers {
        MachineBrokers
    }

    fn programs(&self) -> Rc<dyn Programs> {
        Rc::new(MachinePrograms::new(&self.usage))
    }

    fn disk(&self) -> &Thread {
        &self.disk
    }

    fn platform(&self) -> Arc<dyn Platform> {
        identity::this_machine()
    }

    fn read(&self, tell: oneshot::Sender<ReloadAnswer>) -> Result<Option<JoinHandle<()>>, NoThread> {
        let read = Arc::clone(&self.read);
        Ok(Some(thread::Builder::new().name("read".to_owned()).spawn(move || drop(tell.send(read())))?))
    }
}
