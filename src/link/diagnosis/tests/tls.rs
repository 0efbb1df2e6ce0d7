//! Failures of TLS: whose certificate is to blame, and for what.

use super::*;

#[test]
fn alerts_about_our_certificate_name_it_and_its_state() {
    for (alert, code) in [
        (Alert::BadCertificate, "tls_alert_bad_certificate"),
        (Alert::CertificateUnknown, "tls_alert_certificate_unknown"),
        (Alert::UnknownCA, "tls_alert_unknown_ca"),
        (Alert::AccessDenied, "tls_alert_access_denied"),
        (Alert::HandshakeFailure, "tls_alert_handshake_failure"),
        (Alert::DecryptError, "tls_alert_decrypt_error"),
        (Alert::UnsupportedCertificate, "tls_alert_unsupported_certificate"),
        (Alert::CertificateRequired, "tls_alert_certificate_required"),
    ] {
        check(&tls(ATS, TlsFault::Alert(alert)), code, "alert", "isn't active, or isn't registered");
        check(&tls(ATS, TlsFault::Alert(alert)), code, ATS, "describe-certificate --certificate-id c0ffee");
    }
    let alert = |alert| tls(ATS, TlsFault::Alert(alert));
    check(&alert(Alert::CertificateExpired), "tls_alert_certificate_expired", "alert", "has expired");
    check(&alert(Alert::CertificateRevoked), "tls_alert_certificate_revoked", "alert", "was revoked");
    check(&alert(Alert::UnrecognisedName), "tls_alert_unrecognized_name", "alert", "connection.endpoint");
    check(&alert(Alert::NoApplicationProtocol), "tls_alert_no_application_protocol", "alert", "443 (with ALPN)");
    check(&alert(Alert::ProtocolVersion), "tls_alert_protocol_version", "alert", "TLS 1.2 or 1.3");
    check(&alert(Alert::InternalError), "tls_alert", "InternalError", "connection.endpoint");
    check(
        &tls("broker.lan", TlsFault::Alert(Alert::UnknownCA)),
        "tls_alert_unknown_ca",
        "broker.lan",
        "SHA-256 c0ffee",
    );
}

fn certificate_from(issuer: Box<str>) -> Box<ServerCertificate> {
    Box::new(ServerCertificate {
        issuer,
        not_after: Timestamp::MAX,
        is_self_signed: false,
        has_names: true,
        common_name: None,
        descent: None,
    })
}

fn odd_certificate(issuer: Option<Box<str>>) -> TlsFault {
    TlsFault::ServerCertificate { reason: "odd".to_owned(), certificate: issuer.map(certificate_from) }
}

#[test]
fn a_server_that_is_not_trusted_is_explained_by_what_its_name_tells() {
    let unknown = |host| tls(host, TlsFault::UnknownIssuer { certificate: None });
    let signed_by =
        |issuer: &str| tls(ATS, TlsFault::UnknownIssuer { certificate: Some(certificate_from(issuer.into())) });
    check(
        &signed_by("CN=FortiGate CA, O=Fortinet"),
        "tls_unknown_ca",
        "\"CN=FortiGate CA, O=Fortinet\"",
        "captive portal",
    );
    check(&signed_by("C=US, O=Amazon, CN=Amazon RSA 2048 M01"), "tls_unknown_ca", "O=Amazon", "holds the wrong CA");
    check(&unknown(ATS), "tls_unknown_ca", "tls.ca_file", "AmazonRootCA1.pem");
    check(
        &unknown("abc123.iot.eu-west-1.amazonaws.com"),
        "tls_unknown_ca",
        "tls.ca_file",
        "isn't the account's ATS endpoint",
    );
    check(&unknown("broker.lan"), "tls_unknown_ca", "broker.lan", "the CA that signed");
    let wrong = TlsFault::WrongName { presented: vec!["a.example".to_owned()], certificate: None };
    check(&tls(ATS, wrong), "tls_wrong_name", "another name: a.example", "leads to another server");
    check(&tls(ATS, odd_certificate(None)), "tls_server_certificate", "trusted: odd", "DNS:abc123-ats");
    let portal = odd_certificate(Some("O=Hotel WiFi".into()));
    check(&tls(ATS, portal), "tls_server_certificate", "\"O=Hotel WiFi\" has signed it", "captive portal");
    check(&tls(ATS, TlsFault::NotTls("odd".to_owned())), "tls_not_spoken", "isn't TLS", "captive portal");
    check(&tls(ATS, TlsFault::Incompatible("odd".to_owned())), "tls_incompatible", "odd", "security policy");
    check(&tls(ATS, TlsFault::Closed { answered: true }), "tls_closed", "during the handshake", "c0ffee");
    let unanswered = |host, port| LinkError::Tls {
        peer: peer_on(host, port, Protocol::Mqtt5),
        fault: TlsFault::Closed { answered: false },
    };
    check(&unanswered(ATS, 8883), "tls_closed", "before the server answered", "connection.port = 443");
    check(&unanswered(ATS, 443), "tls_closed", "before the server answered", "firewall or proxy");
    check(&unanswered("broker.lan", 8884), "tls_closed", "before the server answered", "may not speak TLS");
    check(&unanswered("broker.lan", 1883), "tls_closed", "broker.lan:1883", "Port 1883 is MQTT without TLS");
    check(&tls(ATS, TlsFault::Timeout { waited: 12 * SECOND }), "tls_timeout", "after 12 s", "MTU");
    check(&tls(ATS, TlsFault::Other("odd".to_owned())), "tls_failed", "odd", "report it");
}

