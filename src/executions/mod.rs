//! The executions of jobs and commands: what their state machines ask for is carried out here, one action at a time.
//!
//! [`Executions::run`] is the one task. It takes what services say, hands it to [`Jobs`](crate::services::jobs::Jobs) and
//! [`Commands`](crate::services::commands::Commands), and does what these ask for: journals are written ([`writer`]), a document
//! becomes a plan ([`decision`]), which is performed ([`host`]) or offered at `jobs.sock`.
//!
//! | after a start it finds | and does |
//! |---|---|
//! | an execution that may have begun | ends what is left of its processes, then goes on as [`position`](crate::actions::position) says |
//! | a result that AWS hasn't taken | tells it |

mod decision;
mod host;
mod notes;
mod outcome;
pub(crate) mod programs;
mod said;
mod status;
mod turn;
mod work;
mod writer;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::actions::position::Positions;
use crate::actions::{Actions, BadExecutionId, ExecutionId};
use crate::config::{self, Config};
use crate::download::DIRECTORY;
use crate::jobs_socket::JobsSocket;
use crate::notify::LocalNotify;
use crate::rotation::Orders;
use crate::services::Asker;
use crate::services::history::Entry;
use crate::stop::Stop;
use crate::store::Store;
use crate::thing_services::ThingServices;
use programs::Programs;
pub(crate) use status::ServiceStatus;
use status::UnderWay;
use work::Work;

/// What of the configuration says what may be done.
#[derive(Debug, Clone, Default, PartialEq)]
struct Settings {
    thing: String,
    jobs: Option<config::Jobs>,
    commands: Option<config::Commands>,
    actions: Actions,
    /// The directory of downloaded files.
    downloads: PathBuf,
    proxy: Option<config::Proxy>,
    connect_timeout: Duration,
}

/// Makes the status document.
type Document = Rc<dyn Fn() -> Vec<u8>>;

/// Tells whether the configuration was taken, or why not.
type ReloadAnswer = oneshot::Sender<Result<(), String>>;

/// See the module.
pub(crate) struct Executions {
    services: Rc<ThingServices>,
    store: Rc<Store>,
    programs: Rc<dyn Programs>,
    pub(crate) socket: Rc<JobsSocket>,
    /// What jobs want of rotations.
    pub(crate) rotations: Rc<Orders>,
    /// One task waits for it.
    stop: RefCell<Rc<Stop>>,
    /// The daemon stops.
    link_stops: Cell<bool>,
    settings: RefCell<Rc<Settings>>,
    /// They were read again, and the task doesn't know yet.
    was_reloaded: Cell<bool>,
    /// How far each plan is that isn't over, as it is on the disk or on its way there.
    positions: RefCell<Positions>,
    /// Another at each start.
    process: u64,
    /// The same at each start, and another than that of other daemons on this machine.
    daemon: u32,
    /// Who waits for the configuration to be read again.
    reloads: RefCell<Vec<ReloadAnswer>>,
    wants_reload: LocalNotify,
    /// There is a connection.
    connected: tokio::sync::watch::Sender<bool>,
    under_way: RefCell<BTreeMap<&'static str, UnderWay>>,
    history: RefCell<Vec<Entry>>,
    document: RefCell<Option<Document>>,
    /// Why nobody knows what was begun, as long as that is so.
    unread: RefCell<Option<String>>,
}

