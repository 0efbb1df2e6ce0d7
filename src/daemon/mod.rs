//! The daemon: starts every part, connects them, and stops them in order. The only place that knows them all.

mod announce;
mod identity;
mod machine;
mod reload;
mod rotation;
mod served;
mod start;
mod stop;
mod subscriptions;
mod supervisor;
mod watch;

use std::cell::{Cell, RefCell};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;
use tokio::runtime::{Builder, LocalOptions};
use tokio::time::{Instant, Interval};
use tokio_stream::{Stream, StreamExt as _};

use crate::blocking::NoThread;
use crate::bridge::local::{Figures, Upstream};
use crate::client::Reconfigured;
use crate::identity::Platform;
use crate::journal;
use crate::link::state::{Fixed, LinkState};
use crate::link::{Link, Requested, SaidOnce, Setup};
use crate::net::Network;
use crate::net::credentials::Validity;
use crate::schedule::Schedule;
use crate::socket::Inherited;
use crate::status::memory;
use crate::status::{CertificateStatus, ClockStatus, Status};
use crate::stop::Stop;
use crate::store::OpenError;
use crate::systemd::Notifier;
use crate::time;
use identity::OwnIdentity;
use rotation::OwnRotation;
use served::Served;
use start::{end, open_store, say_stopped, start};
use watch::Watch;

pub(crate) use machine::Machine;
pub(crate) use machine::{Read, Readings, ReloadAnswer, ReloadRefused};
use reload::{Cause, ReadConfiguration};

/// What the kernel reports at once, at most; what is more comes with the next turn.
const EVENTS: usize = 64;

/// How often the certificate's validity is looked at.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(24 * 3600);

/// Why the daemon can't start, or go on.
#[derive(Debug, Error)]
pub(crate) enum DaemonError {
    /// The sockets or the store can't be as the configuration says.
    #[error("{0}")]
    Unprepared(String),
    /// The files can't be used.
    #[error("{}", .0.errors.join("\n"))]
    Refused(ReloadRefused),
    #[error("the runtime can't be started: {}{}", .0, where_files_are_short(.0))]
    Runtime(#[from] io::Error),
    #[error("the kernel gives no timer for `cron` (timerfd): {0}")]
    Timer(io::Error),
    #[error("gatewire can't start: {0}")]
    NoThread(#[from] NoThread),
    /// A defect: the panic has been logged.
    #[error(
        "a part that gatewire can't work without has failed: {0}. The line \"internal error\" before this one has the reason; \
        please report it. gatewire ends with exit code 70, and systemd restarts it"
    )]
    PartFailed(&'static str),
}

fn where_files_are_short(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(nix::libc::EMFILE) => ". Raise LimitNOFILE= in the unit, or `ulimit -n`",
        _ => "",
    }
}

/// Runs until SIGTERM or SIGINT.
///
/// `read` reads the configuration and the credentials: at the start, and anew for SIGHUP.
pub(crate) fn run(read: &Arc<Read>) -> Result<(), DaemonError> {
    // A `LocalSet` in another runtime would wake itself through the kernel, twice a message.
    let mut builder = Builder::new_current_thread();
    let builder = builder.enable_io().enable_time().max_io_events_per_tick(EVENTS);
    let runtime = builder.build_local(LocalOptions::default())?;
    let result = runtime.block_on(start(read));
    // A look-up in DNS that hangs in the C library mustn't hold us.
    runtime.shutdown_background();
    result
}

/// Everything, and what the status document is made of.
struct Parts<N> {
    started: Timestamp,
    /// Of the database.
    path: PathBuf,
    link: Rc<Link<N>>,
    schedule: Rc<Schedule>,
    served: Served,
    identity: Rc<OwnIdentity>,
    rotation: OwnRotation,
    /// Whether gatewire makes its identity itself.
    is_provisioned: Cell<bool>,
    reloads: reload::Said,
}

