//! The status socket: connect, read one JSON document, end of file.
//!
//! What a client sends is never looked at, so that there is nothing in it to go wrong.

use std::io::{self, IoSlice};
use std::rc::Rc;
use std::time::Duration;

use crate::socket::{self, For, Listener, Stream};

/// How long a client may take to read the document.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves clients, for ever: each gets what `document` returns when it connects. Dropping this future disconnects them.
pub(crate) async fn serve(listener: Rc<Listener>, document: impl Fn() -> Vec<u8> + 'static) {
    let document = Rc::new(document);
    let handle = |stream| {
        let document = Rc::clone(&document);
        // It is made in the client's own task: what goes wrong in that is the client's alone.
        async move { answer(stream, document()).await }
    };
    socket::serve((listener, For::Status), Rc::default(), handle).await;
}

async fn answer(mut stream: Stream, document: Vec<u8>) {
    match tokio::time::timeout(PATIENCE, write_and_drain(&mut stream, &document)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log::debug!("a client of the status socket has gone: {error}"),
        Err(_) => log::debug!("a client of the status socket doesn't read"),
    }
}

/// Has the client read all of it. To close while something that it has sent is unread would take that from it: the kernel
/// resets such a connection.
async fn write_and_drain(stream: &mut Stream, document: &[u8]) -> io::Result<()> {
    write(stream, document).await?;
    stream.end()?;
    stream.watch_writes(false)?;
    let mut ignored = [0; 1024];
    loop {
        if stream.try_read(&mut ignored)? == Some(0) {
            return Ok(());
        }
        stream.readable().await?;
    }
}

async fn write(stream: &mut Stream, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match stream.try_write(&[IoSlice::new(rest)])? {
            Some(n) => rest = &rest[n..],
            None => {
                stream.watch_writes(true)?;
                stream.writable().await?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::config::SocketFile;

    #[tokio::test(flavor = "local")]
    async fn a_client_that_says_something_gets_the_end_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("status.sock");
        let listener = Rc::new(Listener::bind(&SocketFile { path: path.clone(), mode: 0o660, group: None }).unwrap());
        let _server = tokio::task::spawn_local(serve(listener, || b"{}".to_vec()));
        let read = tokio::task::spawn_blocking(move || {
            let mut client = UnixStream::connect(path).unwrap();
            client.write_all(b"what?\n").unwrap();
            let mut read = String::new();
            client.read_to_string(&mut read).map(|_| read)
        });
        assert_eq!(read.await.unwrap().unwrap(), "{}");
    }

    #[tokio::test(flavor = "local")]
    async fn a_client_gets_the_document_and_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("status.sock");
        let listener = Rc::new(Listener::bind(&SocketFile { path: path.clone(), mode: 0o660, group: None }).unwrap());
        // More than a socket's buffer holds.
        let document = b"0123456789".repeat(100_000);
        let served = document.clone();
        let server = tokio::task::spawn_local(serve(listener, move || served.clone()));
        let read = tokio::task::spawn_blocking({
            let path = path.clone();
            move || {
                let mut read = Vec::new();
                UnixStream::connect(path).unwrap().read_to_end(&mut read).unwrap();
                read
            }
        });
        assert_eq!(read.await.unwrap(), document);
        server.abort();
        assert!(server.await.unwrap_err().is_cancelled());
        assert!(!path.exists(), "the socket is removed");
    }
}
