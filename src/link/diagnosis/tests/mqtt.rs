//! What the server says or does in MQTT.

use super::*;

#[test]
fn failures_of_mqtt_name_the_client_id_and_the_policy() {
    let peer = peer_at(ATS);
    let refused = |code| LinkError::ConnackRefused { peer: peer_at(ATS), reason: Reason::new(code, None) };
    let closed = LinkError::closed(&peer, Phase::AwaitingConnack);
    check(&closed, "closed_before_connack", "CONNECT as `thing-1`", "iot:Connect on client/thing-1");
    check(&refused(1), "connack_refused_protocol_version", "code 1 (unacc", "connection.protocol");
    check(&refused(2), "connack_refused_client_id", "code 2", "128 bytes");
    check(&refused(3), "connack_refused_server_unavailable", "code 3", "overloaded");
    check(&refused(4), "connack_refused_bad_credentials", "code 4", "iot:Connect on client/thing-1");
    check(&refused(5), "connack_refused_not_authorized", "(not authorized)", "iot:Connect on client/thing-1");
    check(&refused(9), "connack_refused", "by a CONNACK with the unknown return code 9", "that MQTT doesn't have");
    check(&refused(0xC8), "connack_refused", "by a CONNACK with the unknown reason code 0xC8", "CloudWatch");
    check(&refused(0x84), "connack_refused_protocol_version", "code 0x84 (unsupp", "connection.protocol");
    check(&refused(0x87), "connack_refused_not_authorized", "0x87 (not authorized)", "iot:Connect on client/thing-1");
    check(&refused(0x95), "connack_refused", "0x95 (packet too large)", "CloudWatch");
    let waited = 5 * SECOND;
    let timeout = LinkError::ConnackTimeout { peer: peer_at(ATS), waited };
    check(&timeout, "connack_timeout", "no CONNACK (after 5000 ms)", "connection.port");

    let last_sent = vec![Sent::Subscribe(TopicFilter::new("a/#").unwrap()), Sent::Publish(Topic::new("b").unwrap())];
    let closed = LinkError::closed(&peer, Phase::Connected { last_sent });
    check(
        &closed,
        "closed_by_server",
        "sent last: SUBSCRIBE to `a/#`, PUBLISH to `b`",
        "lacks iot:Subscribe on topicfilter/a/# or iot:Publish on topic/b",
    );
    let closed = LinkError::closed(&peer, Phase::Connected { last_sent: Vec::new() });
    check(&closed, "closed_by_server", "closed the connection of `thing-1`", "another client connects as `thing-1`");

    let publish = |topic| Sent::Publish(Topic::new(topic).unwrap());
    let last_sent = vec![publish("good"), publish("bad"), publish("good")];
    let closed = LinkError::closed(&peer, Phase::Connected { last_sent: last_sent.clone() });
    check(
        &closed,
        "closed_by_server",
        "sent last: PUBLISH to `bad`, PUBLISH to `good`",
        "lacks iot:Publish on topic/bad or iot:Publish on topic/good;",
    );
    let closed = LinkError::closed(&peer_at("broker.lan"), Phase::Connected { last_sent });
    check(
        &closed,
        "closed_by_server",
        "`bad`, PUBLISH to `good`",
        "allow PUBLISH to `bad` or PUBLISH to `good`, or at",
    );

    let last_sent = vec![Sent::PublishRetained(Topic::new("b").unwrap())];
    let closed = LinkError::closed(&peer, Phase::Connected { last_sent });
    check(&closed, "closed_by_server", "PUBLISH with RETAIN to `b`", "iot:Publish and iot:RetainPublish on topic/b");

    let lost = LinkError::KeepAliveLost { peer: peer_at(ATS), waited };
    check(&lost, "keep_alive_lost", "PINGREQ within 5000 ms", "connection.keep_alive");
    let malformed =
        |is_connected| LinkError::MalformedPacket { peer: peer_at(ATS), detail: "odd".to_owned(), is_connected };
    check(&malformed(false), "malformed_packet", "something that isn't MQTT: odd", "MQTT server");
    check(&malformed(true), "malformed_packet", "a malformed packet: odd", "report it");
    let large = LinkError::PacketTooLarge { peer: peer_at(ATS), size: 300_000, limit: 147_456 };
    check(&large, "packet_too_large", "300000 bytes, more than the 147456", "128 KiB");
    let unfinished = LinkError::PacketUnfinished { peer: peer_at(ATS), come: 10, size: 300_000, waited };
    check(&unfinished, "packet_unfinished", "10 of the 300000 bytes of a packet within 5000 ms", "128 KiB");
    let violation = LinkError::ProtocolViolation { peer, detail: "a second CONNACK".to_owned() };
    check(&violation, "protocol_violation", "a second CONNACK", "report it");
}

#[test]
fn a_disconnect_is_explained_by_its_reason_code() {
    let disconnected = |code| {
        let reason = Reason::new(code, Some("server's words".to_owned()));
        let last_sent = vec![Sent::Publish(Topic::new("a/b").unwrap())];
        LinkError::Disconnected { peer: peer_at(ATS), reason, last_sent }
    };
    for (code, name, message, advice) in [
        (
            0x8E,
            "session_taken_over",
            "0x8E (session taken over), \"server's words\"",
            "two devices share this client id",
        ),
        (0x8E, "session_taken_over", "connection of `thing-1`", "connected as `thing-1`"),
        (0x87, "not_authorized", "0x87 (not authorized)", "lacks iot:Publish on topic/a/b"),
        (0x97, "quota_exceeded", "0x97 (quota exceeded)", "connection.rate_limit"),
        (0x95, "packet_too_large", "PUBLISH to `a/b`", "128 KiB"),
        (0x8B, "server_unavailable", "0x8B (server shutting down)", "there is nothing to do here"),
        (0x8D, "keep_alive_timeout", "0x8D (keep alive timeout)", "lost packets"),
        (0x82, "protocol_error", "0x82 (protocol error)", "report it"),
    ] {
        check(&disconnected(code), &format!("disconnected_{name}"), message, advice);
    }
    check(&disconnected(0x80), "disconnected", "0x80 (unspecified error)", "CloudWatch");
    let unanswered = |sent| LinkError::Unanswered { peer: peer_at(ATS), sent, waited: 10 * SECOND };
    let publish = unanswered(Sent::Publish(Topic::new("a/b").unwrap()));
    check(&publish, "no_puback", "didn't acknowledge the PUBLISH to `a/b` within 10 s", "sent again");
    let subscribe = unanswered(Sent::Subscribe(TopicFilter::new("a/#").unwrap()));
    check(&subscribe, "no_suback", "the SUBSCRIBE to `a/#`", "sent again");
}
