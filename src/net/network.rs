//! What connections are made through: the network of this machine, or in a simulation one that loses and delays as it is told.

use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::addresses::Addresses;
use super::connector::{Connection, Connector, MAX_ENCRYPTED, Options, Step, TlsTcpStream};
use super::counted::{Carried, Purpose, Usage};
use super::endpoint::Endpoint;
use super::error::ConnectError;
use super::{send_queue, tcp};

/// A network, and this machine's addresses in it.
pub(crate) trait Network: 'static {
    type Stream: Transport;
    type Connector: Connect<Stream = Self::Stream>;

    /// What connects to the server of `options`.
    fn connector(&self, options: Options) -> Self::Connector;

    /// What was carried for this since the start, as TCP's payload.
    fn carried(&self, purpose: Purpose) -> Carried;

    /// Waits until `local` isn't an address of this machine any more. May be dropped at any point.
    async fn lost(&self, local: SocketAddr);

    /// Waits until there is a new address from which others may be reached. May be dropped at any point.
    async fn came(&self);
}

/// Makes connections to one server, one after another.
pub(crate) trait Connect {
    type Stream: Transport;

    /// Where it connects to.
    fn endpoint(&self) -> &Endpoint;

    /// Connects. `progress` is told each step that is done.
    ///
    /// # Errors
    /// The step that failed. A failed one may be tried again.
    async fn connect(&mut self, progress: &mut dyn FnMut(Step)) -> Result<Connection<Self::Stream>, ConnectError>;
}

/// An encrypted byte stream to a server, and what is known of the bytes on their way.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// The address of this machine that it is from.
    fn local_address(&self) -> Option<SocketAddr>;

    /// How many of the bytes that were written may not have arrived at the other end, as they are encrypted. `None`: the kernel
    /// doesn't tell.
    fn not_arrived(&self, is_flushed: bool) -> Option<usize>;

    /// How many of the bytes that were written are certainly still here, or with the kernel, or under way. `None`: the kernel
    /// doesn't tell.
    fn under_way(&self, is_flushed: bool) -> Option<usize>;

    /// Has what comes next acknowledged at once, rather than after the kernel's 40 ms; until the next write. A server that holds
    /// back small packets until then (Nagle's algorithm: mosquitto does, behind its TLS session tickets) would hold back CONNACK
    /// as long.
    fn acknowledge_at_once(&self);

    /// Has the kernel forget what it hasn't sent, once this is dropped: it would be in the next connection's way.
    fn abandon(&self);
}

/// The network of this machine.
#[derive(Debug)]
pub(crate) struct MachineNetwork {
    addresses: Addresses,
    usage: Rc<Usage>,
}

impl MachineNetwork {
    /// What is carried is counted in `usage`. Must be called inside a tokio runtime.
    pub(crate) fn new(usage: &Rc<Usage>) -> MachineNetwork {
        MachineNetwork { addresses: Addresses::watch(), usage: Rc::clone(usage) }
    }
}

impl Network for MachineNetwork {
    type Stream = TlsTcpStream;
    type Connector = Connector;

    fn connector(&self, options: Options) -> Connector {
        Connector::new(options, &self.usage)
    }

    fn carried(&self, purpose: Purpose) -> Carried {
        self.usage.of(purpose)
    }

    async fn lost(&self, local: SocketAddr) {
        self.addresses.lost(local).await;
    }

    async fn came(&self) {
        self.addresses.came().await;
    }
}

impl Connect for Connector {
    type Stream = TlsTcpStream;

    fn endpoint(&self) -> &Endpoint {
        self.endpoint()
    }

    async fn connect(&mut self, progress: &mut dyn FnMut(Step)) -> Result<Connection<TlsTcpStream>, ConnectError> {
        self.connect(progress).await
    }
}

impl Transport for TlsTcpStream {
    fn local_address(&self) -> Option<SocketAddr> {
        self.get_ref().0.tcp().local_addr().ok()
    }

    fn not_arrived(&self, is_flushed: bool) -> Option<usize> {
        match send_queue::unacknowledged(self.get_ref().0.tcp())? {
            0 if is_flushed => Some(0),
            // So much may not have left the stream itself, or have arrived without the end of its TLS record.
            bytes => Some(bytes + MAX_ENCRYPTED),
        }
    }

    fn under_way(&self, is_flushed: bool) -> Option<usize> {
        let bytes = send_queue::unacknowledged(self.get_ref().0.tcp())?;
        Some(if is_flushed { bytes } else { bytes + MAX_ENCRYPTED })
    }

    fn acknowledge_at_once(&self) {
        tcp::acknowledge_at_once(self.get_ref().0.tcp());
    }

    fn abandon(&self) {
        tcp::abandon(self.get_ref().0.tcp());
    }
}
