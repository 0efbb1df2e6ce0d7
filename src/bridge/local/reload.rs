//! What of the connection can change while the daemon runs: configuration, and the files that it names.

use std::path::PathBuf;
use std::rc::Rc;

use super::announcements::Announcements;
use super::error::{LocalError, for_broker};
use super::{Lasting, Legs, Local, options, password};
use crate::client::{OtherSession, SessionMemory};
use crate::config;
use crate::mqtt::session::{Remembered, Session};
use crate::net::credentials::load_for_broker;
use crate::net::{Brokers, Reach};
use crate::regular;
use crate::time;

/// Whether a connection that was made for one does for the other: what differs are rules.
fn is_same_connection(one: &config::Bridge, other: &config::Bridge) -> bool {
    let bare = |bridge: &config::Bridge| config::Bridge {
        up: Vec::new(),
        down: Vec::new(),
        announced: Vec::new(),
        ..bridge.clone()
    };
    bare(one) == bare(other)
}

/// Whether the broker keeps one session for both.
fn is_same_session(one: &config::Bridge, other: &config::Bridge) -> bool {
    let identity = |bridge: &config::Bridge| (bridge.broker.clone(), bridge.client_id.clone(), bridge.protocol);
    identity(one) == identity(other)
}

impl<N: Brokers, L: Legs> Local<N, L> {
    /// Whether the present connection does for what is configured now. If so, the rest is applied to it.
    pub(super) fn apply_to_connection(&self, made_for: &mut Rc<config::Bridge>, session: &mut Session) -> bool {
        let config = self.config();
        if !is_same_connection(made_for, &config) {
            return false;
        }
        self.changed.taken_up();
        self.said.forget();
        session.want(self.legs.filters(), time::now());
        *made_for = config;
        true
    }

    /// Between two connections: makes everything for what is configured now.
    pub(super) async fn apply_changes(&self, lasting: &mut Lasting<N::Connector>) {
        let config = self.config();
        self.changed.taken_up();
        if Rc::ptr_eq(&config, &lasting.config) {
            return;
        }
        self.said.forget();
        match config.broker == lasting.config.broker {
            true => lasting.announcements.reconfigured(&config),
            false => lasting.announcements = Announcements::new(&config, self.upstream.clone()),
        }
        let another = match is_same_session(&lasting.config, &config) {
            true => None,
            false => {
                lasting.memory = Rc::new(SessionMemory::of_bridge(&config, &self.store));
                lasting.unjudged = None;
                lasting.closes = 0;
                Some(self.recall(&config, &lasting.memory).await)
            }
        };
        lasting.connector = self.network.connector(options::way(&config));
        lasting.session.reconfigure(options::of(&config, None), another);
        lasting.session.want(self.legs.filters(), time::now());
        lasting.config = config;
    }

    /// What is noted of the session. One that is left may still have messages: that is said, unless the broker may take this one
    /// for the same.
    pub(super) async fn recall(&self, config: &config::Bridge, memory: &SessionMemory) -> Remembered {
        let remembered = memory.recall().await;
        let is_left =
            |left: &OtherSession| (&left.endpoint, &left.client_id) != (&config.broker.to_string(), &config.client_id);
        if let Some(left) = memory.other_if(is_left) {
            self.said.session_left(config, &left);
        }
        remembered
    }

    /// CONNACK has come. A broker that begins a new session for another version of MQTT has the old one still.
    pub(super) fn look_for_left(&self, config: &config::Bridge, memory: &SessionMemory, session_present: bool) {
        if let Some(left) = memory.other_if(|_| true).filter(|_| !session_present) {
            self.said.session_left(config, &left);
        }
    }

    /// Before each attempt: reads password and certificates, which may have changed.
    pub(super) fn prepare(&self, lasting: &mut Lasting<N::Connector>) -> Result<(), Box<LocalError>> {
        let config = &lasting.config;
        let login = config
            .login
            .as_ref()
            .map(password::login)
            .transpose()
            .map_err(|fault| Box::new(LocalError::Password(fault)))?;
        let tls = config
            .tls
            .as_ref()
            .map(load_for_broker)
            .transpose()
            .map_err(|problems| Box::new(LocalError::Credentials(problems)))?;
        lasting.connector.set_tls(tls);
        lasting.session.reconfigure(options::of(config, login), None);
        Ok(())
    }
}

/// What of its files can be read and yet not be used, each with its key as it is written below `bridge`, and what is wrong with it.
pub(crate) fn unusable_files(config: &config::Bridge) -> Vec<(&'static str, PathBuf, String)> {
    let mut unusable = Vec::new();
    let tls = config.tls.as_ref().and_then(|tls| load_for_broker(tls).err());
    for problem in tls.iter().flat_map(|problems| &problems.0) {
        let (key, path) = problem.about();
        unusable.push((key, path.to_owned(), for_broker(&problem.to_string())));
    }
    if let Some(fault) = config.login.as_ref().and_then(|login| password::login(login).err()) {
        unusable.push(("password_file", fault.path().to_owned(), format!("{fault}. {}", fault.advice())));
    }
    unusable.retain(|(_, path, _)| regular::open(path).is_ok());
    unusable
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::local::tests::bridge;
    use crate::config::Broker;

    #[test]
    fn rules_change_without_another_connection_and_nothing_else_does() {
        let one = bridge();
        let rules = config::Bridge { up: Vec::new(), ..one.clone() };
        assert!(is_same_connection(&one, &rules) && is_same_session(&one, &rules));
        let client = config::Bridge { client_id: "other".to_owned(), ..one.clone() };
        assert!(!is_same_connection(&one, &client) && !is_same_session(&one, &client));
        let login = config::BrokerLogin { username: "u".to_owned(), password_file: None };
        let login = config::Bridge { login: Some(login), ..one.clone() };
        assert!(!is_same_connection(&one, &login) && is_same_session(&one, &login));
        let moved = config::Bridge { broker: Broker::Unix("/run/m.sock".into()), ..one.clone() };
        assert!(!is_same_session(&one, &moved));
    }
}
