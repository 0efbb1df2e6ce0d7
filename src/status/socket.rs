//! The status socket: connect, read one JSON document, end of file. Or say `{"follow":true}`, and read a line at each change of the
//! link.

use std::io::{self, IoSlice};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;

use super::asked::{Asked, MAX_LINE, bad_line};
use crate::client::ConnectionState;
use crate::socket::{self, For, Lines, Listener, Stream};

/// A client that says nothing for so long, and doesn't end its side of the connection, wants the document: it may not know that
/// anything can be said.
const SILENT: Duration = Duration::from_millis(250);

/// How long a client may take to read the document.
const PATIENCE: Duration = Duration::from_secs(5);

/// What there is to be told.
#[derive(Clone)]
pub(crate) struct Told {
    pub(crate) document: Rc<dyn Fn() -> Vec<u8>>,
    /// For those who follow: what the link is doing.
    pub(crate) line: Rc<dyn Fn() -> Vec<u8>>,
    /// When that changes.
    pub(crate) changes: watch::Receiver<ConnectionState>,
}

/// Serves clients, for ever. Dropping this future disconnects them.
pub(crate) async fn serve(listener: Rc<Listener>, told: Told) {
    let handle = |stream| {
        let told = told.clone();
        // What is told is made in the client's own task: what goes wrong in that is the client's alone.
        async move { client(stream, told).await }
    };
    socket::serve((listener, For::Status), Rc::default(), handle).await;
}

async fn client(mut stream: Stream, told: Told) {
    let answered = match asked(&stream).await {
        Ok(Asked::Document) => in_time(&mut stream, &(told.document)()).await,
        Ok(Asked::Nonsense(detail)) => in_time(&mut stream, &bad_line(detail)).await,
        Ok(Asked::Following) => follow(&mut stream, told).await,
        Err(error) => Err(error),
    };
    if let Err(error) = answered {
        log::debug!("a client of the status socket has gone: {error}");
    }
}

/// What the client wants: its first line says so, or that none comes.
async fn asked(stream: &Stream) -> io::Result<Asked> {
    let said = async {
        let (mut lines, mut buffer) = (Lines::up_to(MAX_LINE), [0; 512]);
        loop {
            let has_ended = match stream.try_read(&mut buffer)? {
                Some(0) => {
                    lines.end();
                    true
                }
                Some(n) => {
                    lines.push(&buffer[..n]);
                    false
                }
                None => {
                    stream.readable().await?;
                    continue;
                }
            };
            match lines.next() {
                Some(line) => return Ok(Asked::of(&line)),
                None if has_ended => return Ok(Asked::Document),
                None => {}
            }
        }
    };
    tokio::time::timeout(SILENT, said).await.unwrap_or(Ok(Asked::Document))
}

async fn in_time(stream: &mut Stream, answer: &[u8]) -> io::Result<()> {
    let written = tokio::time::timeout(PATIENCE, write_and_drain(stream, answer)).await;
    written.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it doesn't read")))
}

/// Has the client read all of it. To close while something that it has sent is unread would take that from it: the kernel
/// resets such a connection.
async fn write_and_drain(stream: &mut Stream, answer: &[u8]) -> io::Result<()> {
    write(stream, answer).await?;
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

/// A line now, and one whenever the link has changed, until the client has gone. One that doesn't read holds up nobody, and no more than a
/// line waits for it: when it reads on, it is told what is then.
async fn follow(stream: &mut Stream, mut told: Told) -> io::Result<()> {
    let mut is_listening = true;
    loop {
        told.changes.borrow_and_update();
        write(stream, &(told.line)()).await?;
        stream.watch_writes(false)?;
        loop {
            tokio::select! {
                biased;
                changed = told.changes.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return Ok(()),
                },
                gone = gone(stream, is_listening) => match gone? {
                    true => return Ok(()),
                    false => is_listening = false,
                },
            }
        }
    }
}

