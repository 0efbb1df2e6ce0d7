use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::net::UnixStream;

use super::*;
use crate::config::SocketFile;

/// Serves in a directory of its own; a client is echoed one byte and held until it closes.
fn serve_echo(path: &std::path::Path) -> (tokio::task::JoinHandle<()>, Rc<Cell<usize>>) {
    let listener = Rc::new(Listener::bind(&SocketFile { path: path.to_owned(), mode: 0o600, group: None }).unwrap());
    let clients: Rc<Cell<usize>> = Rc::default();
    let echo = async |stream: Stream| {
        let mut byte = [0];
        loop {
            stream.readable().await.unwrap();
            match stream.try_read(&mut byte).unwrap() {
                Some(0) => return,
                Some(_) => assert_eq!(stream.try_write(&[IoSlice::new(&byte)]).unwrap(), Some(1)),
                None => {}
            }
        }
    };
    (tokio::task::spawn_local(serve((listener, For::Messages), Rc::clone(&clients), echo)), clients)
}

#[tokio::test(flavor = "local")]
async fn two_hundred_clients_are_served_and_one_past_the_bound_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.sock");
    let (server, clients) = serve_echo(&path);
    let connect = move || {
        let mut held: Vec<UnixStream> = Vec::new();
        for _ in 0..MAX_CLIENTS {
            let mut client = UnixStream::connect(&path).unwrap();
            io::Write::write_all(&mut client, b"x").unwrap();
            client.read_exact(&mut [0]).unwrap();
            held.push(client);
        }
        let mut refusal = String::new();
        let mut refused = BufReader::new(UnixStream::connect(&path).unwrap());
        refused.read_line(&mut refusal).unwrap();
        assert_eq!(refused.read_line(&mut String::new()).unwrap(), 0, "and disconnected");
        // Once one has gone there is room again.
        drop(held.pop());
        loop {
            let mut client = UnixStream::connect(&path).unwrap();
            if io::Write::write_all(&mut client, b"x").is_ok() && client.read_exact(&mut [0]).is_ok() {
                return (refusal, held);
            }
        }
    };
    let (refusal, held) = tokio::task::spawn_blocking(connect).await.unwrap();
    let refusal: serde_json::Value = serde_json::from_str(&refusal).unwrap();
    assert_eq!(refusal["error"], "too_many_clients");
    assert!(refusal["detail"].as_str().unwrap().contains(&MAX_CLIENTS.to_string()));
    assert!(clients.get() >= held.len());
    server.abort();
}
