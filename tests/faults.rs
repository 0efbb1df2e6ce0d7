//! What keeps the link from coming or staying, met on the wire: how it is named, that it is tried again, and that memory
//! stays bounded meanwhile. The texts are the business of the unit tests of `link::diagnosis`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use rumqttc::mqttbytes::v4::Packet;
use support::daemon::{Gatewire, Setup};
use support::mosquitto::Mosquitto;
use support::preload::preload;
use support::scripted::Broker;
use support::{CERTIFICATES, Certificates, closed_port, eventually};

/// More than the bounds of the queues allow, less than what the floods bring.
const ENOUGH_KIB: u64 = 32 * 1024;

#[test]
fn a_server_that_is_not_who_it_should_be_hears_no_mqtt() {
    let server = "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth";
    CERTIFICATES.issue("elsewhere.crt", "server.key", &server.replace("localhost", "elsewhere.example"), 1);
    CERTIFICATES.issue("old-server.crt", "server.key", server, -1);
    for (certificate, code) in [("elsewhere.crt", "tls_wrong_name"), ("old-server.crt", "tls_server_expired")] {
        let broker = Broker::start_as(certificate);
        let gatewire = Setup::new(broker.port, "").start();
        for _ in 0..2 {
            let alert = broker.accept().handshake().unwrap_err();
            assert!(alert.to_string().contains("alert"), "{alert}");
        }
        gatewire.wait_for_failure(code);
    }
}

#[test]
fn a_server_that_is_not_trusted_is_explained_and_tried_again() {
    let broker = Mosquitto::start();
    let other = Certificates::make("thing-1", "ec");
    let setup = Setup::new(broker.port, "").credential("AmazonRootCA1.pem", &other.path("AmazonRootCA1.pem"));
    let gatewire = setup.start();
    let line = gatewire.wait_for("next attempt in");
    assert!(line.contains("TLS with localhost") && line.contains("tls.ca_file"), "{line}");
    gatewire.wait_for(", 4 times since ");
    gatewire.wait_for_failure("tls_unknown_ca");
}

#[test]
fn a_certificate_that_the_server_refuses_is_explained_with_what_aws_needs() {
    let broker = Mosquitto::start();
    // As one that isn't active or not registered in this account.
    let other = Certificates::make("thing-1", "rsa");
    let gatewire = Setup::new(broker.port, "")
        .credential("certificate.pem.crt", &other.path("certificate.pem.crt"))
        .credential("private.pem.key", &other.path("private.pem.key"))
        .start();
    let said = gatewire.wait_for_failure("tls_alert_");
    assert!(said.contains("isn't active") && said.contains("policy"), "{said}");
    gatewire.wait_for(", 4 times since ");
}

#[test]
fn a_name_without_an_address_is_explained_and_a_stop_does_not_wait_for_it() {
    let connection = "connect_timeout = \"10s\"\nbackoff = { min = \"100ms\", max = \"200ms\" }\n";
    let setup = Setup::with_connection(8883, connection, "").edit("\"localhost\"", "\"gatewire.invalid\"");
    let gatewire = setup.start();
    let said = gatewire.wait_for_failure("dns_");
    assert!(said.contains("gatewire.invalid"), "{said}");
    let (code, took) = gatewire.stop();
    assert!(code == 0 && took < Duration::from_secs(5), "{code} {took:?}");
}

#[test]
fn a_server_that_says_nothing_gets_its_time_and_no_more() {
    let broker = Broker::start();
    let connection = "connect_timeout = \"3s\"\nbackoff = { min = \"100ms\", max = \"200ms\" }\n";
    let gatewire = Setup::with_connection(broker.port, connection, "").speaking("3.1.1").start();
    let _silent = broker.accept_tcp();
    gatewire.wait_for_failure("tls_timeout");
    broker.connected(false);
    gatewire.wait_for("connected to");
}

#[test]
fn a_reset_connection_is_made_again() {
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, "").speaking("3.1.1").start();
    broker.connected(false).reset();
    gatewire.wait_for_failure("closed_by_server");
    broker.connected(true);
    gatewire.wait_for_nth("connected to", 2);
}

fn assert_bounded_memory(gatewire: &Gatewire) {
    let most = gatewire.own_memory_peak();
    assert!(most < ENOUGH_KIB, "{most} KiB");
}

