//! Sockets whose files somebody has removed or replaced: nobody could connect any more.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::Served;

use crate::time;

/// How long until it is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// How long the disk may take to answer, as in a reload.
const PATIENCE: Duration = Duration::from_secs(2);

impl Served {
    /// The files by which it can be told that something was removed or replaced.
    pub(in crate::daemon) fn watched(&self) -> Vec<PathBuf> {
        self.store.files().into_iter().chain(self.listeners.borrow().keys().cloned()).collect()
    }

    pub(in crate::daemon) fn retry_now(&self) {
        self.retry_at.set(Some(time::now()));
    }

    /// Completes when [`Served::keep_in_place`] is due.
    pub(in crate::daemon) async fn retry(&self) {
        match self.retry_at.get() {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    }

    fn gone(&self) -> Vec<PathBuf> {
        let listeners = self.listeners.borrow();
        listeners.iter().filter(|(_, listener)| !listener.is_in_place()).map(|(path, _)| path.clone()).collect()
    }

    /// Makes sockets that are gone again. `document` is what the status socket answers.
    pub(in crate::daemon) async fn keep_in_place(&self, document: Rc<dyn Fn() -> Vec<u8>>) {
        self.retry_at.set(None);
        let gone = self.gone();
        let Some(config) = self.config.borrow().clone().filter(|_| !gone.is_empty()) else { return };
        match self.prepare(&config, PATIENCE).await {
            Ok(prepared) => {
                self.apply(&config, prepared, document).await;
                // Once a minute, should somebody do it again and again.
                let is_due = self.made_again.is_due(time::now());
                for path in gone.iter().filter(|_| is_due) {
                    log::warn!(
                        GATEWIRE_EVENT = "socket_removed";
                        "the socket {} was removed or replaced, and has been recreated: its clients have to connect again", path.display()
                    );
                }
            }
            Err(error) => {
                if self.not_made.is_due(time::now()) {
                    log::error!(
                        GATEWIRE_EVENT = "socket_removed";
                        "{} removed or replaced, and nobody can connect there: {error}. gatewire retries every {} s",
                        were(&gone), RETRY.as_secs()
                    );
                }
                self.retry_at.set(Some(time::now() + RETRY));
            }
        }
    }
}

/// `the socket A was`, `the sockets A and B were`
fn were(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    match &paths[..] {
        [one] => format!("the socket {one} was"),
        [others @ .., last] => format!("the sockets {} and {last} were", others.join(", ")),
        [] => String::new(),
    }
}