/// Completes when the client has ended its side of the connection; whether it has closed the other, too. What it says before isn't
/// heeded.
async fn gone(stream: &Stream, is_listening: bool) -> io::Result<bool> {
    if !is_listening {
        return stream.closed().await.map(|()| true);
    }
    let mut ignored = [0; 512];
    loop {
        stream.readable().await?;
        if stream.try_read(&mut ignored)? == Some(0) {
            return Ok(stream.is_closed());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;

    use tokio::task::spawn_blocking;

    use super::*;
    use crate::config::SocketFile;

    /// A status socket whose lines are numbers, one more each time it is looked.
    struct Bench {
        _directory: tempfile::TempDir,
        path: PathBuf,
        server: tokio::task::JoinHandle<()>,
        changes: watch::Sender<ConnectionState>,
        /// How many lines were made.
        made: Rc<Cell<usize>>,
    }

    fn bench(document: Vec<u8>, line_length: usize) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("status.sock");
        let listener = Rc::new(Listener::bind(&SocketFile { path: path.clone(), mode: 0o660, group: None }).unwrap());
        let (changes, made) = (watch::Sender::new(ConnectionState::Connecting), Rc::new(Cell::new(0)));
        let line = {
            let made = Rc::clone(&made);
            move || {
                made.set(made.get() + 1);
                format!("{}{}\n", " ".repeat(line_length), made.get()).into_bytes()
            }
        };
        let told =
            Told { document: Rc::new(move || document.clone()), line: Rc::new(line), changes: changes.subscribe() };
        let server = tokio::task::spawn_local(serve(listener, told));
        Bench { _directory: directory, path, server, changes, made }
    }

    /// What a client reads that has said this, and ended its side if it `ends`.
    async fn answer(bench: &Bench, said: &'static [u8], ends: bool) -> Vec<u8> {
        let path = bench.path.clone();
        let read = spawn_blocking(move || {
            let mut client = UnixStream::connect(path).unwrap();
            client.write_all(said).unwrap();
            if ends {
                client.shutdown(Shutdown::Write).unwrap();
            }
            let mut read = Vec::new();
            client.read_to_end(&mut read).unwrap();
            read
        });
        read.await.unwrap()
    }

    #[tokio::test(flavor = "local")]
    async fn a_client_gets_the_document_and_the_end_whether_it_is_silent_or_says_nothing_of_weight() {
        // More than a socket's buffer holds.
        let document = b"0123456789".repeat(100_000);
        let bench = bench(document.clone(), 0);
        for said in [&b""[..], b"\n", b"{}\n", b"{\"follow\":false}\n{\"follow\":true}\n", b"{\"fol"] {
            for ends in [false, true] {
                // Half a line that is complete in itself isn't one.
                if !(ends && said.starts_with(b"{\"fol\"")) && said != b"{\"fol" {
                    assert_eq!(answer(&bench, said, ends).await, document, "{said:?}");
                }
            }
        }
        assert_eq!(answer(&bench, b"{\"fol", false).await, document, "the rest may never come");
        bench.server.abort();
        assert!(bench.server.await.unwrap_err().is_cancelled());
        assert!(!bench.path.exists(), "the socket is removed");
    }

    #[tokio::test(flavor = "local")]
    async fn what_makes_no_sense_is_answered_and_the_end_comes() {
        let bench = bench(b"{}".to_vec(), 0);
        for said in [&b"what?\n"[..], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\xff\n", b"{\"fol"] {
            let answer = answer(&bench, said, true).await;
            let json: serde_json::Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(json["error"], "bad_line", "{said:?}");
        }
    }

    /// A client that follows, and its next line.
    async fn next(mut client: BufReader<UnixStream>) -> (BufReader<UnixStream>, String) {
        let read = spawn_blocking(move || {
            let mut line = String::new();
            client.read_line(&mut line).unwrap();
            (client, line.trim().to_owned())
        });
        read.await.unwrap()
    }

    async fn follower(bench: &Bench) -> BufReader<UnixStream> {
        let mut client = UnixStream::connect(&bench.path).unwrap();
        client.write_all(b"{\"follow\":true}\n").unwrap();
        BufReader::new(client)
    }

    #[tokio::test(flavor = "local")]
    async fn a_follower_gets_a_line_at_once_and_one_at_each_change_also_when_it_has_ended_its_side() {
        let bench = bench(b"{}".to_vec(), 0);
        for half_closed in [false, true] {
            bench.made.set(0);
            let client = follower(&bench).await;
            if half_closed {
                client.get_ref().shutdown(Shutdown::Write).unwrap();
            }
            let (client, line) = next(client).await;
            assert_eq!(line, "1");
            bench.changes.send_replace(ConnectionState::Connected);
            let (client, line) = next(client).await;
            assert_eq!(line, "2");
            bench.changes.send_replace(ConnectionState::Waiting);
            assert_eq!(next(client).await.1, "3");
        }
    }

    #[tokio::test(flavor = "local")]
    async fn a_follower_that_does_not_read_is_told_the_latest_and_no_more_than_a_line_waits() {
        // Larger than a socket's buffer.
        let length = 1_000_000;
        let bench = bench(b"{}".to_vec(), length);
        let client = follower(&bench).await;
        let at_last = |n: usize| {
            let made = Rc::clone(&bench.made);
            async move {
                while made.get() < n {
                    tokio::task::yield_now().await;
                }
            }
        };
        at_last(1).await;
        for _ in 0..100 {
            bench.changes.send_replace(ConnectionState::Connected);
            tokio::task::yield_now().await;
        }
        assert_eq!(bench.made.get(), 1);
        let (client, first) = next(client).await;
        assert_eq!(first, "1");
        assert_eq!(next(client).await.1, "2");
        assert_eq!(bench.made.get(), 2);
        // Others are served meanwhile.
        assert_eq!(answer(&bench, b"", true).await, b"{}");
    }
}