#[test]
fn a_certificate_that_a_broker_was_given_by_hand_is_explained() {
    let broker = |fault| tls("broker.lan", fault);
    let nameless = |common_name: Option<&str>| {
        let certificate = ServerCertificate {
            has_names: false,
            common_name: common_name.map(Into::into),
            ..*certificate_from("CN=me".into())
        };
        broker(TlsFault::WrongName { presented: Vec::new(), certificate: Some(Box::new(certificate)) })
    };
    check(&nameless(Some("broker.lan")), "tls_wrong_name", "only the common name \"broker.lan\"", "(DNS:broker.lan)");
    check(&nameless(None), "tls_wrong_name", "it has no subjectAltName", "(DNS:broker.lan)");
    let from = |is_named| {
        let descent = Descent { top: "CN=root".into(), is_named, trusted: vec!["CN=mine".into()] };
        let certificate = ServerCertificate { descent: Some(Box::new(descent)), ..*certificate_from("CN=x".into()) };
        broker(TlsFault::UnknownIssuer { certificate: Some(Box::new(certificate)) })
    };
    check(&from(false), "tls_unknown_ca", "\"CN=x\" has signed it", "\"CN=root\"; it holds \"CN=mine\"");
    check(&from(true), "tls_unknown_ca", "\"CN=x\" has signed it", "another key");
    let own = ServerCertificate { is_self_signed: true, ..*certificate_from("CN=me".into()) };
    let unknown = TlsFault::UnknownIssuer { certificate: Some(Box::new(own)) };
    check(&broker(unknown), "tls_unknown_ca", "\"CN=me\" has signed it itself", "into tls.ca_file");
    for (name, words) in
        [("CaUsedAsEndEntity", "it is a CA's certificate"), ("UnsupportedCertVersion", "X.509 version 1")]
    {
        let other = rustls::OtherError(Arc::new(io::Error::other(name)));
        let fault = TlsFault::from(&rustls::CertificateError::Other(other));
        check(&broker(fault), "tls_server_certificate", words, "X.509 version 3, CA:FALSE");
    }
}

#[test]
fn what_only_aws_knows_is_told_of_its_endpoints_alone() {
    let last_sent = || vec![Sent::Publish(Topic::new("b").unwrap())];
    let closed = |host| LinkError::closed(&peer_at(host), Phase::Connected { last_sent: last_sent() });
    check(&closed(ATS), "closed_by_server", "PUBLISH to `b`", "the certificate's policy lacks iot:Publish on topic/b");
    check(
        &closed("broker.lan"),
        "closed_by_server",
        "PUBLISH to `b`",
        "the server's access rules don't allow PUBLISH to `b`, or at AWS the certificate's policy lacks iot:Publish on topic/b",
    );
    let advice = closed("broker.lan").advice();
    assert!(!advice.contains("CloudWatch") && advice.contains("The server's log has the reason"), "{advice}");
    let before = |host| LinkError::ClosedBeforeConnack { peer: peer_on(host, 8883, Protocol::Mqtt5) };
    check(&before(ATS), "closed_before_connack", "instead of a CONNACK", "JITP");
    // A certificate that brings its CA along most likely registers itself.
    let mut peer = (*peer_at(ATS)).clone();
    peer.brings_authority = true;
    let advice = LinkError::ClosedBeforeConnack { peer: Arc::new(peer) }.advice();
    assert!(
        advice.starts_with("The client certificate (tls.cert_file) brings that of its CA along")
            && advice.contains("JITP, JITR"),
        "{advice}"
    );
    assert!(!before(ATS).advice().contains("connection.protocol"));
    check(&before("broker.lan"), "closed_before_connack", "instead of a CONNACK", "connection.protocol = \"3.1.1\"");
    for error in [
        LinkError::ConnackTimeout { peer: peer_on("broker.lan", 8883, Protocol::Mqtt5), waited: SECOND },
        LinkError::MalformedPacket {
            peer: peer_on("broker.lan", 8883, Protocol::Mqtt5),
            detail: "x".to_owned(),
            is_connected: false,
        },
        LinkError::ConnackRefused { peer: peer_on("broker.lan", 8883, Protocol::Mqtt5), reason: Reason::new(1, None) },
    ] {
        let advice = error.advice();
        assert!(advice.contains("connection.protocol") && advice.contains("\"3.1.1\""), "{advice}");
    }
}
