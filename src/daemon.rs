//! The daemon: starts every part, connects them, and stops them in order. The only place that knows them all.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use signal_hook_tokio::Signals;
use thiserror::Error;
use tokio::task::{JoinHandle, JoinSet, LocalSet, spawn_local};
use tokio_stream::StreamExt as _;

use crate::config::{self, Config, SocketFile};
use crate::forward::Forward;
use crate::inbox::{Acks, Inbox};
use crate::ingest::Ingest;
use crate::link::credentials::{Credentials, Validity};
use crate::link::state::{Fixed, LinkState};
use crate::link::{Link, SaidOnce};
use crate::message::{Qos, TopicFilter};
use crate::observe::status::{CertificateStatus, Status};
use crate::observe::status_socket;
use crate::observe::{journal, memory};
use crate::outbox::Outbox;
use crate::schedule::Schedule;
use crate::socket::{Listener, SocketError};
use crate::stop::Stop;
use crate::store::{OpenError, Store};
use crate::systemd::Notifier;

/// After the link has stopped: for the disk to take what is left. A card may need seconds for a sync.
const STORE_TIME: Duration = Duration::from_secs(5);

/// After that: for the last answers to reach the clients.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

/// How often the certificate's validity is looked at.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(24 * 3600);

/// Why the daemon can't start, or go on.
#[derive(Debug, Error)]
pub(crate) enum DaemonError {
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error("the runtime can't be started: {0}")]
    Runtime(#[from] io::Error),
    /// A defect: the panic has been logged.
    #[error("{0} has failed; gatewire stops, so that it is started anew")]
    TaskFailed(&'static str),
}

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(config: &Config, credentials: Credentials) -> Result<(), DaemonError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let result = runtime.block_on(LocalSet::new().run_until(serve(config, credentials)));
    // A look-up in DNS that hangs in the C library mustn't hold us.
    runtime.shutdown_background();
    result
}

/// What the status document is made of.
struct Parts {
    started: Timestamp,
    validity: Validity,
    store: Rc<Store>,
    link: Rc<LinkState>,
    outbox: Rc<Outbox>,
    inbox: Rc<Inbox>,
    schedule: Rc<Schedule>,
    forwards: Vec<Rc<Forward>>,
    ingests: Vec<Rc<Ingest>>,
}

async fn serve(config: &Config, credentials: Credentials) -> Result<(), DaemonError> {
    // First of all, so that no signal meets its default action.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let now = Instant::now();
    let notifier = Rc::new(Notifier::from_environment(now));
    let stop = Rc::new(Stop::default());
    let forwards: Vec<&str> = config.forward.iter().map(|forward| forward.name.as_str()).collect();
    let store = Store::open(&config.outbox.path, &forwards)?;
    let parts = Rc::new(assemble(config, &credentials, &stop, store, now));
    let listeners = listen(config, &parts)?;
    announce(config, &parts);
    let mut keepers = keep(&parts);
    let mut schedule = {
        let (schedule, outbox) = (Rc::clone(&parts.schedule), Rc::clone(&parts.outbox));
        spawn_local(async move { schedule.run(|message| outbox.submit(message)).await })
    };
    let link = Link {
        config: config.connection.clone(),
        credentials: credentials.clone(),
        outbox: Rc::clone(&parts.outbox),
        inbox: Rc::clone(&parts.inbox),
        notifier: Rc::clone(&notifier),
        state: Rc::clone(&parts.link),
        stop: Rc::clone(&stop),
        said: SaidOnce::default(),
    };
    let filters = filters(config);
    let mut link = spawn_local(async move { link.run(filters).await });

    let ended = wait_for_the_end(&mut signals, &mut link, &mut schedule, &mut keepers, &credentials).await;

    notifier.stopping();
    schedule.abort();
    parts.outbox.close();
    stop.request();
    await_link(&mut signals, link).await;
    // What the disk doesn't take in time is lost, and said so.
    let _ = tokio::time::timeout(STORE_TIME, parts.outbox.store_the_rest()).await;
    say_what_is_left(parts.outbox.stored(), parts.outbox.abandon());
    let settled = async {
        for ingest in &parts.ingests {
            ingest.settled().await;
        }
    };
    // Who doesn't read has had its chance.
    let _ = tokio::time::timeout(LAST_ANSWERS, settled).await;
    say_what_is_unread(&parts.forwards);
    drop(listeners);
    drop(keepers);
    let _ = tokio::time::timeout(STORE_TIME, parts.store.close()).await;
    log::info!(GATEWIRE_EVENT = "stopped"; "stopped");
    ended
}