impl fmt::Debug for Executions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executions").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Executions {
    /// Nothing is configured.
    pub(crate) fn new(services: &Rc<ThingServices>, store: &Rc<Store>, programs: Rc<dyn Programs>) -> Rc<Executions> {
        Rc::new(Executions {
            services: Rc::clone(services),
            store: Rc::clone(store),
            programs,
            socket: Rc::default(),
            rotations: Rc::default(),
            stop: RefCell::default(),
            link_stops: Cell::default(),
            settings: RefCell::default(),
            was_reloaded: Cell::default(),
            positions: RefCell::default(),
            process: fastrand::u64(..),
            daemon: crc32fast::hash(store.files()[0].as_os_str().as_encoded_bytes()),
            reloads: RefCell::default(),
            wants_reload: LocalNotify::default(),
            connected: tokio::sync::watch::Sender::new(false),
            under_way: RefCell::default(),
            history: RefCell::default(),
            document: RefCell::default(),
            unread: RefCell::default(),
        })
    }

    /// What may be done from now on. Returns whether [`run`](Executions::run) has to begin anew: other services, or another thing.
    pub(crate) fn configure(&self, config: &Config, document: Document) -> bool {
        let settings = Settings {
            thing: config.connection.thing.clone(),
            // What they are of isn't known before the thing is.
            jobs: config.jobs.clone().filter(|_| config.connection.is_named),
            commands: config.commands.clone().filter(|_| config.connection.is_named),
            actions: config.actions.clone(),
            downloads: config.outbox.path.with_file_name(DIRECTORY),
            proxy: config.connection.proxy.clone(),
            connect_timeout: config.connection.connect_timeout,
        };
        *self.document.borrow_mut() = Some(document);
        let filters = config.services().into_iter().filter_map(|service| {
            // The configuration has checked the name of the thing.
            Some((service, service.filters(config.names()).ok()?))
        });
        self.services.configure(Asker::Executions, filters.collect());
        self.was_reloaded.set(true);
        let old = self.settings.replace(Rc::new(settings.clone()));
        let what = |settings: &Settings| (settings.thing.clone(), settings.jobs.is_some(), settings.commands.is_some());
        what(&old) != what(&settings)
    }

    /// Does what jobs and commands want, for ever. Dropping this future ends the action that is under way.
    pub(crate) fn run(self: Rc<Self>, stop: Rc<Stop>) -> impl Future<Output = ()> {
        // Before it is polled for the first time: it may be told to end before that.
        self.stop.replace(Rc::clone(&stop));
        async move {
            let mut work = tokio::select! {
                biased;
                // Nothing has been begun yet.
                () = stop.requested() => return,
                work = Work::begin(&self) => work,
            };
            self.unread.take();
            work.go_on().await;
        }
    }

    /// The daemon stops, or it is begun anew: [`run`](Executions::run) ends once what is known is on the disk.
    pub(crate) fn stop(&self) {
        self.stop.borrow().request();
    }

    /// Likewise, as the link stops, too: what that still hears counts.
    pub(crate) fn stop_with_the_link(&self) {
        self.link_stops.set(true);
        self.stop();
    }

    /// Whether the link stays, or has stopped.
    fn needs_no_link(&self) -> bool {
        !self.link_stops.get() || self.services.connection().is_none()
    }

    /// Completes when an action wants the configuration to be read again.
    pub(crate) async fn wants_reload(&self) {
        self.wants_reload.notified().await;
    }

    /// It was read again: with what came of it.
    pub(crate) fn reloaded(&self, result: &Result<(), String>) {
        for answer in self.reloads.take() {
            // The action may have been cancelled meanwhile.
            let _ = answer.send(result.clone());
        }
    }

    /// The services that are configured, by name, for the status document.
    pub(crate) fn status(&self) -> BTreeMap<&'static str, ServiceStatus> {
        let has_socket = self.settings().jobs.as_ref().is_some_and(|jobs| jobs.socket.is_some());
        let readers = has_socket.then(|| self.socket.readers());
        let unread = self.unread.borrow();
        status::of(&self.services.requests(), &self.under_way.borrow(), readers, unread.as_deref())
    }

    /// The last executions, the newest last.
    pub(crate) fn history(&self) -> Vec<Entry> {
        self.history.borrow().clone()
    }

    /// By what an execution of this daemon is known on this machine.
    fn execution(&self, id: &str, number: i64) -> Result<ExecutionId, BadExecutionId> {
        Ok(ExecutionId::new(id, number)?.of(self.daemon))
    }

    fn settings(&self) -> Rc<Settings> {
        Rc::clone(&self.settings.borrow())
    }
}
