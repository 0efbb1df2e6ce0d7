//! TLS with a key in a token, which may take seconds to sign: nothing else waits for it.
//!
//! rustls signs when it processes what the server has sent, and blocks until that is done. So all that comes is processed on a
//! thread of its own, while the connection stays here.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::counted::Counted;
use crate::blocking;

/// Makes the handshake over `tcp`. `is_processing` is set while the thread is at work. May be dropped at any point: the thread then
/// ends with the signature that it waits for.
///
/// # Errors
/// As tokio-rustls has them: the system's, or rustls' own inside of one.
pub(super) async fn over(
    tcp: &Counted,
    tls: &Arc<ClientConfig>,
    name: ServerName<'static>,
    is_processing: &Cell<bool>,
) -> io::Result<ClientConnection> {
    let mut connection = ClientConnection::new(Arc::clone(tls), name).map_err(io::Error::other)?;
    loop {
        while connection.wants_write() {
            tcp.tcp().writable().await?;
            once_ready(connection.write_tls(&mut Ready(tcp)))?;
        }
        if !connection.is_handshaking() {
            return Ok(connection);
        }
        tcp.tcp().readable().await?;
        match once_ready(connection.read_tls(&mut Ready(tcp)))? {
            Some(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "tls handshake eof")),
            Some(_) => {}
            None => continue,
        }
        is_processing.set(true);
        let processed = processed(connection).await;
        is_processing.set(false);
        let (of_thread, result) = processed?;
        connection = of_thread;
        if let Err(error) = result {
            // The server is told, if it takes it at once.
            while connection.wants_write() && connection.write_tls(&mut Ready(tcp)).is_ok_and(|len| len > 0) {}
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
    }
}

/// `None`: it wasn't ready.
fn once_ready(moved: io::Result<usize>) -> io::Result<Option<usize>> {
    match moved {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        moved => moved.map(Some),
    }
}

async fn processed(mut connection: ClientConnection) -> io::Result<(ClientConnection, Result<(), rustls::Error>)> {
    let work = move || {
        let result = connection.process_new_packets().map(drop);
        (connection, result)
    };
    let thread = blocking::begin("tls", work).map_err(io::Error::other)?;
    thread.await.map_err(|_| io::Error::other("the thread of the handshake has failed"))
}

/// What the connection takes or gives without waiting.
struct Ready<'a>(&'a Counted);

impl io::Read for Ready<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl io::Write for Ready<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
