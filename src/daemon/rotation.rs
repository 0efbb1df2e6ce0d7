//! The task that gets another certificate for an identity that gatewire has made itself ([`crate::rotation`]): it is there as long as
//! there is one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::task::AbortHandle;

use super::identity::OwnIdentity;
use super::machine::Readings;
use super::served::Served;
use crate::link::Link;
use crate::net::Network;
use crate::rotation::{Means, Rotations, Settings, When};

/// See the module.
pub(super) struct OwnRotation {
    rotations: Rc<Rotations>,
    is_trial: Rc<Cell<bool>>,
    /// What it is made for.
    working: RefCell<Option<(Settings, AbortHandle)>>,
}

impl OwnRotation {
    pub(super) fn new<N: Network>(link: &Rc<Link<N>>, served: &Served, identity: &OwnIdentity) -> OwnRotation {
        let is_trial = Rc::default();
        let of_link = Rc::clone(link);
        let rotations = Rotations {
            services: Rc::clone(&served.services),
            store: Rc::clone(&served.store),
            orders: Rc::clone(&served.executions.rotations),
            link: Rc::clone(&link.state),
            switch: Box::new(move |Means { tls, credentials }, when| match when {
                When::AtOnce => of_link.connect_with(tls, credentials),
                When::AtNextAttempt => of_link.connect_later_with(tls, credentials),
            }),
            state: Rc::clone(&identity.state),
            is_trial: Rc::clone(&is_trial),
        };
        OwnRotation { rotations: Rc::new(rotations), is_trial, working: RefCell::default() }
    }

    /// Whether the link connects with an identity that isn't in force yet, and goes on with that whatever was read.
    pub(super) fn goes_on_with_trial(&self, readings: &Readings) -> bool {
        self.is_trial.get() && settings(readings).is_some_and(|settings| self.is_made_for(&settings))
    }

    fn is_made_for(&self, settings: &Settings) -> bool {
        self.working.borrow().as_ref().is_some_and(|(working, _)| working == settings)
    }

    /// Does what the configuration says. With another it begins anew: what was begun is on the disk.
    pub(super) fn apply(&self, readings: &Readings, identity: &Rc<OwnIdentity>, served: &Served) {
        let settings = settings(readings);
        if settings.as_ref().is_some_and(|settings| self.is_made_for(settings)) {
            return;
        }
        if let Some((_, task)) = self.working.take() {
            task.abort();
        }
        self.is_trial.set(false);
        if settings.is_none() {
            self.rotations.end(readings.config.provisioning.is_none());
        }
        let (Some(settings), Some(credentials), Some(of_thing)) =
            (settings, readings.credentials.clone(), readings.identity.clone())
        else {
            return;
        };
        let (rotations, own, made_for) = (Rc::clone(&self.rotations), Rc::clone(identity), settings.clone());
        let work = async move {
            let directory = own.directory().await;
            rotations.run(settings, directory, of_thing, &credentials).await;
        };
        let task = served.supervisor.spawn("what rotates the certificate", work);
        *self.working.borrow_mut() = Some((made_for, task.abort_handle()));
    }
}

/// What it is made for, if there is an identity that gatewire has made itself.
fn settings(readings: &Readings) -> Option<Settings> {
    let provisioning = readings.config.provisioning.clone().filter(|_| readings.identity.is_some())?;
    Some(Settings { tls: readings.config.tls.clone(), provisioning })
}
