//! What may block, in threads.

use super::trouble::{Blame, Stage, Trouble};
use crate::config;
use crate::identity::Platform;
use crate::net::credentials::{self, Credentials, CredentialsProblems};
use crate::time;

/// Reads files as those of `[tls]`, in a thread.
pub(super) async fn credentials_of(
    platform: &dyn Platform,
    stage: Stage,
    tls: config::Tls,
) -> Result<Result<Credentials, CredentialsProblems>, Trouble> {
    in_thread(platform, stage, move || credentials::load(&tls, time::system())).await
}

/// Does what may block, in a thread.
pub(super) async fn in_thread<T: Send + 'static>(
    platform: &dyn Platform,
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
    let begun = platform.aside("identity", work).map_err(|error| no_thread(error.to_string()))?;
    begun.await.map_err(|_| no_thread("it ended with a panic, which was logged".to_owned()))
}