#[test]
fn a_flood_from_local_clients_without_a_link_takes_bounded_memory() {
    const CLIENTS: usize = 60;
    let rest = "when_full = \"reject-new\"\n\
        [[ingest]]\nname = \"i\"\nsocket = \"DIR/i.sock\"\ntopics = [\"#\"]\n";
    let gatewire = Setup::new(closed_port(), rest).start();
    let line = format!("{{\"topic\":\"t\",\"payload\":\"{}\"}}\n", "x".repeat(2000));
    // What a client may leave unanswered, 120 MB of it together.
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| gatewire.client("i.sock")).collect();
    clients.iter_mut().for_each(|client| client.write(line.repeat(1000).as_bytes()));
    let mut endless = gatewire.client("i.sock");
    (0..20).for_each(|_| endless.write(&vec![b'x'; 1 << 20]));
    endless.send("");
    assert_eq!(endless.json()["error"], "bad_line");
    let status = eventually("every line to be accepted or refused", || {
        let status = gatewire.status();
        let ingest = &status["ingest"][0];
        let seen = ingest["accepted"].as_u64().unwrap() + ingest["refused"]["outbox_full"].as_u64().unwrap_or(0);
        (seen == CLIENTS as u64 * 1000).then_some(status)
    });
    // All of it is on the disk.
    assert_eq!(status["outbox"]["waiting"], CLIENTS * 1000, "{status}");
    assert_bounded_memory(&gatewire);
}

#[test]
fn a_flood_from_the_server_without_a_reader_takes_bounded_memory() {
    let broker = Broker::start();
    let rest = "[[forward]]\nname = \"f\"\nfilters = [\"t\"]\nsocket = \"DIR/f.sock\"\n";
    let gatewire = Setup::new(broker.port, rest).speaking("3.1.1").start();
    let mut peer = broker.connected(false);
    let request = peer.subscribe();
    peer.grant(&request);
    let payload = "x".repeat(128 * 1024);
    // 125 MB, each acknowledged because it is kept, or gave way to one that is.
    for id in 1..=1000 {
        peer.message("t", &payload, id);
        assert!(matches!(peer.next(), Some(Packet::PubAck(ack)) if ack.pkid == id));
    }
    let status = gatewire.status();
    let forward = &status["forward"][0];
    assert!(forward["waiting_bytes"].as_u64().unwrap() <= 16 << 20, "{forward}");
    assert_eq!(forward["waiting"].as_u64().unwrap() + forward["dropped"]["keep_full"].as_u64().unwrap(), 1000);
    assert_bounded_memory(&gatewire);
}

#[test]
fn a_system_without_threads_costs_an_attempt_and_a_start_is_tried_again() {
    let schedule = "[[publish]]\nname = \"p\"\ntopic = \"p\"\nevery = \"200ms\"\nfile = \"DIR/gatewire.toml\"\n";
    let mut mosquitto = Mosquitto::start();
    let setup = preload(Setup::new(mosquitto.port, schedule), "tests/support/no_thread.c");
    let sign = setup.directory.path().join("no-thread");
    let setup = setup.env("NO_THREAD", &sign);
    let gatewire = setup.connect();
    std::fs::write(&sign, "").unwrap();
    mosquitto.kill();
    mosquitto.restart();
    gatewire.wait_for("TasksMax=");
    gatewire.signal("HUP");
    gatewire.wait_for("the configuration isn't read");
    eventually("what failed", || (gatewire.status()["link"]["last_error"]["code"] == "dns_no_thread").then_some(()));
    eventually("what failed", || (gatewire.status()["publish"][0]["failing"] == true).then_some(()));
    std::fs::remove_file(&sign).unwrap();
    eventually("the link", || (gatewire.status()["link"]["state"] == "connected").then_some(()));
    assert_eq!(gatewire.stop().0, 0);

    // systemd starts what ends with this code again (RestartPreventExitStatus=64 78).
    std::fs::write(&sign, "").unwrap();
    let (code, _, errors) = setup.output("run");
    assert_eq!(code, 70, "{errors}");
    assert!(
        errors.contains("can't start: the system has no thread for it") && errors.contains("LimitNPROC="),
        "{errors}"
    );
}
