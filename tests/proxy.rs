//! The way out through an HTTP proxy: tinyproxy with mosquitto behind it, and a scripted one for what goes wrong.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use serde_json::json;
use support::daemon::{Gatewire, Setup};
use support::mosquitto::Mosquitto;
use support::scripted::Broker;
use support::tinyproxy::Tinyproxy;
use support::{CERTIFICATES, PATIENCE, closed_port, eventually};

const QUICK: &str = "connect_timeout = \"5s\"\nbackoff = { min = \"100ms\", max = \"200ms\" }\n\
    rate_limit = { connects_per_second = 100 }\n";
const REST: &str = "[log]\nlevel = \"debug\"\n\
    [[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"#\"]\n";

fn through(proxy: &str, port: u16) -> Setup {
    Setup::with_connection(port, &format!("{QUICK}proxy = \"{proxy}\"\n"), REST).unspilled()
}

/// Neither the log nor the status nor `check` shows the password, as it is or as it is sent.
fn assert_secret(gatewire: &Gatewire, setup: &Setup, secrets: &[&str]) {
    let (_, output, errors) = setup.output("check");
    let said = format!("{}{}{output}{errors}", gatewire.log().join("\n"), gatewire.status());
    for secret in secrets {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
    assert!(output.contains("through the proxy"), "{output}");
}

#[test]
fn the_link_comes_up_through_a_proxy_that_wants_a_login() {
    for address in ["127.0.0.1", "::1"] {
        let broker = Mosquitto::start();
        let proxy = Tinyproxy::start(address, "BasicAuth me sesame");
        let host = if address.contains(':') { format!("[{address}]") } else { "localhost".to_owned() };
        let setup = through(&format!("http://me:s%65same@{host}:{}", proxy.port), broker.port);
        let gatewire = setup.start();
        gatewire.wait_for("connected to localhost");
        let mut client = gatewire.client("publish.sock");
        assert_eq!(client.ask(r#"{"topic":"x","payload":1}"#), json!({"result": "delivered"}));
        assert_eq!(broker.received("thing-1"), ["x"]);
        eventually("the CONNECT in tinyproxy's log", || {
            proxy.log().contains(&format!("CONNECT localhost:{} HTTP/1.1", broker.port)).then_some(())
        });
        gatewire.wait_for(&format!("proxy: {host}:{} has connected to localhost:{}", proxy.port, broker.port));
        assert_eq!(gatewire.status()["link"]["proxy"], format!("{host}:{}", proxy.port));
        assert_secret(&gatewire, &setup, &["sesame", "s%65same", "bWU6c2VzYW1l"]);
        assert_eq!(gatewire.stop().0, 0);
    }
}

#[test]
fn a_login_that_is_missing_or_wrong_is_explained_and_not_shown() {
    let broker = Mosquitto::start();
    let proxy = Tinyproxy::start("127.0.0.1", "BasicAuth me sesame");
    for (login, code, advice) in [
        ("", "proxy_login_required", "Write the login into connection.proxy"),
        ("me:taboo@", "proxy_login_refused", "the password in connection.proxy is wrong"),
    ] {
        let setup = through(&format!("http://{login}localhost:{}", proxy.port), broker.port);
        let gatewire = setup.start();
        let said = gatewire.wait_for_failure(code);
        assert!(said.contains(advice), "{said}");
        assert_secret(&gatewire, &setup, &["taboo", "bWU6dGFib2"]);
    }
}

#[test]
fn a_port_that_the_proxy_does_not_let_through_is_explained() {
    let proxy = Tinyproxy::start("127.0.0.1", "ConnectPort 443");
    let gatewire = through(&format!("http://localhost:{}", proxy.port), 8883).start();
    let said = gatewire.wait_for_failure("proxy_refused");
    assert!(said.contains("403") && said.contains("connection.port = 443"), "{said}");
}

#[test]
fn a_server_that_the_proxy_cannot_reach_is_explained() {
    let proxy = Tinyproxy::start("127.0.0.1", "");
    let gatewire = through(&format!("http://localhost:{}", proxy.port), closed_port()).start();
    let said = gatewire.wait_for_failure("proxy_refused");
    assert!(said.contains("The proxy can't reach localhost"), "{said}");
}

#[test]
fn a_proxy_that_is_not_there_is_told_from_a_server_that_is_not_there() {
    let gatewire = through("http://gatewire.invalid:3128", 8883).start();
    let said = gatewire.wait_for_failure("proxy_dns_");
    assert!(said.contains("looking up the proxy in DNS") && said.contains("gatewire.invalid:3128"), "{said}");
    let gatewire = through(&format!("http://localhost:{}", closed_port()), 8883).start();
    let said = gatewire.wait_for_failure("proxy_tcp_refused");
    assert!(said.contains("127.0.0.1: connection refused") && said.contains("connection.proxy"), "{said}");
}

/// The next client of a scripted proxy, and the head of its request.
fn accept(proxy: &TcpListener) -> (TcpStream, Vec<String>) {
    let client = eventually("a connection to the proxy", || proxy.accept().ok()).0;
    client.set_nonblocking(false).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let lines = BufReader::new(client.try_clone().unwrap()).lines().map(Result::unwrap);
    let head = lines.take_while(|line| !line.is_empty()).collect();
    (client, head)
}

fn scripted_proxy() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    (listener, url)
}

#[test]
fn whatever_a_proxy_answers_is_explained_and_it_is_tried_again() {
    let (proxy, url) = scripted_proxy();
    let broker = Broker::start();
    let gatewire = through(&url, broker.port).speaking("3.1.1").start();
    for (answer, code, text) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", "proxy_not_http", "SSH-2.0-OpenSSH_9.2"),
        ("HTTP/1.1 200 OK\r\n\r\nwelcome", "proxy_not_http", "welcome"),
        ("HTTP/1.1 403 \u{1b}[31mNo\r\n\r\n", "proxy_refused", "u001b[31mNo"),
        ("HTTP/1.1 504 Gateway Timeout\r\n\r\n", "proxy_refused", "can't reach localhost"),
        ("HTTP/1.1 407 x\r\nProxy-Authenticate: NTLM\r\n\r\n", "proxy_login_required", "accepts NTLM and gatewire"),
    ] {
        let (mut client, _) = accept(&proxy);
        client.write_all(answer.as_bytes()).unwrap();
        eventually(code, || {
            let error = gatewire.status()["link"]["last_error"].clone();
            (error["code"] == code && error.to_string().contains(text)).then_some(())
        });
    }
    drop(accept(&proxy));
    gatewire.wait_for_failure("proxy_closed");
    let _silent = accept(&proxy);
    gatewire.wait_for_failure("proxy_timeout");
    // It hands us over to the server.
    let (mut client, _) = accept(&proxy);
    client.write_all(b"HTTP/1.0 200 Connection established\r\nVia: 1.0 x\r\n\r\n").unwrap();
    let mut peer = broker.secure(client);
    peer.connect();
    peer.connack(false);
    gatewire.wait_for("connected to localhost");
}

#[test]
fn a_proxy_whose_headers_never_end_is_left() {
    let (proxy, url) = scripted_proxy();
    let gatewire = through(&url, 8883).start();
    let (mut client, _) = accept(&proxy);
    client.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
    // Some megabytes, unless it closes: then what is on the way is lost.
    let line = format!("X: {}\r\n", "x".repeat(1000));
    let written = (0..10_000).take_while(|_| client.write_all(line.as_bytes()).is_ok()).count();
    assert!(written < 10_000);
    let said = gatewire.wait_for_failure("proxy_not_http");
    assert!(said.contains("longer than 8 KiB"), "{said}");
}

#[test]
fn the_name_of_the_server_is_looked_up_by_the_proxy() {
    let (proxy, url) = scripted_proxy();
    CERTIFICATES.issue("behind.crt", "server.key", "subjectAltName=DNS:broker.gatewire.invalid", 1);
    let broker = Broker::start_as("behind.crt");
    let gatewire = through(&url, 8883).edit("\"localhost\"", "\"broker.gatewire.invalid\"").speaking("3.1.1").start();
    let (mut client, head) = accept(&proxy);
    assert_eq!(head[..2], ["CONNECT broker.gatewire.invalid:8883 HTTP/1.1", "Host: broker.gatewire.invalid:8883"]);
    assert!(!head.iter().any(|line| line.starts_with("Proxy-Authorization")), "{head:?}");
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let mut peer = broker.secure(client);
    peer.connect();
    peer.connack(false);
    gatewire.wait_for("connected to broker.gatewire.invalid");
    peer.close();
    let said = gatewire.wait_for_failure("closed_by_server");
    assert!(said.contains("(through the proxy localhost:"), "{said}");
}

#[test]
fn port_443_asks_for_mqtt_by_alpn_and_another_does_not() {
    for (port, protocol) in [(443, Some(b"x-amzn-mqtt-ca".to_vec())), (8883, None)] {
        let (proxy, url) = scripted_proxy();
        let broker = Broker::start();
        let gatewire = through(&url, port).speaking("3.1.1").start();
        let (mut client, head) = accept(&proxy);
        assert_eq!(head[0], format!("CONNECT localhost:{port} HTTP/1.1"));
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let mut peer = broker.secure(client);
        peer.connect();
        assert_eq!(peer.asked_for(), (Some("localhost".to_owned()), protocol));
        peer.connack(false);
        gatewire.wait_for("connected to localhost");
    }
}

#[test]
fn a_stop_does_not_wait_for_a_proxy() {
    let (proxy, url) = scripted_proxy();
    let gatewire = through(&url, 8883).start();
    let (mut client, _) = accept(&proxy);
    assert_eq!(gatewire.stop().0, 0);
    let end = client.read(&mut [0]).map_err(|error| error.kind());
    assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "{end:?}");
}
