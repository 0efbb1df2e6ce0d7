//! The new certificate's first connection: CONNECT, CONNACK, DISCONNECT, as the client that the link will be.

use std::time::Duration;

use tokio::time::sleep;

use super::threads::credentials_of;
use super::trouble::{Blame, Stage, Trouble};
use crate::config;
use crate::identity::Platform;
use crate::link::connect::LinkConnector;
use crate::link::diagnosis::LinkError;
use crate::link::options;
use crate::link::talk::Talk;
use crate::net::credentials::Credentials;
use crate::net::{Network, Purpose};

/// IoT Core takes one CONNECT a second of a client.
const BETWEEN_CONNECTS: Duration = Duration::from_millis(1500);

/// Connects with the certificate of `tls`. A session that the server keeps for this client stays; one that this begins is ended again,
/// because the link would take it for one of its own, with the subscriptions that it remembers.
pub(super) async fn connect<N: Network>(
    network: &N,
    connection: &config::Connection,
    tls: config::Tls,
    platform: &dyn Platform,
) -> Result<(), Trouble> {
    let credentials = credentials_of(platform, Stage::Trial, tls).await?.map_err(|problems| Trouble {
        stage: Stage::Trial,
        // As if the server had refused it: another one is asked for, in the end.
        blame: Blame::Answer,
        code: "unusable".to_owned(),
        message: format!("the new certificate can't be used: {}", problems.of_identity()),
        advice: String::new(),
    })?;
    let of_link = |error: LinkError| Trouble::of_link(Stage::Trial, &error, &connection.client_id);
    let is_present = once(network, connection, &credentials).await.map_err(of_link)?;
    sleep(BETWEEN_CONNECTS).await;
    if !is_present && !connection.session_expiry.is_zero() {
        let clean = config::Connection { session_expiry: Duration::ZERO, ..connection.clone() };
        once(network, &clean, &credentials).await.map_err(of_link)?;
        sleep(BETWEEN_CONNECTS).await;
    }
    Ok(())
}

/// Whether the server had a session.
async fn once<N: Network>(
    network: &N,
    connection: &config::Connection,
    credentials: &Credentials,
) -> Result<bool, LinkError> {
    let opened = LinkConnector::new(network, connection, credentials, Purpose::Identity).connect(&mut |_| {}).await?;
    let deadline = opened.deadline;
    let mut talk = Talk::asking(opened, &options(connection));
    let is_present = talk.connected(deadline).await?;
    talk.close().await;
    Ok(is_present)
}
