//! What of the link can change while the daemon runs: configuration and credentials.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::connect::LinkConnector;
use super::pace::{ConnectLimit, Quota};
use super::{Lasting, Link};
use crate::client::{Backoff, Reconfigured, SessionMemory};
use crate::config;
use crate::limits::MAX_IN_FLIGHT;
use crate::message::{Qos, TopicFilter};
use crate::mqtt::session::Remembered;
use crate::mqtt::{Options, Subscribing};
use crate::net::credentials::{self, Credentials, Fingerprint};
use crate::net::{Network, Purpose};
use crate::time;

/// What the link is made for.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) connection: config::Connection,
    pub(crate) tls: config::Tls,
    /// `None`: gatewire is yet to get its identity, and until then there is no connection.
    pub(crate) credentials: Option<Credentials>,
    /// What the session is to be subscribed to, whatever readers ask for.
    pub(crate) filters: BTreeMap<TopicFilter, Qos>,
}

/// What readers ask for beside that, or with a higher QoS. It changes as often as they like.
#[derive(Debug, Default)]
pub(crate) struct Requested {
    filters: RefCell<BTreeMap<TopicFilter, Qos>>,
    /// It isn't applied yet.
    pub(super) changed: Reconfigured,
}

impl Setup {
    /// Whether a connection that was made for `self` won't do for `new`.
    fn needs_another_connection(&self, new: &Setup) -> bool {
        // What is applied without.
        let same = config::Connection {
            backoff: new.connection.backoff.clone(),
            rate_limit: new.connection.rate_limit.clone(),
            ack_timeout: new.connection.ack_timeout,
            connect_timeout: new.connection.connect_timeout,
            topic_alias: new.connection.topic_alias,
            ..self.connection.clone()
        };
        let are_same = match (&self.credentials, &new.credentials) {
            (Some(old), Some(new)) => old.are_same(new),
            (old, new) => old.is_none() && new.is_none(),
        };
        same != new.connection || !are_same
    }

    /// Whether the server keeps one session for both.
    fn is_same_session(&self, new: &Setup) -> bool {
        let identity = |setup: &Setup| {
            let config::Connection { endpoint, client_id, protocol, .. } = &setup.connection;
            (endpoint.clone(), client_id.clone(), *protocol)
        };
        identity(self) == identity(new)
    }
}

/// The CONNECT of the link.
pub(crate) fn options(connection: &config::Connection) -> Options {
    Options {
        protocol: connection.protocol,
        client_id: connection.client_id.clone(),
        session_expiry: connection.session_expiry,
        keep_alive: connection.keep_alive,
        ack_timeout: connection.ack_timeout,
        max_in_flight: MAX_IN_FLIGHT,
        will: connection.will.clone(),
        birth: connection.birth.clone(),
        login: None,
        topic_alias: connection.topic_alias,
        subscribing: Subscribing::default(),
        drops_unfit: false,
        refusals_are_final: false,
        waits_for_room: false,
    }
}

impl<N: Network> Link<N> {
    /// Changes what the link is made for. It is applied at once; the connection ends only if it has to.
    pub(crate) fn reconfigure(&self, setup: Setup) {
        self.state.reconfigured(&setup.connection);
        *self.setup.borrow_mut() = Rc::new(setup);
        self.changed.announce();
    }

    /// It is subscribed to these from now on. Those that the configuration hasn't are what readers ask for.
    pub(crate) fn subscribe_to(&self, filters: BTreeMap<TopicFilter, Qos>) {
        let setup = self.setup();
        let is_requested = |filter: &TopicFilter, qos: Qos| setup.filters.get(filter).is_none_or(|own| *own < qos);
        let requested = filters.into_iter().filter(|(filter, qos)| is_requested(filter, *qos)).collect();
        if *self.requested.filters.borrow() != requested {
            *self.requested.filters.borrow_mut() = requested;
            self.requested.changed.announce();
        }
    }

    /// Has the session ask for what readers want now.
    pub(super) fn apply_requests(&self, session: &mut super::Session) {
        self.requested.changed.taken_up();
        session.want_requested(self.requested.filters.borrow().clone(), time::now());
    }

    /// It connects with these credentials from now on, which were read from the files of `tls`.
    pub(crate) fn connect_with(&self, tls: config::Tls, credentials: Credentials) {
        let setup = self.setup();
        self.reconfigure(Setup { tls, credentials: Some(credentials), ..(*setup).clone() });
    }

    /// Likewise, at its next attempt: a wait between two of them isn't cut short.
    pub(crate) fn connect_later_with(&self, tls: config::Tls, credentials: Credentials) {
        let setup = Setup { tls, credentials: Some(credentials), ..(*self.setup()).clone() };
        *self.setup.borrow_mut() = Rc::new(setup);
    }

    /// What it connects with now.
    pub(crate) fn means(&self) -> (config::Tls, Option<Credentials>) {
        let setup = self.setup();
        (setup.tls.clone(), setup.credentials.clone())
    }

    /// Those that are used now, or at the next attempt.
    pub(crate) fn credentials(&self) -> Option<Credentials> {
        self.setup.borrow().credentials.clone()
    }