/// Everything from the database on, until `signals` say that this is the end.
pub(crate) async fn serve<M: Machine>(
    readings: &Readings,
    inherited: Inherited,
    (mut signals, notifier): (impl Stream<Item = i32> + Unpin, Rc<Notifier>),
    machine: &M,
) -> Result<(), DaemonError> {
    let config = &readings.config;
    let stop = Rc::new(Stop::default());
    let queues = served::queues(config);
    let queues: Vec<&str> = queues.iter().map(String::as_str).collect();
    let at = |error| match error {
        OpenError::NoThread(no_thread) => DaemonError::NoThread(no_thread),
        error => DaemonError::Unprepared(format!("{}{error}", config.places.with_key("path", &config.outbox.path))),
    };
    let opened =
        open_store((&config.outbox.path, machine.disk()), &queues, &mut signals, &notifier).await.map_err(at)?;
    let Some(store) = opened else { return Ok(()) };
    let state = Rc::new(LinkState::new(Fixed::new(&config.connection)));
    let served = Served::new(config, state, store, Rc::clone(&stop), inherited, machine.programs());
    let parts = Rc::new(assemble(readings, &notifier, (Rc::new(machine.network()), machine.platform()), served));
    let Served { outbox, inbox, store, supervisor, .. } = &parts.served;
    parts.served.bridges.reach(machine.brokers(), parts.upstream(), store);
    let prepared = tokio::select! {
        biased;
        signal = end(&mut signals) => {
            say_stopped(&notifier, signal, "the database was read");
            return Ok(());
        }
        prepared = parts.served.prepare(config, Duration::MAX) => {
            prepared.map_err(|error| DaemonError::Unprepared(error.at_its_place(config)))?
        }
    };
    parts.served.apply(config, prepared, parts.document()).await;
    subscriptions::resume(&parts, config).await;
    parts.identity.apply(readings, &parts.link.network, supervisor);
    parts.rotation.apply(readings, &parts.identity, &parts.served);
    announce::announce(config, parts.served.outbox.status().waiting);
    supervisor.spawn("what keeps messages on the disk", Rc::clone(outbox).keep(Rc::clone(store)));
    supervisor.spawn("what keeps ids from going back", Rc::clone(inbox).keep_ids(Rc::clone(store)));
    let thread = Rc::clone(store);
    supervisor.spawn("the thread that writes the database", async move { thread.ended().await });
    let schedule = {
        let (schedule, outbox, supervisor) = (Rc::clone(&parts.schedule), Rc::clone(outbox), Rc::clone(supervisor));
        let telling = Rc::clone(&supervisor);
        supervisor.spawn("the schedule", async move {
            if let Err(error) = schedule.run(|message| outbox.submit(message)).await {
                telling.fail(DaemonError::Timer(error));
            }
        })
    };
    supervisor.spawn("what readers subscribe to", subscriptions::follow(Rc::clone(&parts)));
    let (kept, waiting, store) = (Rc::clone(&parts.link), Rc::clone(outbox), Rc::clone(store));
    let hold = move |why| waiting.hold_what_is_not_urgent(why);
    parts.link.meter.recall_in_time(&store, &*kept.network, &hold).await;
    supervisor.spawn("the meter", async move { kept.meter.keep(&store, &*kept.network, &hold).await });
    let link = Rc::clone(&parts.link);
    let link = supervisor.spawn("the link", async move { link.run().await });

    let ended = wait_for_the_end(&mut signals, &parts, machine).await;

    notifier.stopping();
    schedule.abort();
    stop::stop(&mut signals, &parts, link).await;
    ended
}

fn name_of(signal: Option<i32>) -> &'static str {
    if signal == Some(SIGINT) { "SIGINT" } else { "SIGTERM" }
}

fn assemble<N: Network>(
    readings: &Readings,
    notifier: &Rc<Notifier>,
    (network, platform): (Rc<N>, Arc<dyn Platform>),
    served: Served,
) -> Parts<N> {
    let config = &readings.config;
    let setup = Setup {
        connection: config.connection.clone(),
        tls: config.tls.clone(),
        credentials: readings.credentials.clone(),
        filters: config.filters(),
    };
    let link = Link {
        network,
        setup: RefCell::new(Rc::new(setup)),
        changed: Reconfigured::default(),
        requested: Requested::default(),
        outbox: Rc::clone(&served.outbox),
        inbox: Rc::clone(&served.inbox),
        services: Rc::clone(&served.services),
        meter: Rc::default(),
        notifier: Rc::clone(notifier),
        state: Rc::clone(&served.link),
        stop: Rc::clone(&served.stop),
        store: Rc::clone(&served.store),
        memory: RefCell::default(),
        refused_credentials: RefCell::default(),
        said: SaidOnce::default(),
    };
    link.meter.configure(config, &*link.network);
    let (link, identity) = (Rc::new(link), Rc::new(OwnIdentity::new(notifier, platform)));
    Parts {
        started: journal::now(),
        path: config.outbox.path.clone(),
        rotation: OwnRotation::new(&link, &served, &identity),
        link,
        schedule: Rc::new(Schedule::new(&config.publications())),
        served,
        identity,
        is_provisioned: Cell::new(config.provisioning.is_some()),
        reloads: reload::Said::default(),
    }
}