fn assemble(config: &Config, credentials: &Credentials, stop: &Rc<Stop>, store: Rc<Store>, now: Instant) -> Parts {
    let outbox = Outbox::new(&config.outbox, &store);
    let acks: Rc<Acks> = Rc::default();
    let forward = |forward: &config::Forward| Forward::new(forward.clone(), Rc::clone(&acks));
    let forwards: Vec<Rc<Forward>> = config.forward.iter().map(forward).collect();
    let ingest = |ingest: &config::Ingest| {
        Ingest::new(ingest.clone(), config.connection.protocol, Rc::clone(&outbox), Rc::clone(stop))
    };
    Parts {
        started: journal::now(),
        validity: credentials.validity(),
        link: Rc::new(LinkState::new(Fixed {
            endpoint: config.connection.endpoint.clone(),
            port: config.connection.port,
            client_id: config.connection.client_id.clone(),
            protocol: config.connection.protocol.as_str(),
        })),
        inbox: Inbox::new(forwards.clone(), acks, fastrand::u64(..)),
        schedule: Rc::new(Schedule::new(&config.publish, now)),
        ingests: config.ingest.iter().map(ingest).collect(),
        forwards,
        outbox,
        store,
    }
}

/// The tasks that keep on the disk what has to be there.
fn keep(parts: &Parts) -> JoinSet<()> {
    let mut keepers = JoinSet::new();
    keepers.spawn_local(Rc::clone(&parts.outbox).keep(Rc::clone(&parts.store)));
    keepers
}

/// The tasks that serve the sockets. When they are dropped, the sockets go.
struct Listeners(Vec<JoinHandle<()>>);

impl Drop for Listeners {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// Opens every socket before any of them is served: a daemon that can't have them all has none.
fn listen(config: &Config, parts: &Rc<Parts>) -> Result<Listeners, DaemonError> {
    let bind = |socket: &SocketFile| Listener::bind(socket);
    let forwards = config.forward.iter().map(|forward| bind(&forward.socket)).collect::<Result<Vec<_>, _>>()?;
    let ingests = config.ingest.iter().map(|ingest| bind(&ingest.socket)).collect::<Result<Vec<_>, _>>()?;
    let status = bind(&config.status.socket)?;
    let mut tasks = Vec::new();
    for (forward, listener) in parts.forwards.iter().zip(forwards) {
        tasks.push(spawn_local(Rc::clone(forward).serve(listener)));
    }
    for (ingest, listener) in parts.ingests.iter().zip(ingests) {
        tasks.push(spawn_local(Rc::clone(ingest).serve(listener)));
    }
    let parts = Rc::clone(parts);
    tasks.push(spawn_local(status_socket::serve(status, move || parts.status().to_json())));
    Ok(Listeners(tasks))
}

/// What every forward together wants, each filter with the highest QoS that any of them asks for.
fn filters(config: &Config) -> BTreeMap<TopicFilter, Qos> {
    let mut filters = BTreeMap::new();
    for forward in &config.forward {
        for filter in &forward.filters {
            let qos = filters.entry(filter.clone()).or_insert(forward.qos);
            *qos = forward.qos.max(*qos);
        }
    }
    filters
}

/// A few lines that say what this daemon will do.
fn announce(config: &Config, parts: &Parts) {
    let connection = &config.connection;
    log::info!(
        GATEWIRE_EVENT = "starting", GATEWIRE_ENDPOINT = connection.endpoint.as_str(),
        GATEWIRE_CLIENT_ID = connection.client_id.as_str();
        "gatewire {} keeps a link to {}:{} as `{}` (MQTT {})",
        env!("CARGO_PKG_VERSION"), connection.endpoint, connection.port, connection.client_id, connection.protocol.as_str()
    );
    for publish in &config.publish {
        let every = humantime::format_duration(publish.every);
        log::info!("publish {}: on {} every {every}", publish.name, publish.topic);
    }
    for forward in &config.forward {
        let filters: Vec<&str> = forward.filters.iter().map(TopicFilter::as_str).collect();
        log::info!("forward {}: {} to {}", forward.name, filters.join(", "), forward.socket.path.display());
    }
    for ingest in &config.ingest {
        let topics: Vec<&str> = ingest.topics.iter().map(TopicFilter::as_str).collect();
        log::info!("ingest {}: {} to {}", ingest.name, ingest.socket.path.display(), topics.join(", "));
    }
    let waiting = match parts.outbox.status().waiting {
        0 => String::new(),
        n => format!("; {n} messages wait in it"),
    };
    log::info!(
        "outbox: what IoT Core hasn't acknowledged within {} is kept in {}{waiting}",
        humantime::format_duration(config.outbox.spill_after),
        config.outbox.path.display()
    );
}

/// Until a signal says so. A task that ends before was ended by a panic: without it the daemon would only seem to work.
async fn wait_for_the_end(
    signals: &mut Signals,
    link: &mut JoinHandle<()>,
    schedule: &mut JoinHandle<()>,
    keepers: &mut JoinSet<()>,
    credentials: &Credentials,
) -> Result<(), DaemonError> {
    let mut look = tokio::time::interval(CERTIFICATE_LOOK);
    look.tick().await;
    let mut all_published = false;
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Some(SIGHUP) => log::warn!(
                    GATEWIRE_EVENT = "reload_unsupported";
                    "SIGHUP: reloading is not supported yet, nothing has changed; `systemctl restart gatewire` applies a new \
                     configuration"
                ),
                signal => {
                    let name = if signal == Some(SIGINT) { "SIGINT" } else { "SIGTERM" };
                    log::info!(GATEWIRE_EVENT = "stopping"; "{name}: stopping");
                    return Ok(());
                }
            },
            _ = &mut *link => return Err(DaemonError::TaskFailed("the link")),
            _ = keepers.join_next() => return Err(DaemonError::TaskFailed("what keeps messages on the disk")),
            ended = &mut *schedule, if !all_published => match ended {
                Ok(()) => all_published = true,
                Err(_) => return Err(DaemonError::TaskFailed("the schedule")),
            },
            _ = look.tick() => {
                if let Some(warning) = credentials.validity_warning(SystemTime::now()) {
                    log::warn!(GATEWIRE_EVENT = "credentials"; "{warning}");
                }
            }
        }
    }
}

