//! `[metrics]`: the listener, a reload, and what is in its way.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;

use support::daemon::{Gatewire, Setup};
use support::{closed_port, eventually, free_port};

fn listening(listen: &str) -> Setup {
    Setup::new(closed_port(), &format!("[metrics]\nlisten = \"{listen}\"\n"))
}

const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

/// The answer to a request at a port, once somebody listens there.
fn scrape(port: u16) -> String {
    let mut client = eventually("a listener", || TcpStream::connect(("127.0.0.1", port)).ok());
    client.write_all(REQUEST).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

fn is_closed(port: u16) {
    eventually("the port to be free", || TcpListener::bind(("127.0.0.1", port)).ok().map(drop));
}

#[test]
fn the_port_has_what_the_command_prints() {
    let port = free_port();
    let setup = listening(&format!("127.0.0.1:{port}"));
    let gatewire = setup.start();
    gatewire.wait_for(&format!("the metrics are at http://127.0.0.1:{port}/metrics"));
    // Some are there once it has failed to connect.
    gatewire.wait_for("next attempt in");
    let names = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with("# TYPE ")).map(ToOwned::to_owned).collect()
    };
    // Others are there only while it waits for its next attempt.
    let scraped = eventually("the same in both", || {
        let (code, printed, _) = setup.output_of(&["status", "--prometheus"]);
        assert_eq!(code, 0, "{printed}");
        Some(scrape(port)).filter(|scraped| names(scraped) == names(&printed))
    });
    assert!(scraped.contains("\ngatewire_up 1\n"), "{scraped}");
    // As a person asks, and what checks whether it lives.
    let health = |arguments: &[&str]| {
        let url = format!("http://127.0.0.1:{port}/healthz");
        let output = Command::new("curl").args(["-s", "--max-time", "20"]).args(arguments).arg(url).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(health(&[]), "ok\n");
    assert!(health(&["--head"]).starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(health(&["-X", "POST", "-i"]).starts_with("HTTP/1.1 405 "));
    assert_eq!(gatewire.stop().0, 0);
    is_closed(port);
}

#[test]
fn a_reload_starts_moves_and_ends_it() {
    let (first, second) = (free_port(), free_port());
    let setup = Setup::new(closed_port(), "");
    let gatewire: Gatewire = setup.start();
    gatewire.wait_for("next attempt in");
    let section = |port: u16| format!("[metrics]\nlisten = \"127.0.0.1:{port}\"\n[status]");
    let setup = setup.edit("[status]", &section(first));
    gatewire.signal("HUP");
    assert!(scrape(first).contains("gatewire_up 1"));
    let setup = setup.edit(&section(first), &section(second));
    gatewire.signal("HUP");
    assert!(scrape(second).contains("gatewire_up 1"));
    is_closed(first);
    // The same port at all addresses: one can't be had beside the other.
    let everywhere = section(second).replace("127.0.0.1", "0.0.0.0");
    let setup = setup.edit(&section(second), &everywhere);
    gatewire.signal("HUP");
    gatewire.wait_for(&format!("the metrics are at http://0.0.0.0:{second}/metrics"));
    let socket = gatewire.path("metrics.sock");
    let unix = format!("[metrics]\nlisten = \"unix:{}\"\n[status]", socket.display());
    let setup = setup.edit(&everywhere, &unix);
    gatewire.signal("HUP");
    let mut client = eventually("the socket", || UnixStream::connect(&socket).ok());
    client.write_all(REQUEST).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\ngatewire_up 1\n"), "{answer}");
    is_closed(second);
    let _setup = setup.edit(&unix, "[status]");
    gatewire.signal("HUP");
    eventually("the socket to go", || (!socket.exists()).then_some(()));
}

#[test]
fn a_port_that_another_program_has_keeps_gatewire_from_nothing_else() {
    let other = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = other.local_addr().unwrap().port();
    let setup = listening(&format!("127.0.0.1:{port}"));
    let (code, _, said) = setup.output("check");
    assert!(code == 1 && said.contains(&format!("`metrics.listen`: 127.0.0.1:{port} is in use")), "{code} {said}");
    let gatewire = setup.start();
    let line = gatewire.wait_for("no metrics are served (metrics.listen)");
    assert!(line.contains(&format!("127.0.0.1:{port} is in use by another program: `sudo ss -ltnp")), "{line}");
    let metrics = gatewire.status()["metrics"].clone();
    assert_eq!(metrics["listen"], format!("127.0.0.1:{port}"));
    assert!(metrics["error"].as_str().unwrap().contains("is in use by another program"), "{metrics}");
    let (_, page, _) = setup.output("status");
    assert!(page.contains("not served: "), "{page}");
    let (code, _, said) = setup.output("check");
    assert!(code == 1 && said.contains("is in use by another program"), "a daemon that runs doesn't have it: {said}");
    drop(other);
    assert!(scrape(port).contains("gatewire_up 1"), "10 s later it is tried again");
    assert!(gatewire.status()["metrics"]["error"].is_null());
    // Its own port is no fault while it runs.
    let (code, out, said) = setup.output("check");
    assert!(code == 0 && out.contains(&format!("metrics  at http://127.0.0.1:{port}/metrics")), "{code} {out} {said}");
}