/// Until a signal says so, or a vital part has failed.
async fn wait_for_the_end<M: Machine>(
    signals: &mut (impl Stream<Item = i32> + Unpin),
    parts: &Rc<Parts<M::Network>>,
    machine: &M,
) -> Result<(), DaemonError> {
    let mut look = every(CERTIFICATE_LOOK);
    let mut reading = ReadConfiguration::default();
    let mut watch = Watch::new();
    let mut contents = parts.served.store.contents();
    loop {
        if watch.add(parts.served.watched()) {
            // What has happened to them before they were watched.
            parts.keep_in_place();
        }
        tokio::select! {
            biased;
            error = parts.served.supervisor.failed() => return Err(error),
            signal = signals.next() => match signal {
                Some(SIGHUP) => reading.begin_again(Cause::Signal, machine),
                signal => {
                    log::info!(GATEWIRE_EVENT = "stopping"; "{}: stopping", name_of(signal));
                    return Ok(());
                }
            },
            (cause, answer) = reading.answer(machine) => {
                let result = reload::reload(parts, cause, answer).await;
                if result.is_err() && cause == Cause::Identity {
                    parts.identity.comes_again();
                }
                parts.served.executions.reloaded(&result);
            }
            () = parts.served.executions.wants_reload() => reading.begin_again(Cause::Job, machine),
            // Another database is there, with other files.
            Ok(()) = contents.changed() => {}
            () = parts.identity.came() => reading.begin_again(Cause::Identity, machine),
            () = parts.served.retry() => parts.served.keep_in_place(parts.document()).await,
            _ = look.tick() => {
                let credentials = parts.link.credentials();
                if let Some(warning) = credentials.and_then(|credentials| credentials.validity_warning(time::system())) {
                    log::warn!(GATEWIRE_EVENT = "credentials"; "{warning}");
                }
            }
            // Last: somebody may touch them again and again.
            () = watch.changed() => parts.keep_in_place(),
        }
    }
}

/// The first comes after one period. tokio's own begins at once, which is a wait of up to a millisecond.
fn every(period: Duration) -> Interval {
    tokio::time::interval_at(Instant::now() + period, period)
}

impl<N: Network> Parts<N> {
    /// Something has happened to the files that are in use.
    fn keep_in_place(self: &Rc<Self>) {
        let store = Rc::clone(&self.served.store);
        tokio::task::spawn_local(async move { store.keep_in_place().await });
        self.served.retry_now();
    }

    /// What the status socket answers with.
    fn document(self: &Rc<Self>) -> Rc<dyn Fn() -> Vec<u8>> {
        // The socket is one of the parts: a strong reference would keep them all.
        let parts = Rc::downgrade(self);
        Rc::new(move || parts.upgrade().map_or_else(Vec::new, |parts| parts.status().to_json()))
    }

    /// What local brokers are told.
    fn upstream(self: &Rc<Self>) -> Upstream {
        let parts = Rc::downgrade(self);
        let figures = move || {
            let parts = parts.upgrade();
            parts.map_or_else(Figures::default, |parts| Figures {
                waiting: parts.served.outbox.status().waiting,
                certificate_days: parts.link.credentials().and_then(|own| own.validity().days_left(time::wall())),
            })
        };
        Upstream { link: self.link.state.changes(), figures: Rc::new(figures) }
    }

    fn status(&self) -> Status {
        let Served { store, outbox, inbox, .. } = &self.served;
        let validity = self.link.credentials().map(|credentials| credentials.validity());
        let certificate = validity.map(|Validity { not_before, not_after }| CertificateStatus {
            not_before: not_before.into(),
            not_after: not_after.into(),
        });
        let not_after = validity.map(|validity| validity.not_after);
        Status {
            version: env!("CARGO_PKG_VERSION"),
            started: self.started.into(),
            memory: memory::status(),
            clock: ClockStatus { synchronised: time::is_synchronised().ok() },
            reload_refused: self.reloads.refused(),
            link: self.link.state.status(),
            outbox: outbox.status(),
            store: store.status(),
            inbox: inbox.status(),
            counters: self.link.state.counters(),
            meter: self.link.meter.status(&*self.link.network),
            publish: self.schedule.status(),
            forward: self.served.forwards().iter().map(|forward| forward.status()).collect(),
            ingest: self.served.ingests().iter().map(|ingest| ingest.status()).collect(),
            bridge: self.served.bridges.status(),
            services: self.served.executions.status(),
            executions: self.served.executions.history(),
            identity: self.is_provisioned.get().then(|| self.identity.state.status(not_after)),
            certificate,
            metrics: self.served.metrics_status(),
        }
    }
}

const SIGHUP: i32 = nix::libc::SIGHUP;
const SIGINT: i32 = nix::libc::SIGINT;
const SIGTERM: i32 = nix::libc::SIGTERM;
/// A file would grow past what this process may write.
const SIGXFSZ: i32 = nix::libc::SIGXFSZ;
