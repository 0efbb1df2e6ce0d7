//! What may block, in threads.

use super::trouble::{Blame, Stage, Trouble};
use crate::blocking;
use crate::config;
use crate::net::credentials::{self, Credentials, CredentialsProblems};
use crate::time;

/// Reads files as those of `[tls]`, in a thread.
pub(super) async fn credentials_of(
    stage: Stage,
    tls: config::Tls,
) -> Result<Result<Credentials, CredentialsProblems>, Trouble> {
    in_thread(stage, move || credentials::load(&tls, time::system())).await
}

/// Does what may block, in a thread.
pub(super) async fn in_thread<T: Send + 'static>(
    stage: Stage,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Trouble> {
    let no_thread = |said: String| Trouble {
        stage,
        blame: Blame::Here,
        code: "no_thread".to_owned(),
        message: said,
        advice: String::new(),
    };
    let begun = blocking::begin("identity", work).map_err(|error| no_thread(error.to_string()))?;
    begun.await.map_err(|_| no_thread("it ended with a panic, which was logged".to_owned()))
}