    /// The session holds these filters, and no others: notes that, as far as it has to be noted now.
    pub(super) fn remember(&self, standing: BTreeMap<TopicFilter, Qos>, identifiers: BTreeMap<TopicFilter, u32>) {
        let Some(memory) = self.memory() else { return };
        let (setup, requested) = (self.setup(), self.requested.filters.borrow().clone());
        tokio::task::spawn_local(async move {
            let own = &setup.filters;
            let is_requested = |filter: &TopicFilter| requested.contains_key(filter) && !own.contains_key(filter);
            memory.remember((standing, identifiers), is_requested, own.keys()).await;
        });
    }

    /// Opens the note about the session, and reads it.
    pub(super) async fn recall(&self, setup: &Setup) -> Remembered {
        if let Some(memory) = self.memory() {
            memory.give_up();
        }
        let memory = SessionMemory::of_link(&setup.connection, &self.store).map(Rc::new);
        self.memory.borrow_mut().clone_from(&memory);
        match memory {
            Some(memory) => memory.recall().await,
            None => Remembered::default(),
        }
    }

    /// Whether the present connection does for what is configured now. If so, the rest is applied to it.
    pub(super) fn apply_to_connection(
        &self,
        made_for: &mut Rc<Setup>,
        session: &mut super::Session,
        quota: &mut Quota,
    ) -> bool {
        let setup = self.setup();
        if made_for.needs_another_connection(&setup) {
            return false;
        }
        let now = time::now();
        self.changed.taken_up();
        session.set_ack_timeout(setup.connection.ack_timeout);
        session.use_topic_aliases(setup.connection.topic_alias);
        session.want(setup.filters.clone(), now);
        session.try_birth_again(now);
        if made_for.connection.rate_limit != setup.connection.rate_limit {
            *quota = Quota::new(&setup.connection.rate_limit, now);
        }
        // The pace of attempts is that of the old until there is the next: `apply_changes` compares with this.
        let pace = made_for.connection.clone();
        let connection =
            config::Connection { backoff: pace.backoff, rate_limit: pace.rate_limit, ..setup.connection.clone() };
        *made_for = Rc::new(Setup { connection, ..(*setup).clone() });
        true
    }

    /// Between two connections: makes everything for what is configured now, and for the credentials that are on the disk now.
    pub(super) async fn apply_changes(&self, lasting: &mut Lasting<N>) {
        self.look_at_the_credentials();
        let setup = self.setup();
        self.changed.taken_up();
        if Rc::ptr_eq(&setup, &lasting.setup) {
            return self.apply_requests(&mut lasting.session);
        }
        let (old, new) = (&lasting.setup.connection, &setup.connection);
        if old.backoff != new.backoff {
            lasting.backoff = Backoff::new(&new.backoff);
        }
        if old.rate_limit != new.rate_limit {
            lasting.quota = Quota::new(&new.rate_limit, time::now());
            lasting.connects = ConnectLimit::new(&new.rate_limit);
        }
        let another = match lasting.setup.is_same_session(&setup)
            && old.session_expiry.is_zero() == new.session_expiry.is_zero()
        {
            true => None,
            false => Some(self.recall(&setup).await),
        };
        if let Some(credentials) = &setup.credentials {
            lasting.connector = LinkConnector::new(&*self.network, new, credentials, Purpose::Link);
        }
        if old.birth != new.birth || another.is_some() {
            self.state.birth_not_refused();
        }
        lasting.session.reconfigure(options(new), another);
        lasting.session.want(setup.filters.clone(), time::now());
        self.apply_requests(&mut lasting.session);
        lasting.session.try_birth_again(time::now());
        lasting.setup = setup;
    }

    /// Takes up credential files that have changed since they were read; if they can't be used, says so once, and the ones that
    /// were read before go on.
    fn look_at_the_credentials(&self) {
        let setup = self.setup();
        let Some(credentials) = &setup.credentials else { return };
        let found = Fingerprint::of(&setup.tls);
        if found == *credentials.fingerprint() || self.refused_credentials.borrow().as_ref() == Some(&found) {
            return;
        }
        match credentials::load(&setup.tls, time::system()) {
            Ok(credentials) => {
                log::info!(
                    GATEWIRE_EVENT = "credentials_changed";
                    "the credential files have changed: from now on the certificate in {} is used", setup.tls.cert_file.display()
                );
                credentials
                    .warnings()
                    .iter()
                    .for_each(|warning| log::warn!(GATEWIRE_EVENT = "credentials"; "{warning}"));
                self.refused_credentials.replace(None);
                *self.setup.borrow_mut() = Rc::new(Setup { credentials: Some(credentials), ..(*setup).clone() });
            }
            Err(problems) => {
                for problem in problems.to_string().lines() {
                    log::error!(GATEWIRE_EVENT = "credentials_refused"; "{problem}");
                }
                log::error!(
                    GATEWIRE_EVENT = "credentials_refused";
                    "the credential files have changed and can't be used: gatewire keeps the ones that it read before"
                );
                self.refused_credentials.replace(Some(found));
            }
        }
    }
}
