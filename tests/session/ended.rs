//! Connections that are refused or end, and what is said of it.

use super::*;

#[test]
fn a_refused_connect_is_explained_and_tried_again() {
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, "").speaking("3.1.1").start();
    for code in [ConnectReturnCode::NotAuthorized, ConnectReturnCode::BadClientId] {
        let mut peer = broker.accept();
        peer.connect();
        peer.send(&Packet::ConnAck(ConnAck::new(code, false)));
        assert_eq!(peer.next(), None, "nothing more is said on that connection");
    }
    let line = gatewire.wait_for("refused with CONNACK return code 5");
    assert!(line.contains("thing-1") && line.contains("iot:Connect"), "{line}");
    gatewire.wait_for("refused with CONNACK return code 2");
    let mut peer = broker.accept();
    peer.connect();
    peer.raw(&[0x20, 2, 0, 66]);
    let line = gatewire.wait_for("refused by a CONNACK with the unknown return code 66");
    assert!(line.contains("code that MQTT doesn't have"), "{line}");
    broker.connected(false);
    gatewire.wait_for("connected to localhost");
}

#[test]
fn closing_instead_of_connack_is_explained() {
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, "").speaking("3.1.1").start();
    let mut peer = broker.accept();
    peer.connect();
    peer.close();
    let line = gatewire.wait_for("the connection was closed instead of a CONNACK");
    assert!(line.contains("iot:Connect") && line.contains("client/thing-1"), "{line}");
}

#[test]
fn a_withheld_connack_ends_the_attempt() {
    let broker = Broker::start();
    let gatewire = Setup::with_connection(broker.port, "connect_timeout = \"1s\"\n", "").speaking("3.1.1").start();
    // On a slow machine the time may be over before CONNECT has come.
    let mut peers = std::iter::repeat_with(|| broker.accept()).take(20);
    let said = peers.find_map(|mut peer| peer.next().map(|packet| (peer, packet)));
    let (mut peer, packet) = said.expect("a CONNECT in time");
    assert!(matches!(packet, Packet::Connect(_)), "{packet:?}");
    assert_eq!(peer.next(), None);
    gatewire.wait_for("no CONNACK");
}

#[test]
fn a_close_after_a_publish_names_it() {
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, INGEST).speaking("3.1.1").start();
    let mut peer = broker.connected(false);
    let mut client = gatewire.client("publish.sock");
    client.send(r#"{"topic":"forbidden/topic","payload":1}"#);
    assert_eq!(peer.publish().topic, "forbidden/topic");
    peer.close();
    let line = gatewire.wait_for("closed the connection");
    assert!(line.contains("PUBLISH to `forbidden/topic`") && line.contains("iot:Publish"), "{line}");
}

#[test]
fn what_is_not_mqtt_ends_the_connection_and_not_the_daemon() {
    let broker = Broker::start();
    let gatewire = Setup::new(broker.port, &forward(1)).speaking("3.1.1").start();
    let qos_3 = [0x36, 6, 0, 1, b'a', 0, 1, b'x'];
    let publish_not_utf8 = [0x30, 5, 0, 2, 0xff, 0xfe, b'x'];
    let junk: [&[u8]; 7] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        &[0x90, 0xff, 0xff, 0xff, 0x7f],
        &[0x30, 0xff, 0xff, 0xff, 0xff],
        &qos_3,
        &publish_not_utf8,
        &[0x90, 2, 0, 1],
        &[0x00, 0x00],
    ];
    for bytes in junk {
        let mut peer = broker.connected(false);
        peer.subscribe();
        peer.raw(bytes);
        assert_eq!(peer.next(), None, "{bytes:x?}");
    }
    // A packet that ends in the middle, and before CONNACK.
    let mut peer = broker.connected(false);
    peer.subscribe();
    peer.raw(&[0x30, 100, 0, 1, b'f']);
    peer.close();
    let mut peer = broker.accept();
    peer.connect();
    peer.message("f/00", "too early", 1);
    assert_eq!(peer.next(), None);
    let request = broker.connected(false).subscribe();
    assert_eq!(request.filters.len(), 1);
    gatewire.wait_for("HTTP/1.1 400");
    gatewire.wait_for("more than the");
    assert_eq!(gatewire.count("internal error"), 0, "{:?}", gatewire.log());
}

#[test]
fn connack_alone_does_not_reset_the_backoff() {
    let broker = Broker::start();
    let backoff = "backoff = { min = \"100ms\", max = \"10s\" }\nrate_limit = { connects_per_second = 1000 }\n";
    let gatewire = Setup::with_connection(broker.port, backoff, "").speaking("3.1.1").start();
    broker.connected(false).close();
    // From `min` again each time, no wait would exceed 100 ms. That chance keeps ten growing ones under 250 ms happens once
    // in a hundred million runs; mostly the third or fourth is longer.
    let grown = (0..10).any(|_| {
        let waiting = Instant::now();
        broker.connected(false).close();
        waiting.elapsed() > Duration::from_millis(250)
    });
    assert!(grown, "{:?}", gatewire.log());
}
