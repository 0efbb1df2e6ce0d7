//! The identity that gatewire makes itself: who holds its files, what is said of it, and when it comes into force.
//!
//! With `[provisioning]` the daemon holds the lock on the files for as long as it runs, so that no second process makes another
//! identity. Until there is one, a task asks for it; once there is, the configuration is read anew, as for SIGHUP.

mod told;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{AbortHandle, spawn_local};

use super::machine::Readings;
use super::supervisor::Supervisor;
use crate::config::{Connection, NoValue, Provisioning, Tls};
use crate::identity::{Directory, Identity, IdentityState, Lock, Phase, Platform};
use crate::net::Network;
use crate::notify::LocalNotify;
use crate::provisioning::{News, Provisioner, Setup, Undeleted, delete_claim};
use crate::systemd::Notifier;
use crate::time;
use told::{Refused, Told};

/// How often it is looked whether another process has let go of the lock, and whether the disk works again.
const LOOK: Duration = Duration::from_secs(5);

/// How long until it is tried again to put an identity to use.
const USE_AGAIN: Duration = Duration::from_secs(60);

/// How often, at most, a reload has it tried at once to get an identity.
const AT_ONCE: Duration = Duration::from_secs(30);

/// What is done before anything is asked for.
const FILES: &str = "files";

/// See the module.
pub(super) struct OwnIdentity {
    pub(super) state: Rc<IdentityState>,
    told: Told,
    platform: Arc<dyn Platform>,
    /// There is one that the daemon doesn't know yet.
    came: LocalNotify,
    held: RefCell<Option<(Directory, Lock)>>,
    /// They are held from now on.
    holds: LocalNotify,
    /// What is being done, and for what.
    working: RefCell<Option<(Wanted, AbortHandle)>>,
    /// When a reload last had it tried at once.
    at_once: Cell<Option<Instant>>,
}

/// What a task is for.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    connection: Connection,
    tls: Tls,
    provisioning: Provisioning,
    has_identity: bool,
}

impl OwnIdentity {
    pub(super) fn new(notifier: &Rc<Notifier>, platform: Arc<dyn Platform>) -> OwnIdentity {
        let state: Rc<IdentityState> = Rc::default();
        OwnIdentity {
            told: Told::new(&state, notifier),
            state,
            platform,
            came: LocalNotify::default(),
            held: RefCell::default(),
            holds: LocalNotify::default(),
            working: RefCell::default(),
            at_once: Cell::new(None),
        }
    }

    /// The files, as soon as they are this process's. For the one that rotates what is in them.
    pub(super) async fn directory(&self) -> Directory {
        loop {
            if let Some((directory, _)) = &*self.held.borrow() {
                return directory.clone();
            }
            self.holds.notified().await;
        }
    }

    /// Completes when there is an identity that is to be put to use.
    pub(super) async fn came(&self) {
        self.came.notified().await;
    }

    /// The identity couldn't be put to use, which was said: it is tried again.
    pub(super) fn comes_again(self: &Rc<Self>) {
        let own = Rc::clone(self);
        spawn_local(async move {
            tokio::time::sleep(USE_AGAIN).await;
            own.came.notify();
        });
    }

    /// Does what the configuration says. What is being done goes on, unless something of it is another; what waits for its next
    /// attempt is tried at once, for who reloads has mended something.
    pub(super) fn apply<N: Network>(
        self: &Rc<Self>,
        readings: &Readings,
        network: &Rc<N>,
        supervisor: &Rc<Supervisor>,
    ) {
        let setup = Setup::of(&readings.config);
        let wanted = setup.as_ref().map(|setup| Wanted {
            connection: setup.connection.clone(),
            tls: setup.tls.clone(),
            provisioning: setup.provisioning.clone(),
            has_identity: readings.identity.is_some(),
        });
        let is_the_same = self.working.borrow().as_ref().map(|(working, _)| working) == wanted.as_ref();
        if is_the_same && !self.may_try_at_once(readings) {
            return;
        }
        if let Some((_, task)) = self.working.take() {
            task.abort();
        }
        if !is_the_same {
            self.state.found_again(readings.identity.as_ref());
        }
        let (Some(setup), Some(wanted)) = (setup, wanted) else {
            self.held.take();
            return;
        };
        let work = Rc::clone(self).work(setup, readings.identity.is_some(), Rc::clone(network));
        let task = supervisor.spawn("what makes the identity", work);
        *self.working.borrow_mut() = Some((wanted, task.abort_handle()));
    }