/// The link delivers what it can and says goodbye. A second signal cuts that short.
async fn await_link(signals: &mut Signals, mut link: JoinHandle<()>) {
    if link.is_finished() {
        return;
    }
    loop {
        tokio::select! {
            _ = &mut link => return,
            signal = signals.next() => if signal != Some(SIGHUP) {
                log::warn!("a second signal: stopping at once");
                return;
            }
        }
    }
}

fn say_what_is_left(stored: u64, lost: usize) {
    if stored > 0 {
        log::info!(
            GATEWIRE_EVENT = "stored", GATEWIRE_COUNT = stored;
            "{stored} messages wait for IoT Core on the disk: they are sent after the next start"
        );
    }
    if lost > 0 {
        log::error!(
            GATEWIRE_EVENT = "lost", GATEWIRE_COUNT = lost;
            "{lost} messages that IoT Core hadn't acknowledged are lost: the disk couldn't be written. Clients that waited for \
             an answer have been told"
        );
    }
}

fn say_what_is_unread(forwards: &[Rc<Forward>]) {
    for forward in forwards.iter().filter(|forward| forward.waiting() > 0) {
        let (name, count) = (forward.name(), forward.waiting());
        log::warn!(
            GATEWIRE_EVENT = "lost", GATEWIRE_FORWARD = name, GATEWIRE_COUNT = count;
            "forward {name}: {count} messages that no reader has taken are lost: they were in memory only"
        );
    }
}

impl Parts {
    fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION"),
            started: self.started,
            memory: memory::status(),
            link: self.link.status(),
            outbox: self.outbox.status(),
            store: self.store.status(),
            inbox: self.inbox.status(),
            counters: self.link.counters(),
            publish: self.schedule.status(),
            forward: self.forwards.iter().map(|forward| forward.status()).collect(),
            ingest: self.ingests.iter().map(|ingest| ingest.status()).collect(),
            certificate: CertificateStatus { not_before: self.validity.not_before, not_after: self.validity.not_after },
        }
    }
}

const SIGHUP: i32 = nix::libc::SIGHUP;
const SIGINT: i32 = nix::libc::SIGINT;
const SIGTERM: i32 = nix::libc::SIGTERM;
