//! The status document: what the daemon is doing, in one JSON object.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::forward::ForwardStatus;
use crate::inbox::InboxStatus;
use crate::ingest::IngestStatus;
use crate::link::state::{LinkCounters, LinkStatus};
use crate::outbox::OutboxStatus;
use crate::schedule::PublishStatus;
use crate::socket::{Client, Listener};

/// For a client to take its document.
const PATIENCE: Duration = Duration::from_secs(10);

/// Each part says its own; the names of the keys are a promise to scripts.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    pub(crate) version: &'static str,
    /// When the daemon started.
    pub(crate) started: Timestamp,
    pub(crate) link: LinkStatus,
    pub(crate) outbox: OutboxStatus,
    pub(crate) inbox: InboxStatus,
    pub(crate) counters: LinkCounters,
    pub(crate) publish: Vec<PublishStatus>,
    pub(crate) forward: Vec<ForwardStatus>,
    pub(crate) ingest: Vec<IngestStatus>,
    pub(crate) certificate: CertificateStatus,
}

/// The `certificate` of the status document.
#[derive(Debug, Serialize)]
pub(crate) struct CertificateStatus {
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

/// Gives each client one document, and the end of file. Nothing is ever read from a client.
pub(crate) async fn serve(mut listener: Listener, status: impl Fn() -> Status + 'static) {
    let status = Rc::new(status);
    loop {
        let (client, seat) = listener.accept().await;
        let status = Rc::clone(&status);
        spawn_local(async move {
            let document = serde_json::to_vec(&status());
            let written = async {
                let mut document = document.map_err(io::Error::from)?;
                document.push(b'\n');
                write(client, &document).await
            };
            match timeout(PATIENCE, written).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => log::debug!("status: {error}"),
                Err(_) => log::debug!("status: a client didn't read its document within {PATIENCE:?}"),
            }
            drop(seat);
        });
    }
}

async fn write(mut client: Client, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        let n = poll_fn(|cx| client.poll_write(cx, &[IoSlice::new(rest)])).await?;
        rest = &rest[n..];
    }
    Ok(())
}
