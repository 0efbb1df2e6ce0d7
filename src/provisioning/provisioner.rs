//! Does what the machine says: on the disk in threads, and in the cloud through the network.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::claim::ClaimConnection;
use super::machine::{Action, ActionOutcome, Machine};
use super::making::Making;
use super::setup::Setup;
use super::threads::in_thread;
use super::trial;
use super::trouble::{Stage, Trouble};
use super::waits::Waits;
use super::wire::{Request, created, registered};
use crate::config;
use crate::identity::{Directory, DiskError, FoundIdentity, Identity, Platform};
use crate::net::{Network, Transport};
use crate::time;

/// What is told of it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum News<'a> {
    /// It is at this stage now.
    Begun(Stage),
    /// What came of it, in one line.
    Done(Stage, &'a str),
    /// It is tried again after this time.
    Failed(&'a Trouble, Duration),
}

/// Takes the news as they come.
pub(crate) type Tell<'a> = &'a mut dyn FnMut(News<'_>);

/// See the module.
#[derive(Debug)]
pub(crate) struct Provisioner<N: Network> {
    network: Rc<N>,
    setup: Setup,
    making: Making,
    rng: RefCell<fastrand::Rng>,
}

/// Where it has come to.
enum Ended {
    Ready(Identity),
    Failed(Trouble),
}

/// When it is given up for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Ready,
    Failure,
}

impl<N: Network> Provisioner<N> {
    /// For who holds the lock of `directory`. What was made for the same directory and dropped may still be writing to it.
    pub(crate) fn new(network: Rc<N>, setup: Setup, directory: Directory) -> Provisioner<N> {
        let making = Making::new(directory, setup.source.clone());
        Provisioner { network, setup, making, rng: RefCell::new(fastrand::Rng::new()) }
    }

    /// Goes on until there is an identity, for ever. May be dropped at any point: the next one goes on there.
    pub(crate) async fn run(&self, tell: Tell<'_>) -> Identity {
        loop {
            if let Ended::Ready(identity) = self.go(Until::Ready, tell).await {
                return identity;
            }
        }
    }

    /// Makes one attempt.
    ///
    /// # Errors
    /// Why it failed. The next attempt goes on there.
    pub(crate) async fn attempt(&self, tell: Tell<'_>) -> Result<Identity, Trouble> {
        match self.go(Until::Failure, tell).await {
            Ended::Ready(identity) => Ok(identity),
            Ended::Failed(trouble) => Err(trouble),
        }
    }

    async fn go(&self, until: Until, tell: Tell<'_>) -> Ended {
        let mut machine = match self.resume(until, tell).await {
            Ok(machine) => machine,
            Err(ended) => return ended,
        };
        let (mut claim, mut stage) = (None, None);
        loop {
            let action = machine.next(time::now(), time::wall());
            match action {
                Action::Ready(identity) => return Ended::Ready(identity),
                // One that was told of already.
                Action::Wait(until) => {
                    sleep_until(Instant::from_std(until)).await;
                    stage = None;
                    continue;
                }
                _ => {}
            }
            if stage.replace(machine.stage()) != Some(machine.stage()) {
                tell(News::Begun(machine.stage()));
            }
            let outcome = self.act(&action, machine.stage(), &mut claim, tell).await;
            let failed = outcome.as_ref().err().cloned();
            let (now, wall, random) = (time::now(), time::wall(), self.rng.borrow_mut().f64());
            machine.came(action, outcome.unwrap_or_else(ActionOutcome::Failed), now, wall, random);
            if let Some(trouble) = failed {
                close(&mut claim).await;
                // Nothing of this is lost when it is given up here.
                self.save(&mut machine).await;
                if until == Until::Failure {
                    return Ended::Failed(trouble);
                }
                let wait = machine.waits_until().map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
                tell(News::Failed(&trouble, wait));
            }
        }
    }

    /// What is there to go on with; or an identity that is there already.
    async fn resume(&self, until: Until, tell: Tell<'_>) -> Result<Machine, Ended> {
        loop {
            let tls = self.setup.tls.clone();
            let found = self.on_disk(Stage::Key, move |making| -> Result<_, DiskError> {
                match making.directory().current()? {
                    FoundIdentity::Identity(identity) if making.is_usable(&tls) => Ok(Err(identity)),
                    FoundIdentity::Identity(_) | FoundIdentity::Nothing | FoundIdentity::Damaged(_) => {
                        Ok(Ok(making.progress()?))
                    }
                }
            });
            let trouble = match found.await {
                Ok(Ok(Ok(progress))) => return Ok(Machine::new(self.setup.source.place(), progress)),
                Ok(Ok(Err(identity))) => return Err(Ended::Ready(identity)),
                Ok(Err(error)) => Trouble::of_disk(Stage::Key, &error),
                Err(trouble) => trouble,
            };
            if until == Until::Failure {
                return Err(Ended::Failed(trouble));
            }
            let wait = Waits::again(self.rng.borrow_mut().f64());
            tell(News::Failed(&trouble, wait));
            sleep_until(Instant::now() + wait).await;
        }
    }

    async fn act(
        &self,
        action: &Action,
        stage: Stage,
        claim: &mut Option<ClaimConnection<N::Stream>>,
        tell: Tell<'_>,
    ) -> Result<ActionOutcome, Trouble> {
        let setup = &self.setup;
        match action {
            Action::Begin(progress) => {
                let progress = progress.clone();
                self.on_disk(stage, move |making| making.begin(&progress)).await??;
                tell(News::Done(stage, setup.source.said()));
            }
            Action::Save(progress, certificate) => {
                let (progress, certificate) = (progress.clone(), certificate.clone());
                self.on_disk(stage, move |making| making.save(stage, &progress, certificate.as_deref())).await??;
            }
            Action::Connect => {
                let opened = claim.insert(ClaimConnection::open(&*self.network, setup, self.platform()).await?);
                tell(News::Done(Stage::Connect, &format!("accepted as `{}`, with the claim", opened.client_id())));
            }
            Action::CreateCertificate => return self.create(open(claim)?, tell).await,
            Action::RegisterThing(token) => {
                let parameters =
                    setup.provisioning.told.as_ref().map(|told| told.parameters.clone()).unwrap_or_default();
                let request = Request::register(&setup.provisioning.template, token.expose(), &parameters);
                let answer = open(claim)?.ask(&request).await?;
                let registered = registered(&answer).map_err(|trouble| trouble.without(token.expose()))?;
                self.client_id_of(&registered.thing).map_err(|said| Trouble::of_client_id(&registered.thing, &said))?;
                tell(News::Done(stage, &format!("the thing is `{}`", registered.thing)));
                return Ok(ActionOutcome::Registered(registered));
            }
            Action::Try(thing) => {
                close(claim).await;
                let client_id = self.client_id_of(thing).map_err(|said| Trouble::of_configuration(thing, &said))?;
                let connection = config::Connection { client_id, will: None, ..setup.connection.clone() };
                trial::connect(&*self.network, &connection, self.making.tls(&setup.tls), self.platform()).await?;
                tell(News::Done(stage, &format!("accepted as `{}`, with the new certificate", connection.client_id)));
            }
            Action::PutInForce(identity) => {
                let identity = identity.clone();
                self.on_disk(stage, move |making| making.put_in_force(&identity)).await??;
            }
            Action::Wait(_) | Action::Ready(_) => {}
        }
        Ok(ActionOutcome::Done)
    }

    async fn create(&self, claim: &mut ClaimConnection<N::Stream>, tell: Tell<'_>) -> Result<ActionOutcome, Trouble> {
        let name = common_name(claim.client_id()).to_owned();
        let (csr, key) = self.on_disk(Stage::Key, move |making| making.request(&name)).await??;
        let created = created(&claim.ask(&Request::create(&csr)).await?, &*key)?;
        tell(News::Done(Stage::CreateCertificate, &format!("the certificate is {}", created.certificate_id)));
        Ok(ActionOutcome::Created(created))
    }

    /// What the machine wants on the disk before it waits. If that fails, it is tried again after the wait.
    async fn save(&self, machine: &mut Machine) {
        let (now, wall, random) = (time::now(), time::wall(), self.rng.borrow_mut().f64());
        let action = machine.next(now, wall);
        if let Action::Save(progress, certificate) = action.clone() {
            let stage = machine.stage();
            let save = move |making: &Making| making.save(stage, &progress, certificate.as_deref());
            let saved = self.on_disk(stage, save).await.and_then(|saved| saved);
            machine.came(action, saved.map_or_else(ActionOutcome::Failed, |()| ActionOutcome::Done), now, wall, random);
        }
    }

    fn client_id_of(&self, thing: &str) -> Result<String, String> {
        self.setup.provisioning.client_id_of(thing)
    }

    fn platform(&self) -> &dyn Platform {
        &**self.making.directory().platform()
    }

    /// In a thread, after what was begun before.
    async fn on_disk<T: Send + 'static>(
        &self,
        stage: Stage,
        work: impl FnOnce(&Making) -> T + Send + 'static,
    ) -> Result<T, Trouble> {
        let (turn, making) = (self.making.turn().await, self.making.clone());
        in_thread(self.platform(), stage, move || {
            let done = work(&making);
            drop(turn);
            done
        })
        .await
    }
}

async fn close<S: Transport>(claim: &mut Option<ClaimConnection<S>>) {
    if let Some(claim) = claim.take() {
        claim.close().await;
    }
}

/// The machine asks only on a connection.
fn open<S>(claim: &mut Option<ClaimConnection<S>>) -> Result<&mut ClaimConnection<S>, Trouble> {
    claim.as_mut().ok_or_else(|| Trouble::of_answer(Stage::Connect, "there is no connection"))
}

/// The common name of a request: at most 64 characters (RFC 5280, ub-common-name).
fn common_name(client_id: &str) -> &str {
    if client_id.chars().count() <= 64 { client_id } else { "gatewire" }
}
