//! Who is served at which socket.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;

use tokio::task::JoinHandle;

use super::metrics::exposition;
use super::{Listeners, Served};
use crate::config::{Config, Metrics, SocketFile};
use crate::metrics;
use crate::socket::Listener;
use crate::status::{following, socket as status_socket};

/// Who is served at a socket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Server {
    Forward(String),
    Ingest(String),
    Jobs,
    Status,
    Metrics,
}

#[derive(Debug)]
pub(super) struct Serving {
    pub(super) path: PathBuf,
    pub(super) task: JoinHandle<()>,
}

/// How clients of a socket are served.
pub(super) type Serve = Box<dyn FnOnce(Rc<Listener>) -> Pin<Box<dyn Future<Output = ()>>>>;

impl Served {
    /// Who is to be served where, and how.
    pub(super) fn wanted(
        &self,
        config: &Config,
        document: &Rc<dyn Fn() -> Vec<u8>>,
    ) -> BTreeMap<Server, (PathBuf, Serve)> {
        let mut wanted: BTreeMap<Server, (PathBuf, Serve)> = BTreeMap::new();
        let path = |socket: &SocketFile| socket.path.clone();
        for (forward, config) in self.forwards.borrow().iter().zip(&config.forward) {
            let forward = Rc::clone(forward);
            let serve: Serve = Box::new(move |listener| Box::pin(forward.serve(listener)));
            wanted.insert(Server::Forward(config.name.clone()), (path(&config.socket), serve));
        }
        for (ingest, config) in self.ingests.borrow().iter().zip(&config.ingest) {
            let ingest = Rc::clone(ingest);
            let serve: Serve = Box::new(move |listener| Box::pin(ingest.serve(listener)));
            wanted.insert(Server::Ingest(config.name.clone()), (path(&config.socket), serve));
        }
        if let Some(socket) = config.jobs.as_ref().and_then(|jobs| jobs.socket.as_ref()) {
            let jobs = Rc::clone(&self.executions.socket);
            let serve: Serve = Box::new(move |listener| Box::pin(jobs.serve(listener)));
            wanted.insert(Server::Jobs, (path(socket), serve));
        }
        let (link, outbox) = (Rc::clone(&self.link), Rc::clone(&self.outbox));
        let told = status_socket::Told {
            document: Rc::clone(document),
            changes: link.changes(),
            line: Rc::new(move || following::line(&link, &outbox)),
        };
        let serve: Serve = Box::new(move |listener| Box::pin(status_socket::serve(listener, told)));
        wanted.insert(Server::Status, (path(&config.status.socket), serve));
        if let Some(socket) = config.metrics.as_ref().and_then(Metrics::socket) {
            let (exposition, at) = (exposition(document), path(socket));
            let serve: Serve = Box::new(move |listener| Box::pin(metrics::serve_unix(at, listener, exposition)));
            wanted.insert(Server::Metrics, (path(socket), serve));
        }
        wanted
    }

    /// Ends whatever is served and shouldn't be, or not there, or at a socket that was made anew.
    pub(super) fn end_others(
        &self,
        wanted: &BTreeMap<Server, (PathBuf, Serve)>,
        listeners: &Listeners,
    ) -> Vec<JoinHandle<()>> {
        let old = self.listeners.borrow();
        let is_new =
            |path: &Path| !old.get(path).zip(listeners.get(path)).is_some_and(|(old, new)| Rc::ptr_eq(old, new));
        let goes = |service: &Server, path: &Path| {
            wanted.get(service).is_none_or(|(wanted, _)| wanted != path) || is_new(path)
        };
        let mut serving = self.serving.borrow_mut();
        let ended = serving.extract_if(.., |service, serving| goes(service, &serving.path));
        let ended: Vec<JoinHandle<()>> = ended.map(|(_, serving)| serving.task).collect();
        ended.iter().for_each(JoinHandle::abort);
        ended
    }
}