    /// Whether an attempt that is yet to come may be made now.
    fn may_try_at_once(&self, readings: &Readings) -> bool {
        let now = time::now();
        let is_soon = self.at_once.get().is_some_and(|last| now.saturating_duration_since(last) < AT_ONCE);
        let may = readings.identity.is_none() && self.state.waits() && !is_soon;
        if may {
            self.at_once.set(Some(now));
        }
        may
    }

    /// Ends when it is aborted.
    async fn work<N: Network>(self: Rc<Self>, setup: Setup, has_identity: bool, network: Rc<N>) {
        let directory = self.hold(&setup.provisioning, has_identity).await;
        match has_identity {
            true => self.delete_claim(&setup.provisioning).await,
            false => {
                let identity = self.provision(setup, directory, network).await;
                self.told.in_force(&identity);
                self.came.notify();
            }
        }
        std::future::pending::<()>().await;
    }

    async fn provision<N: Network>(&self, setup: Setup, directory: Directory, network: Rc<N>) -> Identity {
        if let Err(lacks) = &setup.provisioning.told {
            // Nothing is sent until this machine has a value for the placeholder, or the configuration another one.
            self.say_lack(lacks);
            return std::future::pending().await;
        }
        let provisioner = Provisioner::new(network, setup, directory);
        let mut tell = |news: News<'_>| match news {
            News::Begun(stage) => self.told.begun(stage.as_str()),
            News::Done(stage, line) => log::info!(GATEWIRE_EVENT = "provisioning"; "identity, {stage}: {line}"),
            News::Failed(trouble, wait) => self.told.refused(Refused {
                phase: Phase::Provisioning,
                step: trouble.stage.as_str(),
                code: &trouble.code,
                message: trouble.message.clone(),
                advice: &trouble.advice,
                wait: Some(wait),
            }),
        };
        provisioner.run(&mut tell).await
    }

    fn say_lack(&self, lacks: &NoValue) {
        self.told.refused(Refused {
            phase: Phase::None,
            step: FILES,
            code: "no_value",
            message: format!("{}: `{}`: {lacks}", lacks.place, lacks.key),
            advice: lacks.advice(),
            wait: None,
        });
    }

    /// Completes once the files are this process's.
    async fn hold(&self, provisioning: &Provisioning, has_identity: bool) -> Directory {
        let phase = if has_identity { Phase::Ready } else { Phase::None };
        let path = &provisioning.state;
        loop {
            if let Some((directory, _)) = &*self.held.borrow() {
                return directory.clone();
            }
            let state = path.clone();
            let platform = Arc::clone(&self.platform);
            let opened = match self.platform.aside("identity", move || Directory::open(&state, &platform)) {
                Ok(opening) => opening.await.ok(),
                Err(_) => None,
            };
            let (code, message, advice) = match opened {
                Some(Ok(Some(held))) => {
                    *self.held.borrow_mut() = Some(held);
                    if has_identity {
                        // Nothing is in the way any more.
                        self.state.rests();
                    }
                    self.holds.notify();
                    continue;
                }
                Some(Ok(None)) => {
                    let message = format!("another process holds {}", path.join("identity.lock").display());
                    let advice = "Another daemon with this state directory runs, or `gatewire provision`: `pgrep -af gatewire` shows \
                         both. It goes on when that has ended.";
                    ("locked", message, advice.to_owned())
                }
                Some(Err(error)) => ("disk", error.to_string(), error.advice()),
                None => {
                    let advice = "Too many processes and threads run: end some, or raise TasksMax= of the unit.";
                    ("no_thread", "the files can't be opened: there is no thread for it".to_owned(), advice.to_owned())
                }
            };
            self.told.refused(Refused { phase, step: FILES, code, message, advice: &advice, wait: Some(LOOK) });
            tokio::time::sleep(LOOK).await;
        }
    }

    /// With an identity the claim isn't needed any more.
    async fn delete_claim(&self, provisioning: &Provisioning) {
        let provisioning = provisioning.clone();
        let Ok(deleting) = self.platform.aside("identity", move || delete_claim(&provisioning)) else { return };
        for Undeleted { path, said, command } in deleting.await.unwrap_or_default() {
            log::warn!(
                GATEWIRE_EVENT = "claim_left";
                "the claim isn't needed any more, and {} can't be deleted: {said}. `{command}` does", path.display()
            );
        }
    }
}
