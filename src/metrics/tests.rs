//! Real clients on loopback.

use std::cell::{Cell, RefCell};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;

use tokio::task::{JoinHandle, spawn_blocking, spawn_local};

use super::tcp::MAX_CLIENTS;
use super::*;
use crate::config::SocketFile;

struct Bench {
    address: SocketAddr,
    server: JoinHandle<()>,
    scrapes: Rc<Cell<u32>>,
}

/// A port that was free a moment ago.
fn free() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

fn exposition() -> (Exposition, Rc<Cell<u32>>) {
    let scrapes: Rc<Cell<u32>> = Rc::default();
    let counted = Rc::clone(&scrapes);
    let exposition = move || {
        counted.set(counted.get() + 1);
        // More than a socket takes at once.
        format!("gatewire_up 1\n{}", "# HELP x y\n".repeat(500_000))
    };
    (Rc::new(exposition), scrapes)
}

async fn bench() -> Bench {
    let (address, (exposition, scrapes)) = (free(), exposition());
    let server = spawn_local(serve_tcp(address, exposition, Rc::default()));
    tokio::task::yield_now().await;
    Bench { address, server, scrapes }
}

/// What comes for these bytes.
async fn ask(address: SocketAddr, request: impl Into<Vec<u8>>) -> String {
    let request = request.into();
    let asked = spawn_blocking(move || {
        let mut client = TcpStream::connect(address).unwrap();
        // It may be answered before all of it is there.
        let _ = client.write_all(&request);
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    });
    asked.await.unwrap()
}

#[tokio::test(flavor = "local")]
async fn a_request_is_answered_and_the_connection_ends() {
    let bench = bench().await;
    let get = ask(bench.address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let (head, body) = get.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("connection: close"), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(head.contains(&format!("content-length: {}", body.len())) && body.starts_with("gatewire_up 1\n"), "{head}");
    let without = ask(bench.address, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(without.trim_end(), head, "HEAD says the same without the body");
    let old = ask(bench.address, "GET /healthz HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200 OK\r\n") && old.ends_with("\r\n\r\nok\n"), "{old}");
    assert_eq!(bench.scrapes.get(), 2);
}

#[tokio::test(flavor = "local")]
async fn what_is_no_request_or_too_large_is_refused_and_costs_no_scrape() {
    let bench = bench().await;
    let headers: String = (0..1000).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    for (request, status) in [
        (b"nonsense\r\n\r\n".to_vec(), "400"),
        (b"\x16\x03\x01\x02\x00\x01\x00".to_vec(), "400"),
        (format!("GET /metrics HTTP/1.1\r\n{headers}\r\n").into_bytes(), "431"),
        (long.into_bytes(), "431"),
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc".to_vec(), "405"),
        (b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), "404"),
    ] {
        let answer = ask(bench.address, request).await;
        assert!(answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
    }
    assert_eq!(bench.scrapes.get(), 0);
    assert!(!bench.server.is_finished());
}

/// Those who connect and say nothing give way to who has something to ask.
#[tokio::test(flavor = "local")]
async fn silent_clients_keep_nobody_out() {
    let bench = bench().await;
    let silent: Vec<TcpStream> = (0..3 * MAX_CLIENTS).map(|_| TcpStream::connect(bench.address).unwrap()).collect();
    let get = ask(bench.address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(get.ends_with("ok\n"), "{get}");
    drop(silent);
}

/// One address connects and says nothing, again and again; a scrape from another that takes its time is left alone.
#[tokio::test(flavor = "local")]
async fn nobody_pays_for_what_another_address_holds() {
    let bench = bench().await;
    let from = |address: &str| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&format!("{address}:0").parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.connect(&bench.address.into()).unwrap();
        TcpStream::from(socket)
    };
    let mut slow = from("127.0.0.5");
    slow.write_all(b"GET /healthz HTTP/1.1\r\n").unwrap();
    let silent: Vec<TcpStream> = (0..3 * MAX_CLIENTS).map(|_| from("127.0.0.9")).collect();
    // Each of them is let in, or has taken another's place, by the time that this is answered.
    assert!(ask(bench.address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.ends_with("ok\n"));
    let answer = spawn_blocking(move || {
        slow.write_all(b"Host: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        slow.read_to_string(&mut answer).unwrap();
        answer
    });
    assert!(answer.await.unwrap().ends_with("ok\n"));
    drop(silent);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_request_that_is_not_complete_is_given_up_after_ten_seconds() {
    let (client, server) = tokio::io::duplex(1024);
    let (exposition, scrapes) = exposition();
    let served = spawn_local(async move { serve_one(server, &exposition).await });
    let begun = tokio::time::Instant::now();
    let (mut read, mut write) = tokio::io::split(client);
    tokio::io::AsyncWriteExt::write_all(&mut write, b"GET /metrics HTTP/1.1\r\n").await.unwrap();
    served.await.unwrap();
    assert_eq!(begun.elapsed(), PATIENCE);
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut read, &mut answer).await.unwrap();
    assert_eq!((answer.as_str(), scrapes.get()), ("", 0));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_port_that_another_has_is_taken_once_it_is_free() {
    let other = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = other.local_addr().unwrap();
    assert!(matches!(probe(address, false), Err(error) if error.to_string().contains("is in use by another program")));
    assert_eq!(probe(address, true), Ok(()), "it may be the daemon's own");
    let fault: Rc<RefCell<Option<String>>> = Rc::default();
    let _server = spawn_local(serve_tcp(address, exposition().0, Rc::clone(&fault)));
    tokio::task::yield_now().await;
    assert!(fault.borrow().as_ref().is_some_and(|fault| fault.contains("is in use by another program")), "{fault:?}");
    drop(other);
    // Of the paused clock.
    tokio::time::sleep_until(tokio::time::Instant::now() + Duration::from_secs(11)).await;
    assert!(probe(address, false).is_err(), "gatewire has it");
    assert_eq!(*fault.borrow(), None);
}

#[tokio::test(flavor = "local")]
async fn an_address_of_another_machine_is_told() {
    let said = probe("192.0.2.1:9641".parse().unwrap(), false).unwrap_err().to_string();
    assert!(said.starts_with("192.0.2.1 isn't an address of this machine now"), "{said}");
}

#[tokio::test(flavor = "local")]
async fn a_unix_socket_answers_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("metrics.sock");
    let listener = Rc::new(Listener::bind(&SocketFile { path: path.clone(), mode: 0o660, group: None }).unwrap());
    let _server = spawn_local(serve_unix(path.clone(), listener, exposition().0));
    let asked = spawn_blocking(move || {
        let mut client = std::os::unix::net::UnixStream::connect(path).unwrap();
        client.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    });
    assert!(asked.await.unwrap().ends_with("\r\n\r\nok\n"));
}
