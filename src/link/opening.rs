//! The way to the server, and what has to be noted before CONNECT is sent on it.

use std::cell::Cell;

use super::connect::{LinkConnector, Opened};
use super::diagnosis::LinkError;
use super::{Ended, Link};
use crate::net::{Network, Step};
use crate::notify::LocalNotify;

impl<N: Network> Link<N> {
    /// Opens the way to the server, on which CONNECT may be sent: that it may change what the server's session holds is noted. A disk
    /// takes as long for that as a server for TLS, so that both have the same time.
    pub(super) async fn open(
        &self,
        connector: &mut LinkConnector<N::Connector>,
    ) -> Result<Result<Opened<N::Stream>, LinkError>, Ended> {
        let (is_over_tcp, told) = (Cell::new(false), LocalNotify::default());
        let connecting = async {
            let mut progress = |step: Step| {
                log::debug!("{step}");
                if let Step::TcpConnected { .. } = step {
                    is_over_tcp.set(true);
                    told.notify();
                }
            };
            let connected = self.unless_interrupted(connector.connect(&mut progress)).await;
            is_over_tcp.set(is_over_tcp.get() || matches!(connected, Ok(Ok(_))));
            told.notify();
            connected
        };
        let doubting = async {
            told.notified().await;
            if let Some(memory) = self.memory().filter(|_| is_over_tcp.get()) {
                memory.doubt().await;
            }
        };
        let opened = tokio::join!(biased; connecting, doubting).0;
        self.meter.opened(&*self.network);
        opened
    }
}
